//! Rows written to a topic, at least once.

use crate::config::Connection;
use crate::format::record_columns::RecordColumn;
use crate::outbox::OutRecord;
use crate::producer::{Deliverer, Failure};
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::cast;
use arrow_ipc::writer::StreamWriter;
use arrow_json::WriterBuilder;
use arrow_json::writer::LineDelimited;
use arrow_schema::{ArrowError, DataType};
use lightcl_core::{Error, Result};
use rdkafka::TopicPartitionList;
use std::sync::Arc;

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteFormat {
    /// A JSON object a row; nulls are left out.
    Json,
    /// An Arrow IPC stream of one batch: a record holds many rows, and there is no key.
    Arrow,
}

/// Writes rows to a topic. Columns called `kafka.key`, `kafka.partition` and `kafka.header.NAME` become those of the record;
/// all others are its value.
pub struct RowWriter {
    topic: Arc<str>,
    format: WriteFormat,
    deliverer: Deliverer,
}

impl RowWriter {
    /// A writer; the client connects when the first rows come.
    pub fn new(connection: Connection, topic: &str, format: WriteFormat) -> Self {
        RowWriter { topic: topic.into(), format, deliverer: Deliverer::new(connection, None) }
    }

    /// Writes rows, and waits until the brokers have them.
    ///
    /// # Errors
    /// When a column cannot be written or the topic does not take it. What was delivered before stays; a retryable error may
    /// have delivered some of these rows.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let records = records(&self.topic, self.format, batch)?;
        let mut tries = 0;
        loop {
            match self.deliverer.deliver(&records, &TopicPartitionList::new(), None) {
                Ok(_) => return Ok(()),
                Err(Failure::Again(_) | Failure::Unknown(_)) if tries < 3 => tries += 1,
                Err(failure) => return Err(failure.into_error().with("topic", &self.topic)),
            }
        }
    }
}

/// The columns beside the value, as text.
#[derive(Default)]
struct Beside {
    key: Option<ArrayRef>,
    partition: Option<ArrayRef>,
    headers: Vec<(String, ArrayRef)>,
}

fn records(topic: &Arc<str>, format: WriteFormat, batch: &RecordBatch) -> Result<Vec<OutRecord>> {
    let (beside, value) = split(batch)?;
    let failed =
        |error: ArrowError| Error::user("rows cannot be written to the topic").with("topic", topic).caused_by(error);
    let mut records = Vec::new();
    let mut push = |row: usize, value: Vec<u8>| {
        let text = |column: &ArrayRef| {
            let texts = column.as_string::<i32>();
            texts.is_valid(row).then(|| texts.value(row).as_bytes().to_vec())
        };
        let partition = beside.partition.as_ref().map(|column| column.as_primitive::<Int32Type>());
        records.push(OutRecord {
            topic: Arc::clone(topic),
            partition: partition.filter(|column| column.is_valid(row)).map(|column| column.value(row)),
            key: beside.key.as_ref().and_then(text),
            value: Some(value),
            headers: beside.headers.iter().map(|(name, column)| (name.clone(), text(column))).collect(),
            token: 0,
        });
    };
    match format {
        WriteFormat::Json => {
            let mut lines = WriterBuilder::new().build::<_, LineDelimited>(Vec::new());
            lines.write(&value).and_then(|()| lines.finish()).map_err(failed)?;
            // One line a row: line breaks in texts are escaped.
            for (row, line) in lines.into_inner().split(|&byte| byte == b'\n').take(value.num_rows()).enumerate() {
                push(row, line.to_vec());
            }
        }
        WriteFormat::Arrow => {
            if beside.key.is_some() || beside.partition.is_some() || !beside.headers.is_empty() {
                return Err(Error::user(
                    "a record of Arrow holds many rows, so that a row has no key, partition or header of its own; write json",
                )
                .with("topic", topic));
            }
            if value.num_rows() > 0 {
                let mut stream = StreamWriter::try_new(Vec::new(), &value.schema()).map_err(failed)?;
                stream.write(&value).and_then(|()| stream.finish()).map_err(failed)?;
                push(0, stream.into_inner().map_err(failed)?);
            }
        }
    }
    Ok(records)
}

/// Parts the columns beside the value from the others.
fn split(batch: &RecordBatch) -> Result<(Beside, RecordBatch)> {
    let (mut beside, mut kept) = (Beside::default(), Vec::new());
    for (number, field) in batch.schema().fields().iter().enumerate() {
        let name = field.name();
        let to = |data_type: &DataType| {
            cast(batch.column(number), data_type).map_err(|error| {
                Error::user("a column beside the value has the wrong type").with("column", name).caused_by(error)
            })
        };
        match RecordColumn::of(name)? {
            None => kept.push(number),
            Some(RecordColumn::Key) => beside.key = Some(to(&DataType::Utf8)?),
            Some(RecordColumn::Partition) => beside.partition = Some(to(&DataType::Int32)?),
            Some(RecordColumn::Header(header)) => beside.headers.push((header, to(&DataType::Utf8)?)),
            Some(RecordColumn::Timestamp | RecordColumn::Offset | RecordColumn::Topic) => {
                // The broker decides; where they are all null, they only stand there to make up the table's columns.
                if batch.column(number).null_count() < batch.num_rows() {
                    return Err(Error::user(
                        "offset, time and topic of a record are not for the writer to choose; leave the column out",
                    )
                    .with("column", name));
                }
            }
        }
    }
    let value = batch.project(&kept).map_err(|error| Error::internal("columns that are there").caused_by(error))?;
    Ok((beside, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Int64Array, StringArray};

    #[test]
    fn keys_partitions_and_headers_stand_beside_the_value_and_nulls_are_left_out_of_it() {
        let batch = RecordBatch::try_from_iter([
            ("kafka.key", Arc::new(StringArray::from(vec![Some("a"), None])) as ArrayRef),
            ("kafka.partition", Arc::new(Int64Array::from(vec![None, Some(2)]))),
            ("kafka.header.source", Arc::new(Int64Array::from(vec![7, 8]))),
            ("text", Arc::new(StringArray::from(vec![Some("two\nlines"), None]))),
            ("x", Arc::new(Int64Array::from(vec![1, 2]))),
        ])
        .unwrap();
        let records = records(&"t".into(), WriteFormat::Json, &batch).unwrap();
        let shown = |record: &OutRecord| {
            let text = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| String::from_utf8(bytes.clone()).unwrap());
            (text(&record.key), record.partition, text(&record.value), text(&record.headers[0].1))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(shown(&records[0]), (some("a"), None, some(r#"{"text":"two\nlines","x":1}"#), some("7")));
        assert_eq!(shown(&records[1]), (None, Some(2), some(r#"{"x":2}"#), some("8")));
        assert_eq!(records.len(), 2);
    }

    #[test]
    fn what_the_broker_decides_and_keys_of_many_rows_are_refused() {
        let with =
            |name: &str| RecordBatch::try_from_iter([(name, Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
        let refused = |format, name: &str| records(&"t".into(), format, &with(name)).unwrap_err().to_string();
        assert!(refused(WriteFormat::Json, "kafka.offset").contains("not for the writer to choose"));
        assert!(refused(WriteFormat::Json, "kafka.ofset").contains("no such column of records"));
        assert!(refused(WriteFormat::Arrow, "kafka.key").contains("many rows"));
    }
}
