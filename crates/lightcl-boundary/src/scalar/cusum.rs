//! CUSUM: the sum of standardised deviations has grown beyond what chance allows.

use super::{Change, Mode, ScalarDetector, Spread, not_negative, sound, usable, within};
use lightcl_core::{Error, Result, Stateful, state};
use serde::{Deserialize, Serialize};

const TAG: &str = "boundary.cusum";
const VERSION: u16 = 1;

/// Settings of [`Cusum`]. River has no such detector; the defaults are ours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CusumConfig {
    /// The first so many values only tell mean and standard deviation. At least 2.
    pub warm_start: u64,
    /// Deviation a value that is put up with, in standard deviations. Half the smallest change worth finding.
    pub slack: f64,
    /// A change is a sum above this, in standard deviations.
    pub threshold: f64,
    /// A single deviation counts at most this much, in standard deviations. Above `slack`.
    pub largest_deviation: f64,
    /// Which changes are looked for.
    pub mode: Mode,
}

impl Default for CusumConfig {
    fn default() -> Self {
        CusumConfig { warm_start: 100, slack: 0.25, threshold: 25.0, largest_deviation: 4.0, mode: Mode::Both }
    }
}

impl CusumConfig {
    pub(crate) fn validate(&self) -> Result<()> {
        within("warm_start", self.warm_start, 2, u64::MAX)?;
        not_negative("slack", self.slack)?;
        not_negative("threshold", self.threshold)?;
        not_negative("largest_deviation", self.largest_deviation)?;
        if self.largest_deviation <= self.slack {
            return Err(Error::user("largest_deviation must be above slack, else nothing can ever add up")
                .with("largest_deviation", self.largest_deviation)
                .with("slack", self.slack));
        }
        Ok(())
    }
}

/// Two-sided CUSUM (Page, "Continuous Inspection Schemes", Biometrika 41, 1954) in its self-starting form (Hawkins,
/// "Self-starting CUSUM charts for location and scale", The Statistician 36, 1987).
///
/// Each value is standardised by mean and standard deviation of all values before it, so neither has to be known
/// beforehand and the settings have no unit. What exceeds `slack` is summed, never below 0; a sum above `threshold` is a
/// change. A shift by d standard deviations is found after about threshold / (d - slack) values. A single deviation is
/// cut at `largest_deviation`, as Hawkins advises, so that one outlier is no change. While all values are equal the
/// standard deviation is 0; a value that differs then counts as the largest deviation.
///
/// **Where this differs from the papers.** Hawkins maps each deviation from Student's distribution to the normal one.
/// With a `warm_start` of dozens of values the two hardly differ below the cut, so that is left out.
///
/// ```
/// use lightcl_boundary::scalar::{Change, Cusum, CusumConfig, ScalarDetector};
///
/// let mut detector = Cusum::new(CusumConfig::default())?;
/// let value = |i: u32| f64::from(i * 7919 % 101) / 101.0 + if i < 500 { 0.0 } else { 0.6 };
/// let found = (0..1000).find(|&i| detector.update(value(i)) == Change::Rise);
/// assert!(found.is_some_and(|i| (500..520).contains(&i)));
/// # Ok::<(), lightcl_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Cusum {
    config: CusumConfig,
    state: Sums,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Sums {
    spread: Spread,
    up: f64,
    down: f64,
    fired: bool,
}

impl Cusum {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn new(config: CusumConfig) -> Result<Self> {
        config.validate()?;
        Ok(Cusum { config, state: Sums::default() })
    }
}

/// How many standard deviations a value lies from the mean of those before it, at most `largest`.
fn standardised(value: f64, spread: &Spread, largest: f64) -> f64 {
    let distance = value - spread.mean.mean;
    if distance == 0.0 {
        return 0.0;
    }
    // A new value differs from the mean of n others by its own spread and that of the mean: sqrt(1 + 1/n).
    let count = spread.mean.count as f64;
    let deviation = (spread.variance() * (1.0 + 1.0 / count)).sqrt();
    // A deviation of 0 makes this infinite, which the cut takes care of.
    (distance / deviation).clamp(-largest, largest)
}

impl ScalarDetector for Cusum {
    fn update(&mut self, value: f64) -> Change {
        let Some(value) = usable(value) else { return Change::Stable };
        if self.state.fired {
            self.reset();
        }
        let CusumConfig { warm_start, slack, threshold, largest_deviation, mode } = self.config;
        let sums = &mut self.state;
        if sums.spread.mean.count >= warm_start {
            let deviation = standardised(value, &sums.spread, largest_deviation);
            sums.up = (sums.up + deviation - slack).max(0.0);
            sums.down = (sums.down - deviation - slack).max(0.0);
        }
        sums.spread.update(value);
        let change = if mode.up() && sums.up > threshold {
            Change::Rise
        } else if mode.down() && sums.down > threshold {
            Change::Fall
        } else {
            Change::Stable
        };
        sums.fired = change.is_detected();
        change
    }

    fn reset(&mut self) {
        self.state = Sums::default();
    }
}

impl Stateful for Cusum {
    fn save(&self) -> Result<Vec<u8>> {
        state::encode(TAG, VERSION, &self.state)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let sums: Sums = state::decode(TAG, VERSION, bytes)?;
        let sum = |sum: f64| sum.is_finite() && sum >= 0.0;
        sound(sums.spread.is_sound() && sum(sums.up) && sum(sums.down), TAG)?;
        self.state = sums;
        Ok(())
    }
}
