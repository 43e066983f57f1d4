//! One row as the signals see it.

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
    /// What was predicted, summed under the same signs; in [-1, 1] but for what clipping leaves over.
    pub signed_score: f32,
    /// How far its inputs lie from those that the classifier has seen, about 1 on average; 0 where nobody asks.
    pub novelty: f32,
    /// What the classifier reads: 1, the standardised inputs if they are few, the random features.
    pub read: Vec<f32>,
    /// Random features of the prefix's outputs; empty where the learner gave none.
    pub activations: Vec<f32>,
}

/// Numbers that the classifier reads of rows with so many inputs.
pub(super) fn read_width(inputs: usize) -> usize {
    1 + FEATURES + if inputs <= MOST_PLAIN_INPUTS { inputs } else { 0 }
}

impl Row {
    /// Begins what the classifier reads; the random features come last.
    pub fn begin_read(&mut self, inputs: &[f32]) {
        self.read.clear();
        self.read.push(1.0);
        if inputs.len() <= MOST_PLAIN_INPUTS {
            self.read.extend(inputs);
        }
    }

    /// The random features.
    pub fn features(&self) -> &[f32] {
        &self.read[self.read.len().saturating_sub(FEATURES)..]
    }

    /// Takes in what the classifier predicted.
    pub fn compare(&mut self, shares: &[f32]) {
        (self.squared_residual, self.signed_residual, self.signed_score) = (0.0, 0.0, 0.0);
        for slot in 0..shares.len().max(self.slot + 1) {
            let share = shares.get(slot).copied().unwrap_or(0.0);
            let residual = f32::from(u8::from(slot == self.slot)) - share;
            self.squared_residual += residual * residual;
            // Fixed signs, so that the residuals of different classes do not cancel out.
            let sign = if (slot * 7 + 3) % 5 < 2 { 1.0 } else { -1.0 };
            self.signed_residual += sign * residual;
            self.signed_score += sign * share;
        }
    }

    /// Whether this could have come from a row with so many inputs.
    pub fn is_sound(&self, inputs: usize) -> bool {
        let numbers = [self.error, self.squared_residual, self.signed_residual, self.signed_score, self.novelty];
        self.slot < CLASS_SLOTS
            && self.read.len() == read_width(inputs)
            && (self.activations.is_empty() || self.activations.len() == ACTIVATION_FEATURES)
            && numbers.iter().chain(&self.read).chain(&self.activations).all(|value| value.is_finite())
    }
}
