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
pub enum Signal {
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
    /// Whether the learner was wrong; only a rise counts.
    Error,
    /// Which class a row has: shares that shift, a class that is gone.
    ClassShares,
}

impl Signal {
    /// All signals.
    pub const ALL: [Signal; 7] = [
        Signal::Input,
        Signal::Activations,
        Signal::Rule,
        Signal::Calibration,
        Signal::Residual,
        Signal::Error,
        Signal::ClassShares,
    ];

    /// The signal's name in settings and evidence.
    pub fn name(self) -> &'static str {
        match self {
            Signal::Input => "input",
            Signal::Activations => "activations",
            Signal::Rule => "rule",
            Signal::Calibration => "calibration",
            Signal::Residual => "residual",
            Signal::Error => "error",
            Signal::ClassShares => "class_shares",
        }
    }

    /// What a strong sign of it means, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Signal::Input => "the inputs lie elsewhere",
            Signal::Activations => "the prefix's outputs lie elsewhere",
            Signal::Rule => "inputs and labels are related in another way",
            Signal::Calibration => "what was predicted of the inputs no longer holds",
            Signal::Residual => "labels are less predictable from the inputs",
            Signal::Error => "the learner is wrong more often",
            Signal::ClassShares => "the shares of the classes are others",
        }
    }

    pub(super) fn shape(self) -> Shape {
        let vectors =
            Shape { dimensions: FEATURES, rise_only: false, variance_floor: 0.0, ridge_share: 0.02, deviations: 5.0 };
        match self {
            Signal::Input => vectors,
            Signal::Activations => Shape { dimensions: ACTIVATION_FEATURES, ..vectors },
            Signal::Rule => Shape { variance_floor: 0.02, ..vectors },
            Signal::Calibration => {
                Shape { dimensions: SCORE_BINS, variance_floor: 0.01, ridge_share: 0.1, deviations: 5.4, ..vectors }
            }
            Signal::Residual | Signal::Error => {
                Shape { dimensions: 1, rise_only: true, variance_floor: 0.02, deviations: 4.5, ..vectors }
            }
            Signal::ClassShares => Shape { dimensions: SHARE_SLOTS, variance_floor: 0.005, deviations: 6.0, ..vectors },
        }
    }

    /// Whether it needs the closed-form classifier.
    pub(super) fn reads(self) -> bool {
        matches!(self, Signal::Rule | Signal::Calibration | Signal::Residual)
    }

    /// Adds a row's vector. False when the row has none.
    pub(super) fn vector(self, row: &Row, vector: &mut Vec<f32>) -> bool {
        match self {
            Signal::Input => vector.extend(row.features()),
            Signal::Activations if row.activations.is_empty() => return false,
            Signal::Activations => vector.extend(&row.activations),
            Signal::Rule => vector.extend(row.features().iter().map(|feature| feature * row.signed_residual)),
            Signal::Calibration => {
                let start = vector.len();
                vector.resize(start + SCORE_BINS, 0.0);
                // Shared between two neighbouring bins, so that a score at their border does not jump.
                let place = ((row.signed_score + 1.0) / 2.0).clamp(0.0, 1.0) * (SCORE_BINS - 1) as f32;
                let bin = (place as usize).min(SCORE_BINS - 2);
                let share = place - bin as f32;
                vector[start + bin] = (1.0 - share) * row.signed_residual;
                vector[start + bin + 1] = share * row.signed_residual;
            }
            Signal::Residual => vector.push(row.squared_residual),
            Signal::Error => vector.push(row.error),
            Signal::ClassShares => {
                let start = vector.len();
                vector.resize(start + SHARE_SLOTS, 0.0);
                vector[start + row.slot % SHARE_SLOTS] = 1.0;
            }
        }
        true
    }
}
