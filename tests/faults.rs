//! Bad rows and broken inputs, as a user meets them: rows go to the dead letters and the stream goes on; inputs that
//! are broken as a whole stop with a clear error and keep what was committed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::{lightcl, run, run_command, shown, top};
use tempfile::{TempDir, tempdir};

/// A pipeline over `data` with features `x` and `y`, in a folder of its own.
fn pipeline(folder: &TempDir, kind: &str, data: &Path, more: &str) -> PathBuf {
    let path = folder.path().join("pipeline.toml");
    let text = format!(
        "[source]\ntype = \"{kind}\"\npath = {data:?}\n[sample]\nfeatures = [\"x\", \"y\"]\nlabel = \"label\"\n\
         [learner]\nhidden = [16, 16, 16]\nfrozen = 1\nlearning_rate = 0.05\n{more}"
    );
    fs::write(&path, text).unwrap();
    path
}

fn csv(rows: usize, bad: &BTreeMap<usize, &str>) -> String {
    let mut text = "x,y,label\n".to_owned();
    for row in 0..rows {
        match bad.get(&row) {
            Some(line) => text.push_str(line),
            None => text.push_str(&format!("{}.5,{},{}", row % 3, row % 5, row % 2)),
        }
        text.push('\n');
    }
    text
}

fn dead_letters(out: &Path) -> BTreeMap<u64, Value> {
    let text = fs::read_to_string(out.join("dead_letters.jsonl")).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|letter| (letter["index"].as_u64().unwrap(), letter))
        .collect()
}

fn failure(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{}", shown(output));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("error:"), "{said}");
    said
}

#[test]
fn bad_rows_of_a_csv_file_are_dead_letters_with_row_reason_and_text() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("rows.csv");
    let bad = BTreeMap::from([
        (1010, "NaN,1,0"),
        (1020, "inf,1,0"),
        (1030, ",1,0"),
        (1040, "1,1,"),
        (1050, "abc,1,0"),
        (1060, "1,1,9999999999"),
        (1070, "1,1,yes"),
        (1080, "1"),
    ]);
    fs::write(&data, csv(1500, &bad)).unwrap();
    let out = folder.path().join("out");
    let summary = run(pipeline(&folder, "csv", &data, ""), &out, &[]);
    assert_eq!((summary["samples"].as_u64(), summary["rejected"].as_u64()), (Some(1500), Some(8)));
    let letters = dead_letters(&out);
    assert_eq!(letters.keys().copied().collect::<Vec<_>>(), bad.keys().map(|&row| row as u64).collect::<Vec<_>>());
    let reason = |row: u64| letters[&row]["reason"].as_str().unwrap();
    assert_eq!(reason(1010), "non_finite_feature");
    assert_eq!(reason(1020), "non_finite_feature");
    assert_eq!(reason(1030), "null_feature");
    assert_eq!(reason(1040), "null_label");
    assert_eq!(reason(1050), "unreadable");
    assert_eq!(reason(1060), "label_out_of_range");
    assert_eq!(reason(1070), "unreadable");
    assert_eq!(reason(1080), "unreadable");
    assert!(letters[&1050]["payload"].as_str().unwrap().contains("abc"));
    assert_eq!(letters[&1050]["position"]["offset"], 1050);
}

#[test]
fn bad_lines_of_a_json_lines_file_are_dead_letters() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("rows.jsonl");
    let mut lines: Vec<String> = (0..1200)
        .map(|row| format!(r#"{{"x": {}.5, "y": {}, "label": "{}"}}"#, row % 3, row % 5, ["cat", "dog"][row % 2]))
        .collect();
    lines[1100] = r#"{"x": "no number", "y": 1, "label": "cat"}"#.to_owned();
    lines[1101] = r#"{"x": 1, "y": null, "label": "cat"}"#.to_owned();
    lines[1102] = r#"{"x": 1, "y": "#.to_owned();
    fs::write(&data, lines.join("\n")).unwrap();
    let out = folder.path().join("out");
    let summary = run(pipeline(&folder, "jsonl", &data, ""), &out, &[]);
    assert_eq!((summary["samples"].as_u64(), summary["rejected"].as_u64()), (Some(1200), Some(3)));
    let letters = dead_letters(&out);
    let reasons: Vec<_> = letters.values().map(|letter| letter["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["unreadable", "null_feature", "unreadable"]);
}

#[test]
fn a_huge_feature_turns_no_weight_into_nan_and_its_batch_is_kept_and_counted() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("rows.csv");
    let clean = csv(1024, &BTreeMap::new());
    fs::write(&data, csv(1024, &BTreeMap::from([(500, "1e30,1,0")]))).unwrap();
    let out = folder.path().join("out");
    let summary = run(pipeline(&folder, "csv", &data, ""), &out, &[]);
    let rejected = summary["rejected"].as_u64().unwrap();
    assert!((1..=32).contains(&rejected), "{summary}");
    let letters = dead_letters(&out);
    assert!(letters.contains_key(&500) && letters.values().all(|letter| letter["reason"] == "diverged"));
    // What was learnt is as good as without that row.
    let other = folder.path().join("clean.csv");
    fs::write(&other, clean).unwrap();
    let wanted = run(pipeline(&folder, "csv", &other, ""), &folder.path().join("clean"), &[]);
    let window = |value: &Value| value["prequential_accuracy"].as_f64().unwrap();
    assert!((window(&summary) - window(&wanted)).abs() < 0.1, "{summary} {wanted}");
}

#[test]
fn an_input_of_no_rows_and_one_of_bad_rows_only_end_well() {
    let folder = tempdir().unwrap();
    for (name, text, samples) in
        [("none", csv(0, &BTreeMap::new()), 0), ("bad", "x,y,label\nNaN,1,0\nNaN,2,1\n".to_owned(), 2)]
    {
        let data = folder.path().join(format!("{name}.csv"));
        fs::write(&data, text).unwrap();
        let summary = run(pipeline(&folder, "csv", &data, ""), &folder.path().join(name), &[]);
        assert_eq!((summary["samples"].as_u64(), summary["rejected"].as_u64()), (Some(samples), Some(samples)));
        assert!(summary["prequential_accuracy"].is_null() && summary["task_il"].is_null());
    }
}

#[test]
fn a_missing_column_names_the_nearest_one() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("rows.csv");
    fs::write(&data, csv(10, &BTreeMap::new()).replace("label", "lable")).unwrap();
    let path = pipeline(&folder, "csv", &data, "");
    let said = failure(&run_command(&path, &folder.path().join("out"), &[]).output().unwrap(), 2);
    assert!(said.contains("label") && said.contains("lable"), "{said}");
    failure(&lightcl().arg("check").arg(&path).output().unwrap(), 2);
}

#[test]
fn a_label_column_of_fractions_is_refused() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("rows.csv");
    fs::write(&data, "x,y,label\n1,2,0.5\n1,2,1.5\n").unwrap();
    let path = pipeline(&folder, "csv", &data, "");
    let said = failure(&run_command(&path, &folder.path().join("out"), &[]).output().unwrap(), 2);
    assert!(said.contains("label"), "{said}");
}

#[test]
fn a_file_that_is_not_there_names_the_nearest_one() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("rows.csv"), csv(10, &BTreeMap::new())).unwrap();
    let path = pipeline(&folder, "csv", &folder.path().join("row.csv"), "");
    let said = failure(&run_command(&path, &folder.path().join("out"), &[]).output().unwrap(), 2);
    assert!(said.contains("row.csv") && said.contains("rows.csv"), "{said}");
}

#[cfg(unix)]
#[test]
fn a_file_that_may_not_be_read_says_so() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    let folder = tempdir().unwrap();
    let data = folder.path().join("rows.csv");
    fs::write(&data, csv(10, &BTreeMap::new())).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let path = pipeline(&folder, "csv", &data, "");
    // Root may read everything: run as nobody then, from a copy that nobody can reach.
    let program = folder.path().join("lightcl");
    fs::copy(env!("CARGO_BIN_EXE_lightcl"), &program).unwrap();
    let mut command = Command::new(&program);
    command.current_dir(folder.path()).arg("run").arg(&path).arg("--out").arg(folder.path().join("out"));
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        command.uid(65_534).gid(65_534);
    }
    let output = command.output().unwrap();
    assert!(matches!(output.status.code(), Some(1 | 2)), "{}", shown(&output));
    let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert!(said.contains("permission") && said.contains("rows.csv"), "{said}");
}

#[test]
fn truncated_files_stop_with_a_clear_error_and_exit_code() {
    let folder = tempdir().unwrap();
    for (name, kind, label) in
        [("examples/data/elec2.parquet", "parquet", "label"), ("examples/data/fashion-mnist.arrow", "arrow", "label")]
    {
        let whole = fs::read(top().join(name)).unwrap();
        for keep in [whole.len() / 2, whole.len() - 5, 3, 0] {
            let data = folder.path().join(format!("cut.{kind}"));
            fs::write(&data, &whole[..keep]).unwrap();
            let path = folder.path().join("cut.toml");
            let feature = if kind == "arrow" { "image" } else { "nswprice" };
            let text = format!(
                "[source]\ntype = \"{kind}\"\npath = {data:?}\n[sample]\nfeatures = [\"{feature}\"]\nlabel = \"{label}\"\n"
            );
            fs::write(&path, text).unwrap();
            let output = run_command(&path, &folder.path().join(format!("{kind}-{keep}")), &[]).output().unwrap();
            assert!(matches!(output.status.code(), Some(1 | 2)), "{name} cut to {keep}: {}", shown(&output));
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains("error:") && said.contains(&format!("cut.{kind}")), "{said}");
            assert!(!said.contains("panicked"), "{said}");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_full_disk_keeps_what_was_committed_and_a_later_run_resumes() {
    let folder = tempdir().unwrap();
    let more = ["--set", "predictions.format=jsonl", "--set", "checkpoint.every_samples=2000"];
    let expected = run("pipelines/elec2.toml", &folder.path().join("straight"), &more);
    let out = folder.path().join("full");
    // A limit on the size of one file stands for the full disk: writes fail with an error (the signal is ignored).
    let mut arguments = vec![env!("CARGO_BIN_EXE_lightcl"), "run", "pipelines/elec2.toml", "--quiet", "--out"];
    arguments.push(out.to_str().unwrap());
    arguments.extend(more);
    let limited = Command::new("sh")
        .current_dir(top())
        .args(["-c", "trap '' XFSZ; ulimit -f 8000; exec \"$@\"", "sh"])
        .args(arguments)
        .output()
        .unwrap();
    let said = failure(&limited, 1);
    assert!(said.contains("predictions.jsonl"), "{said}");
    let inspected = lightcl().arg("inspect").arg(&out).output().unwrap();
    assert!(inspected.status.success(), "{}", shown(&inspected));
    let resumed = run("pipelines/elec2.toml", &out, &more);
    assert_eq!(resumed["state_sha256"], expected["state_sha256"]);
    assert_eq!(
        fs::read(out.join("predictions.jsonl")).unwrap(),
        fs::read(folder.path().join("straight/predictions.jsonl")).unwrap()
    );
}
