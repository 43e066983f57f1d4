//! What a statistic was in the past, and what is unusual for it.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Past statistics kept.
const KEPT: usize = 96;
/// A threshold is taken from at least so many, and anew whenever there are a quarter more.
const LEAST: usize = 8;
/// Robust deviations above the median that are unusual.
const EXCESS: f32 = 6.0;

/// The last statistics of windows that do not overlap, and a threshold from them: the median and six robust deviations
/// (from the median absolute deviation), and a quarter more than the second highest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct History {
    values: VecDeque<f32>,
    /// Statistics since the last that was kept, and kept ones since the threshold was taken.
    skipped: u32,
    fresh: u32,
    median: Option<f32>,
    threshold: Option<f32>,
}

impl History {
    pub fn median(&self) -> Option<f32> {
        self.median
    }

    pub fn threshold(&self) -> Option<f32> {
        self.threshold
    }

    /// Takes in every `scale`-th statistic.
    pub fn take(&mut self, statistic: f32, scale: usize) {
        self.skipped += 1;
        if (self.skipped as usize) < scale {
            return;
        }
        self.skipped = 0;
        self.fresh += 1;
        self.values.push_back(statistic);
        if self.values.len() > KEPT {
            self.values.pop_front();
        }
        if self.fresh as usize >= LEAST.max(self.values.len() / 4) {
            self.fresh = 0;
            let mut sorted: Vec<f32> = self.values.iter().copied().collect();
            sorted.sort_unstable_by(f32::total_cmp);
            let (median, high) = (sorted[sorted.len() / 2], sorted[sorted.len().saturating_sub(2)]);
            sorted.iter_mut().for_each(|value| *value = (*value - median).abs());
            sorted.sort_unstable_by(f32::total_cmp);
            let deviation = 1.4826 * sorted[sorted.len() / 2];
            // The constants keep a history of equal values from making the next one unusual.
            let unusual = median + EXCESS * (deviation + 0.05) + 0.3;
            self.median = Some(median);
            self.threshold = Some(unusual.max(1.25 * high));
        }
    }

    pub fn is_sound(&self) -> bool {
        let usual = |value: &f32| value.is_finite() && *value >= 0.0;
        self.values.len() <= KEPT
            && self.values.iter().chain(&self.median).chain(&self.threshold).all(usual)
            && self.fresh as usize <= self.values.len()
            && self.skipped < 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_is_beyond_what_was_and_one_outlier_does_not_lift_it() {
        let mut history = History::default();
        (0..7).for_each(|i| history.take(i as f32 / 10.0, 1));
        assert_eq!(history.threshold(), None);
        (0..57).for_each(|i| history.take((i % 10) as f32 / 10.0, 1));
        let threshold = history.threshold().unwrap();
        assert!(threshold > 1.2 && threshold < 4.0, "{threshold}");
        (0..8).for_each(|i| history.take(if i == 0 { 1000.0 } else { 0.5 }, 1));
        assert!((history.threshold().unwrap() - threshold).abs() < 0.5);
        (0..8).for_each(|i| history.take(if i == 0 { 1000.0 } else { 0.5 }, 1));
        assert!(history.threshold().unwrap() >= 1250.0, "what comes twice is usual");
    }

    #[test]
    fn longer_windows_enter_seldom() {
        let mut history = History::default();
        (0..100).for_each(|_| history.take(1.0, 32));
        assert_eq!(history.values.len(), 3);
    }
}
