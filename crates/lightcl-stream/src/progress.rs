//! Counters, tasks and waiting rows: the plain part of the operator's state.

use crate::evaluation::Accuracies;
use crate::ring::Before;
use crate::task::Task;
use lightcl_core::{LearnReport, Positions, RejectReason, Rejected, Samples};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub positions: Positions,
    /// Rows read, rejected ones included; also the index of the next row.
    pub samples: u64,
    pub rejected: BTreeMap<RejectReason, u64>,
    pub trained_samples: u64,
    pub steps: u64,
    pub snapshots: u64,
    /// `samples` when the last stability report and the last snapshot were made.
    pub last_stability: u64,
    pub last_snapshot: u64,
    pub loss: Option<f64>,
    pub pattern_loss: Option<f64>,
    pub boundaries: Vec<u64>,
    /// All tasks; the last one is being learnt.
    pub tasks: Vec<Task>,
    /// Rows of the open window, of which the first `scored` were scored and shown to the detector.
    pub pending: Samples,
    pub scored: usize,
    /// The last batch of rows learnt under the current task: its importance batch, should it end now.
    pub recent: Samples,
    /// Rows that the learner refused and that a roll-back could bring before it again: reported once.
    pub diverged: BTreeSet<u64>,
    pub on_probes: Accuracies,
    pub on_held_out: Option<Accuracies>,
    pub finished: bool,
}

impl Progress {
    pub fn new() -> Self {
        Progress {
            positions: Positions::default(),
            samples: 0,
            rejected: BTreeMap::new(),
            trained_samples: 0,
            steps: 0,
            snapshots: 0,
            last_stability: 0,
            last_snapshot: 0,
            loss: None,
            pattern_loss: None,
            boundaries: Vec::new(),
            tasks: vec![Task::new(0, 0)],
            pending: Samples::default(),
            scored: 0,
            recent: Samples::default(),
            diverged: BTreeSet::new(),
            on_probes: Accuracies::default(),
            on_held_out: None,
            finished: false,
        }
    }

    /// Whether counts and lengths fit each other, so that a damaged state is refused instead of believed.
    pub fn is_sound(&self) -> bool {
        !self.tasks.is_empty() && self.scored <= self.pending.len() && is_whole(&self.pending) && is_whole(&self.recent)
    }

    /// The task that is being learnt.
    pub fn task(&self) -> &Task {
        &self.tasks[self.tasks.len() - 1]
    }

    pub fn task_mut(&mut self) -> &mut Task {
        let last = self.tasks.len() - 1;
        &mut self.tasks[last]
    }

    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }

    pub fn reject(&mut self, letter: &Rejected) {
        *self.rejected.entry(letter.reason).or_default() += 1;
    }

    /// Takes note of learnt rows; keeps the last `batch_samples` of the task as the importance batch to be.
    pub fn learnt(&mut self, rows: &Samples, report: &LearnReport, batch_samples: usize) {
        self.trained_samples += rows.len() as u64;
        self.steps += report.steps;
        if report.steps > 0 {
            self.loss = Some(report.loss);
            self.pattern_loss = Some(report.pattern_loss);
        }
        if self.recent.is_empty() {
            self.recent = Samples::empty(&rows.shape);
        }
        self.recent.append(rows);
        let surplus = self.recent.len().saturating_sub(batch_samples);
        self.recent = self.recent.split_off(surplus);
    }

    /// Goes back to before a learnt window.
    pub fn undo(&mut self, before: Before) {
        *self.task_mut() = before.task;
        self.recent = before.recent;
        self.trained_samples = before.trained_samples;
        self.steps = before.steps;
    }
}

fn is_whole(rows: &Samples) -> bool {
    let width = rows.shape.iter().try_fold(1_usize, |width, &size| width.checked_mul(size));
    width.and_then(|width| width.checked_mul(rows.len())) == Some(rows.features.len())
        && rows.weights.len() == rows.len()
        && rows.meta.len() == rows.len()
}
