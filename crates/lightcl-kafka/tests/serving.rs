//! Scoring against a real broker, with a model that only knows its version.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use common::{COMPACTED, connection, producer, read_all, snapshot, write};
use lightcl_core::{Error, Position, PositionedBatch, RejectReason, Rejected, Result, RowFault, Snapshot, Stateful};
use lightcl_kafka::Health;
use lightcl_kafka::config::{
    Delivery, OrElse, OutputTopics, Scope, SinkConfig, SourceConfig, Start, Topics, ValueFormat,
};
use lightcl_kafka::format::{Format, FormatConfig, Rows, Tombstones};
use lightcl_kafka::parts::{Keyed, Slots};
use lightcl_kafka::records::RecordBlock;
use lightcl_kafka::serving::{Event, Scored, Scoring, Served, ServingConfig, serve};
use lightcl_kafka::snapshot_topic::snapshot_records;
use lightcl_testkit::services::{self, Broker};
use rdkafka::Message;
use rdkafka::message::{Headers, OwnedMessage};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Values as they are; `bad` cannot be read.
struct Plain;

impl Stateful for Plain {
    fn save(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }
    fn restore(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

impl Format for Plain {
    fn read(&mut self, block: &RecordBlock) -> Result<Rows> {
        let mut texts = StringBuilder::new();
        let (mut records, mut faults, mut skipped) = (Vec::new(), Vec::new(), 0);
        for (number, record) in block.iter().enumerate() {
            let Some(value) = record.value else {
                skipped += 1;
                continue;
            };
            if value == b"bad" {
                faults.push(RowFault { row: records.len(), message: "is bad".into(), payload: None });
            }
            texts.append_value(String::from_utf8_lossy(value));
            records.push(number);
        }
        let schema = Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8, true)]));
        let batch = RecordBatch::try_new(schema, vec![Arc::new(texts.finish()) as ArrayRef]).unwrap();
        Ok(Rows { batch, records, faults, skipped })
    }
}

struct Fake;

impl Scoring for Fake {
    type Model = u64;

    fn build(&self, snapshot: &Snapshot) -> Result<u64> {
        match snapshot.manifest.version {
            13 => Err(Error::user("an unlucky version")),
            version => Ok(version),
        }
    }

    fn score(&self, version: &u64, batch: &PositionedBatch, first_index: u64) -> Result<Vec<Result<Scored, Rejected>>> {
        let texts = batch.batch.column(0).as_string::<i32>();
        let row = |row: usize| match batch.faults.iter().find(|fault| fault.row == row) {
            None => Ok(Scored {
                id: Some(texts.value(row).to_owned()),
                predicted: Some(format!("v{version}")),
                ..Scored::default()
            }),
            Some(fault) => Err(Rejected {
                format: 1,
                index: first_index + row as u64,
                position: Position { partition: Arc::clone(&batch.partition), offset: batch.offset_of(row) },
                reason: RejectReason::Unreadable,
                column: None,
                message: fault.message.clone(),
                payload: String::new(),
            }),
        };
        Ok((0..batch.batch.num_rows()).map(row).collect())
    }
}

fn config(broker: &Broker, name: &str) -> ServingConfig {
    let topic = |what: &str| Some(format!("{name}-{what}"));
    let format = FormatConfig { columns: vec!["text".into()], tombstones: Tombstones::Skip, ..FormatConfig::default() };
    ServingConfig {
        source: SourceConfig {
            connection: connection(broker),
            topics: Topics::Names(vec![format!("{name}-in")]),
            group: name.to_owned(),
            instance: None,
            start: Start::Committed(OrElse::Error),
            until_end: false,
            max_wait: None,
            format,
        },
        sink: SinkConfig {
            connection: connection(broker),
            delivery: Delivery::AtLeastOnce,
            topics: OutputTopics {
                predictions: topic("out"),
                snapshots: topic("models"),
                dead_letters: topic("dead"),
                ..OutputTopics::default()
            },
            prediction_format: ValueFormat::Json,
            registry: None,
            transactional_prefix: name.to_owned(),
            commit: Duration::from_millis(200),
            commit_bytes: 1 << 20,
            chunk_bytes: 1000,
            claim_check: None,
        },
        scope: Scope::Partition,
        model_id: Some("m".into()),
    }
}

/// Runs `serve` while `during` does.
fn serving(config: &ServingConfig, during: impl FnOnce(&Mutex<Vec<String>>)) -> Served {
    let (stop, events) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        let running = scope.spawn(|| {
            serve(config, &Fake, &|_| Ok(Box::new(Plain)), &stop, &Health::new(), &|event: Event<'_>| {
                let text = match event {
                    Event::Waiting { .. } => "waiting".to_owned(),
                    Event::Loaded { unit, version, .. } => format!("{unit} v{version}"),
                    Event::Retired { unit, .. } => format!("{unit} retired"),
                    Event::Rejected { unit, error } => format!("{unit} rejected: {}", error.message()),
                    Event::Trouble { what, error } => format!("{what}: {error}"),
                };
                events.lock().unwrap().push(text);
            })
        });
        during(&events);
        stop.store(true, Ordering::Relaxed);
        running.join().unwrap().unwrap()
    })
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what}");
        thread::sleep(Duration::from_millis(20));
    }
    began.elapsed()
}

fn value(message: &OwnedMessage) -> Value {
    serde_json::from_slice(message.payload().unwrap()).unwrap()
}

#[test]
fn rows_are_scored_by_the_newest_model() {
    if !services::ready_or_skipped() {
        return;
    }
    let broker = Broker::shared();
    let config = config(broker, "serve");
    let [input, output, models, dead] = ["in", "out", "models", "dead"].map(|what| format!("serve-{what}"));
    broker.create_topic(&input, 2, &[]);
    broker.create_topic(&output, 1, &[]);
    broker.create_topic(&dead, 1, &[]);
    broker.create_topic(&models, 1, COMPACTED);
    let producer = producer(broker, &[]);
    let mut slots = Slots::default();
    let mut publish = |unit: &str, version: u64| {
        let snapshot = snapshot("m", version, &[("suffix", vec![version as u8; 4000])]);
        write(&producer, &models, &snapshot_records(&mut slots, unit, &snapshot, 1000).unwrap());
    };
    let send = |from: usize, to: usize| {
        let rows: Vec<Keyed> = (from..to)
            .map(|number| Keyed { key: format!("k{number}"), value: Some(number.to_string().into_bytes()) })
            .collect();
        write(&producer, &input, &rows);
    };
    let outputs = || read_all(broker, &output, 1);
    send(0, 100);
    let served = serving(&config, |events| {
        let has = |text: &str| events.lock().unwrap().iter().any(|event| event == text);
        until("it waits for a model", || has("waiting"));
        // Of another partition: the newest there is.
        publish("serve-in-1", 1);
        until("rows before the first model are scored by it", || outputs().len() == 100);
        publish("serve-in-0", 2);
        let delay = until("the model is in force", || has("serve-in-0 v2"));
        assert!(delay < Duration::from_secs(1), "{delay:?}");
        thread::sleep(Duration::from_millis(100));
        send(100, 200);
        until("rows are scored by the partition's own", || outputs().len() == 200);
        publish("serve-in-0", 13);
        until("a model of no use is said", || has("serve-in-0 rejected: an unlucky version"));
        let bad = Keyed { key: "k".into(), value: Some(b"bad".to_vec()) };
        write(&producer, &input, &[bad, Keyed::tombstone("k".into())]);
        send(200, 210);
        until("the rest is scored", || outputs().len() == 210);
    });
    assert_eq!(served, Served { scored: 210, rejected: 1, skipped: 1 });
    for (number, message) in outputs().iter().enumerate() {
        let found = value(message);
        let version = if number < 100 { 1 } else { 2 };
        let unit = if number < 100 { "serve-in-1" } else { "serve-in-0" };
        assert_eq!(found["model_version"], version, "{found}");
        assert_eq!(found["predicted"], format!("v{version}"), "{found}");
        assert_eq!((&found["model_unit"], &found["id"]), (&unit.into(), &number.to_string().into()), "{found}");
        assert_eq!((&found["source_topic"], &found["source_partition"]), (&"serve-in".into(), &0.into()));
        let offset = if number < 200 { number } else { number + 2 };
        assert_eq!((&found["source_offset"], &found["task"]), (&offset.into(), &3.into()), "{found}");
        assert_eq!(message.key().unwrap(), format!("k{number}").as_bytes());
    }
    let letters = read_all(broker, &dead, 1);
    assert_eq!((letters.len(), letters[0].payload()), (1, Some(&b"bad"[..])));
    let headers = letters[0].headers().unwrap();
    let header = |name: &str| {
        let found = headers.iter().find(|header| header.key == name).unwrap();
        str::from_utf8(found.value.unwrap()).unwrap().to_owned()
    };
    assert_eq!(
        ["source_topic", "source_offset", "reason", "message"].map(header),
        ["serve-in", "200", "unreadable", "is bad"]
    );

    // A clean stop leaves nothing to do again.
    send(210, 220);
    let served = serving(&config, |_| {
        until("it goes on", || outputs().len() >= 220);
    });
    assert_eq!(served.scored, 10);
    let ids: BTreeSet<String> = outputs().iter().map(|message| value(message)["id"].to_string()).collect();
    assert_eq!((ids.len(), outputs().len()), (220, 220));
}

#[test]
fn members_share_partitions_and_swaps_do_not_stall_them() {
    if !services::ready_or_skipped() {
        return;
    }
    let broker = Broker::shared();
    let mut config = config(broker, "share");
    // Partitions go over soon after a member comes.
    config.source.connection.properties.insert("heartbeat.interval.ms".into(), "200".into());
    broker.create_topic("share-in", 4, &[]);
    broker.create_topic("share-out", 1, &[]);
    broker.create_topic("share-dead", 1, &[]);
    broker.create_topic("share-models", 1, COMPACTED);
    let producer = producer(broker, &[("linger.ms", "0")]);
    let mut slots = Slots::default();
    let mut publish = |version: u64| {
        let snapshot = snapshot("m", version, &[("suffix", vec![version as u8; 4000])]);
        write(&producer, "share-models", &snapshot_records(&mut slots, "global", &snapshot, 1000).unwrap());
    };
    publish(1);
    let rows = 3000;
    let mut second = Served::default();
    let first = serving(&config, |_| {
        let mut sent = 0;
        let mut send = |count: usize| {
            for number in sent..sent + count {
                let text = number.to_string();
                let record = rdkafka::producer::BaseRecord::<str, str>::to("share-in").key(&text).payload(&text);
                producer.send(record.partition(number as i32 % 4)).map_err(|(error, _)| error).unwrap();
            }
            sent += count;
            rdkafka::producer::Producer::flush(&producer, Duration::from_secs(20)).unwrap();
        };
        send(1000);
        second = serving(&config, |_| {
            for version in 2..12 {
                publish(version);
                send(100);
                thread::sleep(Duration::from_millis(300));
            }
        });
        send(1000);
        until("all are scored", || read_all(broker, "share-out", 1).len() >= rows);
    });
    let found: Vec<Value> = read_all(broker, "share-out", 1).iter().map(value).collect();
    let ids: BTreeSet<String> = found.iter().map(|found| found["id"].to_string()).collect();
    assert_eq!(ids.len(), rows);
    // Both left the group in order: nothing was scored twice.
    assert_eq!((found.len() as u64, second.scored > 0), (first.scored + second.scored, true), "{first:?} {second:?}");
    assert_eq!(found.len(), rows);
    assert!(found.iter().all(|found| found["predicted"] == format!("v{}", found["model_version"])));
    // Rows of the end were scored by the last model.
    assert_eq!(found.last().unwrap()["model_version"], 11);
}

#[test]
fn a_topic_of_snapshots_that_is_not_there_ends_it() {
    if !services::ready_or_skipped() {
        return;
    }
    let broker = Broker::shared();
    let error = serve(
        &config(broker, "nothing"),
        &Fake,
        &|_| Ok(Box::new(Plain)),
        &AtomicBool::new(false),
        &Health::new(),
        &|_: Event<'_>| {},
    )
    .unwrap_err();
    assert!(error.to_string().contains("nothing-models"), "{error}");
}
