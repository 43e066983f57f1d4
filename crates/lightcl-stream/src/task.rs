//! What the operator remembers of each task.

use lightcl_core::{ClassId, SampleMeta};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// One task of the stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Number of the task, from 0.
    pub id: u32,
    /// Index of its first sample.
    pub start: u64,
    /// Classes seen in it.
    pub classes: BTreeSet<ClassId>,
    /// The task's name in the stream, when a column gives one.
    pub key: Option<String>,
    /// Rows that went into it, held-out probes included.
    pub rows: u64,
    /// Whether the learner was told of it: that waits for its first batch.
    pub opened: bool,
}

impl Task {
    /// A task that starts at the given sample and has no rows yet.
    pub fn new(id: u32, start: u64) -> Self {
        Task { id, start, classes: BTreeSet::new(), key: None, rows: 0, opened: false }
    }

    /// Counts rows that are learnt under this task.
    pub fn take_in<'a>(&mut self, labels: &[ClassId], metas: impl IntoIterator<Item = &'a SampleMeta>) {
        self.rows += labels.len() as u64;
        self.classes.extend(labels);
        if self.key.is_none() {
            self.key = metas.into_iter().find_map(|meta| meta.task_key.clone());
        }
    }

    /// Whether a held-out row belongs to this task: by name where both have one, else by class.
    pub fn owns(&self, label: ClassId, key: Option<&str>) -> bool {
        match (&self.key, key) {
            (Some(own), Some(other)) => own == other,
            _ => self.classes.contains(&label),
        }
    }
}
