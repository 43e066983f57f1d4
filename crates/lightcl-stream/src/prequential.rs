//! Prequential (test-then-train) accuracy, beside the no-change and majority baselines.

use lightcl_core::{ClassId, PrequentialReport};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Running test-then-train measures. Sliding window and fading factor follow Gama, Sebastiao and Rodrigues (2013,
/// "On evaluating stream learning algorithms"); kappa is Cohen's. Memory: the window's bits and three counts a class.
///
/// ```
/// use lightcl_stream::Prequential;
///
/// let mut measure = Prequential::new(100, 0.99);
/// for label in [0, 0, 1, 1] {
///     measure.update(label, Some(0));
/// }
/// let report = measure.report();
/// assert_eq!(report.accuracy, Some(0.5));
/// assert_eq!(report.no_change_accuracy, Some(0.5));
/// assert_eq!(report.kappa, Some(0.0));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prequential {
    window_samples: usize,
    fading: f64,
    window: VecDeque<bool>,
    window_hits: u64,
    faded_hits: f64,
    faded_count: f64,
    scored: u64,
    hits: u64,
    no_change_hits: u64,
    majority_hits: u64,
    last_label: Option<ClassId>,
    label_counts: Vec<u64>,
    predicted_counts: Vec<u64>,
}

impl Prequential {
    /// Measures with a sliding window of `window_samples` rows and a fading factor in `(0, 1]`.
    pub fn new(window_samples: usize, fading: f64) -> Self {
        Prequential {
            window_samples: window_samples.max(1),
            fading,
            window: VecDeque::new(),
            window_hits: 0,
            faded_hits: 0.0,
            faded_count: 0.0,
            scored: 0,
            hits: 0,
            no_change_hits: 0,
            majority_hits: 0,
            last_label: None,
            label_counts: Vec::new(),
            predicted_counts: Vec::new(),
        }
    }

    /// Takes in one scored row. A missing prediction is a wrong one, for the baselines too.
    pub fn update(&mut self, label: ClassId, predicted: Option<ClassId>) {
        let hit = predicted == Some(label);
        self.scored += 1;
        self.hits += u64::from(hit);
        self.faded_hits = f64::from(u8::from(hit)) + self.fading * self.faded_hits;
        self.faded_count = 1.0 + self.fading * self.faded_count;
        if self.window.len() == self.window_samples && self.window.pop_front() == Some(true) {
            self.window_hits -= 1;
        }
        self.window.push_back(hit);
        self.window_hits += u64::from(hit);
        self.no_change_hits += u64::from(self.last_label == Some(label));
        self.majority_hits += u64::from(self.majority() == Some(label));
        self.last_label = Some(label);
        increment(&mut self.label_counts, label);
        if let Some(class) = predicted {
            increment(&mut self.predicted_counts, class);
        }
    }

    /// Rows scored so far.
    pub fn scored(&self) -> u64 {
        self.scored
    }

    /// The measures so far; each none before the first row.
    pub fn report(&self) -> PrequentialReport {
        if self.scored == 0 {
            return PrequentialReport::default();
        }
        let share = |count: u64| Some(count as f64 / self.scored as f64);
        PrequentialReport {
            accuracy: share(self.hits),
            window_accuracy: Some(self.window_hits as f64 / self.window.len() as f64),
            fading_accuracy: Some(self.faded_hits / self.faded_count),
            kappa: self.kappa(),
            no_change_accuracy: share(self.no_change_hits),
            majority_accuracy: share(self.majority_hits),
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        (self.window.len() + 8 * (self.label_counts.len() + self.predicted_counts.len()) + size_of::<Self>()) as u64
    }

    /// Most frequent label so far; the lowest class wins a tie.
    fn majority(&self) -> Option<ClassId> {
        let (class, count) = self.label_counts.iter().enumerate().max_by_key(|&(class, &n)| (n, usize::MAX - class))?;
        (*count > 0).then_some(class as ClassId)
    }

    /// (observed - chance agreement) / (1 - chance agreement); none when chance alone would agree always.
    fn kappa(&self) -> Option<f64> {
        let total = self.scored as f64;
        let observed = self.hits as f64 / total;
        let chance: f64 = self
            .label_counts
            .iter()
            .zip(&self.predicted_counts)
            .map(|(&labels, &predictions)| labels as f64 / total * (predictions as f64 / total))
            .sum();
        (chance < 1.0).then(|| (observed - chance) / (1.0 - chance))
    }
}

fn increment(counts: &mut Vec<u64>, class: ClassId) {
    let class = class as usize;
    if counts.len() <= class {
        counts.resize(class + 1, 0);
    }
    counts[class] += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_forgets_and_fading_follows_its_recursion() {
        let mut measure = Prequential::new(2, 0.5);
        for (label, predicted) in [(0, Some(0)), (1, Some(0)), (1, Some(1))] {
            measure.update(label, predicted);
        }
        let report = measure.report();
        assert_eq!(report.window_accuracy, Some(0.5));
        let (hits, count) = (1.0 + 0.5 * (0.0 + 0.5 * 1.0), 1.0 + 0.5 * (1.0 + 0.5));
        assert_eq!(report.fading_accuracy, Some(hits / count));
    }

    #[test]
    fn majority_is_judged_before_the_row_is_counted() {
        let mut measure = Prequential::new(10, 1.0);
        for label in [1, 1, 0, 1] {
            measure.update(label, None);
        }
        let report = measure.report();
        assert_eq!(report.majority_accuracy, Some(0.5));
        assert_eq!(report.accuracy, Some(0.0));
    }

    #[test]
    fn kappa_matches_a_hand_computed_table() {
        let mut measure = Prequential::new(10, 1.0);
        // 20 rows: both say 0: 9, both say 1: 5, label 0 predicted 1: 2, label 1 predicted 0: 4.
        for (label, predicted, times) in [(0, 0, 9), (1, 1, 5), (0, 1, 2), (1, 0, 4)] {
            (0..times).for_each(|_| measure.update(label, Some(predicted)));
        }
        let (observed, chance) = (14.0 / 20.0, (11.0 * 13.0 + 9.0 * 7.0) / 400.0);
        let kappa = measure.report().kappa.unwrap();
        assert!((kappa - (observed - chance) / (1.0 - chance)).abs() < 1e-12);
    }
}
