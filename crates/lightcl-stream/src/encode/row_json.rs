//! One row as a JSON object, for dead letters.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_cast::display::array_value_to_string;
use arrow_schema::DataType;
use std::fmt::Write;

/// Binary values are written in hexadecimal up to this length; longer ones as their length.
const MAX_BINARY_BYTES: usize = 64 << 10;

/// Once a row's text is this long, the rest of a list is left out.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// The columns of one row in their order. Numbers that are not finite, and types that JSON has not, are strings.
pub(crate) fn row_to_json(batch: &RecordBatch, row: usize) -> String {
    let schema = batch.schema_ref();
    let mut out = String::from("{");
    for (number, (field, column)) in schema.fields().iter().zip(batch.columns()).enumerate() {
        if number > 0 {
            out.push_str(", ");
        }
        push_text(&mut out, field.name());
        out.push_str(": ");
        push_value(&mut out, column.as_ref(), row);
    }
    out.push('}');
    out
}

fn push_text(out: &mut String, text: &str) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

fn push_float(out: &mut String, value: f64, shown: impl std::fmt::Display) {
    if !value.is_finite() {
        push_text(out, &value.to_string());
    } else if value != 0.0 && (value.abs() >= 1e16 || value.abs() < 1e-5) {
        let _ = write!(out, "{value:e}");
    } else {
        let _ = write!(out, "{shown}");
    }
}

fn push_binary(out: &mut String, bytes: &[u8]) {
    if bytes.len() > MAX_BINARY_BYTES {
        let _ = write!(out, "{{\"bytes\": {}}}", bytes.len());
        return;
    }
    out.push('"');
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out.push('"');
}

fn push_list(out: &mut String, values: &dyn Array) {
    out.push('[');
    for index in 0..values.len() {
        if index > 0 {
            out.push_str(", ");
        }
        if out.len() > MAX_TEXT_BYTES {
            push_text(out, &format!("and {} more", values.len() - index));
            break;
        }
        push_value(out, values, index);
    }
    out.push(']');
}

fn push_value(out: &mut String, array: &dyn Array, row: usize) {
    if array.is_null(row) || array.data_type() == &DataType::Null {
        out.push_str("null");
        return;
    }
    macro_rules! whole {
        ($kind:ty) => {{
            let _ = write!(out, "{}", array.as_primitive::<$kind>().value(row));
        }};
    }
    match array.data_type() {
        DataType::Boolean => out.push_str(if array.as_boolean().value(row) { "true" } else { "false" }),
        DataType::Int8 => whole!(Int8Type),
        DataType::Int16 => whole!(Int16Type),
        DataType::Int32 => whole!(Int32Type),
        DataType::Int64 => whole!(Int64Type),
        DataType::UInt8 => whole!(UInt8Type),
        DataType::UInt16 => whole!(UInt16Type),
        DataType::UInt32 => whole!(UInt32Type),
        DataType::UInt64 => whole!(UInt64Type),
        DataType::Float16 => {
            let value = array.as_primitive::<Float16Type>().value(row);
            push_float(out, value.to_f64(), value);
        }
        DataType::Float32 => {
            let value = array.as_primitive::<Float32Type>().value(row);
            push_float(out, f64::from(value), value);
        }
        DataType::Float64 => {
            let value = array.as_primitive::<Float64Type>().value(row);
            push_float(out, value, value);
        }
        DataType::Utf8 => push_text(out, array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => push_text(out, array.as_string::<i64>().value(row)),
        DataType::Utf8View => push_text(out, array.as_string_view().value(row)),
        DataType::Binary => push_binary(out, array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => push_binary(out, array.as_binary::<i64>().value(row)),
        DataType::BinaryView => push_binary(out, array.as_binary_view().value(row)),
        DataType::FixedSizeBinary(_) => push_binary(out, array.as_fixed_size_binary().value(row)),
        DataType::List(_) => push_list(out, array.as_list::<i32>().value(row).as_ref()),
        DataType::LargeList(_) => push_list(out, array.as_list::<i64>().value(row).as_ref()),
        DataType::FixedSizeList(..) => push_list(out, array.as_fixed_size_list().value(row).as_ref()),
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            out.push('{');
            for (number, (field, column)) in fields.iter().zip(columns).enumerate() {
                if number > 0 {
                    out.push_str(", ");
                }
                push_text(out, field.name());
                out.push_str(": ");
                push_value(out, column.as_ref(), row);
            }
            out.push('}');
        }
        DataType::Dictionary(..) => push_dictionary_value(out, array, row),
        _ => match array_value_to_string(array, row) {
            Ok(text) => push_text(out, &text),
            Err(error) => push_text(out, &format!("not shown: {error}")),
        },
    }
}

fn push_dictionary_value(out: &mut String, array: &dyn Array, row: usize) {
    let dictionary = array.as_any_dictionary();
    // Keys of one row only: turning all of them would cost as much as the batch is long.
    let key = array.slice(row, 1);
    match key.as_any_dictionary().normalized_keys().first() {
        Some(&key) if key < dictionary.values().len() => push_value(out, dictionary.values().as_ref(), key),
        _ => out.push_str("null"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::types::{Int8Type, UInt8Type};
    use arrow_array::{
        ArrayRef, BinaryArray, DictionaryArray, FixedSizeListArray, Float64Array, Int64Array, StringArray,
        TimestampMicrosecondArray,
    };
    use std::sync::Arc;

    #[test]
    fn a_row_of_many_types_is_valid_json_in_column_order() {
        let dictionary: DictionaryArray<Int8Type> = vec![Some("b"), None, Some("a")].into_iter().collect();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("z", Arc::new(Float64Array::from(vec![Some(f64::NAN), Some(1.5), None]))),
            ("far", Arc::new(Float64Array::from(vec![1e300, -2e-9, 0.0]))),
            ("id", Arc::new(Int64Array::from(vec![i64::MAX, 0, -1]))),
            ("text \"q\"", Arc::new(StringArray::from(vec!["line\nbreak", "", "é"]))),
            ("bytes", Arc::new(BinaryArray::from_vec(vec![b"\x00\xff", b"", b"a"]))),
            ("tag", Arc::new(dictionary)),
            (
                "list",
                Arc::new(FixedSizeListArray::from_iter_primitive::<UInt8Type, _, _>(
                    (0..3).map(|row| Some(vec![Some(row), None])),
                    2,
                )),
            ),
            ("at", Arc::new(TimestampMicrosecondArray::from(vec![0, 1, 2]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let text = row_to_json(&batch, 0);
        assert!(
            text.starts_with(r#"{"z": "NaN", "far": 1e300, "id": 9223372036854775807, "text \"q\"": "line\nbreak""#)
        );
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["bytes"], "00ff");
        assert_eq!(value["tag"], "b");
        assert_eq!(value["list"], serde_json::json!([0, null]));
        assert_eq!(value["at"], "1970-01-01T00:00:00");
        let second: serde_json::Value = serde_json::from_str(&row_to_json(&batch, 1)).unwrap();
        assert_eq!((second["tag"].is_null(), second["far"].as_f64()), (true, Some(-2e-9)));
        let third: serde_json::Value = serde_json::from_str(&row_to_json(&batch.slice(2, 1), 0)).unwrap();
        assert_eq!((third["z"].is_null(), third["tag"].as_str()), (true, Some("a")));
    }

    #[test]
    fn long_binary_and_lists_stay_bounded() {
        let bytes = vec![7_u8; MAX_BINARY_BYTES + 1];
        let values = vec![Some(0_u8); MAX_TEXT_BYTES];
        let list = FixedSizeListArray::from_iter_primitive::<UInt8Type, _, _>([Some(values)], MAX_TEXT_BYTES as i32);
        let columns: Vec<(&str, ArrayRef)> =
            vec![("b", Arc::new(BinaryArray::from_vec(vec![&bytes]))), ("l", Arc::new(list))];
        let text = row_to_json(&RecordBatch::try_from_iter(columns).unwrap(), 0);
        assert!(text.len() < MAX_TEXT_BYTES + 100);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["b"]["bytes"], MAX_BINARY_BYTES + 1);
    }
}
