//! From the arguments of a call to encoded rows.

use super::models::Loaded;
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, FieldRef, Schema};
use lightcl_core::{Error, Result};
use lightcl_stream::encode::FeatureRows;
use std::sync::Arc;

/// How the arguments of a call hold the features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// One argument a feature.
    Apart,
    /// One list with all of them.
    Together,
}

/// Checks that arguments of these types can be scored by a model.
///
/// # Errors
/// When there are too few or too many, or one has a type that does not fit.
pub(super) fn check(loaded: &Loaded, fields: &[FieldRef]) -> Result<()> {
    form(loaded, fields).map(|_| ())
}

fn form(loaded: &Loaded, fields: &[FieldRef]) -> Result<Form> {
    let encoder = &loaded.model.encoder;
    let features = &encoder.config().features;
    let packed = match fields {
        [only] if is_list(only.data_type()) => Some(encoder.check_packed(&renamed("features", only, only.data_type()))),
        _ => None,
    };
    if fields.len() == features.len() {
        let types = fields.iter().map(|field| field.data_type().clone());
        return match (encoder.check_features(&schema(loaded, fields, types)), packed) {
            (Ok(()), _) => Ok(Form::Apart),
            // The only feature may be a number, which then stands in a list of its own.
            (Err(_), Some(Ok(()))) => Ok(Form::Together),
            (Err(error), _) => Err(error),
        };
    }
    match packed {
        Some(checked) => checked.map(|()| Form::Together),
        None => {
            let names: Vec<&str> = features.iter().map(|feature| feature.column.as_str()).collect();
            Err(Error::user(format!(
                "the model has {}, but {} given; give them after the model in the order of training, or numbers all in \
                 one list",
                counted(features.len(), "feature"),
                if fields.len() == 1 { "1 was".to_owned() } else { format!("{} were", fields.len()) },
            ))
            .with("features", names.join(", ")))
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn is_list(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..))
}

/// The field of an argument under another name; what its metadata says of tensors stays.
fn renamed(name: &str, field: &Field, data_type: &DataType) -> Field {
    Field::new(name, data_type.clone(), true).with_metadata(field.metadata().clone())
}

fn schema(loaded: &Loaded, fields: &[FieldRef], types: impl Iterator<Item = DataType>) -> Schema {
    let features = &loaded.model.encoder.config().features;
    let named = features.iter().zip(fields).zip(types);
    Schema::new(
        named.map(|((feature, field), data_type)| renamed(&feature.column, field, &data_type)).collect::<Vec<_>>(),
    )
}

/// Encodes the arguments of a call.
///
/// # Errors
/// As [`check`].
pub(super) fn encode(loaded: &Loaded, fields: &[FieldRef], arrays: Vec<ArrayRef>, rows: usize) -> Result<FeatureRows> {
    let encoder = &loaded.model.encoder;
    match (form(loaded, fields)?, &arrays[..]) {
        (Form::Together, [lists]) => {
            encoder.encode_packed(&renamed("features", &fields[0], lists.data_type()), lists.as_ref())
        }
        _ => {
            let schema = schema(loaded, fields, arrays.iter().map(|array| array.data_type().clone()));
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            let batch = RecordBatch::try_new_with_options(Arc::new(schema), arrays, &options)
                .map_err(|error| Error::internal("the arguments of a call make no batch").caused_by(error))?;
            encoder.encode_features(&batch)
        }
    }
}
