//! Runs over disjoint rows, joined: the heads are those of one run over all rows, in whatever order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use arrow_array::RecordBatch;
use arrow_array::UInt64Array;
use arrow_select::concat::concat_batches;
use arrow_select::take::take_record_batch;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Output;
use support::{Numbers, lightcl, run, shown, top};
use tempfile::tempdir;

const PIPELINE: &str = "pipelines/fashion-mnist.toml";
const TEST_ROWS: &str = "examples/data/fashion-mnist-test.arrow";

/// All rows of the example's stream: five tasks of two classes.
fn rows() -> RecordBatch {
    let file = File::open(top().join("examples/data/fashion-mnist.arrow")).unwrap();
    let reader = arrow_ipc::reader::FileReader::try_new(file, None).unwrap();
    let schema = reader.schema();
    concat_batches(&schema, &reader.collect::<Result<Vec<_>, _>>().unwrap()).unwrap()
}

fn write(folder: &Path, name: &str, rows: &RecordBatch, chosen: impl IntoIterator<Item = u64>) -> PathBuf {
    let path = folder.join(format!("{name}.arrow"));
    let rows = take_record_batch(rows, &UInt64Array::from_iter_values(chosen)).unwrap();
    let mut writer = arrow_ipc::writer::FileWriter::try_new(File::create(&path).unwrap(), &rows.schema()).unwrap();
    writer.write(&rows).unwrap();
    writer.finish().unwrap();
    path
}

/// Runs the example's pipeline over a file, with heads that can be added and no row held out.
fn learn(data: &Path, out: &Path, more: &[&str]) -> Value {
    let source = format!("source.path={}", data.display());
    let mut set = vec![
        source.as_str(),
        "learner.head=analytic",
        "learner.analytic.width=150",
        "learner.analytic.standardize=none",
        "learner.analytic.forget=[1.0]",
        "learner.analytic.ridge=[10.0]",
        "stability.probe_samples=0",
    ];
    set.extend(more);
    let set: Vec<&str> = set.into_iter().flat_map(|setting| ["--set", setting]).collect();
    run(PIPELINE, out, &set)
}

fn merge(runs: &[&Path], out: &Path) -> Output {
    lightcl().arg("merge").args(runs).arg("-o").arg(out).output().unwrap()
}

fn joined(runs: &[&Path], out: &Path) {
    let output = merge(runs, out);
    assert!(output.status.success(), "{}", shown(&output));
}

fn manifest(snapshot: &Path) -> Value {
    serde_json::from_slice(&fs::read(snapshot.join("manifest.json")).unwrap()).unwrap()
}

fn last_snapshot(out: &Path) -> PathBuf {
    let versions = fs::read_dir(out.join("snapshots")).unwrap().map(|entry| entry.unwrap().path());
    versions.filter(|path| path.join("manifest.json").is_file()).max().unwrap()
}

/// The weights of the head by label.
fn weights(snapshot: &Path) -> BTreeMap<String, Vec<f32>> {
    let manifest = manifest(snapshot);
    let blob = manifest["blobs"].as_array().unwrap().iter().find(|blob| blob["role"] == "analytic").unwrap();
    let file = snapshot.parent().unwrap().join(format!("blobs/{}.safetensors", blob["sha256"].as_str().unwrap()));
    let bytes = fs::read(file).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let weight = tensors.tensor("analytic.0.weight").unwrap();
    let numbers: Vec<f32> = weight.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let labels = manifest["encoder"]["labels"]["names"].as_array().unwrap().clone();
    assert_eq!(labels.len(), weight.shape()[0]);
    let label = |label: &Value| label.as_str().unwrap().to_owned();
    labels.iter().map(label).zip(numbers.chunks(weight.shape()[1]).map(<[f32]>::to_vec)).collect()
}

/// The largest difference of a weight, as a share of the largest weight.
fn apart(left: &Path, right: &Path) -> f64 {
    let (left, right) = (weights(left), weights(right));
    assert!(left.keys().eq(right.keys()));
    let largest = left.values().flatten().map(|weight| f64::from(weight.abs())).fold(0.0, f64::max);
    let pairs = left.values().flatten().zip(right.values().flatten());
    pairs.map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max) / largest
}

fn predictions(snapshot: &Path) -> Vec<String> {
    let output = lightcl().arg("score").arg(snapshot).arg(TEST_ROWS).output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let predicted = |line: &str| -> Value { serde_json::from_str(line).unwrap() };
    text.lines().map(|line| predicted(line)["predicted"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn five_tasks_a_shuffled_stream_and_joined_parts_give_the_same_heads() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let all = rows();
    let count = all.num_rows() as u64;
    let mut shuffled: Vec<u64> = (0..count).collect();
    let mut numbers = Numbers(7);
    (1..shuffled.len()).rev().for_each(|place| shuffled.swap(place, (numbers.unit() * (place + 1) as f64) as usize));
    let data = |name: &str, chosen: Vec<u64>| write(folder.path(), name, &all, chosen);
    let files = [
        ("tasks", data("tasks", (0..count).collect())),
        ("shuffled", data("shuffled", shuffled)),
        ("even", data("even", (0..count).step_by(2).collect())),
        ("odd", data("odd", (1..count).step_by(2).collect())),
        // Tasks the other way round: classes appear in another order.
        ("late", data("late", (6000..count).rev().collect())),
        ("middle", data("middle", (3000..6000).rev().collect())),
        ("early", data("early", (0..3000).rev().collect())),
    ];
    for reading in ["ridge", "lda"] {
        let out = |name: &str| path(&format!("{reading}-{name}"));
        for (name, file) in &files {
            let summary = learn(file, &out(name), &[&format!("learner.analytic.reading={reading}")]);
            assert_eq!(summary["trained_samples"], summary["samples"]);
        }
        joined(&[&out("even"), &out("odd")], &out("halves"));
        joined(&[&out("late"), &out("middle"), &out("early")], &out("thirds"));
        joined(&[&out("late"), &out("middle")], &out("two"));
        joined(&[&out("two"), &out("early")], &out("twice"));
        let whole = last_snapshot(&out("tasks"));
        let expected = predictions(&whole);
        assert!(apart(&whole, &last_snapshot(&out("even"))) > 1e-3, "half the rows are enough");
        for name in ["shuffled", "halves", "thirds", "twice"] {
            let snapshot = last_snapshot(&out(name));
            let apart = apart(&whole, &snapshot);
            println!("{reading}, {name}: weights differ by at most {apart:.1e} of the largest");
            assert!(apart < 1e-6, "{reading}, {name}: {apart}");
            assert_eq!(predictions(&snapshot), expected, "{reading}, {name}");
        }
        assert_eq!(manifest(&last_snapshot(&out("thirds")))["samples"], count);
        let right = |snapshot: &Path| {
            let output = lightcl().arg("score").arg(snapshot).arg(TEST_ROWS).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            rows.filter(|row| row["label"] == row["predicted"]).count()
        };
        println!("{reading}: {} of 2000 right", right(&whole));
    }

    // What was written can be looked at and gone on with.
    let halves = path("lda-halves");
    for (target, parts) in [
        (halves.clone(), &["checkpoint-000000001.lightcl", "snapshots"][..]),
        (last_snapshot(&halves), &["(merge)", "expert analytic_1", "forgetting factor 1.0", "150 random features"]),
    ] {
        let output = lightcl().arg("inspect").arg(&target).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && parts.iter().all(|part| text.contains(part)), "{}", shown(&output));
    }
    let before = predictions(&last_snapshot(&halves));
    let summary = learn(&path("even.arrow"), &halves, &["learner.analytic.reading=lda"]);
    assert_eq!((&summary["samples"], &summary["snapshots"]), (&count.into(), &1.into()));
    assert_eq!(predictions(&last_snapshot(&halves)), before);
}

#[test]
fn runs_that_cannot_be_added_are_refused_with_the_way_out() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let all = rows();
    let [a, b] = [0, 1].map(|part| write(folder.path(), &part.to_string(), &all, (part..600).step_by(2)));
    let learn_both = |name: &str, first: &[&str], second: &[&str]| {
        learn(&a, &path(&format!("{name}-a")), first);
        learn(&b, &path(&format!("{name}-b")), second);
    };
    learn_both("good", &[], &[]);
    learn_both("network", &["learner.head=network"], &["learner.head=network"]);
    learn_both("seed", &[], &["learner.seed=3"]);
    learn_both("forget", &["learner.analytic.forget=[0.99]"], &["learner.analytic.forget=[0.99]"]);
    learn_both("scale", &["learner.analytic.standardize=fixed"], &["learner.analytic.standardize=fixed"]);
    learn_both("standardize", &["sample.standardize=true"], &["sample.standardize=true"]);
    learn_both("prefix", &["learner.analytic.tap=[\"prefix\"]"], &["learner.analytic.tap=[\"prefix\"]"]);
    for (name, said) in [
        ("network", "learner.head = \"analytic\""),
        ("seed", "learner.seed: 0 and 3"),
        ("forget", "analytic.forget = [1.0]"),
        ("scale", "analytic.standardize = \"none\""),
        ("standardize", "sample.standardize = false"),
        ("prefix", "learner.prefix = \"pretrained\""),
    ] {
        let output = merge(&[&path(&format!("{name}-a")), &path(&format!("{name}-b"))], &path("out"));
        assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
        assert!(String::from_utf8_lossy(&output.stderr).contains(said), "{name}: {}", shown(&output));
        assert!(!path("out").exists(), "{name}");
    }
    let good = [path("good-a"), path("good-b")];
    for (runs, out, said) in [
        (vec![&good[0], &good[0]], path("out"), "named twice"),
        (vec![&good[0], &path("nothing")], path("out"), "no output folder"),
        (vec![&good[0], &good[1]], good[1].clone(), "holds a run already"),
        (vec![&good[0]], path("out"), "2 values"),
    ] {
        let runs: Vec<&Path> = runs.into_iter().map(PathBuf::as_path).collect();
        let output = merge(&runs, &out);
        assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
        assert!(String::from_utf8_lossy(&output.stderr).contains(said), "{said}: {}", shown(&output));
    }
    joined(&[&good[0], &good[1]], &path("out"));
}

#[test]
fn a_prefix_that_is_the_same_in_both_may_be_looked_at() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let all = rows();
    let more =
        ["learner.analytic.tap=[\"input\", \"prefix\"]", "learner.prefix=pretrained", "learner.analytic.reading=lda"];
    for (name, chosen) in [("whole", 0..3000), ("first", 0..1500), ("second", 1500..3000)] {
        learn(&write(folder.path(), name, &all, chosen), &path(&format!("run-{name}")), &more);
    }
    joined(&[&path("run-second"), &path("run-first")], &path("joined"));
    let (whole, joined) = (last_snapshot(&path("run-whole")), last_snapshot(&path("joined")));
    assert!(apart(&whole, &joined) < 1e-6);
    assert_eq!(predictions(&whole), predictions(&joined));
}
