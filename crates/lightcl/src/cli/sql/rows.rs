//! Rows on standard output.

use super::errors::of_statement;
use crate::cli::{SqlFormat, print};
use lightcl_core::{Error, Result};
use lightcl_datafusion::datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use lightcl_datafusion::datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use lightcl_datafusion::datafusion::arrow::error::ArrowError;
use lightcl_datafusion::datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use lightcl_datafusion::datafusion::arrow::util::pretty::pretty_format_batches_with_schema;
use lightcl_datafusion::datafusion::error::DataFusionError;
use std::sync::Arc;

/// Rows of one table on the screen: a longer result comes in several.
const TABLE_ROWS: usize = 10_000;

/// Writes the rows of one statement as they come.
pub(super) struct Rows {
    format: SqlFormat,
    schema: SchemaRef,
    /// Rows of a table that is not written yet.
    waiting: Vec<RecordBatch>,
    waiting_rows: usize,
    has_begun: bool,
}

impl Rows {
    pub fn new(format: SqlFormat, schema: SchemaRef) -> Self {
        Rows { format, schema, waiting: Vec::new(), waiting_rows: 0, has_begun: false }
    }

    pub fn write(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 || self.schema.fields().is_empty() {
            return Ok(());
        }
        match self.format {
            SqlFormat::Table => {
                self.waiting_rows += batch.num_rows();
                self.waiting.push(batch);
                if self.waiting_rows >= TABLE_ROWS { self.flush() } else { Ok(()) }
            }
            SqlFormat::Csv => self.write_csv(&batch),
            SqlFormat::Json => {
                self.has_begun = true;
                let mut text = Vec::new();
                let mut writer = arrow_json::LineDelimitedWriter::new(&mut text);
                writer.write(&batch).and_then(|()| writer.finish()).map_err(failed)?;
                print(&String::from_utf8_lossy(&text))
            }
        }
    }

    /// Shows rows that wait for their table to grow.
    pub fn flush(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let batches = std::mem::take(&mut self.waiting);
        (self.waiting_rows, self.has_begun) = (0, true);
        let table = pretty_format_batches_with_schema(Arc::clone(&self.schema), &batches).map_err(failed)?;
        print(&format!("{table}\n"))
    }

    /// Shows what is left, and of a result without rows what its columns are.
    pub fn finish(mut self) -> Result<()> {
        self.flush()?;
        if self.has_begun || self.schema.fields().is_empty() {
            return Ok(());
        }
        match self.format {
            SqlFormat::Table => {
                let table = pretty_format_batches_with_schema(Arc::clone(&self.schema), &[]).map_err(failed)?;
                print(&format!("{table}\n"))
            }
            SqlFormat::Csv => self.write_csv(&RecordBatch::new_empty(Arc::clone(&self.schema))),
            SqlFormat::Json => Ok(()),
        }
    }

    fn write_csv(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut text = Vec::new();
        let builder = arrow_csv::WriterBuilder::new().with_header(!self.has_begun);
        builder.build(&mut text).write(&flat(batch).map_err(failed)?).map_err(failed)?;
        self.has_begun = true;
        print(&String::from_utf8_lossy(&text))
    }
}

/// A batch whose lists and structures are text, since CSV has none.
fn flat(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let (mut fields, mut columns) = (Vec::new(), Vec::<ArrayRef>::new());
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        if !column.data_type().is_nested() {
            fields.push(Arc::clone(field));
            columns.push(Arc::clone(column));
            continue;
        }
        let formatter = ArrayFormatter::try_new(column.as_ref(), &FormatOptions::default())?;
        let texts = (0..column.len()).map(|row| column.is_valid(row).then(|| formatter.value(row).to_string()));
        columns.push(Arc::new(texts.collect::<StringArray>()));
        fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, true)));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

fn failed(error: ArrowError) -> Error {
    of_statement(&DataFusionError::from(error))
}
