//! What EXPLAIN ANALYZE shows of a learner.

use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, Gauge, MetricBuilder, Time};
use lightcl_core::Output;

/// Counters of one execution.
#[derive(Debug, Clone)]
pub(super) struct Meters {
    /// Rows that were taken in, rejected ones included.
    pub taken: Count,
    /// Rows that had been taken in before.
    pub skipped: Count,
    /// Rows that could not be used.
    pub rejected: Count,
    /// Tasks that began or returned.
    pub boundaries: Count,
    /// Models published.
    pub snapshots: Count,
    /// Commits of outputs, positions and state.
    pub commits: Count,
    /// Bytes of the last state.
    pub state_bytes: Gauge,
    /// Time spent scoring and learning.
    pub learning: Time,
}

impl Meters {
    pub fn new(set: &ExecutionPlanMetricsSet) -> Self {
        let counter = |name: &'static str| MetricBuilder::new(set).counter(name, 0);
        Meters {
            taken: counter("taken_rows"),
            skipped: counter("skipped_rows"),
            rejected: counter("rejected_rows"),
            boundaries: counter("boundaries"),
            snapshots: counter("snapshots"),
            commits: counter("commits"),
            state_bytes: MetricBuilder::new(set).gauge("state_bytes", 0),
            learning: MetricBuilder::new(set).subset_time("learning_time", 0),
        }
    }

    /// Takes note of what the learner gave.
    pub fn count(&self, outputs: &[Output]) {
        for output in outputs {
            match output {
                Output::Boundary(_) => self.boundaries.add(1),
                Output::Snapshot(_) => self.snapshots.add(1),
                Output::Rejected(_) => self.rejected.add(1),
                Output::Prediction(_) | Output::Stability(_) => {}
            }
        }
    }
}
