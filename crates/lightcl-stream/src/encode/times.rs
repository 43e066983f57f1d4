//! Event times in microseconds since 1970-01-01 UTC.

use super::texts::Texts;
use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow_buffer::NullBuffer;
use arrow_cast::parse::string_to_timestamp_nanos;
use arrow_schema::{DataType, TimeUnit};

/// Whether [`Times`] reads arrays of this type.
pub(crate) fn is_time(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Timestamp(..)
            | DataType::Int64
            | DataType::Date32
            | DataType::Date64
            | DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Null
    )
}

/// The times of one array. Whole numbers are microseconds already; text is read as ISO 8601.
#[derive(Debug, Clone)]
pub(crate) struct Times<'a> {
    nulls: Option<&'a NullBuffer>,
    values: Values<'a>,
}

#[derive(Debug, Clone)]
enum Values<'a> {
    /// A value times the factor is microseconds.
    Coarse(&'a [i64], i64),
    Days(&'a [i32]),
    Nanoseconds(&'a [i64]),
    Text(Texts<'a>),
}

impl<'a> Times<'a> {
    /// None for a type that holds no times.
    pub fn of(array: &'a dyn Array) -> Option<Self> {
        let values = match array.data_type() {
            DataType::Int64 => Values::Coarse(array.as_primitive_opt::<Int64Type>()?.values(), 1),
            DataType::Date64 => Values::Coarse(array.as_primitive_opt::<Date64Type>()?.values(), 1_000),
            DataType::Date32 => Values::Days(array.as_primitive_opt::<Date32Type>()?.values()),
            DataType::Timestamp(TimeUnit::Second, _) => {
                Values::Coarse(array.as_primitive_opt::<TimestampSecondType>()?.values(), 1_000_000)
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                Values::Coarse(array.as_primitive_opt::<TimestampMillisecondType>()?.values(), 1_000)
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Values::Coarse(array.as_primitive_opt::<TimestampMicrosecondType>()?.values(), 1)
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                Values::Nanoseconds(array.as_primitive_opt::<TimestampNanosecondType>()?.values())
            }
            other if is_time(other) => Values::Text(Texts::of(array)?),
            _ => return None,
        };
        Some(Times { nulls: array.nulls(), values })
    }

    /// None for null, for text that is no time, and for times beyond the range of 64 bits.
    pub fn get(&self, row: usize, scratch: &mut String) -> Option<i64> {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            return None;
        }
        match &self.values {
            Values::Coarse(values, factor) => values[row].checked_mul(*factor),
            Values::Days(values) => i64::from(values[row]).checked_mul(86_400_000_000),
            Values::Nanoseconds(values) => Some(values[row].div_euclid(1_000)),
            Values::Text(texts) => string_to_timestamp_nanos(texts.get(row, scratch)?.text)
                .ok()
                .map(|nanoseconds| nanoseconds.div_euclid(1_000)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{
        Date32Array, Int64Array, StringArray, TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray,
    };

    fn first(array: &dyn Array) -> Option<i64> {
        Times::of(array).unwrap().get(0, &mut String::new())
    }

    #[test]
    fn every_unit_becomes_microseconds() {
        assert_eq!(first(&TimestampSecondArray::from(vec![2])), Some(2_000_000));
        assert_eq!(first(&TimestampMillisecondArray::from(vec![-2])), Some(-2_000));
        assert_eq!(first(&TimestampNanosecondArray::from(vec![-1])), Some(-1));
        assert_eq!(first(&Int64Array::from(vec![5])), Some(5));
        assert_eq!(first(&Date32Array::from(vec![1])), Some(86_400_000_000));
        assert_eq!(first(&StringArray::from(vec!["1970-01-01T00:00:01.5Z"])), Some(1_500_000));
    }

    #[test]
    fn what_is_no_time_is_absent() {
        assert_eq!(first(&TimestampSecondArray::from(vec![i64::MAX])), None);
        assert_eq!(first(&Int64Array::from(vec![None])), None);
        assert_eq!(first(&StringArray::from(vec!["yesterday"])), None);
    }
}
