//! Records to rows: one file a format, and one table of the columns that a job needs.

use crate::config::SecretSource;
use crate::records::RecordBlock;
use arrow_array::RecordBatch;
use lightcl_core::{Result, RowFault};
use std::collections::BTreeMap;

/// How records become rows.
#[derive(Debug, Clone, PartialEq)]
pub struct FormatConfig {
    /// How values are encoded.
    pub kind: FormatKind,
    /// The columns that are needed, in any order; all others are left out.
    pub columns: Vec<String>,
    /// Those of them whose values are names (label, id, task): they are read as they are written, never as numbers with a point.
    pub exact: Vec<String>,
    /// Types given for columns, as arrow names them (`float64`, `utf8`, `list<float32>`); others are found out.
    pub types: BTreeMap<String, String>,
    /// What becomes of records without a value.
    pub tombstones: Tombstones,
    /// Base address of a schema registry with Confluent's interface, for Avro.
    pub registry: Option<String>,
    /// The user at the schema registry.
    pub registry_user: Option<String>,
    /// Where the user's password stands.
    pub registry_password: Option<SecretSource>,
    /// How CSV is written.
    pub csv: CsvFormat,
    /// Longest value; a longer one goes to the dead letters.
    pub most_value_bytes: usize,
}

/// How values are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FormatKind {
    /// A JSON object.
    #[default]
    Json,
    /// Avro behind the schema registry's frame.
    Avro,
    /// An Arrow IPC stream of one or more rows.
    Arrow,
    /// Lines of comma-separated values.
    Csv,
    /// The bytes of a tensor; its type and shape stand in headers.
    Tensor,
    /// CloudEvents 1.0, binary or structured.
    CloudEvents,
}

/// What becomes of records without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tombstones {
    /// They are dead letters.
    #[default]
    DeadLetter,
    /// They are counted and passed over.
    Skip,
}

/// How CSV is written in records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvFormat {
    /// What stands between two cells.
    pub delimiter: u8,
    /// What cells with delimiters or line breaks are enclosed in.
    pub quote: u8,
    /// Names of the columns in order; empty where each record begins with a line that names them.
    pub columns: Vec<String>,
}

/// Rows that a block of records gave.
#[derive(Debug, Clone)]
pub struct Rows {
    /// The rows, with all columns asked for.
    pub batch: RecordBatch,
    /// For each row the number of its record in the block, never descending. A record gives one row, several (Arrow, CSV),
    /// or none (a tombstone that is passed over).
    pub records: Vec<usize>,
    /// Rows that could not be read, standing as nulls.
    pub faults: Vec<RowFault>,
    /// Records passed over: tombstones.
    pub skipped: u64,
}

/// Reads blocks of records of one partition in order.
///
/// What it learns of the columns (their types) depends on the records alone, not on how they are cut into blocks, and is
/// its state: a reader restored at an offset goes on as the one that was saved there.
pub trait Format: lightcl_core::Stateful + Send {
    /// The rows of the next block.
    ///
    /// # Errors
    /// When something outside the records is missing (a schema registry that does not answer): retryable, and then nothing
    /// of the block counts as read. A record that cannot be read is a [`RowFault`] instead.
    fn read(&mut self, block: &RecordBlock) -> Result<Rows>;
}
