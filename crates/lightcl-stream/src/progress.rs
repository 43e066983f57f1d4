//! Counters, tasks and waiting rows: the plain part of the operator's state.

use crate::evaluation::Accuracies;
use crate::ring::Before;
use crate::task::{Task, Visit};
use lightcl_core::{Evidence, LearnReport, Positions, RejectReason, Rejected, Samples};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Boundaries of which the place is kept.
const MOST_BOUNDARIES: usize = 10_000;

/// Where tasks began or returned: all are counted, the last ones are kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Boundaries {
    pub count: u64,
    pub recurring: u64,
    pub last: VecDeque<u64>,
}

impl Boundaries {
    pub fn push(&mut self, at: u64, recurring: bool) {
        self.count += 1;
        self.recurring += u64::from(recurring);
        self.last.push_back(at);
        if self.last.len() > MOST_BOUNDARIES {
            self.last.pop_front();
        }
    }

    fn is_sound(&self) -> bool {
        self.recurring <= self.count && self.last.len() as u64 == self.count.min(MOST_BOUNDARIES as u64)
    }
}

/// A boundary after which it is not yet known whether a new task begins or which one returns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Undecided {
    pub detected_at: u64,
    pub estimated_at: u64,
    pub rolled_back: u64,
    pub evidence: Vec<Evidence>,
}

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
    pub boundaries: Boundaries,
    /// The tasks that are held, by number; numbers have gaps where tasks were merged.
    pub tasks: Vec<Task>,
    /// Place in `tasks` of the one that is being learnt.
    pub current: usize,
    /// The current task is closed; what follows it is decided when enough rows of that wait.
    pub undecided: Option<Undecided>,
    pub next_task_id: u32,
    pub merged_tasks: u64,
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
            boundaries: Boundaries::default(),
            tasks: vec![Task::new(0)],
            current: 0,
            undecided: None,
            next_task_id: 1,
            merged_tasks: 0,
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
        self.current < self.tasks.len()
            && self.tasks.is_sorted_by(|left, right| left.id < right.id)
            && self.tasks.last().is_some_and(|last| last.id < self.next_task_id)
            && self.boundaries.is_sound()
            && self.scored <= self.pending.len()
            && (self.undecided.is_none() || !self.pending.is_empty())
            && is_whole(&self.pending)
            && is_whole(&self.recent)
    }

    /// The task that is being learnt.
    pub fn task(&self) -> &Task {
        &self.tasks[self.current]
    }

    pub fn task_mut(&mut self) -> &mut Task {
        &mut self.tasks[self.current]
    }

    /// Place in `tasks` of the task with a number, if it is held.
    pub fn place_of(&self, task: u32) -> Option<usize> {
        self.tasks.binary_search_by_key(&task, |task| task.id).ok()
    }

    /// Makes a task the one that is learnt: a held one for another visit, or a new one.
    pub fn visit(&mut self, task: u32) {
        self.current = self.place_of(task).unwrap_or_else(|| {
            self.next_task_id = self.next_task_id.max(task.saturating_add(1));
            self.tasks.push(Task::new(task));
            self.tasks.len() - 1
        });
        self.task_mut().visit = Visit::default();
    }

    /// Puts one task into another. Nothing happens when one of them is not held.
    pub fn merge(&mut self, gone: u32, into: u32) {
        let (Some(from), Some(_)) = (self.place_of(gone), self.place_of(into)) else { return };
        let current = self.task().id;
        let task = self.tasks.remove(from);
        self.merged_tasks += 1;
        if let Some(into) = self.place_of(into) {
            self.tasks[into].merge(task);
        }
        self.current = self.place_of(current).unwrap_or_default();
        self.on_probes.forget(gone);
        if let Some(accuracies) = &mut self.on_held_out {
            accuracies.forget(gone);
        }
    }

    /// Bytes held for tasks: class sets, names, accuracies and places of boundaries.
    pub fn task_bytes(&self) -> u64 {
        self.tasks.iter().map(Task::bytes).sum::<u64>()
            + 8 * self.boundaries.last.len() as u64
            + self.on_probes.bytes()
            + self.on_held_out.as_ref().map_or(0, Accuracies::bytes)
    }

    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }

    pub fn reject(&mut self, letter: &Rejected) {
        *self.rejected.entry(letter.reason).or_default() += 1;
    }

    /// Takes note that the rows `good` of a window were learnt; keeps the last `batch_samples` of the task as the importance batch
    /// to be.
    pub fn learnt(&mut self, window: &Samples, good: &[usize], report: &LearnReport, batch_samples: usize) {
        self.trained_samples += good.len() as u64;
        self.steps += report.steps;
        if report.steps > 0 {
            self.loss = Some(report.loss);
            self.pattern_loss = Some(report.pattern_loss);
        }
        let newest = &good[good.len().saturating_sub(batch_samples)..];
        let surplus = (self.recent.len() + newest.len()).saturating_sub(batch_samples);
        self.recent =
            if surplus < self.recent.len() { self.recent.split_off(surplus) } else { Samples::empty(&window.shape) };
        self.recent.append(&window.select(newest));
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
