//! A day in the life of a job that reads Avro with a real schema registry: damaged values, unknown schemas, a registry that
//! is away, and schemas that change while the job runs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "common/mod.rs"]
mod common;

use apache_avro::types::Value as Avro;
use apache_avro::{Schema, to_avro_datum};
use common::account::{Account, Running, Sent, check_committed, job, row, send, wait_until};
use common::admin::{committed, members};
use common::jobs::{Stream, format_config, header};
use common::logs::logs;
use common::{producer, read_all, register};
use lightcl_kafka::Job;
use lightcl_kafka::format::{FormatConfig, FormatKind};
use lightcl_stream::encode::EncoderConfig;
use lightcl_testkit::services::{self, Broker, Proxy, Registry};
use log::Level;
use rdkafka::Message;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const POINT: &str = r#"{"type": "record", "name": "Point", "fields": [
    {"name": "x", "type": "double"}, {"name": "y", "type": "double"}, {"name": "note", "type": "string"},
    {"name": "label", "type": "int"}]}"#;

fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| Registry::start(&[]))
}

fn avro_job(stream: &Stream, registry: &str) -> Job {
    let format = FormatConfig { kind: FormatKind::Avro, registry: Some(registry.to_owned()), ..format_config() };
    job(stream, format, EncoderConfig::new(["x", "y"], "label"))
}

/// Behind the frame of the registry.
fn framed(id: u32, body: &[u8]) -> Sent {
    Sent::new([&[0], id.to_be_bytes().as_slice(), body].concat())
}

fn body(schema: &str, fields: Vec<(&str, Avro)>) -> Vec<u8> {
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    to_avro_datum(&Schema::parse_str(schema).unwrap(), Avro::Record(fields)).unwrap()
}

fn point(number: usize) -> Vec<u8> {
    let (x, y, label) = row(number);
    let note = Avro::String("é".into());
    let fields =
        vec![("x", Avro::Double(x)), ("y", Avro::Double(y)), ("note", note), ("label", Avro::Int(label as i32))];
    body(POINT, fields)
}

fn points(id: u32, numbers: std::ops::Range<usize>) -> Vec<Sent> {
    numbers.map(|number| framed(id, &point(number)).key(format!("key-{number}"))).collect()
}

/// Waits until each record so far has its output.
fn wait_for_outputs(broker: &Broker, stream: &Stream, records: usize) {
    wait_until(&format!("{records} records of {} are accounted for", stream.name), || {
        let outputs = ["predictions", "dead"].map(|output| read_all(broker, &stream.topic(output), 1).len());
        outputs.iter().sum::<usize>() >= records
    });
}

#[test]
fn damaged_values_and_unknown_schemas_are_dead_letters() {
    if !services::ready_or_skipped() {
        return;
    }
    logs();
    let (broker, registry) = (Broker::shared(), registry());
    let stream = Stream::create(broker, "avro-damaged", 1);
    let id = register(&registry.url(), "damaged-value", POINT);
    let whole = point(3);
    let mut records = points(id, 0..10);
    records[1] = Sent::new([&[7], id.to_be_bytes().as_slice(), &whole].concat()).key("magic").header("h", "v");
    records[3] = framed(id, &whole[..whole.len() - 9]).key("truncated");
    records[4] = framed(id, &[&whole[..], b"more"].concat());
    records[5] = Sent::new([0, 0, 0, 0, 1]);
    records[6] = framed(4_711_000, &whole).key("unknown");
    records[7] = Sent::new([0, 0]);
    records[8] = Sent::new([]);
    send(&producer(broker, &[]), &stream.name, 0, &records);
    let finished = avro_job(&stream, &registry.url()).run().unwrap();
    assert!(finished.failed.is_empty(), "{finished:?}");
    check_committed(broker, &stream);
    let account = Account::of(broker, &stream);
    account.check_once(&[1, 3, 4, 5, 6, 7, 8]);
    let parts = [
        (1, "found the byte 0x07 at the start of the value, expected a schema registry's frame"),
        (3, "ends within its body"),
        (4, "more bytes than its schema says"),
        (6, "the schema registry has no schema 4711000"),
        (7, "ends within its frame"),
        (8, "the value is empty"),
    ];
    for (offset, part) in parts {
        let (reason, message) = account.why(offset);
        assert!(reason == "unreadable" && message.contains(part), "{offset}: {message}");
    }
}

#[test]
fn a_job_waits_for_its_registry_as_a_member_of_its_group_and_loses_nothing() {
    if !services::ready_or_skipped() {
        return;
    }
    let logs = logs();
    let (broker, registry) = (Broker::shared(), registry());
    let stream = Stream::create(broker, "avro-waits", 1);
    let proxy = Proxy::start();
    let upstream = registry.url();
    let (host, path) = upstream.trim_start_matches("http://").split_once('/').unwrap();
    let address = format!("http://{}/{path}", proxy.forward("registry", host));
    let known = register(&registry.url(), "waits-value", POINT);
    let producer = producer(broker, &[]);
    let mut job = avro_job(&stream, &address);
    job.source.max_wait = Some(Duration::from_millis(100));
    let running = Running::start(job);
    send(&producer, &stream.name, 0, &points(known, 0..20));
    wait_for_outputs(broker, &stream, 20);
    let (_, member) = members(&broker.admin(), &stream.source().group);
    assert_eq!(member.len(), 1);

    proxy.cut("registry");
    // What is known is read without the registry.
    send(&producer, &stream.name, 0, &points(known, 20..40));
    wait_for_outputs(broker, &stream, 40);
    let other = register(&registry.url(), "waits-other-value", &POINT.replace("Point", "Other"));
    assert_ne!(other, known);
    send(&producer, &stream.name, 0, &points(other, 40..60));
    // For longer than the session lasts, which is 6 s.
    let since = Instant::now();
    wait_until("it says that it waits", || {
        logs.tell(Level::Warn, &["avro-waits-0", "does not answer", "trying again"])
    });
    std::thread::sleep(Duration::from_secs(8).saturating_sub(since.elapsed()));
    assert!(running.is_at_work());
    assert_eq!(committed(&broker.admin(), &stream.source().group, &stream.name, 1), [Some(40)]);
    assert_eq!(members(&broker.admin(), &stream.source().group), ("Stable".to_owned(), member));
    assert!(logs.find("avro-waits-0").iter().any(|line| line.contains(&address)), "it says whom it waits for");

    proxy.restore("registry");
    wait_for_outputs(broker, &stream, 60);
    // A job that is stopped while it waits ends soon, and the next one goes on.
    proxy.cut("registry");
    let third = register(&registry.url(), "waits-third-value", &POINT.replace("Point", "Third"));
    send(&producer, &stream.name, 0, &points(third, 60..80));
    wait_until("it waits again", || logs.find("avro-waits-0: reading records").len() > 1);
    let since = Instant::now();
    assert!(running.stop().stopped);
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    proxy.restore("registry");
    let finished = avro_job(&stream, &address).run().unwrap();
    assert!(finished.failed.is_empty(), "{finished:?}");
    check_committed(broker, &stream);
    let account = Account::of(broker, &stream);
    account.check_once(&[]);
    assert_eq!(account.inputs.len(), 80);
}

#[test]
fn schemas_may_gain_lose_and_rename_fields_while_a_job_runs() {
    if !services::ready_or_skipped() {
        return;
    }
    logs();
    let (broker, registry) = (Broker::shared(), registry());
    let stream = Stream::create(broker, "avro-evolves", 1);
    let producer = producer(broker, &[]);
    let mut job = avro_job(&stream, &registry.url());
    job.source.max_wait = Some(Duration::from_millis(100));
    let running = Running::start(job);
    let double = |name: &'static str| serde_json::json!({"name": name, "type": "double"});
    let label = serde_json::json!({"name": "label", "type": "int"});
    let renamed = serde_json::json!({"name": "abscissa", "aliases": ["x"], "type": "double"});
    let maybe = serde_json::json!({"name": "y", "type": ["null", "double"], "default": null});
    // In this order: the first; one that gains a field; one that loses a field that is not needed; one that renames; one that
    // lets a feature be left out; one that loses a feature; and the first again.
    let schemas: Vec<String> = [
        vec![double("x"), double("y"), double("note"), label.clone()],
        vec![double("gained"), double("x"), double("y"), double("note"), label.clone()],
        vec![double("x"), double("y"), label.clone()],
        vec![label.clone(), renamed, double("y")],
        vec![double("x"), maybe, label.clone()],
        vec![double("x"), label.clone()],
        vec![double("x"), double("y"), double("note"), label],
    ]
    .into_iter()
    .map(|fields| serde_json::json!({"type": "record", "name": "Evolving", "fields": fields}).to_string())
    .collect();
    let per_schema = 10;
    for (step, schema) in schemas.iter().enumerate() {
        let id = register(&registry.url(), &format!("evolves-{}", step % 6), schema);
        let parsed: serde_json::Value = serde_json::from_str(schema).unwrap();
        let value = |number: usize| {
            let (x, y, label) = row(number);
            let fields = parsed["fields"].as_array().unwrap().iter().map(|field| {
                let name = field["name"].as_str().unwrap();
                let value = match name {
                    "label" => Avro::Int(label as i32),
                    "y" if field["type"].is_array() && number.is_multiple_of(2) => Avro::Union(0, Box::new(Avro::Null)),
                    "y" if field["type"].is_array() => Avro::Union(1, Box::new(Avro::Double(y))),
                    "y" => Avro::Double(y),
                    "x" | "abscissa" => Avro::Double(x),
                    _ => Avro::Double(9e9),
                };
                (name, value)
            });
            framed(id, &body(schema, fields.collect()))
        };
        let records: Vec<Sent> = (step * per_schema..(step + 1) * per_schema).map(value).collect();
        send(&producer, &stream.name, 0, &records);
        // One after the other, so that each comes as news.
        if step % 2 == 0 {
            wait_for_outputs(broker, &stream, (step + 1) * per_schema);
        }
    }
    assert!(running.stop().failed.is_empty());
    check_committed(broker, &stream);
    let account = Account::of(broker, &stream);
    // Only rows without the feature cannot be learnt from.
    let dead: Vec<i64> = (40..60).filter(|offset| *offset >= 50 || offset % 2 == 0).collect();
    account.check_once(&dead);
    for offset in dead {
        assert_eq!(account.why(offset).0, "null_feature");
        assert_eq!(header(account.letter(offset), "column").as_deref(), Some("y"), "{}", account.inputs[0].offset());
    }
}
