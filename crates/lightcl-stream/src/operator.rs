//! The operator: validate, score, detect, close and open tasks, learn, emit.

use crate::config::OperatorConfig;
use crate::encode::Encoder;
use crate::prequential::Prequential;
use crate::probes::Probes;
use crate::progress::Progress;
use crate::ring::Ring;
use crate::scoring::{self, RowScore};
use lightcl_boundary::Regimes;
use lightcl_core::{
    BoundaryDetector, Error, EvaluationSet, Learner, Observation, Output, PositionedBatch, Positions, Result,
    RowOffsets, Samples, Verdict,
};

/// Makes the learner once the shape of a sample is known.
pub type LearnerFactory = Box<dyn Fn(&[usize]) -> Result<Box<dyn Learner>> + Send>;

/// A deterministic state machine from positioned rows to outputs; no I/O, no runtime, no clock.
///
/// Rows gather in a window. Every `score_samples` rows are scored and shown to the detector; a full window is learnt
/// from and gone. A boundary splits its window: rows before it are learnt under the old task, which is then closed; rows
/// from it on start the next window. When it lies before the window, learnt windows are undone (see
/// [`OperatorConfig::rollback_windows`]). Rows after a boundary that look like a task seen before are learnt under that task
/// again; otherwise a new one begins (see [`OperatorConfig::regimes`]). How rows are cut into calls of [`Operator::push`] does not matter.
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
    pub(crate) regimes: Regimes,
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
            regimes: Regimes::new(config.regimes.clone(), config.seed)?,
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
        let rows = batch.batch.num_rows();
        let first = batch.offset_after(0);
        // Listed offsets may leave some out, which hold no row.
        let follows = match batch.offsets {
            RowOffsets::From(_) => first == expected,
            RowOffsets::Listed { .. } => first >= expected,
        };
        if !follows {
            return Err(Error::internal("rows do not follow those before them")
                .with("partition", &batch.partition)
                .with("expected offset", expected)
                .with("offset", first));
        }
        let mut outputs = Vec::new();
        let mut row = 0;
        while row < rows {
            let progress = &mut self.progress;
            progress.finished = false;
            let waiting = progress.pending.len() - progress.scored;
            let room = (self.config.rows_scored() - waiting).min(self.config.window_samples - progress.pending.len());
            let end = rows.min(row + room);
            let mut rejected = Vec::new();
            self.encoder.encode(batch, row..end, progress.samples, &mut progress.pending, &mut rejected)?;
            progress.samples += (end - row) as u64;
            progress.positions.advance(&batch.partition, batch.offset_after(end));
            for letter in rejected {
                progress.reject(&letter);
                outputs.push(Output::Rejected(letter));
            }
            row = end;
            let progress = &self.progress;
            let waiting = progress.pending.len() - progress.scored;
            if waiting == self.config.rows_scored() || progress.pending.len() == self.config.window_samples {
                self.score_waiting(&mut outputs)?;
                self.decide_when_enough_wait(&mut outputs)?;
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
        self.take_what_waits(&mut outputs)?;
        self.evaluate()?;
        self.progress.finished = true;
        outputs.push(self.stability_report("end")?);
        if self.config.snapshot_at_end {
            outputs.extend(self.snapshot("end")?);
        }
        Ok(outputs)
    }

    /// Scores and learns what waits without the rows that would fill its window, so that predictions of a stream that stands
    /// still do not wait for it. Where that is done is part of what is learnt: a replay must do it at the same rows.
    ///
    /// # Errors
    /// As [`Operator::push`].
    pub fn close_window(&mut self) -> Result<Vec<Output>> {
        let mut outputs = Vec::new();
        self.take_what_waits(&mut outputs)?;
        self.emit_by_count(&mut outputs)?;
        Ok(outputs)
    }

    /// Rows read that were not learnt from yet.
    pub fn waiting_rows(&self) -> usize {
        self.progress.pending.len()
    }

    fn take_what_waits(&mut self, outputs: &mut Vec<Output>) -> Result<()> {
        self.score_waiting(outputs)?;
        self.decide(self.progress.pending.len(), outputs)?;
        self.learn_full_windows(outputs)?;
        let rest = std::mem::take(&mut self.progress.pending);
        self.progress.pending = Samples::empty(&rest.shape);
        self.progress.scored = 0;
        self.learn(rest, outputs)
    }

    /// The learner as it is now, to score rows with.
    ///
    /// # Errors
    /// Before the first rows were scored: there is none yet.
    pub fn learner(&self) -> Result<&dyn Learner> {
        self.learner.as_deref().ok_or_else(no_learner)
    }

    pub(crate) fn learner_mut(&mut self) -> Result<&mut Box<dyn Learner>> {
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
        let logits = self.learner_mut()?.score_next(&rows)?;
        let scores: Vec<RowScore> =
            (0..rows.len()).map(|row| scoring::score_row(&logits, row, rows.labels[row])).collect();
        for (row, score) in scores.iter().enumerate() {
            self.prequential.update(rows.labels[row], score.predicted);
            if self.config.emit_predictions {
                outputs.push(Output::Prediction(self.prediction(&rows, row, score)));
            }
        }
        // On the scale they came in: after a change running standardisation goes on moving all that follows.
        let (measured, width) = (self.encoder.as_measured(&rows), rows.width());
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
                features: &measured[row * width..(row + 1) * width],
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
                Ok(learner.activations(rows)?.values)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Stability reports and snapshots asked for every so many rows.
    pub(crate) fn emit_by_count(&mut self, outputs: &mut Vec<Output>) -> Result<()> {
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

pub(crate) fn no_learner() -> Error {
    Error::internal("rows without a learner")
}
