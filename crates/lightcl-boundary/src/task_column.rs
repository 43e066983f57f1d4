//! Detector `task_column`: the stream itself names the task.

use crate::placement::within_bounds;
use lightcl_core::{BoundaryDetector, Evidence, Observation, Result, Stateful, Verdict, state};
use serde::{Deserialize, Serialize};

const NAME: &str = "task_column";
const TAG: &str = "boundary.task_column";
const VERSION: u16 = 1;

/// Fires at the row whose task key differs from that of the current task.
///
/// A row without a key says nothing. The current task's key outlives a reset: the row at which a boundary is noticed
/// belongs to the new task, and so does its key. Where the key changes on the very next row, which may not be a
/// boundary, the one after it is.
#[derive(Debug, Clone, Default)]
pub struct TaskColumnDetector {
    state: TaskKey,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct TaskKey {
    first_index: Option<u64>,
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
        let index = observation.index;
        let first_index = *self.state.first_index.get_or_insert(index);
        let Some(key) = observation.task_key else { return Verdict::Stable };
        let Some(current) = &self.state.key else {
            self.state.key = Some(key.to_owned());
            return Verdict::Stable;
        };
        if current == key {
            return Verdict::Stable;
        }
        let Some(at) = within_bounds(index, first_index, index) else { return Verdict::Stable };
        let message = format!("the task column changed from {current:?} to {key:?}");
        self.state.key = Some(key.to_owned());
        Verdict::Boundary { at, evidence: Evidence { detector: NAME.to_owned(), message } }
    }

    fn reset(&mut self) {
        self.state.first_index = None;
    }
}

impl Stateful for TaskColumnDetector {
    fn save(&self) -> Result<Vec<u8>> {
        state::encode(TAG, VERSION, &self.state)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        self.state = state::decode(TAG, VERSION, bytes)?;
        Ok(())
    }
}
