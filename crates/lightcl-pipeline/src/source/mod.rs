//! Rows from files: Arrow IPC (file and stream format), Parquet, CSV and JSON lines.
//!
//! A path is a file, a glob, a folder (its files in name order) or `-` for standard input. Each file is a partition under
//! the name it was given or found by; a position is the number of the row in its file. Memory is bounded by the batch:
//! Arrow batches as they lie in the file, else `batch_rows` rows.
//!
//! A row of text that cannot be read (see [`FileKind::Csv`] and [`FileKind::Jsonl`]) stands in its batch as nulls and is
//! named as a [`lightcl_core::RowFault`] with its text. An input that is broken as a whole is an error.
//!
//! ```
//! use lightcl_pipeline::source::{FileKind, FileSourceConfig, open_input};
//!
//! let text = "x,label\n0.5,a\nabc,b\n";
//! let config = FileSourceConfig { infer_rows: 1, ..FileSourceConfig::new(FileKind::Csv, "-") };
//! let mut source = open_input(config, Box::new(text.as_bytes()))?;
//! let batch = source.next()?.expect("two rows");
//! assert_eq!(batch.batch.num_rows(), 2);
//! assert_eq!(batch.faults[0].message, "line 3: column 'x': found 'abc', expected a number");
//! assert_eq!(batch.faults[0].payload.as_deref(), Some("abc,b"));
//! # Ok::<(), lightcl_core::Error>(())
//! ```

mod columns;
mod csv;
mod csv_types;
mod file_source;
mod ipc;
mod ipc_message;
mod ipc_stream;
mod json_columns;
mod json_types;
mod jsonl;
mod opening;
mod parquet;
mod paths;
mod reader;
mod records;
mod sniff;
mod text;

use lightcl_core::{Error, Result, Source};
use serde::{Deserialize, Serialize};
use std::io::Read;

/// How a file is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// Arrow IPC. Whether it is the file or the stream format is told by its first bytes. Buffers may be compressed with
    /// LZ4 or zstd.
    Arrow,
    /// Parquet. Not from standard input, since its index is at the end.
    Parquet,
    /// Comma-separated values (RFC 4180, with any delimiter). A column is whole numbers, numbers, booleans or text, as
    /// the first `infer_rows` rows tell: the narrowest type that fits all their cells. Empty cells are null. A cell that
    /// does not fit its column, a line with another number of cells, bytes that are not UTF-8, a quote that is never
    /// closed and a line that is too long are faults of their row. Empty lines are no rows.
    Csv,
    /// One JSON object a line. The first `infer_rows` rows tell the columns, in the order of the alphabet, and their types;
    /// where they disagree the more frequent type wins. Whole numbers stay whole. Fields never seen there are left out. A
    /// line that is not a JSON object or has a value that does not fit its column is a fault of its row. Lines of nothing
    /// but white space are no rows.
    Jsonl,
}

impl FileKind {
    /// The name of the kind in a pipeline file.
    pub fn as_str(self) -> &'static str {
        match self {
            FileKind::Arrow => "arrow",
            FileKind::Parquet => "parquet",
            FileKind::Csv => "csv",
            FileKind::Jsonl => "jsonl",
        }
    }

    /// File name extensions of the kind.
    fn extensions(self) -> &'static [&'static str] {
        match self {
            FileKind::Arrow => &["arrow", "arrows", "feather", "ipc"],
            FileKind::Parquet => &["parquet", "pq"],
            FileKind::Csv => &["csv", "tsv", "txt"],
            FileKind::Jsonl => &["jsonl", "ndjson", "json"],
        }
    }

    /// The kind that a file's name suggests.
    ///
    /// ```
    /// use lightcl_pipeline::source::FileKind;
    ///
    /// assert_eq!(FileKind::of_path("data/a.Parquet"), Some(FileKind::Parquet));
    /// assert_eq!(FileKind::of_path("-"), None);
    /// ```
    pub fn of_path(path: &str) -> Option<FileKind> {
        let extension = std::path::Path::new(path).extension()?.to_str()?.to_lowercase();
        let kinds = [FileKind::Arrow, FileKind::Parquet, FileKind::Csv, FileKind::Jsonl];
        kinds.into_iter().find(|kind| kind.extensions().contains(&extension.as_str()))
    }
}

/// How CSV is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CsvOptions {
    /// What stands between two cells: one ASCII character.
    pub delimiter: char,
    /// What cells with delimiters or line breaks are enclosed in: one ASCII character.
    pub quote: char,
    /// Whether the first line names the columns; without it they are `column_1`, `column_2`, ..
    pub has_header: bool,
}

impl Default for CsvOptions {
    fn default() -> Self {
        CsvOptions { delimiter: ',', quote: '"', has_header: true }
    }
}

/// Which files, and how they are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSourceConfig {
    /// How the files are encoded.
    pub kind: FileKind,
    /// A file, a glob, a folder, or `-` for standard input. Relative paths are relative to the current directory. Of a
    /// folder the files with an extension of the kind are read, or all when none has one; hidden files never.
    pub path: String,
    /// Rows in a batch, at most.
    pub batch_rows: usize,
    /// How CSV is written.
    pub csv: CsvOptions,
    /// Rows of CSV and JSON lines that are looked at to find the columns' types. Standard input is read that far before
    /// the first batch is given out.
    pub infer_rows: usize,
    /// The longest line of CSV and JSON lines; a longer one is a fault of its row.
    pub line_limit_bytes: usize,
}

impl FileSourceConfig {
    /// The defaults: batches of 1,024 rows, types from the first 1,000 rows, lines of up to 16 MiB.
    pub fn new(kind: FileKind, path: impl Into<String>) -> Self {
        FileSourceConfig {
            kind,
            path: path.into(),
            batch_rows: 1024,
            csv: CsvOptions::default(),
            infer_rows: 1000,
            line_limit_bytes: 16 << 20,
        }
    }

    fn validate(&self) -> Result<()> {
        for (name, value) in [
            ("batch_rows", self.batch_rows),
            ("infer_rows", self.infer_rows),
            ("line_limit_bytes", self.line_limit_bytes),
        ] {
            if value == 0 {
                return Err(Error::user(format!("source.{name} must be at least 1")));
            }
        }
        let CsvOptions { delimiter, quote, .. } = self.csv;
        for (name, character) in [("delimiter", delimiter), ("quote", quote)] {
            if !character.is_ascii() || matches!(character, '\n' | '\r' | '\0') {
                return Err(Error::user(format!("source.csv.{name} must be one ASCII character and no line break"))
                    .with("found", format!("{character:?}")));
            }
        }
        if delimiter == quote {
            return Err(Error::user("source.csv.delimiter and source.csv.quote must differ"));
        }
        Ok(())
    }
}

/// Opens the files that a configuration names, and reads as much of them as it takes to know the columns.
///
/// # Errors
/// When there is no such file (the error names the nearest), it may not be read, it is not of the kind it should be (the
/// error says what it seems to be), it is damaged, or the files of a folder have different columns.
pub fn open(config: FileSourceConfig) -> Result<Box<dyn Source>> {
    config.validate()?;
    if config.path == paths::STANDARD_INPUT {
        return open_input(config, Box::new(std::io::stdin()));
    }
    Ok(Box::new(file_source::FileSource::open(config)?))
}

/// Reads rows from any input that cannot seek, as from standard input: one partition named `-`. Seeking goes forward only.
///
/// # Errors
/// As [`open`]; Parquet is refused.
pub fn open_input(config: FileSourceConfig, input: Box<dyn Read + Send>) -> Result<Box<dyn Source>> {
    config.validate()?;
    Ok(Box::new(file_source::FileSource::open_input(config, input)?))
}
