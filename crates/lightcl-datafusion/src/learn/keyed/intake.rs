//! Rows that are sorted by key on their way to the learners of their keys.

use super::super::errors::from_engine;
use super::super::feed::Fed;
use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Schema, SchemaRef};
use crossbeam_channel::Receiver;
use datafusion::arrow::compute::cast;
use datafusion::arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::execution::memory_pool::MemoryReservation;
use lightcl_core::{Error, PositionedBatch, Positions, Result, RowOffsets, Source};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Rows of one partition, by key.
pub(super) struct Intake {
    rows: Receiver<Fed>,
    key: usize,
    /// The key and what orders its rows.
    order: Vec<usize>,
    converter: RowConverter,
    /// Where the last row stands in the order.
    last: Option<OwnedRow>,
    waiting: VecDeque<OfKey>,
    has_ended: bool,
    is_given_up: bool,
}

/// Rows of one key that follow each other.
struct OfKey {
    key: Option<String>,
    batch: RecordBatch,
    _memory: Arc<MemoryReservation>,
}

impl Intake {
    /// Of rows that are sorted by the column `key`, then by the columns `order`.
    ///
    /// # Errors
    /// When there are no such columns, or they cannot be sorted by.
    pub fn new(rows: Receiver<Fed>, schema: &Schema, key: &str, order: &[String]) -> Result<Self> {
        let columns = std::iter::once(key).chain(order.iter().map(String::as_str));
        let order = columns.map(|name| schema.index_of(name)).collect::<std::result::Result<Vec<_>, _>>();
        let order = order.map_err(|error| Error::user("the rows lack a column to learn by").caused_by(error))?;
        let fields = order.iter().map(|&column| SortField::new(schema.field(column).data_type().clone())).collect();
        let converter = RowConverter::new(fields)
            .map_err(|error| Error::user("rows cannot be sorted by these columns").caused_by(error))?;
        Ok(Intake {
            rows,
            key: order.first().copied().unwrap_or_default(),
            order,
            converter,
            last: None,
            waiting: VecDeque::new(),
            has_ended: false,
            is_given_up: false,
        })
    }

    /// The key of the next row; none at the end, or when the query was given up.
    ///
    /// # Errors
    /// When the query failed, or its rows are not in order.
    pub fn next_key(&mut self) -> Result<Option<Option<String>>> {
        self.fill()?;
        Ok(self.waiting.front().map(|next| next.key.clone()))
    }

    /// The next rows of this key; none when there are no more.
    ///
    /// # Errors
    /// As [`Intake::next_key`].
    pub fn next_of(&mut self, key: Option<&str>) -> Result<Option<RecordBatch>> {
        self.fill()?;
        Ok(self.waiting.pop_front_if(|next| next.key.as_deref() == key).map(|next| next.batch))
    }

    /// Passes over all rows of this key; gives how many there were.
    ///
    /// # Errors
    /// As [`Intake::next_key`].
    pub fn pass_over(&mut self, key: Option<&str>) -> Result<u64> {
        let mut rows = 0;
        while let Some(batch) = self.next_of(key)? {
            rows += batch.num_rows() as u64;
        }
        Ok(rows)
    }

    /// Whether the query was given up: what came until now is not all.
    pub fn is_given_up(&self) -> bool {
        self.is_given_up
    }

    fn fill(&mut self) -> Result<()> {
        while self.waiting.is_empty() && !self.has_ended {
            match self.rows.recv() {
                Ok(Fed::Rows(rows)) => self.take(&rows.batch, rows.memory)?,
                Ok(Fed::End) => self.has_ended = true,
                Ok(Fed::Failed(error)) => return Err(from_engine("the query failed", error)),
                Err(_) => (self.has_ended, self.is_given_up) = (true, true),
            }
        }
        Ok(())
    }

    /// Cuts rows where another key begins.
    fn take(&mut self, batch: &RecordBatch, memory: MemoryReservation) -> Result<()> {
        let memory = Arc::new(memory);
        let keys = cast(batch.column(self.key), &DataType::Utf8)
            .map_err(|error| Error::user("keys cannot be read as text").caused_by(error))?;
        let keys = keys.as_string::<i32>();
        let key = |row: usize| keys.is_valid(row).then(|| keys.value(row));
        self.check_order(batch, key)?;
        let mut start = 0;
        while start < batch.num_rows() {
            let end = (start + 1..batch.num_rows()).find(|&row| key(row) != key(start)).unwrap_or(batch.num_rows());
            self.waiting.push_back(OfKey {
                key: key(start).map(str::to_owned),
                batch: batch.slice(start, end - start),
                _memory: Arc::clone(&memory),
            });
            start = end;
        }
        Ok(())
    }

    /// Refuses two rows of a key at one place: which came first would depend on who read them. Rows without a key are learnt
    /// from by nobody, and stand anywhere.
    fn check_order<'a>(&mut self, batch: &RecordBatch, key: impl Fn(usize) -> Option<&'a str>) -> Result<()> {
        let columns: Vec<_> = self.order.iter().map(|&column| Arc::clone(batch.column(column))).collect();
        let places = self
            .converter
            .convert_columns(&columns)
            .map_err(|error| Error::internal("rows cannot be compared").caused_by(error))?;
        for (row, place) in places.iter().enumerate() {
            let is_in_order = match (row.checked_sub(1), &self.last) {
                (Some(before), _) => places.row(before) < place,
                (None, Some(last)) => last.row() < place,
                (None, None) => true,
            };
            if let (false, Some(key)) = (is_in_order, key(row)) {
                let schema = batch.schema();
                let order: Vec<&str> =
                    self.order.iter().skip(1).map(|&column| schema.field(column).name().as_str()).collect();
                return Err(Error::user(
                    "two rows of a key stand at one place in the order, and which is learnt from first would be chance: name \
                     more columns that order them",
                )
                .with("key", key)
                .with("order", order.join(", ")));
            }
        }
        if let Some(last) = batch.num_rows().checked_sub(1) {
            self.last = Some(places.row(last).owned());
        }
        Ok(())
    }
}

/// An intake that the learner's driver reads on a thread of its own.
pub(super) fn lock(intake: &Mutex<Intake>) -> MutexGuard<'_, Intake> {
    intake.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The rows of one key as a source, numbered from 0.
pub(super) struct KeySource {
    pub intake: Arc<Mutex<Intake>>,
    pub key: String,
    pub schema: SchemaRef,
    /// The name of the partition that they are numbered in.
    pub range: Arc<str>,
    pub next: u64,
    /// Set when the query was given up.
    pub stop: Arc<AtomicBool>,
}

impl Source for KeySource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn seek(&mut self, _positions: &Positions) -> Result<()> {
        Err(Error::internal("a learner of a key begins at its first row"))
    }

    fn next(&mut self) -> Result<Option<PositionedBatch>> {
        let mut intake = lock(&self.intake);
        let Some(batch) = intake.next_of(Some(&self.key))? else {
            self.stop.store(intake.is_given_up(), Ordering::Relaxed);
            return Ok(None);
        };
        let offsets = RowOffsets::From(self.next);
        self.next += batch.num_rows() as u64;
        Ok(Some(PositionedBatch { batch, partition: Arc::clone(&self.range), offsets, faults: Vec::new() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::feed::channel;
    use arrow_array::{ArrayRef, Int64Array, StringArray};
    use datafusion::error::DataFusionError;
    use datafusion::execution::memory_pool::{MemoryPool, UnboundedMemoryPool};

    type Row = (Option<&'static str>, i64);

    fn batch(rows: &[Row]) -> RecordBatch {
        let keys: StringArray = rows.iter().map(|(key, _)| *key).collect();
        let times: Int64Array = rows.iter().map(|(_, time)| Some(*time)).collect();
        RecordBatch::try_from_iter([("k", Arc::new(keys) as ArrayRef), ("t", Arc::new(times) as ArrayRef)]).unwrap()
    }

    fn intake(batches: &[&[Row]], end: Option<datafusion::error::Result<()>>) -> Intake {
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let (feeder, rows) = channel("test", &pool);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for rows in batches {
            assert!(runtime.block_on(feeder.send(batch(rows))).unwrap());
        }
        if let Some(end) = end {
            feeder.end(end);
        }
        Intake::new(rows, &batch(&[]).schema(), "k", &["t".to_owned()]).unwrap()
    }

    #[test]
    fn rows_come_by_key_across_batches() {
        let batches: [&[Row]; 3] =
            [&[(None, 7), (None, 7), (Some("a"), 1)], &[(Some("a"), 2), (Some("b"), 1)], &[(Some("b"), 2)]];
        let mut intake = intake(&batches, Some(Ok(())));
        let mut found = Vec::new();
        while let Some(key) = intake.next_key().unwrap() {
            let rows = intake.pass_over(key.as_deref()).unwrap();
            found.push((key, rows));
        }
        assert_eq!(found, [(None, 2), (Some("a".to_owned()), 2), (Some("b".to_owned()), 2)]);
        assert!(!intake.is_given_up());
    }

    #[test]
    fn two_rows_at_one_place_and_rows_out_of_order_are_refused() {
        for batches in [[&[(Some("a"), 1), (Some("a"), 1)][..], &[]], [&[(Some("a"), 2)], &[(Some("a"), 1)]]] {
            let mut intake = intake(&batches, Some(Ok(())));
            let error = intake.pass_over(Some("a")).unwrap_err().to_string();
            assert!(error.contains("stand at one place") && error.contains("order: t"), "{error}");
        }
    }

    #[test]
    fn a_query_that_is_given_up_is_told_from_one_that_ends_and_one_that_fails() {
        let mut given_up = intake(&[&[(Some("a"), 1)]], None);
        assert_eq!(given_up.pass_over(Some("a")).unwrap(), 1);
        assert!(given_up.is_given_up());
        let mut failed = intake(&[], Some(Err(DataFusionError::Execution("no disk".to_owned()))));
        assert!(failed.next_key().is_err());
    }
}
