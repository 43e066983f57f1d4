//! Streams of real tables.

use super::streams::{Made, Request, Settings, Stream, Truth, with_column};
use crate::source::{self, FileKind, FileSourceConfig};
use arrow_array::cast::AsArray;
use arrow_array::types::UInt8Type;
use arrow_array::{Array, FixedSizeListArray, Float32Array, RecordBatch};
use arrow_schema::{DataType, Field};
use lightcl_core::{Error, Result};
use lightcl_stream::encode::{CategoryEncoding, EncoderConfig, FeatureConfig, FeatureKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Example data of the repository, from the folder that the program runs in.
pub(crate) const EXAMPLES: &str = "examples/data";

/// Columns that are no features.
const NOT_FEATURES: [&str; 8] = ["seq", "label", "class_name", "class_code", "event_time", "date", "concept", "task"];

/// Rows of a table in a quick run.
const QUICK_ROWS: usize = 3000;

/// One table.
pub(crate) struct Entry {
    pub name: &'static str,
    /// The file in the folder of data sets, at its top or in `not-for-redistribution`.
    file: &'static str,
    /// The file in the examples of the repository, used where the folder has none.
    example: Option<&'static str>,
    change_points: &'static [u64],
    truth: Truth,
    /// How far around its change points a change is still going on.
    slack: u64,
}

/// A column of words, present or not.
pub(super) const WORDS: &str = "words";

const EVERY_300: &[u64] = &[300, 600, 900, 1200];

/// A new table is one row; what is known of each is written in the data sets' own description.
pub(crate) const STREAMS: &[Entry] = &[
    table("usenet1", "usenet1.parquet", None, EVERY_300, Truth::All),
    table("usenet2", "usenet2.parquet", None, EVERY_300, Truth::All),
    Entry {
        slack: 500,
        ..table("insects_gradual_balanced", "insects_gradual_balanced.parquet", None, &[14_028], Truth::Some)
    },
    table("elec2", "elec2.parquet", Some("elec2.parquet"), &[17_424], Truth::Some),
    table("weather_noaa", "weather_noaa.parquet", Some("weather.parquet"), &[], Truth::Unknown),
    table("rialto", "rialto.parquet", None, &[], Truth::Unknown),
];

const fn table(
    name: &'static str,
    file: &'static str,
    example: Option<&'static str>,
    change_points: &'static [u64],
    truth: Truth,
) -> Entry {
    Entry { name, file, example, change_points, truth, slack: 0 }
}

/// Where a file of the data sets is, or else that of the examples; if neither is there, why.
pub(crate) fn find(data: Option<&Path>, file: &str, example: Option<&str>) -> Result<PathBuf, String> {
    let in_data =
        data.into_iter().flat_map(|folder| [folder.join(file), folder.join("not-for-redistribution").join(file)]);
    let in_examples = example.map(|name| Path::new(EXAMPLES).join(name));
    if let Some(found) = in_data.chain(in_examples.clone()).find(|path| path.is_file()) {
        return Ok(found);
    }
    let folder = match data {
        Some(folder) => format!("{} has no {file}", folder.display()),
        None => format!("{file} is looked for with --data DIR"),
    };
    Err(match in_examples {
        Some(path) => format!("{folder}, and there is no {} here", path.display()),
        None => folder,
    })
}

/// All rows of a file.
pub(crate) fn read(path: &Path) -> Result<RecordBatch> {
    let path = path.to_string_lossy();
    let kind = FileKind::of_path(&path).ok_or_else(|| Error::internal("a file of no kind").with("path", &path))?;
    let mut source = source::open(FileSourceConfig::new(kind, path.as_ref()))?;
    let mut batches = Vec::new();
    while let Some(batch) = source.next()? {
        batches.push(batch.batch);
    }
    arrow_select::concat::concat_batches(&source.schema(), &batches).map_err(|error| {
        Error::external("cannot put the batches of a file together").with("path", path).caused_by(error)
    })
}

impl Entry {
    /// Reads the table.
    ///
    /// # Errors
    /// When its file is there but cannot be read.
    pub fn make(&self, request: &Request<'_>) -> Result<Made> {
        let path = match find(request.data, self.file, self.example) {
            Ok(path) => path,
            Err(why) => return Ok(Made::Skipped(why)),
        };
        let mut rows = read(&path)?;
        if request.quick {
            rows = rows.slice(0, rows.num_rows().min(QUICK_ROWS));
        }
        let words = rows.schema().index_of(WORDS).is_ok();
        if words {
            rows = with_words_as_numbers(&rows)?;
        }
        // Words are 0 or 1 as they are; a running deviation of rare ones would swing for hundreds of rows.
        let encoder = EncoderConfig { standardize: !words, ..encoder(&rows) };
        let change_points: Vec<u64> =
            self.change_points.iter().copied().filter(|&point| point < rows.num_rows() as u64).collect();
        let mut stream = if self.truth == Truth::All {
            Stream::with_tasks(self.name, Settings::Table, encoder, &rows, &change_points)?
        } else {
            Stream {
                name: self.name,
                settings: Settings::Table,
                encoder,
                rows,
                held_out: Vec::new(),
                change_points,
                slack: 0,
                truth: self.truth,
            }
        };
        stream.slack = self.slack;
        Ok(Made::Stream(Box::new(stream)))
    }
}

/// All columns but those that name, number or date a row; days of the week are categories, as in `pipelines/elec2.toml`.
fn encoder(rows: &RecordBatch) -> EncoderConfig {
    let schema = rows.schema();
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let features = names.filter(|name| !NOT_FEATURES.contains(name)).map(|name| match name {
        "day" => FeatureConfig {
            kind: FeatureKind::Category { encoding: CategoryEncoding::OneHot, size: 8 },
            ..FeatureConfig::auto(name)
        },
        _ => FeatureConfig::auto(name),
    });
    EncoderConfig { features: features.collect(), ..EncoderConfig::new(Vec::<String>::new(), "label") }
}

/// The words of a text come as bytes 0 and 1, which an encoder takes for shades from 0 to 255.
pub(super) fn with_words_as_numbers(rows: &RecordBatch) -> Result<RecordBatch> {
    let wrong = || Error::user("the column of words is no list of bytes of fixed size").with("column", WORDS);
    let list = rows.column_by_name(WORDS).and_then(|column| column.as_fixed_size_list_opt()).ok_or_else(wrong)?;
    let bytes = list.values().as_primitive_opt::<UInt8Type>().ok_or_else(wrong)?;
    let numbers: Float32Array = bytes.unary(f32::from);
    let field = Arc::new(Field::new_list_field(DataType::Float32, true));
    let words = FixedSizeListArray::try_new(field, list.value_length(), Arc::new(numbers), list.nulls().cloned())
        .map_err(|error| Error::internal("cannot convert words").caused_by(error))?;
    with_column(rows, WORDS, Arc::new(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_named_with_the_places_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let why = find(Some(folder.path()), "none.parquet", Some("none.arrow")).unwrap_err();
        assert!(why.contains("none.parquet") && why.contains("examples/data/none.arrow"), "{why}");
        assert!(find(None, "none.parquet", None).unwrap_err().contains("--data"));
        let nested = folder.path().join("not-for-redistribution");
        std::fs::create_dir(&nested).unwrap();
        std::fs::write(nested.join("none.parquet"), "x").unwrap();
        assert_eq!(find(Some(folder.path()), "none.parquet", None).unwrap(), nested.join("none.parquet"));
    }
}
