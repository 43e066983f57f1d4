//! HDDM-A: the mean has left its lowest (or highest) point by more than Hoeffding's bound allows.

use super::{Change, Follow, Mean, ScalarDetector, between_0_and_1, sound, usable_share};
use lightcl_core::{Result, Stateful, state};
use serde::{Deserialize, Serialize};

const TAG: &str = "boundary.hddm_a";
const VERSION: u16 = 1;

/// Settings of [`HddmA`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HddmAConfig {
    /// The chance of a change where there is none is at most about this, each test. In (0, 1).
    pub drift_confidence: f64,
    /// The same of a warning. In (0, 1).
    pub warning_confidence: f64,
    /// Whether falls are looked for beside rises.
    pub two_sided_test: bool,
    /// Whom to follow where river departs from the paper.
    pub follow: Follow,
}

impl Default for HddmAConfig {
    fn default() -> Self {
        HddmAConfig { drift_confidence: 0.001, warning_confidence: 0.005, two_sided_test: false, follow: Follow::River }
    }
}

impl HddmAConfig {
    pub(crate) fn validate(&self) -> Result<()> {
        between_0_and_1("drift_confidence", self.drift_confidence)?;
        between_0_and_1("warning_confidence", self.warning_confidence)
    }
}

/// HDDM-A (Frías-Blanco et al., "Online and Non-Parametric Drift Detection Methods Based on Hoeffding's Bounds", IEEE
/// Transactions on Knowledge and Data Engineering 27(3), 2015), the test with the average, for abrupt changes.
///
/// The mean of all values is compared with that of the values up to a cut: the place where mean plus Hoeffding's bound
/// was lowest. It is a rise when the two differ by more than Hoeffding's bound for the difference of two means allows,
/// whatever the distribution. With `two_sided_test` falls are found by the mirror image. Values lie in `[0, 1]` (others
/// are brought there): the bound knows nothing else of them.
///
/// **Where river differs from the paper.** Hoeffding's bound for one side has ln(1/confidence). River takes
/// ln(2/confidence), that for two sides, in the one-sided test too, and so is more careful than it says.
/// `follow = "paper"` takes 1 for the one-sided test and 2 for the two-sided one.
///
/// ```
/// use lightcl_boundary::scalar::{Change, HddmA, HddmAConfig, ScalarDetector};
///
/// let mut detector = HddmA::new(HddmAConfig::default())?;
/// let error = |i: u32| if i % if i < 500 { 10 } else { 2 } == 0 { 1.0 } else { 0.0 };
/// let found = (0..1000).find(|&i| detector.update(error(i)) == Change::Rise);
/// assert_eq!(found, Some(522));
/// # Ok::<(), lightcl_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct HddmA {
    config: HddmAConfig,
    state: Means,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Means {
    all: Mean,
    /// Mean up to the cut that a rise is measured from.
    lowest: Mean,
    /// Mean up to the cut that a fall is measured from.
    highest: Mean,
    fired: bool,
}

impl HddmA {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn new(config: HddmAConfig) -> Result<Self> {
        config.validate()?;
        Ok(HddmA { config, state: Means::default() })
    }

    /// How far the mean of all values may lie from that up to a cut; none when the cut is at the last value.
    fn bound(&self, cut: &Mean, confidence: f64) -> Option<f64> {
        let all = self.state.all.count;
        if cut.count == all {
            return None;
        }
        let (all, before) = (all as f64, cut.count as f64);
        let spread = (all - before) / before * (1.0 / all);
        let sides = if self.config.follow == Follow::Paper && !self.config.two_sided_test { 1.0 } else { 2.0 };
        Some((spread / 2.0 * (sides / confidence).ln()).sqrt())
    }

    fn has_risen(&self, confidence: f64) -> bool {
        let (all, cut) = (&self.state.all, &self.state.lowest);
        self.bound(cut, confidence).is_some_and(|bound| all.mean - cut.mean >= bound)
    }

    fn has_fallen(&self, confidence: f64) -> bool {
        let (all, cut) = (&self.state.all, &self.state.highest);
        self.bound(cut, confidence).is_some_and(|bound| cut.mean - all.mean >= bound)
    }

    fn move_cuts(&mut self) {
        let Means { all, lowest, highest, .. } = &mut self.state;
        if lowest.count == 0 {
            (*lowest, *highest) = (*all, *all);
        }
        let log_term = (1.0 / self.config.drift_confidence).ln();
        let around = |mean: &Mean| (1.0 / (2.0 * mean.count as f64) * log_term).sqrt();
        if lowest.mean + around(lowest) >= all.mean + around(all) {
            *lowest = *all;
        }
        if highest.mean - around(highest) <= all.mean - around(all) {
            *highest = *all;
        }
    }
}

impl ScalarDetector for HddmA {
    fn update(&mut self, value: f64) -> Change {
        let Some(value) = usable_share(value) else { return Change::Stable };
        if self.state.fired {
            self.reset();
        }
        self.state.all.update(value);
        self.move_cuts();
        let HddmAConfig { drift_confidence, warning_confidence, two_sided_test, .. } = self.config;
        let change = if self.has_risen(drift_confidence) {
            Change::Rise
        } else if two_sided_test && self.has_fallen(drift_confidence) {
            Change::Fall
        } else if self.has_risen(warning_confidence) || (two_sided_test && self.has_fallen(warning_confidence)) {
            Change::Warning
        } else {
            Change::Stable
        };
        self.state.fired = change.is_detected();
        change
    }

    fn reset(&mut self) {
        self.state = Means::default();
    }
}

impl Stateful for HddmA {
    fn save(&self) -> Result<Vec<u8>> {
        state::encode(TAG, VERSION, &self.state)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let means: Means = state::decode(TAG, VERSION, bytes)?;
        let cuts = [&means.lowest, &means.highest];
        let counts = cuts
            .iter()
            .all(|cut| cut.is_share() && cut.count <= means.all.count && (cut.count > 0) == (means.all.count > 0));
        sound(means.all.is_share() && counts, TAG)?;
        self.state = means;
        Ok(())
    }
}
