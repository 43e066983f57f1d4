//! Typed access to arrays of numbers.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, Float16Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, BooleanArray};
use arrow_buffer::i256;
use arrow_schema::DataType;
use half::f16;
use std::ops::Range;

/// Whether [`Numbers`] reads arrays of this type.
pub(crate) fn is_number(data_type: &DataType) -> bool {
    data_type.is_integer()
        || data_type.is_floating()
        || data_type.is_decimal()
        || matches!(data_type, DataType::Boolean | DataType::Null)
}

/// The values of a number array; nulls are looked up apart.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Numbers<'a> {
    /// Every value is null.
    Null,
    Bool(&'a BooleanArray),
    I8(&'a [i8]),
    I16(&'a [i16]),
    I32(&'a [i32]),
    I64(&'a [i64]),
    U8(&'a [u8]),
    U16(&'a [u16]),
    U32(&'a [u32]),
    U64(&'a [u64]),
    F16(&'a [f16]),
    F32(&'a [f32]),
    F64(&'a [f64]),
    Decimal32(&'a [i32], f64),
    Decimal64(&'a [i64], f64),
    Decimal128(&'a [i128], f64),
    Decimal256(&'a [i256], f64),
}

/// A number that is not finite, or not in the range of `f32`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct NotFinite {
    /// Where it stands, counted from the start of the range that was copied.
    pub at: usize,
    /// The number as it was found.
    pub found: f64,
}

impl NotFinite {
    pub fn describe(&self) -> String {
        if self.found.is_finite() {
            format!("found {:e}, which is beyond the range of 32-bit floating point", self.found)
        } else {
            format!("found {}, expected a finite number", self.found)
        }
    }
}

fn scale_of(data_type: &DataType) -> f64 {
    let scale = match data_type {
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => *scale,
        _ => 0,
    };
    10_f64.powi(i32::from(scale))
}

impl<'a> Numbers<'a> {
    /// None for a type that is no number.
    pub fn of(array: &'a dyn Array) -> Option<Self> {
        macro_rules! values {
            ($kind:ty) => {
                array.as_primitive_opt::<$kind>()?.values().as_ref()
            };
        }
        let scale = scale_of(array.data_type());
        Some(match array.data_type() {
            DataType::Null => Numbers::Null,
            DataType::Boolean => Numbers::Bool(array.as_boolean_opt()?),
            DataType::Int8 => Numbers::I8(values!(Int8Type)),
            DataType::Int16 => Numbers::I16(values!(Int16Type)),
            DataType::Int32 => Numbers::I32(values!(Int32Type)),
            DataType::Int64 => Numbers::I64(values!(Int64Type)),
            DataType::UInt8 => Numbers::U8(values!(UInt8Type)),
            DataType::UInt16 => Numbers::U16(values!(UInt16Type)),
            DataType::UInt32 => Numbers::U32(values!(UInt32Type)),
            DataType::UInt64 => Numbers::U64(values!(UInt64Type)),
            DataType::Float16 => Numbers::F16(values!(Float16Type)),
            DataType::Float32 => Numbers::F32(values!(Float32Type)),
            DataType::Float64 => Numbers::F64(values!(Float64Type)),
            DataType::Decimal32(..) => Numbers::Decimal32(values!(Decimal32Type), scale),
            DataType::Decimal64(..) => Numbers::Decimal64(values!(Decimal64Type), scale),
            DataType::Decimal128(..) => Numbers::Decimal128(values!(Decimal128Type), scale),
            DataType::Decimal256(..) => Numbers::Decimal256(values!(Decimal256Type), scale),
            _ => return None,
        })
    }

    /// Appends the values of `range` to `out`; `bytes_as_unit` divides whole numbers of 8 bits without sign by 255.
    pub fn copy(&self, range: Range<usize>, bytes_as_unit: bool, out: &mut Vec<f32>) -> Result<(), NotFinite> {
        if matches!(self, Numbers::Null) {
            return Ok(());
        }
        let (first, start) = (range.start, out.len());
        out.resize(start + range.len(), 0.0);
        let copied = &mut out[start..];
        self.scatter(range, 1, copied);
        if bytes_as_unit && matches!(self, Numbers::U8(_)) {
            copied.iter_mut().for_each(|value| *value /= 255.0);
        }
        match copied.iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(at) => Err(NotFinite { at, found: self.wide(first + at) }),
        }
    }

    /// A value with all its digits, of the types that have values too large for `f32` or not finite.
    fn wide(&self, row: usize) -> f64 {
        match *self {
            Numbers::F16(values) => f64::from(values[row]),
            Numbers::F32(values) => f64::from(values[row]),
            Numbers::F64(values) => values[row],
            Numbers::Decimal32(values, scale) => f64::from(values[row]) / scale,
            Numbers::Decimal64(values, scale) => values[row] as f64 / scale,
            Numbers::Decimal128(values, scale) => values[row] as f64 / scale,
            Numbers::Decimal256(values, scale) => wide_256(values[row]) / scale,
            // The others have none.
            _ => f64::NAN,
        }
    }

    /// Writes the values of `range` to every `stride`th place of `out`: a column of numbers that are kept row by row. Booleans
    /// are 0 and 1. What is not finite, or is beyond the range of `f32`, becomes a number that is not finite; nulls give any
    /// number.
    pub fn scatter(&self, range: Range<usize>, stride: usize, out: &mut [f32]) {
        fn each<T: Copy>(values: &[T], stride: usize, out: &mut [f32], convert: impl Fn(T) -> f32) {
            for (place, &value) in out.iter_mut().step_by(stride).zip(values) {
                *place = convert(value);
            }
        }
        match *self {
            Numbers::Null => {}
            Numbers::Bool(values) => {
                for (place, row) in out.iter_mut().step_by(stride).zip(range) {
                    *place = if values.value(row) { 1.0 } else { 0.0 };
                }
            }
            Numbers::U8(values) => each(&values[range], stride, out, f32::from),
            Numbers::I8(values) => each(&values[range], stride, out, f32::from),
            Numbers::I16(values) => each(&values[range], stride, out, f32::from),
            Numbers::U16(values) => each(&values[range], stride, out, f32::from),
            Numbers::I32(values) => each(&values[range], stride, out, |value| value as f32),
            Numbers::U32(values) => each(&values[range], stride, out, |value| value as f32),
            Numbers::I64(values) => each(&values[range], stride, out, |value| value as f32),
            Numbers::U64(values) => each(&values[range], stride, out, |value| value as f32),
            Numbers::F16(values) => each(&values[range], stride, out, f32::from),
            Numbers::F32(values) => each(&values[range], stride, out, |value| value),
            Numbers::F64(values) => each(&values[range], stride, out, |value| value as f32),
            Numbers::Decimal32(values, scale) => {
                each(&values[range], stride, out, |value| (f64::from(value) / scale) as f32);
            }
            Numbers::Decimal64(values, scale) => {
                each(&values[range], stride, out, |value| (value as f64 / scale) as f32)
            }
            Numbers::Decimal128(values, scale) => {
                each(&values[range], stride, out, |value| (value as f64 / scale) as f32)
            }
            Numbers::Decimal256(values, scale) => {
                each(&values[range], stride, out, |value| (wide_256(value) / scale) as f32);
            }
        }
    }
}

fn wide_256(value: i256) -> f64 {
    let (low, high) = value.wrapping_abs().to_parts();
    let size = (high as u128) as f64 * 2_f64.powi(128) + low as f64;
    if value.is_negative() { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{ArrayRef, Decimal128Array, Decimal256Array, Float16Array, Float64Array, UInt8Array};
    use std::sync::Arc;

    fn copied(array: ArrayRef, unit: bool) -> Result<Vec<f32>, NotFinite> {
        let mut out = Vec::new();
        let length = array.len();
        Numbers::of(array.as_ref()).unwrap().copy(0..length, unit, &mut out).map(|()| out)
    }

    #[test]
    fn bytes_are_plain_numbers_or_shares_of_255() {
        let bytes = Arc::new(UInt8Array::from(vec![0, 51, 255]));
        assert_eq!(copied(bytes.clone(), false).unwrap(), [0.0, 51.0, 255.0]);
        assert_eq!(copied(bytes, true).unwrap(), [0.0, 0.2, 1.0]);
    }

    #[test]
    fn decimals_follow_their_scale() {
        let small = Decimal128Array::from(vec![12345, -5]).with_precision_and_scale(10, 2).unwrap();
        assert_eq!(copied(Arc::new(small), false).unwrap(), [123.45, -0.05]);
        let wide = Decimal256Array::from(vec![i256::from_i128(-700)]).with_precision_and_scale(40, 1).unwrap();
        assert_eq!(copied(Arc::new(wide), false).unwrap(), [-70.0]);
    }

    #[test]
    fn numbers_beyond_32_bits_are_told_from_infinite_ones() {
        let far = copied(Arc::new(Float64Array::from(vec![1.0, 1e300])), false).unwrap_err();
        assert_eq!((far.at, far.found), (1, 1e300));
        assert!(far.describe().contains("beyond the range"));
        let infinite = copied(Arc::new(Float16Array::from(vec![f16::INFINITY])), false).unwrap_err();
        assert!(infinite.describe().contains("inf"));
    }
}
