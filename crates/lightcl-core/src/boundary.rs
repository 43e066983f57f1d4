//! Task-boundary detection: what a detector sees of each sample and what it may answer.

use crate::{ClassId, Stateful};
use serde::{Deserialize, Serialize};

/// What a detector sees of one sample, in stream order, after it was scored and before it is learnt from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation<'a> {
    /// 0-based number of the row in the stream; it grows, with gaps where rows were rejected.
    pub index: u64,
    /// The true class.
    pub label: ClassId,
    /// The class that was predicted; none before any class is known.
    pub predicted: Option<ClassId>,
    /// Cross-entropy of the prediction in nats; finite, capped by the operator.
    pub loss: f64,
    /// Difference between the two highest class probabilities, in `[0, 1]`.
    pub margin: f64,
    /// Entropy of the class probabilities in nats.
    pub entropy: f64,
    /// The task named by the stream, when a column gives one.
    pub task_key: Option<&'a str>,
    /// Event time in microseconds since 1970-01-01 UTC, when a column gives one.
    pub event_time: Option<i64>,
    /// The encoded features of the sample.
    pub features: &'a [f32],
}

impl Observation<'_> {
    /// 1 when the prediction was wrong or absent, else 0.
    pub fn error(&self) -> f64 {
        if self.predicted == Some(self.label) { 0.0 } else { 1.0 }
    }
}

/// Why a detector fired, so that a person can see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The detector's name in the registry.
    pub detector: String,
    /// One sentence with the figures that decided.
    pub message: String,
}

/// A detector's answer to one observation.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Nothing happened.
    Stable,
    /// Something may be happening; rows from here on are under suspicion.
    Warning,
    /// A new task began.
    Boundary {
        /// Index of the first sample of the new task: at most the index observed, often earlier.
        at: u64,
        /// Why.
        evidence: Evidence,
    },
}

/// Notices by itself when the task changes.
///
/// Implementations are deterministic: the same observations in the same order from the same state give the same
/// verdicts. They hold bounded memory and take O(1) or O(log n) a sample.
pub trait BoundaryDetector: Stateful + Send {
    /// The detector's name in the registry.
    fn name(&self) -> &str;

    /// Takes in one sample. `Boundary { at }` must lie between the first index observed since the last reset and
    /// `observation.index`, both included. One at the first row of a task is ignored: nothing would end there.
    fn observe(&mut self, observation: &Observation<'_>) -> Verdict;

    /// Starts afresh: a boundary was placed (by this detector or another) and a new task begins.
    fn reset(&mut self);
}
