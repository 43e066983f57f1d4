//! Jobs with a small learner, and what they must lead to.

use super::admin::{Topic, create_topics};
use super::read_all;
use arrow_schema::Schema;
use lightcl_boundary::{DetectorConfigs, build};
use lightcl_core::state::sha256_hex;
use lightcl_core::{Learner, Output, PositionedBatch, Result, RowOffsets, Stateful};
use lightcl_kafka::config::{
    CheckpointConfig, Delivery, OrElse, OutputTopics, Scope, SinkConfig, SourceConfig, Start, Topics, ValueFormat,
};
use lightcl_kafka::format::{self, FormatConfig};
use lightcl_kafka::health::Health;
use lightcl_kafka::records::{Header, NewRecord, RecordBlock};
use lightcl_kafka::{Connection, Finished, Job, Observer, Target};
use lightcl_stream::encode::{Encoder, EncoderConfig};
use lightcl_stream::{Operator, OperatorConfig};
use lightcl_testkit::SoftmaxRegression;
use lightcl_testkit::services::Broker;
use rdkafka::Message;
use rdkafka::message::{Headers, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// A stream's topics, all beginning with its name.
#[derive(Clone)]
pub struct Stream {
    pub bootstrap: String,
    pub name: String,
    pub partitions: i32,
}

impl Stream {
    /// Makes the topics.
    pub fn create(broker: &Broker, name: &str, partitions: i32) -> Stream {
        Self::create_with(broker, name, partitions, &[])
    }

    /// Makes the topics, that of the input with settings of its own.
    pub fn create_with(broker: &Broker, name: &str, partitions: i32, settings: &[&str]) -> Stream {
        let stream = Stream { bootstrap: broker.bootstrap(), name: name.to_owned(), partitions };
        let outputs = ["predictions", "stability", "boundaries", "dead", "snapshots", "state"];
        let names = outputs.map(|output| (stream.topic(output), matches!(output, "snapshots" | "state")));
        let mut topics: Vec<Topic<'_>> = vec![(name, partitions, settings)];
        topics.extend(names.iter().map(|(name, compacted)| {
            let settings: &[&str] = if *compacted { super::COMPACTED } else { &[] };
            (name.as_str(), partitions, settings)
        }));
        create_topics(&broker.admin(), &topics);
        stream
    }

    pub fn topic(&self, output: &str) -> String {
        format!("{}.{output}", self.name)
    }

    pub fn connection(&self) -> Connection {
        let mut connection = Connection { brokers: self.bootstrap.clone(), ..Connection::default() };
        connection.properties.insert("session.timeout.ms".into(), "6000".into());
        connection
    }

    pub fn source(&self) -> SourceConfig {
        SourceConfig {
            connection: self.connection(),
            topics: Topics::Names(vec![self.name.clone()]),
            group: format!("{}-group", self.name),
            instance: None,
            start: Start::Committed(OrElse::Error),
            until_end: true,
            format: format_config(),
            max_wait: None,
        }
    }

    pub fn sink(&self) -> SinkConfig {
        let mut connection = self.connection();
        connection.properties.clear();
        SinkConfig {
            connection,
            delivery: Delivery::ExactlyOnce,
            topics: OutputTopics {
                predictions: Some(self.topic("predictions")),
                stability: Some(self.topic("stability")),
                boundaries: Some(self.topic("boundaries")),
                snapshots: Some(self.topic("snapshots")),
                dead_letters: Some(self.topic("dead")),
                state: Some(self.topic("state")),
            },
            prediction_format: ValueFormat::Json,
            registry: None,
            transactional_prefix: format!("{}-job", self.name),
            commit: Duration::from_millis(200),
            commit_bytes: 4 << 20,
            chunk_bytes: 4096,
            claim_check: None,
        }
    }

    pub fn job(&self) -> Job {
        let source = self.source();
        let format = source.format.clone();
        Job {
            source,
            target: Target::Kafka(self.sink()),
            scope: Scope::Partition,
            checkpoints: CheckpointConfig { every_samples: 3000, every: None },
            model_id: "model".into(),
            config_sha256: "configuration".into(),
            fresh: false,
            open_format: Box::new(move || format::open(&format)),
            make_operator: Arc::new(make_operator),
            stop: Arc::new(AtomicBool::new(false)),
            health: Arc::new(Health::new()),
            observer: Arc::new(Nobody),
        }
    }
}

pub struct Nobody;

impl Observer for Nobody {
    fn pushed(&self, _: &str, _: Option<&Operator>, _: usize, _: &[Output], _: Duration) {}
    fn committed(&self, _: &str, _: usize, _: usize, _: Duration) {}
}

pub fn format_config() -> FormatConfig {
    FormatConfig {
        columns: vec!["x".into(), "y".into(), "label".into()],
        exact: vec!["label".into()],
        ..FormatConfig::default()
    }
}

pub fn make_operator(learner: &str, schema: &Schema) -> Result<Operator> {
    let config = OperatorConfig {
        batch_samples: 8,
        window_samples: 32,
        rollback_windows: 2,
        probe_samples: 8,
        stability_every_samples: 1000,
        snapshot_every_samples: 2000,
        emit_predictions: true,
        model_id: "model".into(),
        ..OperatorConfig::new(learner)
    };
    let encoder = Encoder::new(EncoderConfig::new(["x", "y"], "label"), schema)?;
    let detector = build(&["new_classes".to_owned()], &DetectorConfigs::default())?;
    let make = Box::new(|shape: &[usize]| Ok(Box::new(SoftmaxRegression::new(shape, 0.05)) as Box<dyn Learner>));
    Operator::new(config, encoder, detector, make)
}

/// Row `number` of a stream: three tasks of two classes each by thirds of `total`, now and then a row that cannot be used.
pub fn row(number: usize, total: usize) -> String {
    let task = number * 3 / total.max(1);
    let class = number * 7 % 13 % 2;
    let x = task as f64 * 3.0 + class as f64 * 1.5 + (number * 37 % 101) as f64 / 101.0;
    let y = (number * 53 % 97) as f64 / 97.0 - task as f64;
    match number % 997 {
        500 => format!("{{\"x\": null, \"y\": {y}, \"label\": {}}}", task * 2 + class),
        700 => "{\"x\": 1.0, \"y\"".to_owned(),
        _ => format!("{{\"x\": {x}, \"y\": {y}, \"label\": {}}}", task * 2 + class),
    }
}

/// Writes `rows` rows into each partition, those from `first` on of `total`.
pub fn produce(producer: &BaseProducer, stream: &Stream, first: usize, rows: usize, total: usize) {
    for number in first..first + rows {
        for partition in 0..stream.partitions {
            let value = row(number + partition as usize, total);
            let key = format!("key-{}", number % 5);
            loop {
                let record = BaseRecord::<str, str>::to(&stream.name).key(&key).partition(partition).payload(&value);
                match producer.send(record) {
                    Ok(()) => break,
                    Err(_) => {
                        producer.poll(Duration::from_millis(20));
                    }
                }
            }
        }
    }
    // Brokers may be away meanwhile.
    while producer.in_flight_count() > 0 {
        let _ = producer.flush(Duration::from_secs(5));
    }
}

/// What a sequential run over the records of one partition leads to.
pub struct Expected {
    pub predictions: Vec<u64>,
    pub rejected: Vec<u64>,
    pub boundaries: usize,
    pub reports: usize,
    pub state_sha256: String,
}

/// Runs an operator over the committed records of a partition, in one go.
pub fn expected(stream: &Stream, messages: &[OwnedMessage], partition: i32, finish: bool) -> Expected {
    let mut operator = make_operator(&format!("{}-{partition}", stream.name), &null_schema()).unwrap();
    let mut format = format::open(&format_config()).unwrap();
    let mut outputs = Vec::new();
    let block = block_of(stream, messages, partition);
    let rows = format.read(&block).unwrap();
    let offsets: Arc<[u64]> = rows.records.iter().map(|&record| block.record(record).offset as u64).collect();
    let next = offsets.last().map_or(0, |last| last + 1);
    let batch = PositionedBatch {
        batch: rows.batch,
        partition: format!("{}-{partition}", stream.name).into(),
        offsets: RowOffsets::Listed { offsets, next },
        faults: rows.faults,
    };
    outputs.extend(operator.push(&batch).unwrap());
    if finish {
        outputs.extend(operator.finish().unwrap());
    }
    let mut found = Expected {
        predictions: Vec::new(),
        rejected: Vec::new(),
        boundaries: 0,
        reports: 0,
        state_sha256: sha256_hex(&operator.save().unwrap()),
    };
    for output in outputs {
        match output {
            Output::Prediction(prediction) => found.predictions.push(prediction.position.offset),
            Output::Rejected(letter) => found.rejected.push(letter.position.offset),
            Output::Boundary(_) => found.boundaries += 1,
            Output::Stability(_) => found.reports += 1,
            Output::Snapshot(_) => {}
        }
    }
    found
}

/// The columns of a stream before anything is known of them.
pub fn null_schema() -> Schema {
    let fields: Vec<_> = format_config()
        .columns
        .iter()
        .map(|column| arrow_schema::Field::new(column, arrow_schema::DataType::Null, true))
        .collect();
    Schema::new(fields)
}

pub fn block_of(stream: &Stream, messages: &[OwnedMessage], partition: i32) -> RecordBlock {
    let mut block = RecordBlock::new(stream.name.as_str(), partition);
    for message in messages.iter().filter(|message| message.partition() == partition) {
        let headers: Vec<(String, Option<Vec<u8>>)> = message
            .headers()
            .map(|headers| {
                headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
            })
            .unwrap_or_default();
        let headers: Vec<Header<'_>> =
            headers.iter().map(|(name, value)| Header { name: name.as_bytes(), value: value.as_deref() }).collect();
        block.push(NewRecord {
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            key: message.key(),
            value: message.payload(),
            headers: &headers,
        });
    }
    block
}

/// Checks that what is committed is what a sequential run over each partition gives, each output once.
pub fn check(broker: &Broker, stream: &Stream, finished: &Finished) {
    let inputs = read_all(broker, &stream.name, stream.partitions);
    let predictions = by_source(&read_all(broker, &stream.topic("predictions"), stream.partitions));
    let dead = dead_by_source(&read_all(broker, &stream.topic("dead"), stream.partitions));
    let boundaries = by_source(&read_all(broker, &stream.topic("boundaries"), stream.partitions));
    let reports = read_all(broker, &stream.topic("stability"), stream.partitions);
    for partition in 0..stream.partitions {
        let expected = expected(stream, &inputs, partition, true);
        let name = format!("{}-{partition}", stream.name);
        same(&format!("{name}: predictions"), predictions.get(&partition), &expected.predictions);
        same(&format!("{name}: dead letters"), dead.get(&partition), &expected.rejected);
        assert_eq!(boundaries.get(&partition).map_or(0, Vec::len), expected.boundaries, "{name}");
        let of_unit = |message: &&OwnedMessage| message.key() == Some(name.as_bytes());
        assert_eq!(reports.iter().filter(of_unit).count(), expected.reports, "{name}");
        let unit = finished.units.iter().find(|unit| unit.unit == name).expect("the unit has a report");
        let summary = unit.summary.as_ref().expect("one operator");
        assert_eq!(summary.state_sha256, expected.state_sha256, "{name}: the state differs from a sequential run");
    }
}

/// Checks that offsets are the expected ones, each once and in order.
pub fn same(what: &str, found: Option<&Vec<u64>>, expected: &[u64]) {
    let found = found.map_or(&[][..], Vec::as_slice);
    if found == expected {
        return;
    }
    let mut counts: BTreeMap<u64, i64> = BTreeMap::new();
    expected.iter().for_each(|offset| *counts.entry(*offset).or_default() -= 1);
    found.iter().for_each(|offset| *counts.entry(*offset).or_default() += 1);
    let missing: Vec<_> = counts.iter().filter(|(_, count)| **count < 0).map(|(offset, _)| *offset).collect();
    let surplus: Vec<_> = counts.iter().filter(|(_, count)| **count > 0).map(|(offset, _)| *offset).collect();
    let first = found.iter().zip(expected).position(|(found, expected)| found != expected);
    let shown = |offsets: &[u64]| format!("{} ({:?} ..)", offsets.len(), &offsets[..offsets.len().min(12)]);
    panic!(
        "{what}: {} of {} expected; missing {}; too many {}; the first that differs is number {first:?}",
        found.len(),
        expected.len(),
        shown(&missing),
        shown(&surplus)
    );
}

/// Offsets of the inputs that messages of JSON come from, by input partition.
pub fn by_source(messages: &[OwnedMessage]) -> BTreeMap<i32, Vec<u64>> {
    let mut found: BTreeMap<i32, Vec<u64>> = BTreeMap::new();
    for message in messages {
        let value: serde_json::Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
        let partition = value["source_partition"].as_i64().unwrap() as i32;
        found.entry(partition).or_default().push(value["source_offset"].as_u64().unwrap());
    }
    found
}

pub fn header(message: &OwnedMessage, name: &str) -> Option<String> {
    let headers = message.headers()?;
    let found = headers.iter().find(|header| header.key == name)?;
    found.value.map(|value| String::from_utf8_lossy(value).into_owned())
}

/// The same for dead letters, whose headers say it.
pub fn dead_by_source(messages: &[OwnedMessage]) -> BTreeMap<i32, Vec<u64>> {
    let mut found: BTreeMap<i32, Vec<u64>> = BTreeMap::new();
    for message in messages {
        let partition = header(message, "source_partition").unwrap().parse().unwrap();
        found.entry(partition).or_default().push(header(message, "source_offset").unwrap().parse().unwrap());
    }
    found
}
