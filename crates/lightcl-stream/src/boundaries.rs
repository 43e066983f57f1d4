//! Placing a boundary: which rows belong to the old task, and whether what follows is new or was seen before.

use crate::Operator;
use crate::progress::Undecided;
use lightcl_boundary::{Recognised, Regimes, TASK_COLUMN};
use lightcl_core::{BoundaryEvent, Error, Evidence, MergedTasks, Output, Result, Samples};

impl Operator {
    /// Ends the current task before sample `at`. What follows is decided here when the stream names it, else as soon as
    /// enough rows of it wait.
    pub(crate) fn place_boundary(
        &mut self,
        at: u64,
        detected_at: u64,
        evidence: Vec<Evidence>,
        outputs: &mut Vec<Output>,
    ) -> Result<()> {
        // Where the stream itself names another task it does so at this very row, whatever others estimate.
        let named = evidence.iter().any(|evidence| evidence.detector == TASK_COLUMN);
        let at = if named { detected_at } else { at };
        let estimated_at = at;
        let undone = self.undo_windows_back_to(at)?;
        let split = self.progress.pending.meta.partition_point(|meta| meta.index < at);
        let Some(first) = self.progress.pending.meta.get(split).cloned() else { return Ok(()) };
        if split > 0 && self.progress.undecided.is_some() {
            self.decide(split, outputs)?;
        }
        let progress = &mut self.progress;
        let name = first.task_key.as_deref();
        if split == 0 && (progress.undecided.is_some() || progress.task().visit.rows == 0)
            || named && name.is_some_and(|name| progress.task().has_key(name))
        {
            // Nothing ends here: nothing was before it, or the new name is one of a task that was merged into this one.
            return Ok(());
        }
        let next = progress.pending.split_off(split);
        let closing = std::mem::replace(&mut progress.pending, next);
        progress.scored -= split;
        self.learn(closing, outputs)?;
        let closed = self.progress.task().id;
        for rows in self.ring.clear() {
            self.learn_signature(closed, &rows);
        }
        let rolled_back = undone.saturating_sub(split) as u64;
        self.progress.undecided = Some(Undecided { detected_at, estimated_at, rolled_back, evidence });
        if named || !self.config.regimes.recognise {
            self.decide(self.progress.pending.len(), outputs)?;
        }
        Ok(())
    }

    /// Decides an open boundary once a batch of rows after it waits: fewer say little.
    pub(crate) fn decide_when_enough_wait(&mut self, outputs: &mut Vec<Output>) -> Result<()> {
        if self.progress.pending.len() >= self.config.batch_samples {
            self.decide(self.progress.pending.len(), outputs)?;
        }
        Ok(())
    }

    /// Decides an open boundary by the first `rows` rows that wait: a new task begins, or one seen before returns.
    pub(crate) fn decide(&mut self, rows: usize, outputs: &mut Vec<Output>) -> Result<()> {
        let Some(Undecided { detected_at, estimated_at, rolled_back, mut evidence }) = self.progress.undecided.take()
        else {
            return Ok(());
        };
        let Some(first) = self.progress.pending.meta.first().cloned() else {
            return Err(Error::internal("a boundary without a row after it"));
        };
        let name = first.task_key.as_deref();
        let named = evidence.iter().any(|evidence| evidence.detector == TASK_COLUMN);
        let known = if named { self.task_named(name) } else { self.task_like_what_waits(rows, name) };
        let merged = match known {
            None => self.tasks_to_merge()?,
            Some(_) => None,
        };
        let recurring = known.is_some();
        let task = known.as_ref().map_or(self.progress.next_task_id, |known| known.task);
        let change = crate::task::change(&evidence);
        evidence.extend(known.map(|known| known.evidence));
        let labels = self.progress.task().classes.iter();
        outputs.push(Output::Boundary(BoundaryEvent {
            format: 1,
            task,
            recurring,
            at: first.index,
            estimated_at,
            detected_at,
            position: first.position,
            rolled_back,
            evidence,
            closed_task_labels: labels.filter_map(|&class| self.encoder.class_label(class)).collect(),
            merged,
        }));
        self.close_task(first.index, outputs)?;
        if let Some(MergedTasks { gone, into }) = merged {
            self.regimes.merge(gone, into);
            self.probes.merge(gone, into);
            self.progress.merge(gone, into);
            self.learner_mut()?.merge_tasks(gone, into)?;
        }
        self.progress.boundaries.push(first.index, recurring);
        self.progress.visit(task);
        self.progress.task_mut().visit.change = change;
        Ok(())
    }

    /// Shows the signature of a task rows that are learnt under it.
    pub(crate) fn learn_signature(&mut self, task: u32, rows: &Samples) {
        let rows = self.as_measured(rows, Regimes::WINDOW_ROWS);
        self.regimes.learn(task, &rows);
    }

    /// The first rows on the scale that they came in: running standardisation moves while a stream is young, and a task
    /// that returns must look as it did. Not of wide samples, whose signature adds numbers of different scales.
    fn as_measured(&self, rows: &Samples, most: usize) -> Samples {
        let mut rows = rows.slice(0, rows.len().min(most));
        if rows.width() <= Regimes::MOST_WIDTH {
            rows.features = self.encoder.as_measured(&rows).into_owned();
        }
        rows
    }

    /// Undoes learnt windows, newest first, until sample `at` is among the rows that wait. Gives the rows undone.
    fn undo_windows_back_to(&mut self, at: u64) -> Result<usize> {
        let mut undone = 0;
        while self.progress.pending.meta.first().is_none_or(|first| first.index > at) {
            let Some(undo) = self.ring.pop() else { break };
            *self.learner_mut()? = undo.learner;
            let progress = &mut self.progress;
            let mut rows = undo.rows;
            undone += rows.len();
            progress.scored += rows.len();
            rows.append(&progress.pending);
            progress.pending = rows;
            let first_index = progress.pending.meta[0].index;
            self.probes.roll_back(undo.before.task.id, first_index, undo.before.probe_rows_seen);
            progress.undo(undo.before);
        }
        Ok(undone)
    }

    /// The held task that the stream itself calls by this name; the one used last, should there be several.
    fn task_named(&self, name: Option<&str>) -> Option<Recognised> {
        let name = name.filter(|_| self.config.regimes.recognise)?;
        let named = self.progress.tasks.iter().filter(|task| task.has_key(name));
        let task = named.max_by_key(|task| task.last_used)?.id;
        let message = format!("task {task} went by the name {name:?} before");
        Some(Recognised { task, evidence: Evidence::new(TASK_COLUMN, message) })
    }

    /// The held task that the rows that wait look like. Where the stream names its tasks, one of another name is not taken.
    fn task_like_what_waits(&self, rows: usize, name: Option<&str>) -> Option<Recognised> {
        let rows = self.as_measured(&self.progress.pending, rows);
        let known = self.regimes.recognise(self.progress.task().id, &rows)?;
        let task = &self.progress.tasks[self.progress.place_of(known.task)?];
        task.may_be_called(name).then_some(known)
    }

    /// The tasks that become one when there is no room for one more.
    fn tasks_to_merge(&self) -> Result<Option<MergedTasks>> {
        let progress = &self.progress;
        if progress.tasks.len() < self.config.regimes.most_tasks {
            return Ok(None);
        }
        let last_used = |task| progress.place_of(task).map_or(0, |place| progress.tasks[place].last_used);
        let (gone, into) = self
            .regimes
            .merge_candidate(progress.task().id, last_used)
            .ok_or_else(|| Error::internal("of the tasks held, no two can be merged"))?;
        Ok(Some(MergedTasks { gone, into }))
    }

    fn close_task(&mut self, next: u64, outputs: &mut Vec<Output>) -> Result<()> {
        let importance = std::mem::take(&mut self.progress.recent);
        if !importance.is_empty() {
            self.learner_mut()?.end_task(&importance)?;
            self.progress.task_mut().marked = true;
        }
        self.progress.task_mut().last_used = next;
        self.evaluate()?;
        outputs.push(self.stability_report("boundary")?);
        if self.config.snapshot_on_boundary {
            outputs.extend(self.snapshot("boundary")?);
        }
        Ok(())
    }
}
