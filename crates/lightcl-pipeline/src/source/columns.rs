//! One schema for the files of a source.

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Field, Schema, SchemaRef};
use lightcl_core::{Error, Result};
use std::sync::Arc;

/// Columns are nullable, whatever the first file says: another may have nulls.
pub(super) fn common_schema(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// Refuses a file whose columns are not those of the first; the error names the first difference.
pub(super) fn same_columns(first: &Schema, first_name: &str, found: &Schema, name: &str) -> Result<()> {
    let (expected, fields) = (first.fields(), found.fields());
    let same = |(left, right): &(&Arc<Field>, &Arc<Field>)| {
        left.name() == right.name() && left.data_type() == right.data_type()
    };
    let number = expected.iter().zip(fields).take_while(same).count();
    if number == expected.len() && number == fields.len() {
        return Ok(());
    }
    let shown = |schema: &Schema| {
        let field = schema.fields().get(number);
        field.map_or("missing".to_owned(), |field| format!("'{}' of type {}", field.name(), field.data_type()))
    };
    Err(Error::user(format!(
        "the columns of '{name}' are not those of '{first_name}': column {} is {}, expected {}",
        number + 1,
        shown(found),
        shown(first)
    ))
    .with("file", name))
}

/// The same columns under the schema of the source.
pub(super) fn under_schema(schema: &SchemaRef, batch: RecordBatch) -> Result<RecordBatch> {
    if Arc::ptr_eq(schema, batch.schema_ref()) {
        return Ok(batch);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), batch.columns().to_vec(), &options)
        .map_err(|error| Error::internal("a batch does not fit the schema of its file").caused_by(error))
}
