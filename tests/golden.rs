//! The shipped pipelines, end to end: what a newcomer sees, over several seeds, beside the plain baseline.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use support::{mean_and_deviation, number, run, top};
use tempfile::tempdir;

#[test]
fn the_fashion_mnist_pipeline_learns_five_tasks_without_forgetting_the_first() {
    let folder = tempdir().unwrap();
    let mut figures = Vec::new();
    for (head, method) in [("mixture", "lightcl"), ("network", "lightcl"), ("network", "sgd")] {
        let (mut task_il, mut class_il, mut plasticity, mut stability) = (vec![], vec![], vec![], vec![]);
        for seed in 0..5 {
            let set = [format!("seed={seed}"), format!("method={method}"), format!("head={head}")];
            let set: Vec<String> = set.iter().flat_map(|set| ["--set".to_owned(), format!("learner.{set}")]).collect();
            let set: Vec<&str> = set.iter().map(String::as_str).collect();
            let out = folder.path().join(format!("{head}-{method}-{seed}"));
            let summary = run("pipelines/fashion-mnist.toml", &out, &set);
            assert_eq!(summary["samples"], 10_000);
            assert_eq!(summary["rejected"], 0);
            assert_eq!(summary["tasks"], 5);
            assert_eq!(summary["boundaries"], serde_json::json!([2000, 4000, 6000, 8000]));
            assert_eq!(summary["accuracy_source"], "evaluate");
            task_il.push(number(&summary, "task_il"));
            class_il.push(number(&summary, "class_il"));
            plasticity.push(number(&summary, "plasticity"));
            stability.push(number(&summary, "stability"));
        }
        for (measure, values) in
            [("task-IL", &task_il), ("class-IL", &class_il), ("LP", &plasticity), ("MS", &stability)]
        {
            let (mean, deviation) = mean_and_deviation(values);
            println!("{head:8} {method:8} {measure:8} {mean:.4} +- {deviation:.4}");
        }
        figures.push([&task_il, &stability, &class_il].map(|values| mean_and_deviation(values).0));
    }
    let [mixture, lightcl, sgd] = figures[..] else { panic!("three runs") };
    assert!(mixture[2] >= 0.84, "class-IL of the mixture {}", mixture[2]);
    assert!(mixture[0] >= lightcl[0] && mixture[1] >= lightcl[1], "mixture {mixture:?}, network {lightcl:?}");
    assert!(lightcl[0] >= 0.93, "task-IL {}", lightcl[0]);
    assert!(lightcl[1] >= 0.95, "MS {}", lightcl[1]);
    assert!(lightcl[0] > sgd[0] && lightcl[1] > sgd[1], "LightCL {lightcl:?} is not better than SGD {sgd:?}");
}

#[test]
fn a_run_leaves_snapshots_reports_and_boundaries_that_agree_with_its_summary() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("run");
    let summary = run("pipelines/fashion-mnist.toml", &out, &[]);
    let lines = |name: &str| -> Vec<serde_json::Value> {
        let text = fs::read_to_string(out.join(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let boundaries = lines("boundaries.jsonl");
    let at: Vec<_> = boundaries.iter().map(|event| event["at"].clone()).collect();
    assert_eq!(serde_json::Value::from(at), summary["boundaries"]);
    assert!(boundaries.iter().all(|event| !event["evidence"].as_array().unwrap().is_empty()));
    let reports = lines("stability.jsonl");
    let last = reports.last().unwrap();
    assert_eq!(last["reason"], "end");
    assert_eq!(last["stability"], summary["stability"]);
    let snapshots = summary["snapshots"].as_u64().unwrap();
    assert_eq!(snapshots, 5);
    // The prefix froze after the first task: later snapshots share its file.
    let prefix_of = |version: u64| {
        let path = out.join(format!("snapshots/v{version:06}/manifest.json"));
        let manifest: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let blobs = manifest["blobs"].as_array().unwrap().clone();
        blobs.iter().find(|blob| blob["role"] == "prefix").unwrap()["sha256"].as_str().unwrap().to_owned()
    };
    assert!((2..=snapshots).all(|version| prefix_of(version) == prefix_of(1)));
}

#[test]
fn score_gives_the_predictions_of_the_last_snapshot_in_every_format() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("run");
    let summary = run("pipelines/fashion-mnist.toml", &out, &[]);
    let score = |extra: &[&str]| {
        let mut command = support::lightcl();
        command.arg("score").arg(out.join("snapshots/v000005")).arg("examples/data/fashion-mnist-test.arrow");
        let output = command.args(extra).output().unwrap();
        assert!(output.status.success(), "{}", support::shown(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let lines = score(&[]);
    let rows: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 2000);
    let right = rows.iter().filter(|row| row["label"] == row["predicted"]).count();
    // Every task has as many test rows, so the mean over tasks is the mean over rows.
    assert!((right as f64 / 2000.0 - number(&summary, "class_il")).abs() < 1e-9);

    assert_eq!(score(&["--format", "csv"]).lines().count(), 2001);
    for extension in ["parquet", "arrow", "csv", "jsonl"] {
        let path = folder.path().join(format!("predictions.{extension}"));
        score(&["-o", path.to_str().unwrap()]);
        assert!(fs::metadata(&path).unwrap().len() > 1000, "{extension}");
    }
}

#[test]
fn score_reports_rows_it_cannot_use_and_needs_no_label() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("run");
    run("pipelines/weather.toml", &out, &[]);
    let rows = folder.path().join("rows.csv");
    let header = "Temperature,DewPoint,SeaLevelPressure,Visibility,AverageWindSpeed,MaximumSustainedWindSpeed,\
                  MaximumTemperature,MinimumTemperature\n";
    fs::write(&rows, format!("{header}50,40,1010,9,5,10,60,40\n50,,1010,9,5,10,60,40\n")).unwrap();
    let mut command = support::lightcl();
    let output = command.arg("score").arg(out.join("snapshots/v000001")).arg(&rows).output().unwrap();
    assert!(output.status.success(), "{}", support::shown(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(rows[0]["predicted"].is_string() && rows[0]["error"].is_null(), "{text}");
    assert!(rows[1]["predicted"].is_null() && rows[1]["error"].as_str().unwrap().contains("DewPoint"), "{text}");
}

#[test]
fn a_second_run_on_a_finished_folder_says_the_same_and_learns_nothing() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("run");
    let first = run("pipelines/weather.toml", &out, &[]);
    let again = run("pipelines/weather.toml", &out, &[]);
    for key in ["samples", "state_sha256", "prequential_accuracy", "boundaries", "snapshots"] {
        assert_eq!(first[key], again[key], "{key}");
    }
}

#[test]
fn the_drift_pipelines_beat_the_majority_baseline_and_report_no_change_beside_it() {
    let folder = tempdir().unwrap();
    for name in ["elec2", "weather"] {
        let summary = run(format!("pipelines/{name}.toml"), &folder.path().join(name), &[]);
        let accuracy = number(&summary, "prequential_accuracy");
        let (no_change, majority) = (number(&summary, "no_change_accuracy"), number(&summary, "majority_accuracy"));
        println!("{name}: prequential {accuracy:.4}, no-change {no_change:.4}, majority {majority:.4}");
        assert!(accuracy > majority, "{name}: {accuracy} is not above {majority}");
    }
}

#[test]
fn every_pipeline_passes_its_check() {
    let mut found = 0;
    for entry in fs::read_dir(top().join("pipelines")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let output = support::lightcl().arg("check").arg(&path).output().unwrap();
            assert!(output.status.success(), "{}: {}", path.display(), support::shown(&output));
            found += 1;
        }
    }
    assert!(found >= 3);
}
