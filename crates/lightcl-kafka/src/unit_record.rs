//! The small record that every commit writes: what is committed, where the state stands, and how rows were taken since.

use crate::parts::{PartEntry, Slots};
use lightcl_core::{Error, Positions, Result};
use serde::{Deserialize, Serialize};

/// Version of the layout.
const FORMAT: u32 = 1;

/// Most steps between two checkpoints; more of them make one.
pub const MOST_STEPS: usize = 512;

/// What a unit has committed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnitRecord {
    /// Version of this layout: 1.
    pub format: u32,
    /// The unit.
    pub unit: String,
    /// Hash of the configuration that decides what is learnt.
    pub config_sha256: String,
    /// The job that wrote it: one number a process.
    pub run: u64,
    /// The one in which its learners began: others came before where it was started with --fresh.
    pub begun: u64,
    /// Number of the commit, from 1.
    pub commit: u64,
    /// Input positions up to which outputs are out.
    pub committed: Positions,
    /// The state that was saved last.
    pub checkpoint: Option<CheckpointRecord>,
    /// How rows were taken since then, where that does not follow from their offsets.
    pub steps: Vec<Step>,
    /// Which slots of the state topic are in force.
    pub state_slots: Slots,
    /// Which slots of the snapshot topic are in force.
    pub snapshot_slots: Slots,
}

/// A saved state and the position it stands at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointRecord {
    /// Input positions.
    pub positions: Positions,
    /// The operator's state; none where every key has its own.
    pub state: Option<PartEntry>,
    /// What is known of the columns, in base64.
    pub columns: String,
}

/// Rows of one partition up to an offset were taken next; with `cut`, their window was then closed early.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Name of the partition.
    pub partition: String,
    /// The offset to take next.
    pub next: u64,
    /// Whether the window was closed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

impl UnitRecord {
    /// The record of a unit before its first commit.
    pub fn new(unit: &str, config_sha256: &str, run: u64) -> Self {
        UnitRecord {
            format: FORMAT,
            unit: unit.to_owned(),
            config_sha256: config_sha256.to_owned(),
            run,
            begun: run,
            commit: 0,
            committed: Positions::default(),
            checkpoint: None,
            steps: Vec::new(),
            state_slots: Slots::default(),
            snapshot_slots: Slots::default(),
        }
    }

    /// As JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| Error::internal("a unit's record has no JSON form").caused_by(error))
    }

    /// From JSON.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let damaged = "the unit's record in the state topic cannot be read; start a new learner with --fresh";
        let record: UnitRecord =
            serde_json::from_slice(bytes).map_err(|error| Error::user(damaged).caused_by(error))?;
        if record.format != FORMAT {
            return Err(Error::user(damaged).with("format", record.format).with("expected", FORMAT));
        }
        Ok(record)
    }

    /// Takes note of rows taken; steps of the same partition become one.
    pub fn took(&mut self, partition: &str, next: u64) {
        match self.steps.last_mut() {
            Some(last) if last.partition == partition && !last.cut => last.next = next,
            _ => self.steps.push(Step { partition: partition.to_owned(), next, cut: false }),
        }
    }

    /// Takes note that the window was closed after the rows taken last.
    pub fn closed_window(&mut self, partition: &str, next: u64) {
        self.took(partition, next);
        if let Some(last) = self.steps.last_mut() {
            last.cut = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_one_partition_become_one_until_a_window_is_closed() {
        let mut record = UnitRecord::new("u", "", 1);
        record.took("a", 5);
        record.took("a", 9);
        record.closed_window("a", 9);
        record.took("a", 12);
        record.took("b", 3);
        let steps: Vec<_> = record.steps.iter().map(|step| (step.partition.as_str(), step.next, step.cut)).collect();
        assert_eq!(steps, [("a", 9, true), ("a", 12, false), ("b", 3, false)]);
        assert_eq!(UnitRecord::from_bytes(&record.to_bytes().expect("JSON")).expect("a record"), record);
    }

    #[test]
    fn a_damaged_record_is_an_error_with_a_way_out() {
        let error = UnitRecord::from_bytes(b"{\"format\":1}").expect_err("keys are missing");
        assert!(error.to_string().contains("--fresh"), "{error}");
    }
}
