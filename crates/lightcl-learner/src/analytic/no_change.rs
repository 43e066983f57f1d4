//! The expert that says: the label before again.

use faer::Mat;
use lightcl_core::ClassId;
use serde::{Deserialize, Serialize};

/// Rows after which an observation of a repeated label counts half.
const HALF_LIFE: f64 = 200.0;

/// The no-change classifier with the probability that a label repeats, which it learns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct NoChange {
    repeats: f64,
    rows: f64,
}

impl NoChange {
    pub(crate) fn new() -> NoChange {
        // As if two rows had been seen, of which one repeated its label.
        NoChange { repeats: 1.0, rows: 2.0 }
    }

    /// Logarithms of probabilities, the same for every row.
    pub(crate) fn score(&self, previous: &[Option<ClassId>], classes: usize) -> Mat<f32> {
        let repeats = self.repeats / self.rows;
        let others = (1.0 - repeats) / classes.saturating_sub(1).max(1) as f64;
        Mat::from_fn(previous.len(), classes, |row, class| match previous[row] {
            Some(label) if label as usize == class => repeats.ln() as f32,
            Some(_) => others.max(1e-9).ln() as f32,
            None => 0.0,
        })
    }

    pub(crate) fn take(&mut self, previous: Option<ClassId>, label: ClassId) {
        let Some(previous) = previous else { return };
        let decay = 0.5_f64.powf(1.0 / HALF_LIFE);
        let floor = 2.0 * (1.0 - decay);
        self.repeats = decay * self.repeats + f64::from(u8::from(previous == label)) + 0.5 * floor;
        self.rows = decay * self.rows + 1.0 + floor;
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.rows > 0.0 && self.rows.is_finite() && self.repeats >= 0.0 && self.repeats <= self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_before_gets_the_share_of_repeated_labels() {
        let mut expert = NoChange::new();
        let mut previous = 0;
        for row in 0..2000_u32 {
            let label = row / 10 % 3;
            expert.take(Some(previous), label);
            previous = label;
        }
        let scores = expert.score(&[Some(1), None], 3);
        let repeat = f64::from(scores[(0, 1)]).exp();
        assert!((repeat - 0.9).abs() < 0.03, "{repeat}");
        assert!((f64::from(scores[(0, 0)]).exp() - (1.0 - repeat) / 2.0).abs() < 1e-6);
        assert_eq!(scores[(1, 0)], scores[(1, 2)]);
    }
}
