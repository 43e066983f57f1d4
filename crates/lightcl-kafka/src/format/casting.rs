//! Values of one type as values of another, where that says the same.

use super::decoded::Column;
use super::types;
use arrow_array::builder::UInt32Builder;
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, FixedSizeListArray, ListArray, StringArray, new_null_array};
use arrow_buffer::NullBufferBuilder;
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, Field, FieldRef};
use arrow_select::interleave::interleave;
use arrow_select::take::take;
use std::sync::Arc;

/// An array of the type asked for; values that it cannot hold are null.
pub(super) struct Fitted {
    pub array: ArrayRef,
    /// Rows of values that it cannot hold.
    pub misfits: Vec<usize>,
}

/// Fits a column to a field. Text is read as something else only where the type is `given`.
///
/// # Errors
/// When arrow refuses a conversion that it is known to have.
pub(super) fn fit(column: &Column, to: &Field, given: bool) -> Result<Fitted, ArrowError> {
    let array = &column.array;
    if let Some(shape) = shape_of(to)
        && shape_of(&column.field) != Some(shape)
    {
        return Ok(no_fit(array, to.data_type()));
    }
    if is_uuid(&column.field)
        && let Some(bytes) = array.as_fixed_size_binary_opt()
    {
        let texts: StringArray = bytes.iter().map(|bytes| bytes.map(uuid)).collect();
        return fit_array(&(Arc::new(texts) as ArrayRef), to.data_type(), given);
    }
    fit_array(array, to.data_type(), given)
}

/// Whether the bytes of a field are UUIDs: by arrow's type for them, or as arrow's reader of Avro says it.
pub(super) fn is_uuid(field: &Field) -> bool {
    let logical = field.metadata().get("logicalType").map(String::as_str);
    *field.data_type() == DataType::FixedSizeBinary(16)
        && (field.extension_type_name() == Some("arrow.uuid") || logical == Some("uuid"))
}

/// The shape of tensors, as their extension type has it.
pub(super) fn shape_of(field: &Field) -> Option<&str> {
    let is_tensor = field.extension_type_name() == Some("arrow.fixed_shape_tensor");
    field.extension_type_metadata().filter(|_| is_tensor)
}

fn fit_array(array: &ArrayRef, to: &DataType, given: bool) -> Result<Fitted, ArrowError> {
    let from = array.data_type();
    if from == to {
        return Ok(Fitted { array: Arc::clone(array), misfits: Vec::new() });
    }
    match from {
        DataType::Dictionary(_, values) => return fit_array(&cast(array, values)?, to, given),
        DataType::RunEndEncoded(_, values) => return fit_array(&cast(array, values.data_type())?, to, given),
        DataType::Union(..) => return fit_union(array, to, given),
        _ => {}
    }
    if let (Some(item), DataType::List(to_item) | DataType::FixedSizeList(to_item, _)) = (item_type(from), to) {
        return fit_list(array, item, to_item.data_type(), to, given);
    }
    if !may_become(from, to, given) {
        return Ok(no_fit(array, to));
    }
    let fitted = cast(array, to)?;
    let mut misfits = lost(array, &fitted);
    if to.is_integer() && (from.is_floating() || from.is_decimal()) {
        let wide = cast(array, &DataType::Float64)?;
        let wide = wide.as_primitive::<Float64Type>();
        misfits.extend((0..wide.len()).filter(|row| wide.is_valid(*row) && wide.value(*row).fract() != 0.0));
        misfits.sort_unstable();
        misfits.dedup();
    }
    Ok(Fitted { array: fitted, misfits })
}

/// Rows that have a value in `array` but none in `fitted`.
fn lost(array: &ArrayRef, fitted: &ArrayRef) -> Vec<usize> {
    match fitted.logical_nulls().filter(|nulls| nulls.null_count() > 0) {
        None => Vec::new(),
        Some(nulls) => present(array).filter(|row| nulls.is_null(*row)).collect(),
    }
}

/// Rows that have a value.
pub(super) fn present(array: &ArrayRef) -> impl Iterator<Item = usize> + use<> {
    let nulls = array.logical_nulls();
    let is_null = matches!(array.data_type(), DataType::Null);
    (0..array.len()).filter(move |row| !is_null && !nulls.as_ref().is_some_and(|nulls| nulls.is_null(*row)))
}

/// Nulls of a type in the place of values that it cannot hold.
fn no_fit(array: &ArrayRef, to: &DataType) -> Fitted {
    Fitted { array: new_null_array(to, array.len()), misfits: present(array).collect() }
}

/// Takes each value from the branch that it is of.
fn fit_union(array: &ArrayRef, to: &DataType, given: bool) -> Result<Fitted, ArrowError> {
    let union = array.as_union();
    let mut branches = Vec::new();
    let mut place_of = [0_usize; 128];
    let mut bad: Vec<Vec<usize>> = Vec::new();
    let ids = union.fields().iter().map(|(id, _)| id);
    for (place, id) in ids.enumerate() {
        let Fitted { array, misfits } = fit_array(union.child(id), to, given)?;
        branches.push(array);
        bad.push(misfits);
        place_of[usize::from(id.unsigned_abs()) & 127] = place;
    }
    let places: Vec<(usize, usize)> = (0..union.len())
        .map(|row| (place_of[usize::from(union.type_id(row).unsigned_abs()) & 127], union.value_offset(row)))
        .collect();
    let misfits = places.iter().enumerate().filter(|(_, (branch, at))| bad[*branch].binary_search(at).is_ok());
    let misfits = misfits.map(|(row, _)| row).collect();
    let branches: Vec<&dyn Array> = branches.iter().map(AsRef::as_ref).collect();
    Ok(Fitted { array: interleave(&branches, &places)?, misfits })
}

fn fit_list(
    array: &ArrayRef,
    item: &DataType,
    to_item: &DataType,
    to: &DataType,
    given: bool,
) -> Result<Fitted, ArrowError> {
    let lists = cast(array, &types::list(item.clone()))?;
    let lists = lists.as_list::<i32>();
    let Fitted { array: items, misfits: bad_items } = fit_array(lists.values(), to_item, given)?;
    let mut misfits = Vec::new();
    if !bad_items.is_empty() {
        let offsets = lists.value_offsets();
        misfits.extend((0..lists.len()).filter(|row| {
            let (start, end) = (offsets[*row] as usize, offsets[row + 1] as usize);
            let next = bad_items.partition_point(|bad| *bad < start);
            lists.is_valid(*row) && bad_items.get(next).is_some_and(|bad| *bad < end)
        }));
    }
    let field = types::item_field(to_item.clone());
    let array: ArrayRef = match to {
        DataType::FixedSizeList(_, length) => {
            let (fixed, bad) = fixed_lists(lists, &items, field, *length)?;
            misfits.extend(bad);
            misfits.sort_unstable();
            misfits.dedup();
            Arc::new(fixed)
        }
        _ => Arc::new(ListArray::try_new(field, lists.offsets().clone(), items, lists.nulls().cloned())?),
    };
    Ok(Fitted { array, misfits })
}

/// Lists that all have the same length, and the rows of those that have not. (Arrow's own conversion panics where lists
/// do not begin at the first item.)
fn fixed_lists(
    lists: &ListArray,
    items: &ArrayRef,
    field: FieldRef,
    length: i32,
) -> Result<(FixedSizeListArray, Vec<usize>), ArrowError> {
    let size = usize::try_from(length).unwrap_or(0);
    let mut places = UInt32Builder::with_capacity(lists.len() * size);
    let mut valid = NullBufferBuilder::new(lists.len());
    let mut misfits = Vec::new();
    for row in 0..lists.len() {
        let (start, end) = (lists.value_offsets()[row], lists.value_offsets()[row + 1]);
        let fits = lists.is_valid(row) && end - start == length;
        if fits {
            // Offsets of a valid array are never negative.
            (start..end).for_each(|place| places.append_value(place as u32));
        } else {
            places.append_nulls(size);
            misfits.extend(lists.is_valid(row).then_some(row));
        }
        valid.append(fits);
    }
    let items = take(items, &places.finish(), None)?;
    Ok((FixedSizeListArray::try_new(field, length, items, valid.finish())?, misfits))
}

fn item_type(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => Some(item.data_type()),
        _ => None,
    }
}

/// Whether values of a type may be read as those of another, single values aside.
fn may_become(from: &DataType, to: &DataType, given: bool) -> bool {
    let is_text = |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let is_bytes = |data_type: &DataType| {
        matches!(
            data_type,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
        )
    };
    let is_date = |data_type: &DataType| matches!(data_type, DataType::Date32 | DataType::Date64);
    let is_time = |data_type: &DataType| is_date(data_type) || matches!(data_type, DataType::Timestamp(..));
    let is_simple = |data_type: &DataType| is_text(data_type) || data_type.is_numeric() || is_time(data_type);
    match (from, to) {
        (DataType::Null, _) | (DataType::Boolean, DataType::Boolean) => true,
        (from, to) if from.is_numeric() && to.is_numeric() => true,
        (from, to) if is_text(from) && is_text(to) => true,
        (from, to) if is_bytes(from) && is_bytes(to) => true,
        (from, to) if is_time(from) && is_time(to) => !is_date(to) || is_date(from) || given,
        (DataType::Int64, DataType::Timestamp(..)) => given,
        (from, to) if is_text(from) => given && (is_simple(to) || is_bytes(to) || *to == DataType::Boolean),
        (from, DataType::Utf8) => given && (is_simple(from) || *from == DataType::Boolean || is_bytes(from)),
        _ => false,
    }
}

/// Bytes as a UUID is written.
pub(super) fn uuid(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::types::{Float32Type, Int32Type};
    use arrow_array::{Float64Array, Int64Array};

    fn fitted(array: ArrayRef, to: &DataType, given: bool) -> Fitted {
        let fitted = fit_array(&array, to, given).unwrap();
        assert_eq!((fitted.array.len(), fitted.array.data_type()), (array.len(), to));
        fitted
    }

    #[test]
    fn numbers_become_whole_only_when_they_are() {
        let numbers = Arc::new(Float64Array::from(vec![Some(1.0), Some(1.5), None, Some(1e30), Some(f64::NAN)]));
        assert_eq!(fitted(numbers, &DataType::Int64, false).misfits, [1, 3, 4]);
        let big = Arc::new(Int64Array::from(vec![1 << 40, 7]));
        assert_eq!(fitted(big, &DataType::Int32, false).misfits, [0]);
    }

    #[test]
    fn text_is_a_number_only_when_that_was_asked_for() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("1.5"), None, Some("x")]));
        assert_eq!(fitted(Arc::clone(&texts), &DataType::Float64, false).misfits, [0, 2]);
        assert_eq!(fitted(texts, &DataType::Float64, true).misfits, [2]);
    }

    #[test]
    fn lists_fit_when_all_their_items_do() {
        let lists = ListArray::from_iter_primitive::<Float32Type, _, _>(vec![
            Some(vec![Some(1.0), Some(2.0)]),
            Some(vec![Some(0.5), None]),
            None,
            Some(vec![Some(3.0)]),
        ]);
        let sliced: ArrayRef = Arc::new(lists.slice(1, 3));
        assert_eq!(fitted(Arc::clone(&sliced), &types::list(DataType::Int32), false).misfits, [0]);
        let pair = DataType::FixedSizeList(types::item_field(DataType::Float64), 2);
        assert_eq!(fitted(sliced, &pair, false).misfits, [2]);
        let whole = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1)])]);
        assert!(fitted(Arc::new(whole), &types::list(DataType::Float32), false).misfits.is_empty());
        let numbers = Arc::new(Int64Array::from(vec![1]));
        assert_eq!(fitted(numbers, &types::list(DataType::Float32), false).misfits, [0]);
    }
}
