//! Scores events of a topic with the newest published model.
//!
//! One thread follows the snapshot topic and builds models; the other consumes, scores and writes. Between two batches it
//! takes the models that are in force: a swap is one exchange of a pointer, and a batch is scored by one model as a whole.
//! Delivery is at least once: predictions are flushed, then offsets are committed.

mod intake;
mod models;
mod outputs;
mod rows;

use crate::claims::{ClaimStore, Claims};
use crate::config::{Scope, SinkConfig, SourceConfig};
use crate::follower::Wanted;
use crate::format::{Format, FormatConfig};
use crate::health::Health;
use crate::outbox::TopicPartition;
use intake::Intake;
use lightcl_core::{Error, PositionedBatch, Rejected, Result, Snapshot};
use models::{InForce, Renewal};
use outputs::Outputs;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Most records between two looks at which models are in force.
const BATCH_RECORDS: usize = 1000;
/// Longest time in which records are gathered.
const BATCH_TIME: Duration = Duration::from_millis(20);
/// How long a stop may wait for brokers.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Wait before something outside that did not answer is asked again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Makes the reader of a partition's records.
pub type OpenFormat<'a> = &'a (dyn Fn(&FormatConfig) -> Result<Box<dyn Format>> + Sync);

/// How models are built and rows are scored.
pub trait Scoring: Sync {
    /// A model.
    type Model: Send + Sync;

    /// Builds the model of a snapshot.
    ///
    /// # Errors
    /// When the snapshot does not fit the program; the model before stays in force.
    fn build(&self, snapshot: &Snapshot) -> Result<Self::Model>;

    /// Scores the rows of a batch: one entry a row, in order. The first has number `first_index`.
    ///
    /// # Errors
    /// When the columns do not fit the model at all.
    fn score(
        &self,
        model: &Self::Model,
        batch: &PositionedBatch,
        first_index: u64,
    ) -> Result<Vec<Result<Scored, Rejected>>>;
}

/// A row that was scored.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scored {
    /// The sample's own name.
    pub id: Option<String>,
    /// Its label, where it has one.
    pub label: Option<String>,
    /// The predicted label.
    pub predicted: Option<String>,
    /// Probability of the predicted class.
    pub probability: Option<f32>,
}

/// What is consumed, followed and written.
#[derive(Debug, Clone, PartialEq)]
pub struct ServingConfig {
    /// The rows to score. The group is that of the learner; its own has `-score` behind it.
    pub source: SourceConfig,
    /// Where predictions and dead letters go and snapshots come from.
    pub sink: SinkConfig,
    /// Which rows share a model.
    pub scope: Scope,
    /// The model.
    pub model_id: Option<String>,
}

/// What happens while rows are scored.
#[derive(Debug)]
pub enum Event<'a> {
    /// There is no model yet, or none any longer: rows wait.
    Waiting {
        /// The snapshot topic.
        topic: &'a str,
    },
    /// A model is ready; the next batch is scored by it.
    Loaded {
        /// What it learnt from.
        unit: &'a str,
        /// Its version.
        version: u64,
        /// Seconds since it was published.
        delay: f64,
    },
    /// A model is no longer published.
    Retired {
        /// Name of the model.
        model_id: &'a str,
        /// What it learnt from.
        unit: &'a str,
    },
    /// A snapshot is of no use; the model before it stays in force.
    Rejected {
        /// What it learnt from.
        unit: &'a str,
        /// Why.
        error: &'a Error,
    },
    /// Something does not work now and is tried again.
    Trouble {
        /// What.
        what: &'a str,
        /// Why.
        error: &'a Error,
    },
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Served {
    /// Rows that were scored.
    pub scored: u64,
    /// Rows that could not be scored.
    pub rejected: u64,
    /// Records without a value that were passed over.
    pub skipped: u64,
}

/// Scores rows until `stop` is set. Ready it is when it has a model and is a member of the group.
///
/// # Errors
/// When the configuration is wrong, topics are not there or must not be used, or predictions cannot be written. What was
/// not committed is scored again by the next start.
pub fn serve<S: Scoring>(
    config: &ServingConfig,
    scoring: &S,
    open_format: OpenFormat<'_>,
    stop: &AtomicBool,
    health: &Health,
    report: &(dyn Fn(Event<'_>) + Sync),
) -> Result<Served> {
    let topic = config
        .sink
        .topics
        .snapshots
        .as_deref()
        .ok_or_else(|| Error::user("there is no snapshot topic to follow; name it as sink.topics.snapshots"))?;
    let store = config.sink.claim_check.as_ref().map(ClaimStore::open).transpose()?.map(Arc::new);
    let claims = store.map(|store| Claims::new(&store, topic));
    let outputs = Arc::new(Outputs::new(&config.sink)?);
    let group = format!("{}-score", config.source.group);
    let intake = Intake::new(&config.source, &group, Arc::clone(&outputs))?;
    let in_force = InForce::new();
    // The thread of models also ends when the loop has failed.
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let wanted = Wanted { model_id: config.model_id.clone(), unit: None };
        let (in_force, ended) = (&in_force, &ended);
        let renewing = scope.spawn(move || {
            let connection = &config.sink.connection;
            Renewal { scoring, connection, topic, wanted, claims, in_force, stop: ended, report }.run()
        });
        let mut serving = Serving {
            config,
            scoring,
            open_format,
            outputs,
            intake,
            formats: BTreeMap::new(),
            served: Served::default(),
            health,
            report,
        };
        let served = serving.run(topic, in_force, &|| stop.load(Ordering::Relaxed) || renewing.is_finished());
        ended.store(true, Ordering::Relaxed);
        // Without the thread of models the loop had to end: its error is the cause.
        renewing.join().unwrap_or_else(|_| Err(Error::internal("the thread that builds models died")))?;
        served
    })
}

struct Serving<'a, S: Scoring> {
    config: &'a ServingConfig,
    scoring: &'a S,
    open_format: OpenFormat<'a>,
    outputs: Arc<Outputs>,
    intake: Intake,
    formats: BTreeMap<TopicPartition, Box<dyn Format>>,
    served: Served,
    health: &'a Health,
    report: &'a (dyn Fn(Event<'_>) + Sync),
}

impl<S: Scoring> Serving<'_, S> {
    fn run(&mut self, topic: &str, in_force: &InForce<S::Model>, stop: &dyn Fn() -> bool) -> Result<Served> {
        let mut committed = Instant::now();
        let mut is_waiting = false;
        let mut retry_at: Option<Instant> = None;
        while !stop() {
            let models = in_force.get();
            if models.is_empty() {
                if !is_waiting {
                    (self.report)(Event::Waiting { topic });
                }
                is_waiting = true;
                // Others may have what this one has no model for; and records that wait are consumed again.
                self.intake.leave();
                self.intake.waiting.clear();
            } else {
                is_waiting = false;
                self.intake.join()?;
            }
            self.intake.gather(BATCH_RECORDS, BATCH_TIME)?;
            self.health.set_ready(!models.is_empty() && self.intake.has_joined());
            for partition in self.intake.left.drain(..) {
                self.formats.remove(&partition);
            }
            if !models.is_empty() && retry_at.is_none_or(|at| Instant::now() >= at) {
                retry_at = match self.score_waiting(&models) {
                    Ok(()) if retry_at.is_some() => {
                        self.intake.resume()?;
                        None
                    }
                    Ok(()) => None,
                    Err(error) if error.is_retryable() => {
                        (self.report)(Event::Trouble { what: "rows cannot be read now", error: &error });
                        Some(Instant::now() + RETRY_AFTER)
                    }
                    Err(error) => return Err(error),
                };
            }
            if retry_at.is_none() {
                self.health.progress();
            } else {
                // Partitions that were given meanwhile, too.
                self.intake.pause()?;
            }
            if committed.elapsed() >= self.config.sink.commit {
                self.commit(self.config.sink.commit)?;
                committed = Instant::now();
            }
        }
        self.health.set_ready(false);
        self.commit(STOP_TIMEOUT)?;
        self.intake.leave();
        Ok(self.served)
    }

    /// Flushes, then commits. What cannot be done now is done at the next commit.
    fn commit(&mut self, timeout: Duration) -> Result<()> {
        let trouble = match self.outputs.flush(timeout) {
            Ok(()) => self.intake.commit(),
            Err(error) if error.is_retryable() => Some(error),
            Err(error) => return Err(error),
        };
        if let Some(error) = trouble {
            (self.report)(Event::Trouble { what: "offsets cannot be committed now", error: &error });
        }
        Ok(())
    }
}
