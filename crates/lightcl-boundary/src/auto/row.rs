//! One row as the signals see it.

use super::calibrator::Calibrators;
use super::reader::CLASS_SLOTS;
use super::{ACTIVATION_FEATURES, FEATURES};
use serde::{Deserialize, Serialize};

/// Inputs up to this width are read as they are, beside the random features.
const MOST_PLAIN_INPUTS: usize = 128;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    pub index: u64,
    /// Slot of its class.
    pub slot: usize,
    /// 1 when the learner was wrong.
    pub error: f32,
    /// Over all class slots, the sum of squared residuals of the closed-form classifier, and their sum under fixed signs.
    pub squared_residual: f32,
    pub signed_residual: f32,
    /// What was predicted, by all that is read and by the plain inputs, summed under the same signs; in [-1, 1] but for
    /// what clipping leaves over.
    pub scores: [f32; 2],
    /// The better one of them, and the residual of what such a score has meant so far.
    pub better_score: f32,
    pub calibrated_residual: f32,
    /// What the classifier reads: 1, the standardised inputs if they are few, the random features.
    pub read: Vec<f32>,
    /// Random features of the prefix's outputs; empty where the learner gave none.
    pub activations: Vec<f32>,
}

/// Whether so many inputs are read as they are.
pub(super) fn has_plain(inputs: usize) -> bool {
    inputs <= MOST_PLAIN_INPUTS
}

/// Numbers that the classifier reads of rows with so many inputs.
pub(super) fn read_width(inputs: usize) -> usize {
    1 + FEATURES + if has_plain(inputs) { inputs } else { 0 }
}

/// Fixed signs, so that the residuals of different classes do not cancel out.
pub(super) fn sign(slot: usize) -> f32 {
    if (slot * 7 + 3) % 5 < 2 { 1.0 } else { -1.0 }
}

impl Row {
    /// Begins what the classifier reads; the random features come last.
    pub fn begin_read(&mut self, inputs: &[f32]) {
        self.read.clear();
        self.read.push(1.0);
        if has_plain(inputs.len()) {
            self.read.extend(inputs);
        }
    }

    /// The random features.
    pub fn features(&self) -> &[f32] {
        &self.read[self.read.len().saturating_sub(FEATURES)..]
    }

    /// Takes in what the classifier predicted.
    pub fn compare(&mut self, shares: &[f32], plain_shares: &[f32], calibrators: &Calibrators) {
        (self.squared_residual, self.signed_residual) = (0.0, 0.0);
        for slot in 0..shares.len().max(self.slot + 1) {
            let share = shares.get(slot).copied().unwrap_or(0.0);
            let residual = f32::from(u8::from(slot == self.slot)) - share;
            self.squared_residual += residual * residual;
            self.signed_residual += sign(slot) * residual;
        }
        self.scores = [shares, plain_shares].map(|shares| {
            let signed = |(slot, share): (usize, &f32)| sign(slot) * share;
            shares.iter().enumerate().map(signed).sum()
        });
        (self.calibrated_residual, self.better_score) = calibrators.residual(self.scores, sign(self.slot));
    }

    /// Whether this could have come from a row with so many inputs.
    pub fn is_sound(&self, inputs: usize) -> bool {
        let numbers =
            [self.error, self.squared_residual, self.signed_residual, self.calibrated_residual, self.better_score];
        self.slot < CLASS_SLOTS
            && self.read.len() == read_width(inputs)
            && (self.activations.is_empty() || self.activations.len() == ACTIVATION_FEATURES)
            && numbers
                .iter()
                .chain(&self.scores)
                .chain(&self.read)
                .chain(&self.activations)
                .all(|value| value.is_finite())
    }
}
