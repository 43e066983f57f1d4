//! Lists of numbers: vectors and tensors.

use super::config::MAX_SAMPLE_VALUES;
use super::numbers::{NotFinite, Numbers, is_number};
use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field};
use std::ops::Range;

/// What the type of a list column says of its tensors.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct TensorType {
    /// The shape, where the type fixes it.
    pub shape: Option<Vec<usize>>,
    /// For a permuted layout: where in a stored tensor number `i` stands.
    pub gather: Option<Vec<usize>>,
}

/// Reads the type of a list column; an error is a sentence that says why it cannot be used.
pub(crate) fn tensor_type(field: &Field) -> Result<TensorType, String> {
    let mut dims = Vec::new();
    let mut fixed = true;
    let mut data_type = field.data_type();
    loop {
        match data_type {
            DataType::FixedSizeList(item, size) => {
                dims.push(usize::try_from(*size).unwrap_or(0));
                data_type = item.data_type();
            }
            DataType::List(item) | DataType::LargeList(item) => {
                fixed = false;
                data_type = item.data_type();
            }
            DataType::ListView(_) | DataType::LargeListView(_) => {
                return Err("list views are not read; cast the column to List".to_owned());
            }
            other if is_number(other) => break,
            other => return Err(format!("its values are {other}, not numbers")),
        }
    }
    if !fixed {
        return Ok(TensorType::default());
    }
    checked_size(&dims)?;
    let permuted = fixed_shape_tensor(field)?;
    Ok(permuted.unwrap_or(TensorType { shape: Some(dims), gather: None }))
}

fn checked_size(dims: &[usize]) -> Result<usize, String> {
    let size = dims.iter().try_fold(1_usize, |size, &dim| size.checked_mul(dim));
    match size {
        Some(0) => Err("its lists are empty".to_owned()),
        Some(size) if size <= MAX_SAMPLE_VALUES => Ok(size),
        _ => Err(format!("its lists have more than {MAX_SAMPLE_VALUES} values")),
    }
}

/// The canonical extension type: a flat list, with the shape in the metadata. A permutation says that dimension `i` of
/// the tensor is stored as dimension `permutation[i]`.
fn fixed_shape_tensor(field: &Field) -> Result<Option<TensorType>, String> {
    const NAME: &str = "arrow.fixed_shape_tensor";
    if field.extension_type_name() != Some(NAME) {
        return Ok(None);
    }
    // Read here rather than by arrow's own type for it, which refuses lists of nullable items as pyarrow writes them.
    let text = field.extension_type_metadata().unwrap_or_default();
    let metadata: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("the metadata of its type {NAME} is not valid: {error}"))?;
    let list = |key: &str| -> Option<Vec<usize>> {
        metadata.get(key)?.as_array()?.iter().map(|value| usize::try_from(value.as_u64()?).ok()).collect()
    };
    let stored = list("shape").ok_or_else(|| format!("its extension type {NAME} names no shape"))?;
    let size = checked_size(&stored)?;
    if let DataType::FixedSizeList(_, length) = field.data_type()
        && usize::try_from(*length).ok() != Some(size)
    {
        return Err(format!("its lists have {length} values, but its tensors {size}"));
    }
    let has_order = metadata.get("permutation").is_some_and(|order| !order.is_null());
    if has_order && list("permutation").is_none() {
        return Err(format!("its type {NAME} has a permutation that is no list of dimensions"));
    }
    Ok(Some(match list("permutation") {
        Some(order) if !order.iter().copied().eq(0..stored.len()) => permuted(&stored, &order, size)?,
        _ => TensorType { shape: Some(stored), gather: None },
    }))
}

fn permuted(stored: &[usize], order: &[usize], size: usize) -> Result<TensorType, String> {
    let mut seen = vec![false; stored.len()];
    for &dim in order {
        match seen.get_mut(dim) {
            Some(seen) if !*seen => *seen = true,
            _ => return Err("its permutation does not name every dimension once".to_owned()),
        }
    }
    if order.len() != stored.len() {
        return Err("its permutation does not name every dimension once".to_owned());
    }
    let mut strides = vec![1; stored.len()];
    for dim in (1..stored.len()).rev() {
        strides[dim - 1] = strides[dim] * stored[dim];
    }
    let shape: Vec<usize> = order.iter().map(|&dim| stored[dim]).collect();
    let mut gather = Vec::with_capacity(size);
    let mut index = vec![0; shape.len()];
    for _ in 0..size {
        gather.push(index.iter().zip(order).map(|(&at, &dim)| at * strides[dim]).sum());
        for dim in (0..shape.len()).rev() {
            index[dim] += 1;
            if index[dim] < shape[dim] {
                break;
            }
            index[dim] = 0;
        }
    }
    Ok(TensorType { shape: Some(shape), gather: Some(gather) })
}

/// What can be wrong with one list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ListFault {
    Null,
    /// The position of a null within the row's values, or of a null inner list.
    NullInside(usize),
    Empty,
    /// Inner lists of different lengths.
    Ragged(usize, usize),
    TooLong,
    NotFinite(NotFinite),
}

/// The lists of one array.
#[derive(Debug, Clone)]
pub(crate) struct Lists<'a> {
    levels: Vec<Level<'a>>,
    values: Numbers<'a>,
    value_nulls: Option<&'a NullBuffer>,
    is_null_type: bool,
}

#[derive(Debug, Clone)]
struct Level<'a> {
    nulls: Option<&'a NullBuffer>,
    lengths: Lengths<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Lengths<'a> {
    Fixed(usize),
    Offsets(&'a [i32]),
    LargeOffsets(&'a [i64]),
}

impl Lengths<'_> {
    fn bounds(&self, index: usize) -> Range<usize> {
        match self {
            Lengths::Fixed(size) => index * size..(index + 1) * size,
            // Offsets of a valid array are never negative.
            Lengths::Offsets(offsets) => offsets[index] as usize..offsets[index + 1] as usize,
            Lengths::LargeOffsets(offsets) => offsets[index] as usize..offsets[index + 1] as usize,
        }
    }
}

impl<'a> Lists<'a> {
    /// None for a type that is no list of numbers.
    pub fn of(array: &'a dyn Array) -> Option<Self> {
        let mut levels = Vec::new();
        let mut array = array;
        loop {
            let nulls = array.nulls();
            let lengths;
            (lengths, array) = match array.data_type() {
                DataType::FixedSizeList(_, size) => {
                    (Lengths::Fixed(usize::try_from(*size).ok()?), array.as_fixed_size_list_opt()?.values().as_ref())
                }
                DataType::List(_) => {
                    let list = array.as_list_opt::<i32>()?;
                    (Lengths::Offsets(list.value_offsets()), list.values().as_ref())
                }
                DataType::LargeList(_) => {
                    let list = array.as_list_opt::<i64>()?;
                    (Lengths::LargeOffsets(list.value_offsets()), list.values().as_ref())
                }
                _ => break,
            };
            levels.push(Level { nulls, lengths });
        }
        let is_null_type = *array.data_type() == DataType::Null;
        (!levels.is_empty() || is_null_type).then_some(())?;
        Some(Lists { levels, values: Numbers::of(array)?, value_nulls: array.nulls(), is_null_type })
    }

    /// Appends the numbers of one row to `out` and sets `dims` to the lengths of its lists, outermost first.
    pub fn read(&self, row: usize, dims: &mut Vec<usize>, out: &mut Vec<f32>) -> Result<(), ListFault> {
        dims.clear();
        let mut range = row..row + 1;
        for (depth, level) in self.levels.iter().enumerate() {
            if let Some(at) = first_null(level.nulls, &range) {
                return Err(if depth == 0 { ListFault::Null } else { ListFault::NullInside(at) });
            }
            let first = level.lengths.bounds(range.start);
            let length = first.len();
            if !matches!(level.lengths, Lengths::Fixed(_)) {
                for index in range.clone().skip(1) {
                    let other = level.lengths.bounds(index).len();
                    if other != length {
                        return Err(ListFault::Ragged(length, other));
                    }
                }
            }
            if length == 0 {
                return Err(ListFault::Empty);
            }
            dims.push(length);
            range = first.start..first.start + length * range.len();
            if range.len() > MAX_SAMPLE_VALUES {
                return Err(ListFault::TooLong);
            }
        }
        if self.levels.is_empty() {
            return Err(ListFault::Null);
        }
        if self.is_null_type {
            return Err(ListFault::NullInside(0));
        }
        if let Some(at) = first_null(self.value_nulls, &range) {
            return Err(ListFault::NullInside(at));
        }
        self.values.copy(range, true, out).map_err(ListFault::NotFinite)
    }
}

fn first_null(nulls: Option<&NullBuffer>, range: &Range<usize>) -> Option<usize> {
    let nulls = nulls.filter(|nulls| nulls.null_count() > 0)?;
    range.clone().position(|index| nulls.is_null(index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::builder::{FixedSizeListBuilder, Int32Builder, ListBuilder};
    use arrow_array::types::Float32Type;
    use arrow_array::{FixedSizeListArray, ListArray};
    use std::collections::HashMap;
    use std::sync::Arc;

    fn read(array: &dyn Array, row: usize) -> Result<(Vec<usize>, Vec<f32>), ListFault> {
        let (mut dims, mut out) = (Vec::new(), Vec::new());
        Lists::of(array).unwrap().read(row, &mut dims, &mut out).map(|()| (dims, out))
    }

    #[test]
    fn nested_lists_give_their_shape_also_from_a_slice() {
        let mut builder = ListBuilder::new(FixedSizeListBuilder::new(Int32Builder::new(), 2));
        for row in 0..3_i32 {
            for pair in 0..=row {
                builder.values().values().append_slice(&[row, pair]);
                builder.values().append(true);
            }
            builder.append(true);
        }
        let array = builder.finish();
        let slice = array.slice(1, 2);
        assert_eq!(read(&slice, 0).unwrap(), (vec![2, 2], vec![1.0, 0.0, 1.0, 1.0]));
        assert_eq!(read(&slice, 1).unwrap().0, [3, 2]);
    }

    #[test]
    fn faults_of_lists_are_told_apart() {
        let rows = vec![
            None,
            Some(vec![]),
            Some(vec![Some(1.0), None]),
            Some(vec![Some(1.0), Some(f32::NAN)]),
            Some(vec![Some(1.0)]),
        ];
        let array = ListArray::from_iter_primitive::<Float32Type, _, _>(rows);
        assert_eq!(read(&array, 0), Err(ListFault::Null));
        assert_eq!(read(&array, 1), Err(ListFault::Empty));
        assert_eq!(read(&array, 2), Err(ListFault::NullInside(1)));
        assert!(matches!(read(&array, 3), Err(ListFault::NotFinite(NotFinite { at: 1, .. }))));
        assert_eq!(read(&array, 4).unwrap().1, [1.0]);
    }

    fn tensor_field(metadata: &str) -> Field {
        let item = Arc::new(Field::new("item", DataType::Float32, true));
        Field::new("t", DataType::FixedSizeList(item, 6), true).with_metadata(HashMap::from([
            ("ARROW:extension:name".to_owned(), "arrow.fixed_shape_tensor".to_owned()),
            ("ARROW:extension:metadata".to_owned(), metadata.to_owned()),
        ]))
    }

    #[test]
    fn fixed_shape_tensors_have_the_shape_of_their_metadata_and_permutations_are_honoured() {
        let plain = tensor_type(&tensor_field(r#"{"shape":[2,3]}"#)).unwrap();
        assert_eq!(plain, TensorType { shape: Some(vec![2, 3]), gather: None });
        let turned = tensor_type(&tensor_field(r#"{"shape":[2,3],"permutation":[1,0]}"#)).unwrap();
        assert_eq!(turned.shape, Some(vec![3, 2]));
        // Stored [[0 1 2] [3 4 5]]; turned it reads [[0 3] [1 4] [2 5]].
        assert_eq!(turned.gather, Some(vec![0, 3, 1, 4, 2, 5]));
        assert!(tensor_type(&tensor_field(r#"{"shape":[2,4]}"#)).is_err());
        for bad in [r#"[1,1]"#, r#"[0]"#, r#"[0,2]"#, r#""x""#] {
            assert!(tensor_type(&tensor_field(&format!(r#"{{"shape":[2,3],"permutation":{bad}}}"#))).is_err(), "{bad}");
        }
        assert!(tensor_type(&tensor_field("not json")).is_err());
    }

    #[test]
    fn types_that_hold_no_numbers_are_refused_with_a_reason() {
        let text = Field::new_list("t", Field::new_list_field(DataType::Utf8, true), true);
        assert!(tensor_type(&text).unwrap_err().contains("not numbers"));
        let empty = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>([Some([])], 0);
        assert!(tensor_type(&Field::new("t", empty.data_type().clone(), true)).unwrap_err().contains("empty"));
    }
}
