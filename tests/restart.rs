//! The plug is pulled: a run that is killed anywhere and resumed ends with the bytes of one that was not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::{Numbers, run, run_command, shown, summary};
use tempfile::tempdir;

const PIPELINE: &str = "pipelines/fashion-mnist.toml";
/// Checkpoints close together, so that kills fall between, into and right after them.
const OFTEN: &[&str] = &["--set", "checkpoint.every_samples=700", "--set", "predictions.format=jsonl"];

fn start(out: &Path, threads: usize) -> Child {
    let mut command = run_command(PIPELINE, out, OFTEN);
    command.env("RAYON_NUM_THREADS", threads.to_string()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Every committed output file of a run, by name.
fn outputs(out: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for name in ["boundaries.jsonl", "stability.jsonl", "predictions.jsonl"] {
        files.push((name.to_owned(), fs::read(out.join(name)).unwrap()));
    }
    let mut snapshots: Vec<_> =
        fs::read_dir(out.join("snapshots")).unwrap().map(|entry| entry.unwrap().path().join("manifest.json")).collect();
    snapshots.sort();
    for path in snapshots.iter().filter(|path| path.exists()) {
        files.push((path.strip_prefix(out).unwrap().display().to_string(), fs::read(path).unwrap()));
    }
    files
}

#[test]
fn fifty_kills_at_random_moments_change_neither_state_nor_outputs() {
    let folder = tempdir().unwrap();
    let straight = folder.path().join("straight");
    let started = Instant::now();
    let expected = run(PIPELINE, &straight, OFTEN);
    let whole = started.elapsed();

    let killed = folder.path().join("killed");
    let mut numbers = Numbers(20_261_125);
    let (mut kills, mut fresh_starts) = (0, 0);
    while kills < 50 {
        let mut child = start(&killed, [1, 2, 4][kills % 3]);
        // Long enough that some progress is made, short enough that most kills fall into work.
        sleep(Duration::from_millis(40) + whole.mul_f64(0.25 * numbers.unit()));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            kills += 1;
        } else {
            // It came to its end before the kill: pull the plug on a new run from the start instead.
            fs::remove_dir_all(&killed).unwrap();
            fresh_starts += 1;
            assert!(fresh_starts < 200, "the run is too short to be killed");
        }
        child.wait().unwrap();
    }
    let resumed = run(PIPELINE, &killed, OFTEN);
    assert_eq!(resumed["state_sha256"], expected["state_sha256"]);
    for key in ["samples", "boundaries", "task_il", "class_il", "prequential_accuracy", "snapshots", "stability"] {
        assert_eq!(resumed[key], expected[key], "{key}");
    }
    for ((name, got), (_, wanted)) in outputs(&killed).iter().zip(&outputs(&straight)) {
        assert!(got == wanted, "{name} differs after kills");
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let folder = tempdir().unwrap();
    let hashes: Vec<_> = [1, 2, 4]
        .map(|threads| {
            let out = folder.path().join(threads.to_string());
            let output =
                run_command(PIPELINE, &out, &[]).env("RAYON_NUM_THREADS", threads.to_string()).output().unwrap();
            assert!(output.status.success(), "{}", shown(&output));
            summary(&output)["state_sha256"].clone()
        })
        .to_vec();
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}

#[cfg(unix)]
#[test]
fn sigint_and_sigterm_stop_cleanly_and_the_next_run_goes_on() {
    let folder = tempdir().unwrap();
    let expected = run(PIPELINE, &folder.path().join("straight"), OFTEN);
    let out = folder.path().join("stopped");
    for signal in ["INT", "TERM"] {
        let child = start(&out, 2);
        sleep(Duration::from_millis(400));
        let sent =
            std::process::Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "after SIG{signal}");
        assert!(!out.join("summary.json").exists(), "a stopped run has not come to its end");
    }
    let resumed = run(PIPELINE, &out, OFTEN);
    assert_eq!(resumed["state_sha256"], expected["state_sha256"]);
}

#[test]
fn a_changed_configuration_is_refused_with_the_difference_and_fresh_starts_over() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("run");
    run("pipelines/weather.toml", &out, &[]);
    let refused = run_command("pipelines/weather.toml", &out, &["--set", "learner.seed=9"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", shown(&refused));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("learner.seed") && said.contains("--fresh"), "{said}");
    let fresh = run("pipelines/weather.toml", &out, &["--set", "learner.seed=9", "--fresh"]);
    assert_eq!(fresh["samples"], 18_159);
}
