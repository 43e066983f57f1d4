//! Instances that are killed, frozen, cut off, added and taken away while data flows: each output is committed once, and the
//! state of every partition is that of a sequential run.
//!
//! Instances are processes of this test binary. How often they are killed: `LIGHTCL_CHAOS_KILLS` (default 12). How long the
//! partitions stood still while they moved is printed (`--nocapture`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::jobs::{Stream, check, produce};
use common::{producer, read_all};
use lightcl_testkit::services::{self, Broker, Proxy};
use rand::{RngExt, SeedableRng};
use rdkafka::Message;
use rdkafka::producer::BaseProducer;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Where an instance finds its brokers, stream and number of partitions.
const INSTANCE: &str = "LIGHTCL_TEST_INSTANCE";

/// Not a test: an instance of a job, which stops cleanly when its standard input ends.
#[test]
#[ignore = "run by the other tests as a process of its own"]
fn instance() {
    let Ok(said) = std::env::var(INSTANCE) else { return };
    let _ = env_logger::builder().format_timestamp_millis().try_init();
    let [bootstrap, name, partitions, member] = said.split(',').collect::<Vec<_>>()[..] else { panic!("{said}") };
    let stream =
        Stream { bootstrap: bootstrap.to_owned(), name: name.to_owned(), partitions: partitions.parse().unwrap() };
    let mut job = stream.job();
    job.source.until_end = false;
    job.source.instance = (!member.is_empty()).then(|| member.to_owned());
    job.source.connection.properties.insert("session.timeout.ms".into(), "3000".into());
    job.source.connection.properties.insert("heartbeat.interval.ms".into(), "500".into());
    let stop = job.stop.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        stop.store(true, Ordering::Relaxed);
    });
    let finished = job.run().unwrap();
    assert!(finished.failed.is_empty(), "{:?}", finished.failed);
}

/// Longest time that a partition may stand still while instances come and go cleanly, with these sessions and heartbeats.
const STALL: Duration = Duration::from_secs(10);

/// An instance as a process.
struct Instance(Child);

impl Instance {
    fn start(stream: &Stream, member: &str) -> Instance {
        Self::start_with(stream, member, |_| {})
    }

    /// One whose log goes to the end of a file.
    fn start_logged(stream: &Stream, member: &str, log: &Path) -> Instance {
        let log = File::options().create(true).append(true).open(log).unwrap();
        Self::start_with(stream, member, |command| {
            command.env("RUST_LOG", "lightcl_kafka=info").stderr(log);
        })
    }

    fn start_with(stream: &Stream, member: &str, set: impl FnOnce(&mut Command)) -> Instance {
        let said = format!("{},{},{},{member}", stream.bootstrap, stream.name, stream.partitions);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "instance", "--ignored", "--nocapture"])
            .env(INSTANCE, said)
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        set(&mut command);
        Instance(command.spawn().unwrap())
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.0.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Stops cleanly, as a service does, and says how long that took.
    fn stop(mut self) -> Duration {
        let started = Instant::now();
        drop(self.0.stdin.take());
        let status = self.0.wait().unwrap();
        assert!(status.success(), "{status}");
        started.elapsed()
    }
}

/// Longest time between two predictions of a partition that follow each other, as their records are dated.
fn longest_stall(broker: &Broker, stream: &Stream) -> Duration {
    let mut last = vec![None; stream.partitions as usize];
    let mut longest = 0;
    for message in read_all(broker, &stream.topic("predictions"), stream.partitions) {
        let now = message.timestamp().to_millis().unwrap();
        if let Some(before) = last[message.partition() as usize].replace(now) {
            longest = longest.max(now - before);
        }
    }
    Duration::from_millis(longest as u64)
}

/// Produces in the background, slowly enough that instances are killed while data flows.
fn produce_slowly(broker: &Broker, stream: &Stream, rows: usize, seconds: f64) -> std::thread::JoinHandle<()> {
    let (producer, stream): (BaseProducer, Stream) = (producer(broker, &[]), stream.clone());
    std::thread::spawn(move || {
        let piece = 50;
        let pause = Duration::from_secs_f64(seconds * piece as f64 / rows as f64);
        let started = Instant::now();
        for (number, first) in (0..rows).step_by(piece).enumerate() {
            produce(&producer, &stream, first, piece.min(rows - first), rows);
            std::thread::sleep((pause * (number as u32 + 1)).saturating_sub(started.elapsed()));
        }
    })
}

fn kills() -> u32 {
    std::env::var("LIGHTCL_CHAOS_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(12)
}

/// Reads what is left, and compares everything.
fn finish_and_check(broker: &Broker, stream: &Stream) {
    let mut job = stream.job();
    job.source.connection.properties.insert("session.timeout.ms".into(), "6000".into());
    let finished = job.run().unwrap();
    assert!(finished.failed.is_empty(), "{:?}", finished.failed);
    check(broker, stream, &finished);
}

#[test]
fn an_instance_killed_again_and_again_commits_each_output_once() {
    if !services::ready_or_skipped() {
        return;
    }
    let broker = Broker::shared();
    let (kills, partitions) = (kills(), 6);
    let stream = Stream::create(broker, "killed", partitions);
    // 200,000 samples for 100 kills.
    let rows = 2000 * kills as usize / partitions as usize;
    let source = produce_slowly(broker, &stream, rows, f64::from(kills) * 2.0);
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    for _ in 0..kills {
        // The same member comes back at once: the group need not wait until it misses it.
        let instance = Instance::start(&stream, "one");
        std::thread::sleep(Duration::from_millis(random.random_range(700..3500)));
        instance.kill();
    }
    source.join().unwrap();
    finish_and_check(broker, &stream);
}

#[test]
fn an_instance_that_wakes_after_its_session_ended_commits_nothing_twice() {
    if !services::ready_or_skipped() {
        return;
    }
    let broker = Broker::shared();
    let stream = Stream::create(broker, "frozen", 3);
    let source = produce_slowly(broker, &stream, 9000, 40.0);
    let mut zombie = Instance::start(&stream, "");
    for _ in 0..3 {
        std::thread::sleep(Duration::from_secs(4));
        let other = Instance::start(&stream, "");
        std::thread::sleep(Duration::from_secs(3));
        zombie.signal("-STOP");
        // Longer than the session: its partitions go to the other.
        std::thread::sleep(Duration::from_secs(6));
        zombie.signal("-CONT");
        std::thread::sleep(Duration::from_secs(2));
        zombie.kill();
        zombie = other;
    }
    source.join().unwrap();
    zombie.stop();
    finish_and_check(broker, &stream);
}

#[test]
fn partitions_move_between_instances_that_come_and_go() {
    if !services::ready_or_skipped() {
        return;
    }
    let broker = Broker::shared();
    let stream = Stream::create(broker, "moved", 6);
    let source = produce_slowly(broker, &stream, 6000, 40.0);
    let first = Instance::start(&stream, "");
    std::thread::sleep(Duration::from_secs(6));
    let (second, third) = (Instance::start(&stream, ""), Instance::start(&stream, ""));
    std::thread::sleep(Duration::from_secs(10));
    let took = third.stop();
    assert!(took < Duration::from_secs(10), "a clean stop took {took:?}");
    std::thread::sleep(Duration::from_secs(6));
    source.join().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    first.stop();
    second.stop();
    let stall = longest_stall(broker, &stream);
    println!("one instance, three, two: the longest time without a prediction of a partition was {stall:?}");
    assert!(stall < STALL, "a partition stood still for {stall:?}");
    finish_and_check(broker, &stream);
}

#[test]
fn a_rolling_restart_of_three_moves_only_the_partitions_of_the_one_that_goes() {
    if !services::ready_or_skipped() {
        return;
    }
    let broker = Broker::shared();
    let stream = Stream::create(broker, "rolled", 6);
    let logs = tempfile::tempdir().unwrap();
    let log = logs.path().join("log");
    let source = produce_slowly(broker, &stream, 6000, 45.0);
    let start = || Instance::start_logged(&stream, "", &log);
    let mut instances = std::collections::VecDeque::from([start(), start(), start()]);
    std::thread::sleep(Duration::from_secs(8));
    let restored = || std::fs::read_to_string(&log).unwrap().matches(": restored in ").count();
    let before = restored();
    for _ in 0..instances.len() {
        instances.pop_front().unwrap().stop();
        std::thread::sleep(Duration::from_secs(1));
        instances.push_back(start());
        std::thread::sleep(Duration::from_secs(8));
    }
    let moved = restored() - before;
    source.join().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    for instance in instances {
        instance.stop();
    }
    let stall = longest_stall(broker, &stream);
    println!("a rolling restart of three: {moved} states restored, no partition without a prediction for {stall:?}");
    assert!(stall < STALL, "a partition stood still for {stall:?}");
    // Each of three has two partitions. Were all six taken from everybody at each coming and going, there would be 36.
    assert!((6..=24).contains(&moved), "{moved} states were restored:\n{}", std::fs::read_to_string(&log).unwrap());
    finish_and_check(broker, &stream);
}

#[test]
fn a_broker_that_restarts_and_one_that_is_cut_off_lose_nothing() {
    if !services::ready_or_skipped() {
        return;
    }
    let proxy = Proxy::start();
    let port = services::free_port().to_string();
    let address = proxy.forward("broker", &format!("127.0.0.1:{port}"));
    let broker = Broker::start(&["--port", &port, "--advertise", &address]);
    let stream = Stream { bootstrap: address, ..Stream::create(&broker, "cut", 3) };
    let source = produce_slowly(&broker, &stream, 6000, 45.0);
    let instance = Instance::start(&stream, "");
    std::thread::sleep(Duration::from_secs(6));
    for hang in [200, 700, 1500] {
        // In the middle of whatever transaction is open then.
        proxy.cut("broker");
        std::thread::sleep(Duration::from_millis(hang));
        proxy.restore("broker");
        std::thread::sleep(Duration::from_secs(4));
    }
    proxy.hang("broker");
    std::thread::sleep(Duration::from_secs(5));
    proxy.restore("broker");
    std::thread::sleep(Duration::from_secs(4));
    broker.restart();
    std::thread::sleep(Duration::from_secs(4));
    broker.kill_hard();
    broker.restart();
    source.join().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    instance.stop();
    finish_and_check(&broker, &stream);
}
