//! The follower and retirement against a real broker.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{COMPACTED, connection, producer, read_all, snapshot, write};
use lightcl_core::Snapshot;
use lightcl_kafka::follower::{Followed, Follower, Wanted};
use lightcl_kafka::parts::Slots;
use lightcl_kafka::retire::{Retired, retire};
use lightcl_kafka::snapshot_topic::{retire_records, snapshot_records};
use lightcl_testkit::services::{self, Broker};
use rdkafka::Message;
use rdkafka::producer::Producer;
use std::time::{Duration, Instant};

const CHUNK: usize = 1000;

/// A frozen prefix that stays, and a suffix of another length in each version.
fn version(number: u64) -> Snapshot {
    let suffix = vec![number as u8; 1 + 7919 * number as usize % 9000];
    snapshot("m", number, &[("prefix", vec![7; 5000]), ("suffix", suffix)])
}

fn next(follower: &mut Follower) -> Followed {
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until {
        let mut news = follower.poll(Duration::from_millis(200)).unwrap();
        assert!(news.len() <= 1, "{news:?}");
        if let Some(found) = news.pop() {
            return found;
        }
    }
    panic!("nothing came");
}

fn expect_version(follower: &mut Follower, number: u64) {
    match next(follower) {
        Followed::Snapshot { snapshot, unit, published_ms } => {
            assert_eq!((*snapshot, unit.as_str()), (version(number), "u"));
            assert!(published_ms.is_some());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn snapshots_are_followed_through_chunks_damage_and_retirement() {
    if !services::ready_or_skipped() {
        return;
    }
    let broker = Broker::shared();
    let topic = "followed";
    broker.create_topic(topic, 2, COMPACTED);
    let producer = producer(broker, &[]);
    let mut slots = Slots::default();
    for number in 1..=3 {
        write(&producer, topic, &snapshot_records(&mut slots, "u", &version(number), CHUNK).unwrap());
    }
    let other = snapshot("other", 9, &[("suffix", vec![1; 3000])]);
    write(&producer, topic, &snapshot_records(&mut slots, "u", &other, CHUNK).unwrap());

    let wanted = Wanted { model_id: Some("m".into()), unit: None };
    let mut follower = Follower::open(&connection(broker), topic, wanted.clone()).unwrap();
    // Of what was there only the newest.
    expect_version(&mut follower, 3);
    assert!(follower.caught_up());
    for number in 4..=6 {
        let records = snapshot_records(&mut slots, "u", &version(number), CHUNK).unwrap();
        assert!(records.iter().all(|record| !record.key.contains("/prefix/")));
        write(&producer, topic, &records);
        let published = Instant::now();
        expect_version(&mut follower, number);
        assert!(published.elapsed() < Duration::from_secs(1), "{:?}", published.elapsed());
    }

    let mut damaged = snapshot_records(&mut slots, "u", &version(7), CHUNK).unwrap();
    damaged[0].value.as_mut().unwrap()[0] ^= 1;
    write(&producer, topic, &damaged);
    match next(&mut follower) {
        Followed::Rejected { error, .. } => assert!(error.message().contains("hash"), "{error}"),
        other => panic!("{other:?}"),
    }
    let lacking = snapshot_records(&mut slots, "u", &version(8), CHUNK).unwrap();
    write(&producer, topic, &lacking[1..]);
    match next(&mut follower) {
        Followed::Rejected { error, .. } => assert!(error.to_string().contains("suffix"), "{error}"),
        other => panic!("{other:?}"),
    }
    write(&producer, topic, &snapshot_records(&mut slots, "u", &version(9), CHUNK).unwrap());
    expect_version(&mut follower, 9);
    // One that reads everything anew finds the same.
    expect_version(&mut Follower::open(&connection(broker), topic, wanted.clone()).unwrap(), 9);

    write(&producer, topic, &retire_records(&mut slots, "m", "u"));
    match next(&mut follower) {
        Followed::Retired { model_id, unit } => assert_eq!((model_id.as_str(), unit.as_str()), ("m", "u")),
        other => panic!("{other:?}"),
    }
    let mut late = Follower::open(&connection(broker), topic, wanted).unwrap();
    assert!(late.poll(Duration::from_secs(2)).unwrap().is_empty());
    assert!(late.caught_up());
}

#[test]
fn a_compacted_topic_gives_the_newest_whole() {
    if !services::ready_or_skipped() {
        return;
    }
    let broker =
        Broker::start(&["--set", "log.cleaner.backoff.ms=100", "--set", "log.retention.check.interval.ms=500"]);
    let topic = "compacted";
    let settings = ["segment.ms=100", "min.cleanable.dirty.ratio=0.01", "delete.retention.ms=1"];
    broker.create_topic(topic, 1, &[COMPACTED, &settings].concat());
    let producer = producer(&broker, &[]);
    let mut slots = Slots::default();
    let mut live = Follower::open(&connection(&broker), topic, Wanted::default()).unwrap();
    let mut written = 0;
    for number in 1..=30 {
        let records = snapshot_records(&mut slots, "u", &version(number), CHUNK).unwrap();
        written += records.len();
        write(&producer, topic, &records);
        expect_version(&mut live, number);
        std::thread::sleep(Duration::from_millis(100));
        if number % 10 == 0 {
            let mut late = Follower::open(&connection(&broker), topic, Wanted::default()).unwrap();
            expect_version(&mut late, number);
        }
    }
    // Until the cleaner was there.
    let until = Instant::now() + Duration::from_secs(30);
    while read_all(&broker, topic, 1).len() > written / 2 {
        assert!(Instant::now() < until, "the topic is not compacted");
        std::thread::sleep(Duration::from_millis(500));
    }
    expect_version(&mut Follower::open(&connection(&broker), topic, Wanted::default()).unwrap(), 30);
    let left: Vec<_> = read_all(&broker, topic, 1);
    let prefixes = left.iter().filter(|message| message.key().is_some_and(|key| key.starts_with(b"m/u/prefix/")));
    assert_eq!(prefixes.count(), 5);
}

#[test]
fn what_a_transaction_took_back_is_not_seen() {
    if !services::ready_or_skipped() {
        return;
    }
    let broker = Broker::shared();
    let topic = "followed-transactions";
    broker.create_topic(topic, 1, COMPACTED);
    let producer = producer(broker, &[("transactional.id", "followed")]);
    let timeout = Duration::from_secs(20);
    producer.init_transactions(timeout).unwrap();
    let mut slots = Slots::default();
    let mut publish = |number: u64, commit: bool| {
        let before = slots.clone();
        producer.begin_transaction().unwrap();
        write(&producer, topic, &snapshot_records(&mut slots, "u", &version(number), CHUNK).unwrap());
        if commit {
            producer.commit_transaction(timeout).unwrap();
        } else {
            producer.abort_transaction(timeout).unwrap();
            slots = before;
        }
    };
    publish(1, true);
    let mut follower = Follower::open(&connection(broker), topic, Wanted::default()).unwrap();
    expect_version(&mut follower, 1);
    publish(2, false);
    assert!(follower.poll(Duration::from_millis(500)).unwrap().is_empty());
    publish(3, true);
    expect_version(&mut follower, 3);
    publish(4, true);
    expect_version(&mut follower, 4);
}

#[test]
fn a_model_is_retired_from_outside() {
    if !services::ready_or_skipped() {
        return;
    }
    let broker = Broker::shared();
    let topic = "retired";
    broker.create_topic(topic, 1, COMPACTED);
    let producer = producer(broker, &[]);
    let mut slots = Slots::default();
    for unit in ["u", "v"] {
        for number in 1..=3 {
            write(&producer, topic, &snapshot_records(&mut slots, unit, &version(number), CHUNK).unwrap());
        }
    }
    let gone = Retired { model_id: "m".into(), unit: Some("u".into()) };
    let count = retire(&connection(broker), topic, &gone).unwrap();
    assert!(count > 10, "{count}");
    assert_eq!(retire(&connection(broker), topic, &gone).unwrap(), 0);
    let written = read_all(broker, topic, 1);
    let tombstones = written.iter().filter(|message| message.payload().is_none());
    // Those that shorter versions left, too.
    assert!(tombstones.count() >= count as usize);
    let mut follower = Follower::open(&connection(broker), topic, Wanted::default()).unwrap();
    match next(&mut follower) {
        Followed::Snapshot { unit, .. } => assert_eq!(unit, "v"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_topic_that_is_not_there_is_named() {
    if !services::ready_or_skipped() {
        return;
    }
    let error = Follower::open(&connection(Broker::shared()), "nowhere", Wanted::default()).err().unwrap();
    assert!(error.to_string().contains("nowhere"), "{error}");
}
