//! Detector `task_column`: the stream itself names the task.

use lightcl_core::{BoundaryDetector, Observation, Result, Stateful, Verdict, state};

/// The detector's name in the registry.
pub const NAME: &str = "task_column";
const TAG: &str = "boundary.task_column";
const VERSION: u16 = 1;

/// Fires at the row whose task key differs from that of the current task.
///
/// A row without a key says nothing. The current task's key outlives a reset: the row at which a boundary is noticed
/// belongs to the new task, and so does its key.
#[derive(Debug, Clone, Default)]
pub struct TaskColumnDetector {
    key: Option<String>,
}

impl TaskColumnDetector {
    /// A detector before the first row.
    pub fn new() -> Self {
        Self::default()
    }
}

impl BoundaryDetector for TaskColumnDetector {
    fn name(&self) -> &str {
        NAME
    }

    fn observe(&mut self, observation: &Observation<'_>) -> Verdict {
        let Some(key) = observation.task_key else { return Verdict::Stable };
        let Some(current) = &self.key else {
            self.key = Some(key.to_owned());
            return Verdict::Stable;
        };
        if current == key {
            return Verdict::Stable;
        }
        let message = format!("the task column changed from {current:?} to {key:?}");
        self.key = Some(key.to_owned());
        Verdict::boundary(observation.index, NAME, message)
    }

    fn reset(&mut self) {
        // The key stays: see above.
    }
}

impl Stateful for TaskColumnDetector {
    fn save(&self) -> Result<Vec<u8>> {
        state::encode(TAG, VERSION, &self.key)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        self.key = state::decode(TAG, VERSION, bytes)?;
        Ok(())
    }
}
