//! Observations that can be kept, for tests of detectors.

use crate::random::seeded;
use crate::streams::SyntheticStream;
use lightcl_core::{BoundaryDetector, ClassId, Evidence, Observation, Verdict};
use rand::RngExt;

/// An [`Observation`] that owns what it shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// Number of the row in the stream.
    pub index: u64,
    /// The true class.
    pub label: ClassId,
    /// The class that was predicted.
    pub predicted: Option<ClassId>,
    /// Cross-entropy in nats.
    pub loss: f64,
    /// Difference between the two highest class probabilities.
    pub margin: f64,
    /// Entropy of the class probabilities in nats.
    pub entropy: f64,
    /// The task named by the stream.
    pub task_key: Option<String>,
    /// Event time in microseconds.
    pub event_time: Option<i64>,
    /// The features.
    pub features: Vec<f32>,
}

impl Observed {
    /// What a detector sees.
    pub fn view(&self) -> Observation<'_> {
        Observation {
            index: self.index,
            label: self.label,
            predicted: self.predicted,
            loss: self.loss,
            margin: self.margin,
            entropy: self.entropy,
            task_key: self.task_key.as_deref(),
            event_time: self.event_time,
            features: &self.features,
            activations: &[],
            pattern_loss: None,
        }
    }
}

/// A stream as a detector would see it, with a learner that is wrong with probability `error_rate(index)`. Loss, margin
/// and entropy are in keeping with that.
pub fn observed(stream: &SyntheticStream, seed: u64, error_rate: impl Fn(u64) -> f64) -> Vec<Observed> {
    let mut random = seeded(seed);
    (0..stream.len())
        .map(|row| {
            let (label, meta) = (stream.samples.labels[row], &stream.samples.meta[row]);
            let wrong = random.random_bool(error_rate(meta.index).clamp(0.0, 1.0));
            let confidence = random.random_range(0.5..0.999_f64);
            Observed {
                index: meta.index,
                label,
                predicted: Some(if wrong { label + 1 } else { label }),
                loss: if wrong { -(1.0 - confidence).ln() } else { -confidence.ln() },
                margin: 2.0 * confidence - 1.0,
                entropy: -confidence * confidence.ln() - (1.0 - confidence) * (1.0 - confidence).ln(),
                task_key: meta.task_key.clone(),
                event_time: meta.event_time,
                features: stream.samples.row(row).to_vec(),
            }
        })
        .collect()
}

/// Shows every row to a detector as the operator does, with a reset after each boundary. Gives the boundaries as
/// `(at, index of the row at which it was noticed, evidence)`.
pub fn observe_stream(detector: &mut dyn BoundaryDetector, rows: &[Observed]) -> Vec<(u64, u64, Vec<Evidence>)> {
    let mut found = Vec::new();
    for row in rows {
        if let Verdict::Boundary { at, evidence } = detector.observe(&row.view()) {
            detector.reset();
            found.push((at, row.index, evidence));
        }
    }
    found
}
