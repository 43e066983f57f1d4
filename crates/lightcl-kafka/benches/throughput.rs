//! Rows a second of a whole job, side by side in one run: with a learner that does nothing beside a bare consumer that does the
//! same decoding, and with a real learner beside the same operator fed from memory. JSON, Avro, and Arrow with 1, 10
//! and 100 rows in a record. Starts a broker and a schema registry of its own.
//!
//! `cargo bench --profile dev -p lightcl-kafka --bench throughput -- [--records N] [--learnt N] [--runs N] [--format NAME] [--smoke]`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark fails by panicking")]

mod common;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow_ipc::writer::StreamWriter;
use common::{Kind, Plan, STATE, Seen, Spec, fill, flag, option, word};
use lightcl_core::{PositionedBatch, RowOffsets};
use lightcl_kafka::Observer;
use lightcl_kafka::format::{self, FormatConfig, FormatKind};
use lightcl_kafka::records::{NewRecord, RecordBlock};
use lightcl_learner::{Backbone, LearnerConfig};
use lightcl_stream::encode::EncoderConfig;
use lightcl_testkit::services::{self, Broker, Registry};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Number columns beside the label.
const COLUMNS: [&str; 8] = ["x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7"];
#[derive(Clone)]
struct Case {
    name: &'static str,
    /// The topic of the rows that are learnt from.
    learnt: &'static str,
    format: FormatConfig,
    rows_a_record: usize,
    value: Arc<dyn Fn(usize) -> Vec<u8>>,
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
            learnt: "json-learnt",
            format: format(FormatKind::Json),
            rows_a_record: 1,
            value: Arc::new(|row| {
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
            learnt: "avro-learnt",
            format: format(FormatKind::Avro),
            rows_a_record: 1,
            value: Arc::new(move |row| {
                let mut bytes = vec![0];
                bytes.extend_from_slice(&id.to_be_bytes());
                (0..8).for_each(|column| bytes.extend_from_slice(&number(row, column).to_le_bytes()));
                bytes.push((row % 10 * 2) as u8);
                bytes
            }),
        },
        arrow(("arrow", "arrow-learnt"), format(FormatKind::Arrow), 1),
        arrow(("arrow-10", "arrow-10-learnt"), format(FormatKind::Arrow), 10),
        arrow(("arrow-100", "arrow-100-learnt"), format(FormatKind::Arrow), 100),
    ]
}

/// Records that each are a whole Arrow stream, of one row or of more.
fn arrow((name, learnt): (&'static str, &'static str), format: FormatConfig, rows_a_record: usize) -> Case {
    let value = move |record: usize| {
        let all = || record * rows_a_record..(record + 1) * rows_a_record;
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
    };
    Case { name, learnt, format, rows_a_record, value: Arc::new(value) }
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
fn job(broker: &Broker, case: &Case, learner: &Kind, name: String) -> f64 {
    let seen = Arc::new(Seen::default());
    let plan = Plan {
        topic: case.name,
        name,
        format: &case.format,
        spec: Spec::new(learner, columns()),
        checkpoint: Duration::from_secs(60),
        predictions: None,
    };
    plan.run(broker, Arc::clone(&seen) as Arc<dyn Observer>);
    seen.rows_per_second()
}

fn columns() -> EncoderConfig {
    EncoderConfig::new(COLUMNS, "label")
}

/// Rows a second of an operator that is given decoded rows.
fn from_memory(case: &Case, learner: &Kind, rows: usize) -> f64 {
    let mut reader = format::open(&case.format).unwrap();
    let mut batches = Vec::new();
    let records: Vec<usize> = (0..rows / case.rows_a_record).collect();
    for numbers in records.chunks(1024) {
        let mut block = RecordBlock::new(case.name, 0);
        for &number in numbers {
            let value = (case.value)(number);
            block.push(NewRecord {
                offset: number as i64,
                timestamp_ms: None,
                key: None,
                value: Some(&value),
                headers: &[],
            });
        }
        let read = reader.read(&block).unwrap();
        let offsets: Arc<[u64]> = read.records.iter().map(|&record| block.record(record).offset as u64).collect();
        batches.push(PositionedBatch {
            batch: read.batch,
            partition: case.name.into(),
            offsets: RowOffsets::Listed { next: offsets.last().map_or(0, |last| last + 1), offsets },
            faults: read.faults,
        });
    }
    let schema = batches[0].batch.schema();
    let mut operator = Spec::new(learner, columns()).operator("memory", &schema).unwrap();
    let started = Instant::now();
    for batch in &batches {
        operator.push(batch).unwrap();
    }
    rows as f64 / started.elapsed().as_secs_f64()
}

fn main() {
    let _ = env_logger::builder().format_timestamp_millis().try_init();
    let smoke = flag("--smoke");
    let rows = option("--records").unwrap_or(if smoke { 50_000 } else { 1_000_000 });
    let learnt = option("--learnt").unwrap_or(if smoke { 20_000 } else { 400_000 }).min(rows);
    let runs = option("--runs").unwrap_or(if smoke { 1 } else { 3 });
    if !services::ready_or_skipped() {
        return;
    }
    let (broker, registry) = (Broker::start(&[]), Registry::start(&[]));
    broker.create_topic(STATE, 1, &["cleanup.policy=compact"]);
    let real = Kind::Real(Box::new(LearnerConfig {
        backbone: Backbone::Mlp { hidden: vec![128; 4], frozen: 2 },
        batch_samples: 32,
        ..LearnerConfig::default()
    }));
    let only = word("--format");
    let kept = |case: &Case| only.as_ref().is_none_or(|only| only == case.name);
    let cases: Vec<Case> = cases(&registry.url()).into_iter().filter(kept).collect();

    println!("a learner that does nothing, {rows} rows, best of {runs}");
    println!("{:9} {:>16} {:>16} {:>8}", "format", "bare rows/s", "job rows/s", "ratio");
    for case in &cases {
        broker.create_topic(case.name, 1, &[]);
        let records = rows / case.rows_a_record;
        fill(&broker, case.name, records, &*case.value);
        let (mut bare_best, mut job_best) = (0.0_f64, 0.0_f64);
        for run in 0..runs {
            bare_best = bare_best.max(bare(&broker, case.name, &case.format, rows, records));
            job_best = job_best.max(job(&broker, case, &Kind::Null, format!("{}-null-{run}", case.name)));
        }
        println!("{:9} {bare_best:>16.0} {job_best:>16.0} {:>8.2}", case.name, job_best / bare_best);
    }

    println!("a learner 8-128x4-10, {learnt} rows in memory, best of {runs}");
    println!("{:9} {:>16} {:>16} {:>8}", "format", "memory rows/s", "job rows/s", "ratio");
    for case in &cases {
        let topic = Case { name: case.learnt, ..case.clone() };
        broker.create_topic(topic.name, 1, &[]);
        fill(&broker, topic.name, learnt / case.rows_a_record, &*case.value);
        let (mut memory_best, mut job_best) = (0.0_f64, 0.0_f64);
        for run in 0..runs {
            memory_best = memory_best.max(from_memory(case, &real, learnt));
            job_best = job_best.max(job(&broker, &topic, &real, format!("{}-real-{run}", case.name)));
        }
        println!("{:9} {memory_best:>16.0} {job_best:>16.0} {:>8.2}", case.name, job_best / memory_best);
    }
}
