//! Settings of the detector `auto`.

use super::AutoSignal;
use lightcl_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// Settings of [`AutoDetector`](super::AutoDetector).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AutoConfig {
    /// Signals that are watched, the most trusted for placing a boundary first.
    pub signals: Vec<AutoSignal>,
    /// Whether classes that the task did not have are a boundary at once ([`NewClassesDetector`](crate::NewClassesDetector)).
    pub new_classes: bool,
    /// No boundary within so many samples of the last one.
    pub min_task_samples: u64,
    /// Every threshold is divided by this: above 1 fires sooner and more often. In [0.1, 10].
    pub sensitivity: f64,
    /// Seed of the random features.
    pub seed: u64,
}

impl Default for AutoConfig {
    fn default() -> Self {
        AutoConfig {
            signals: vec![
                AutoSignal::Input,
                AutoSignal::Rule,
                AutoSignal::Calibration,
                AutoSignal::Residual,
                AutoSignal::Error,
                AutoSignal::ClassShares,
            ],
            new_classes: true,
            min_task_samples: 100,
            sensitivity: 1.0,
            seed: 0,
        }
    }
}

impl AutoConfig {
    pub(super) fn validate(&self) -> Result<()> {
        if !(0.1..=10.0).contains(&self.sensitivity) {
            return Err(
                Error::user("auto.sensitivity must lie between 0.1 and 10").with("sensitivity", self.sensitivity)
            );
        }
        if self.signals.iter().enumerate().any(|(number, signal)| self.signals[..number].contains(signal)) {
            return Err(Error::user("auto.signals names a signal twice"));
        }
        if self.signals.is_empty() && !self.new_classes {
            return Err(Error::user("auto has nothing to watch; name a signal or set new_classes"));
        }
        Ok(())
    }
}
