//! A day in the life of a job: what operators, other programs and time do to topics, groups and processes. Nothing is lost
//! or done twice, and what cannot go on says why and what to do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "common/mod.rs"]
mod common;
#[path = "common/ops.rs"]
mod ops;

use common::jobs::{Stream, by_source, check, expected};
use common::{producer, read_all};
use lightcl_core::Output;
use lightcl_kafka::config::{OrElse, Start};
use lightcl_kafka::format;
use lightcl_kafka::{Finished, Job, Observer};
use lightcl_stream::Operator;
use lightcl_testkit::services::{self, Broker};
use ops::{
    Process, Running, Slow, Watcher, add_partitions, answered, as_member, asked, commit, create, create_outputs,
    delete_records, delete_topic, ends, error_of, kill_often, produce_into, sink_of, until, until_committed,
};
use rdkafka::Message;
use rdkafka::message::OwnedMessage;
use rdkafka::producer::{BaseRecord, Producer};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// The broker of these tests; none where it cannot be had.
fn broker() -> Option<&'static Broker> {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    if !services::ready_or_skipped() {
        return None;
    }
    let _ = env_logger::builder().is_test(true).format_timestamp_millis().try_init();
    Some(BROKER.get_or_init(|| {
        Broker::start(&[
            "--set",
            "group.min.session.timeout.ms=1000",
            "--set",
            "transaction.abort.timed.out.transaction.cleanup.interval.ms=1000",
        ])
    }))
}

fn property(job: &mut Job, name: &str, value: &str) {
    job.source.connection.properties.insert(name.to_owned(), value.to_owned());
}

fn fill(broker: &Broker, stream: &Stream, rows: std::ops::Range<usize>) {
    let producer = producer(broker, &[]);
    for partition in 0..stream.partitions {
        produce_into(stream, &producer, partition, rows.clone(), 5);
    }
}

fn group(stream: &Stream) -> String {
    stream.source().group
}

/// Reads what is there, and stops cleanly: no end of the input is told.
fn take(stream: &Stream, job: Job, offsets: &[i64]) -> Finished {
    let group = job.source.group.clone();
    let running = Running::start(job);
    until_committed(stream, &group, offsets);
    running.stop().unwrap()
}

/// Checks that each output of a partition came once and the state is as expected of these records.
fn check_partition(broker: &Broker, stream: &Stream, finished: &Finished, messages: &[OwnedMessage], partition: i32) {
    let expected = expected(stream, messages, partition, true);
    let predictions = by_source(&read_all(broker, &stream.topic("predictions"), stream.partitions));
    assert_eq!(predictions[&partition], expected.predictions);
    let name = format!("{}-{partition}", stream.name);
    let unit = finished.units.iter().find(|unit| unit.unit == name).expect("the unit has a report");
    assert_eq!(unit.summary.as_ref().unwrap().state_sha256, expected.state_sha256, "{name}");
}

/// A job in a process of its own, to be killed.
#[test]
#[ignore = "started by other tests"]
fn child() {
    let Some((kind, stream)) = ops::child() else { return };
    let _ = env_logger::builder().is_test(false).format_timestamp_millis().try_init();
    let mut job = stream.job();
    as_member(&mut job, "child");
    job.source.until_end = false;
    sink_of(&mut job).commit = Duration::from_millis(50);
    match kind.as_str() {
        "checkpoints" => {
            job.checkpoints.every_samples = 150;
            job.observer = Arc::new(Watcher { pause: Duration::from_millis(5), ..Watcher::default() });
            job.open_format =
                Box::new(|| Ok(Box::new(Slow(format::open(&common::jobs::format_config())?, Duration::ZERO))));
        }
        "no checkpoint" => job.checkpoints.every_samples = 0,
        "slow replay" => {
            job.checkpoints.every_samples = 0;
            let pause = Duration::from_millis(150);
            job.open_format =
                Box::new(move || Ok(Box::new(Slow(format::open(&common::jobs::format_config())?, pause))));
        }
        kind => panic!("{kind}"),
    }
    job.run().unwrap();
}

/// Lets a job commit so many rows of each partition without a checkpoint, and kills it.
fn killed_without_checkpoint(broker: &Broker, stream: &Stream, rows: usize) {
    let process = Process::start(stream, "no checkpoint", &[]);
    // Where a learner begins is a checkpoint, which would hold the rows that are there by then.
    until_committed(stream, &group(stream), &[0, 0]);
    fill(broker, stream, 0..rows);
    until_committed(stream, &group(stream), &[rows as i64; 2]);
    assert!(process.kill());
}

#[test]
fn kills_around_checkpoints_and_during_silent_replay_lose_nothing() {
    let Some(broker) = broker() else { return };
    let stream = create(broker, "killed", 2, 2);
    let filling = std::thread::spawn({
        let stream = stream.clone();
        let producer = producer(broker, &[]);
        move || {
            for first in (0..4000).step_by(100) {
                for partition in 0..2 {
                    produce_into(&stream, &producer, partition, first..first + 100, 5);
                }
                std::thread::sleep(Duration::from_millis(150));
            }
        }
    });
    assert!(kill_often(&stream, "checkpoints", &[], 6) > 0);
    // What was learnt since the last checkpoint is learnt again in each of these lives, slowly; they die of it.
    assert!(kill_often(&stream, "slow replay", &[], 4) > 0);
    filling.join().unwrap();
    let mut job = stream.job();
    as_member(&mut job, "child");
    let finished = job.run().unwrap();
    check(broker, &stream, &finished);
}

#[test]
fn a_kill_before_the_first_checkpoint_loses_no_learning() {
    let Some(broker) = broker() else { return };
    let stream = create(broker, "early", 2, 2);
    killed_without_checkpoint(broker, &stream, 500);
    let mut job = stream.job();
    as_member(&mut job, "child");
    let finished = job.run().unwrap();
    check(broker, &stream, &finished);
}

#[test]
fn a_topic_idle_for_longer_than_producers_live_goes_on() {
    if broker().is_none() {
        return;
    }
    // Its own: everything else would be disturbed all the time.
    let mut settings = Vec::new();
    for setting in [
        "transactional.id.expiration.ms=2000",
        "transaction.remove.expired.transaction.cleanup.interval.ms=500",
        "producer.id.expiration.ms=2000",
        "producer.id.expiration.check.interval.ms=500",
        "transaction.max.timeout.ms=60000",
    ] {
        settings.extend(["--set", setting]);
    }
    let broker = Broker::start(&settings);
    let stream = create(&broker, "idle", 2, 2);
    let running = Running::start(stream.job());
    for rows in [0..300, 300..600] {
        fill(&broker, &stream, rows.clone());
        until_committed(&stream, &group(&stream), &[rows.end as i64; 2]);
        std::thread::sleep(Duration::from_secs(6));
    }
    fill(&broker, &stream, 600..700);
    until_committed(&stream, &group(&stream), &[700; 2]);
    let finished = running.stop().unwrap();
    assert_eq!(finished.units.iter().map(|unit| unit.rows).collect::<Vec<_>>(), [700, 700]);
    check(&broker, &stream, &stream.job().run().unwrap());
}

#[test]
fn records_deleted_before_they_were_read_stop_only_their_partition_and_say_the_ways_out() {
    let Some(broker) = broker() else { return };
    let stream = create(broker, "deleted", 2, 2);
    fill(broker, &stream, 0..300);
    take(&stream, stream.job(), &[300, 300]);
    fill(broker, &stream, 300..600);
    delete_records(&stream, &stream.name, 0, 450);
    let finished = stream.job().run().unwrap();
    let (unit, error) = &finished.failed[0];
    assert_eq!((finished.failed.len(), unit.as_str()), (1, "deleted-0"));
    let error = error.to_string();
    for said in ["deleted before they were read", "--fresh", "source.or_else", "450"] {
        assert!(error.contains(said), "{error}");
    }
    let ended = finished.units.iter().find(|unit| unit.unit == "deleted-1").unwrap();
    assert_eq!(ended.rows, 300);
    let messages = read_all(broker, &stream.name, 2);
    check_partition(broker, &stream, &finished, &messages, 1);
}

/// Records are deleted between two runs; the second goes on as `or_else` says, without the rows of `lost`.
fn goes_on_past_deleted_records(name: &str, or_else: OrElse, lost: std::ops::Range<i64>) {
    let Some(broker) = broker() else { return };
    let stream = create(broker, name, 1, 1);
    fill(broker, &stream, 0..300);
    take(&stream, stream.job(), &[300]);
    fill(broker, &stream, 300..600);
    let mut messages = read_all(broker, &stream.name, 1);
    delete_records(&stream, &stream.name, 0, 450);
    let mut job = stream.job();
    job.source.start = Start::Committed(or_else);
    let running = Running::start(job);
    // The place is written down before there is a row.
    until_committed(&stream, &group(&stream), &[lost.end]);
    fill(broker, &stream, 600..700);
    until_committed(&stream, &group(&stream), &[700]);
    running.stop().unwrap();
    let finished = stream.job().run().unwrap();
    messages.extend(read_all(broker, &stream.name, 1).into_iter().filter(|message| message.offset() >= 600));
    messages.retain(|message| !lost.contains(&message.offset()));
    check_partition(broker, &stream, &finished, &messages, 0);
    assert_eq!(counts::of("lightcl_lost_records_total", &format!("{name}-0")), (lost.end - lost.start) as u64);
}

#[test]
fn with_or_else_earliest_deleted_records_are_passed_over_and_counted() {
    counts::install();
    goes_on_past_deleted_records("earliest", OrElse::Earliest, 300..450);
}

#[test]
fn with_or_else_latest_all_that_was_not_read_is_passed_over_and_counted() {
    counts::install();
    goes_on_past_deleted_records("latest", OrElse::Latest, 300..600);
}

#[test]
fn records_deleted_in_front_of_a_running_job_are_treated_as_if_it_had_just_begun() {
    let Some(broker) = broker() else { return };
    counts::install();
    let stream = create(broker, "overtaken", 1, 1);
    fill(broker, &stream, 0..60_000);
    let messages = read_all(broker, &stream.name, 1);
    let mut job = stream.job();
    job.source.start = Start::Committed(OrElse::Earliest);
    property(&mut job, "fetch.message.max.bytes", "20000");
    property(&mut job, "queued.max.messages.kbytes", "16");
    let watcher = Arc::new(Watcher { pause: Duration::from_millis(500), ..Watcher::default() });
    job.observer = watcher.clone();
    let running = Running::start(job);
    until("rows are read", SOON, || watcher.rows.load(Ordering::Relaxed) > 0);
    delete_records(&stream, &stream.name, 0, 59_500);
    until_committed(&stream, &group(&stream), &[60_000]);
    running.stop().unwrap();
    let finished = stream.job().run().unwrap();
    let predictions = by_source(&read_all(broker, &stream.topic("predictions"), 1)).remove(&0).unwrap();
    let taken = answered(broker, &stream).remove(&0).unwrap();
    let lost: Vec<u64> = (0..60_000).filter(|offset| taken.binary_search(offset).is_err()).collect();
    assert!(!lost.is_empty() && lost.len() as u64 == lost[lost.len() - 1] - lost[0] + 1, "one gap");
    assert_eq!(lost[lost.len() - 1], 59_499);
    assert_eq!(counts::of("lightcl_lost_records_total", "overtaken-0"), lost.len() as u64);
    let kept: Vec<OwnedMessage> =
        messages.into_iter().filter(|message| lost.binary_search(&(message.offset() as u64)).is_err()).collect();
    let expected = expected(&stream, &kept, 0, true);
    assert_eq!(predictions, expected.predictions);
    assert_eq!(finished.units[0].summary.as_ref().unwrap().state_sha256, expected.state_sha256);
}

#[test]
fn records_deleted_behind_the_state_but_not_behind_what_is_committed_stop_the_partition_or_are_passed_over() {
    let Some(broker) = broker() else { return };
    counts::install();
    let stream = create(broker, "behind", 2, 2);
    killed_without_checkpoint(broker, &stream, 400);
    delete_records(&stream, &stream.name, 0, 250);
    let mut job = stream.job();
    as_member(&mut job, "child");
    let finished = job.run().unwrap();
    let (unit, error) = &finished.failed[0];
    assert_eq!((finished.failed.len(), unit.as_str()), (1, "behind-0"));
    let error = error.to_string();
    for said in ["the state cannot be brought forward", "--fresh", "source.or_else"] {
        assert!(error.contains(said), "{error}");
    }
    let messages = read_all(broker, &stream.name, 2);
    check_partition(broker, &stream, &finished, &messages, 1);
    for or_else in [OrElse::Earliest, OrElse::Latest] {
        let mut job = stream.job();
        as_member(&mut job, "child");
        job.source.start = Start::Committed(or_else);
        let finished = job.run().unwrap();
        assert!(finished.failed.is_empty());
    }
    let mut found = answered(broker, &stream).remove(&0).unwrap();
    // Without the rows before them others share a window: those of one window may come twice.
    found.dedup();
    assert_eq!(found, (0..400).collect::<Vec<u64>>());
    assert_eq!(counts::of("lightcl_lost_records_total", "behind-0"), 250);
}

#[test]
fn partitions_added_while_producing_are_read_from_their_first_record_though_the_job_starts_at_the_end() {
    let Some(broker) = broker() else { return };
    let stream = create(broker, "grown", 2, 4);
    fill(broker, &stream, 0..50);
    let job = || {
        let mut job = stream.job();
        job.source.start = Start::Committed(OrElse::Latest);
        property(&mut job, "topic.metadata.refresh.interval.ms", "1000");
        job
    };
    // Nothing is read in this life: where it began is known all the same.
    take(&stream, job(), &[50, 50]);
    fill(broker, &stream, 50..80);
    let running = Running::start(job());
    let grown = Stream { partitions: 4, ..stream.clone() };
    add_partitions(&stream, 4);
    fill(broker, &grown, 80..200);
    until_committed(&grown, &group(&stream), &[200, 200, 120, 120]);
    running.stop().unwrap();
    let mut last = job();
    last.source.until_end = true;
    let finished = last.run().unwrap();
    let mut messages = read_all(broker, &stream.name, 4);
    messages.retain(|message| message.partition() > 1 || message.offset() >= 50);
    for partition in 0..4 {
        check_partition(broker, &grown, &finished, &messages, partition);
    }
}

#[test]
fn a_topic_deleted_and_made_again_is_no_longer_followed_until_one_says_so() {
    let Some(broker) = broker() else { return };
    let stream = create(broker, "remade", 1, 1);
    fill(broker, &stream, 0..300);
    take(&stream, stream.job(), &[300]);
    delete_topic(&stream);
    ops::create_input(&stream);
    fill(broker, &stream, 1000..1100);
    for or_else in [OrElse::Error, OrElse::Earliest] {
        let mut job = stream.job();
        job.source.start = Start::Committed(or_else);
        let error = error_of(job.run());
        assert!(error.contains("deleted and made again") && error.contains("--fresh"), "{error}");
    }
    let mut job = stream.job();
    job.fresh = true;
    let finished = job.run().unwrap();
    let expected = expected(&stream, &read_all(broker, &stream.name, 1), 0, true);
    assert_eq!(finished.units[0].summary.as_ref().unwrap().state_sha256, expected.state_sha256);
}

#[test]
fn two_jobs_with_one_transactional_prefix_end_in_an_error_and_neither_loses_a_row() {
    let Some(broker) = broker() else { return };
    let stream = create(broker, "prefix", 1, 1);
    let outputs = Stream { name: "prefix2".into(), ..stream.clone() };
    create_outputs(&outputs, 1);
    let second = |prefix: &str| {
        let mut job = stream.job();
        job.source.group = "prefix2-group".into();
        *sink_of(&mut job) = outputs.sink();
        sink_of(&mut job).transactional_prefix = prefix.into();
        job
    };
    let jobs = [Running::start(stream.job()), Running::start(second("prefix-job"))];
    let mut rows = 0;
    until("one gives up", 2 * SOON, || {
        fill(broker, &stream, rows..rows + 10);
        rows += 10;
        std::thread::sleep(Duration::from_millis(100));
        jobs.iter().any(Running::has_ended)
    });
    let mut errors = 0;
    for job in jobs {
        if job.has_ended() {
            let error = error_of(job.end());
            assert!(error.contains("sink.transactional_prefix"), "{error}");
            errors += 1;
        } else if let Err(error) = job.stop() {
            // It, too, may have given up meanwhile.
            assert!(error.to_string().contains("sink.transactional_prefix"), "{error}");
        }
    }
    assert!(errors > 0);
    let finished = stream.job().run().unwrap();
    check(broker, &stream, &finished);
    let finished = second("prefix2-job").run().unwrap();
    let expected = expected(&stream, &read_all(broker, &stream.name, 1), 0, true);
    assert_eq!(by_source(&read_all(broker, "prefix2.predictions", 1))[&0], expected.predictions);
    assert_eq!(finished.units[0].summary.as_ref().unwrap().state_sha256, expected.state_sha256);
}

#[test]
fn of_two_members_with_one_name_the_older_ends_with_an_error_and_the_newer_goes_on() {
    let Some(broker) = broker() else { return };
    let stream = create(broker, "twins", 2, 2);
    let member = || {
        let mut job = stream.job();
        as_member(&mut job, "one");
        job
    };
    fill(broker, &stream, 0..500);
    let older = Running::start(member());
    until_committed(&stream, &group(&stream), &[100, 100]);
    let newer = Running::start(member());
    fill(broker, &stream, 500..1500);
    until("the older ends", SOON, || older.has_ended());
    let error = error_of(older.end());
    assert!(error.contains("source.instance"), "{error}");
    until_committed(&stream, &group(&stream), &[1500, 1500]);
    newer.stop().unwrap();
    check(broker, &stream, &member().run().unwrap());
}

#[test]
fn an_open_foreign_transaction_in_the_state_topic_is_waited_for_with_an_end_to_patience() {
    let Some(broker) = broker() else { return };
    let stream = create(broker, "foreign", 1, 1);
    fill(broker, &stream, 0..300);
    take(&stream, stream.job(), &[300]);
    let foreign =
        producer(broker, &[("transactional.id", "foreign"), ("transaction.timeout.ms", "60000"), ("linger.ms", "0")]);
    foreign.init_transactions(SOON).unwrap();
    foreign.begin_transaction().unwrap();
    let state = stream.topic("state");
    foreign.send(BaseRecord::<str, str>::to(&state).partition(0).key("foreign").payload("x")).unwrap();
    foreign.flush(SOON).unwrap();
    fill(broker, &stream, 300..400);
    let mut job = stream.job();
    property(&mut job, "session.timeout.ms", "1500");
    property(&mut job, "max.poll.interval.ms", "3000");
    let error = error_of(job.run());
    assert!(error.contains("an open transaction lies in the state topic") && error.contains("find-hanging"), "{error}");
    let running = Running::start(stream.job());
    std::thread::sleep(Duration::from_secs(2));
    assert!(!running.has_ended());
    assert_eq!(ops::committed(&stream, &group(&stream)), [Some(300)]);
    foreign.commit_transaction(SOON).unwrap();
    until_committed(&stream, &group(&stream), &[400]);
    running.stop().unwrap();
    check(broker, &stream, &stream.job().run().unwrap());
}

#[test]
fn offsets_that_markers_and_aborted_transactions_leave_out_are_passed_over() {
    let Some(broker) = broker() else { return };
    let stream = create(broker, "gaps", 2, 2);
    let source = producer(broker, &[("transactional.id", "gaps-source")]);
    source.init_transactions(SOON).unwrap();
    let write = |rows: std::ops::Range<usize>, commits: bool| {
        source.begin_transaction().unwrap();
        for partition in 0..2 {
            produce_into(&stream, &source, partition, rows.clone(), 5);
        }
        if commits { source.commit_transaction(SOON).unwrap() } else { source.abort_transaction(SOON).unwrap() }
    };
    for round in 0..8 {
        write(round * 50..round * 50 + 50, true);
        write(9000..9020, round % 2 == 0);
        write(9500..9530, false);
    }
    // Commits and replays begin and end at gaps; the input ends with some.
    let process = Process::start(&stream, "checkpoints", &[]);
    until("something is committed", SOON, || {
        ops::committed(&stream, &group(&stream)).iter().all(|offset| offset.is_some_and(|offset| offset > 0))
    });
    process.kill();
    let mut job = stream.job();
    as_member(&mut job, "child");
    check(broker, &stream, &job.run().unwrap());
    let mut job = stream.job();
    as_member(&mut job, "child");
    check(broker, &stream, &job.run().unwrap());
}

/// Sleeps once.
struct SleepsOnce(Duration, AtomicU64);

impl Observer for SleepsOnce {
    fn pushed(&self, _: &str, _: Option<&Operator>, _: usize, _: &[Output], _: Duration) {
        if self.1.fetch_add(1, Ordering::Relaxed) == 1 {
            std::thread::sleep(self.0);
        }
    }

    fn committed(&self, _: &str, _: usize, _: usize, _: Duration) {}
}

#[test]
fn a_learning_step_of_twice_the_poll_interval_does_not_cost_the_membership() {
    let Some(broker) = broker() else { return };
    let stream = create(broker, "slow", 2, 2);
    fill(broker, &stream, 0..3000);
    let mut job = stream.job();
    property(&mut job, "session.timeout.ms", "1500");
    property(&mut job, "max.poll.interval.ms", "2000");
    job.observer = Arc::new(SleepsOnce(Duration::from_secs(4), AtomicU64::new(0)));
    let made = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&made);
    job.make_operator = Arc::new(move |learner, schema| {
        counted.fetch_add(1, Ordering::Relaxed);
        common::jobs::make_operator(learner, schema)
    });
    let finished = job.run().unwrap();
    assert_eq!(made.load(Ordering::Relaxed), 2, "no unit had to begin again");
    check(broker, &stream, &finished);
}

#[test]
fn partitions_given_away_and_back_while_workers_are_behind_are_read_once() {
    let Some(broker) = broker() else { return };
    let stream = create(broker, "moved", 4, 4);
    fill(broker, &stream, 0..12_000);
    let slow = || {
        let mut job = stream.job();
        job.observer = Arc::new(Watcher { pause: Duration::from_millis(300), ..Watcher::default() });
        property(&mut job, "queued.max.messages.kbytes", "512");
        job
    };
    let first = Running::start(slow());
    until("the first reads", SOON, || {
        ops::committed(&stream, &group(&stream)).iter().all(|offset| offset.is_some_and(|offset| offset > 0))
    });
    let mut job = slow();
    let watcher = Arc::new(Watcher { pause: Duration::from_millis(300), ..Watcher::default() });
    job.observer = watcher.clone();
    let second = Running::start(job);
    until("the second reads", SOON, || watcher.rows.load(Ordering::Relaxed) > 0);
    let moved = second.stop().unwrap();
    assert!(moved.units.iter().any(|unit| unit.rows > 0), "the second had its share");
    std::thread::sleep(Duration::from_secs(1));
    first.stop().unwrap();
    check(broker, &stream, &stream.job().run().unwrap());
}

#[test]
fn a_state_topic_that_was_emptied_is_an_error_and_fresh_a_way_out() {
    let Some(broker) = broker() else { return };
    let stream = create(broker, "emptied", 1, 1);
    fill(broker, &stream, 0..300);
    take(&stream, stream.job(), &[300]);
    let state = stream.topic("state");
    let (_, end) = ends(&stream, &state, 0);
    delete_records(&stream, &state, 0, end);
    let error = error_of(stream.job().run());
    assert!(error.contains("holds no state of this unit") && error.contains("--fresh"), "{error}");
    let mut job = stream.job();
    job.source.group = "emptied-other".into();
    let error = error_of(job.run());
    assert!(error.contains("but had records once") && error.contains("--fresh"), "{error}");
    let mut job = stream.job();
    job.fresh = true;
    let finished = job.run().unwrap();
    assert_eq!(finished.units[0].rows, 300);
    assert_eq!(stream.job().run().unwrap().units[0].rows, 0, "what was begun afresh goes on");
}

#[test]
fn offsets_moved_by_somebody_are_noticed_and_may_be_set_back() {
    let Some(broker) = broker() else { return };
    let stream = create(broker, "reset", 1, 1);
    fill(broker, &stream, 0..300);
    take(&stream, stream.job(), &[300]);
    fill(broker, &stream, 300..400);
    for moved in [100, 350] {
        commit(&stream, &group(&stream), 0, moved);
        let error = error_of(stream.job().run());
        assert!(error.contains("somebody moved it") && error.contains("Set it back"), "{error}");
    }
    commit(&stream, &group(&stream), 0, 300);
    check(broker, &stream, &stream.job().run().unwrap());
}

#[test]
fn another_configuration_is_refused_and_fresh_begins_beside_what_is_there() {
    let Some(broker) = broker() else { return };
    let stream = create(broker, "changed", 2, 2);
    fill(broker, &stream, 0..300);
    check(broker, &stream, &stream.job().run().unwrap());
    let changed = || {
        let mut job = stream.job();
        job.config_sha256 = "another".into();
        job
    };
    let error = error_of(changed().run());
    assert!(error.contains("written by another configuration") && error.contains("--fresh"), "{error}");
    let mut job = changed();
    job.fresh = true;
    let finished = job.run().unwrap();
    let messages = read_all(broker, &stream.name, 2);
    for partition in 0..2 {
        let expected = expected(&stream, &messages, partition, true);
        let twice = [expected.predictions.clone(), expected.predictions].concat();
        assert_eq!(by_source(&read_all(broker, &stream.topic("predictions"), 2))[&partition], twice);
        let unit = &finished.units[partition as usize];
        assert_eq!(unit.summary.as_ref().unwrap().state_sha256, expected.state_sha256);
    }
    let finished = changed().run().unwrap();
    assert_eq!(finished.units.iter().map(|unit| unit.rows).sum::<u64>(), 0, "what was begun afresh goes on");
}

#[test]
fn a_job_starts_at_a_time_at_given_offsets_or_at_the_end() {
    let Some(broker) = broker() else { return };
    let stream = create(broker, "starts", 2, 2);
    fill(broker, &stream, 0..100);
    std::thread::sleep(Duration::from_millis(20));
    fill(broker, &stream, 100..200);
    let messages = read_all(broker, &stream.name, 2);
    let time = messages.iter().find(|message| (message.partition(), message.offset()) == (0, 100)).unwrap();
    let time = time.timestamp().to_millis().unwrap();
    let offset = |partition, offset| (("starts".to_owned(), partition), offset);
    let first_of_1 = messages
        .iter()
        .find(|message| message.partition() == 1 && message.timestamp().to_millis().unwrap() >= time)
        .map_or(200, Message::offset);
    let cases = [
        (Start::Timestamp(time), [100, first_of_1]),
        (Start::Offsets([offset(0, 150), offset(1, 200)].into()), [150, 200]),
        (Start::Offsets([offset(1, 7)].into()), [0, 7]),
        (Start::Committed(OrElse::Latest), [200, 200]),
        (Start::Committed(OrElse::Earliest), [0, 0]),
    ];
    for (number, (start, first)) in cases.into_iter().enumerate() {
        let mut job = stream.job();
        (job.source.start, job.source.group) = (start.clone(), format!("starts-{number}"));
        job.model_id = format!("starts-{number}");
        let finished = job.run().unwrap();
        let rows: Vec<u64> = finished.units.iter().map(|unit| unit.rows).collect();
        assert_eq!(rows, first.map(|first| 200 - first as u64), "{start:?}");
    }
    let mut job = stream.job();
    job.source.start = Start::Offsets([offset(0, 201)].into());
    let finished = job.run().unwrap();
    let error = finished.failed[0].1.to_string();
    assert!(error.contains("source.offsets names an offset"), "{error}");
    assert_eq!(finished.units[0].unit, "starts-1");
}

#[test]
fn a_worker_that_panics_stops_its_partition_and_says_so() {
    let Some(broker) = broker() else { return };
    let stream = create(broker, "panics", 2, 2);
    fill(broker, &stream, 0..100);
    let mut job = stream.job();
    job.make_operator = Arc::new(|learner, schema| {
        assert!(learner != "panics-0", "a learner with a bug");
        common::jobs::make_operator(learner, schema)
    });
    let health = Arc::clone(&job.health);
    let finished = job.run().unwrap();
    assert!(finished.failed[0].1.to_string().contains("a learner with a bug"), "{:?}", finished.failed);
    assert_eq!(health.stopped().len(), 1);
    assert_eq!(finished.units[0].unit, "panics-1");
    check(broker, &stream, &stream.job().run().unwrap());
    assert_eq!(answered(broker, &stream), asked(&read_all(broker, &stream.name, 2)));
}

/// Counters, by name and partition.
mod counts {
    use super::{Arc, Mutex, OnceLock};
    use metrics::{Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
    use std::collections::HashMap;
    use std::sync::atomic::{AtomicU64, Ordering};

    type Counts = HashMap<(String, String), Arc<Count>>;

    #[derive(Default)]
    struct Count(AtomicU64);

    impl CounterFn for Count {
        fn increment(&self, value: u64) {
            self.0.fetch_add(value, Ordering::Relaxed);
        }

        fn absolute(&self, value: u64) {
            self.0.store(value, Ordering::Relaxed);
        }
    }

    fn counts() -> &'static Mutex<Counts> {
        static COUNTS: OnceLock<Mutex<Counts>> = OnceLock::new();
        COUNTS.get_or_init(Mutex::default)
    }

    struct Counting;

    impl Recorder for Counting {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            let partition = key.labels().find(|label| label.key() == "partition");
            let partition = partition.map_or(String::new(), |label| label.value().to_owned());
            let mut counts = counts().lock().unwrap();
            Counter::from_arc(Arc::clone(counts.entry((key.name().to_owned(), partition)).or_default()))
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    pub fn install() {
        let _ = metrics::set_global_recorder(Counting);
    }

    pub fn of(name: &str, partition: &str) -> u64 {
        let counts = counts().lock().unwrap();
        counts.get(&(name.to_owned(), partition.to_owned())).map_or(0, |count| count.0.load(Ordering::Relaxed))
    }
}
