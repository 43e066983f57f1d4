//! Records to rows: one file a format, and one table of the columns that a job needs.

use crate::config::SecretSource;
use crate::records::RecordBlock;
use arrow_array::RecordBatch;
use arrow_schema::Schema;
use lightcl_core::{Error, Result, RowFault};
use std::collections::BTreeMap;
use std::fmt;

mod avro;
mod casting;
mod cells;
mod cloud_events;
mod columns;
mod csv;
mod decoded;
mod ipc;
mod json;
mod reader;
pub(crate) mod record_columns;
pub(crate) mod registry;
mod schemas;
mod table;
mod tensor;
mod types;

/// The address of a schema registry without user name and password.
pub(crate) fn without_user_info(address: &str) -> String {
    registry::without_user_info(address).0
}

/// How records become rows.
#[derive(Clone, PartialEq)]
pub struct FormatConfig {
    /// How values are encoded.
    pub kind: FormatKind,
    /// The columns that are needed, in any order; all others are left out.
    pub columns: Vec<String>,
    /// Columns whose values are names or times: labels, tasks, ids, event times and categories. Whole numbers in them stay
    /// whole (64 bits); in all others of JSON, CSV and headers they are numbers like any other.
    pub exact: Vec<String>,
    /// Types given for columns (`float64`, `utf8`, `timestamp_ms`, `list<float32>`, `fixed_size_list<uint8, 3072>`); others
    /// are found out. Where one is given, text is read as values of it.
    pub types: BTreeMap<String, String>,
    /// What becomes of records without a value.
    pub tombstones: Tombstones,
    /// Base address of a schema registry with Confluent's interface, for Avro.
    pub registry: Option<String>,
    /// User name and password for the schema registry.
    pub registry_auth: Option<(String, SecretSource)>,
    /// How CSV is written.
    pub csv: CsvFormat,
    /// Longest value; a longer one goes to the dead letters.
    pub most_value_bytes: usize,
}

impl FormatConfig {
    /// The same for rows with these columns and types. What stands beside a record's value has a type of its own.
    ///
    /// # Errors
    /// When a column has a type that no format gives.
    pub fn with_schema(self, schema: &Schema) -> Result<Self> {
        let mut types = BTreeMap::new();
        for field in schema.fields() {
            if record_columns::RecordColumn::of(field.name())?.is_some() {
                continue;
            }
            let Ok(Some(settled)) = types::settled(field.data_type()) else {
                return Err(Error::user("records give no values of this type")
                    .with("column", field.name())
                    .with("type", field.data_type()));
            };
            types.insert(field.name().clone(), types::name(&settled));
        }
        let columns = schema.fields().iter().map(|field| field.name().clone()).collect();
        Ok(FormatConfig { columns, types, ..self })
    }
}

impl fmt::Debug for FormatConfig {
    /// All but the password that the address of the registry may hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FormatConfig { kind, columns, exact, types, tombstones, registry, registry_auth, csv, most_value_bytes } =
            self;
        f.debug_struct("FormatConfig")
            .field("kind", kind)
            .field("columns", columns)
            .field("exact", exact)
            .field("types", types)
            .field("tombstones", tombstones)
            .field("registry", &registry.as_deref().map(|address| registry::without_user_info(address).0))
            .field("registry_auth", registry_auth)
            .field("csv", csv)
            .field("most_value_bytes", most_value_bytes)
            .finish()
    }
}

impl Default for FormatConfig {
    fn default() -> Self {
        FormatConfig {
            kind: FormatKind::default(),
            columns: Vec::new(),
            exact: Vec::new(),
            types: BTreeMap::new(),
            tombstones: Tombstones::default(),
            registry: None,
            registry_auth: None,
            csv: CsvFormat::default(),
            most_value_bytes: 16 << 20,
        }
    }
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

impl Default for CsvFormat {
    fn default() -> Self {
        CsvFormat { delimiter: b',', quote: b'"', columns: Vec::new() }
    }
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

/// Makes the reader of a format.
///
/// ```
/// use lightcl_kafka::format::{self, FormatConfig};
/// use lightcl_kafka::records::{NewRecord, RecordBlock};
///
/// let config = FormatConfig { columns: vec!["x".into(), "label".into()], exact: vec!["label".into()], ..Default::default() };
/// let mut json = format::open(&config)?;
/// let mut block = RecordBlock::new("samples", 0);
/// for (offset, value) in [r#"{"x": 0.5, "label": 3}"#, r#"{"x": "?", "label": 4}"#].iter().enumerate() {
///     let (offset, value) = (offset as i64, Some(value.as_bytes()));
///     block.push(NewRecord { offset, timestamp_ms: None, key: None, value, headers: &[] });
/// }
/// let rows = json.read(&block)?;
/// assert_eq!(rows.batch.schema().field(1).data_type().to_string(), "Int64");
/// assert_eq!(rows.faults[0].message, "column 'x': found the text '?', expected a number");
/// # Ok::<(), lightcl_core::Error>(())
/// ```
///
/// # Errors
/// When the configuration names a type that does not exist, or lacks what the format needs.
pub fn open(config: &FormatConfig) -> Result<Box<dyn Format>> {
    fn boxed<D: reader::Decode + 'static>(decode: D, config: &FormatConfig) -> Result<Box<dyn Format>> {
        Ok(Box::new(reader::Reader::new(decode, config)?))
    }
    match config.kind {
        FormatKind::Json => boxed(json::Json, config),
        FormatKind::Avro => boxed(avro::Avro::new(config)?, config),
        FormatKind::Arrow => boxed(ipc::Ipc, config),
        FormatKind::Csv => boxed(csv::Csv::new(config)?, config),
        FormatKind::Tensor => boxed(tensor::Tensors, config),
        FormatKind::CloudEvents => boxed(cloud_events::CloudEvents, config),
    }
}
