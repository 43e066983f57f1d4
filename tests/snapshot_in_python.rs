//! The program of `docs/snapshot-in-python.md`, run as it stands there, gives what `lightcl score` gives.
//!
//! It needs a Python with safetensors, numpy and pyarrow: `python3`, or the one that LIGHTCL_PYTHON names. Without one
//! the test says that it is skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::process::Command;
use support::{lightcl, run, shown, top};
use tempfile::tempdir;

/// The first block of Python in a page.
fn program(page: &str) -> String {
    let lines = page.lines().skip_while(|line| *line != "```python").skip(1).take_while(|line| *line != "```");
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_program_in_the_documentation_scores_as_lightcl_does() {
    let python = std::env::var("LIGHTCL_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let probe = Command::new(&python).args(["-c", "import safetensors, numpy, pyarrow"]).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        println!("skipped: {python} has no safetensors, numpy and pyarrow; name one that has with LIGHTCL_PYTHON");
        return;
    }
    let folder = tempdir().unwrap();
    let script = folder.path().join("score.py");
    fs::write(&script, program(&fs::read_to_string(top().join("docs/snapshot-in-python.md")).unwrap())).unwrap();
    let test_rows = "examples/data/fashion-mnist-test.arrow";
    for (name, settings) in [
        ("network", &["learner.head=network"][..]),
        ("mixture", &["learner.head=mixture", "learner.analytic.width=1000", "learner.analytic.tap=[\"input\"]"]),
        ("analytic", &["learner.head=analytic", "learner.analytic.standardize=none"]),
        (
            "taps",
            &[
                "learner.head=mixture",
                "learner.analytic.tap=[\"input\", \"prefix\"]",
                "learner.analytic.forget=[1.0, 0.99]",
            ],
        ),
        ("row", &["learner.head=mixture", "learner.analytic.update=row", "learner.analytic.linear=false"]),
    ] {
        let out = folder.path().join(name);
        let set: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
        run("pipelines/fashion-mnist.toml", &out, &set);
        // One in the middle, with groups that are closed and one that is open, and the last.
        for version in ["v000003", "v000005"] {
            let snapshot = out.join("snapshots").join(version);
            let scored = lightcl().arg("score").arg(&snapshot).arg(test_rows).output().unwrap();
            assert!(scored.status.success(), "{}", shown(&scored));
            let theirs = Command::new(&python).arg(&script).arg(&snapshot).arg(top().join(test_rows)).output().unwrap();
            assert!(theirs.status.success(), "{}", shown(&theirs));
            let (scored, theirs) =
                (String::from_utf8(scored.stdout).unwrap(), String::from_utf8(theirs.stdout).unwrap());
            assert_eq!(theirs.lines().count(), 2000);
            let mut largest: f64 = 0.0;
            for (ours, theirs) in scored.lines().zip(theirs.lines()) {
                let ours: serde_json::Value = serde_json::from_str(ours).unwrap();
                let (label, probability) = theirs.split_once(' ').unwrap();
                let away = (ours["probability"].as_f64().unwrap() - probability.parse::<f64>().unwrap()).abs();
                largest = largest.max(away);
                assert!(ours["predicted"] == label || away < 1e-6, "{name} {version}: {ours} and {theirs}");
            }
            println!("{name} {version}: probabilities differ by at most {largest:.1e}");
            assert!(largest < 1e-5, "{name} {version}: {largest}");
        }
    }
}
