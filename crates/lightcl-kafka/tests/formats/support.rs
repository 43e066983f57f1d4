//! Blocks of records, and what was made of them.

use arrow_array::{Array, ArrayRef, NullArray};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use lightcl_kafka::format::{self, Format, FormatConfig, FormatKind, Rows};
use lightcl_kafka::records::{Header, NewRecord, RecordBlock};

/// A record that owns its parts.
#[derive(Debug, Clone, Default)]
pub struct Record {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Record {
    pub fn new(value: impl AsRef<[u8]>) -> Self {
        Record { value: Some(value.as_ref().to_vec()), ..Record::default() }
    }

    pub fn tombstone() -> Self {
        Record::default()
    }

    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.as_ref().to_vec(), Some(value.as_ref().to_vec())));
        self
    }
}

/// A block of records from an offset on.
pub fn block_from(first: i64, records: &[Record]) -> RecordBlock {
    let mut block = RecordBlock::new("samples", 3);
    for (offset, record) in (first..).zip(records) {
        let headers: Vec<Header<'_>> =
            record.headers.iter().map(|(name, value)| Header { name, value: value.as_deref() }).collect();
        block.push(NewRecord {
            offset,
            timestamp_ms: Some(1_700_000_000_000 + offset),
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
        });
    }
    block
}

pub fn block(records: &[Record]) -> RecordBlock {
    block_from(0, records)
}

pub fn config(kind: FormatKind, columns: &[&str]) -> FormatConfig {
    FormatConfig { kind, columns: columns.iter().map(|name| (*name).to_owned()).collect(), ..FormatConfig::default() }
}

/// Reads values, one a record.
pub fn read(config: &FormatConfig, values: &[&str]) -> Rows {
    let records: Vec<Record> = values.iter().map(Record::new).collect();
    format::open(config).unwrap().read(&block(&records)).unwrap()
}

/// The values of a column as text, nulls as `-`.
pub fn shown(rows: &Rows, column: &str) -> Vec<String> {
    texts(rows.batch.column_by_name(column).unwrap())
}

pub fn texts(array: &ArrayRef) -> Vec<String> {
    let options = FormatOptions::default().with_null("-");
    let formatter = ArrayFormatter::try_new(array, &options).unwrap();
    (0..array.len()).map(|row| formatter.value(row).to_string()).collect()
}

pub fn type_of(rows: &Rows, column: &str) -> String {
    rows.batch.schema().field_with_name(column).unwrap().data_type().to_string()
}

/// Row and message of every fault.
pub fn faults(rows: &Rows) -> Vec<(usize, &str)> {
    rows.faults.iter().map(|fault| (fault.row, fault.message.as_str())).collect()
}

/// What a stream gave, however it was cut.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    /// For each row its offset and its values as text.
    pub rows: Vec<(i64, Vec<String>)>,
    /// Offset and message.
    pub faults: Vec<(i64, String)>,
    pub skipped: u64,
    pub state: Vec<u8>,
    /// The types at the end.
    pub types: Vec<String>,
}

/// Reads records cut before the given places; at each place that is marked a fresh reader takes the state over.
pub fn outcome(config: &FormatConfig, records: &[Record], cuts: &[(usize, bool)]) -> Outcome {
    let mut reader: Box<dyn Format> = format::open(config).unwrap();
    let mut outcome =
        Outcome { rows: Vec::new(), faults: Vec::new(), skipped: 0, state: Vec::new(), types: Vec::new() };
    let mut start = 0;
    for (cut, restore) in cuts.iter().copied().chain([(records.len(), false)]) {
        let block = block_from(start as i64, &records[start..cut]);
        let rows = reader.read(&block).unwrap();
        check(&rows, &block);
        let columns: Vec<Vec<String>> = rows
            .batch
            .columns()
            .iter()
            .map(|column| match column.as_any().downcast_ref::<NullArray>() {
                Some(nulls) => vec!["-".to_owned(); nulls.len()],
                None => texts(column),
            })
            .collect();
        for (row, record) in rows.records.iter().enumerate() {
            outcome.rows.push(((start + record) as i64, columns.iter().map(|column| column[row].clone()).collect()));
        }
        let messages =
            rows.faults.iter().map(|fault| ((start + rows.records[fault.row]) as i64, fault.message.clone()));
        outcome.faults.extend(messages);
        outcome.skipped += rows.skipped;
        outcome.types = rows.batch.schema().fields().iter().map(|field| field.data_type().to_string()).collect();
        outcome.state = reader.save().unwrap();
        if restore {
            reader = format::open(config).unwrap();
            reader.restore(&outcome.state).unwrap();
        }
        start = cut;
    }
    outcome
}

/// What holds of the rows of every block.
pub fn check(rows: &Rows, block: &RecordBlock) {
    assert_eq!(rows.batch.num_rows(), rows.records.len());
    assert!(rows.records.is_sorted());
    assert!(rows.faults.is_sorted_by(|left, right| left.row < right.row), "one fault a row, in order");
    for fault in &rows.faults {
        assert!(rows.batch.columns().iter().all(|column| column.is_null(fault.row) || column.data_type().is_null()));
        assert!(!fault.message.is_empty());
    }
    let mut seen: Vec<usize> = rows.records.clone();
    seen.dedup();
    assert_eq!(seen.len() as u64 + rows.skipped, block.len() as u64, "every record gives a row or is passed over");
}
