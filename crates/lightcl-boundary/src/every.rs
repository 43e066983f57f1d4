//! Detector `every`: a new task after every so many samples.

use lightcl_core::{BoundaryDetector, Error, Observation, Result, Stateful, Verdict, state};
use serde::{Deserialize, Serialize};

const NAME: &str = "every";
const TAG: &str = "boundary.every";
const VERSION: u16 = 1;

/// Settings of [`EveryDetector`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EveryConfig {
    /// Samples in a task, at least 1.
    pub every_samples: u64,
}

impl Default for EveryConfig {
    fn default() -> Self {
        EveryConfig { every_samples: 10_000 }
    }
}

/// Fires when the current task has had `every_samples` observed samples; the next one is the first of the new task.
///
/// Rows that are never observed (rejected ones) do not count. After a boundary that another detector placed, counting
/// starts at the row at which that boundary was noticed.
#[derive(Debug, Clone)]
pub struct EveryDetector {
    config: EveryConfig,
    /// Samples of the current task so far.
    samples: u64,
}

impl EveryDetector {
    /// A detector before the first row.
    ///
    /// # Errors
    /// When `every_samples` is 0.
    pub fn new(config: EveryConfig) -> Result<Self> {
        if config.every_samples == 0 {
            return Err(
                Error::user("every.every_samples must be at least 1").with("every_samples", config.every_samples)
            );
        }
        Ok(EveryDetector { config, samples: 0 })
    }
}

impl BoundaryDetector for EveryDetector {
    fn name(&self) -> &str {
        NAME
    }

    fn observe(&mut self, observation: &Observation<'_>) -> Verdict {
        if self.samples >= self.config.every_samples {
            self.samples = 1;
            let message = format!("{} samples since the last boundary", self.config.every_samples);
            return Verdict::boundary(observation.index, NAME, message);
        }
        self.samples = self.samples.saturating_add(1);
        Verdict::Stable
    }

    fn reset(&mut self) {
        self.samples = self.samples.min(1);
    }
}

impl Stateful for EveryDetector {
    fn save(&self) -> Result<Vec<u8>> {
        state::encode(TAG, VERSION, &self.samples)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        self.samples = state::decode(TAG, VERSION, bytes)?;
        Ok(())
    }
}
