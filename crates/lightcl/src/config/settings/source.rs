//! `[source]`: where samples come from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where samples come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// How the input is encoded.
    #[serde(rename = "type")]
    pub kind: FileType,
    /// A file, a glob, a folder (its files in name order), or "-" for standard input.
    #[schemars(length(min = 1))]
    pub path: String,
    /// Rows read at a time. Decides memory and speed, not what is learnt.
    #[serde(default = "default_batch_rows")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub batch_rows: usize,
    /// Rows of CSV and JSON lines looked at to find the columns and their types.
    #[serde(default = "default_infer_rows")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub infer_rows: usize,
    /// How CSV is written.
    #[serde(default)]
    pub csv: Csv,
}

fn default_batch_rows() -> usize {
    1024
}

fn default_infer_rows() -> usize {
    1000
}

/// How the input is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileType {
    /// Arrow IPC, the file or the stream format.
    Arrow,
    /// Parquet.
    Parquet,
    /// Comma-separated values.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// How CSV is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Csv {
    /// What stands between two cells: one ASCII character.
    pub delimiter: char,
    /// What cells with delimiters or line breaks are enclosed in: one ASCII character.
    pub quote: char,
    /// Whether the first line names the columns; without it they are column_1, column_2, ..
    pub has_header: bool,
}

impl Default for Csv {
    fn default() -> Self {
        Csv { delimiter: ',', quote: '"', has_header: true }
    }
}
