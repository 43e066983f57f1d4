//! Labelled samples: as they arrive (Arrow) and as a learner sees them (numbers).

use crate::{Position, Result};
use arrow_array::RecordBatch;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A class, numbered from 0 in order of first appearance. The number never changes, in this run or after a restart.
pub type ClassId = u32;

/// Rows as a source delivers them: contiguous in one partition.
#[derive(Debug, Clone)]
pub struct PositionedBatch {
    /// The rows.
    pub batch: RecordBatch,
    /// The partition all rows come from.
    pub partition: Arc<str>,
    /// Where the rows stand in it.
    pub offsets: RowOffsets,
    /// Rows that the source could not read (text that is not a number, a line that is not JSON). They stand in the
    /// batch as nulls so that positions stay whole, and end in the dead letters.
    pub faults: Vec<RowFault>,
}

impl PositionedBatch {
    /// The offset of a row.
    pub fn offset_of(&self, row: usize) -> u64 {
        self.offsets.of(row)
    }

    /// The offset to read next after the first `rows` rows.
    pub fn offset_after(&self, rows: usize) -> u64 {
        if rows < self.batch.num_rows() {
            return self.offsets.of(rows);
        }
        match &self.offsets {
            RowOffsets::From(first) => first + rows as u64,
            RowOffsets::Listed { next, .. } => *next,
        }
    }

    /// The rows `start..end` as a batch of their own; nothing is copied.
    pub fn slice(&self, start: usize, end: usize) -> PositionedBatch {
        let offsets = match &self.offsets {
            RowOffsets::From(first) => RowOffsets::From(first + start as u64),
            RowOffsets::Listed { offsets, .. } => {
                RowOffsets::Listed { offsets: offsets[start..end].into(), next: self.offset_after(end) }
            }
        };
        let faults = self.faults.iter().filter(|fault| (start..end).contains(&fault.row));
        PositionedBatch {
            batch: self.batch.slice(start, end - start),
            partition: Arc::clone(&self.partition),
            offsets,
            faults: faults.map(|fault| RowFault { row: fault.row - start, ..fault.clone() }).collect(),
        }
    }
}

/// Where the rows of a batch stand in their partition.
///
/// ```
/// use lightcl_core::RowOffsets;
///
/// assert_eq!(RowOffsets::From(7).of(2), 9);
/// assert_eq!(RowOffsets::Listed { offsets: [3, 3, 8].into(), next: 10 }.of(2), 8);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowOffsets {
    /// One after the other: row `i` stands at this offset plus `i`.
    From(u64),
    /// Row by row, never descending: some offsets hold no row (markers of transactions in Kafka), or several.
    Listed {
        /// One offset a row.
        offsets: Arc<[u64]>,
        /// The offset to read next after all rows.
        next: u64,
    },
}

impl RowOffsets {
    /// The offset of a row.
    pub fn of(&self, row: usize) -> u64 {
        match self {
            RowOffsets::From(first) => first + row as u64,
            RowOffsets::Listed { offsets, .. } => offsets[row],
        }
    }
}

/// A row that a source could not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFault {
    /// The row's number in its batch.
    pub row: usize,
    /// What is wrong with it.
    pub message: String,
    /// The row as it was found, where the source has it.
    pub payload: Option<String>,
}

/// What a learner and the operator know of one sample beside its features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleMeta {
    /// 0-based number of the row in the stream, rejected rows counted.
    pub index: u64,
    /// Where the row stands in its source.
    pub position: Position,
    /// The sample's own name, when a column gives one.
    pub id: Option<String>,
    /// The task named by the stream, when a column gives one.
    pub task_key: Option<String>,
    /// Event time in microseconds since 1970-01-01 UTC, when a column gives one.
    pub event_time: Option<i64>,
}

/// A batch of encoded samples: what [`crate::Learner`]s learn from.
///
/// `features` is row-major with `shape` per sample: `[784]` for a vector, `[channels, height, width]` for an image.
///
/// ```
/// use lightcl_core::Samples;
///
/// let samples = Samples::from_rows(&[2], &[(vec![0.0, 1.0], 0), (vec![2.0, 3.0], 1)]);
/// assert_eq!(samples.len(), 2);
/// assert_eq!(samples.row(1), &[2.0, 3.0]);
/// assert_eq!(samples.slice(1, 2).labels, vec![1]);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Samples {
    /// The shape of one sample.
    pub shape: Vec<usize>,
    /// All features, row-major.
    pub features: Vec<f32>,
    /// One class a row.
    pub labels: Vec<ClassId>,
    /// One weight a row; 1 where no column gives one.
    pub weights: Vec<f32>,
    /// One entry a row.
    pub meta: Vec<SampleMeta>,
}

impl Samples {
    /// An empty batch of samples of the given shape.
    pub fn empty(shape: &[usize]) -> Self {
        Samples { shape: shape.to_vec(), ..Samples::default() }
    }

    /// Samples from plain rows, numbered from 0 with weight 1: for tests, examples and embedding.
    pub fn from_rows(shape: &[usize], rows: &[(Vec<f32>, ClassId)]) -> Self {
        let mut samples = Samples::empty(shape);
        let partition: Arc<str> = Arc::from("memory");
        for (index, (features, label)) in rows.iter().enumerate() {
            let index = index as u64;
            let position = Position { partition: Arc::clone(&partition), offset: index };
            let meta = SampleMeta { index, position, id: None, task_key: None, event_time: None };
            samples.push(features, *label, 1.0, meta);
        }
        samples
    }

    /// Numbers in one sample.
    pub fn width(&self) -> usize {
        self.shape.iter().product()
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The features of one sample.
    pub fn row(&self, row: usize) -> &[f32] {
        let width = self.width();
        &self.features[row * width..(row + 1) * width]
    }

    /// Adds one sample; `features` must have [`Samples::width`] numbers.
    pub fn push(&mut self, features: &[f32], label: ClassId, weight: f32, meta: SampleMeta) {
        debug_assert_eq!(features.len(), self.width());
        self.features.extend_from_slice(features);
        self.labels.push(label);
        self.weights.push(weight);
        self.meta.push(meta);
    }

    /// Rows `start..end` as a batch of their own.
    pub fn slice(&self, start: usize, end: usize) -> Samples {
        let width = self.width();
        Samples {
            shape: self.shape.clone(),
            features: self.features[start * width..end * width].to_vec(),
            labels: self.labels[start..end].to_vec(),
            weights: self.weights[start..end].to_vec(),
            meta: self.meta[start..end].to_vec(),
        }
    }

    /// The rows named by `rows`, in that order.
    pub fn select(&self, rows: &[usize]) -> Samples {
        let mut selected = Samples::empty(&self.shape);
        for &row in rows {
            selected.push(self.row(row), self.labels[row], self.weights[row], self.meta[row].clone());
        }
        selected
    }

    /// Appends all rows of another batch of the same shape.
    pub fn append(&mut self, other: &Samples) {
        self.features.extend_from_slice(&other.features);
        self.labels.extend_from_slice(&other.labels);
        self.weights.extend_from_slice(&other.weights);
        self.meta.extend_from_slice(&other.meta);
    }

    /// Splits off the rows from `at` on, leaving those before it.
    pub fn split_off(&mut self, at: usize) -> Samples {
        let width = self.width();
        Samples {
            shape: self.shape.clone(),
            features: self.features.split_off(at * width),
            labels: self.labels.split_off(at),
            weights: self.weights.split_off(at),
            meta: self.meta.split_off(at),
        }
    }

    /// Bytes held by the batch.
    pub fn bytes(&self) -> u64 {
        let strings: usize = self
            .meta
            .iter()
            .map(|m| m.id.as_ref().map_or(0, String::len) + m.task_key.as_ref().map_or(0, String::len))
            .sum();
        (self.features.len() * 4 + self.labels.len() * (8 + size_of::<SampleMeta>()) + strings) as u64
    }
}

/// Held-out rows, readable again and again: what `[evaluate]` names. The operator scores them and never learns from them.
pub trait EvaluationSet: Send {
    /// Calls `visit` with every batch of the held-out rows, from the first, in order.
    ///
    /// # Errors
    /// When the rows cannot be read, or what `visit` returns.
    fn for_each(&mut self, visit: &mut dyn FnMut(&PositionedBatch) -> Result<()>) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_off_and_append_give_the_rows_back_in_order() {
        let rows: Vec<_> = (0..5).map(|i| (vec![i as f32, 0.5], i)).collect();
        let whole = Samples::from_rows(&[2], &rows);
        let mut head = whole.clone();
        let tail = head.split_off(2);
        assert_eq!((head.len(), tail.len()), (2, 3));
        head.append(&tail);
        assert_eq!(head, whole);
        assert_eq!(whole.select(&[4, 0]).labels, vec![4, 0]);
    }
}
