//! Rows a second of a whole job with a learner that does nothing, beside a bare consumer that does the same decoding, in one
//! run: JSON, Avro and Arrow. Starts a broker and a schema registry of its own.
//!
//! `cargo bench --profile dev -p lightcl-kafka --bench throughput -- [--records N] [--runs N] [--format NAME] [--smoke]`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark fails by panicking")]

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::Schema;
use lightcl_boundary::{DetectorConfigs, build};
use lightcl_core::{
    Embedding, LayerReport, LearnReport, Learner, LearnerSnapshot, Logits, Output, PartBytes, Result, Samples, Stateful,
};
use lightcl_kafka::config::{
    CheckpointConfig, Delivery, OrElse, OutputTopics, Scope, SinkConfig, SourceConfig, Start, Topics, ValueFormat,
};
use lightcl_kafka::format::{self, FormatConfig, FormatKind};
use lightcl_kafka::records::{NewRecord, RecordBlock};
use lightcl_kafka::{Connection, Health, Job, Observer, Target};
use lightcl_stream::encode::{Encoder, EncoderConfig};
use lightcl_stream::{Operator, OperatorConfig};
use lightcl_testkit::services::{self, Broker, Registry};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Number columns beside the label.
const COLUMNS: [&str; 8] = ["x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7"];
/// Rows in a record of Arrow.
const ARROW_ROWS: usize = 100;

/// Learns nothing and knows nothing, at once.
#[derive(Clone, Default)]
struct NullLearner;

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

fn make_operator(learner: &str, schema: &Schema) -> Result<Operator> {
    let config = OperatorConfig {
        probe_samples: 0,
        rollback_windows: 0,
        snapshot_at_end: false,
        ..OperatorConfig::new(learner)
    };
    let encoder = Encoder::new(EncoderConfig::new(COLUMNS, "label"), schema)?;
    let detector = build(&["never".to_owned()], &DetectorConfigs::default())?;
    Operator::new(config, encoder, detector, Box::new(|_: &[usize]| Ok(Box::new(NullLearner) as Box<dyn Learner>)))
}

/// When the first rows had come, the last ones, and how many.
#[derive(Default)]
struct Times(Mutex<Option<(Instant, Instant, usize, usize)>>);

impl Observer for Times {
    fn pushed(&self, _: &str, _: Option<&Operator>, rows: usize, _: &[Output], elapsed: Duration) {
        let now = Instant::now();
        let mut times = self.0.lock().unwrap();
        let (first, _, total, head) = times.unwrap_or((now - elapsed, now, 0, rows));
        if rows > 0 {
            *times = Some((first, now, total + rows, head));
        }
    }

    fn committed(&self, _: &str, _: usize, _: usize, _: Duration) {}
}

struct Case {
    name: &'static str,
    format: FormatConfig,
    rows_a_record: usize,
    value: Box<dyn Fn(usize) -> Vec<u8>>,
}

fn number(row: usize, column: usize) -> f64 {
    (row * 31 + column * 17) as f64 / 7.0
}

fn cases(registry: &str) -> Vec<Case> {
    let format = |kind| FormatConfig {
        kind,
        columns: COLUMNS.iter().map(|name| (*name).to_owned()).chain(["label".to_owned()]).collect(),
        exact: vec!["label".into()],
        registry: Some(registry.to_owned()),
        ..FormatConfig::default()
    };
    let fields: Vec<String> = COLUMNS.iter().map(|name| format!(r#"{{"name":"{name}","type":"double"}}"#)).collect();
    let schema = format!(
        r#"{{"type":"record","name":"Sample","fields":[{},{{"name":"label","type":"long"}}]}}"#,
        fields.join(",")
    );
    let body = serde_json::json!({ "schema": schema }).to_string();
    let answer = ureq::post(format!("{registry}/subjects/samples-value/versions"))
        .header("Content-Type", "application/json")
        .send(&body)
        .unwrap()
        .body_mut()
        .read_to_string()
        .unwrap();
    let id = serde_json::from_str::<serde_json::Value>(&answer).unwrap()["id"].as_u64().unwrap() as u32;
    vec![
        Case {
            name: "json",
            format: format(FormatKind::Json),
            rows_a_record: 1,
            value: Box::new(|row| {
                let fields: Vec<String> = COLUMNS
                    .iter()
                    .enumerate()
                    .map(|(column, name)| format!("\"{name}\":{}", number(row, column)))
                    .collect();
                format!("{{{},\"label\":{}}}", fields.join(","), row % 10).into_bytes()
            }),
        },
        Case {
            name: "avro",
            format: format(FormatKind::Avro),
            rows_a_record: 1,
            value: Box::new(move |row| {
                let mut bytes = vec![0];
                bytes.extend_from_slice(&id.to_be_bytes());
                (0..8).for_each(|column| bytes.extend_from_slice(&number(row, column).to_le_bytes()));
                bytes.push((row % 10 * 2) as u8);
                bytes
            }),
        },
        Case {
            name: "arrow",
            format: format(FormatKind::Arrow),
            rows_a_record: ARROW_ROWS,
            value: Box::new(|record| {
                let all = || record * ARROW_ROWS..(record + 1) * ARROW_ROWS;
                let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
                for (column, name) in COLUMNS.iter().enumerate() {
                    let values: Vec<f64> = all().map(|row| number(row, column)).collect();
                    columns.push((name, Arc::new(Float64Array::from(values))));
                }
                let labels: Vec<i64> = all().map(|row| row as i64 % 10).collect();
                columns.push(("label", Arc::new(Int64Array::from(labels))));
                let batch = RecordBatch::try_from_iter(columns).unwrap();
                let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
                writer.write(&batch).unwrap();
                writer.into_inner().unwrap()
            }),
        },
    ]
}

fn fill(broker: &Broker, topic: &str, records: usize, value: &dyn Fn(usize) -> Vec<u8>) {
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

/// Rows a second of a loop that polls, copies and decodes.
fn bare(broker: &Broker, topic: &str, format: &FormatConfig, rows: usize, records: usize) -> f64 {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("group.id", "bare")
        .set("enable.auto.commit", "false")
        .set("check.crcs", "true")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let mut reader = format::open(format).unwrap();
    let (mut read, mut started) = (0, None);
    let mut block = RecordBlock::new(topic, 0);
    while read < rows {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.unwrap();
        started.get_or_insert_with(Instant::now);
        block.push(NewRecord {
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            key: message.key(),
            value: message.payload(),
            headers: &[],
        });
        // The last records may not fill a block.
        if block.len() >= 1024 || block.bytes() >= 1 << 20 || message.offset() as usize + 1 == records {
            read += reader.read(&std::mem::replace(&mut block, RecordBlock::new(topic, 0))).unwrap().batch.num_rows();
        }
    }
    rows as f64 / started.unwrap().elapsed().as_secs_f64()
}

/// Rows a second of a job, from its first rows on.
fn job(broker: &Broker, topic: &str, format: &FormatConfig, number: usize) -> f64 {
    let times = Arc::new(Times::default());
    let connection = Connection { brokers: broker.bootstrap(), ..Connection::default() };
    let (opened, group) = (format.clone(), format!("{topic}-{number}"));
    let job = Job {
        source: SourceConfig {
            connection: connection.clone(),
            topics: Topics::Names(vec![topic.to_owned()]),
            group: group.clone(),
            instance: None,
            start: Start::Committed(OrElse::Error),
            until_end: true,
            format: format.clone(),
            max_wait: None,
        },
        target: Target::Kafka(SinkConfig {
            connection,
            delivery: Delivery::ExactlyOnce,
            topics: OutputTopics { state: Some("state".into()), ..OutputTopics::default() },
            prediction_format: ValueFormat::Json,
            registry: None,
            transactional_prefix: group.clone(),
            commit: Duration::from_secs(1),
            commit_bytes: 8 << 20,
            chunk_bytes: 512 << 10,
            claim_check: None,
        }),
        scope: Scope::Partition,
        checkpoints: CheckpointConfig { every_samples: 0, every: Some(Duration::from_secs(60)) },
        model_id: group,
        config_sha256: String::new(),
        fresh: false,
        open_format: Box::new(move || format::open(&opened)),
        make_operator: Arc::new(make_operator),
        stop: Arc::new(AtomicBool::new(false)),
        health: Arc::new(Health::new()),
        observer: Arc::clone(&times) as Arc<dyn Observer>,
    };
    job.run().unwrap();
    let (first, last, rows, head) = times.0.lock().unwrap().unwrap();
    (rows - head) as f64 / (last - first).as_secs_f64()
}

fn main() {
    let _ = env_logger::builder().format_timestamp_millis().try_init();
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<usize>().ok()
    };
    let smoke = arguments.iter().any(|argument| argument == "--smoke");
    let rows = value("--records").unwrap_or(if smoke { 50_000 } else { 1_000_000 });
    let runs = value("--runs").unwrap_or(if smoke { 1 } else { 3 });
    if !services::ready_or_skipped() {
        return;
    }
    let (broker, registry) = (Broker::start(&[]), Registry::start(&[]));
    broker.create_topic("state", 1, &["cleanup.policy=compact"]);
    println!("{rows} rows, best of {runs}");
    println!("{:8} {:>16} {:>16} {:>8}", "format", "bare rows/s", "job rows/s", "ratio");
    let only = arguments.iter().position(|argument| argument == "--format").and_then(|at| arguments.get(at + 1));
    for case in cases(&registry.url()).into_iter().filter(|case| only.is_none_or(|only| only == case.name)) {
        broker.create_topic(case.name, 1, &[]);
        let records = rows / case.rows_a_record;
        fill(&broker, case.name, records, &case.value);
        let (mut bare_best, mut job_best) = (0.0_f64, 0.0_f64);
        for run in 0..runs {
            bare_best = bare_best.max(bare(&broker, case.name, &case.format, rows, records));
            job_best = job_best.max(job(&broker, case.name, &case.format, run));
        }
        println!("{:8} {bare_best:>16.0} {job_best:>16.0} {:>8.2}", case.name, job_best / bare_best);
    }
}
