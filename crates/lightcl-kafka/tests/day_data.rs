//! A day in the life of a job: records as they come, not as one would like them. None stops a job, none is lost, and each
//! that cannot be used is a dead letter that is the record as it came and says why.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "common/mod.rs"]
mod common;

use common::account::{Account, Sent, check_committed, job, operators, send};
use common::jobs::{Stream, block_of, format_config, header};
use common::logs::logs;
use common::{producer, read_all};
use lightcl_core::Output;
use lightcl_kafka::format::Tombstones;
use lightcl_kafka::{Job, Observer};
use lightcl_stream::Operator;
use lightcl_stream::encode::EncoderConfig;
use lightcl_testkit::services::{self, Broker};
use rdkafka::Message;
use rdkafka::message::Headers;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn json_job(stream: &Stream) -> Job {
    job(stream, format_config(), EncoderConfig::new(["x", "y"], "label"))
}

/// Runs a job to the end of its input, and gives what became of it.
fn run(broker: &Broker, stream: &Stream, job: Job) -> Account {
    let finished = job.run().unwrap();
    assert!(finished.failed.is_empty() && !finished.stopped, "{finished:?}");
    check_committed(broker, stream);
    Account::of(broker, stream)
}

#[test]
fn tombstones_are_dead_letters_or_passed_over_as_the_policy_says() {
    if !services::ready_or_skipped() {
        return;
    }
    logs();
    let broker = Broker::shared();
    let records =
        [Sent::row(0), Sent::tombstone().key("gone"), Sent::row(1), Sent::tombstone().header("h", "v"), Sent::tombstone()];
    for policy in [Tombstones::DeadLetter, Tombstones::Skip] {
        let stream = Stream::create(broker, &format!("tombstones-{policy:?}"), 1);
        send(&producer(broker, &[]), &stream.name, 0, &records);
        let mut format = format_config();
        format.tombstones = policy;
        let account = run(broker, &stream, job(&stream, format, EncoderConfig::new(["x", "y"], "label")));
        match policy {
            Tombstones::DeadLetter => {
                account.check_once(&[1, 3, 4]);
                let (reason, message) = account.why(1);
                assert_eq!(reason, "unreadable");
                assert!(message.contains("tombstone") && message.contains("source.tombstones"), "{message}");
            }
            Tombstones::Skip => {
                account.check(|input| usize::from(input.payload().is_some()));
                assert_eq!(account.dead.len(), 0);
            }
        }
    }
}

#[test]
fn a_record_of_2_mb_is_read_and_as_a_dead_letter_it_is_cut() {
    if !services::ready_or_skipped() {
        return;
    }
    logs();
    let broker = Broker::shared();
    let stream = Stream::create_with(broker, "large", 1, &["max.message.bytes=4000000"]);
    let padding = "z".repeat(2 << 20);
    let good = Sent::new(format!("{{\"x\": 1, \"padding\": \"{padding}\", \"y\": 2, \"label\": 1}}")).key("good");
    let garbage = Sent::new(vec![0xf5; 2 << 20]).key("garbage").header("trace", "abc");
    let records = [Sent::row(0), good, Sent::row(1), garbage, Sent::row(2)];
    send(&producer(broker, &[("message.max.bytes", "4000000")]), &stream.name, 0, &records);
    let account = run(broker, &stream, json_job(&stream));
    account.check_once(&[3]);
    assert_eq!(account.letter(3).payload().unwrap().len(), stream.sink().chunk_bytes);
    assert_eq!(header(account.letter(3), "value_bytes").as_deref(), Some("2097152"));
    assert!(account.why(3).1.contains("JSON"), "{:?}", account.why(3));
}

/// Lingers over the first rows.
struct Late(AtomicBool);

impl Observer for Late {
    fn pushed(&self, _: &str, _: Option<&Operator>, _: usize, _: &[Output], _: Duration) {
        if !self.0.swap(true, Ordering::Relaxed) {
            std::thread::sleep(Duration::from_secs(7));
        }
    }

    fn committed(&self, _: &str, _: usize, _: usize, _: Duration) {}
}

#[test]
fn records_dated_two_hours_ahead_are_read_and_lag_is_never_negative() {
    if !services::ready_or_skipped() {
        return;
    }
    logs();
    let metrics = metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder().unwrap();
    let broker = Broker::shared();
    let stream = Stream::create_with(broker, "ahead", 1, &["message.timestamp.after.max.ms=86400000"]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let ahead = |number| Sent { timestamp_ms: Some(now + 7_200_000), ..Sent::row(number) };
    let mut records: Vec<Sent> = (0..12_000).map(ahead).collect();
    records[11_000] = Sent { timestamp_ms: Some(now + 7_200_000), ..Sent::new("{") };
    send(&producer(broker, &[]), &stream.name, 0, &records);
    let mut job = json_job(&stream);
    job.observer = Arc::new(Late(AtomicBool::new(false)));
    let account = run(broker, &stream, job);
    account.check_once(&[11_000]);
    assert_eq!(header(account.letter(11_000), "source_timestamp"), Some((now + 7_200_000).to_string()));
    let shown = metrics.render();
    let gauge = |name: &str| -> f64 {
        let begin = format!("{name}{{partition=\"ahead-0\"}} ");
        let found = shown.lines().find_map(|line| line.strip_prefix(&begin));
        found.unwrap_or_else(|| panic!("no {name}: {shown}")).parse().unwrap()
    };
    // The reader was behind when it was looked at, and yet not by less than no time.
    assert!(gauge("lightcl_kafka_lag_records") > 0.0, "{shown}");
    assert_eq!(gauge("lightcl_kafka_lag_seconds"), 0.0);
}

#[test]
fn a_header_whose_name_is_not_utf_8_is_read_and_kept_in_another_form() {
    if !services::ready_or_skipped() {
        return;
    }
    logs();
    let broker = Broker::shared();
    let stream = Stream::create(broker, "names", 1);
    let odd = |value: &str| common::kcat(broker, &stream.name, &[b"-k", b"k", b"-H", b"\xff\xfename=v\xc3"], value);
    if !odd(r#"{"x": 1, "y": 2, "label": 0}"#) {
        return;
    }
    assert!(odd(r#"{"x": 1, "y": "#));
    send(&producer(broker, &[]), &stream.name, 0, &[Sent::row(1)]);
    let account = run(broker, &stream, json_job(&stream));
    account.check_once(&[1]);
    assert_eq!(account.letter(1).key(), Some(b"k".as_slice()));
    let first = account.letter(1).headers().unwrap().get(0);
    assert_eq!((first.key, first.value), ("\u{fffd}\u{fffd}name", Some(b"v\xc3".as_slice())));
}
