//! Records as a producer writes them, jobs that read them, and what became of each.

use super::admin::{committed, ends};
use super::jobs::{Stream, header};
use super::logs::logs;
use super::read_all;
use arrow_schema::Schema;
use lightcl_boundary::{DetectorConfigs, build};
use lightcl_core::{Learner, Result};
use lightcl_kafka::format::{self, FormatConfig};
use lightcl_kafka::{Finished, Job, OperatorFactory};
use lightcl_stream::encode::{Encoder, EncoderConfig};
use lightcl_stream::{Operator, OperatorConfig};
use lightcl_testkit::SoftmaxRegression;
use lightcl_testkit::services::Broker;
use rdkafka::Message;
use rdkafka::message::{Header, Headers, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A record to be written.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
    pub timestamp_ms: Option<i64>,
}

impl Sent {
    pub fn new(value: impl AsRef<[u8]>) -> Self {
        Sent { value: Some(value.as_ref().to_vec()), ..Sent::default() }
    }

    pub fn tombstone() -> Self {
        Sent::default()
    }

    /// Row `number` of two classes as JSON, with a key.
    pub fn row(number: usize) -> Self {
        let (x, y, label) = row(number);
        Sent::new(format!("{{\"x\": {x}, \"y\": {y}, \"label\": {label}}}")).key(format!("key-{number}"))
    }

    pub fn key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.key = Some(key.as_ref().to_vec());
        self
    }

    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }
}

/// Features and label of row `number`.
pub fn row(number: usize) -> (f64, f64, usize) {
    let label = number * 7 % 13 % 2;
    (label as f64 * 1.5 + (number * 37 % 101) as f64 / 101.0, (number * 53 % 97) as f64 / 97.0, label)
}

/// Writes records into a partition in order, and waits for them.
pub fn send(producer: &BaseProducer, topic: &str, partition: i32, records: &[Sent]) {
    for Sent { key, value, headers, timestamp_ms } in records {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition);
        record.key = key.as_deref();
        record.payload = value.as_deref();
        record.timestamp = *timestamp_ms;
        if !headers.is_empty() {
            let add = |all: OwnedHeaders, (name, value): &(String, Vec<u8>)| {
                all.insert(Header { key: name, value: Some(value) })
            };
            record.headers = Some(headers.iter().fold(OwnedHeaders::new(), add));
        }
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((error, back)) => {
                    assert_eq!(
                        error.rdkafka_error_code(),
                        Some(rdkafka::error::RDKafkaErrorCode::QueueFull),
                        "{error}"
                    );
                    record = back;
                    producer.poll(Duration::from_millis(20));
                }
            }
        }
    }
    producer.flush(Duration::from_secs(60)).unwrap();
}

/// A job that reads records so and takes these columns.
pub fn job(stream: &Stream, format: FormatConfig, columns: EncoderConfig) -> Job {
    let mut job = stream.job();
    job.source.format = format.clone();
    job.open_format = Box::new(move || format::open(&format));
    job.make_operator = operators(columns);
    job
}

/// Makes small operators of these columns.
pub fn operators(columns: EncoderConfig) -> Arc<OperatorFactory> {
    Arc::new(move |learner: &str, schema: &Schema| -> Result<Operator> {
        let config = OperatorConfig {
            batch_samples: 4,
            window_samples: 8,
            rollback_windows: 0,
            probe_samples: 4,
            stability_every_samples: 1000,
            snapshot_every_samples: 1000,
            emit_predictions: true,
            model_id: "model".into(),
            ..OperatorConfig::new(learner)
        };
        let detector = if columns.task.is_some() { "task_column" } else { "new_classes" };
        let detector = build(&[detector.to_owned()], &DetectorConfigs::default())?;
        let make = Box::new(|shape: &[usize]| Ok(Box::new(SoftmaxRegression::new(shape, 0.05)) as Box<dyn Learner>));
        Operator::new(config, Encoder::new(columns.clone(), schema)?, detector, make)
    })
}

/// A job at work on a thread of its own, which does not end by itself.
pub struct Running {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Finished>>,
}

impl Running {
    pub fn start(mut job: Job) -> Self {
        job.source.until_end = false;
        let stop = Arc::clone(&job.stop);
        Running { stop, thread: std::thread::spawn(move || job.run()) }
    }

    pub fn is_at_work(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Stops it cleanly.
    pub fn stop(self) -> Finished {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap().unwrap()
    }
}

/// Waits until something holds.
#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}; logged was:\n{}", logs().last(60).join("\n"));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What became of the records of a stream.
#[derive(Debug)]
pub struct Account {
    pub inputs: Vec<OwnedMessage>,
    /// By partition and offset.
    pub predictions: BTreeMap<(i32, i64), Vec<Value>>,
    pub dead: BTreeMap<(i32, i64), Vec<OwnedMessage>>,
}

impl Account {
    /// Reads all topics, and checks that dead letters are their records as they came, with reasons.
    pub fn of(broker: &Broker, stream: &Stream) -> Account {
        let inputs = read_all(broker, &stream.name, stream.partitions);
        let mut predictions: BTreeMap<_, Vec<Value>> = BTreeMap::new();
        for message in read_all(broker, &stream.topic("predictions"), stream.partitions) {
            let value: Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
            assert_eq!(value["source_topic"], stream.name.as_str());
            let partition = value["source_partition"].as_i64().unwrap() as i32;
            predictions.entry((partition, value["source_offset"].as_i64().unwrap())).or_default().push(value);
        }
        let mut dead: BTreeMap<_, Vec<OwnedMessage>> = BTreeMap::new();
        for letter in read_all(broker, &stream.topic("dead"), stream.partitions) {
            assert_eq!(header(&letter, "source_topic").as_ref(), Some(&stream.name));
            let number = |name: &str| header(&letter, name).unwrap().parse::<i64>().unwrap();
            let place = (number("source_partition") as i32, number("source_offset"));
            let input = inputs.iter().find(|input| (input.partition(), input.offset()) == place).unwrap();
            check_letter(&letter, input, stream.sink().chunk_bytes);
            dead.entry(place).or_default().push(letter);
        }
        Account { inputs, predictions, dead }
    }

    /// Each record led to so many predictions and dead letters together; those of none are passed over.
    #[track_caller]
    pub fn check(&self, outputs: impl Fn(&OwnedMessage) -> usize) {
        let mut counted = 0;
        for input in &self.inputs {
            let place = (input.partition(), input.offset());
            let found = self.predictions.get(&place).map_or(0, Vec::len) + self.dead.get(&place).map_or(0, Vec::len);
            assert_eq!(found, outputs(input), "record {place:?}");
            counted += found;
        }
        let all =
            self.predictions.values().map(Vec::len).sum::<usize>() + self.dead.values().map(Vec::len).sum::<usize>();
        assert_eq!(all, counted, "outputs of no record");
    }

    /// Each record has one prediction or one dead letter, and these are the dead ones of partition 0.
    #[track_caller]
    pub fn check_once(&self, dead: &[i64]) {
        self.check(|_| 1);
        let found: Vec<i64> = self.dead.keys().map(|(_, offset)| *offset).collect();
        assert_eq!(
            found,
            dead,
            "{:?}",
            self.dead.values().map(|letters| header(&letters[0], "message")).collect::<Vec<_>>()
        );
    }

    /// The dead letter of a record of partition 0.
    #[track_caller]
    pub fn letter(&self, offset: i64) -> &OwnedMessage {
        &self.dead.get(&(0, offset)).unwrap_or_else(|| panic!("no dead letter of {offset}"))[0]
    }

    /// Its reason and message.
    #[track_caller]
    pub fn why(&self, offset: i64) -> (String, String) {
        let letter = self.letter(offset);
        (header(letter, "reason").unwrap(), header(letter, "message").unwrap())
    }

    /// The prediction of a record of partition 0.
    #[track_caller]
    pub fn prediction(&self, offset: i64) -> &Value {
        &self.predictions.get(&(0, offset)).unwrap_or_else(|| panic!("no prediction of {offset}"))[0]
    }
}

/// The group has committed all that is in the topic.
#[track_caller]
pub fn check_committed(broker: &Broker, stream: &Stream) {
    let ends: Vec<Option<i64>> = ends(&broker.admin(), &stream.name, stream.partitions).into_iter().map(Some).collect();
    let committed = committed(&broker.admin(), &stream.source().group, &stream.name, stream.partitions);
    // Where nothing was written there is nothing to commit.
    for (committed, end) in committed.iter().zip(&ends) {
        assert!(committed == end || (committed.is_none() && *end == Some(0)), "{committed:?} of {end:?}");
    }
}

#[track_caller]
fn check_letter(letter: &OwnedMessage, input: &OwnedMessage, limit: usize) {
    let place = format!("{}-{}@{}", input.topic(), input.partition(), input.offset());
    assert_eq!(letter.key(), input.key(), "{place}");
    match (letter.payload(), input.payload()) {
        (Some(found), Some(value)) if value.len() > limit => {
            assert_eq!(found, &value[..limit], "{place}");
            assert_eq!(header(letter, "value_bytes"), Some(value.len().to_string()), "{place}");
        }
        (found, value) => {
            assert!(found == value, "{place}: {found:?}");
            assert_eq!(header(letter, "value_bytes"), None, "{place}");
        }
    }
    assert_eq!(header(letter, "source_timestamp"), input.timestamp().to_millis().map(|ms| ms.to_string()), "{place}");
    assert_eq!(header(letter, "unit"), Some(format!("{}-{}", input.topic(), input.partition())), "{place}");
    for name in ["reason", "message"] {
        assert!(header(letter, name).is_some_and(|text| !text.is_empty()), "{place}: no {name}");
    }
    // The client panics on names of headers that are no text; the test of these looks itself.
    let headers = |message: &OwnedMessage| -> Vec<(String, Option<Vec<u8>>)> {
        let all = message.headers().into_iter().flat_map(|headers| headers.iter());
        all.map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
    };
    if let Ok(wanted) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| headers(input))) {
        assert_eq!(headers(letter)[..wanted.len()], wanted, "{place}");
    }
}
