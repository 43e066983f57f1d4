//! Values that are read one at a time, on their way into Arrow columns. The first value of a column says what it holds.

use super::types;
use arrow_array::types::{
    ArrowTimestampType, Float32Type, Float64Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, ListArray, NullArray, PrimitiveArray, StringArray,
};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, Buffer, NullBuffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_cast::base64::{BASE64_STANDARD, Engine};
use arrow_cast::parse::string_to_timestamp_nanos;
use arrow_schema::{ArrowError, DataType, TimeUnit};
use std::sync::Arc;

/// The values of one column, or of all lists of a column.
#[derive(Debug)]
pub(super) enum Cells {
    /// Only nulls so far: so many.
    Unknown(usize),
    Number(Values<f64>),
    /// Numbers in lists, which learners read with 32 bits anyway.
    Single(Values<f32>),
    Whole(Values<i64>),
    Time(Values<i64>, TimeUnit, Option<Arc<str>>),
    Boolean(Values<bool>),
    Text(Pieces),
    /// Bytes that stand in the input as base64.
    Encoded(Pieces),
    List(Pieces<Box<Cells>>),
}

/// Values of a fixed width.
#[derive(Debug)]
pub(super) struct Values<T> {
    values: Vec<T>,
    valid: NullBufferBuilder,
}

/// Values of any length.
#[derive(Debug)]
pub(super) struct Pieces<T = Vec<u8>> {
    offsets: Vec<i32>,
    content: T,
    valid: NullBufferBuilder,
}

impl<T: Copy + Default> Values<T> {
    fn nulls(count: usize) -> Self {
        Values { values: vec![T::default(); count], valid: nulls(count) }
    }

    fn push(&mut self, value: Option<T>) {
        self.values.push(value.unwrap_or_default());
        self.valid.append(value.is_some());
    }

    fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.valid.truncate(rows);
    }

    fn finish<P: ArrowPrimitiveType<Native = T>>(mut self) -> PrimitiveArray<P>
    where
        T: ArrowNativeType,
    {
        PrimitiveArray::new(self.values.into(), self.valid.finish())
    }
}

impl<T> Pieces<T> {
    fn nulls(count: usize, content: T) -> Self {
        Pieces { offsets: vec![0; count + 1], content, valid: nulls(count) }
    }

    /// Ends a value where its content ends now; false where that is beyond the reach of an offset.
    fn close(&mut self, length: usize, valid: bool) -> bool {
        let end = i32::try_from(length).ok();
        self.offsets.push(end.unwrap_or_else(|| self.end()));
        self.valid.append(valid && end.is_some());
        end.is_some()
    }

    fn end(&self) -> i32 {
        self.offsets.last().copied().unwrap_or(0)
    }

    fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Drops rows; what is returned is the length of the content that is left.
    fn truncate(&mut self, rows: usize) -> usize {
        self.offsets.truncate(rows + 1);
        self.valid.truncate(rows);
        self.end() as usize
    }

    fn offsets(&mut self) -> (OffsetBuffer<i32>, Option<NullBuffer>) {
        (OffsetBuffer::new(ScalarBuffer::from(std::mem::take(&mut self.offsets))), self.valid.finish())
    }
}

impl Pieces {
    fn push(&mut self, bytes: &[u8]) -> bool {
        self.content.extend_from_slice(bytes);
        self.close(self.content.len(), true)
    }
}

impl Pieces<Box<Cells>> {
    /// The items of the list that is being read.
    pub fn items(&mut self) -> &mut Cells {
        &mut self.content
    }

    /// Ends the list that is being read.
    pub fn close_list(&mut self) -> bool {
        self.close(self.content.rows(), true)
    }
}

fn nulls(count: usize) -> NullBufferBuilder {
    let mut valid = NullBufferBuilder::new(count);
    valid.append_n_nulls(count);
    valid
}

impl Cells {
    /// A column of a type, without rows.
    pub fn of(data_type: &DataType) -> Cells {
        match data_type {
            DataType::Null => Cells::Unknown(0),
            DataType::Float16 | DataType::Float32 => Cells::Single(Values::nulls(0)),
            other if other.is_integer() => Cells::Whole(Values::nulls(0)),
            other if other.is_numeric() => Cells::Number(Values::nulls(0)),
            DataType::Boolean => Cells::Boolean(Values::nulls(0)),
            DataType::Timestamp(unit, zone) => Cells::Time(Values::nulls(0), *unit, zone.clone()),
            DataType::Binary => Cells::Encoded(Pieces::nulls(0, Vec::new())),
            DataType::List(item) | DataType::FixedSizeList(item, _) => {
                Cells::List(Pieces::nulls(0, Box::new(Cells::of(item.data_type()))))
            }
            _ => Cells::text(0),
        }
    }

    /// Text behind so many nulls.
    pub fn text(count: usize) -> Cells {
        Cells::Text(Pieces::nulls(count, Vec::new()))
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Cells::Unknown(rows) => *rows,
            Cells::Number(values) => values.values.len(),
            Cells::Single(values) => values.values.len(),
            Cells::Whole(values) | Cells::Time(values, ..) => values.values.len(),
            Cells::Boolean(values) => values.values.len(),
            Cells::Text(pieces) | Cells::Encoded(pieces) => pieces.rows(),
            Cells::List(lists) => lists.rows(),
        }
    }

    /// Whether a value has said what the column holds; lists without any item say nothing.
    pub fn is_known(&self) -> bool {
        match self {
            Cells::Unknown(_) => false,
            Cells::List(lists) => lists.content.is_known(),
            _ => true,
        }
    }

    /// Drops all rows from number `rows` on.
    pub fn truncate(&mut self, rows: usize) {
        match self {
            Cells::Unknown(count) => *count = rows.min(*count),
            Cells::Number(values) => values.truncate(rows),
            Cells::Single(values) => values.truncate(rows),
            Cells::Whole(values) | Cells::Time(values, ..) => values.truncate(rows),
            Cells::Boolean(values) => values.truncate(rows),
            Cells::Text(pieces) | Cells::Encoded(pieces) => {
                let length = pieces.truncate(rows);
                pieces.content.truncate(length);
            }
            Cells::List(lists) => {
                let length = lists.truncate(rows);
                lists.content.truncate(length);
            }
        }
    }

    pub fn push_null(&mut self) {
        match self {
            Cells::Unknown(rows) => *rows += 1,
            Cells::Number(values) => values.push(None),
            Cells::Single(values) => values.push(None),
            Cells::Whole(values) | Cells::Time(values, ..) => values.push(None),
            Cells::Boolean(values) => values.push(None),
            Cells::Text(pieces) | Cells::Encoded(pieces) => {
                pieces.close(pieces.content.len(), false);
            }
            Cells::List(lists) => {
                lists.close(lists.content.rows(), false);
            }
        }
    }

    /// The lists of a column that holds lists, or held nothing so far.
    pub fn lists(&mut self) -> Option<&mut Pieces<Box<Cells>>> {
        if let Cells::Unknown(rows) = *self {
            *self = Cells::List(Pieces::nulls(rows, Box::new(Cells::Unknown(0))));
        }
        if let Cells::List(lists) = self { Some(lists) } else { None }
    }

    /// Appends a value; an error says what is expected, and then nothing was appended. Whole numbers stay whole in a
    /// column of which nothing was known when `exact`, and have 32 bits there when `in_list`.
    pub fn push_integer(&mut self, value: i64, exact: bool, in_list: bool) -> Result<(), &'static str> {
        if let Cells::Unknown(rows) = *self {
            *self = match (exact, in_list) {
                (true, _) => Cells::Whole(Values::nulls(rows)),
                (false, true) => Cells::Single(Values::nulls(rows)),
                (false, false) => Cells::Number(Values::nulls(rows)),
            };
        }
        match self {
            Cells::Whole(values) | Cells::Time(values, ..) => values.push(Some(value)),
            Cells::Number(values) => values.push(Some(value as f64)),
            Cells::Single(values) => values.push(Some(value as f32)),
            other => return Err(other.expected()),
        }
        Ok(())
    }

    /// As [`Cells::push_integer`] for any other number.
    pub fn push_number(&mut self, value: f64, exact: bool, in_list: bool) -> Result<(), &'static str> {
        if let Cells::Unknown(rows) = *self {
            *self = match (exact, in_list) {
                (true, _) => return Err("a whole number"),
                (false, true) => Cells::Single(Values::nulls(rows)),
                (false, false) => Cells::Number(Values::nulls(rows)),
            };
        }
        match self {
            Cells::Number(values) => values.push(Some(value)),
            Cells::Single(values) => values.push(Some(value as f32)),
            other => return Err(other.expected()),
        }
        Ok(())
    }

    pub fn push_boolean(&mut self, value: bool) -> Result<(), &'static str> {
        if let Cells::Unknown(rows) = *self {
            *self = Cells::Boolean(Values::nulls(rows));
        }
        match self {
            Cells::Boolean(values) => values.push(Some(value)),
            other => return Err(other.expected()),
        }
        Ok(())
    }

    pub fn push_text(&mut self, value: &str) -> Result<(), &'static str> {
        if let Cells::Unknown(rows) = *self {
            *self = Cells::text(rows);
        }
        match self {
            Cells::Text(texts) => texts.push(value.as_bytes()).then_some(()).ok_or("a block of less than 2 GiB"),
            Cells::Time(values, unit, _) => {
                values.push(Some(time(value, *unit).ok_or("a time")?));
                Ok(())
            }
            Cells::Encoded(pieces) => {
                let bytes = BASE64_STANDARD.decode(value).map_err(|_| "bytes as base64")?;
                pieces.push(&bytes).then_some(()).ok_or("a block of less than 2 GiB")
            }
            other => Err(other.expected()),
        }
    }

    fn expected(&self) -> &'static str {
        match self {
            Cells::Number(_) | Cells::Single(_) => "a number",
            Cells::Whole(_) => "a whole number",
            Cells::Time(..) => "a time",
            Cells::Boolean(_) => "true or false",
            Cells::Encoded(_) => "bytes as base64",
            Cells::List(_) => "a list",
            Cells::Unknown(_) | Cells::Text(_) => "text",
        }
    }

    /// What [`Cells::push_text`] and its like expect, where a value is of a kind that no column holds.
    pub fn expected_instead(&self) -> &'static str {
        if let Cells::Unknown(_) = self { "a number, text, true or false, or a list of these" } else { self.expected() }
    }

    /// The column.
    ///
    /// # Errors
    /// When a zone is unknown to arrow.
    pub fn finish(self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Cells::Unknown(rows) => Arc::new(NullArray::new(rows)),
            Cells::Number(values) => Arc::new(values.finish::<Float64Type>()),
            Cells::Single(values) => Arc::new(values.finish::<Float32Type>()),
            Cells::Whole(values) => Arc::new(values.finish::<Int64Type>()),
            Cells::Time(values, unit, zone) => match unit {
                TimeUnit::Second => times::<TimestampSecondType>(values, zone),
                TimeUnit::Millisecond => times::<TimestampMillisecondType>(values, zone),
                TimeUnit::Microsecond => times::<TimestampMicrosecondType>(values, zone),
                TimeUnit::Nanosecond => times::<TimestampNanosecondType>(values, zone),
            },
            Cells::Boolean(mut values) => {
                Arc::new(BooleanArray::new(BooleanBuffer::from(values.values), values.valid.finish()))
            }
            Cells::Text(mut texts) => {
                let (offsets, valid) = texts.offsets();
                Arc::new(StringArray::try_new(offsets, Buffer::from_vec(texts.content), valid)?)
            }
            Cells::Encoded(mut pieces) => {
                let (offsets, valid) = pieces.offsets();
                Arc::new(BinaryArray::try_new(offsets, Buffer::from_vec(pieces.content), valid)?)
            }
            Cells::List(mut lists) => {
                let (offsets, valid) = lists.offsets();
                let items = lists.content.finish()?;
                Arc::new(ListArray::try_new(types::item_field(items.data_type().clone()), offsets, items, valid)?)
            }
        })
    }
}

fn times<T: ArrowTimestampType>(values: Values<i64>, zone: Option<Arc<str>>) -> ArrayRef {
    Arc::new(values.finish::<T>().with_timezone_opt(zone))
}

/// ISO 8601; a time without a zone is in UTC.
fn time(text: &str, unit: TimeUnit) -> Option<i64> {
    let nanoseconds = string_to_timestamp_nanos(text).ok()?;
    Some(match unit {
        TimeUnit::Second => nanoseconds.div_euclid(1_000_000_000),
        TimeUnit::Millisecond => nanoseconds.div_euclid(1_000_000),
        TimeUnit::Microsecond => nanoseconds.div_euclid(1_000),
        TimeUnit::Nanosecond => nanoseconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Array;

    #[test]
    fn columns_are_cut_back_to_any_row() {
        let mut cells = Cells::of(&types::list(DataType::Float32));
        for row in 0..5_i64 {
            for item in 0..row {
                cells.lists().unwrap().items().push_integer(item, false, true).unwrap();
            }
            assert!(cells.lists().unwrap().close_list());
        }
        cells.truncate(3);
        cells.push_null();
        assert_eq!(cells.rows(), 4);
        let array = cells.finish().unwrap();
        assert_eq!((array.len(), array.null_count()), (4, 1));
    }

    #[test]
    fn the_first_value_says_what_a_column_holds() {
        let mut cells = Cells::Unknown(2);
        cells.push_integer(3, false, false).unwrap();
        cells.push_number(0.5, false, false).unwrap();
        assert_eq!(cells.push_text("5"), Err("a number"));
        assert_eq!(cells.finish().unwrap().data_type(), &DataType::Float64);
        let mut exact = Cells::Unknown(0);
        assert_eq!(exact.push_number(1.5, true, false), Err("a whole number"));
        exact.push_integer(1, true, false).unwrap();
        assert_eq!(exact.push_number(1.5, true, false), Err("a whole number"));
    }
}
