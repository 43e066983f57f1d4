//! One run: a stream through the operator with one detector, and what came of it.

use super::detectors;
use super::quality::{Found, Quality, Rule, mean};
use super::streams::Stream;
use super::timing::{Clock, TimedDetector, TimedLearner};
use arrow_array::RecordBatch;
use lightcl_core::{ClassId, Learner, Output, PositionedBatch, Result, RowOffsets};
use lightcl_learner::LightClLearner;
use lightcl_stream::encode::Encoder;
use lightcl_stream::{LearnerFactory, Operator, OperatorConfig};
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rows given to the operator, or scored, at a time.
const SLICE_ROWS: usize = 1024;

/// Windows that can be undone, when roll-back is on: the default of a pipeline.
const ROLLBACK_WINDOWS: usize = 8;

/// What one run led to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Run {
    pub seed: u64,
    /// Boundaries in the order in which they were found.
    pub boundaries: Vec<Found>,
    /// Rows that could not be used.
    pub rejected: u64,
    pub prequential_accuracy: Option<f64>,
    pub kappa: Option<f64>,
    pub no_change_accuracy: Option<f64>,
    /// Final accuracy on the held-out rows of each true task, among the task's own classes.
    pub task_il_by_task: Vec<f64>,
    /// Its mean.
    pub task_il: Option<f64>,
    /// The same among all classes.
    pub class_il: Option<f64>,
    /// Nanoseconds a row inside the detector.
    pub detector_ns_per_row: f64,
    /// Nanoseconds a row inside the learner.
    pub learner_ns_per_row: f64,
    /// Seconds from the first row to the last.
    pub seconds: f64,
    #[serde(skip)]
    pub quality: Quality,
}

/// Runs a stream once.
///
/// # Errors
/// When the stream does not fit its encoder, or the learner fails.
pub(crate) fn run(stream: &Stream, detector: &str, rollback: bool, seed: u64, rule: Rule) -> Result<Run> {
    let (detector_clock, learner_clock) = (Clock::default(), Clock::default());
    let mut operator = operator(stream, detector, rollback, seed, &detector_clock, &learner_clock)?;
    let mut boundaries = Vec::new();
    let mut rejected = 0;
    let mut take_in = |outputs: Vec<Output>| {
        for output in outputs {
            match output {
                Output::Boundary(event) => {
                    boundaries.push(Found { at: event.estimated_at, detected_at: event.detected_at });
                }
                Output::Rejected(_) => rejected += 1,
                Output::Prediction(_) | Output::Snapshot(_) | Output::Stability(_) => {}
            }
        }
    };
    let started = Instant::now();
    for batch in slices(&stream.rows, "stream") {
        take_in(operator.push(&batch)?);
    }
    take_in(operator.finish()?);
    let elapsed = started.elapsed();
    let per_row = |time: Duration| time.as_nanos() as f64 / stream.len().max(1) as f64;
    let (detector_time, learner_time) = (detector_clock.total(), learner_clock.total());
    let prequential = operator.prequential().report();
    let (task_il_by_task, class_il_by_task) = accuracies(stream, &operator)?;
    Ok(Run {
        seed,
        quality: Quality::of(&boundaries, &stream.change_points, stream.len(), rule, stream.slack),
        boundaries,
        rejected,
        prequential_accuracy: prequential.accuracy,
        kappa: prequential.kappa,
        no_change_accuracy: prequential.no_change_accuracy,
        task_il: mean(task_il_by_task.iter().copied().map(Some)),
        class_il: mean(class_il_by_task.into_iter().map(Some)),
        task_il_by_task,
        detector_ns_per_row: per_row(detector_time),
        learner_ns_per_row: per_row(learner_time),
        seconds: elapsed.as_secs_f64(),
    })
}

fn operator(
    stream: &Stream,
    detector: &str,
    rollback: bool,
    seed: u64,
    detector_clock: &Clock,
    learner_clock: &Clock,
) -> Result<Operator> {
    let learner_config = stream.settings.learner(seed);
    let config = OperatorConfig {
        seed,
        batch_samples: learner_config.batch_samples,
        window_samples: stream.settings.window_samples(),
        rollback_windows: if rollback { ROLLBACK_WINDOWS } else { 0 },
        // Accuracy is measured on the held-out rows of the true tasks instead; probes follow the tasks that were found.
        probe_samples: 0,
        snapshot_on_boundary: false,
        snapshot_at_end: false,
        ..OperatorConfig::new(stream.name)
    };
    let detector = detectors::make(detector, &stream.change_points, config.batch_samples as u64, seed)?;
    let detector = Box::new(TimedDetector { inner: detector, clock: detector_clock.clone() });
    let clock = learner_clock.clone();
    let make_learner: LearnerFactory = Box::new(move |shape: &[usize]| -> Result<Box<dyn Learner>> {
        let inner = LightClLearner::new(learner_config.clone(), shape, None)?;
        Ok(Box::new(TimedLearner { inner, clock: clock.clone(), tally: None }))
    });
    let encoder = Encoder::new(stream.encoder.clone(), &stream.rows.schema())?;
    Operator::new(config, encoder, detector, make_learner)
}

/// A batch in slices, from its first row.
pub(super) fn slices(batch: &RecordBatch, partition: &str) -> impl Iterator<Item = PositionedBatch> {
    let partition: Arc<str> = Arc::from(partition);
    (0..batch.num_rows()).step_by(SLICE_ROWS).map(move |start| PositionedBatch {
        batch: batch.slice(start, SLICE_ROWS.min(batch.num_rows() - start)),
        partition: Arc::clone(&partition),
        offsets: RowOffsets::From(start as u64),
        faults: Vec::new(),
    })
}

/// Accuracies on the held-out rows of each true task among its own classes, and among all.
pub(super) fn accuracies(stream: &Stream, operator: &Operator) -> Result<(Vec<f64>, Vec<f64>)> {
    let learner = operator.learner()?;
    let mut by_task = (Vec::new(), Vec::new());
    for held_out in &stream.held_out {
        let mut scored: Vec<(_, Vec<Option<ClassId>>)> = Vec::new();
        for batch in slices(held_out, "held out") {
            let rows = operator.encoder().encode_frozen(&batch, 0..batch.batch.num_rows(), 0)?;
            scored.push((learner.score(&rows.samples)?, rows.labels));
        }
        let own: BTreeSet<ClassId> = scored.iter().flat_map(|(_, labels)| labels.iter().flatten().copied()).collect();
        let own: Vec<ClassId> = own.into_iter().collect();
        let (mut rows, mut task_hits, mut class_hits) = (0_u64, 0_u64, 0_u64);
        for (logits, labels) in &scored {
            for (row, label) in labels.iter().enumerate() {
                rows += 1;
                task_hits += u64::from(label.is_some() && logits.best(row, Some(&own)) == *label);
                class_hits += u64::from(label.is_some() && logits.best(row, None) == *label);
            }
        }
        if rows > 0 {
            by_task.0.push(task_hits as f64 / rows as f64);
            by_task.1.push(class_hits as f64 / rows as f64);
        }
    }
    Ok(by_task)
}
