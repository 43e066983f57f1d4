//! Change detectors on one number: each takes in a value at a time and says when the numbers began to be others.
//!
//! | detector | notices | values | memory | time a value |
//! |---|---|---|---|---|
//! | [`Adwin`] | another mean | real | O(log n) | O(log n) |
//! | [`PageHinkley`] | another mean | real | O(1) | O(1) |
//! | [`Cusum`] | another mean, in standard deviations | real | O(1) | O(1) |
//! | [`Kswin`] | another distribution | real | O(window) | O(window) |
//! | [`Bayesian`] | another mean or variance | real or 0/1 | O(runs kept) | O(runs kept) |
//! | [`Ddm`] | a higher rate | 0/1 | O(1) | O(1) |
//! | [`Eddm`] | ones that lie closer together | 0/1 | O(1) | O(1) |
//! | [`HddmA`] | another mean, abrupt | in `[0, 1]` | O(1) | O(1) |
//! | [`HddmW`] | another mean, gradual | in `[0, 1]` | O(1) | O(1) |
//!
//! What holds for all: a value that is not finite is left out as if it had not come; one beyond ±1e100 is taken as
//! ±1e100, so that squares cannot overflow; the update after one that reported a change starts afresh; the whole state
//! is saved and restored. On the same values they fire at the same indices as river 0.26.1, unless `follow` asks for
//! what the paper says where the two differ.

mod adwin;
mod bayesian;
mod cusum;
mod ddm;
mod eddm;
mod hddm_a;
mod hddm_w;
mod kswin;
mod page_hinkley;

pub use adwin::{Adwin, AdwinConfig};
pub use bayesian::{Bayesian, BayesianConfig, BayesianModel};
pub use cusum::{Cusum, CusumConfig};
pub use ddm::{Ddm, DdmConfig};
pub use eddm::{Eddm, EddmConfig};
pub use hddm_a::{HddmA, HddmAConfig};
pub use hddm_w::{HddmW, HddmWConfig};
pub use kswin::{Kswin, KswinConfig};
pub use page_hinkley::{PageHinkley, PageHinkleyConfig};

use lightcl_core::{Error, Result, Stateful};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a value did to a [`ScalarDetector`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Stable,
    /// The values may be about to change.
    Warning,
    /// The values have changed, upwards.
    Rise,
    /// The values have changed, downwards.
    Fall,
}

impl Change {
    /// Whether a change was found: a rise or a fall.
    pub fn is_detected(self) -> bool {
        matches!(self, Change::Rise | Change::Fall)
    }
}

/// Notices when a sequence of numbers changes. Deterministic; bounded memory.
pub trait ScalarDetector: Stateful + Send {
    /// Takes in one value. One that is not finite is left out. After a rise or a fall the next value starts afresh.
    fn update(&mut self, value: f64) -> Change;

    /// Starts afresh.
    fn reset(&mut self);
}

/// Which changes a two-sided test looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Rises.
    Up,
    /// Falls.
    Down,
    /// Rises and falls.
    Both,
}

impl Mode {
    /// The name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Up => "up",
            Mode::Down => "down",
            Mode::Both => "both",
        }
    }

    /// Whether rises are looked for.
    pub fn up(self) -> bool {
        self != Mode::Down
    }

    /// Whether falls are looked for.
    pub fn down(self) -> bool {
        self != Mode::Up
    }
}

/// Whom a detector follows where river departs from the paper.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Follow {
    /// river 0.26.1, index by index.
    #[default]
    River,
    /// The paper that described the method.
    Paper,
}

/// Values are brought to at most this size, so that sums of squares stay finite.
const LARGEST: f64 = 1e100;

/// The value to compute with; none for one that is not finite.
pub(crate) fn usable(value: f64) -> Option<f64> {
    value.is_finite().then(|| value.clamp(-LARGEST, LARGEST))
}

/// The same for detectors of values in `[0, 1]`.
fn usable_share(value: f64) -> Option<f64> {
    value.is_finite().then(|| value.clamp(0.0, 1.0))
}

/// A running mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Mean {
    count: u64,
    mean: f64,
}

impl Mean {
    /// The order of operations is river's: a sum in another order may differ in the last bit, and so may an index.
    fn update(&mut self, value: f64) {
        self.count = self.count.saturating_add(1);
        self.mean += (1.0 / self.count as f64) * (value - self.mean);
    }

    fn is_sound(&self) -> bool {
        self.mean.is_finite() && self.mean.abs() <= 2.0 * LARGEST && (self.count > 0 || self.mean == 0.0)
    }

    /// Whether it can be the mean of values in `[0, 1]`, up to rounding.
    fn is_share(&self) -> bool {
        self.is_sound() && (-1e-9..=1.0 + 1e-9).contains(&self.mean)
    }
}

/// A running mean with the sum of squared deviations from it (Welford 1962).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Spread {
    mean: Mean,
    squares: f64,
}

impl Spread {
    fn update(&mut self, value: f64) {
        let before = self.mean.mean;
        self.mean.update(value);
        self.squares += (value - before) * (value - self.mean.mean);
    }

    /// Sample variance; 0 for fewer than two values.
    fn variance(&self) -> f64 {
        if self.mean.count > 1 { (self.squares / (self.mean.count - 1) as f64).max(0.0) } else { 0.0 }
    }

    fn is_sound(&self) -> bool {
        self.mean.is_sound() && self.squares.is_finite() && self.squares >= 0.0
    }
}

/// Refuses a state that no sequence of values leads to.
fn sound(is_sound: bool, tag: &'static str) -> Result<()> {
    if is_sound {
        return Ok(());
    }
    Err(Error::user("the saved state of a change detector is damaged").with("state", tag))
}

/// Refuses a setting that lies outside `(0, 1)`.
fn between_0_and_1(name: &'static str, value: f64) -> Result<()> {
    if value > 0.0 && value < 1.0 {
        return Ok(());
    }
    Err(Error::user(format!("{name} must lie between 0 and 1, both excluded")).with(name, value))
}

/// Refuses a setting that is negative or not finite.
fn not_negative(name: &'static str, value: f64) -> Result<()> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::user(format!("{name} must be finite and at least 0")).with(name, value))
}

/// Refuses a setting outside a range of whole numbers.
fn within<T: PartialOrd + fmt::Display>(name: &'static str, value: T, lowest: T, highest: T) -> Result<()> {
    if value >= lowest && value <= highest {
        return Ok(());
    }
    Err(Error::user(format!("{name} must lie between {lowest} and {highest}")).with(name, value))
}
