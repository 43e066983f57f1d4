//! EDDM: errors have come to lie closer together.

use super::{Change, Follow, ScalarDetector, Spread, between_0_and_1, sound};
use lightcl_core::{Error, Result, Stateful, state};
use serde::{Deserialize, Serialize};

const TAG: &str = "boundary.eddm";
const VERSION: u16 = 1;

/// Settings of [`Eddm`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EddmConfig {
    /// Nothing is looked for before so many errors.
    pub warm_start: u64,
    /// A warning is a level below this share of the highest. In (0, 1), at least `beta`.
    pub alpha: f64,
    /// A change is a level below this share of the highest. In (0, 1).
    pub beta: f64,
    /// Whom to follow where river departs from the paper.
    pub follow: Follow,
}

impl Default for EddmConfig {
    fn default() -> Self {
        EddmConfig { warm_start: 30, alpha: 0.95, beta: 0.9, follow: Follow::River }
    }
}

impl EddmConfig {
    pub(crate) fn validate(&self) -> Result<()> {
        between_0_and_1("alpha", self.alpha)?;
        between_0_and_1("beta", self.beta)?;
        if self.alpha < self.beta {
            return Err(Error::user("alpha must be at least beta").with("alpha", self.alpha).with("beta", self.beta));
        }
        Ok(())
    }
}

/// EDDM, the early drift detection method (Baena-García et al., "Early Drift Detection Method", Fourth International
/// Workshop on Knowledge Discovery from Data Streams, 2006).
///
/// The distances, in values, from each one (error) to the next have a mean p and a standard deviation s. Once
/// p + 2s has fallen below the share `beta` of the highest it has been, errors lie closer together than they did: a
/// change, always a rise of the error rate. A warning comes at the share `alpha`, and lasts until the next error. Values
/// are 0 or 1; 0.5 and more is a one.
///
/// **Where river differs from the paper.** River counts the way from the start to the first error as a distance. It
/// keeps the highest level from the value `warm_start` on, where the paper waits for as many errors, so that a level
/// made of a few distances can become the mark for all that follow. And a new highest level does not take back a
/// warning. `follow = "paper"` does as the paper in all three.
///
/// ```
/// use lightcl_boundary::scalar::{Change, Eddm, EddmConfig, ScalarDetector};
///
/// let mut detector = Eddm::new(EddmConfig::default())?;
/// let error = |i: u32| if i * 7919 % 101 < if i < 500 { 10 } else { 50 } { 1.0 } else { 0.0 };
/// let found = (0..1000).find(|&i| detector.update(error(i)) == Change::Rise);
/// assert_eq!(found, Some(533));
/// # Ok::<(), lightcl_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Eddm {
    config: EddmConfig,
    state: Distances,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Distances {
    distances: Spread,
    values: u64,
    errors: u64,
    /// Number of the value that was the last error; 0 for none.
    last_error: u64,
    highest: Option<f64>,
    warning: bool,
    fired: bool,
}

impl Eddm {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn new(config: EddmConfig) -> Result<Self> {
        config.validate()?;
        Ok(Eddm { config, state: Distances::default() })
    }
}

impl ScalarDetector for Eddm {
    fn update(&mut self, value: f64) -> Change {
        if !value.is_finite() {
            return Change::Stable;
        }
        if self.state.fired {
            self.reset();
        }
        let EddmConfig { warm_start, alpha, beta, follow } = self.config;
        let state = &mut self.state;
        state.values = state.values.saturating_add(1);
        if value >= 0.5 {
            state.errors = state.errors.saturating_add(1);
            if follow == Follow::River || state.last_error > 0 {
                state.distances.update((state.values - state.last_error) as f64);
            }
            state.last_error = state.values;
            let may_raise = match follow {
                Follow::River => state.values > warm_start,
                Follow::Paper => state.errors >= warm_start.max(2),
            };
            if may_raise {
                let level = state.distances.mean.mean + 2.0 * state.distances.variance().sqrt();
                match state.highest {
                    Some(highest) if level <= highest => {
                        if follow == Follow::Paper || state.errors > warm_start {
                            let share = level / highest;
                            state.fired = share < beta;
                            // The reset that follows a change clears the warning.
                            state.warning = if state.fired { state.warning } else { share < alpha };
                        }
                    }
                    _ => {
                        state.highest = Some(level);
                        state.warning &= follow == Follow::River;
                    }
                }
            }
        }
        match (state.fired, state.warning) {
            (true, _) => Change::Rise,
            (false, true) => Change::Warning,
            (false, false) => Change::Stable,
        }
    }

    fn reset(&mut self) {
        self.state = Distances::default();
    }
}

impl Stateful for Eddm {
    fn save(&self) -> Result<Vec<u8>> {
        state::encode(TAG, VERSION, &self.state)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let state: Distances = state::decode(TAG, VERSION, bytes)?;
        let counts = state.last_error <= state.values
            && state.errors <= state.values
            && state.distances.mean.count <= state.errors;
        let highest = state.highest.is_none_or(|highest| highest.is_finite() && highest > 0.0);
        sound(state.distances.is_sound() && counts && highest, TAG)?;
        self.state = state;
        Ok(())
    }
}
