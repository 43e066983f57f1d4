//! Whether a statistic is large: against chance, and against what it was in the past.

use super::LONG_SCALE;
use super::history::History;
use serde::{Deserialize, Serialize};

/// How far one window's statistic is beyond its threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Finding {
    /// Statistic divided by threshold.
    pub strength: f64,
    pub statistic: f64,
    pub threshold: f64,
    /// Blocks in the window.
    pub scale: usize,
    /// Squared distance of the means in standard deviations: what the statistic is without the number of rows.
    pub effect: f64,
    /// The number that moved, where one was looked at alone.
    pub number: Option<usize>,
}

/// One statistic over windows of growing length.
pub(super) struct Judge {
    chance: f64,
    /// Threshold that the next longer window has at least, as long as it has no past.
    shorter: f64,
}

impl Judge {
    /// Thresholds are at least what chance gives.
    pub fn new(chance: f64) -> Self {
        Judge { chance, shorter: chance }
    }

    /// Compares a statistic with its threshold; none where it is not to be trusted. `calm` lets it enter its own past.
    pub fn finding(&mut self, seen: Seen, history: &mut History, calm: bool, long_only: bool) -> Option<Finding> {
        let Seen { statistic, scale, effect, number } = seen;
        let past = history.threshold().map(f64::from);
        let threshold = past.unwrap_or(self.shorter).max(self.chance);
        // A window twice as long differs twice as much where rows depend on each other.
        self.shorter = threshold * if threshold > self.chance { 2.0 } else { 1.0 };
        if calm {
            history.take(statistic as f32, scale);
        }
        let is_trusted = !long_only || (scale >= LONG_SCALE && past.is_some());
        is_trusted.then_some(Finding { strength: statistic / threshold, statistic, threshold, scale, effect, number })
    }
}

/// What is judged; as in [`Finding`].
pub(super) struct Seen {
    pub statistic: f64,
    pub scale: usize,
    pub effect: f64,
    pub number: Option<usize>,
}

/// What a chi-square variable with `d` degrees of freedom, divided by `d`, exceeds as rarely as a normal one exceeds
/// `deviations` (Wilson and Hilferty 1931).
pub(super) fn chance_threshold(d: f64, deviations: f64) -> f64 {
    let spread = 2.0 / (9.0 * d);
    (1.0 - spread + deviations * spread.sqrt()).powi(3)
}
