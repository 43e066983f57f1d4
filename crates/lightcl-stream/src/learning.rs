//! Learning: windows of the current task, and the accuracies after it.

use crate::Operator;
use crate::evaluation::{self, Accuracies};
use crate::operator::no_learner;
use crate::ring::Before;
use lightcl_core::{ClassId, Output, RejectReason, Rejected, Result, Samples};

impl Operator {
    /// Learns every full window that waits; after a roll-back there can be several.
    pub(crate) fn learn_full_windows(&mut self, outputs: &mut Vec<Output>) -> Result<()> {
        while self.progress.pending.len() >= self.config.window_samples {
            let rest = self.progress.pending.split_off(self.config.window_samples);
            let window = std::mem::replace(&mut self.progress.pending, rest);
            self.progress.scored -= window.len();
            self.learn(window, outputs)?;
            self.emit_by_count(outputs)?;
        }
        Ok(())
    }

    /// Learns rows of the current task: a full window, or what is left of one at a boundary or at the end.
    pub(crate) fn learn(&mut self, rows: Samples, outputs: &mut Vec<Output>) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        if !self.progress.task().visit.opened {
            self.open_task(&rows)?;
        }
        let task = self.progress.task().id;
        // Signatures of tasks take in what can no longer be undone.
        if self.ring.is_enabled() {
            // Undoing a visit's first window keeps it open: its memory samples stay those of its first batch.
            let before = Before {
                task: self.progress.task().clone(),
                recent: self.progress.recent.clone(),
                probe_rows_seen: self.probes.rows_seen(task),
                trained_samples: self.progress.trained_samples,
                steps: self.progress.steps,
            };
            let learner = self.learner.as_deref().ok_or_else(no_learner)?;
            for settled in self.ring.push(rows.clone(), learner, self.encoder.class_count(), before)? {
                self.learn_signature(task, &settled);
            }
        } else {
            self.learn_signature(task, &rows);
        }
        self.progress.task_mut().take_in(&rows.labels, &rows.meta);
        let learner = self.learner.as_mut().ok_or_else(no_learner)?;
        let first_index = rows.meta[0].index;
        let window = self.probes.hold_out(task, rows, learner.as_ref())?;
        if window.is_empty() {
            return Ok(());
        }
        let report = learner.learn(&window)?;
        let undoable_from = self.ring.first_index().unwrap_or(first_index);
        self.progress.diverged.retain(|&index| index >= undoable_from);
        let mut bad = report.rejected_rows.iter().copied().peekable();
        let mut good = Vec::with_capacity(window.len());
        for row in 0..window.len() {
            if bad.next_if_eq(&row).is_some() {
                if self.progress.diverged.insert(window.meta[row].index) {
                    let letter = diverged(&window, row, self.encoder.class_label(window.labels[row]));
                    self.progress.reject(&letter);
                    outputs.push(Output::Rejected(letter));
                }
            } else {
                good.push(row);
            }
        }
        self.progress.learnt(&window, &good, &report, self.config.batch_samples);
        Ok(())
    }

    /// Tells the learner of a visit that begins with these rows: of a new task, or of one whose channels it has marked.
    fn open_task(&mut self, rows: &Samples) -> Result<()> {
        let first = rows.slice(0, rows.len().min(self.config.batch_samples));
        let task = self.progress.task_mut();
        let learner = self.learner.as_mut().ok_or_else(no_learner)?;
        learner.enter_task(task.id, task.visit.change)?;
        if task.marked {
            let classes: Vec<ClassId> = task.classes.iter().copied().collect();
            learner.resume_task(&first, &classes)?;
        } else {
            learner.begin_task(&first)?;
        }
        task.visit.opened = true;
        self.probes.settle(learner.as_ref())
    }

    /// Fills in the accuracy matrices' row for the current task.
    pub(crate) fn evaluate(&mut self) -> Result<()> {
        let Some(learner) = self.learner.as_deref_mut() else { return Ok(()) };
        learner.settle()?;
        let learner = &*learner;
        let tasks = &self.progress.tasks;
        let after = self.progress.task().id;
        let tally = evaluation::on_probes(&self.probes, tasks, learner)?;
        self.progress.on_probes.set_row(after, tasks, &tally);
        if let Some(set) = self.evaluation_set.as_deref_mut() {
            let tally = evaluation::on_held_out(set, &self.encoder, tasks, learner)?;
            self.progress.on_held_out.get_or_insert_with(Accuracies::default).set_row(after, tasks, &tally);
        }
        Ok(())
    }
}

/// The dead letter of a row whose batch the learner refused. The original row is gone by then; what is kept is the row
/// as the learner saw it.
fn diverged(window: &Samples, row: usize, label: Option<String>) -> Rejected {
    let class: ClassId = window.labels[row];
    Rejected {
        format: 1,
        index: window.meta[row].index,
        position: window.meta[row].position.clone(),
        reason: RejectReason::Diverged,
        column: None,
        message: "the row's batch gave a non-finite or exploding loss or weight; the weights from before it stand. \
                  Scale the features (sample.standardize = true) or lower learner.learning_rate"
            .to_owned(),
        payload: serde_json::json!({ "features": window.row(row), "label": label, "class": class }).to_string(),
    }
}
