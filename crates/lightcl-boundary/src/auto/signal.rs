//! The signals that are watched, one row each.

use super::mean_shift::Shape;
use super::row::Row;
use super::{ACTIVATION_FEATURES, FEATURES};
use serde::{Deserialize, Serialize};

/// Dimensions in which class shares are counted; more classes share one.
const SHARE_SLOTS: usize = 16;
/// Bins of what was predicted.
const SCORE_BINS: usize = 8;

/// A sequence of vectors whose mean stays where it is while the task stays the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AutoSignal {
    /// Random features of the inputs: they lie elsewhere.
    Input,
    /// The same of the frozen prefix's outputs, where the learner has them.
    Activations,
    /// Random features times the residual of a small closed-form classifier: where a rule changes they become
    /// correlated, often before the error shows it (a score test of parameter stability, Nyblom 1989).
    Rule,
    /// The residual in bins of what was predicted: where a rule moves a little, rows of some scores are no longer what
    /// those scores meant (Hosmer and Lemeshow 1980).
    Calibration,
    /// Squared residual of that classifier; only a rise counts.
    Residual,
    /// How far a row's inputs lie from those that the classifier has seen (leverage; needs no label); only a rise counts.
    Novelty,
    /// Whether the learner was wrong; only a rise counts.
    Error,
    /// Which class a row has: shares that shift, a class that is gone.
    ClassShares,
}

impl AutoSignal {
    /// All signals.
    pub const ALL: [AutoSignal; 8] = [
        AutoSignal::Input,
        AutoSignal::Activations,
        AutoSignal::Rule,
        AutoSignal::Calibration,
        AutoSignal::Residual,
        AutoSignal::Novelty,
        AutoSignal::Error,
        AutoSignal::ClassShares,
    ];

    /// The signal's name in settings and evidence.
    pub fn name(self) -> &'static str {
        match self {
            AutoSignal::Input => "input",
            AutoSignal::Activations => "activations",
            AutoSignal::Rule => "rule",
            AutoSignal::Calibration => "calibration",
            AutoSignal::Residual => "residual",
            AutoSignal::Novelty => "novelty",
            AutoSignal::Error => "error",
            AutoSignal::ClassShares => "class_shares",
        }
    }

    /// What a strong sign of it means, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            AutoSignal::Input => "the inputs lie elsewhere",
            AutoSignal::Activations => "the prefix's outputs lie elsewhere",
            AutoSignal::Rule => "inputs and labels are related in another way",
            AutoSignal::Calibration => "what was predicted of the inputs no longer holds",
            AutoSignal::Residual => "labels are less predictable from the inputs",
            AutoSignal::Novelty => "inputs are unlike those seen before",
            AutoSignal::Error => "the learner is wrong more often",
            AutoSignal::ClassShares => "the shares of the classes are others",
        }
    }

    pub(super) fn shape(self) -> Shape {
        let vectors =
            Shape { dimensions: FEATURES, rise_only: false, variance_floor: 0.0, ridge_share: 0.02, deviations: 5.0 };
        match self {
            AutoSignal::Input => vectors,
            AutoSignal::Activations => Shape { dimensions: ACTIVATION_FEATURES, ..vectors },
            AutoSignal::Rule => Shape { variance_floor: 0.02, ..vectors },
            AutoSignal::Calibration => {
                Shape { dimensions: SCORE_BINS, variance_floor: 0.01, ridge_share: 0.1, deviations: 5.4, ..vectors }
            }
            AutoSignal::Residual | AutoSignal::Novelty | AutoSignal::Error => {
                Shape { dimensions: 1, rise_only: true, variance_floor: 0.02, deviations: 4.5, ..vectors }
            }
            AutoSignal::ClassShares => {
                Shape { dimensions: SHARE_SLOTS, variance_floor: 0.005, deviations: 6.0, ..vectors }
            }
        }
    }

    /// Whether it needs the closed-form classifier.
    pub(super) fn reads(self) -> bool {
        matches!(self, AutoSignal::Rule | AutoSignal::Calibration | AutoSignal::Residual | AutoSignal::Novelty)
    }

    /// Adds a row's vector. False when the row has none.
    pub(super) fn vector(self, row: &Row, vector: &mut Vec<f32>) -> bool {
        match self {
            AutoSignal::Input => vector.extend(row.features()),
            AutoSignal::Activations if row.activations.is_empty() => return false,
            AutoSignal::Activations => vector.extend(&row.activations),
            AutoSignal::Rule => vector.extend(row.features().iter().map(|feature| feature * row.signed_residual)),
            AutoSignal::Calibration => {
                let start = vector.len();
                vector.resize(start + SCORE_BINS, 0.0);
                // Shared between two neighbouring bins, so that a score at their border does not jump.
                let place = ((row.signed_score + 1.0) / 2.0).clamp(0.0, 1.0) * (SCORE_BINS - 1) as f32;
                let bin = (place as usize).min(SCORE_BINS - 2);
                let share = place - bin as f32;
                vector[start + bin] = (1.0 - share) * row.signed_residual;
                vector[start + bin + 1] = share * row.signed_residual;
            }
            AutoSignal::Residual => vector.push(row.squared_residual),
            AutoSignal::Novelty => vector.push(row.novelty),
            AutoSignal::Error => vector.push(row.error),
            AutoSignal::ClassShares => {
                let start = vector.len();
                vector.resize(start + SHARE_SLOTS, 0.0);
                vector[start + row.slot % SHARE_SLOTS] = 1.0;
            }
        }
        true
    }
}
