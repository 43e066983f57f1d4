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
    /// The encoded features of the sample, on the scale that they have before running standardisation.
    pub features: &'a [f32],
    /// Outputs of the frozen prefix for the sample; empty unless the detector asked for them
    /// ([`BoundaryDetector::needs`]) and the prefix is frozen.
    pub activations: &'a [f32],
    /// Mean pattern loss of the last window that was learnt: how far the memory samples' maps have moved. None before the
    /// first window and where the learner has none.
    pub pattern_loss: Option<f64>,
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

impl Evidence {
    /// Evidence of the detector named.
    pub fn new(detector: impl Into<String>, message: impl Into<String>) -> Self {
        Evidence { detector: detector.into(), message: message.into() }
    }
}

/// What a detector needs beyond what every observation holds; whatever costs time is made only when it is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// [`Observation::activations`].
    pub activations: bool,
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
        /// Why: the signal that decided first, then what others say. Never empty.
        evidence: Vec<Evidence>,
    },
}

impl Verdict {
    /// A boundary on the word of one detector.
    pub fn boundary(at: u64, detector: impl Into<String>, message: impl Into<String>) -> Self {
        Verdict::Boundary { at, evidence: vec![Evidence::new(detector, message)] }
    }
}

/// Notices by itself when the task changes.
///
/// Implementations are deterministic: the same observations in the same order from the same state give the same
/// verdicts. They hold bounded memory and take O(1) or O(log n) a sample.
pub trait BoundaryDetector: Stateful + Send {
    /// The detector's name in the registry.
    fn name(&self) -> &str;

    /// What the operator has to put into the observations.
    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// Takes in one sample. `Boundary { at }` must lie between the first index observed since the last reset and
    /// `observation.index`, both included. One at the first row of a task is ignored: nothing would end there.
    fn observe(&mut self, observation: &Observation<'_>) -> Verdict;

    /// Starts afresh: a boundary was placed (by this detector or another) and a new task begins.
    fn reset(&mut self);
}
