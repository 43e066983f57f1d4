//! The thread that trains the learners of one partition, one after the other.

use super::super::errors::failed;
use super::super::live::Live;
use super::super::meters::Meters;
use super::super::recipe::Recipe;
use super::super::watched::WatchedSink;
use super::intake::{Intake, KeySource, lock};
use super::results::{Outcome, Results, changed};
use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow_schema::SchemaRef;
use datafusion::error::Result as QueryResult;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::metrics::BaselineMetrics;
use lightcl_core::Result;
use lightcl_pipeline::driver::{CheckpointPolicy, Run};
use lightcl_pipeline::sink::{FolderOptions, FolderSink};
use serde_json::Value;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc::Sender;

/// What the learners of a partition are trained with.
pub(super) struct Learning {
    pub recipe: Arc<Recipe>,
    pub results: Results,
    pub range: Arc<str>,
    pub configuration: Value,
    /// The columns of the rows.
    pub input: SchemaRef,
    /// The columns of what comes out.
    pub output: SchemaRef,
    pub meters: Meters,
    pub baseline: BaselineMetrics,
    pub memory: MemoryReservation,
}

impl Learning {
    /// Trains all learners that are not done; passes on a row for each.
    ///
    /// # Errors
    /// Why it came to no end. Learners that were done by then stay.
    pub fn run(&self, intake: Intake, rows: &Sender<QueryResult<RecordBatch>>) -> QueryResult<()> {
        let intake = Arc::new(Mutex::new(intake));
        loop {
            let next = lock(&intake).next_key().map_err(failed)?;
            let Some(key) = next else { return Ok(()) };
            let row = match &key {
                Some(key) => self.learner(key, &intake).map_err(failed)?,
                None => Some(self.without_key(lock(&intake).pass_over(None).map_err(failed)?)?),
            };
            // None: nobody waits for it any more.
            let Some(row) = row.filter(|_| !lock(&intake).is_given_up()) else { return Ok(()) };
            self.baseline.record_output(1);
            if rows.blocking_send(Ok(row)).is_err() {
                return Ok(());
            }
        }
    }

    /// The row of a key's learner, trained now or before; none when the query was given up.
    fn learner(&self, key: &str, intake: &Arc<Mutex<Intake>>) -> Result<Option<RecordBatch>> {
        let folder = self.results.of(key);
        let outcome = match self.results.outcome(key)? {
            Some(outcome) => {
                self.recipe.check_folder(&folder, &self.configuration, "name the job anew")?;
                let mut intake = lock(intake);
                let rows = intake.pass_over(Some(key))?;
                if intake.is_given_up() {
                    return Ok(None);
                }
                if rows != outcome.samples {
                    let error = changed(key, &folder).with("its rows", outcome.samples).with("rows now", rows);
                    return Err(error);
                }
                self.meters.skipped.add(rows as usize);
                outcome
            }
            None => match self.train(key, intake)? {
                Some(outcome) => outcome,
                None => return Ok(None),
            },
        };
        self.row(Some(key), Some(&folder), outcome.samples, Some(&outcome)).map(Some)
    }

    /// Trains a learner from nothing; none when the query was given up.
    fn train(&self, key: &str, intake: &Arc<Mutex<Intake>>) -> Result<Option<Outcome>> {
        let attempt = self.results.attempt()?;
        let stop = Arc::new(AtomicBool::new(false));
        let settings = self.recipe.settings();
        let options = FolderOptions {
            predictions: settings.predictions.format,
            keep: settings.checkpoint.keep,
            fresh: false,
            configuration: self.configuration.clone(),
        };
        let live = Arc::new(Live::new(key, None, self.configuration.clone(), &stop));
        let sink = FolderSink::open(attempt.path(), options)?;
        let run = Run {
            source: Box::new(KeySource {
                intake: Arc::clone(intake),
                key: key.to_owned(),
                schema: Arc::clone(&self.input),
                range: Arc::clone(&self.range),
                next: 0,
                stop: Arc::clone(&stop),
            }),
            operator: self.recipe.operator(&self.input, false)?,
            sink: Box::new(WatchedSink::new(Some(Box::new(sink)), live, self.meters.clone(), self.memory.new_empty())),
            // An attempt that is interrupted is not gone on with: commits between tasks would be for nobody.
            checkpoints: CheckpointPolicy { every_samples: 0, every: None },
            slice_rows: settings.learner.window_samples,
            stop,
            health: Arc::default(),
        };
        let about = |error: lightcl_core::Error| error.with("key", key);
        let finished = run.drive(&mut |_, _| {}).map_err(about)?;
        self.meters.learning.add_duration(finished.elapsed);
        self.meters.taken.add(finished.rows_read as usize);
        if finished.stopped || lock(intake).is_given_up() {
            return Ok(None);
        }
        let summary = finished.operator.summary()?;
        drop(finished);
        self.results.publish(key, attempt, &summary).map(Some)
    }

    fn without_key(&self, rows: u64) -> QueryResult<RecordBatch> {
        log::warn!("{rows} rows without a key are left out");
        self.row(None, None, rows, None).map_err(failed)
    }

    fn row(
        &self,
        key: Option<&str>,
        folder: Option<&Path>,
        rows: u64,
        outcome: Option<&Outcome>,
    ) -> Result<RecordBatch> {
        let location = folder.map(|folder| folder.display().to_string());
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![key])),
            Arc::new(StringArray::from(vec![location])),
            Arc::new(UInt64Array::from(vec![rows])),
            Arc::new(UInt64Array::from(vec![outcome.map(|outcome| outcome.rejected)])),
            Arc::new(UInt32Array::from(vec![outcome.map(|outcome| outcome.tasks)])),
            Arc::new(Float64Array::from(vec![outcome.and_then(|outcome| outcome.prequential_accuracy)])),
            Arc::new(StringArray::from(vec![outcome.map(|outcome| outcome.state_sha256.as_str())])),
        ];
        RecordBatch::try_new(Arc::clone(&self.output), columns)
            .map_err(|error| lightcl_core::Error::internal("the row of a learner does not fit").caused_by(error))
    }
}
