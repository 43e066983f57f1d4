//! The program from outside: exit codes, what goes where, the commands that need no run.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use lightcl::config::settings::PredictionFormat;
use lightcl::sink::{FolderOptions, FolderSink, checkpoint_files};
use lightcl_core::{Blob, BlobEntry, Commit, Manifest, Output, Positions, Sink, Snapshot, state};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::Arc;
use tempfile::tempdir;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn lightcl(arguments: &[&str]) -> process::Output {
    Command::new(env!("CARGO_BIN_EXE_lightcl")).current_dir(top()).args(arguments).output().unwrap()
}

fn out(output: &process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A CSV file with a pipeline over it; `more` follows after `[sample]`.
fn pipeline(folder: &Path, more: &str) -> String {
    let data = folder.join("rows.csv");
    fs::write(&data, "x,y,label\n1,2,a\n3,4,b\n").unwrap();
    let path = folder.join("shop.toml");
    let text = format!(
        "[source]\ntype = \"csv\"\npath = {data:?}\n[sample]\nfeatures = [\"x\", \"y\"]\nlabel = \"label\"\n{more}"
    );
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn wrong_usage_ends_with_2_and_help_with_0() {
    for arguments in [&[][..], &["fly"], &["run"], &["check", "a.toml", "--colour"], &["completions", "cmd.exe"]] {
        let output = lightcl(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let text = err(&output);
        assert!(text.contains("Usage") || text.contains("--help"), "{arguments:?}: {text}");
    }
    for arguments in [&["--help"][..], &["run", "--help"], &["--version"], &["help", "score"]] {
        let output = lightcl(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(out(&output).contains("lightcl"), "{arguments:?}");
    }
}

#[test]
fn check_prints_every_setting_with_its_value_origin_and_meaning() {
    let folder = tempdir().unwrap();
    let path = pipeline(folder.path(), "[learner]\npasses = 3\nwidth = 4\n");
    let output = Command::new(env!("CARGO_BIN_EXE_lightcl"))
        .args(["check", &path, "--set", "learner.seed=5"])
        .env("LIGHTCL__LEARNER__MOMENTUM", "0.5")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let text = out(&output);
    let line =
        |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}: {text}"));
    assert!(line("seed = 5 ").contains("# --set: Seed of every random choice."));
    assert!(line("momentum = 0.5 ").contains("# LIGHTCL__LEARNER__MOMENTUM: "));
    assert!(line("passes = 3 ").contains("# line 8: Passes over each window"));
    assert!(line("batch_samples = 32 ").contains("# default: "));
    assert!(line("# weight is not set").contains("# default: Column with the sample's weight"));
    assert!(line("# [evaluate] is not set").contains("Held-out samples"));
    assert!(line("# source: ").contains("x (int64), y (int64), label (text)"));
    assert!(line("# a sample: ").contains("2 numbers, shape [2]"));
    assert!(line("# note: ").contains("learner.width is not used"));
    assert_eq!(text.lines().last(), Some("# all is well"));

    // What is printed is a pipeline that means the same.
    let printed = folder.path().join("printed.toml");
    fs::write(&printed, &text).unwrap();
    let again = lightcl(&["check", printed.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(0), "{}", err(&again));
    assert!(out(&again).contains("seed = 5 ") && out(&again).contains("name = \"shop\""));
}

#[test]
fn check_points_at_a_misspelt_key_and_ends_with_2() {
    let folder = tempdir().unwrap();
    let path = pipeline(folder.path(), "[learner]\nlerning_rate = 0.1\n");
    let output = lightcl(&["check", &path]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(out(&output), "");
    assert_eq!(
        err(&output),
        format!(
            "error: {path}:8:1: unknown key 'lerning_rate' in [learner]; did you mean 'learning_rate'?\n   |\n 8 | \
             lerning_rate = 0.1\n   | ^^^^^^^^^^^^\n"
        )
    );
}

#[test]
fn check_points_at_columns_and_files_that_are_not_there() {
    let folder = tempdir().unwrap();
    let path = pipeline(folder.path(), "");
    for (find, replace, place, said) in [
        ("\"y\"", "\"z\"", "5:18", "there is no feature column 'z'"),
        ("label = \"label\"", "label = \"lable\"", "6:9", "did you mean 'label'?"),
        ("label = \"label\"", "label = \"label\"\nevent_time = \"when\"", "7:14", "event time column 'when'"),
        ("rows.csv", "row.csv", "3:8", "rows.csv"),
        ("label = \"label\"", "label = \"label\"\n[boundary]\ntask_column = \"t\"", "8:15", "task column 't'"),
        ("label = \"label\"", "label = \"label\"\n[evaluate]\npath = \"none.csv\"", "8:8", "none.csv"),
        ("label = \"label\"", "label = \"label\"\n[learner]\nbackbone = \"resnet18\"", "8:12", "resnet18 needs images"),
    ] {
        let text = fs::read_to_string(&path).unwrap();
        let wrong = folder.path().join("wrong.toml");
        fs::write(&wrong, text.replace(find, replace)).unwrap();
        let output = lightcl(&["check", wrong.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2), "{replace}: {}", out(&output));
        let text = err(&output);
        assert!(text.starts_with(&format!("error: {}:{place}: ", wrong.display())) && text.contains(said), "{text}");
    }
}

#[test]
fn completions_and_manual_pages_name_every_command() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = lightcl(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        for command in ["run", "check", "inspect", "score", "sql", "merge"] {
            assert!(out(&output).contains(command), "{shell} {command}");
        }
    }
    assert!(out(&lightcl(&["man"])).contains(".TH lightcl 1"));
    let folder = tempdir().unwrap();
    let pages = folder.path().join("man");
    assert_eq!(lightcl(&["man", pages.to_str().unwrap()]).status.code(), Some(0));
    for page in
        ["lightcl.1", "lightcl-run.1", "lightcl-check.1", "lightcl-inspect.1", "lightcl-score.1", "lightcl-merge.1"]
    {
        assert!(pages.join(page).is_file(), "{page}");
    }
}

/// A safetensors file of one tensor of two numbers.
fn tensor_file(name: &str, value: f32) -> Vec<u8> {
    let header = json!({ name: { "dtype": "F32", "shape": [2], "data_offsets": [0, 8] } }).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend([value, value].iter().flat_map(|number| number.to_le_bytes()));
    bytes
}

/// An output folder with `epochs` commits and a snapshot each.
fn output_folder(folder: &Path, epochs: u64) {
    let options = FolderOptions { predictions: PredictionFormat::None, ..FolderOptions::default() };
    let mut sink = FolderSink::open(folder, options).unwrap();
    sink.recover().unwrap();
    let mut positions = Positions::default();
    for epoch in 1..=epochs {
        positions.advance("a.csv", epoch * 100);
        let files =
            [("prefix", tensor_file("lower.0.weight", 1.0)), ("suffix", tensor_file("head.weight", epoch as f32))];
        let blobs: Vec<Blob> =
            files.into_iter().map(|(role, bytes)| Blob { role: role.to_owned(), bytes: Arc::new(bytes) }).collect();
        let entry = |blob: &Blob| BlobEntry {
            role: blob.role.clone(),
            sha256: state::sha256_hex(&blob.bytes),
            bytes: blob.bytes.len() as u64,
        };
        let manifest = Manifest {
            format: 1,
            model_id: "shop".to_owned(),
            version: epoch,
            parent: (epoch > 1).then(|| epoch - 1),
            task: epoch as u32 - 1,
            reason: "boundary".to_owned(),
            positions: positions.clone(),
            samples: epoch * 100,
            trained_samples: epoch * 99,
            steps: epoch,
            prequential_accuracy: Some(0.875),
            plasticity: None,
            stability: None,
            config_sha256: state::sha256_hex(b""),
            learner: json!({ "method": "lightcl", "settings": { "seed": 4 } }),
            encoder: json!({ "labels": { "names": ["cat", "dog"] }, "features": [{ "column": "x", "kind": "numeric" }] }),
            blobs: blobs.iter().map(entry).collect(),
        };
        sink.write(&[Output::Snapshot(Box::new(Snapshot { manifest, blobs }))]).unwrap();
        sink.commit(&Commit { epoch, positions: positions.clone(), state: vec![0; 10] }).unwrap();
    }
}

#[test]
fn inspect_shows_a_snapshot_as_text_and_as_json() {
    let folder = tempdir().unwrap();
    output_folder(folder.path(), 2);
    let snapshot = folder.path().join("snapshots/v000002");
    for path in [snapshot.clone(), snapshot.join("manifest.json")] {
        let output = lightcl(&["inspect", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        let text = out(&output);
        for part in
            ["snapshot 2 of 'shop'", "a.csv: 200", "0.8750", "\"cat\",\"dog\"", "lower.0.weight", "[2] F32", "whole"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    let output = lightcl(&["inspect", snapshot.to_str().unwrap(), "--json"]);
    let value: Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(value["kind"], "snapshot");
    assert_eq!(value["manifest"]["version"], 2);
    assert_eq!(value["blobs"][1]["tensors"][0], json!({ "name": "head.weight", "shape": [2], "type": "F32" }));
    assert_eq!(value["blobs"][0]["is_whole"], true);
}

#[test]
fn inspect_finds_damaged_weights() {
    let folder = tempdir().unwrap();
    output_folder(folder.path(), 1);
    let blobs = folder.path().join("snapshots/blobs");
    let snapshot = folder.path().join("snapshots/v000001");
    let path = fs::read_dir(&blobs).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let output = lightcl(&["inspect", snapshot.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(out(&output).contains("weights are damaged") && err(&output).contains("weights are damaged"));
    fs::remove_file(&path).unwrap();
    let output = lightcl(&["inspect", snapshot.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("No such file"), "{}", err(&output));
}

#[test]
fn inspect_shows_an_output_folder_and_what_is_damaged_in_it() {
    let folder = tempdir().unwrap();
    output_folder(folder.path(), 3);
    let path = folder.path().to_str().unwrap();
    let text = out(&lightcl(&["inspect", path]));
    for part in
        ["commits", "a.csv: 300", "1, 2, 3", "checkpoint-000000003.lightcl", "whole, 10 bytes of state", "finished"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json = || -> Value { serde_json::from_str(&out(&lightcl(&["inspect", path, "--json"]))).unwrap() };
    assert_eq!((&json()["epoch"], &json()["snapshots"]), (&json!(3), &json!([1, 2, 3])));
    // The newest is torn: the one before counts.
    let files = checkpoint_files(folder.path()).unwrap();
    fs::write(&files[0], "torn").unwrap();
    assert_eq!((&json()["epoch"], &json()["snapshots"]), (&json!(2), &json!([1, 2])));
    assert_eq!(json()["checkpoints"][0]["is_whole"], false);
    fs::write(&files[1], "torn").unwrap();
    let output = lightcl(&["inspect", path]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("the checkpoint is damaged"), "{}", err(&output));
}

#[test]
fn inspect_of_something_else_says_what_was_expected() {
    let folder = tempdir().unwrap();
    let output = lightcl(&["inspect", folder.path().join("none").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("there is no"));
    let output = lightcl(&["inspect", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("is no snapshot; a snapshot is a folder with a manifest.json"), "{}", err(&output));
}

#[cfg(unix)]
#[test]
fn an_output_folder_that_cannot_be_made_or_written_is_a_clear_error() {
    use std::os::unix::fs::PermissionsExt;
    let open = |path: &Path| FolderSink::open(path, FolderOptions::default()).err();
    let folder = tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = open(&file.join("out")).unwrap();
    assert!(error.message().starts_with("cannot make the output folder"), "{error}");
    if cfg!(target_os = "linux") {
        // Nobody can make a folder there, not even root.
        let error = open(Path::new("/proc/lightcl-out")).unwrap();
        assert_eq!(error.kind(), lightcl_core::ErrorKind::External);
        assert!(error.message().contains("/proc/lightcl-out"), "{error}");
    }
    let inside = folder.path().join("read only");
    fs::create_dir(&inside).unwrap();
    fs::set_permissions(&inside, fs::Permissions::from_mode(0o500)).unwrap();
    match open(&inside) {
        Some(error) => assert!(error.message().contains("cannot write into the output folder"), "{error}"),
        None => println!("skipped in part: this user may write into read-only folders"),
    }
}

#[test]
fn logs_are_text_or_one_json_object_a_line() {
    let run = |arguments: &[&str], level: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lightcl"));
        command.current_dir(top()).args(arguments);
        level.map(|level| command.env("LIGHTCL_LOG", level));
        let output = command.output().unwrap();
        (output.status.code(), err(&output))
    };
    let (code, said) = run(&["run", "nowhere.toml"], None);
    assert_eq!(code, Some(2));
    assert!(said.starts_with("error: there is no pipeline file nowhere.toml"), "{said}");
    let (code, said) = run(&["--log", "json", "run", "nowhere.toml"], None);
    assert_eq!((code, said.lines().count()), (Some(2), 1));
    let line: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((line["level"].as_str(), line["fields"]["exit_code"].as_u64()), (Some("error"), Some(2)));
    assert!(line["message"].as_str().unwrap().contains("nowhere.toml") && line["time"].is_string(), "{line}");
    let (code, said) = run(&["run", "nowhere.toml"], Some("loud"));
    assert_eq!(code, Some(2));
    assert!(said.contains("LIGHTCL_LOG must be one of off, error, warn, info, debug, trace"), "{said}");
}

/// A pipeline over Kafka; `own` follows in `[source]`.
fn kafka_pipeline(folder: &Path, own: &str) -> String {
    let path = folder.join("topics.toml");
    let text = format!(
        "[source]\ntype = \"kafka\"\nbrokers = \"127.0.0.1:1\"\ntopics = [\"samples\"]\ngroup = \"shop\"\n{own}[sample]\n\
         features = [\"x\"]\nlabel = \"y\"\n[sink]\ntype = \"kafka\"\n[sink.topics]\nstate = \"state\"\n"
    );
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn check_explains_a_kafka_job_without_a_broker_and_without_its_secrets() {
    let folder = tempdir().unwrap();
    let secret = folder.path().join("password");
    fs::write(&secret, "hunter2\n").unwrap();
    let own = format!(
        "[source.client]\nsecurity.protocol = \"SASL_PLAINTEXT\"\n[source.secrets]\nsasl.password = {{ file = {secret:?} }}\n\
         ssl.key.password = {{ env = \"LIGHTCL_TEST_KEY\" }}\n"
    );
    let path = kafka_pipeline(folder.path(), &own);
    let mut command = Command::new(env!("CARGO_BIN_EXE_lightcl"));
    let output = command.args(["check", &path]).env("LIGHTCL_TEST_KEY", "hunter3").output().unwrap();
    let text = out(&output);
    assert!(output.status.success(), "{}", err(&output));
    for said in [
        "client = { \"security.protocol\" = \"SASL_PLAINTEXT\" }",
        "# source: topics samples at 127.0.0.1:1, which are read only by a run",
        "# secret of [source]: ssl.key.password from the environment variable LIGHTCL_TEST_KEY\n",
        "transactional_prefix = \"lightcl-shop\"",
        "# all is well",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(!text.contains("hunter"), "{text}");
    let without = out(&lightcl(&["check", &path]));
    assert!(without.contains("LIGHTCL_TEST_KEY, which is not there now"), "{without}");
    for (own, said) in [
        ("[source.client]\nsecurity.protocl = \"SSL\"\n", "the Kafka client has no property 'security.protocl'"),
        ("[source.client]\nlinger.ms = \"soon\"\n", "does not take its property 'linger.ms' as given"),
    ] {
        let output = lightcl(&["check", &kafka_pipeline(folder.path(), own)]);
        assert_eq!(output.status.code(), Some(2));
        assert!(err(&output).contains(said) && err(&output).contains("topics.toml:6:"), "{}", err(&output));
    }
}

#[test]
fn topics_of_a_job_need_a_kafka_sink_and_secrets_that_are_there() {
    let folder = tempdir().unwrap();
    let output = lightcl(&["kafka", "topics", &pipeline(folder.path(), "")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("this pipeline writes to no topics"), "{}", err(&output));
    let own = "[source.secrets]\nsasl.password = { env = \"LIGHTCL_NO_SUCH\" }\n";
    let output = lightcl(&["kafka", "topics", &kafka_pipeline(folder.path(), own)]);
    assert_eq!(output.status.code(), Some(2));
    let said = err(&output);
    assert!(said.contains("environment variable") && said.contains("LIGHTCL_NO_SUCH"), "{said}");
}
