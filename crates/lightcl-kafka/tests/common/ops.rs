//! What befalls topics, groups and processes; and running jobs to watch.

#![allow(dead_code, reason = "no test needs all of it")]

use crate::common::admin::{self, Topic, block_on, create_topics};
use crate::common::jobs::{Stream, block_of, format_config, make_operator, null_schema};
use crate::common::{COMPACTED, read_all};
use lightcl_core::state::sha256_hex;
use lightcl_core::{Output, PositionedBatch, Result, RowFault, RowOffsets, Stateful};
use lightcl_kafka::format::{self, Format, Rows};
use lightcl_kafka::records::RecordBlock;
use lightcl_kafka::{Finished, Job, Observer, Target};
use lightcl_stream::Operator;
use lightcl_testkit::services::Broker;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::OwnedMessage;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

fn client(bootstrap: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap()
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)))
}

/// Makes the topics of a stream; the outputs have `outputs` partitions.
pub fn create(broker: &Broker, name: &str, partitions: i32, outputs: i32) -> Stream {
    let stream = Stream { bootstrap: broker.bootstrap(), name: name.to_owned(), partitions };
    create_input(&stream);
    create_outputs(&stream, outputs);
    stream
}

pub fn create_input(stream: &Stream) {
    make_topics(&stream.bootstrap, &[(stream.name.clone(), stream.partitions, false)]);
}

pub fn create_outputs(stream: &Stream, partitions: i32) {
    let topics: Vec<_> = ["predictions", "stability", "boundaries", "dead", "snapshots", "state"]
        .map(|output| (stream.topic(output), partitions, matches!(output, "snapshots" | "state")))
        .into();
    make_topics(&stream.bootstrap, &topics);
}

fn make_topics(bootstrap: &str, topics: &[(String, i32, bool)]) {
    // DeleteRecords wants a topic that deletes too.
    let settings = |name: &str, compacted| match compacted {
        true if name.ends_with(".state") => &["cleanup.policy=compact,delete"][..],
        true => COMPACTED,
        false => &[],
    };
    let topics: Vec<Topic<'_>> = topics
        .iter()
        .map(|(name, partitions, compacted)| (name.as_str(), *partitions, settings(name, *compacted)))
        .collect();
    create_topics(bootstrap, &topics);
}

pub fn delete_topic(stream: &Stream) {
    block_on(client(&stream.bootstrap).delete_topics(&[&stream.name], &options())).unwrap().remove(0).unwrap();
    // Gone is it a little later.
    std::thread::sleep(Duration::from_secs(1));
}

pub fn delete_records(stream: &Stream, topic: &str, partition: i32, before: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(before)).unwrap();
    let deleted = block_on(client(&stream.bootstrap).delete_records(&list, &options())).unwrap();
    deleted.elements()[0].error().unwrap();
}

pub fn add_partitions(stream: &Stream, total: usize) {
    let news = NewPartitions::new(&stream.name, total);
    block_on(client(&stream.bootstrap).create_partitions(&[news], &options())).unwrap().remove(0).unwrap();
}

/// Ends of a partition, with what is in open transactions.
pub fn ends(stream: &Stream, topic: &str, partition: i32) -> (i64, i64) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &stream.bootstrap).set("isolation.level", "read_uncommitted");
    let consumer: BaseConsumer = config.create().unwrap();
    consumer.fetch_watermarks(topic, partition, Duration::from_secs(20)).unwrap()
}

fn group_client(stream: &Stream, group: &str) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &stream.bootstrap).set("group.id", group).set("enable.auto.commit", "false");
    config.create().unwrap()
}

/// What a group has committed in each partition of the input.
pub fn committed(stream: &Stream, group: &str) -> Vec<Option<i64>> {
    admin::committed(&stream.bootstrap, group, &stream.name, stream.partitions)
}

/// Moves what a group has committed.
pub fn commit(stream: &Stream, group: &str, partition: i32, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&stream.name, partition, Offset::Offset(offset)).unwrap();
    group_client(stream, group).commit(&list, CommitMode::Sync).unwrap();
}

/// Writes rows into one partition, those from `first` on of `total`, each with a key of `keys`.
pub fn produce_into(
    stream: &Stream,
    producer: &BaseProducer,
    partition: i32,
    rows: std::ops::Range<usize>,
    keys: usize,
) {
    for number in rows {
        let value = crate::common::jobs::row(number, 100_000);
        let key = format!("key-{}", number * 31 % keys);
        loop {
            let record = BaseRecord::<str, str>::to(&stream.name).key(&key).partition(partition).payload(&value);
            match producer.send(record) {
                Ok(()) => break,
                Err(_) => {
                    producer.poll(Duration::from_millis(20));
                }
            }
        }
    }
    producer.flush(Duration::from_secs(60)).unwrap();
}

/// Waits until something is so.
#[track_caller]
pub fn until(what: &str, within: Duration, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !so() {
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until a group has committed so much of each partition.
#[track_caller]
pub fn until_committed(stream: &Stream, group: &str, offsets: &[i64]) {
    let consumer = group_client(stream, group);
    let mut last = Vec::new();
    let mut list = TopicPartitionList::new();
    for partition in 0..offsets.len() {
        list.add_partition(&stream.name, partition as i32);
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        // A new broker first has to find who looks after groups.
        let Ok(found) = consumer.committed_offsets(list.clone(), Duration::from_secs(20)) else { continue };
        last = found.elements().iter().map(|element| element.offset().to_raw().unwrap_or(-1)).collect();
        if last.iter().zip(offsets).all(|(is, wanted)| is >= wanted) {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{} never came to {offsets:?}: {last:?}", stream.name);
}

/// A job on a thread.
pub struct Running {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Finished>>,
}

impl Running {
    /// Starts a job that goes on until it is stopped.
    pub fn start(mut job: Job) -> Running {
        job.source.until_end = false;
        let stop = Arc::clone(&job.stop);
        Running { stop, thread: std::thread::spawn(move || job.run()) }
    }

    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end.
    pub fn end(self) -> Result<Finished> {
        self.thread.join().unwrap()
    }

    pub fn stop(self) -> Result<Finished> {
        self.stop.store(true, Ordering::Relaxed);
        self.end()
    }
}

/// The error with which a job, or its only unit, ended.
#[track_caller]
pub fn error_of(ended: Result<Finished>) -> String {
    match ended {
        Err(error) => error.to_string(),
        Ok(finished) => panic!("it went well: {finished:?}"),
    }
}

/// Takes part in a job: pauses after each block, and writes down what state stands at which positions.
#[derive(Default)]
pub struct Watcher {
    pub pause: Duration,
    pub rows: AtomicU64,
    pub commits: AtomicU64,
    /// Where positions and the hash of the state go after each push.
    pub states: Option<Mutex<std::fs::File>>,
}

impl Observer for Watcher {
    fn pushed(&self, _: &str, operator: Option<&Operator>, rows: usize, _: &[Output], _: Duration) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        if let (Some(file), Some(operator)) = (&self.states, operator) {
            let state = sha256_hex(&operator.save().unwrap());
            let line = format!("{:?} {state}\n", operator.positions().0);
            file.lock().unwrap().write_all(line.as_bytes()).unwrap();
        }
        std::thread::sleep(self.pause);
    }

    fn committed(&self, _: &str, _: usize, _: usize, _: Duration) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }
}

/// A reader of records that takes its time with each block.
pub struct Slow(pub Box<dyn Format>, pub Duration);

impl Format for Slow {
    fn read(&mut self, block: &RecordBlock) -> Result<Rows> {
        std::thread::sleep(self.1);
        self.0.read(block)
    }
}

impl Stateful for Slow {
    fn save(&self) -> Result<Vec<u8>> {
        self.0.save()
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.restore(bytes)
    }
}

/// This test program again, as a process that can be killed: its test `child` runs.
pub struct Process(Child);

impl Process {
    pub fn start(stream: &Stream, kind: &str, settings: &[(&str, &str)]) -> Process {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--ignored", "--nocapture"]).stdout(Stdio::null());
        command.env("CHILD_KIND", kind).env("CHILD_BOOTSTRAP", &stream.bootstrap).env("CHILD_STREAM", &stream.name);
        command.env("CHILD_PARTITIONS", stream.partitions.to_string()).envs(settings.iter().copied());
        Process(command.spawn().unwrap())
    }

    /// `kill -9`. Gives whether it still ran.
    pub fn kill(mut self) -> bool {
        let ran = self.0.try_wait().unwrap().is_none();
        let _ = self.0.kill();
        self.0.wait().unwrap();
        ran
    }

    pub fn wait(mut self) {
        assert!(self.0.wait().unwrap().success());
    }
}

/// What a child process was started for: its kind and stream.
pub fn child() -> Option<(String, Stream)> {
    let kind = std::env::var("CHILD_KIND").ok()?;
    let stream = Stream {
        bootstrap: std::env::var("CHILD_BOOTSTRAP").unwrap(),
        name: std::env::var("CHILD_STREAM").unwrap(),
        partitions: std::env::var("CHILD_PARTITIONS").unwrap().parse().unwrap(),
    };
    Some((kind, stream))
}

pub fn child_path(name: &str) -> PathBuf {
    std::env::var(name).unwrap().into()
}

/// Kills a process at odd times, and starts it again at once; gives how often it was at work when it was killed.
pub fn kill_often(stream: &Stream, kind: &str, settings: &[(&str, &str)], times: usize) -> usize {
    let mut killed = 0;
    for number in 0..times {
        let process = Process::start(stream, kind, settings);
        std::thread::sleep(Duration::from_millis(700 + (number as u64 * 389) % 900));
        killed += usize::from(process.kill());
    }
    killed
}

/// A static member is taken over by its next life without any wait.
pub fn as_member(job: &mut Job, instance: &str) {
    job.source.instance = Some(instance.to_owned());
}

pub fn sink_of(job: &mut Job) -> &mut lightcl_kafka::config::SinkConfig {
    match &mut job.target {
        Target::Kafka(sink) => sink,
        Target::Sinks(_) => panic!("no sink of Kafka"),
    }
}

/// What a learner makes of the records of a partition that `wanted` lets through.
pub fn sequential(
    stream: &Stream,
    learner: &str,
    messages: &[OwnedMessage],
    partition: i32,
    wanted: impl Fn(&OwnedMessage) -> bool,
    finish: bool,
) -> (Vec<Output>, Operator) {
    let mut operator = make_operator(learner, &null_schema()).unwrap();
    let mut format = format::open(&format_config()).unwrap();
    let messages: Vec<OwnedMessage> =
        messages.iter().filter(|message| message.partition() == partition).cloned().collect();
    let block = block_of(stream, &messages, partition);
    let rows = format.read(&block).unwrap();
    let taken: Vec<u32> =
        (0..rows.records.len()).filter(|&row| wanted(&messages[rows.records[row]])).map(|row| row as u32).collect();
    let faults = rows.faults.iter().filter_map(|fault| {
        let row = taken.iter().position(|&row| row as usize == fault.row)?;
        Some(RowFault { row, ..fault.clone() })
    });
    let offsets: Arc<[u64]> = taken.iter().map(|&row| block.record(rows.records[row as usize]).offset as u64).collect();
    let next = offsets.last().map_or(0, |last| last + 1);
    let indices = arrow_array::UInt32Array::from(taken.clone());
    let batch = PositionedBatch {
        batch: arrow_select::take::take_record_batch(&rows.batch, &indices).unwrap(),
        partition: format!("{}-{partition}", stream.name).into(),
        offsets: RowOffsets::Listed { offsets, next },
        faults: faults.collect(),
    };
    let mut outputs = operator.push(&batch).unwrap();
    if finish {
        outputs.extend(operator.finish().unwrap());
    }
    (outputs, operator)
}

/// Offsets of predictions and dead letters, by input partition, sorted.
pub fn answered(broker: &Broker, stream: &Stream) -> BTreeMap<i32, Vec<u64>> {
    use crate::common::jobs::{by_source, dead_by_source};
    let mut found = by_source(&read_all(broker, &stream.topic("predictions"), stream.partitions));
    for (partition, offsets) in dead_by_source(&read_all(broker, &stream.topic("dead"), stream.partitions)) {
        found.entry(partition).or_default().extend(offsets);
    }
    found.values_mut().for_each(|offsets| offsets.sort_unstable());
    found
}

/// Offsets of the input's records, by partition.
pub fn asked(messages: &[OwnedMessage]) -> BTreeMap<i32, Vec<u64>> {
    let mut found: BTreeMap<i32, Vec<u64>> = BTreeMap::new();
    for message in messages {
        found.entry(message.partition()).or_default().push(message.offset() as u64);
    }
    found.values_mut().for_each(|offsets| offsets.sort_unstable());
    found
}
