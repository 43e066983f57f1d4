//! Learners, jobs and streams that the benchmarks share.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark fails by panicking")]
#![allow(dead_code, reason = "no benchmark needs all of it")]

use arrow_schema::Schema;
use lightcl_boundary::{DetectorConfigs, build};
use lightcl_core::{
    Embedding, LayerReport, LearnReport, Learner, LearnerSnapshot, Logits, Output, PartBytes, Result, Samples, Stateful,
};
use lightcl_kafka::config::{
    CheckpointConfig, Delivery, OrElse, OutputTopics, Scope, SinkConfig, SourceConfig, Start, Topics, ValueFormat,
};
use lightcl_kafka::format::{self, FormatConfig};
use lightcl_kafka::{Connection, Health, Job, Observer, Target};
use lightcl_learner::{LearnerConfig, LightClLearner};
use lightcl_stream::encode::{Encoder, EncoderConfig};
use lightcl_stream::{Operator, OperatorConfig};
use lightcl_testkit::services::Broker;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The topic of the state.
pub const STATE: &str = "state";

/// Learns nothing and knows nothing, at once.
#[derive(Clone, Default)]
pub struct NullLearner;

impl Stateful for NullLearner {
    fn save(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn restore(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

impl Learner for NullLearner {
    fn score(&self, _: &Samples) -> Result<Logits> {
        Ok(Logits { classes: 0, values: Vec::new() })
    }

    fn learn(&mut self, _: &Samples) -> Result<LearnReport> {
        Ok(LearnReport::default())
    }

    fn end_task(&mut self, _: &Samples) -> Result<()> {
        Ok(())
    }

    fn begin_task(&mut self, _: &Samples) -> Result<()> {
        Ok(())
    }

    fn snapshot(&self) -> Result<LearnerSnapshot> {
        Ok(LearnerSnapshot { description: serde_json::Value::Null, blobs: Vec::new() })
    }

    fn fork(&self) -> Box<dyn Learner> {
        Box::new(NullLearner)
    }

    fn is_prefix_frozen(&self) -> bool {
        false
    }

    fn embed(&self, _: &Samples) -> Result<Embedding> {
        Ok(Embedding::default())
    }

    fn score_embedding(&self, _: &Embedding) -> Result<Logits> {
        Ok(Logits { classes: 0, values: Vec::new() })
    }

    fn layers(&self) -> Result<Vec<LayerReport>> {
        Ok(Vec::new())
    }

    fn bytes(&self) -> Vec<PartBytes> {
        Vec::new()
    }
}

/// Which learner an operator has.
#[derive(Clone)]
pub enum Kind {
    /// One that does nothing.
    Null,
    /// A real one with these settings.
    Real(Box<LearnerConfig>),
}

/// What an operator is made of.
#[derive(Clone)]
pub struct Spec {
    pub learner: Kind,
    pub columns: EncoderConfig,
    pub emit_predictions: bool,
    /// Rows learnt from together.
    pub window_samples: usize,
}

impl Spec {
    /// One that learns from windows of the usual size and emits no predictions.
    pub fn new(learner: &Kind, columns: EncoderConfig) -> Self {
        let window_samples = OperatorConfig::new("").window_samples;
        Spec { learner: learner.clone(), columns, emit_predictions: false, window_samples }
    }

    /// The operator.
    pub fn operator(&self, learner: &str, schema: &Schema) -> Result<Operator> {
        let Spec { learner: kind, columns, emit_predictions, window_samples } = self.clone();
        let config =
            OperatorConfig { snapshot_at_end: false, emit_predictions, window_samples, ..OperatorConfig::new(learner) };
        let config = match kind {
            Kind::Null => OperatorConfig { probe_samples: 0, rollback_windows: 0, ..config },
            Kind::Real(_) => config,
        };
        let detector = build(&["never".to_owned()], &DetectorConfigs::default())?;
        let make = Box::new(move |shape: &[usize]| {
            Ok(match &kind {
                Kind::Null => Box::new(NullLearner) as Box<dyn Learner>,
                Kind::Real(config) => Box::new(LightClLearner::new(config.as_ref().clone(), shape, None)?),
            })
        });
        Operator::new(config, Encoder::new(columns, schema)?, detector, make)
    }
}

/// A commit: bytes of output, bytes of state, and how long it took.
#[derive(Clone, Copy)]
pub struct Commit {
    pub output_bytes: usize,
    pub state_bytes: usize,
    pub took: Duration,
}

/// When the first rows had come and the last ones, how many in all and in the first block, and the commits.
#[derive(Default)]
pub struct Seen {
    pub rows: Mutex<Option<(Instant, Instant, usize, usize)>>,
    pub commits: Mutex<Vec<Commit>>,
}

impl Seen {
    /// Rows so far.
    pub fn total(&self) -> usize {
        self.rows.lock().unwrap().map_or(0, |(_, _, rows, _)| rows)
    }

    /// Rows a second from the first on.
    pub fn rows_per_second(&self) -> f64 {
        let (first, last, rows, head) = self.rows.lock().unwrap().unwrap();
        (rows - head) as f64 / (last - first).as_secs_f64()
    }
}

impl Observer for Seen {
    fn pushed(&self, _: &str, _: Option<&Operator>, rows: usize, _: &[Output], elapsed: Duration) {
        let now = Instant::now();
        let mut seen = self.rows.lock().unwrap();
        let (first, _, total, head) = seen.unwrap_or((now - elapsed, now, 0, rows));
        if rows > 0 {
            *seen = Some((first, now, total + rows, head));
        }
    }

    fn committed(&self, _: &str, output_bytes: usize, state_bytes: usize, took: Duration) {
        self.commits.lock().unwrap().push(Commit { output_bytes, state_bytes, took });
    }
}

/// A job that reads a topic to its end.
pub struct Plan<'a> {
    pub topic: &'a str,
    /// A group and a model of its own.
    pub name: String,
    pub format: &'a FormatConfig,
    pub spec: Spec,
    /// Time between two checkpoints.
    pub checkpoint: Duration,
    /// Where predictions go, if there are any.
    pub predictions: Option<&'a str>,
}

impl Plan<'_> {
    /// Runs it; commits come every second.
    pub fn run(self, broker: &Broker, observer: Arc<dyn Observer>) {
        let connection = Connection { brokers: broker.bootstrap(), ..Connection::default() };
        let opened = self.format.clone();
        let spec = self.spec;
        let job = Job {
            source: SourceConfig {
                connection: connection.clone(),
                topics: Topics::Names(vec![self.topic.to_owned()]),
                group: self.name.clone(),
                instance: None,
                start: Start::Committed(OrElse::Error),
                until_end: true,
                format: self.format.clone(),
                max_wait: None,
            },
            target: Target::Kafka(SinkConfig {
                connection,
                delivery: Delivery::ExactlyOnce,
                topics: OutputTopics {
                    state: Some(STATE.into()),
                    predictions: self.predictions.map(str::to_owned),
                    ..OutputTopics::default()
                },
                prediction_format: ValueFormat::Json,
                registry: None,
                transactional_prefix: self.name.clone(),
                commit: Duration::from_secs(1),
                commit_bytes: 8 << 20,
                chunk_bytes: 512 << 10,
                claim_check: None,
            }),
            scope: Scope::Partition,
            checkpoints: CheckpointConfig { every_samples: 0, every: Some(self.checkpoint) },
            model_id: self.name,
            config_sha256: String::new(),
            fresh: false,
            open_format: Box::new(move || format::open(&opened)),
            make_operator: Arc::new(move |unit: &str, schema: &Schema| spec.operator(unit, schema)),
            stop: Arc::new(AtomicBool::new(false)),
            health: Arc::new(Health::new()),
            observer,
        };
        let finished = job.run().unwrap();
        assert!(finished.failed.is_empty(), "{:?}", finished.failed);
    }
}

/// Writes records into partition 0.
pub fn fill(broker: &Broker, topic: &str, records: usize, value: &dyn Fn(usize) -> Vec<u8>) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("compression.type", "lz4")
        .set("linger.ms", "20")
        .create()
        .unwrap();
    for number in 0..records {
        let value = value(number);
        while producer.send(BaseRecord::<str, [u8]>::to(topic).partition(0).payload(&value)).is_err() {
            producer.poll(Duration::from_millis(10));
        }
    }
    producer.flush(Duration::from_secs(60)).unwrap();
}

/// The number after an option of the command line.
pub fn option(name: &str) -> Option<usize> {
    word(name)?.parse().ok()
}

/// The word after an option of the command line.
pub fn word(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)
}

/// Whether an option is there.
pub fn flag(name: &str) -> bool {
    std::env::args().any(|argument| argument == name)
}
