//! ADWIN: a window over a sequence of numbers that drops its past when the mean has changed.

use super::{Change, Follow, ScalarDetector, usable};
use lightcl_core::{Error, Result, Stateful, state};
use serde::{Deserialize, Serialize};

const TAG: &str = "boundary.adwin";
const VERSION: u16 = 1;

/// Level `i` summarises `2^i` values an entry; 48 levels hold more values than any stream has.
const MOST_LEVELS: usize = 48;

/// Settings of [`Adwin`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdwinConfig {
    /// Confidence: the chance that a window of a constant distribution is cut is at most this. In (0, 1).
    pub delta: f64,
    /// A cut is looked for every so many values.
    pub clock: u64,
    /// Summaries of each size that are kept before two merge; more is finer and costs memory.
    pub max_buckets: usize,
    /// Each side of a cut has at least so many values.
    pub min_window_length: u64,
    /// No cut is looked for while the window has at most so many values.
    pub grace_period: u64,
    /// Whom to follow after a change: river begins with an empty window, the paper goes on with what is left of it.
    pub follow: Follow,
}

impl Default for AdwinConfig {
    fn default() -> Self {
        AdwinConfig {
            delta: 0.002,
            clock: 32,
            max_buckets: 5,
            min_window_length: 5,
            grace_period: 10,
            follow: Follow::River,
        }
    }
}

impl AdwinConfig {
    pub(crate) fn validate(&self) -> Result<()> {
        if !(self.delta > 0.0 && self.delta < 1.0) {
            return Err(Error::user("delta must lie between 0 and 1, both excluded").with("delta", self.delta));
        }
        if self.clock == 0 {
            return Err(Error::user("clock must be at least 1").with("clock", self.clock));
        }
        if !(1..=1000).contains(&self.max_buckets) {
            return Err(Error::user("max_buckets must lie between 1 and 1000").with("max_buckets", self.max_buckets));
        }
        if self.min_window_length == 0 {
            return Err(
                Error::user("min_window_length must be at least 1").with("min_window_length", self.min_window_length)
            );
        }
        Ok(())
    }
}

/// ADWIN2 (Bifet & Gavalda, "Learning from Time-Changing Data with Adaptive Windowing", SDM 2007).
///
/// The window is kept as an exponential histogram, O(log n) numbers for n values. Every `clock` values each split of it
/// into an older and a newer part is tested; while the means of some split differ by more than chance allows (a
/// Bernstein-type bound on the window's variance), the oldest summary is dropped. The call after one that reported a
/// change starts with an empty window, unless `follow` says otherwise.
///
/// As a [`ScalarDetector`] it says rise or fall by whether the window's mean grew when its past was dropped.
///
/// **Where river differs from the paper.** The paper tests every split at every value; river every `clock` values, and
/// with both sides shortened by `min_window_length` in the bound. After a change the paper goes on with the newer part
/// of the window; river's next update empties it. `follow = "paper"`, `clock = 1`, `min_window_length = 1` and
/// `grace_period = 0` together are the paper's.
///
/// ```
/// use lightcl_boundary::{Adwin, AdwinConfig};
///
/// let mut adwin = Adwin::new(AdwinConfig::default())?;
/// let changes: Vec<u32> = (0..2000).filter(|&i| adwin.update(if i < 1000 { 0.0 } else { 1.0 })).collect();
/// assert_eq!(changes, [1023]);
/// assert_eq!(adwin.estimation(), 1.0);
/// # Ok::<(), lightcl_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Adwin {
    config: AdwinConfig,
    state: AdwinState,
}

/// The window.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct AdwinState {
    /// Summaries of `2^i` values each at level `i`, oldest first; a higher level is older.
    levels: Vec<Vec<Summary>>,
    /// Number of values in the window.
    width: u64,
    /// Their sum.
    total: f64,
    /// Sum of their squared deviations from their mean.
    deviation: f64,
    /// Values taken in since the window was last empty.
    updates: u64,
    /// Whether the last value made the window shrink.
    changed: bool,
}

/// Some neighbouring values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Summary {
    total: f64,
    /// Sum of squared deviations from their own mean.
    deviation: f64,
}

impl Adwin {
    /// An empty window.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn new(config: AdwinConfig) -> Result<Self> {
        config.validate()?;
        Ok(Adwin { config, state: AdwinState::default() })
    }

    /// Takes in one value; true when the window shrank because the mean had changed. A value that is not finite is left
    /// out.
    pub fn update(&mut self, value: f64) -> bool {
        if self.state.changed {
            match self.config.follow {
                Follow::River => self.reset(),
                Follow::Paper => self.state.changed = false,
            }
        }
        let Some(value) = usable(value) else { return false };
        self.insert(value);
        self.state.updates = self.state.updates.saturating_add(1);
        if self.state.updates.is_multiple_of(self.config.clock) && self.state.width > self.config.grace_period {
            while self.has_cut() {
                self.drop_oldest();
                self.state.changed = true;
            }
        }
        self.state.changed
    }

    /// Empties the window.
    pub fn reset(&mut self) {
        self.state = AdwinState::default();
    }

    /// Number of values in the window.
    pub fn width(&self) -> u64 {
        self.state.width
    }

    /// Sum of the values in the window.
    pub fn total(&self) -> f64 {
        self.state.total
    }

    /// Mean of the values in the window; 0 when it is empty.
    pub fn estimation(&self) -> f64 {
        if self.state.width == 0 { 0.0 } else { self.state.total / self.state.width as f64 }
    }

    /// Variance of the values in the window (divided by their number); 0 when it is empty.
    pub fn variance(&self) -> f64 {
        if self.state.width == 0 { 0.0 } else { self.state.deviation / self.state.width as f64 }
    }

    fn insert(&mut self, value: f64) {
        let state = &mut self.state;
        let others = state.width as f64;
        state.width += 1;
        if others > 0.0 {
            let distance = value - state.total / others;
            state.deviation += others * distance * distance / state.width as f64;
        }
        state.total += value;
        if state.levels.is_empty() {
            state.levels.push(Vec::new());
        }
        state.levels[0].push(Summary { total: value, deviation: 0.0 });
        self.merge_full_levels();
    }

    /// Merges the two oldest summaries of each level that has one too many into one of the next level.
    fn merge_full_levels(&mut self) {
        let levels = &mut self.state.levels;
        let mut level = 0;
        while level < levels.len() && levels[level].len() > self.config.max_buckets && level + 1 < MOST_LEVELS {
            let (first, second) = (levels[level][0], levels[level][1]);
            levels[level].drain(..2);
            let size = size_at(level);
            let distance = first.total / size - second.total / size;
            let merged = Summary {
                total: first.total + second.total,
                deviation: first.deviation + second.deviation + size * 0.5 * distance * distance,
            };
            if level + 1 == levels.len() {
                levels.push(Vec::new());
            }
            levels[level + 1].push(merged);
            level += 1;
        }
    }

    /// Whether some split of the window has means that differ by more than chance allows.
    fn has_cut(&self) -> bool {
        let state = &self.state;
        let smallest = self.config.min_window_length as f64;
        let width = state.width as f64;
        let log_term = (2.0 * width.ln() / self.config.delta).ln();
        let variance = (state.deviation / width).max(0.0);
        let (mut older, mut older_total) = (0.0, 0.0);
        let (mut newer, mut newer_total) = (width, state.total);
        for (level, summaries) in state.levels.iter().enumerate().rev() {
            let size = size_at(level);
            for summary in summaries {
                older += size;
                newer -= size;
                older_total += summary.total;
                newer_total -= summary.total;
                if newer < smallest {
                    return false;
                }
                if older < smallest {
                    continue;
                }
                let inverse_lengths = 1.0 / (older - smallest + 1.0) + 1.0 / (newer - smallest + 1.0);
                let bound =
                    (2.0 * inverse_lengths * variance * log_term).sqrt() + 2.0 / 3.0 * log_term * inverse_lengths;
                let (older_mean, newer_mean) = (older_total / older, newer_total / newer);
                // The bound is absolute: of values far beyond 1, rounding of the sums alone differs by more than it.
                let rounding = f64::EPSILON * width * state.total.abs() / older.min(newer);
                if (older_mean - newer_mean).abs() > bound.max(rounding) {
                    return true;
                }
            }
        }
        false
    }

    fn drop_oldest(&mut self) {
        let state = &mut self.state;
        let level = state.levels.len().saturating_sub(1);
        let Some(summaries) = state.levels.last_mut().filter(|summaries| !summaries.is_empty()) else { return };
        let oldest = summaries.remove(0);
        while state.levels.last().is_some_and(Vec::is_empty) {
            state.levels.pop();
        }
        let size = size_at(level);
        state.width = state.width.saturating_sub(1 << level);
        state.total -= oldest.total;
        let width = state.width as f64;
        let distance = oldest.total / size - state.total / width;
        state.deviation -= oldest.deviation + size * width * distance * distance / (size + width);
    }
}

fn size_at(level: usize) -> f64 {
    (1_u64 << level) as f64
}

impl AdwinState {
    /// Whether the state could have come from a window with these settings.
    pub(crate) fn check(&self, config: &AdwinConfig) -> Result<()> {
        let damaged = |what: &str| Err(Error::user("the saved state of ADWIN is damaged").with("part", what));
        if self.levels.len() > MOST_LEVELS || self.levels.iter().any(|level| level.len() > config.max_buckets) {
            return damaged("levels");
        }
        if self.levels.last().is_some_and(Vec::is_empty) {
            return damaged("last level");
        }
        let width: u64 = self.levels.iter().enumerate().map(|(level, entries)| (entries.len() as u64) << level).sum();
        if width != self.width || width > self.updates {
            return damaged("width");
        }
        let finite = |summary: &Summary| summary.total.is_finite() && summary.deviation.is_finite();
        if !self.total.is_finite() || !self.deviation.is_finite() || !self.levels.iter().flatten().all(finite) {
            return damaged("sums");
        }
        Ok(())
    }
}

impl ScalarDetector for Adwin {
    fn update(&mut self, value: f64) -> Change {
        let before = self.estimation();
        match Adwin::update(self, value) {
            false => Change::Stable,
            true if self.estimation() > before => Change::Rise,
            true => Change::Fall,
        }
    }

    fn reset(&mut self) {
        Adwin::reset(self);
    }
}

impl Stateful for Adwin {
    fn save(&self) -> Result<Vec<u8>> {
        state::encode(TAG, VERSION, &self.state)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let restored: AdwinState = state::decode(TAG, VERSION, bytes)?;
        restored.check(&self.config)?;
        self.state = restored;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_statistics_are_those_of_the_values() {
        let mut adwin = Adwin::new(AdwinConfig::default()).unwrap();
        let values: Vec<f64> = (0..1000).map(|i| f64::from(i * 7919 % 101) / 101.0).collect();
        assert!(values.iter().all(|&value| !adwin.update(value)));
        let mean = values.iter().sum::<f64>() / 1000.0;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 1000.0;
        assert_eq!(adwin.width(), 1000);
        assert!((adwin.estimation() - mean).abs() < 1e-12);
        assert!((adwin.variance() - variance).abs() < 1e-12);
    }

    #[test]
    fn memory_grows_with_the_logarithm_of_the_window() {
        let mut adwin = Adwin::new(AdwinConfig::default()).unwrap();
        (0..1_000_000).for_each(|_| assert!(!adwin.update(0.5)));
        let summaries: usize = adwin.state.levels.iter().map(Vec::len).sum();
        assert!(summaries <= 5 * 20, "{summaries}");
    }

    #[test]
    fn values_that_are_not_finite_are_left_out() {
        let mut adwin = Adwin::new(AdwinConfig::default()).unwrap();
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(!adwin.update(value));
        }
        assert_eq!(adwin.width(), 0);
        assert_eq!(adwin.estimation(), 0.0);
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        for config in [
            AdwinConfig { delta: 0.0, ..AdwinConfig::default() },
            AdwinConfig { delta: f64::NAN, ..AdwinConfig::default() },
            AdwinConfig { clock: 0, ..AdwinConfig::default() },
            AdwinConfig { max_buckets: 0, ..AdwinConfig::default() },
            AdwinConfig { min_window_length: 0, ..AdwinConfig::default() },
        ] {
            assert!(Adwin::new(config).is_err());
        }
    }

    #[test]
    fn a_restored_window_goes_on_as_the_saved_one() {
        let value = |i: u32| f64::from(i * 7919 % 101) / 101.0 + if i < 700 { 0.0 } else { 0.6 };
        let mut adwin = Adwin::new(AdwinConfig::default()).unwrap();
        let mut relay = adwin.clone();
        for i in 0..1500 {
            let mut next = Adwin::new(AdwinConfig::default()).unwrap();
            next.restore(&relay.save().unwrap()).unwrap();
            relay = next;
            assert_eq!(adwin.update(value(i)), relay.update(value(i)), "{i}");
        }
        assert_eq!(adwin.save().unwrap(), relay.save().unwrap());
    }

    #[test]
    fn damaged_states_are_refused() {
        let mut adwin = Adwin::new(AdwinConfig::default()).unwrap();
        (0..100).for_each(|i| {
            adwin.update(f64::from(i % 2));
        });
        let good = adwin.state.clone();
        type Damage = fn(&mut AdwinState);
        let damages: [Damage; 5] = [
            |s| s.width += 1,
            |s| s.total = f64::NAN,
            |s| s.levels[0].clear(),
            |s| s.levels.push(Vec::new()),
            |s| s.updates = 0,
        ];
        for (case, damage) in damages.iter().enumerate() {
            let mut bad = good.clone();
            damage(&mut bad);
            assert!(adwin.restore(&state::encode(TAG, VERSION, &bad).unwrap()).is_err(), "case {case}");
            assert_eq!(adwin.state, good);
        }
    }
}
