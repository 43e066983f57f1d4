//! Samples from producers that no one here wrote: Kafka's own console, kcat, and Python's confluent-kafka with its Avro
//! serialiser.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "common/mod.rs"]
mod common;

use common::account::{Account, check_committed, job, row};
use common::jobs::{Stream, format_config};
use common::kcat;
use common::logs::logs;
use lightcl_kafka::format::{FormatConfig, FormatKind};
use lightcl_stream::encode::EncoderConfig;
use lightcl_testkit::services::{self, Broker, Registry};
use rdkafka::Message;
use std::path::PathBuf;
use std::process::Command;

const ROWS: usize = 300;
const PARTITIONS: i32 = 2;

/// Rows as JSON, a line each, one of which is cut off.
fn lines(key: &str, separator: &str) -> String {
    let line = |number: usize| {
        let (x, y, label) = row(number);
        let value = format!("{{\"x\": {x}, \"y\": {y}, \"label\": {label}}}");
        let value = if number == 123 { &value[..20] } else { &value };
        let key = if key.is_empty() { String::new() } else { format!("{key}-{number}{separator}") };
        format!("{key}{value}\n")
    };
    (0..ROWS).map(line).collect()
}

/// Runs a job over all, and accounts for every record.
fn account(broker: &Broker, stream: &Stream, format: FormatConfig, dead: usize) -> Account {
    let mut columns = EncoderConfig::new(["x", "y"], "label");
    columns.id = Some("kafka.key".into());
    let mut format = format;
    format.columns.push("kafka.key".into());
    format.exact.push("kafka.key".into());
    let finished = job(stream, format, columns).run().unwrap();
    assert!(finished.failed.is_empty(), "{finished:?}");
    check_committed(broker, stream);
    let account = Account::of(broker, stream);
    assert_eq!(account.inputs.len(), ROWS);
    account.check(|_| 1);
    assert_eq!(account.dead.len(), dead);
    // Keys are ids.
    for input in &account.inputs {
        let found = account.predictions.get(&(input.partition(), input.offset()));
        if let (Some(found), Some(key)) = (found, input.key()) {
            assert_eq!(found[0]["id"].as_str().unwrap().as_bytes(), key);
        }
    }
    account
}

#[test]
fn the_console_producer_of_kafka() {
    if !services::ready_or_skipped() {
        return;
    }
    logs();
    let broker = Broker::shared();
    let stream = Stream::create(broker, "console", PARTITIONS);
    let bootstrap = broker.bootstrap();
    let mut arguments = vec!["--bootstrap-server", &bootstrap, "--topic", "console"];
    for property in ["parse.key=true", "key.separator=|"] {
        arguments.extend(["--reader-property", property]);
    }
    let output = services::tool_with_input("ConsoleProducer", &arguments, &lines("console", "|"));
    assert!(output.status.success(), "{output:?}");
    let account = account(broker, &stream, format_config(), 1);
    assert_eq!(account.dead.values().next().unwrap()[0].key(), Some(b"console-123".as_slice()));
}

#[test]
fn kcat_without_keys_and_with_headers() {
    if !services::ready_or_skipped() {
        return;
    }
    logs();
    let broker = Broker::shared();
    let stream = Stream::create(broker, "kcat", 1);
    if kcat(broker, "kcat", &[b"-H", b"source=kcat", b"-z", b"snappy"], &lines("", "")) {
        account(broker, &stream, format_config(), 1);
    }
}

/// Rows by the serialiser of confluent-kafka; three are the framing only.
const PYTHON: &str = r#"
import json, sys
from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext, StringSerializer

bootstrap, registry, topic = sys.argv[1:]
schema = json.dumps({"type": "record", "name": "Point", "namespace": "test", "fields": [
    {"name": "x", "type": "double"}, {"name": "y", "type": ["null", "double"], "default": None},
    {"name": "label", "type": "long"}, {"name": "tags", "type": {"type": "map", "values": "string"}}]})
serialize = AvroSerializer(SchemaRegistryClient({"url": registry}), schema)
producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "compression.type": "gzip"})
for number, line in enumerate(sys.stdin):
    row = json.loads(line)
    row["tags"] = {"number": str(number)}
    value = serialize(row, SerializationContext(topic, MessageField.VALUE))
    key = StringSerializer("utf_8")("python-%d" % number)
    producer.produce(topic, key=key, value=value[:5] if number % 100 == 7 else value, headers=[("n", b"\xff")])
    producer.poll(0)
assert producer.flush(30) == 0
"#;

/// A Python with confluent-kafka: that of LIGHTCL_PYTHON, or the one that `tests/kafka/fetch clients` makes.
fn python() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let python =
        std::env::var_os("LIGHTCL_PYTHON").map_or_else(|| cache.join("lightcl/python/bin/python"), PathBuf::from);
    let has = |python: &PathBuf| {
        let import = "import confluent_kafka, confluent_kafka.schema_registry.avro";
        Command::new(python).args(["-c", import]).output().is_ok_and(|output| output.status.success())
    };
    if has(&python) {
        return Some(python);
    }
    let message =
        format!("{} has no confluent-kafka[avro,schemaregistry]; tests/kafka/fetch clients", python.display());
    assert!(std::env::var_os("LIGHTCL_KAFKA_REQUIRED").is_none(), "{message}");
    println!("skipped: {message}");
    None
}

#[test]
fn the_avro_serialiser_of_python_with_a_registry() {
    if !services::ready_or_skipped() {
        return;
    }
    logs();
    let Some(python) = python() else { return };
    let (broker, registry) = (Broker::shared(), Registry::start(&[]));
    let stream = Stream::create(broker, "python", PARTITIONS);
    let script = std::env::temp_dir().join(format!("lightcl-producer-{}.py", std::process::id()));
    std::fs::write(&script, PYTHON).unwrap();
    let mut command = Command::new(python);
    command.arg(&script).args([&broker.bootstrap(), &registry.url(), "python"]);
    let mut child = command.stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let lines = lines("", "");
    let whole = lines.lines().enumerate().map(|(number, line)| {
        let line = if number == 123 { r#"{"x": 1.0, "y": null, "label": 0}"# } else { line };
        format!("{line}\n")
    });
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), whole.collect::<String>().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    std::fs::remove_file(&script).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let format = FormatConfig { kind: FormatKind::Avro, registry: Some(registry.url()), ..format_config() };
    // One row has no y, and of three only the frame came.
    let account = account(broker, &stream, format, 4);
    let dead: Vec<&[u8]> = account.dead.values().map(|letters| letters[0].key().unwrap()).collect();
    for number in [7, 107, 123, 207] {
        assert!(dead.contains(&format!("python-{number}").as_bytes()), "{number}");
    }
}
