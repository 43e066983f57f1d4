//! Typed access to arrays of values that have a name: text, whole numbers, booleans and dictionaries of these.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{Array, BooleanArray, LargeStringArray, StringArray, StringViewArray};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// What a named value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ValueKind {
    Integer,
    Text,
    Boolean,
}

impl ValueKind {
    pub fn describe(self) -> &'static str {
        match self {
            ValueKind::Integer => "a whole number",
            ValueKind::Text => "text",
            ValueKind::Boolean => "a boolean",
        }
    }
}

/// Whether [`Texts`] reads arrays of this type.
pub(crate) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Boolean | DataType::Null => true,
        DataType::Dictionary(_, values) => !matches!(**values, DataType::Dictionary(..)) && is_text(values),
        other => other.is_integer(),
    }
}

/// Whole numbers of any width.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Integers<'a> {
    I8(&'a [i8]),
    I16(&'a [i16]),
    I32(&'a [i32]),
    I64(&'a [i64]),
    U8(&'a [u8]),
    U16(&'a [u16]),
    U32(&'a [u32]),
    U64(&'a [u64]),
}

impl<'a> Integers<'a> {
    fn of(array: &'a dyn Array) -> Option<Self> {
        macro_rules! values {
            ($kind:ty) => {
                array.as_primitive_opt::<$kind>()?.values().as_ref()
            };
        }
        Some(match array.data_type() {
            DataType::Int8 => Integers::I8(values!(Int8Type)),
            DataType::Int16 => Integers::I16(values!(Int16Type)),
            DataType::Int32 => Integers::I32(values!(Int32Type)),
            DataType::Int64 => Integers::I64(values!(Int64Type)),
            DataType::UInt8 => Integers::U8(values!(UInt8Type)),
            DataType::UInt16 => Integers::U16(values!(UInt16Type)),
            DataType::UInt32 => Integers::U32(values!(UInt32Type)),
            DataType::UInt64 => Integers::U64(values!(UInt64Type)),
            _ => return None,
        })
    }

    fn value(&self, row: usize) -> i128 {
        match *self {
            Integers::I8(values) => i128::from(values[row]),
            Integers::I16(values) => i128::from(values[row]),
            Integers::I32(values) => i128::from(values[row]),
            Integers::I64(values) => i128::from(values[row]),
            Integers::U8(values) => i128::from(values[row]),
            Integers::U16(values) => i128::from(values[row]),
            Integers::U32(values) => i128::from(values[row]),
            Integers::U64(values) => i128::from(values[row]),
        }
    }
}

/// The values of an array of named values.
#[derive(Debug, Clone)]
pub(crate) struct Texts<'a> {
    nulls: Option<&'a NullBuffer>,
    values: Values<'a>,
}

#[derive(Debug, Clone)]
enum Values<'a> {
    Null,
    Text(&'a StringArray),
    LargeText(&'a LargeStringArray),
    TextView(&'a StringViewArray),
    Boolean(&'a BooleanArray),
    Integer(Integers<'a>),
    Dictionary { keys: Integers<'a>, values: Box<Texts<'a>> },
}

/// One value: its name, and the number it is where it is one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Named<'a> {
    pub kind: ValueKind,
    pub text: &'a str,
    /// The value itself when `kind` is [`ValueKind::Integer`], else 0.
    pub integer: i128,
}

impl<'a> Texts<'a> {
    /// None for a type that has no names.
    pub fn of(array: &'a dyn Array) -> Option<Self> {
        if let Some(dictionary) = array.as_any_dictionary_opt() {
            let values = Box::new(Texts::of(dictionary.values().as_ref())?);
            if matches!(values.values, Values::Dictionary { .. }) {
                return None;
            }
            let keys = Integers::of(dictionary.keys())?;
            return Some(Texts { nulls: array.nulls(), values: Values::Dictionary { keys, values } });
        }
        let values = match array.data_type() {
            DataType::Null => Values::Null,
            DataType::Utf8 => Values::Text(array.as_string_opt()?),
            DataType::LargeUtf8 => Values::LargeText(array.as_string_opt()?),
            DataType::Utf8View => Values::TextView(array.as_string_view_opt()?),
            DataType::Boolean => Values::Boolean(array.as_boolean_opt()?),
            _ => Values::Integer(Integers::of(array)?),
        };
        Some(Texts { nulls: array.nulls(), values })
    }

    /// The value of one row; none for null. `scratch` holds the name of a number.
    pub fn get<'b>(&'b self, row: usize, scratch: &'b mut String) -> Option<Named<'b>> {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            return None;
        }
        let text = |text: &'b str| Named { kind: ValueKind::Text, text, integer: 0 };
        Some(match &self.values {
            Values::Null => return None,
            Values::Text(values) => text(values.value(row)),
            Values::LargeText(values) => text(values.value(row)),
            Values::TextView(values) => text(values.value(row)),
            Values::Boolean(values) => {
                let text = if values.value(row) { "true" } else { "false" };
                Named { kind: ValueKind::Boolean, text, integer: 0 }
            }
            Values::Integer(values) => {
                let integer = values.value(row);
                scratch.clear();
                // Writing to a String cannot fail.
                let _ = write!(scratch, "{integer}");
                Named { kind: ValueKind::Integer, text: scratch, integer }
            }
            Values::Dictionary { keys, values } => {
                let key = usize::try_from(keys.value(row)).ok()?;
                return values.get(key, scratch);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{DictionaryArray, Int32Array, StringArray, UInt64Array};
    use std::sync::Arc;

    fn names(array: &dyn Array) -> Vec<Option<String>> {
        let texts = Texts::of(array).unwrap();
        let mut scratch = String::new();
        (0..array.len()).map(|row| texts.get(row, &mut scratch).map(|value| value.text.to_owned())).collect()
    }

    #[test]
    fn dictionaries_are_their_values_also_after_a_slice() {
        let values = Arc::new(StringArray::from(vec![Some("a"), None, Some("c")]));
        let keys = Int32Array::from(vec![Some(2), Some(0), None, Some(1)]);
        let dictionary = DictionaryArray::new(keys, values);
        let expected = [Some("c".to_owned()), Some("a".to_owned()), None, None];
        assert_eq!(names(&dictionary), expected);
        assert_eq!(names(&dictionary.slice(1, 3)), expected[1..]);
    }

    #[test]
    fn whole_numbers_keep_their_value_beyond_63_bits() {
        let array = UInt64Array::from(vec![Some(u64::MAX), None]);
        assert_eq!(names(&array), [Some(u64::MAX.to_string()), None]);
    }
}
