//! Detector `error`: the learner gets worse.

use crate::placement::{likeliest_rise, within_bounds};
use crate::scalar::{Adwin, AdwinConfig, AdwinState};
use lightcl_core::{BoundaryDetector, Error, Observation, Result, Stateful, Verdict, state};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const NAME: &str = "error";
const TAG: &str = "boundary.error";
const VERSION: u16 = 1;

/// Most errors that `history_samples` may ask for.
const MOST_HISTORY: usize = 100_000;

/// Settings of [`ErrorDetector`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ErrorConfig {
    /// ADWIN's confidence; smaller fires later and more rarely. In (0, 1).
    pub delta: f64,
    /// The error rate must rise by at least this much. In [0, 1).
    pub minimum_rise: f64,
    /// The change is placed within so many of the last errors.
    pub history_samples: usize,
    /// No boundary within so many samples of the last one: the learner is still taking in the task.
    pub min_task_samples: u64,
}

impl Default for ErrorConfig {
    fn default() -> Self {
        ErrorConfig { delta: 5e-4, minimum_rise: 0.02, history_samples: 600, min_task_samples: 250 }
    }
}

/// Fires when the prequential error (was the row predicted wrongly before it was learnt from?) rises.
///
/// ADWIN ([`Adwin`]) watches the 0/1 errors. It reports any change of their mean; only a rise is a boundary. A fall is
/// the learner getting better, most often after the last boundary, and starts the watch anew. ADWIN's window begins
/// well before the change, so the boundary is placed by the likeliest split of the last errors into two constant
/// rates instead, among the splits after which the rate is higher.
///
/// The first `min_task_samples` after a reset are a guard: nothing fires, and the first four fifths of it are not even
/// watched, since an untrained learner's errors say nothing about the stream. Changes within the guard are missed.
#[derive(Debug, Clone)]
pub struct ErrorDetector {
    config: ErrorConfig,
    adwin_config: AdwinConfig,
    adwin: Adwin,
    watch: Watch,
}

/// What is known of the task, beside ADWIN's window.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Watch {
    first_index: Option<u64>,
    samples: u64,
    /// The last errors, oldest first, and the rows they belong to.
    errors: VecDeque<bool>,
    indices: VecDeque<u64>,
}

impl ErrorDetector {
    /// A detector at the start of a task.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn new(config: ErrorConfig) -> Result<Self> {
        if !(0.0..1.0).contains(&config.minimum_rise) {
            return Err(Error::user("error.minimum_rise must be at least 0 and below 1")
                .with("minimum_rise", config.minimum_rise));
        }
        if !(2..=MOST_HISTORY).contains(&config.history_samples) {
            return Err(Error::user(format!("error.history_samples must lie between 2 and {MOST_HISTORY}"))
                .with("history_samples", config.history_samples));
        }
        let adwin_config = AdwinConfig { delta: config.delta, ..AdwinConfig::default() };
        let adwin = Adwin::new(adwin_config.clone()).map_err(|error| error.with("detector", NAME))?;
        Ok(ErrorDetector { config, adwin_config, adwin, watch: Watch::default() })
    }

    fn forget_errors(&mut self) {
        self.adwin.reset();
        self.watch.errors.clear();
        self.watch.indices.clear();
    }
}

impl BoundaryDetector for ErrorDetector {
    fn name(&self) -> &str {
        NAME
    }

    fn observe(&mut self, observation: &Observation<'_>) -> Verdict {
        let index = observation.index;
        let watch = &mut self.watch;
        let first_index = *watch.first_index.get_or_insert(index);
        watch.samples = watch.samples.saturating_add(1);
        if watch.samples <= self.config.min_task_samples / 5 * 4 {
            return Verdict::Stable;
        }
        let error = observation.error();
        watch.errors.push_back(error > 0.0);
        watch.indices.push_back(index);
        if watch.errors.len() > self.config.history_samples {
            watch.errors.pop_front();
            watch.indices.pop_front();
        }

        let before = self.adwin.estimation();
        if !self.adwin.update(error) {
            return Verdict::Stable;
        }
        if self.adwin.estimation() <= before {
            self.forget_errors();
            return Verdict::Stable;
        }
        if self.watch.samples <= self.config.min_task_samples {
            return Verdict::Stable;
        }
        // ADWIN's own means are of windows that both reach over the change: the split's rates say how large it is.
        let Some(rise) = likeliest_rise(self.watch.errors.iter().copied())
            .filter(|rise| rise.after - rise.before >= self.config.minimum_rise)
        else {
            return Verdict::Stable;
        };
        let at = within_bounds(self.watch.indices[rise.split], first_index, index);
        let message = format!(
            "the error rate rose from {:.3} to {:.3} over the last {} samples (ADWIN, delta {})",
            rise.before,
            rise.after,
            self.watch.errors.len(),
            self.config.delta
        );
        Verdict::boundary(at, NAME, message)
    }

    fn reset(&mut self) {
        self.adwin.reset();
        self.watch = Watch::default();
    }
}

impl Stateful for ErrorDetector {
    fn save(&self) -> Result<Vec<u8>> {
        state::encode(TAG, VERSION, &(&self.watch, self.adwin.state()))
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let (watch, window): (Watch, AdwinState) = state::decode(TAG, VERSION, bytes)?;
        window.check(&self.adwin_config)?;
        let kept = watch.errors.len();
        if kept != watch.indices.len() || kept > self.config.history_samples || kept as u64 > watch.samples {
            return Err(Error::user("the saved state of a detector is damaged").with("detector", NAME));
        }
        self.watch = watch;
        self.adwin.set_state(window);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_refused() {
        for config in [
            ErrorConfig { delta: 1.0, ..ErrorConfig::default() },
            ErrorConfig { minimum_rise: 1.0, ..ErrorConfig::default() },
            ErrorConfig { minimum_rise: f64::NAN, ..ErrorConfig::default() },
            ErrorConfig { history_samples: 1, ..ErrorConfig::default() },
        ] {
            assert!(ErrorDetector::new(config).is_err());
        }
    }
}
