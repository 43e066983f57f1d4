//! Where the rows of a statement stand: a partition and an offset each.

use super::options::LearnOptions;
use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Schema, SchemaRef};
use datafusion::arrow::compute::cast;
use lightcl_core::{Error, PositionedBatch, Positions, Result, RowOffsets};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Gives the rows of a statement their positions, batch after batch.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// The columns under the learner's names.
    schema: SchemaRef,
    partition: Arc<str>,
    /// The column that tells partitions apart; without it there is one.
    by: Option<usize>,
    /// The column that holds the offsets; without it rows are numbered.
    column: Option<usize>,
    /// The offset to come next in each partition: exactly without a column, at least with one.
    next: BTreeMap<Arc<str>, u64>,
}

impl Places {
    /// For rows with these columns, in a partition of this name or in several that begin with it.
    ///
    /// # Errors
    /// When there is no such column as the options name, or it holds other values than it should.
    pub fn new(schema: SchemaRef, partition: &str, options: &LearnOptions) -> Result<Self> {
        let column = |name: &Option<String>, what: &str, fits: fn(&DataType) -> bool| {
            name.as_ref().map(|name| find(&schema, name, what, fits)).transpose()
        };
        let by = column(&options.partition_column, "partitions", |kind| kind.is_integer() || kind.is_string())?;
        let column = column(&options.offset, "offsets", DataType::is_integer)?;
        Ok(Places { schema, partition: Arc::from(partition), by, column, next: BTreeMap::new() })
    }

    /// The partition that the rows stand in, or what the names of their partitions begin with.
    pub fn partition(&self) -> &str {
        &self.partition
    }

    /// The rows with their positions: one batch, or as many as rows of one partition follow each other.
    ///
    /// # Errors
    /// When partitions or offsets are missing, or offsets are negative or do not ascend.
    pub fn place(&mut self, batch: &RecordBatch) -> Result<Vec<PositionedBatch>> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().to_vec())
            .map_err(|error| Error::user("the rows do not have the columns of the learner").caused_by(error))?;
        let Some(by) = self.by else {
            return Ok(vec![self.place_in(Arc::clone(&self.partition), batch)?]);
        };
        let values = cast(batch.column(by), &DataType::Utf8)
            .map_err(|error| Error::internal("the names of partitions cannot be read").caused_by(error))?;
        let values = values.as_string::<i32>();
        let (mut placed, mut start) = (Vec::new(), 0);
        while start < batch.num_rows() {
            let same =
                |row: usize| values.is_valid(row) == values.is_valid(start) && values.value(row) == values.value(start);
            let end = (start + 1..batch.num_rows()).find(|&row| !same(row)).unwrap_or(batch.num_rows());
            if values.is_null(start) {
                return Err(Error::user("every row needs the partition that it stands in")
                    .with("column", self.schema.field(by).name())
                    .with("found", "nothing"));
            }
            let name = format!("{}-{}", self.partition, values.value(start));
            placed.push(self.place_in(name.into(), batch.slice(start, end - start))?);
            start = end;
        }
        Ok(placed)
    }

    /// Rows of one partition.
    fn place_in(&mut self, partition: Arc<str>, batch: RecordBatch) -> Result<PositionedBatch> {
        let next = self.next.get(&partition).copied().unwrap_or_default();
        let offsets = match self.column {
            None => RowOffsets::From(next),
            Some(column) => self.listed(column, batch.column(column).as_ref(), next)?,
        };
        let next = match &offsets {
            RowOffsets::From(first) => first + batch.num_rows() as u64,
            RowOffsets::Listed { next, .. } => *next,
        };
        self.next.insert(Arc::clone(&partition), next);
        Ok(PositionedBatch { batch, partition, offsets, faults: Vec::new() })
    }

    fn listed(&self, column: usize, values: &dyn Array, mut next: u64) -> Result<RowOffsets> {
        let name = self.schema.field(column).name();
        let numbers = cast(values, &DataType::UInt64)
            .map_err(|error| Error::user("offsets cannot be read").with("column", name).caused_by(error))?;
        let numbers = numbers.as_primitive::<UInt64Type>();
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
                    "offsets must ascend from row to row: order the statement by them, and name the column that tells \
                     partitions apart, if there are several, with the option 'partition_column'",
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

fn find(schema: &Schema, name: &str, what: &str, fits: fn(&DataType) -> bool) -> Result<usize> {
    let columns = || schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>().join(", ");
    let (index, field) = schema.column_with_name(name).ok_or_else(|| {
        Error::user(format!("there is no column '{name}' to take {what} from")).with("columns", columns())
    })?;
    if !fits(field.data_type()) {
        return Err(Error::user(format!("the column '{name}' cannot hold {what}")).with("type", field.data_type()));
    }
    Ok(index)
}

/// Cuts rows in those before what was learnt from and the rest; either may be none.
pub(super) fn split(batch: &PositionedBatch, learnt: &Positions) -> (Option<PositionedBatch>, Option<PositionedBatch>) {
    let (rows, next) = (batch.batch.num_rows(), learnt.next(&batch.partition));
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
    use arrow_array::{ArrayRef, Int64Array, StringArray};
    use arrow_schema::Field;

    fn batch(offsets: Vec<Option<i64>>) -> RecordBatch {
        let names = offsets.iter().map(|offset| offset.map(|offset| ["a", "b"][(offset / 100) as usize % 2]));
        let columns: [ArrayRef; 2] = [Arc::new(StringArray::from_iter(names)), Arc::new(Int64Array::from(offsets))];
        let fields = vec![Field::new("from", DataType::Utf8, true), Field::new("at", DataType::Int64, true)];
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into()).unwrap()
    }

    fn places(options: &LearnOptions) -> Places {
        Places::new(batch(vec![]).schema(), "p", options).unwrap()
    }

    fn options() -> LearnOptions {
        LearnOptions::new("a.toml")
    }

    fn one(places: &mut Places, offsets: Vec<Option<i64>>) -> PositionedBatch {
        let mut placed = places.place(&batch(offsets)).unwrap();
        assert_eq!(placed.len(), 1);
        placed.remove(0)
    }

    fn learnt(partition: &str, next: u64) -> Positions {
        let mut positions = Positions::default();
        positions.advance(partition, next);
        positions
    }

    #[test]
    fn rows_are_numbered_across_batches_and_split_at_a_position() {
        let mut places = places(&options());
        one(&mut places, vec![None; 3]);
        let second = one(&mut places, vec![None; 4]);
        assert_eq!((second.offset_of(0), second.offset_after(4)), (3, 7));
        let (before, rest) = split(&second, &learnt("p", 5));
        assert_eq!((before.unwrap().batch.num_rows(), rest.unwrap().offset_of(0)), (2, 5));
        assert!(split(&second, &learnt("p", 7)).1.is_none() && split(&second, &learnt("p", 3)).0.is_none());
        let ends: Vec<u64> = slices(&second, 2).map(|slice| slice.offset_after(slice.batch.num_rows())).collect();
        assert_eq!(ends, [4, 6, 7]);
    }

    #[test]
    fn offsets_of_a_column_ascend_with_gaps() {
        let mut places = places(&options().offset("at"));
        one(&mut places, vec![Some(2), Some(5)]);
        let rows = one(&mut places, vec![Some(6), Some(9)]);
        assert_eq!((rows.offset_of(1), rows.offset_after(2)), (9, 10));
        assert_eq!(split(&rows, &learnt("p", 8)).1.unwrap().offset_of(0), 9);
        for bad in [vec![Some(9)], vec![Some(12), Some(12)], vec![None], vec![Some(-1)]] {
            assert!(places.clone().place(&batch(bad.clone())).is_err(), "{bad:?}");
        }
        let error = Places::new(batch(vec![]).schema(), "p", &options().offset("att")).unwrap_err();
        assert!(error.to_string().contains("columns: from, at"), "{error}");
        let error = Places::new(batch(vec![]).schema(), "p", &options().offset("from")).unwrap_err();
        assert!(error.to_string().contains("cannot hold offsets"), "{error}");
    }

    #[test]
    fn partitions_of_a_column_are_numbered_each_by_itself_in_whatever_order_they_come() {
        let mut places = places(&options().partition_column("from").offset("at"));
        let mut found = Vec::new();
        for offsets in [vec![0, 1, 100, 2, 101, 102], vec![103, 3, 4]] {
            for placed in places.place(&batch(offsets.into_iter().map(Some).collect())).unwrap() {
                let rows = placed.batch.num_rows();
                found.push((placed.partition.to_string(), placed.offset_of(0), placed.offset_after(rows)));
            }
        }
        let expected =
            [("p-a", 0, 2), ("p-b", 100, 101), ("p-a", 2, 3), ("p-b", 101, 103), ("p-b", 103, 104), ("p-a", 3, 5)];
        assert_eq!(found, expected.map(|(partition, first, next)| (partition.to_owned(), first, next)));
        let error = places.place(&batch(vec![None])).unwrap_err();
        assert!(error.to_string().contains("every row needs the partition"), "{error}");
        assert!(places.place(&batch(vec![Some(4)])).is_err(), "it was there before");
    }
}
