//! JSON lines. Each line is read for itself, since a reader of whole batches would round 1.5 to 1 in a column of whole
//! numbers and take the text "5" for a number.

use super::FileSourceConfig;
use super::json_columns::JsonColumns;
use super::json_types::{Seen, check};
use super::reader::{ReadRows, RowReader, unreadable};
use super::records::Records;
use super::text::{self, Lines, MAX_INFER_BYTES};
use arrow_schema::{DataType, Schema, SchemaRef};
use lightcl_core::Result;
use serde_json::Value;
use std::io::Read;
use std::sync::Arc;

/// The fields of JSON lines, gathered over the first rows of one file or several.
pub(super) struct JsonFields {
    seen: Seen,
    rows: usize,
    bytes: usize,
    /// Whether a file was left before its end.
    more: bool,
}

impl JsonFields {
    pub fn new() -> Self {
        JsonFields { seen: Seen::default(), rows: 0, bytes: 0, more: false }
    }

    /// Takes in as many rows of a file as are still needed.
    pub fn look_at<R: Read>(&mut self, input: R, config: &FileSourceConfig, name: &str) -> Result<()> {
        let mut records = Records::new(input, None, config.line_limit_bytes);
        loop {
            if self.rows >= config.infer_rows || self.bytes >= MAX_INFER_BYTES {
                self.more = true;
                return Ok(());
            }
            let Some(record) = records.next().map_err(|error| unreadable(name, error))? else { return Ok(()) };
            let bytes = records.bytes(&record);
            self.rows += 1;
            self.bytes += bytes.len();
            if record.fault.is_none()
                && let Ok(row @ Value::Object(_)) = serde_json::from_slice(bytes)
            {
                self.seen.take_in(&row);
            }
        }
    }

    /// The schema; without any row that is an object it has no columns.
    pub fn schema(self) -> SchemaRef {
        Arc::new(Schema::new(self.seen.fields(!self.more)))
    }
}

/// Reads the rows of one file.
pub(super) struct JsonReader {
    name: Arc<str>,
    records: Records<Box<dyn Read + Send>>,
    schema: SchemaRef,
    row_type: DataType,
    batch_rows: usize,
    limit: usize,
}

impl JsonReader {
    pub fn open(name: &Arc<str>, input: Box<dyn Read + Send>, schema: &SchemaRef, config: &FileSourceConfig) -> Self {
        JsonReader {
            name: Arc::clone(name),
            records: Records::new(input, None, config.line_limit_bytes),
            schema: Arc::clone(schema),
            row_type: DataType::Struct(schema.fields().clone()),
            batch_rows: config.batch_rows,
            limit: config.line_limit_bytes,
        }
    }

    /// The row of one line, or what is wrong with it.
    fn parse(&self, line: &[u8]) -> Result<Value, String> {
        let value: Value = serde_json::from_slice(line).map_err(|error| {
            let text = error.to_string();
            // Every line is line 1 to the parser.
            format!(": not valid JSON: {}", text.replace(" at line 1 column ", " at column "))
        })?;
        match value {
            Value::Object(_) => check(&value, &self.row_type, &mut String::new()).map(|()| value),
            other => check(&other, &DataType::Struct(self.schema.fields().clone()), &mut String::new())
                .and(Err(": found null, expected an object".to_owned())),
        }
    }
}

impl RowReader for JsonReader {
    fn next(&mut self) -> Result<Option<ReadRows>> {
        let mut lines = Lines::read(&mut self.records, self.batch_rows, self.limit, &self.name)?;
        if lines.len() == 0 {
            return Ok(None);
        }
        let mut columns = JsonColumns::new(&self.schema, lines.len());
        let mut found = Vec::new();
        let mut known = lines.faults.iter().map(|fault| fault.row).peekable();
        for row in 0..lines.len() {
            if known.next_if_eq(&row).is_some() {
                columns.append(None);
                continue;
            }
            match self.parse(lines.bytes(row)) {
                Ok(value) => columns.append(value.as_object()),
                Err(why) => {
                    found.push(lines.fault(row, &why));
                    columns.append(None);
                }
            }
        }
        drop(known);
        lines.faults.append(&mut found);
        let batch = columns.finish().map_err(|error| text::unbuildable(&self.name, error))?;
        Ok(Some(lines.into_rows(batch)))
    }

    fn skip(&mut self, rows: u64) -> Result<u64> {
        text::skip(&mut self.records, rows, &self.name)
    }
}
