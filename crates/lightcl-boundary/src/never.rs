//! Detector `never`: the whole stream is one task.

use lightcl_core::{BoundaryDetector, Observation, Result, Stateful, Verdict, state};

const NAME: &str = "never";
const TAG: &str = "boundary.never";
const VERSION: u16 = 1;

/// Never fires.
#[derive(Debug, Clone, Copy, Default)]
pub struct NeverDetector;

impl BoundaryDetector for NeverDetector {
    fn name(&self) -> &str {
        NAME
    }

    fn observe(&mut self, _: &Observation<'_>) -> Verdict {
        Verdict::Stable
    }

    fn reset(&mut self) {}
}

impl Stateful for NeverDetector {
    fn save(&self) -> Result<Vec<u8>> {
        state::encode(TAG, VERSION, &())
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        state::decode(TAG, VERSION, bytes)
    }
}
