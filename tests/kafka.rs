//! The program on a real broker: what it learns from a topic, killed and stopped on the way, is what it learns from a file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use arrow_json::LineDelimitedWriter;
use lightcl_testkit::services::{self, Broker, tool, tool_with_input};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::{Numbers, lightcl, shown, summary, top};
use tempfile::tempdir;

const PIPELINE: &str = "pipelines/kafka.toml";
const ROWS: usize = 12_000;

/// The first rows of elec2 as JSON lines.
fn elec2() -> String {
    let file = File::open(top().join("examples/data/elec2.parquet")).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().with_limit(ROWS).build().unwrap();
    let mut writer = LineDelimitedWriter::new(Vec::new());
    reader.for_each(|batch| writer.write(&batch.unwrap()).unwrap());
    writer.finish().unwrap();
    String::from_utf8(writer.into_inner()).unwrap()
}

/// The same pipeline over a file: all but `[source]` and `[sink]`. The file has the name of the topic's partition.
fn over_a_file(folder: &Path, rows: &str) -> serde_json::Value {
    fs::write(folder.join("samples-0"), rows).unwrap();
    let kafka = fs::read_to_string(top().join(PIPELINE)).unwrap();
    let mut text = "name = \"kafka\"\n[source]\ntype = \"jsonl\"\npath = \"samples-0\"\n".to_owned();
    let mut keeps = false;
    for line in kafka.lines() {
        if line.starts_with('[') {
            keeps = !line.starts_with("[source") && !line.starts_with("[sink");
        }
        if keeps && !line.starts_with("scope") {
            text.push_str(line);
            text.push('\n');
        }
    }
    fs::write(folder.join("file.toml"), text).unwrap();
    let output = lightcl().current_dir(folder).args(["run", "file.toml", "--json", "--quiet"]).output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    summary(&output)
}

fn on_kafka(broker: &Broker, extra: &[&str]) -> Command {
    let mut command = lightcl();
    command.args(["run", PIPELINE, "--json", "--set", &format!("source.brokers={}", broker.bootstrap())]);
    // The same member each time, so that the group need not wait until it misses one that was killed.
    command.args(["--set", "source.instance=one", "--set", "sink.commit_ms=100"]).args(extra);
    command
}

/// The answer to a GET: its status and its text.
fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer))
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} does not come");
        sleep(Duration::from_millis(100));
    }
}

/// Asks a process to stop, as a service manager does, and says how long that takes and what it says.
fn terminate(child: Child) -> (Duration, std::process::Output) {
    let started = Instant::now();
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    (started.elapsed(), output)
}

#[test]
fn a_topic_teaches_what_a_file_of_its_rows_does_however_often_the_program_is_killed() {
    if !services::ready_or_skipped() {
        return;
    }
    let folder = tempdir().unwrap();
    let rows = elec2();
    let expected = over_a_file(folder.path(), &rows);
    let broker = Broker::shared();
    broker.create_topic("samples", 1, &[]);
    let made = lightcl()
        .args(["kafka", "topics", PIPELINE, "--create", "--set", &format!("source.brokers={}", broker.bootstrap())])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", shown(&made));
    let produced =
        tool_with_input("ConsoleProducer", &["--bootstrap-server", &broker.bootstrap(), "--topic", "samples"], &rows);
    assert!(produced.status.success(), "{}", shown(&produced));

    let mut numbers = Numbers(6);
    for _ in 0..4 {
        let mut child = on_kafka(broker, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        sleep(Duration::from_millis(1500) + Duration::from_secs(1).mul_f64(numbers.unit()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // One that is asked to stop: alive, then ready, and gone in time with exit code 0.
    let address = format!("127.0.0.1:{}", services::free_port());
    let listen = format!("metrics.listen={address}");
    let child = on_kafka(broker, &["--set", &listen]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("/healthz", || get(&address, "/healthz").is_some_and(|(status, _)| status == 200));
    wait_for("/readyz", || get(&address, "/readyz").is_some_and(|(status, _)| status == 200));
    wait_for("lag", || {
        get(&address, "/metrics")
            .is_some_and(|(_, text)| text.contains("lightcl_kafka_lag_records{partition=\"samples-0\"}"))
    });
    let (took, output) = terminate(child);
    assert!(output.status.success() && took < Duration::from_secs(20), "after {took:?}: {}", shown(&output));
    assert_eq!(summary(&output)["stopped"], true);

    let output = on_kafka(broker, &["--until-end"]).output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    let found = summary(&output);
    for key in ["samples", "rejected", "tasks", "boundaries", "prequential_accuracy", "state_sha256"] {
        assert_eq!(found[key], expected[key], "{key} of\n{found}\nand\n{expected}");
    }
    let group = ["--bootstrap-server", &broker.bootstrap(), "--topic", "predictions", "--from-beginning"];
    let read = tool(
        "ConsoleConsumer",
        &[&group[..], &["--isolation-level", "read_committed", "--timeout-ms", "8000"]].concat(),
    );
    let text = String::from_utf8_lossy(&read.stdout);
    let mut offsets: Vec<u64> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["source_offset"].as_u64().unwrap())
        .collect();
    offsets.sort_unstable();
    assert_eq!(offsets, (0..ROWS as u64).collect::<Vec<_>>());
}

#[test]
fn without_a_sink_outputs_of_each_partition_go_to_a_folder_of_their_own() {
    if !services::ready_or_skipped() {
        return;
    }
    let folder = tempdir().unwrap();
    let broker = Broker::shared();
    broker.create_topic("to-files", 2, &[]);
    let rows: String = (0..4000)
        .map(|number: u32| {
            let x = f64::from(number * 37 % 101) / 50.0 - 1.0;
            format!("{{\"x\": {x}, \"y\": {}, \"label\": {}}}\n", number % 7, u32::from(x > 0.0))
        })
        .collect();
    for partition in ["0", "1"] {
        // Without keys the producer chooses; a partitioner that is told is not part of the console's.
        let arguments = [
            "-P",
            "-b",
            &broker.bootstrap(),
            "-t",
            "to-files",
            "-p",
            partition,
            "-l",
            &folder.path().join("rows").display().to_string(),
        ];
        fs::write(folder.path().join("rows"), &rows).unwrap();
        let output = Command::new("kcat").args(arguments).output();
        let Ok(output) = output else {
            println!("skipped: kcat is not here");
            return;
        };
        assert!(output.status.success(), "{}", shown(&output));
    }
    let pipeline = folder.path().join("files.toml");
    let text = format!(
        "[source]\ntype = \"kafka\"\nbrokers = \"{}\"\ntopics = [\"to-files\"]\ngroup = \"files\"\n[sample]\nfeatures = \
         [\"x\", \"y\"]\nlabel = \"label\"\n[learner]\nhidden = [8]\nfrozen = 0\n[predictions]\nformat = \"jsonl\"\n\
         [checkpoint]\nevery_samples = 1000\n",
        broker.bootstrap()
    );
    fs::write(&pipeline, text).unwrap();
    let out = folder.path().join("out");
    let run = |extra: &[&str]| {
        let mut command = lightcl();
        command
            .arg("run")
            .arg(&pipeline)
            .arg("--out")
            .arg(&out)
            .args(["--json", "--set", "source.instance=one"])
            .args(extra);
        command
    };
    let mut child = run(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    sleep(Duration::from_millis(2500));
    child.kill().unwrap();
    child.wait().unwrap();
    let output = run(&["--until-end"]).output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(summary(&output)["samples"], 8000, "{}", shown(&output));
    for partition in 0..2 {
        let text = fs::read_to_string(out.join(format!("to-files-{partition}/predictions.jsonl"))).unwrap();
        let indices: Vec<u64> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["index"].as_u64().unwrap())
            .collect();
        assert_eq!(indices, (0..4000).collect::<Vec<_>>());
    }
}
