//! The expert that says: the label before again.

use faer::Mat;
use lightcl_core::ClassId;
use serde::{Deserialize, Serialize};

/// How fast the probability of a repeated label follows what happens, and how far from certain it stays.
const FOLLOW_REPEATS: f64 = 0.02;
const DOUBT: f64 = 0.01;
/// How fast the shares of classes do.
const FOLLOW_SHARES: f64 = 0.005;

/// The no-change classifier with the probability that a label repeats, and the shares of the others, both of which it learns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct NoChange {
    repeats: f64,
    shares: Vec<f64>,
}

impl NoChange {
    pub(crate) fn new() -> NoChange {
        NoChange { repeats: 0.5, shares: Vec::new() }
    }

    /// Logarithms of probabilities.
    pub(crate) fn score(&self, previous: &[Option<ClassId>], classes: usize) -> Mat<f32> {
        let share = |class: usize| self.shares.get(class).copied().unwrap_or(0.0) + 1e-6;
        let all: f64 = (0..classes).map(share).sum();
        Mat::from_fn(previous.len(), classes, |row, class| match previous[row].map(|label| label as usize) {
            Some(label) if label == class => self.repeats.ln() as f32,
            Some(label) => ((1.0 - self.repeats) * share(class) / (all - share(label)).max(1e-6)).max(1e-9).ln() as f32,
            None => 0.0,
        })
    }

    pub(crate) fn take(&mut self, previous: Option<ClassId>, label: ClassId) {
        let place = label as usize;
        if self.shares.len() <= place {
            self.shares.resize(place + 1, 0.0);
        }
        self.shares.iter_mut().for_each(|share| *share *= 1.0 - FOLLOW_SHARES);
        self.shares[place] += FOLLOW_SHARES;
        if let Some(previous) = previous {
            let repeated = f64::from(u8::from(previous == label));
            self.repeats = (self.repeats + FOLLOW_REPEATS * (repeated - self.repeats)).clamp(DOUBT, 1.0 - DOUBT);
        }
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.repeats > 0.0 && self.repeats < 1.0 && self.shares.iter().all(|share| share.is_finite() && *share >= 0.0)
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
        assert!((repeat - 0.9).abs() < 0.05, "{repeat}");
        let total: f64 = (0..3).map(|class| f64::from(scores[(0, class)]).exp()).sum();
        assert!((total - 1.0).abs() < 1e-5, "{total}");
        assert_eq!(scores[(1, 0)], scores[(1, 2)]);
    }
}
