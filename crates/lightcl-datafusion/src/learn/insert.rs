//! `INSERT INTO learner SELECT ..`: rows go to a run of the driver, on threads of its own.

use super::errors::failed;
use super::feed::{self, Fed, FedSource, feed_all};
use super::live::{EndOnDrop, GiveUpOnDrop, Live};
use super::meters::Meters;
use super::positions::Places;
use super::recipe::{ANEW, Recipe};
use super::watched::WatchedSink;
use crate::shared::Shared;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use crossbeam_channel::Receiver;
use datafusion::datasource::sink::DataSink;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType};
use lightcl_core::Error;
use lightcl_pipeline::driver::{Finished, Run};
use lightcl_pipeline::sink::{FolderOptions, FolderSink, SUMMARY, write_file};
use serde_json::{Value, json};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::oneshot;

/// What a statement trains.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub name: String,
    pub folder: PathBuf,
    pub schema: SchemaRef,
    pub recipe: Arc<Recipe>,
    pub places: Places,
    /// Whether to begin anew.
    pub fresh: bool,
}

/// Learns from the rows of a statement, commits and checkpoints on the way, and counts the rows taken in.
pub(super) struct LearnerSink {
    job: Job,
    shared: Arc<Shared>,
    metrics: ExecutionPlanMetricsSet,
}

impl LearnerSink {
    pub fn new(job: Job, shared: Arc<Shared>) -> Self {
        LearnerSink { job, shared, metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl fmt::Debug for LearnerSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LearnerSink").field("job", &self.job).finish_non_exhaustive()
    }
}

impl DisplayAs for LearnerSink {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let Job { name, folder, places, fresh, .. } = &self.job;
        let fresh = if *fresh { ", from the start" } else { "" };
        match format {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "Learner({name}, location={}, partition={}{fresh})", folder.display(), places.partition())
            }
            DisplayFormatType::TreeRender => write!(f, "learner: {name}{fresh}"),
        }
    }
}

#[async_trait]
impl DataSink for LearnerSink {
    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn schema(&self) -> &SchemaRef {
        &self.job.schema
    }

    async fn write_all(&self, data: SendableRecordBatchStream, context: &Arc<TaskContext>) -> Result<u64> {
        let job = self.job.clone();
        let configuration = job.recipe.configuration().map_err(failed)?;
        let stop = Arc::new(AtomicBool::new(false));
        let _give_up = GiveUpOnDrop(Arc::clone(&stop));
        let learners = &self.shared.learners;
        let live = learners.begin(&job.name, Some(&job.folder), configuration.clone(), &stop).await?;
        let ending = EndOnDrop(Arc::clone(&live));
        let (feeder, rows) = feed::channel(&job.name, context.memory_pool());
        let memory = MemoryConsumer::new(format!("the learner {}", job.name)).register(context.memory_pool());
        let training = Training { job, configuration, live, stop, meters: Meters::new(&self.metrics), memory };
        let (done, outcome) = oneshot::channel();
        let spawned = std::thread::Builder::new().name("lightcl-insert".to_owned()).spawn(move || {
            let ending = ending;
            let outcome = training.run(rows);
            // The next statement may begin as soon as this one has its answer.
            drop(ending);
            // Whoever gave the statement up does not listen.
            let _ = done.send(outcome);
        });
        spawned.map_err(|error| failed(Error::external("cannot start a thread to learn on").caused_by(error)))?;
        let fed = feed_all(data, feeder).await;
        let outcome = outcome.await;
        match (fed, outcome) {
            // What the input says of itself is nearer to the cause than what the learner says of it.
            (Err(error), _) => Err(error),
            (Ok(()), Ok(outcome)) => outcome.map_err(failed),
            (Ok(()), Err(_)) => Err(DataFusionError::Internal("the learner's thread has died".to_owned())),
        }
    }
}

/// What the learner's thread works with.
struct Training {
    job: Job,
    configuration: Value,
    live: Arc<Live>,
    stop: Arc<AtomicBool>,
    meters: Meters,
    memory: MemoryReservation,
}

impl Training {
    /// Learns to the end of the rows, or until it is stopped. Gives how many were taken in.
    fn run(self, rows: Receiver<Fed>) -> lightcl_core::Result<u64> {
        let Training { job, configuration, live, stop, meters, memory } = self;
        let Job { folder, schema, recipe, places, fresh, .. } = job;
        if !fresh {
            recipe.check_folder(&folder, &configuration, ANEW)?;
        }
        let settings = recipe.settings();
        let options = FolderOptions {
            predictions: settings.predictions.format,
            keep: settings.checkpoint.keep,
            fresh,
            configuration,
        };
        let operator = recipe.operator(&schema, false)?;
        let sink = FolderSink::open(&folder, options)?;
        let run = Run {
            source: Box::new(FedSource::new(schema, rows, places, Arc::clone(&stop), meters.skipped.clone())),
            operator,
            sink: Box::new(WatchedSink::new(Some(Box::new(sink)), Arc::clone(&live), meters.clone(), memory)),
            checkpoints: settings.checkpoint_policy(),
            slice_rows: settings.learner.window_samples,
            stop,
            health: Arc::default(),
        };
        let mut before = None;
        let finished = run.drive(&mut |progress, _| {
            let mut seen = live.lock();
            (seen.samples, seen.task, seen.accuracy) = (progress.samples, progress.task, progress.accuracy);
            drop(seen);
            let rows = progress.samples - before.unwrap_or(progress.samples);
            before = Some(progress.samples);
            meters.taken.add(rows as usize);
        })?;
        meters.learning.add_duration(finished.elapsed);
        // The first slice did not know what was there before it.
        meters.taken.add((finished.rows_read as usize).saturating_sub(meters.taken.value()));
        if !finished.stopped {
            let summary = summary(&finished)?;
            write_file(&folder.join(SUMMARY), |file| writeln!(file, "{summary:#}"))?;
        }
        {
            // A statement that had nothing new has told nothing on the way.
            let (mut seen, operator) = (live.lock(), &finished.operator);
            (seen.samples, seen.task) = (operator.samples(), operator.current_task());
            seen.accuracy = operator.prequential().report().window_accuracy;
        }
        Ok(finished.rows_read)
    }
}

/// The run's figures, as `lightcl run` leaves them.
fn summary(finished: &Finished) -> lightcl_core::Result<Value> {
    let mut summary = serde_json::to_value(finished.operator.summary()?)
        .map_err(|error| Error::internal("the summary has no JSON form").caused_by(error))?;
    let seconds = finished.elapsed.as_secs_f64();
    summary["samples_per_second"] = json!(finished.rows_read as f64 / seconds.max(1e-9));
    summary["seconds"] = json!(seconds);
    summary["resumed_at"] = json!(finished.resumed_at);
    summary["stopped"] = json!(finished.stopped);
    Ok(summary)
}
