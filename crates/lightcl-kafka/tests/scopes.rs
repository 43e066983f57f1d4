//! Who shares a learner: one a key, with most of them parked; one for all partitions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "common/mod.rs"]
mod common;
#[path = "common/ops.rs"]
mod ops;

use common::{producer, read_all};
use lightcl_boundary::{DetectorConfigs, build};
use lightcl_core::state::sha256_hex;
use lightcl_core::{BoundaryDetector, Observation, Output, Result, Stateful, Verdict};
use lightcl_kafka::config::Scope;
use lightcl_kafka::parts::{PartEntry, assemble};
use lightcl_kafka::{Finished, Job};
use lightcl_stream::encode::{Encoder, EncoderConfig};
use lightcl_stream::{Operator, OperatorConfig};
use lightcl_testkit::SoftmaxRegression;
use lightcl_testkit::services::{self, Broker};
use ops::{
    Process, Running, Watcher, answered, as_member, asked, create, error_of, kill_often, produce_into, sequential,
    sink_of, until, until_committed,
};
use rdkafka::Message;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(60);
const KEYS: usize = 40;
const MOST: usize = 4;

fn broker() -> Option<&'static Broker> {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    if !services::ready_or_skipped() {
        return None;
    }
    let _ = env_logger::builder().is_test(true).format_timestamp_millis().try_init();
    Some(BROKER.get_or_init(|| Broker::start(&["--set", "group.min.session.timeout.ms=1000"])))
}

fn keyed(job: &mut Job) {
    job.scope = Scope::Key { most_learners: MOST };
    job.checkpoints.every_samples = 400;
    as_member(job, "one");
    sink_of(job).commit = Duration::from_millis(50);
}

fn global(job: &mut Job) {
    job.scope = Scope::Global;
    job.checkpoints.every_samples = 2000;
    as_member(job, "one");
    sink_of(job).commit = Duration::from_millis(50);
}

/// A job in a process of its own, to be killed.
#[test]
#[ignore = "started by other tests"]
fn child() {
    let Some((kind, stream)) = ops::child() else { return };
    let _ = env_logger::builder().is_test(false).format_timestamp_millis().try_init();
    let mut job = stream.job();
    job.source.until_end = false;
    let mut watcher = Watcher { pause: Duration::from_millis(5), ..Watcher::default() };
    match kind.as_str() {
        "keyed" => keyed(&mut job),
        "keyed, soon" => {
            keyed(&mut job);
            job.checkpoints.every_samples = 0;
            job.source.max_wait = Some(Duration::from_millis(150));
        }
        "global" => {
            global(&mut job);
            let states = File::options().create(true).append(true).open(ops::child_path("CHILD_STATES")).unwrap();
            watcher.states = Some(Mutex::new(states));
        }
        "global, alone" => {
            global(&mut job);
            job.source.instance = None;
            job.source.connection.properties.insert("session.timeout.ms".into(), "17000".into());
        }
        kind => panic!("{kind}"),
    }
    job.observer = Arc::new(watcher);
    job.run().unwrap();
}

/// Hashes of the states that the state topic holds for the keys of each unit.
fn parked(broker: &Broker, stream: &common::jobs::Stream) -> BTreeMap<(i32, String), String> {
    let mut latest: HashMap<String, Option<Vec<u8>>> = HashMap::new();
    for message in read_all(broker, &stream.topic("state"), stream.partitions) {
        let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
        latest.insert(key, message.payload().map(<[u8]>::to_vec));
    }
    let mut found = BTreeMap::new();
    for (key, value) in &latest {
        let (Some(prefix), Some(value)) = (key.strip_suffix("/parked"), value) else { continue };
        let record: serde_json::Value = serde_json::from_slice(value).unwrap();
        let entry: PartEntry = serde_json::from_value(record["entry"].clone()).unwrap();
        let state = assemble(prefix, "state", &entry, &mut |key| latest.get(key).cloned().flatten()).unwrap();
        let unit = prefix.split('/').nth(1).unwrap();
        let partition = unit.rsplit('-').next().unwrap().parse().unwrap();
        found.insert((partition, record["key"].as_str().unwrap().to_owned()), sha256_hex(&state));
    }
    found
}

/// Counts those that live.
struct Counted(Box<dyn BoundaryDetector>, Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Stateful for Counted {
    fn save(&self) -> Result<Vec<u8>> {
        self.0.save()
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.restore(bytes)
    }
}

impl BoundaryDetector for Counted {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn observe(&mut self, observation: &Observation<'_>) -> Verdict {
        self.0.observe(observation)
    }

    fn reset(&mut self) {
        self.0.reset();
    }
}

/// Has operators counted: gives the highest number of them that ever lived at one time.
fn count_operators(job: &mut Job) -> Arc<AtomicUsize> {
    let (live, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let highest = Arc::clone(&most);
    job.make_operator = Arc::new(move |learner, schema| {
        let now = live.fetch_add(1, Ordering::Relaxed) + 1;
        most.fetch_max(now, Ordering::Relaxed);
        // As `common::jobs::make_operator`, which a sequential run uses.
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
        let detector = Counted(build(&["new_classes".to_owned()], &DetectorConfigs::default())?, Arc::clone(&live));
        let make = Box::new(|shape: &[usize]| {
            Ok(Box::new(SoftmaxRegression::new(shape, 0.05)) as Box<dyn lightcl_core::Learner>)
        });
        Operator::new(config, encoder, Box::new(detector), make)
    });
    highest
}

#[test]
fn learners_of_keys_equal_sequential_runs_over_their_rows_however_often_they_were_parked_and_killed() {
    let Some(broker) = broker() else { return };
    let stream = create(broker, "keys", 2, 2);
    let source = producer(broker, &[]);
    for partition in 0..2 {
        produce_into(&stream, &source, partition, 0..3000, KEYS);
    }
    for offset in [600, 1500, 2400] {
        let process = Process::start(&stream, "keyed", &[]);
        until_committed(&stream, "keys-group", &[offset; 2]);
        process.kill();
    }
    let mut job = stream.job();
    keyed(&mut job);
    let most = count_operators(&mut job);
    let finished = job.run().unwrap();
    assert!(finished.failed.is_empty());
    // One more for a moment: the one in whose place another comes, or one that is loaded to take its last figures.
    assert!(most.load(Ordering::Relaxed) <= 2 * (MOST + 1), "{most:?} operators at one time");
    let messages = read_all(broker, &stream.name, 2);
    assert_eq!(answered(broker, &stream), asked(&messages), "each row is answered once");
    let parked = parked(broker, &stream);
    let mut reports = 0;
    for partition in 0..2 {
        for number in 0..KEYS {
            let key = format!("key-{number}");
            let of_key = |message: &rdkafka::message::OwnedMessage| message.key() == Some(key.as_bytes());
            let learner = format!("keys-{partition}/{key}");
            let (outputs, operator) = sequential(&stream, &learner, &messages, partition, of_key, true);
            let state = sha256_hex(&operator.save().unwrap());
            assert_eq!(parked[&(partition, key.clone())], state, "the learner of {learner} differs");
            reports += outputs.iter().filter(|output| matches!(output, Output::Stability(_))).count();
        }
    }
    assert_eq!(read_all(broker, &stream.topic("stability"), 2).len(), reports, "each report once");
}

#[test]
fn rows_of_parked_learners_do_not_wait_for_ever_and_are_answered_once() {
    let Some(broker) = broker() else { return };
    let stream = create(broker, "soon", 1, 1);
    let source = producer(broker, &[]);
    let start = || Process::start(&stream, "keyed, soon", &[]);
    for round in 0..4 {
        let process = start();
        for part in 0..6 {
            let first = (round * 6 + part) * 45;
            produce_into(&stream, &source, 0, first..first + 45, KEYS);
            std::thread::sleep(Duration::from_millis(170));
        }
        process.kill();
    }
    let process = start();
    let messages = read_all(broker, &stream.name, 1);
    let wanted = asked(&messages);
    until("all rows are answered", SOON, || answered(broker, &stream) == wanted);
    process.kill();
    let mut job = stream.job();
    keyed(&mut job);
    job.run().unwrap();
    assert_eq!(answered(broker, &stream), wanted);
}

#[test]
fn learners_of_keys_begun_afresh_have_nothing_of_those_before() {
    let Some(broker) = broker() else { return };
    let stream = create(broker, "afresh", 1, 1);
    let source = producer(broker, &[]);
    produce_into(&stream, &source, 0, 0..4000, KEYS / 2);
    produce_into(&stream, &source, 0, 4000..5000, KEYS);
    let run = |fresh: bool, rows: i64| {
        let mut job = stream.job();
        keyed(&mut job);
        job.fresh = fresh;
        let running = Running::start(job);
        until("rows are committed", SOON, || {
            ops::committed(&stream, "afresh-group")[0].is_some_and(|offset| offset >= rows)
        });
        running.stop().unwrap()
    };
    run(false, 5000);
    // It begins at the first record again, and stops before it has met all keys: others are still parked from before.
    let mut job = stream.job();
    keyed(&mut job);
    job.fresh = true;
    let watcher = Arc::new(Watcher { pause: Duration::from_millis(400), ..Watcher::default() });
    job.observer = watcher.clone();
    let running = Running::start(job);
    until("some rows are taken", SOON, || watcher.rows.load(Ordering::Relaxed) > 0);
    let begun = running.stop().unwrap();
    assert!(begun.units[0].rows < 4000, "{}", begun.units[0].rows);
    let mut job = stream.job();
    keyed(&mut job);
    let finished = job.run().unwrap();
    assert_eq!(begun.units[0].rows + finished.units[0].rows, 5000);
    let messages = read_all(broker, &stream.name, 1);
    let parked = parked(broker, &stream);
    for number in 0..KEYS {
        let key = format!("key-{number}");
        let of_key = |message: &rdkafka::message::OwnedMessage| message.key() == Some(key.as_bytes());
        let (_, operator) = sequential(&stream, &format!("afresh-0/{key}"), &messages, 0, of_key, true);
        assert_eq!(parked[&(0, key)], sha256_hex(&operator.save().unwrap()));
    }
}

#[test]
fn one_learner_for_all_partitions_takes_rows_in_the_same_order_again() {
    let Some(broker) = broker() else { return };
    let stream = create(broker, "all", 3, 3);
    let folder = tempfile::tempdir().unwrap();
    let states = folder.path().join("states");
    let settings = [("CHILD_STATES", states.to_str().unwrap())];
    let source = producer(broker, &[]);
    let start = || {
        let mut job = stream.job();
        global(&mut job);
        job
    };
    for round in 0..3 {
        // Rows come while it runs, so that the order in which they are taken is chance.
        let end = (round + 1) * 400;
        std::thread::scope(|threads| {
            threads.spawn(|| {
                for first in (end - 400..end).step_by(20) {
                    for partition in 0..3 {
                        produce_into(&stream, &source, partition, first..first + 20, 5);
                    }
                    std::thread::sleep(Duration::from_millis(150));
                }
            });
            assert!(kill_often(&stream, "global", &settings, 2) > 0);
        });
        let process = Process::start(&stream, "global", &settings);
        until_committed(&stream, "all-group", &[end as i64; 3]);
        process.kill();
        // There are no more rows: all it does is to bring the state forward.
        let finished = resumed(start());
        let unit = &finished.units[0];
        assert_eq!(unit.rows, 0);
        let line = format!("{:?} {}", unit.positions.0, unit.summary.as_ref().unwrap().state_sha256);
        let known = std::fs::read_to_string(&states).unwrap();
        assert!(known.lines().any(|known| known == line), "{line}");
    }
    let finished = start().run().unwrap();
    assert_eq!(finished.units.len(), 1);
    assert_eq!(answered(broker, &stream), asked(&read_all(broker, &stream.name, 3)), "each row is answered once");
}

/// Lets a job restore and bring its state forward, and stops it.
fn resumed(job: Job) -> Finished {
    let health = Arc::clone(&job.health);
    let running = Running::start(job);
    until("it is restored", SOON, || health.is_ready());
    running.stop().unwrap()
}

#[test]
fn a_second_instance_of_a_job_with_one_learner_says_why_it_ends_and_the_first_goes_on() {
    let Some(broker) = broker() else { return };
    let stream = create(broker, "only", 3, 3);
    let source = producer(broker, &[]);
    let fill = |rows: std::ops::Range<usize>| {
        for partition in 0..3 {
            produce_into(&stream, &source, partition, rows.clone(), 5);
        }
    };
    let job = || {
        let mut job = stream.job();
        global(&mut job);
        job.source.instance = None;
        job
    };
    fill(0..500);
    let first = Running::start(job());
    until_committed(&stream, "only-group", &[500; 3]);
    let began = Instant::now();
    let mut second = job();
    second.source.until_end = false;
    let error = error_of(second.run());
    assert!(error.contains("another member of the group") && error.contains("scope = \"partition\""), "{error}");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    fill(500..800);
    until_committed(&stream, "only-group", &[800; 3]);
    first.stop().unwrap();
    job().run().unwrap();
    assert_eq!(answered(broker, &stream), asked(&read_all(broker, &stream.name, 3)));
}

#[test]
fn after_a_kill_the_only_instance_waits_until_the_group_has_forgotten_the_dead_one() {
    let Some(broker) = broker() else { return };
    let stream = create(broker, "alone", 2, 2);
    for partition in 0..2 {
        produce_into(&stream, &producer(broker, &[]), partition, 0..400, 5);
    }
    let process = Process::start(&stream, "global, alone", &[]);
    until_committed(&stream, "alone-group", &[400; 2]);
    process.kill();
    // Longer than a new instance otherwise waits for all partitions.
    let mut job = stream.job();
    global(&mut job);
    job.source.instance = None;
    let finished = job.run().unwrap();
    assert_eq!(finished.units.len(), 1);
    assert_eq!(answered(broker, &stream), asked(&read_all(broker, &stream.name, 2)));
}
