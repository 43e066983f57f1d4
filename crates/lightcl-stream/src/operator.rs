//! The operator: validate, score, detect, close and open tasks, learn, emit.

use crate::config::OperatorConfig;
use crate::encode::Encoder;
use crate::evaluation::{self, Accuracies};
use crate::prequential::Prequential;
use crate::probes::Probes;
use crate::progress::Progress;
use crate::ring::{Before, Ring};
use crate::scoring::{self, RowScore};
use crate::task::Task;
use lightcl_core::{
    BoundaryDetector, BoundaryEvent, ClassId, Error, EvaluationSet, Evidence, Learner, Observation, Output,
    PositionedBatch, Positions, RejectReason, Rejected, Result, Samples, Verdict,
};

/// Makes the learner once the shape of a sample is known.
pub type LearnerFactory = Box<dyn Fn(&[usize]) -> Result<Box<dyn Learner>> + Send>;

/// A deterministic state machine from positioned rows to outputs; no I/O, no runtime, no clock.
///
/// Rows gather in a window. Every `batch_samples` rows are scored and shown to the detector; a full window is learnt
/// from and gone. A boundary splits its window: rows before it are learnt under the old task, which is then closed; rows
/// from it on start the next window. When it lies before the window, learnt windows are undone (see
/// [`OperatorConfig::rollback_windows`]). How rows are cut into calls of [`Operator::push`] does not matter.
pub struct Operator {
    pub(crate) config: OperatorConfig,
    pub(crate) encoder: Encoder,
    pub(crate) detector: Box<dyn BoundaryDetector>,
    pub(crate) make_learner: LearnerFactory,
    pub(crate) evaluation_set: Option<Box<dyn EvaluationSet>>,
    pub(crate) learner: Option<Box<dyn Learner>>,
    pub(crate) progress: Progress,
    pub(crate) prequential: Prequential,
    pub(crate) probes: Probes,
    pub(crate) ring: Ring,
}

impl Operator {
    /// An operator at the start of its stream.
    ///
    /// # Errors
    /// When the settings contradict each other.
    pub fn new(
        config: OperatorConfig,
        encoder: Encoder,
        detector: Box<dyn BoundaryDetector>,
        make_learner: LearnerFactory,
    ) -> Result<Self> {
        config.validate()?;
        Ok(Operator {
            prequential: Prequential::new(config.prequential_window_samples, config.prequential_fading),
            probes: Probes::new(config.seed, config.probe_samples, config.probe_bytes),
            ring: Ring::new(config.rollback_windows, config.rollback_bytes),
            progress: Progress::new(),
            learner: None,
            evaluation_set: None,
            config,
            encoder,
            detector,
            make_learner,
        })
    }

    /// Adds held-out rows, scored per task at each boundary and at the end.
    #[must_use]
    pub fn with_evaluation_set(mut self, set: Box<dyn EvaluationSet>) -> Self {
        self.evaluation_set = Some(set);
        self
    }

    /// What has been read from the source so far.
    pub fn positions(&self) -> &Positions {
        &self.progress.positions
    }

    /// Rows read so far, rejected ones included.
    pub fn samples(&self) -> u64 {
        self.progress.samples
    }

    /// The task that is being learnt.
    pub fn current_task(&self) -> u32 {
        self.progress.task().id
    }

    /// The encoder as it is now, to encode rows as the learner knows them.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Test-then-train measures so far.
    pub fn prequential(&self) -> &Prequential {
        &self.prequential
    }

    /// Takes in rows that follow those of the last call, and gives what they led to.
    ///
    /// # Errors
    /// When rows of the batch had been taken in before or left out, when a column is missing, or when the held-out set
    /// cannot be read. A bad row is an [`Output::Rejected`] instead.
    pub fn push(&mut self, batch: &PositionedBatch) -> Result<Vec<Output>> {
        let expected = self.progress.positions.next(&batch.partition);
        if batch.first_offset != expected {
            return Err(Error::internal("rows do not follow those before them")
                .with("partition", &batch.partition)
                .with("expected offset", expected)
                .with("offset", batch.first_offset));
        }
        let mut outputs = Vec::new();
        let rows = batch.batch.num_rows();
        let mut row = 0;
        while row < rows {
            let progress = &mut self.progress;
            progress.finished = false;
            let waiting = progress.pending.len() - progress.scored;
            let room = (self.config.batch_samples - waiting).min(self.config.window_samples - progress.pending.len());
            let end = rows.min(row + room);
            let mut rejected = Vec::new();
            self.encoder.encode(batch, row..end, progress.samples, &mut progress.pending, &mut rejected)?;
            progress.samples += (end - row) as u64;
            progress.positions.advance(&batch.partition, batch.first_offset + end as u64);
            for letter in rejected {
                progress.reject(&letter);
                outputs.push(Output::Rejected(letter));
            }
            row = end;
            let progress = &self.progress;
            let waiting = progress.pending.len() - progress.scored;
            if waiting == self.config.batch_samples || progress.pending.len() == self.config.window_samples {
                self.score_waiting(&mut outputs)?;
                self.learn_full_windows(&mut outputs)?;
            }
        }
        Ok(outputs)
    }

    /// Says that the input has ended: what waits is scored and learnt, and the last figures are taken. More rows may
    /// still come later; a second call without any does nothing.
    ///
    /// # Errors
    /// As [`Operator::push`].
    pub fn finish(&mut self) -> Result<Vec<Output>> {
        let mut outputs = Vec::new();
        if self.progress.finished {
            return Ok(outputs);
        }
        self.score_waiting(&mut outputs)?;
        self.learn_full_windows(&mut outputs)?;
        let rest = std::mem::take(&mut self.progress.pending);
        self.progress.pending = Samples::empty(&rest.shape);
        self.progress.scored = 0;
        self.learn(rest, &mut outputs)?;
        self.evaluate()?;
        self.progress.finished = true;
        outputs.push(self.stability_report("end")?);
        if self.config.snapshot_at_end {
            outputs.extend(self.snapshot("end")?);
        }
        Ok(outputs)
    }

    /// The learner as it is now, to score rows with.
    ///
    /// # Errors
    /// Before the first rows were scored: there is none yet.
    pub fn learner(&self) -> Result<&dyn Learner> {
        self.learner.as_deref().ok_or_else(no_learner)
    }

    fn learner_mut(&mut self) -> Result<&mut Box<dyn Learner>> {
        self.learner.as_mut().ok_or_else(no_learner)
    }

    /// Scores the rows that wait, then shows them to the detector one by one.
    fn score_waiting(&mut self, outputs: &mut Vec<Output>) -> Result<()> {
        let progress = &self.progress;
        if progress.pending.len() == progress.scored {
            return Ok(());
        }
        if self.learner.is_none() {
            self.learner = Some((self.make_learner)(&progress.pending.shape)?);
        }
        let rows = progress.pending.slice(progress.scored, progress.pending.len());
        self.progress.scored = progress.pending.len();
        let logits = self.learner()?.score(&rows)?;
        let scores: Vec<RowScore> =
            (0..rows.len()).map(|row| scoring::score_row(&logits, row, rows.labels[row])).collect();
        for (row, score) in scores.iter().enumerate() {
            self.prequential.update(rows.labels[row], score.predicted);
            if self.config.emit_predictions {
                outputs.push(Output::Prediction(self.prediction(&rows, row, score)));
            }
        }
        let activations = self.activations(&rows)?;
        let activation_width = activations.len() / rows.len();
        let pattern_loss = self.progress.pattern_loss;
        for (row, score) in scores.iter().enumerate() {
            let meta = &rows.meta[row];
            let verdict = self.detector.observe(&Observation {
                index: meta.index,
                label: rows.labels[row],
                predicted: score.predicted,
                loss: score.loss,
                margin: score.margin,
                entropy: score.entropy,
                task_key: meta.task_key.as_deref(),
                event_time: meta.event_time,
                features: rows.row(row),
                activations: &activations[row * activation_width..(row + 1) * activation_width],
                pattern_loss,
            });
            if let Verdict::Boundary { at, evidence } = verdict {
                self.detector.reset();
                self.place_boundary(at, meta.index, evidence, outputs)?;
            }
        }
        Ok(())
    }

    /// What the frozen prefix makes of rows; empty where the detector does not ask or the prefix still trains.
    fn activations(&self, rows: &Samples) -> Result<Vec<f32>> {
        match self.learner.as_deref() {
            Some(learner) if self.detector.needs().activations && learner.is_prefix_frozen() => {
                Ok(learner.embed(rows)?.values)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Ends the current task before sample `at` and opens the next one there.
    fn place_boundary(
        &mut self,
        at: u64,
        detected_at: u64,
        evidence: Vec<Evidence>,
        outputs: &mut Vec<Output>,
    ) -> Result<()> {
        let undone = self.undo_windows_back_to(at)?;
        let progress = &mut self.progress;
        let split = progress.pending.meta.partition_point(|meta| meta.index < at);
        if split == progress.pending.len() || (split == 0 && progress.task().rows == 0) {
            // Nothing on one side of it: not the start of a new task.
            return Ok(());
        }
        let next = progress.pending.split_off(split);
        let closing = std::mem::replace(&mut progress.pending, next);
        progress.scored -= split;
        self.learn(closing, outputs)?;

        let first = self.progress.pending.meta[0].clone();
        let closed = self.progress.task().clone();
        outputs.push(Output::Boundary(BoundaryEvent {
            format: 1,
            task: closed.id + 1,
            at: first.index,
            detected_at,
            position: first.position,
            rolled_back: undone.saturating_sub(split) as u64,
            evidence,
            closed_task_labels: closed.classes.iter().filter_map(|&class| self.encoder.class_label(class)).collect(),
        }));
        self.close_task(outputs)?;
        self.progress.boundaries.push(first.index);
        self.progress.tasks.push(Task::new(closed.id + 1, first.index));
        Ok(())
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

    fn close_task(&mut self, outputs: &mut Vec<Output>) -> Result<()> {
        let importance = std::mem::take(&mut self.progress.recent);
        if !importance.is_empty() {
            self.learner_mut()?.end_task(&importance)?;
        }
        self.ring.clear();
        self.evaluate()?;
        outputs.push(self.stability_report("boundary")?);
        if self.config.snapshot_on_boundary {
            outputs.extend(self.snapshot("boundary")?);
        }
        Ok(())
    }

    /// Learns every full window that waits; after a roll-back there can be several.
    fn learn_full_windows(&mut self, outputs: &mut Vec<Output>) -> Result<()> {
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
    fn learn(&mut self, rows: Samples, outputs: &mut Vec<Output>) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let before = self.ring.is_enabled().then(|| Before {
            task: self.progress.task().clone(),
            recent: self.progress.recent.clone(),
            probe_rows_seen: self.probes.rows_seen(self.progress.task().id),
            trained_samples: self.progress.trained_samples,
            steps: self.progress.steps,
        });
        if !self.progress.task().opened {
            let first = rows.slice(0, rows.len().min(self.config.batch_samples));
            self.learner_mut()?.begin_task(&first)?;
            self.progress.task_mut().opened = true;
            self.probes.settle(self.learner.as_deref().ok_or_else(no_learner)?)?;
        }
        if let Some(mut before) = before {
            // Undoing a task's first window keeps the task open: its memory samples stay those of its first batch.
            before.task.opened = true;
            let classes = self.encoder.class_count();
            let learner = self.learner.as_deref().ok_or_else(no_learner)?;
            self.ring.push(rows.clone(), learner, classes, before)?;
        }
        self.progress.task_mut().take_in(&rows.labels, &rows.meta);
        let task = self.progress.task().id;
        let learner = self.learner.as_mut().ok_or_else(no_learner)?;
        let window = self.probes.hold_out(task, &rows, learner.as_ref())?;
        if window.is_empty() {
            return Ok(());
        }
        let report = learner.learn(&window)?;
        let undoable_from = self.ring.first_index().unwrap_or(rows.meta[0].index);
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
        self.progress.learnt(&window.select(&good), &report, self.config.batch_samples);
        Ok(())
    }

    /// Fills in the accuracy matrices' row for the current task.
    fn evaluate(&mut self) -> Result<()> {
        let Some(learner) = self.learner.as_deref() else { return Ok(()) };
        let tasks = &self.progress.tasks;
        let after = tasks.len() - 1;
        let tally = evaluation::on_probes(&self.probes, tasks, learner)?;
        self.progress.on_probes.set_row(after, &tally);
        if let Some(set) = self.evaluation_set.as_deref_mut() {
            let tally = evaluation::on_held_out(set, &self.encoder, tasks, learner)?;
            self.progress.on_held_out.get_or_insert_with(Accuracies::default).set_row(after, &tally);
        }
        Ok(())
    }

    /// Stability reports and snapshots asked for every so many rows.
    fn emit_by_count(&mut self, outputs: &mut Vec<Output>) -> Result<()> {
        let learnt_up_to = self.progress.samples;
        let due = |every: u64, last: u64| every > 0 && learnt_up_to / every > last / every;
        if due(self.config.stability_every_samples, self.progress.last_stability) {
            outputs.push(self.stability_report("interval")?);
        }
        if due(self.config.snapshot_every_samples, self.progress.last_snapshot) {
            outputs.extend(self.snapshot("interval")?);
        }
        Ok(())
    }
}

fn no_learner() -> Error {
    Error::internal("rows without a learner")
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
