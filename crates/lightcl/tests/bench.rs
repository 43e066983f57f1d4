//! `lightcl bench` from outside.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use serde_json::{Value, json};
use std::path::Path;
use std::process::{self, Command};

fn bench(arguments: &[&str]) -> process::Output {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    Command::new(env!("CARGO_BIN_EXE_lightcl")).current_dir(top).arg("bench").args(arguments).output().unwrap()
}

fn named<'a>(list: &'a Value, key: &str, name: &str) -> &'a Value {
    list.as_array().unwrap().iter().find(|entry| entry[key] == name).unwrap()
}

fn picked(value: &Value, keys: &[&str]) -> Value {
    keys.iter().map(|&key| value[key].clone()).collect()
}

#[test]
fn boundaries_are_compared_with_the_oracle_and_with_none() {
    let arguments = ["boundaries", "--quick", "--json", "--streams", "sine,class_incremental,usenet1"];
    let output = bench(&[&arguments[..], &["--detectors", "never,new_classes,known", "--rollback", "both"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(picked(&report, &["suite", "rule"]), json!(["boundaries", {"max_delay": 1000, "max_offset": 256}]));

    let sine = named(&report["streams"], "stream", "sine");
    assert_eq!(
        picked(sine, &["truth", "rows", "held_out_rows", "change_points"]),
        json!(["all", 3600, 400, [900, 2025, 2700]])
    );
    let known = named(&sine["detectors"], "detector", "known");
    assert_eq!(picked(known, &["f1", "median_delay", "false_alarms"]), json!([1.0, 0.0, 0]));
    assert_eq!(known["runs"][0]["boundaries"][1], json!({"at": 2025, "detected_at": 2025}));
    // Labels are reversed at each change and learnt anew; guessing would give a half.
    assert!(known["prequential_accuracy"].as_f64().unwrap() > 0.7);
    let blind = named(&sine["detectors"], "detector", "new_classes");
    assert_eq!(picked(blind, &["matched", "missed", "precision", "f1"]), json!([0, 3, null, 0.0]));

    let classes = named(&report["streams"], "stream", "class_incremental");
    let found = named(&classes["detectors"], "detector", "new_classes");
    assert_eq!(picked(found, &["matched", "false_alarms", "recall"]), json!([3, 0, 1.0]));
    assert!(found["task_il"].as_f64().unwrap() > 0.9);
    assert!(["detector_ns_per_row", "learner_ns_per_row"].iter().all(|key| found[key].as_f64().unwrap() > 0.0));
    let modes: Value =
        classes["detectors"].as_array().unwrap().iter().map(|row| picked(row, &["detector", "rollback"])).collect();
    assert_eq!((modes.as_array().unwrap().len(), &modes[3]), (6, &json!(["new_classes", false])));

    assert_eq!(report["skipped"][0]["stream"], "usenet1");
    assert!(report["skipped"][0]["reason"].as_str().unwrap().contains("--data DIR"));
    assert_eq!(report["summary"].as_array().unwrap().len(), 6);
    assert_eq!(named(&report["summary"], "detector", "known")["mean_f1"], 1.0);
}

#[test]
fn files_of_the_repository_are_found_and_tables_printed() {
    let output = bench(&["--quick", "--streams", "fashion_split,elec2", "--detectors", "new_classes,known"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("fashion_split: 1800 rows, changes at 360 720 1080 1440"), "{text}");
    assert!(text.contains("at most 1000 rows after a true change point and placed at most 256 rows from it"), "{text}");
    assert!(text.contains("elec2: 3000 rows") && text.contains("All streams"), "{text}");
}

#[test]
fn wrong_names_are_refused_with_those_that_there_are() {
    for (arguments, hint) in [
        (["--streams", "sin"], "did you mean sine?"),
        (["--detectors", "eror"], "did you mean error?"),
        (["--seeds", "0"], "1..=1000"),
        (["--detectors", "auto,auto"], "twice"),
        (["--data", "no-such-folder"], "--data is no folder"),
        (["--methods", "network"], "does not take the option"),
    ] {
        let output = bench(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(hint), "{arguments:?}");
    }
    for (arguments, hint) in [
        (["patterns", "--streams", "mnist_spilt"], "did you mean mnist_split?"),
        (["patterns", "--methods", "mixtur"], "did you mean mixture?"),
        (["patterns", "--analytic", "7"], "JSON object"),
        (["patterns", "--river", "python3"], "does not take the option"),
        (["streams", "--streams", "elec"], "did you mean elec2?"),
        (["streams", "--detectors", "auto"], "does not take the option"),
    ] {
        let output = bench(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(hint), "{arguments:?}");
    }
}

#[test]
fn heads_are_compared_on_tasks_of_the_examples() {
    let output = bench(&["patterns", "--quick", "--json", "--analytic", "{\"width\": 200}"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(picked(&report, &["suite", "seeds", "quick"]), json!(["patterns", 1, true]));
    let fashion = named(&report["streams"], "stream", "fashion_split");
    assert_eq!(picked(fashion, &["tasks", "rows", "test_rows"]), json!([5, 1000, 500]));
    let figure = |method: &str, key: &str| named(&fashion["methods"], "method", method)[key]["mean"].as_f64().unwrap();
    // The network forgets which task is which; sums do not.
    assert!(figure("network", "class_il") < 0.5 && figure("analytic_1000", "class_il") > 0.6, "{fashion}");
    assert!(figure("analytic_1000", "task_il") > 0.9 && figure("mixture", "class_il") > 0.6, "{fashion}");
    assert_eq!(named(&fashion["methods"], "method", "network")["statistics_bytes"], 0);
    assert!(named(&fashion["methods"], "method", "mixture")["statistics_bytes"].as_u64().unwrap() > 100_000);
    let left_out = named(&report["skipped"], "stream", "mnist_split");
    assert!(left_out["reason"].as_str().unwrap().contains("--data DIR"));
}

#[test]
fn heads_are_compared_on_tables_of_the_examples() {
    let output = bench(&["streams", "--quick", "--streams", "weather,rialto"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("weather: 1000 rows") && text.contains("rialto: left out"), "{text}");
    assert!(["network", "analytic", "mixture+label", "no change", "majority"].iter().all(|row| text.contains(row)));
    let json = bench(&["streams", "--quick", "--json", "--streams", "elec2", "--methods", "mixture+label"]);
    let report: Value = serde_json::from_slice(&json.stdout).unwrap();
    let elec2 = named(&report["streams"], "stream", "elec2");
    let mixture = named(&elec2["methods"], "method", "mixture+label");
    let accuracy = |value: &Value| value.as_f64().unwrap();
    let experts = &mixture["experts"];
    assert_eq!(experts.as_object().unwrap().len(), 7, "{experts}");
    // No change is an expert: by itself it is as good as the baseline, but for the first rows.
    assert!((accuracy(&experts["no_change"]) - accuracy(&elec2["no_change_accuracy"])).abs() < 0.01, "{elec2}");
    assert!(accuracy(&mixture["accuracy"]["mean"]) > accuracy(&elec2["majority_accuracy"]), "{elec2}");
}
