//! HDDM-W: a weighted mean of the last values has left that of the values before by more than McDiarmid's bound.

use super::{Change, Follow, ScalarDetector, between_0_and_1, sound, usable_share};
use lightcl_core::{Result, Stateful, state};
use serde::{Deserialize, Serialize};

const TAG: &str = "boundary.hddm_w";
const VERSION: u16 = 1;

/// Settings of [`HddmW`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HddmWConfig {
    /// The chance of a change where there is none is at most about this, each test. In (0, 1).
    pub drift_confidence: f64,
    /// The same of a warning. In (0, 1).
    pub warning_confidence: f64,
    /// Weight of a new value in the weighted means. In (0, 1).
    pub lambda: f64,
    /// Whether falls are looked for beside rises.
    pub two_sided_test: bool,
    /// Whom to follow where river departs from the paper.
    pub follow: Follow,
}

impl Default for HddmWConfig {
    fn default() -> Self {
        HddmWConfig {
            drift_confidence: 0.001,
            warning_confidence: 0.005,
            lambda: 0.05,
            two_sided_test: false,
            follow: Follow::River,
        }
    }
}

impl HddmWConfig {
    pub(crate) fn validate(&self) -> Result<()> {
        between_0_and_1("drift_confidence", self.drift_confidence)?;
        between_0_and_1("warning_confidence", self.warning_confidence)?;
        between_0_and_1("lambda", self.lambda)
    }
}

/// HDDM-W (Frías-Blanco et al., "Online and Non-Parametric Drift Detection Methods Based on Hoeffding's Bounds", IEEE
/// Transactions on Knowledge and Data Engineering 27(3), 2015), the test with the weighted average, for gradual changes.
///
/// Exponentially weighted means are kept of all values, of those up to a cut (where mean plus bound was lowest) and of
/// those after it. It is a rise when the second exceeds the first by more than McDiarmid's bound allows, whatever the
/// distribution. With `two_sided_test` falls are found by the mirror image. Values lie in `[0, 1]` (others are brought
/// there).
///
/// **Where river differs from the paper.** The bound needs the sum of the squared weights. A mean of one value has the
/// one weight 1; river's sum is a step ahead, lambda² + (1 - lambda)² (0.905 instead of 1 by default), so that its bounds
/// are too narrow for the first few dozen values on either side of a cut, and it fires a value or two earlier.
/// `follow = "paper"` starts at 1.
///
/// ```
/// use lightcl_boundary::scalar::{Change, HddmW, HddmWConfig, ScalarDetector};
///
/// let mut detector = HddmW::new(HddmWConfig::default())?;
/// let error = |i: u32| if i % if i < 500 { 10 } else { 2 } == 0 { 1.0 } else { 0.0 };
/// let found = (0..1000).find(|&i| detector.update(error(i)) == Change::Rise);
/// assert_eq!(found, Some(536));
/// # Ok::<(), lightcl_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct HddmW {
    config: HddmWConfig,
    state: Samples,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Samples {
    all: Option<Weighted>,
    rise: Sides,
    fall: Sides,
    fired: bool,
}

/// What lies before and after a cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Sides {
    /// Mean and bound at the cut, together.
    cut: Option<f64>,
    before: Option<Weighted>,
    after: Option<Weighted>,
}

/// An exponentially weighted mean.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Weighted {
    mean: f64,
    /// Sum of the squared weights that make up the mean.
    squares: f64,
}

impl HddmW {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn new(config: HddmWConfig) -> Result<Self> {
        config.validate()?;
        Ok(HddmW { config, state: Samples::default() })
    }

    fn weigh(&self, sample: Option<Weighted>, value: f64) -> Weighted {
        let lambda = self.config.lambda;
        let next = |squares: f64| lambda * lambda + (1.0 - lambda) * (1.0 - lambda) * squares;
        match sample {
            Some(Weighted { mean, squares }) => {
                Weighted { mean: lambda * value + (1.0 - lambda) * mean, squares: next(squares) }
            }
            None if self.config.follow == Follow::Paper => Weighted { mean: value, squares: 1.0 },
            None => Weighted { mean: value, squares: next(1.0) },
        }
    }

    /// Takes a value in on one side of a cut, or moves the cut to it.
    fn divide(&self, sides: Sides, all: Weighted, value: f64, is_lower: bool) -> Sides {
        let bound = bound(all.squares, self.config.drift_confidence);
        let here = if is_lower { all.mean + bound } else { all.mean - bound };
        match sides.cut {
            Some(cut) if (is_lower && here >= cut) || (!is_lower && here <= cut) => {
                Sides { after: Some(self.weigh(sides.after, value)), ..sides }
            }
            _ => Sides { cut: Some(here), before: Some(all), after: None },
        }
    }
}

/// McDiarmid's bound for weights with this sum of squares.
fn bound(squares: f64, confidence: f64) -> f64 {
    (squares * (1.0 / confidence).ln() / 2.0).sqrt()
}

fn exceeds(higher: Option<Weighted>, lower: Option<Weighted>, confidence: f64) -> bool {
    let (Some(higher), Some(lower)) = (higher, lower) else { return false };
    higher.mean - lower.mean > bound(lower.squares + higher.squares, confidence)
}

impl ScalarDetector for HddmW {
    fn update(&mut self, value: f64) -> Change {
        let Some(value) = usable_share(value) else { return Change::Stable };
        if self.state.fired {
            self.reset();
        }
        let HddmWConfig { drift_confidence, warning_confidence, two_sided_test, .. } = self.config;
        let all = self.weigh(self.state.all, value);
        let rise = self.divide(self.state.rise, all, value, true);
        let fall = self.divide(self.state.fall, all, value, false);
        let has_risen = |confidence| exceeds(rise.after, rise.before, confidence);
        let has_fallen = |confidence| two_sided_test && exceeds(fall.before, fall.after, confidence);
        let change = if has_risen(drift_confidence) {
            Change::Rise
        } else if has_fallen(drift_confidence) {
            Change::Fall
        } else if has_risen(warning_confidence) || has_fallen(warning_confidence) {
            Change::Warning
        } else {
            Change::Stable
        };
        self.state = Samples { all: Some(all), rise, fall, fired: change.is_detected() };
        change
    }

    fn reset(&mut self) {
        self.state = Samples::default();
    }
}

impl Stateful for HddmW {
    fn save(&self) -> Result<Vec<u8>> {
        state::encode(TAG, VERSION, &self.state)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let samples: Samples = state::decode(TAG, VERSION, bytes)?;
        let share = |x: f64| (0.0..=1.0 + 1e-9).contains(&x);
        let weighted = |w: Option<Weighted>| w.is_none_or(|w| share(w.mean) && share(w.squares));
        let seen = samples.all.is_some();
        let sides = [samples.rise, samples.fall].iter().all(|sides| {
            sides.cut.is_some() == seen
                && sides.before.is_some() == seen
                && sides.cut.is_none_or(f64::is_finite)
                && weighted(sides.before)
                && weighted(sides.after)
        });
        sound(weighted(samples.all) && sides, TAG)?;
        self.state = samples;
        Ok(())
    }
}
