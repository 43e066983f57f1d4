//! Claim checks and predictions as Avro against a real broker and a real schema registry.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use apache_avro::types::Value as Avro;
use apache_avro::{Schema, from_avro_datum};
use common::jobs::{Stream, check, produce};
use common::logs::logs;
use common::{connection, producer, read_all};
use lightcl_kafka::claims::{ClaimStore, Claims};
use lightcl_kafka::config::{ClaimCheck, RegistryAddress, Scope, ValueFormat};
use lightcl_kafka::follower::{Followed, Follower, Wanted};
use lightcl_kafka::retire::{Retired, retire, retire_objects};
use lightcl_kafka::{Job, Target};
use lightcl_testkit::services::{self, Broker, Registry};
use rdkafka::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const ROWS: usize = 4000;
const ABOVE: usize = 60;

fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path => drop(found.insert(path)),
        }
    }
    found
}

fn claim_check(folder: &Path) -> ClaimCheck {
    ClaimCheck { store: format!("file://{}", folder.display()), above_bytes: ABOVE }
}

fn claiming(stream: &Stream, folder: &Path) -> Job {
    let mut job = stream.job();
    let Target::Kafka(sink) = &mut job.target else { panic!("a job with a sink") };
    sink.claim_check = Some(claim_check(folder));
    job
}

/// Chunks of weights or states in a topic, but for those of parts that are small.
fn chunks(broker: &Broker, topic: &str, partitions: i32) -> Vec<String> {
    let keys = read_all(broker, topic, partitions)
        .into_iter()
        .filter(|message| message.payload().is_some_and(|value| value.len() > ABOVE));
    let keys = keys.map(|message| String::from_utf8(message.key().unwrap().to_vec()).unwrap());
    keys.filter(|key| lightcl_kafka::parts::parse_chunk_key(key).is_some()).collect()
}

/// What every part may leave: the newest and the one before.
fn check_parts(folder: &Path) {
    let mut parts: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for file in files(folder) {
        *parts.entry(file.parent().unwrap().to_owned()).or_default() += 1;
    }
    assert!(!parts.is_empty() && parts.values().all(|count| *count <= 2), "{parts:?}");
}

#[test]
fn states_and_models_stand_in_a_folder_and_come_back_from_it() {
    if !services::ready_or_skipped() {
        return;
    }
    logs();
    let metrics = metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder().unwrap();
    let broker = Broker::shared();
    let stream = Stream::create(broker, "claimed", 2);
    let folder = tempfile::tempdir().unwrap();
    produce(&producer(broker, &[]), &stream, 0, ROWS, 2 * ROWS);
    // The first half is stopped at the end, and not finished: the second goes on from its state.
    let running = common::account::Running::start(claiming(&stream, folder.path()));
    common::account::wait_until("the first half is read", || {
        let ends = common::admin::committed(&broker.admin(), &stream.source().group, &stream.name, 2);
        ends.iter().all(|end| *end == Some(ROWS as i64))
    });
    running.stop();
    check_parts(folder.path());
    // What a commit that never came to be left behind goes with the next restore.
    let state =
        files(folder.path()).into_iter().find(|file| file.starts_with(folder.path().join("claimed.state"))).unwrap();
    let orphan = state.with_file_name("ab".repeat(32));
    std::fs::write(&orphan, b"orphan").unwrap();
    let old = SystemTime::now() - Duration::from_secs(7200);
    for file in files(folder.path()) {
        std::fs::File::options().append(true).open(file).unwrap().set_modified(old).unwrap();
    }
    produce(&producer(broker, &[]), &stream, ROWS, ROWS, 2 * ROWS);
    let finished = claiming(&stream, folder.path()).run().unwrap();
    check(broker, &stream, &finished);
    assert!(!orphan.exists());
    check_parts(folder.path());
    for topic in ["state", "snapshots"] {
        assert!(chunks(broker, &stream.topic(topic), 2).is_empty(), "{topic}");
    }
    let shown = metrics.render();
    let value = |name: &str| -> f64 {
        let found = shown.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        found.unwrap_or_else(|| panic!("no {name}: {shown}")).parse().unwrap()
    };
    assert!(value("lightcl_kafka_transactions_total{outcome=\"committed\"}") > 4.0);
    assert!(value("lightcl_kafka_transaction_seconds_count{outcome=\"committed\"}") > 4.0);
    assert_eq!(value("lightcl_kafka_restore_progress{unit=\"claimed-1\"}"), 1.0);
    for name in ["output", "state", "claim"] {
        assert!(value(&format!("lightcl_kafka_{name}_bytes_total")) > 1000.0, "{name}");
    }
    follow_and_retire(broker, &stream, folder.path());
}

fn follow_and_retire(broker: &Broker, stream: &Stream, folder: &Path) {
    let topic = stream.topic("snapshots");
    let claims = Claims::new(&Arc::new(ClaimStore::open(&claim_check(folder)).unwrap()), &topic);
    let follow = |claims: Option<Claims>| {
        let mut follower = Follower::open_with(&connection(broker), &topic, Wanted::default(), claims).unwrap();
        let mut found = Vec::new();
        for _ in 0..50 {
            found.extend(follower.poll(Duration::from_millis(200)).unwrap());
            if follower.caught_up() && found.len() >= 2 {
                break;
            }
        }
        found
    };
    let found = follow(Some(claims));
    assert!(found.len() == 2 && found.iter().all(|news| matches!(news, Followed::Snapshot { .. })), "{found:?}");
    // Without the store it is said what lacks.
    for news in follow(None) {
        let Followed::Rejected { error, .. } = news else { panic!("{news:?}") };
        assert!(error.to_string().contains("sink.claim_check"), "{error}");
    }
    let retired = Retired { model_id: "model".into(), unit: Some("claimed-0".into()) };
    assert!(retire(&connection(broker), &topic, &retired).unwrap() > 0);
    assert!(retire_objects(&claim_check(folder), &topic, &retired).unwrap() > 0);
    let left = files(&folder.join(&topic));
    assert!(!left.is_empty() && left.iter().all(|file| file.starts_with(folder.join(&topic).join("model/claimed-1"))));
}

#[test]
fn learners_of_keys_are_parked_in_a_folder() {
    if !services::ready_or_skipped() {
        return;
    }
    logs();
    let broker = Broker::shared();
    let folder = tempfile::tempdir().unwrap();
    let mut outputs = Vec::new();
    for (name, claims) in [("keys-claimed", true), ("keys-in-topic", false)] {
        let stream = Stream::create(broker, name, 1);
        for half in 0..2 {
            produce(&producer(broker, &[]), &stream, half * ROWS, ROWS, 2 * ROWS);
            let mut job = if claims { claiming(&stream, folder.path()) } else { stream.job() };
            job.scope = Scope::Key { most_learners: 2 };
            let finished = job.run().unwrap();
            assert!(finished.failed.is_empty());
        }
        let predictions = read_all(broker, &stream.topic("predictions"), 1).into_iter().map(|message| {
            let mut value: serde_json::Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
            value["unit"] = value["unit"].as_str().unwrap().replace(name, "").into();
            value["source_topic"] = "".into();
            (value["source_offset"].as_u64().unwrap(), value)
        });
        outputs.push(predictions.collect::<BTreeMap<_, _>>());
        assert_eq!(chunks(broker, &stream.topic("state"), 1).is_empty(), claims);
    }
    // A learner that is parked with what it has just given goes on in the other slot all the same.
    let mut before: BTreeMap<Vec<u8>, (String, String)> = BTreeMap::new();
    for message in read_all(broker, "keys-in-topic.snapshots", 1) {
        let Some(key) = message.key().filter(|key| key.ends_with(b"/manifest")) else { continue };
        let manifest: serde_json::Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
        let part = &manifest["parts"]["suffix"];
        let now = (part["sha256"].as_str().unwrap().to_owned(), part["slot"].as_str().unwrap().to_owned());
        if let Some((sha256, slot)) = before.insert(key.to_vec(), now.clone()) {
            assert_eq!(slot == now.1, sha256 == now.0, "{}", String::from_utf8_lossy(key));
        }
    }
    assert_eq!(before.len(), 5);
    assert!(outputs[0].len() > ROWS && outputs[0] == outputs[1]);
    check_parts(folder.path());
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    if !services::ready_or_skipped() {
        return;
    }
    let broker = Broker::shared();
    let stream = Stream::create(broker, "unclaimed", 1);
    let folder = tempfile::tempdir().unwrap();
    let error = claiming(&stream, &folder.path().join("nowhere")).run().unwrap_err().to_string();
    assert!(error.contains("sink.claim_check.store is not there") && error.contains("nowhere"), "{error}");
}

const PYTHON: &str = r#"
import json, sys
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

bootstrap, registry, topic = sys.argv[1:]
read = AvroDeserializer(SchemaRegistryClient({"url": registry}))
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "python", "enable.partition.eof": True})
consumer.assign([TopicPartition(topic, 0, 0)])
while True:
    message = consumer.poll(20)
    assert message is not None
    if message.error():
        break
    print(json.dumps(read(message.value(), SerializationContext(topic, MessageField.VALUE))))
"#;

/// A Python with confluent-kafka, where there is one.
fn python() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/lightcl/python/bin/python"));
    let python = std::env::var_os("LIGHTCL_PYTHON").map(PathBuf::from).or(home)?;
    let import = "import confluent_kafka, confluent_kafka.schema_registry.avro";
    let found = Command::new(&python).args(["-c", import]).output().is_ok_and(|output| output.status.success());
    if !found {
        println!("skipped: no Python with confluent-kafka[avro,schemaregistry]; LIGHTCL_PYTHON names one");
    }
    found.then_some(python)
}

#[test]
fn predictions_as_avro_are_read_by_others() {
    if !services::ready_or_skipped() {
        return;
    }
    logs();
    let (broker, registry) = (Broker::shared(), Registry::start(&[]));
    let stream = Stream::create(broker, "avro-out", 1);
    produce(&producer(broker, &[]), &stream, 0, 900, 900);
    let avro_job = || {
        let mut job = stream.job();
        let Target::Kafka(sink) = &mut job.target else { panic!("a job with a sink") };
        sink.prediction_format = ValueFormat::Avro;
        sink.registry = Some(RegistryAddress { address: registry.url(), auth: None });
        job
    };
    avro_job().run().unwrap();
    // Another job finds the schema registered.
    produce(&producer(broker, &[]), &stream, 900, 100, 1000);
    avro_job().run().unwrap();
    let topic = stream.topic("predictions");
    let answer = ureq::get(format!("{}/subjects/{topic}-value/versions/latest", registry.url())).call().unwrap();
    let answer: serde_json::Value = serde_json::from_reader(answer.into_body().into_reader()).unwrap();
    assert_eq!(answer["version"], 1);
    let schema = Schema::parse_str(answer["schema"].as_str().unwrap()).unwrap();
    let mut ours: Vec<serde_json::Value> = Vec::new();
    for message in read_all(broker, &topic, 1) {
        let value = message.payload().unwrap();
        assert_eq!(value[0], 0);
        assert_eq!(u64::from(u32::from_be_bytes(value[1..5].try_into().unwrap())), answer["id"].as_u64().unwrap());
        let decoded: Avro = from_avro_datum(&schema, &mut &value[5..], None).unwrap();
        ours.push(decoded.try_into().unwrap());
    }
    assert_eq!(ours.len(), 998, "two rows of a thousand cannot be used");
    let last = ours.last().unwrap();
    assert_eq!((&last["source_topic"], &last["source_offset"]), (&"avro-out".into(), &999.into()));
    assert_eq!(last["unit"], "avro-out-0");
    assert!(last["predicted"].is_string() && last["probability"].as_f64().unwrap() > 0.0, "{last}");
    let Some(python) = python() else { return };
    let output =
        Command::new(python).args(["-c", PYTHON, &broker.bootstrap(), &registry.url(), &topic]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let theirs: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(theirs.len(), ours.len());
    for (theirs, ours) in theirs.into_iter().zip(ours) {
        // As text of a double, the last digit of a float may be read in two ways.
        let split = |mut value: serde_json::Value| (value["probability"].take().as_f64().map(|p| p as f32), value);
        assert_eq!(split(theirs), split(ours));
    }
}
