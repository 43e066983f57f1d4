//! The promises of [`Source`].

use super::{must, promise};
use arrow_array::RecordBatch;
use lightcl_core::{PositionedBatch, Positions, Source};
use std::sync::Arc;

/// Inputs of up to so many rows are sought at every row; longer ones at every batch edge, beside it, and at about so
/// many rows in between.
const EVERY_ROW: usize = 300;

/// Rows compared after a seek within a long input.
const COMPARED_ROWS: usize = 500;

/// Checks a source, of which `make` gives a new one on each call, at the start of the same input:
///
/// - two sources, and one source read twice, give the same rows;
/// - every batch has the schema; offsets of a partition follow each other; faults name rows of their batch;
/// - after the end `next` stays none;
/// - seeking to any row, mid-batch and the end included, goes on with exactly the rows from there;
/// - positions behind the end, or of a partition that is not there, give an error on the seek or on the read after it,
///   and a good seek afterwards works;
/// - `total_rows`, where known, is right, and `ack` of positions read succeeds.
///
/// The input should have a few hundred rows in several batches, and more than one partition where the source has such.
///
/// # Panics
/// When a promise is broken.
pub fn source(make: impl Fn() -> Box<dyn Source>) {
    let mut first = make();
    let rows = Rows::read(first.as_mut());
    promise!(rows.len() > 0, "the input of a source under test must have rows");
    let mut second = make();
    rows.compare(0, &Rows::read(second.as_mut()), usize::MAX, "a second source");
    if let Some(total) = first.total_rows() {
        promise!(total == rows.len() as u64, "total_rows says {total}, but there are {} rows", rows.len());
    }
    for start in rows.places() {
        let positions = rows.positions_at(start);
        must(second.seek(&positions), &format!("seek to row {start}, {positions:?}"));
        let most = if rows.len() <= EVERY_ROW { usize::MAX } else { COMPARED_ROWS };
        rows.compare(start, &Rows::read_up_to(second.as_mut(), most), most, &format!("after a seek to row {start}"));
        must(second.ack(&positions), "ack of positions read");
    }
    // A source that was never read from, as after a restart.
    for start in [0, 1, rows.len() / 2, rows.len() - 1, rows.len()] {
        let mut fresh = make();
        must(fresh.seek(&rows.positions_at(start)), "seek of a new source");
        rows.compare(start, &Rows::read(fresh.as_mut()), usize::MAX, "a new source after a seek");
    }
    impossible_positions_are_errors(second.as_mut(), &rows);
}

fn impossible_positions_are_errors(source: &mut dyn Source, rows: &Rows) {
    let end = rows.positions_at(rows.len());
    let mut impossible: Vec<Positions> = end
        .0
        .keys()
        .flat_map(|partition| {
            [1, 1000, u64::MAX / 2].map(|beyond| {
                let mut positions = end.clone();
                positions.advance(partition, end.next(partition).saturating_add(beyond));
                positions
            })
        })
        .collect();
    let mut elsewhere = rows.positions_at(rows.len() / 2);
    elsewhere.advance("a partition that is not there", 3);
    impossible.push(elsewhere);
    for positions in impossible {
        let outcome = source.seek(&positions).and_then(|()| source.next());
        promise!(outcome.is_err(), "a seek to {positions:?}, which does not exist, is no error");
        must(source.seek(&Positions::default()), "seek to the start after a refused seek");
        rows.compare(0, &Rows::read(source), usize::MAX, "after a refused seek");
    }
}

/// Rows in the order they came, each as a place in some batch.
struct Rows {
    batches: Vec<PositionedBatch>,
    /// For each row the number of its batch and its row there.
    rows: Vec<(usize, usize)>,
}

impl Rows {
    fn read(source: &mut dyn Source) -> Rows {
        let rows = Rows::read_up_to(source, usize::MAX);
        for _ in 0..3 {
            promise!(must(source.next(), "next after the end").is_none(), "there are rows again after the end");
        }
        rows
    }

    /// Reads until there are at least `most` rows, or all.
    fn read_up_to(source: &mut dyn Source, most: usize) -> Rows {
        let schema = source.schema();
        let mut read = Rows { batches: Vec::new(), rows: Vec::new() };
        let mut next = Positions::default();
        while read.rows.len() < most
            && let Some(batch) = must(source.next(), "next")
        {
            promise!(
                *batch.batch.schema() == *schema,
                "a batch has the schema {:?} instead of {schema:?}",
                batch.batch.schema()
            );
            let (partition, count) = (&batch.partition, batch.batch.num_rows());
            if next.0.contains_key(&**partition) {
                let expected = next.next(partition);
                promise!(
                    batch.offset_of(0) == expected,
                    "a batch of {partition} begins at {} instead of {expected}",
                    batch.offset_of(0)
                );
            }
            promise!(batch.faults.iter().all(|fault| fault.row < count), "a fault names a row beyond its batch");
            next.advance(partition, batch.offset_after(count));
            read.rows.extend((0..count).map(|row| (read.batches.len(), row)));
            read.batches.push(batch);
        }
        read
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    /// Partition, offset, columns and fault of one row.
    fn row(&self, row: usize) -> (Arc<str>, u64, RecordBatch, Option<&str>) {
        let (number, row) = self.rows[row];
        let batch = &self.batches[number];
        let fault = batch.faults.iter().find(|fault| fault.row == row).map(|fault| fault.message.as_str());
        (Arc::clone(&batch.partition), batch.offset_of(row), batch.batch.slice(row, 1), fault)
    }

    /// What has been read when the first `count` rows have.
    fn positions_at(&self, count: usize) -> Positions {
        let mut positions = Positions::default();
        for &(number, row) in &self.rows[..count] {
            let batch = &self.batches[number];
            positions.advance(&batch.partition, batch.offset_after(row + 1));
        }
        positions
    }

    /// Row numbers to seek to.
    fn places(&self) -> Vec<usize> {
        let step = (self.len() / EVERY_ROW).max(1);
        let mut places: Vec<usize> = (0..=self.len()).step_by(step).collect();
        for (row, &(_, in_batch)) in self.rows.iter().enumerate() {
            if in_batch == 0 {
                places.extend([row.saturating_sub(1), row, (row + 1).min(self.len())]);
            }
        }
        places.push(self.len());
        places.sort_unstable();
        places.dedup();
        places
    }

    /// Whether `found` holds the rows from `start` on: all of them, or at least the first `most`.
    fn compare(&self, start: usize, found: &Rows, most: usize, when: &str) {
        let expected = (self.len() - start).min(most);
        promise!(
            found.len() >= expected && found.len() <= self.len() - start,
            "{when}: {} rows instead of {expected}",
            found.len()
        );
        for row in 0..expected {
            let (left, right) = (self.row(start + row), found.row(row));
            promise!(left == right, "{when}: row {} is {right:?} instead of {left:?}", start + row);
        }
    }
}
