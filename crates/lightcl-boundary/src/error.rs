//! Detector `error`: the learner gets worse.

use crate::scalar::AdwinConfig;
use crate::signal::{Direction, Signal, SignalConfig, SignalDetector};
use lightcl_core::{Error, Result};
use serde::{Deserialize, Serialize};

const NAME: &str = "error";

/// Settings of the detector `error`: [`Adwin`](crate::Adwin) on the prequential error (was the row predicted wrongly
/// before it was learnt from?), tuned so that it needs no thought.
///
/// It is the detector `adwin` with `signal = "error"`, a rarer alarm, and a least rise: ADWIN reports changes that are
/// certain but too small to matter.
///
/// ```
/// let detector = lightcl_boundary::ErrorConfig::default().detector()?;
/// # Ok::<(), lightcl_core::Error>(())
/// ```
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

impl ErrorConfig {
    /// A detector at the start of a task.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn detector(&self) -> Result<SignalDetector> {
        if !(0.0..1.0).contains(&self.minimum_rise) {
            return Err(Error::user("error.minimum_rise must be at least 0 and below 1")
                .with("minimum_rise", self.minimum_rise));
        }
        let config = SignalConfig {
            detector: AdwinConfig { delta: self.delta, ..AdwinConfig::default() },
            signal: Signal::Error,
            direction: Some(Direction::Rise),
            min_task_samples: self.min_task_samples,
            history_samples: self.history_samples,
            minimum_change: self.minimum_rise,
        };
        SignalDetector::named(NAME, &config)
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
            assert!(config.detector().is_err());
        }
    }
}
