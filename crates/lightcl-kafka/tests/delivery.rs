//! How and where outputs are delivered: in time, at least once, to other sinks, as models and as Arrow.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "common/mod.rs"]
mod common;
#[path = "common/ops.rs"]
mod ops;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, UInt64Type};
use arrow_ipc::reader::StreamReader;
use common::jobs::{Stream, check, expected};
use common::{connection, producer, read_all};
use lightcl_core::{Commit, Error, Output, Positions, Result, Sink};
use lightcl_kafka::config::{Delivery, ValueFormat};
use lightcl_kafka::follower::{Followed, Follower, Wanted};
use lightcl_kafka::{Job, Target};
use lightcl_testkit::services::{self, Broker};
use ops::{
    Process, Running, Watcher, answered, as_member, asked, create, kill_often, produce_into, sequential, sink_of,
    until, until_committed,
};
use rdkafka::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(60);

fn broker() -> Option<&'static Broker> {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    if !services::ready_or_skipped() {
        return None;
    }
    let _ = env_logger::builder().is_test(true).format_timestamp_millis().try_init();
    Some(BROKER.get_or_init(|| Broker::start(&["--set", "group.min.session.timeout.ms=1000"])))
}

fn fill(broker: &Broker, stream: &Stream, rows: std::ops::Range<usize>) {
    let producer = producer(broker, &[]);
    for partition in 0..stream.partitions {
        produce_into(stream, &producer, partition, rows.clone(), 5);
    }
}

fn soon(job: &mut Job) {
    job.source.max_wait = Some(Duration::from_millis(200));
    job.checkpoints.every_samples = 0;
    as_member(job, "one");
    sink_of(job).commit = Duration::from_millis(50);
}

fn at_least_once(job: &mut Job) {
    sink_of(job).delivery = Delivery::AtLeastOnce;
    sink_of(job).commit = Duration::from_millis(50);
    job.checkpoints.every_samples = 150;
    as_member(job, "one");
}

fn to_files(job: &mut Job, folder: &Path) {
    let folder = folder.to_owned();
    job.target =
        Target::Sinks(Arc::new(move |unit| Ok(Box::new(FileSink::open(&folder.join(unit))?) as Box<dyn Sink>)));
    job.checkpoints.every_samples = 150;
    as_member(job, "one");
}

/// A job in a process of its own, to be killed.
#[test]
#[ignore = "started by other tests"]
fn child() {
    let Some((kind, stream)) = ops::child() else { return };
    let _ = env_logger::builder().is_test(false).format_timestamp_millis().try_init();
    let mut job = stream.job();
    job.source.until_end = false;
    let mut watcher = Watcher { pause: Duration::from_millis(10), ..Watcher::default() };
    match kind.as_str() {
        "soon" => {
            soon(&mut job);
            let states = File::options().create(true).append(true).open(ops::child_path("CHILD_STATES")).unwrap();
            watcher.states = Some(Mutex::new(states));
        }
        "at least once" => at_least_once(&mut job),
        "files" => to_files(&mut job, &ops::child_path("CHILD_FOLDER")),
        kind => panic!("{kind}"),
    }
    job.observer = Arc::new(watcher);
    job.run().unwrap();
}

/// Writes what it gets to a file, and how much of it counts to another one.
struct FileSink {
    outputs: PathBuf,
    committed: PathBuf,
    file: File,
}

impl FileSink {
    fn open(path: &Path) -> Result<FileSink> {
        let outputs = path.with_extension("outputs");
        let file = File::options().create(true).append(true).open(&outputs);
        let file = file.map_err(|error| Error::external("no file").caused_by(error))?;
        Ok(FileSink { outputs, committed: path.with_extension("committed"), file })
    }
}

impl Sink for FileSink {
    fn write(&mut self, outputs: &[Output]) -> Result<()> {
        for output in outputs {
            let line = match output {
                Output::Prediction(prediction) => prediction.position.offset,
                Output::Rejected(letter) => letter.position.offset,
                _ => continue,
            };
            writeln!(self.file, "{line}").unwrap();
        }
        Ok(())
    }

    fn commit(&mut self, commit: &Commit) -> Result<()> {
        let length = fs::metadata(&self.outputs).unwrap().len();
        let value = serde_json::json!([length, commit.epoch, commit.positions, commit.state]);
        fs::write(self.committed.with_extension("new"), value.to_string()).unwrap();
        fs::rename(self.committed.with_extension("new"), &self.committed).unwrap();
        Ok(())
    }

    fn recover(&mut self) -> Result<Option<Commit>> {
        let Ok(text) = fs::read(&self.committed) else {
            self.file.set_len(0).unwrap();
            return Ok(None);
        };
        let (length, epoch, positions, state): (u64, u64, Positions, Vec<u8>) = serde_json::from_slice(&text).unwrap();
        self.file.set_len(length).unwrap();
        Ok(Some(Commit { epoch, positions, state }))
    }
}

#[test]
fn rows_that_wait_are_answered_without_a_full_window_and_replays_cut_windows_in_the_same_places() {
    let Some(broker) = broker() else { return };
    let stream = create(broker, "wait", 1, 1);
    let folder = tempfile::tempdir().unwrap();
    let states = folder.path().join("states");
    let settings = [("CHILD_STATES", states.to_str().unwrap())];
    let mut rows = 0;
    for round in 0..3 {
        let process = Process::start(&stream, "soon", &settings);
        for _ in 0..5 {
            fill(broker, &stream, rows..rows + 45);
            rows += 45;
            // Longer than rows may wait, but not by so much that all of them are answered at a kill.
            std::thread::sleep(Duration::from_millis(250 + round * 40));
        }
        let wanted = asked(&read_all(broker, &stream.name, 1));
        let began = Instant::now();
        if round == 1 {
            until("all rows are answered", SOON, || answered(broker, &stream) == wanted);
            assert!(began.elapsed() < Duration::from_secs(20));
        }
        until_committed(&stream, "wait-group", &[rows as i64]);
        process.kill();
        let mut job = stream.job();
        soon(&mut job);
        job.source.max_wait = None;
        let health = Arc::clone(&job.health);
        let running = Running::start(job);
        until("it is restored", SOON, || health.is_ready());
        let finished = running.stop().unwrap();
        let unit = &finished.units[0];
        let known = fs::read_to_string(&states).unwrap();
        let line = format!("{:?} {}", unit.positions.0, unit.summary.as_ref().unwrap().state_sha256);
        assert_eq!(unit.rows, 0);
        assert!(known.lines().any(|known| known == line), "round {round}: {line}\n{known}");
    }
    // Rows that waited in the state that is restored are answered though no more come.
    fill(broker, &stream, rows..rows + 5);
    let mut job = stream.job();
    soon(&mut job);
    job.source.max_wait = None;
    let running = Running::start(job);
    until_committed(&stream, "wait-group", &[rows as i64 + 5]);
    running.stop().unwrap();
    let wanted = asked(&read_all(broker, &stream.name, 1));
    assert_ne!(answered(broker, &stream), wanted);
    let mut job = stream.job();
    soon(&mut job);
    let running = Running::start(job);
    until("all rows are answered", SOON, || answered(broker, &stream) == wanted);
    running.stop().unwrap();
}

#[test]
fn at_least_once_without_a_kill_is_once() {
    let Some(broker) = broker() else { return };
    let stream = create(broker, "plain", 2, 2);
    fill(broker, &stream, 0..1500);
    let mut job = stream.job();
    at_least_once(&mut job);
    let finished = job.run().unwrap();
    check(broker, &stream, &finished);
}

#[test]
fn at_least_once_loses_no_output_and_no_learning_when_killed() {
    let Some(broker) = broker() else { return };
    let stream = create(broker, "least", 2, 2);
    let filling = std::thread::spawn({
        let (stream, producer) = (stream.clone(), producer(broker, &[]));
        move || {
            for first in (0..3000).step_by(100) {
                for partition in 0..2 {
                    produce_into(&stream, &producer, partition, first..first + 100, 5);
                }
                std::thread::sleep(Duration::from_millis(150));
            }
        }
    });
    assert!(kill_often(&stream, "at least once", &[], 5) > 0);
    filling.join().unwrap();
    let mut job = stream.job();
    at_least_once(&mut job);
    let finished = job.run().unwrap();
    let messages = read_all(broker, &stream.name, 2);
    let mut found = answered(broker, &stream);
    let all: usize = found.values().map(Vec::len).sum();
    found.values_mut().for_each(Vec::dedup);
    assert_eq!(found, asked(&messages));
    let twice = all - found.values().map(Vec::len).sum::<usize>();
    assert!(twice < all / 2, "{twice} of {all} came again");
    for partition in 0..2 {
        let expected = expected(&stream, &messages, partition, true);
        let unit = &finished.units[partition as usize];
        assert_eq!(unit.summary.as_ref().unwrap().state_sha256, expected.state_sha256);
    }
}

#[test]
fn another_sink_gets_each_output_once_across_kills() {
    let Some(broker) = broker() else { return };
    let stream = create(broker, "files", 2, 2);
    let folder = tempfile::tempdir().unwrap();
    let filling = std::thread::spawn({
        let (stream, producer) = (stream.clone(), producer(broker, &[]));
        move || {
            for first in (0..3000).step_by(100) {
                for partition in 0..2 {
                    produce_into(&stream, &producer, partition, first..first + 100, 5);
                }
                std::thread::sleep(Duration::from_millis(150));
            }
        }
    });
    let settings = [("CHILD_FOLDER", folder.path().to_str().unwrap())];
    assert!(kill_often(&stream, "files", &settings, 5) > 0);
    filling.join().unwrap();
    let mut job = stream.job();
    to_files(&mut job, folder.path());
    let finished = job.run().unwrap();
    let messages = read_all(broker, &stream.name, 2);
    for partition in 0..2 {
        let expected = expected(&stream, &messages, partition, true);
        let text = fs::read_to_string(folder.path().join(format!("files-{partition}.outputs"))).unwrap();
        let mut offsets: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
        offsets.sort_unstable();
        assert_eq!(offsets, (0..3000).collect::<Vec<u64>>());
        let unit = &finished.units[partition as usize];
        assert_eq!(unit.summary.as_ref().unwrap().state_sha256, expected.state_sha256);
    }
}

#[test]
fn the_newest_models_of_the_snapshot_topic_are_those_of_sequential_runs() {
    let Some(broker) = broker() else { return };
    let stream = create(broker, "models", 2, 2);
    fill(broker, &stream, 0..5000);
    let job = || {
        let mut job = stream.job();
        sink_of(&mut job).chunk_bytes = 64;
        job
    };
    let mut first = job();
    first.observer = Arc::new(Watcher { pause: Duration::from_millis(100), ..Watcher::default() });
    let running = Running::start(first);
    until_committed(&stream, "models-group", &[1000, 1000]);
    running.stop().unwrap();
    job().run().unwrap();
    let mut follower = Follower::open(&connection(broker), &stream.topic("snapshots"), Wanted::default()).unwrap();
    let mut found = BTreeMap::new();
    until("all snapshots are read", SOON, || {
        for followed in follower.poll(Duration::from_millis(500)).unwrap() {
            match followed {
                Followed::Snapshot { unit, snapshot, .. } => found.insert(unit, *snapshot),
                other => panic!("{other:?}"),
            };
        }
        follower.caught_up()
    });
    let messages = read_all(broker, &stream.name, 2);
    for partition in 0..2 {
        let unit = format!("models-{partition}");
        let (outputs, _) = sequential(&stream, &unit, &messages, partition, |_| true, true);
        let newest = outputs.into_iter().rev().find_map(|output| match output {
            Output::Snapshot(snapshot) => Some(*snapshot),
            _ => None,
        });
        let newest = newest.expect("a snapshot");
        assert_eq!(found[&unit].manifest, newest.manifest);
        let bytes = |snapshot: &lightcl_core::Snapshot| {
            snapshot.blobs.iter().map(|blob| (blob.role.clone(), blob.bytes.to_vec())).collect::<Vec<_>>()
        };
        assert_eq!(bytes(&found[&unit]), bytes(&newest));
    }
}

#[test]
fn predictions_come_as_arrow() {
    let Some(broker) = broker() else { return };
    let stream = create(broker, "arrow", 2, 2);
    fill(broker, &stream, 0..2000);
    let mut job = stream.job();
    sink_of(&mut job).prediction_format = ValueFormat::Arrow;
    job.run().unwrap();
    let mut found: BTreeMap<i32, Vec<u64>> = BTreeMap::new();
    let mut topics = BTreeSet::new();
    for message in read_all(broker, &stream.topic("predictions"), 2) {
        for batch in StreamReader::try_new(message.payload().unwrap(), None).unwrap() {
            let batch = batch.unwrap();
            let column = |name: &str| batch.column_by_name(name).unwrap();
            let partitions = column("source_partition").as_primitive::<Int32Type>();
            let offsets = column("source_offset").as_primitive::<UInt64Type>();
            for row in 0..batch.num_rows() {
                found.entry(partitions.value(row)).or_default().push(offsets.value(row));
                topics.insert(column("source_topic").as_string::<i32>().value(row).to_owned());
            }
        }
    }
    let messages = read_all(broker, &stream.name, 2);
    for partition in 0..2 {
        assert_eq!(found[&partition], expected(&stream, &messages, partition, true).predictions);
    }
    assert_eq!(topics, BTreeSet::from(["arrow".to_owned()]));
}
