//! Where the rows of a statement stand: a partition and an offset each.

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Schema, SchemaRef};
use datafusion::arrow::compute::cast;
use lightcl_core::{Error, PositionedBatch, Result, RowOffsets};
use std::sync::Arc;

/// Gives the rows of a statement their positions, batch after batch.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// The columns under the learner's names.
    schema: SchemaRef,
    partition: Arc<str>,
    /// The column that holds the offsets; without it rows are numbered.
    column: Option<usize>,
    /// The offset to come next: exactly without a column, at least with one.
    next: u64,
}

impl Places {
    /// For rows with these columns; `offset` names the one that holds offsets.
    ///
    /// # Errors
    /// When there is no such column, or it holds no whole numbers.
    pub fn new(schema: SchemaRef, partition: &str, offset: Option<&str>) -> Result<Self> {
        let column = offset.map(|name| find(&schema, name)).transpose()?;
        Ok(Places { schema, partition: Arc::from(partition), column, next: 0 })
    }

    /// The partition that the rows stand in.
    pub fn partition(&self) -> &str {
        &self.partition
    }

    /// The rows with their positions.
    ///
    /// # Errors
    /// When offsets are missing, negative, or do not ascend.
    pub fn place(&mut self, batch: &RecordBatch) -> Result<PositionedBatch> {
        let rows = batch.num_rows();
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().to_vec())
            .map_err(|error| Error::user("the rows do not have the columns of the learner").caused_by(error))?;
        let offsets = match self.column {
            None => RowOffsets::From(self.next),
            Some(column) => self.listed(column, batch.column(column).as_ref())?,
        };
        self.next = match &offsets {
            RowOffsets::From(first) => first + rows as u64,
            RowOffsets::Listed { next, .. } => *next,
        };
        Ok(PositionedBatch { batch, partition: Arc::clone(&self.partition), offsets, faults: Vec::new() })
    }

    fn listed(&self, column: usize, values: &dyn Array) -> Result<RowOffsets> {
        let name = self.schema.field(column).name();
        let numbers = cast(values, &DataType::UInt64)
            .map_err(|error| Error::user("offsets cannot be read").with("column", name).caused_by(error))?;
        let numbers = numbers.as_primitive::<UInt64Type>();
        let mut next = self.next;
        for (row, number) in numbers.iter().enumerate() {
            // What is negative has become null.
            let Some(number) = number else {
                let found = if values.is_null(row) { "nothing" } else { "a negative number" };
                return Err(Error::user("every row needs an offset, a whole number from 0 on")
                    .with("column", name)
                    .with("found", found)
                    .with("after the offset", next.saturating_sub(1)));
            };
            if number < next {
                return Err(Error::user(
                    "offsets must ascend from row to row: order the statement by them, one partition of the source a \
                     statement",
                )
                .with("column", name)
                .with("found", number)
                .with("after", next - 1));
            }
            next = number
                .checked_add(1)
                .ok_or_else(|| Error::user("an offset is too large").with("column", name).with("found", number))?;
        }
        Ok(RowOffsets::Listed { offsets: numbers.values().iter().copied().collect(), next })
    }
}

fn find(schema: &Schema, name: &str) -> Result<usize> {
    let columns = || schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>().join(", ");
    let (index, field) = schema.column_with_name(name).ok_or_else(|| {
        Error::user(format!("there is no column '{name}' to take offsets from")).with("columns", columns())
    })?;
    if !field.data_type().is_integer() {
        return Err(Error::user(format!("offsets are whole numbers, and the column '{name}' holds other values"))
            .with("type", field.data_type()));
    }
    Ok(index)
}

/// Cuts rows in those before an offset and the rest; either may be none.
pub(super) fn split(batch: &PositionedBatch, next: u64) -> (Option<PositionedBatch>, Option<PositionedBatch>) {
    let rows = batch.batch.num_rows();
    let known = match &batch.offsets {
        RowOffsets::From(first) => usize::try_from(next.saturating_sub(*first)).unwrap_or(rows).min(rows),
        RowOffsets::Listed { offsets, .. } => offsets.partition_point(|offset| *offset < next),
    };
    let before = (known > 0).then(|| batch.slice(0, known));
    let rest = (known < rows).then(|| batch.slice(known, rows));
    (before, rest)
}

/// The rows in slices of at most `rows` that end on multiples of it in their partition, as the driver cuts them.
pub(super) fn slices(batch: &PositionedBatch, rows: usize) -> impl Iterator<Item = PositionedBatch> {
    let (rows, total) = (rows.max(1), batch.batch.num_rows());
    let mut start = 0;
    std::iter::from_fn(move || {
        if start >= total {
            return None;
        }
        let into = (batch.offset_of(start) % rows as u64) as usize;
        let end = total.min(start + rows - into);
        let slice = batch.slice(start, end);
        start = end;
        Some(slice)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Int64Array;
    use arrow_schema::Field;

    fn batch(offsets: Vec<Option<i64>>) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("at", DataType::Int64, true)]));
        RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(offsets))]).unwrap()
    }

    fn places(offset: Option<&str>) -> Places {
        Places::new(batch(vec![]).schema(), "p", offset).unwrap()
    }

    #[test]
    fn rows_are_numbered_across_batches_and_split_at_a_position() {
        let mut places = places(None);
        places.place(&batch(vec![None; 3])).unwrap();
        let second = places.place(&batch(vec![None; 4])).unwrap();
        assert_eq!((second.offset_of(0), second.offset_after(4)), (3, 7));
        let (before, rest) = split(&second, 5);
        assert_eq!((before.unwrap().batch.num_rows(), rest.unwrap().offset_of(0)), (2, 5));
        assert!(split(&second, 7).1.is_none() && split(&second, 3).0.is_none());
        let ends: Vec<u64> = slices(&second, 2).map(|slice| slice.offset_after(slice.batch.num_rows())).collect();
        assert_eq!(ends, [4, 6, 7]);
    }

    #[test]
    fn offsets_of_a_column_ascend_with_gaps() {
        let mut places = places(Some("at"));
        places.place(&batch(vec![Some(2), Some(5)])).unwrap();
        let rows = places.place(&batch(vec![Some(6), Some(9)])).unwrap();
        assert_eq!((rows.offset_of(1), rows.offset_after(2)), (9, 10));
        assert_eq!(split(&rows, 8).1.unwrap().offset_of(0), 9);
        for bad in [vec![Some(9)], vec![Some(12), Some(12)], vec![None], vec![Some(-1)]] {
            assert!(places.clone().place(&batch(bad.clone())).is_err(), "{bad:?}");
        }
        let error = Places::new(batch(vec![]).schema(), "p", Some("att")).unwrap_err();
        assert!(error.to_string().contains("columns: at"), "{error}");
    }
}
