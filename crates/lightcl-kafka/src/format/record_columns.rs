//! Columns of what stands beside a record's value: key, headers, time and place.

use super::decoded::Column;
use super::types;
use crate::records::{Record, RecordBlock};
use arrow_array::builder::{BinaryBuilder, StringBuilder};
use arrow_array::{ArrayRef, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field};
use lightcl_core::{Error, Result};
use std::sync::Arc;

/// What begins the names of all columns beside values.
const PREFIX: &str = "kafka.";

/// A column that stands beside the value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RecordColumn {
    Key,
    Timestamp,
    Partition,
    Offset,
    Topic,
    Header(String),
}

impl RecordColumn {
    /// The column of a name; none where the name is that of a value's part.
    ///
    /// # Errors
    /// When the name begins with `kafka.` and nothing is called so.
    pub fn of(name: &str) -> Result<Option<Self>> {
        let Some(rest) = name.strip_prefix(PREFIX) else { return Ok(None) };
        Ok(Some(match rest {
            "key" => RecordColumn::Key,
            "timestamp" => RecordColumn::Timestamp,
            "partition" => RecordColumn::Partition,
            "offset" => RecordColumn::Offset,
            "topic" => RecordColumn::Topic,
            other => match other.strip_prefix("header.") {
                Some(header) if !header.is_empty() => RecordColumn::Header(header.to_owned()),
                _ => {
                    return Err(Error::user(
                        "no such column of records; there are kafka.key, kafka.timestamp, kafka.partition, kafka.offset, \
                         kafka.topic and kafka.header.NAME",
                    )
                    .with("column", name));
                }
            },
        }))
    }

    /// What it holds.
    pub fn data_type(&self) -> DataType {
        match self {
            RecordColumn::Key | RecordColumn::Topic | RecordColumn::Header(_) => DataType::Utf8,
            RecordColumn::Timestamp => types::utc(),
            RecordColumn::Partition => DataType::Int32,
            RecordColumn::Offset => DataType::Int64,
        }
    }

    /// The column of all rows, each of which names its record. Bytes that should be text and are none are faults.
    pub(super) fn read(
        &self,
        name: &str,
        wanted: Option<&DataType>,
        block: &RecordBlock,
        records: &[usize],
        faults: &mut Vec<(usize, String)>,
    ) -> Column {
        let all = || records.iter().map(|record| block.record(*record));
        let array: ArrayRef = match self {
            RecordColumn::Key | RecordColumn::Header(_) => {
                let bytes = all().map(|record| self.bytes(&record));
                if wanted == Some(&DataType::Binary) { binary(bytes) } else { text(name, bytes, faults) }
            }
            RecordColumn::Timestamp => {
                let times = all().map(|record| record.timestamp_ms.and_then(|time| time.checked_mul(1_000)));
                Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("+00:00"))
            }
            RecordColumn::Partition => Arc::new(Int32Array::from_value(block.partition(), records.len())),
            RecordColumn::Offset => Arc::new(all().map(|record| Some(record.offset)).collect::<Int64Array>()),
            RecordColumn::Topic => {
                Arc::new(records.iter().map(|_| Some(block.topic().as_ref())).collect::<StringArray>())
            }
        };
        let field = Arc::new(Field::new(name, array.data_type().clone(), true));
        Column { array, field }
    }

    fn bytes<'a>(&self, record: &Record<'a>) -> Option<&'a [u8]> {
        match self {
            RecordColumn::Header(header) => record.header(header.as_bytes()).flatten(),
            _ => record.key,
        }
    }
}

fn binary<'a>(values: impl Iterator<Item = Option<&'a [u8]>>) -> ArrayRef {
    let mut builder = BinaryBuilder::new();
    values.for_each(|value| builder.append_option(value));
    Arc::new(builder.finish())
}

fn text<'a>(name: &str, values: impl Iterator<Item = Option<&'a [u8]>>, faults: &mut Vec<(usize, String)>) -> ArrayRef {
    let mut builder = StringBuilder::new();
    for (row, value) in values.enumerate() {
        match value.map(std::str::from_utf8) {
            None => builder.append_null(),
            Some(Ok(value)) => builder.append_value(value),
            Some(Err(_)) => {
                faults.push((row, format!("column '{name}': found bytes that are no UTF-8, expected text")));
                builder.append_null();
            }
        }
    }
    Arc::new(builder.finish())
}
