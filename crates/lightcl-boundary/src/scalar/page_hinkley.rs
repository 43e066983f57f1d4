//! Page-Hinkley: the sum of deviations from the running mean has left its extreme.

use super::{Change, Mean, Mode, ScalarDetector, not_negative, sound, usable};
use lightcl_core::{Error, Result, Stateful, state};
use serde::{Deserialize, Serialize};

const TAG: &str = "boundary.page_hinkley";
const VERSION: u16 = 1;

/// Settings of [`PageHinkley`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PageHinkleyConfig {
    /// No change is looked for in fewer values.
    pub min_instances: u64,
    /// Deviation a value that is put up with, in the unit of the values. At least 0.
    pub delta: f64,
    /// A change is a sum of deviations that is this far from its extreme, in the unit of the values. At least 0.
    pub threshold: f64,
    /// What is left of the sum after each value. In (0, 1]; 1 forgets nothing, as in the papers.
    pub alpha: f64,
    /// Which changes are looked for.
    pub mode: Mode,
}

impl Default for PageHinkleyConfig {
    fn default() -> Self {
        // 1 - 0.0001 and not 0.9999: the two may differ in the last bit, and the first is river's.
        PageHinkleyConfig { min_instances: 30, delta: 0.005, threshold: 50.0, alpha: 1.0 - 0.0001, mode: Mode::Both }
    }
}

impl PageHinkleyConfig {
    pub(crate) fn validate(&self) -> Result<()> {
        not_negative("delta", self.delta)?;
        not_negative("threshold", self.threshold)?;
        if !(self.alpha > 0.0 && self.alpha <= 1.0) {
            return Err(Error::user("alpha must be above 0 and at most 1").with("alpha", self.alpha));
        }
        Ok(())
    }
}

/// The Page-Hinkley test (Page, "Continuous Inspection Schemes", Biometrika 41, 1954; Hinkley, "Inference about the
/// change-point from cumulative sum tests", Biometrika 58, 1971).
///
/// Deviations of the values from their running mean are summed, less `delta` each. While nothing changes the sum drifts
/// down; a rise of the mean turns it up, and once it is more than `threshold` above its lowest point that is a change.
/// Falls are found by the mirror image.
///
/// **Where river differs from the papers.** The sums forget: each value leaves `alpha` of what was there, but the
/// extreme that they are compared with does not move along. Over thousands of values a sum that had wandered far from
/// 0 is drawn back, which alone can bring it past the threshold. `alpha = 1` forgets nothing: that is the test of the
/// papers. They have no `min_instances` either; 1 turns it off.
///
/// ```
/// use lightcl_boundary::scalar::{Change, PageHinkley, PageHinkleyConfig, ScalarDetector};
///
/// let mut detector = PageHinkley::new(PageHinkleyConfig { threshold: 10.0, ..PageHinkleyConfig::default() })?;
/// let first = (0..200).position(|i| detector.update(if i < 100 { 0.0 } else { 1.0 }) == Change::Rise);
/// assert_eq!(first, Some(110));
/// # Ok::<(), lightcl_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct PageHinkley {
    config: PageHinkleyConfig,
    state: Sums,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Sums {
    mean: Mean,
    up: f64,
    lowest_up: f64,
    down: f64,
    highest_down: f64,
    fired: bool,
}

impl Default for Sums {
    fn default() -> Self {
        // A first value does not deviate from the mean, so the first sums are -delta and delta and replace these.
        Sums {
            mean: Mean::default(),
            up: 0.0,
            lowest_up: f64::INFINITY,
            down: 0.0,
            highest_down: f64::NEG_INFINITY,
            fired: false,
        }
    }
}

impl PageHinkley {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn new(config: PageHinkleyConfig) -> Result<Self> {
        config.validate()?;
        Ok(PageHinkley { config, state: Sums::default() })
    }
}

impl ScalarDetector for PageHinkley {
    fn update(&mut self, value: f64) -> Change {
        let Some(value) = usable(value) else { return Change::Stable };
        if self.state.fired {
            self.reset();
        }
        let PageHinkleyConfig { min_instances, delta, threshold, alpha, mode } = self.config;
        let sums = &mut self.state;
        sums.mean.update(value);
        let deviation = value - sums.mean.mean;
        sums.up = alpha * sums.up + deviation - delta;
        sums.down = alpha * sums.down + deviation + delta;
        sums.lowest_up = sums.lowest_up.min(sums.up);
        sums.highest_down = sums.highest_down.max(sums.down);
        if sums.mean.count < min_instances {
            return Change::Stable;
        }
        let change = if mode.up() && sums.up - sums.lowest_up > threshold {
            Change::Rise
        } else if mode.down() && sums.highest_down - sums.down > threshold {
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

impl Stateful for PageHinkley {
    fn save(&self) -> Result<Vec<u8>> {
        state::encode(TAG, VERSION, &self.state)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let sums: Sums = state::decode(TAG, VERSION, bytes)?;
        let seen = sums.mean.count > 0;
        let order = !seen || (sums.lowest_up <= sums.up && sums.highest_down >= sums.down);
        let finite = [sums.up, sums.down].iter().all(|sum| sum.is_finite())
            && (sums.lowest_up.is_finite() && sums.highest_down.is_finite() || sums == Sums::default());
        sound(sums.mean.is_sound() && order && finite, TAG)?;
        self.state = sums;
        Ok(())
    }
}
