//! What tests against a real broker share.

#![allow(dead_code, reason = "no test needs all of it")]

use lightcl_core::state::sha256_hex;
use lightcl_core::{Blob, BlobEntry, Manifest, Positions, Snapshot};
use lightcl_kafka::Connection;
use lightcl_kafka::parts::Keyed;
use lightcl_testkit::services::Broker;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::OwnedMessage;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::Duration;

pub mod account;
pub mod admin;
pub mod jobs;
pub mod logs;

pub const COMPACTED: &[&str] = &["cleanup.policy=compact"];

pub fn connection(broker: &Broker) -> Connection {
    Connection { brokers: broker.bootstrap(), ..Connection::default() }
}

pub fn producer(broker: &Broker, settings: &[(&str, &str)]) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap());
    settings.iter().for_each(|(name, value)| {
        config.set(*name, *value);
    });
    config.create().unwrap()
}

/// Writes records into partition 0 in order, and waits for them.
pub fn write(producer: &BaseProducer, topic: &str, records: &[Keyed]) {
    for Keyed { key, value } in records {
        let mut record = BaseRecord::<str, [u8]>::to(topic).key(key).partition(0);
        record.payload = value.as_deref();
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(20)).unwrap();
}

/// All committed records of a topic of `partitions` partitions, whatever the security and the ACLs of the broker.
pub fn read_all(broker: &Broker, topic: &str, partitions: i32) -> Vec<OwnedMessage> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.admin())
        .set("group.id", "reader")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (mut found, mut ended) = (Vec::new(), 0);
    while ended < partitions {
        match consumer.poll(Duration::from_secs(20)).expect("the broker answers") {
            Ok(message) => found.push(message.detach()),
            Err(KafkaError::PartitionEOF(_)) => ended += 1,
            Err(error) => panic!("{error}"),
        }
    }
    found
}

pub fn snapshot(model_id: &str, version: u64, blobs: &[(&str, Vec<u8>)]) -> Snapshot {
    let blobs: Vec<Blob> =
        blobs.iter().map(|(role, bytes)| Blob { role: (*role).to_owned(), bytes: Arc::new(bytes.clone()) }).collect();
    let entry = |blob: &Blob| BlobEntry {
        role: blob.role.clone(),
        sha256: sha256_hex(&blob.bytes),
        bytes: blob.bytes.len() as u64,
    };
    let manifest = Manifest {
        format: 1,
        model_id: model_id.into(),
        version,
        parent: None,
        task: 3,
        reason: "interval".into(),
        positions: Positions::default(),
        samples: 0,
        trained_samples: 0,
        steps: 0,
        prequential_accuracy: None,
        plasticity: None,
        stability: None,
        config_sha256: String::new(),
        learner: serde_json::Value::Null,
        encoder: serde_json::Value::Null,
        blobs: blobs.iter().map(entry).collect(),
    };
    Snapshot { manifest, blobs }
}

/// Writes one record into partition 0 with kcat, which takes names of headers of any bytes; false where there is no kcat.
pub fn kcat(broker: &Broker, topic: &str, options: &[&[u8]], value: &str) -> bool {
    use std::os::unix::ffi::OsStrExt;
    use std::process::{Command, Stdio};
    let mut command = Command::new("kcat");
    command.args(["-P", "-b", &broker.bootstrap(), "-t", topic, "-p", "0"]);
    command.args(options.iter().map(|option| std::ffi::OsStr::from_bytes(option)));
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        assert!(std::env::var_os("LIGHTCL_KAFKA_REQUIRED").is_none(), "there is no kcat");
        println!("skipped: there is no kcat");
        return false;
    };
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), value.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    true
}

/// Gives a schema registry a schema of Avro, and gives its number.
pub fn register(registry: &str, subject: &str, schema: &str) -> u32 {
    let body = serde_json::json!({ "schema": schema, "schemaType": "AVRO" }).to_string();
    let mut answer = ureq::post(format!("{registry}/subjects/{subject}/versions"))
        .header("Content-Type", "application/vnd.schemaregistry.v1+json")
        .send(body)
        .unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    answer["id"].as_u64().unwrap() as u32
}
