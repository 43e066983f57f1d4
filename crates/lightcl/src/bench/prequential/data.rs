//! The tables.

use crate::bench::streams::{Settings, Stream, Truth};
use crate::bench::tables::{WORDS, find, read, with_words_as_numbers};
use lightcl_core::{Error, Result};
use lightcl_stream::encode::EncoderConfig;
use std::path::{Path, PathBuf};

/// Columns that are no features: they name, number or date a row.
const NOT_FEATURES: [&str; 8] = ["seq", "label", "class_name", "class_code", "event_time", "date", "concept", "task"];

/// Rows of a table in a quick run.
const QUICK_ROWS: usize = 1000;

struct Entry {
    name: &'static str,
    file: &'static str,
    example: Option<&'static str>,
    /// Whether the label before a row may be looked at. Not where the order of classes is an artefact: the classes of
    /// rialto and the hours of powersupply come in a fixed round.
    knows_previous_label: bool,
}

const fn table(name: &'static str, file: &'static str, knows_previous_label: bool) -> Entry {
    Entry { name, file, example: None, knows_previous_label }
}

/// A new table is one row.
const STREAMS: &[Entry] = &[
    Entry { example: Some("elec2.parquet"), ..table("elec2", "elec2.parquet", true) },
    Entry { example: Some("weather.parquet"), ..table("weather", "weather_noaa.parquet", true) },
    table("insects_gradual", "insects_gradual_balanced.parquet", true),
    table("outdoor", "outdoor.parquet", true),
    table("usenet1", "usenet1.parquet", true),
    table("usenet2", "usenet2.parquet", true),
    table("rialto", "rialto.parquet", false),
    table("powersupply", "powersupply.parquet", false),
];

/// The names of all streams.
pub(super) fn names() -> Vec<String> {
    STREAMS.iter().map(|entry| entry.name.to_owned()).collect()
}

/// A table that is there.
pub(super) struct Source {
    entry: &'static Entry,
    pub path: PathBuf,
}

/// Where the table of a name that [`check`] let through is, or why it is left out.
///
/// # Errors
/// When there is no such name.
pub(super) fn find_source(name: &str, data: Option<&Path>) -> Result<std::result::Result<Source, String>> {
    let entry = STREAMS.iter().find(|entry| entry.name == name);
    let entry = entry.ok_or_else(|| Error::internal("no such stream").with("stream", name))?;
    Ok(find(data, entry.file, entry.example).map(|path| Source { entry, path }))
}

impl Source {
    pub fn knows_previous_label(&self) -> bool {
        self.entry.knows_previous_label
    }

    /// Its rows; all columns are numbers as they are, which is what river's forest gets too.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self, quick: bool) -> Result<Stream> {
        let mut rows = read(&self.path)?;
        if quick {
            rows = rows.slice(0, rows.num_rows().min(QUICK_ROWS));
        }
        if rows.schema().index_of(WORDS).is_ok() {
            rows = with_words_as_numbers(&rows)?;
        }
        let schema = rows.schema();
        let names = schema.fields().iter().map(|field| field.name().clone());
        let features: Vec<String> = names.filter(|name| !NOT_FEATURES.contains(&name.as_str())).collect();
        Ok(Stream {
            name: self.entry.name,
            settings: Settings::Table,
            encoder: EncoderConfig::new(features, "label"),
            rows,
            held_out: Vec::new(),
            change_points: Vec::new(),
            slack: 0,
            truth: Truth::Unknown,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_the_examples_have_numbers_alone_as_features() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data");
        let source = find_source("elec2", Some(&top)).unwrap().unwrap_or_else(|why| panic!("{why}"));
        let stream = source.read(true).unwrap();
        let features: Vec<&str> = stream.encoder.features.iter().map(|feature| feature.column.as_str()).collect();
        assert_eq!(features, ["day", "period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer"]);
        assert!(
            crate::bench::chosen("stream", &["rialta".to_owned()], names())
                .unwrap_err()
                .message()
                .contains("did you mean rialto?")
        );
        assert!(find_source("rialto", None).unwrap().is_err());
    }
}
