//! JSON values into Arrow columns.

use arrow_array::builder::{
    ArrayBuilder, BooleanBuilder, Float64Builder, Int64Builder, ListBuilder, NullBuilder, StringBuilder, StructBuilder,
    make_builder,
};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{ArrowError, DataType, SchemaRef};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Builds one batch row by row. Values are those that [`super::json_types::check`] let pass; any other becomes null.
pub(super) struct JsonColumns {
    schema: SchemaRef,
    builders: Vec<Box<dyn ArrayBuilder>>,
    rows: usize,
}

type Lists = ListBuilder<Box<dyn ArrayBuilder>>;

impl JsonColumns {
    pub fn new(schema: &SchemaRef, rows: usize) -> Self {
        let builders = schema.fields().iter().map(|field| make_builder(field.data_type(), rows)).collect();
        JsonColumns { schema: Arc::clone(schema), builders, rows: 0 }
    }

    /// Appends a row; without one, a row of nulls.
    pub fn append(&mut self, row: Option<&Map<String, Value>>) {
        for (field, builder) in self.schema.fields().iter().zip(&mut self.builders) {
            append(builder.as_mut(), field.data_type(), row.and_then(|row| row.get(field.name())));
        }
        self.rows += 1;
    }

    pub fn finish(mut self) -> Result<RecordBatch, ArrowError> {
        let columns: Vec<ArrayRef> = self.builders.iter_mut().map(|builder| builder.finish()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        RecordBatch::try_new_with_options(self.schema, columns, &options)
    }
}

fn append(builder: &mut dyn ArrayBuilder, data_type: &DataType, value: Option<&Value>) {
    let builder = builder.as_any_mut();
    match data_type {
        DataType::Boolean => {
            if let Some(builder) = builder.downcast_mut::<BooleanBuilder>() {
                builder.append_option(value.and_then(Value::as_bool));
            }
        }
        DataType::Int64 => {
            if let Some(builder) = builder.downcast_mut::<Int64Builder>() {
                builder.append_option(value.and_then(Value::as_i64));
            }
        }
        DataType::Float64 => {
            if let Some(builder) = builder.downcast_mut::<Float64Builder>() {
                builder.append_option(value.and_then(Value::as_f64));
            }
        }
        DataType::Utf8 => {
            if let Some(builder) = builder.downcast_mut::<StringBuilder>() {
                builder.append_option(value.and_then(Value::as_str));
            }
        }
        DataType::List(item) => {
            if let Some(builder) = builder.downcast_mut::<Lists>() {
                let items = value.and_then(Value::as_array);
                append_items(builder.values().as_mut(), item.data_type(), items.map_or(&[], Vec::as_slice));
                builder.append(items.is_some());
            }
        }
        DataType::Struct(fields) => {
            if let Some(builder) = builder.downcast_mut::<StructBuilder>() {
                let object = value.and_then(Value::as_object);
                for (field, child) in fields.iter().zip(builder.field_builders_mut()) {
                    append(child.as_mut(), field.data_type(), object.and_then(|object| object.get(field.name())));
                }
                builder.append(object.is_some());
            }
        }
        _ => {
            if let Some(builder) = builder.downcast_mut::<NullBuilder>() {
                builder.append_null();
            }
        }
    }
}

/// Appends the items of one list; numbers, the common case, without a look-up for each.
fn append_items(builder: &mut dyn ArrayBuilder, data_type: &DataType, items: &[Value]) {
    if let Some(numbers) = builder.as_any_mut().downcast_mut::<Float64Builder>() {
        items.iter().for_each(|item| numbers.append_option(item.as_f64()));
    } else if let Some(numbers) = builder.as_any_mut().downcast_mut::<Int64Builder>() {
        items.iter().for_each(|item| numbers.append_option(item.as_i64()));
    } else {
        items.iter().for_each(|item| append(builder, data_type, Some(item)));
    }
}
