//! `lightcl score --follow` and `lightcl kafka retire` against a real broker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use lightcl_testkit::services::{self, Broker, tool, tool_with_input};
use serde_json::Value;
use std::fmt::Write;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

fn lightcl(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lightcl"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// Rows of two numbers, of class `up` where the first is positive.
fn rows(range: std::ops::Range<u32>, labelled: bool) -> String {
    range.fold(String::new(), |mut rows, number| {
        let x = f64::from(number * 37 % 101) / 50.0 - 1.0;
        let label = if x > 0.0 { "up" } else { "down" };
        let label = if labelled { format!(r#", "label": "{label}""#) } else { String::new() };
        writeln!(rows, r#"{{"x": {x:.2}, "y": {}.5, "id": "{number}"{label}}}"#, number % 3).unwrap();
        rows
    })
}

fn produce(broker: &Broker, topic: &str, lines: &str) {
    let output =
        tool_with_input("ConsoleProducer", &["--bootstrap-server", &broker.bootstrap(), "--topic", topic], lines);
    assert!(output.status.success(), "{}", said(&output));
}

fn consume(broker: &Broker, topic: &str, count: usize) -> Vec<Value> {
    let bootstrap = broker.bootstrap();
    let count_text = count.to_string();
    let arguments = [
        "--bootstrap-server",
        &bootstrap,
        "--topic",
        topic,
        "--from-beginning",
        "--max-messages",
        &count_text,
        "--timeout-ms",
        "30000",
    ];
    let output = tool("ConsoleConsumer", &arguments);
    let text = String::from_utf8_lossy(&output.stdout);
    let found: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(found.len(), count, "{}", said(&output));
    found
}

/// Ends the program when the test ends, in whatever way.
struct Following(Child);

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn events_are_scored_by_what_a_job_publishes() {
    if !services::ready_or_skipped() {
        return;
    }
    let broker = Broker::shared();
    let folder = tempfile::tempdir().unwrap();
    let pipeline = folder.path().join("shop.toml");
    let text = format!(
        r#"
name = "shop"
[source]
type = "kafka"
brokers = "{}"
topics = ["learn"]
group = "shop"
[sample]
features = ["x", "y"]
label = "label"
id = "id"
standardize = true
[learner]
hidden = [32, 32]
frozen = 1
learning_rate = 0.05
head = "mixture"
window_samples = 32
[snapshot]
every_samples = 1000
[sink]
type = "kafka"
commit_ms = 200
[sink.topics]
predictions = "learnt"
snapshots = "models"
dead_letters = "dead"
state = "state"
"#,
        broker.bootstrap()
    );
    fs::write(&pipeline, text).unwrap();
    let pipeline = pipeline.to_str().unwrap();
    for (topic, settings) in [("learn", &[][..]), ("events", &[]), ("scores", &[]), ("learnt", &[]), ("dead", &[])] {
        broker.create_topic(topic, 1, settings);
    }
    for topic in ["models", "state"] {
        broker.create_topic(topic, 1, &["cleanup.policy=compact"]);
    }
    let learn = |from: u32, to: u32| {
        produce(broker, "learn", &rows(from..to, true));
        let output = lightcl(&["run", pipeline, "--until-end", "--quiet"]).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    };

    let mut command = lightcl(&["score", "--follow", pipeline, "--set", "source.topics=[\"events\"]"]);
    command.args(["--set", "sink.topics.predictions=scores"]).stderr(Stdio::piped());
    let mut following = Following(command.spawn().unwrap());
    let (tell, lines) = mpsc::channel();
    let standard_error = BufReader::new(following.0.stderr.take().unwrap());
    // Ends with the program.
    thread::spawn(move || standard_error.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
    let expect = |what: &str| {
        let mut before = String::new();
        loop {
            let Ok(line) = lines.recv_timeout(Duration::from_secs(30)) else { panic!("no '{what}' in:\n{before}") };
            if line.contains(what) {
                return;
            }
            writeln!(before, "{line}").unwrap();
        }
    };
    expect("waiting for a first snapshot");
    produce(broker, "events", &rows(0..100, false));
    produce(broker, "events", "{\"x\": \"?\", \"y\": 1.0}\n");
    learn(0, 2000);
    expect("is in force");
    let first = consume(broker, "scores", 100);
    let version = first[0]["model_version"].as_u64().unwrap();
    assert!(version >= 1);
    let labelled = rows(0..100, true);
    let right = first.iter().zip(labelled.lines()).filter(|(scored, row)| {
        let row: Value = serde_json::from_str(row).unwrap();
        assert_eq!(
            (&scored["id"], &scored["label"], &scored["source_topic"]),
            (&row["id"], &Value::Null, &"events".into())
        );
        assert_eq!((&scored["unit"], &scored["model_unit"]), (&"events-0".into(), &"learn-0".into()));
        scored["predicted"] == row["label"]
    });
    let right = right.count();
    assert!(right >= 90, "{right} of 100 are right");
    // One that could not be scored, and where it stood.
    let letters = tool(
        "ConsoleConsumer",
        &[
            "--bootstrap-server",
            &broker.bootstrap(),
            "--topic",
            "dead",
            "--from-beginning",
            "--max-messages",
            "1",
            "--timeout-ms",
            "30000",
            "--property",
            "print.headers=true",
        ],
    );
    let letters = String::from_utf8_lossy(&letters.stdout).into_owned();
    assert!(letters.contains("source_topic:events") && letters.contains("source_offset:100"), "{letters}");

    // The job goes on, and so do its models.
    learn(2000, 4000);
    expect("is in force");
    produce(broker, "events", &rows(100..200, false));
    let second = consume(broker, "scores", 200);
    assert!(second[199]["model_version"].as_u64().unwrap() > version);

    let stopped = Command::new("kill").args(["-TERM", &following.0.id().to_string()]).status().unwrap();
    assert!(stopped.success());
    let deadline = Instant::now() + Duration::from_secs(20);
    let status = loop {
        if let Some(status) = following.0.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "it does not stop");
        thread::sleep(Duration::from_millis(50));
    };
    assert!(status.success(), "{status}");

    let retire = || {
        let output = lightcl(&["kafka", "retire", pipeline, "--model", "shop", "--state"]).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let removed = retire();
    assert!(!removed.contains(" 0 records"), "{removed}");
    assert_eq!(retire().matches(" 0 records").count(), 2);
}

#[test]
fn a_pipeline_without_kafka_has_nothing_to_follow() {
    let top = concat!(env!("CARGO_MANIFEST_DIR"), "/../../pipelines");
    let file = fs::read_dir(top)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| fs::read_to_string(path).is_ok_and(|text| text.contains("type = \"arrow\"")))
        .unwrap();
    let output = lightcl(&["score", "--follow", file.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("no events to follow"), "{}", said(&output));
    let output = lightcl(&["score", "--follow", "x.toml", "snapshot", "rows.csv"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}
