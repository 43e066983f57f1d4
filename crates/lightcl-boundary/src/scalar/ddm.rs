//! DDM: the error rate has left its lowest point by several standard deviations.

use super::{Change, Follow, Mean, ScalarDetector, not_negative, sound, usable_share};
use lightcl_core::{Error, Result, Stateful, state};
use serde::{Deserialize, Serialize};

const TAG: &str = "boundary.ddm";
const VERSION: u16 = 1;

/// Settings of [`Ddm`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DdmConfig {
    /// Nothing is looked for in the first so many values.
    pub warm_start: u64,
    /// A warning is a rate this many standard deviations above the lowest. At least 0.
    pub warning_threshold: f64,
    /// A change is a rate this many standard deviations above the lowest. At least `warning_threshold`.
    pub drift_threshold: f64,
    /// Whom to follow where river departs from the paper.
    pub follow: Follow,
}

impl Default for DdmConfig {
    fn default() -> Self {
        DdmConfig { warm_start: 30, warning_threshold: 2.0, drift_threshold: 3.0, follow: Follow::River }
    }
}

impl DdmConfig {
    pub(crate) fn validate(&self) -> Result<()> {
        not_negative("warning_threshold", self.warning_threshold)?;
        not_negative("drift_threshold", self.drift_threshold)?;
        if self.drift_threshold < self.warning_threshold {
            return Err(Error::user("drift_threshold must be at least warning_threshold")
                .with("drift_threshold", self.drift_threshold)
                .with("warning_threshold", self.warning_threshold));
        }
        Ok(())
    }
}

/// DDM, the drift detection method (Gama, Medas, Castillo & Rodrigues, "Learning with Drift Detection", SBIA 2004).
///
/// The rate p of ones (errors) in all values and its standard deviation s = √(p(1-p)/n) are followed, and both are kept
/// as they were when p + s was lowest. Once p + s exceeds that lowest p by `drift_threshold` of that s the values have
/// changed; a warning comes at `warning_threshold`. Only rises are found. Values are 0 or 1; others are brought into
/// `[0, 1]`. After a long run without a single one the lowest p and s are 0, so the first one is a change: that is the
/// method, not a fault, and it makes DDM a poor choice for learners that are wrong in fewer than about 5 of 100 cases.
///
/// **Where river differs from the paper.** In the paper reaching a threshold is enough (≥); in river it has to be
/// exceeded (>). With `follow = "paper"` reaching is enough, save while the lowest s is 0: there ≥ would fire at every
/// value of a sequence that has no ones, which nobody can mean.
///
/// ```
/// use lightcl_boundary::scalar::{Change, Ddm, DdmConfig, ScalarDetector};
///
/// let mut detector = Ddm::new(DdmConfig::default())?;
/// let error = |i: u32| if i % if i < 500 { 10 } else { 2 } == 0 { 1.0 } else { 0.0 };
/// let found = (0..1000).find(|&i| detector.update(error(i)) == Change::Rise);
/// assert_eq!(found, Some(534));
/// # Ok::<(), lightcl_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Ddm {
    config: DdmConfig,
    state: Rate,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Rate {
    mean: Mean,
    /// Rate and standard deviation where their sum was lowest.
    lowest: Option<(f64, f64)>,
    fired: bool,
}

impl Ddm {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn new(config: DdmConfig) -> Result<Self> {
        config.validate()?;
        Ok(Ddm { config, state: Rate::default() })
    }
}

impl ScalarDetector for Ddm {
    fn update(&mut self, value: f64) -> Change {
        let Some(value) = usable_share(value) else { return Change::Stable };
        if self.state.fired {
            self.reset();
        }
        let Rate { mean, lowest, fired } = &mut self.state;
        mean.update(value);
        if mean.count <= self.config.warm_start {
            return Change::Stable;
        }
        let rate = mean.mean;
        // Rounding may lift the rate above 1 by a bit.
        let deviation = (rate * (1.0 - rate) / mean.count as f64).max(0.0).sqrt();
        let level = rate + deviation;
        let (lowest_rate, lowest_deviation) = match *lowest {
            Some((rate, deviation)) if level > rate + deviation => (rate, deviation),
            _ => *lowest.insert((rate, deviation)),
        };
        let reaching_is_enough = self.config.follow == Follow::Paper && lowest_deviation > 0.0;
        let passes = |threshold: f64| {
            let bound = lowest_rate + threshold * lowest_deviation;
            level > bound || (reaching_is_enough && level >= bound)
        };
        if passes(self.config.drift_threshold) {
            *fired = true;
            Change::Rise
        } else if passes(self.config.warning_threshold) {
            Change::Warning
        } else {
            Change::Stable
        }
    }

    fn reset(&mut self) {
        self.state = Rate::default();
    }
}

impl Stateful for Ddm {
    fn save(&self) -> Result<Vec<u8>> {
        state::encode(TAG, VERSION, &self.state)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let rate: Rate = state::decode(TAG, VERSION, bytes)?;
        let share = |x: f64| (0.0..=1.0 + 1e-9).contains(&x);
        let lowest = rate.lowest.is_none_or(|(p, s)| share(p) && share(s));
        sound(rate.mean.is_share() && lowest, TAG)?;
        self.state = rate;
        Ok(())
    }
}
