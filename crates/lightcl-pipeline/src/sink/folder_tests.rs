//! Tests of the output folder.

use super::*;
use crate::sink::test_outputs::{letter, outputs, prediction, snapshot};
use crate::sink::{
    MANIFEST, SNAPSHOT_FOLDER, boundary_schema, checkpoint_files, latest_checkpoint, prediction_schema,
    snapshot_versions, stability_schema,
};
use lightcl_core::{ErrorKind, Positions, state};
use lightcl_testkit::conformance::{self, SinkUnderTest, label};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::sync::{Arc, Mutex};
use tempfile::{TempDir, tempdir};

fn options(predictions: PredictionFormat) -> FolderOptions {
    FolderOptions { predictions, ..FolderOptions::default() }
}

fn commit(epoch: u64) -> Commit {
    let mut positions = Positions::default();
    positions.advance("a.arrow", epoch * 10);
    Commit { epoch, positions, state: vec![epoch as u8; 50] }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Every file of a folder with its content, less the lock.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn collect(folder: &Path, top: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, top, found);
            } else if !path.ends_with("lightcl.lock") {
                found.insert(path.strip_prefix(top).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    collect(folder, folder, &mut found);
    found
}

fn open(folder: &Path, predictions: PredictionFormat) -> FolderSink {
    FolderSink::open(folder, options(predictions)).unwrap()
}

/// A folder with commits 1 to `last`.
fn committed(folder: &Path, predictions: PredictionFormat, last: u64) {
    let mut sink = open(folder, predictions);
    sink.recover().unwrap();
    for epoch in 1..=last {
        sink.write(&outputs(epoch)).unwrap();
        sink.commit(&commit(epoch)).unwrap();
    }
}

/// Opened again and again as a restarted process would: the sink before is gone by then, and with it its lock.
struct Reopened(Arc<Mutex<Option<FolderSink>>>);

impl Sink for Reopened {
    fn write(&mut self, outputs: &[Output]) -> Result<()> {
        self.0.lock().unwrap().as_mut().unwrap().write(outputs)
    }

    fn commit(&mut self, commit: &Commit) -> Result<()> {
        self.0.lock().unwrap().as_mut().unwrap().commit(commit)
    }

    fn recover(&mut self) -> Result<Option<Commit>> {
        self.0.lock().unwrap().as_mut().unwrap().recover()
    }
}

/// Labels of all outputs in a folder, read as a consumer would.
fn visible(folder: &Path, predictions: PredictionFormat) -> Vec<String> {
    let mut labels = Vec::new();
    let mut lines = |name: &str, kind: &str, key: &str| {
        let text = fs::read_to_string(folder.join(name)).unwrap_or_default();
        for line in text.lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            labels.push(format!("{kind} {}", value[key]));
        }
    };
    lines(BOUNDARIES, "boundary", "at");
    lines(STABILITY, "stability", "samples");
    lines(DEAD_LETTERS, "rejected", "index");
    lines(PREDICTIONS, "prediction", "index");
    let snapshots = folder.join(SNAPSHOT_FOLDER);
    labels.extend(snapshot_versions(&snapshots).unwrap().iter().map(|version| format!("snapshot {version}")));
    if predictions != PredictionFormat::Jsonl {
        let column = table_column(&folder.join(PREDICTION_PARTS), "index");
        labels.extend(column.into_iter().map(|index| format!("prediction {index}")));
        assert_eq!(
            table_column(&folder.join(BOUNDARY_PARTS), "at").len(),
            labels.iter().filter(|label| label.starts_with("boundary")).count()
        );
    }
    labels
}

/// A column of numbers in all parts of a folder.
fn table_column(parts: &Path, column: &str) -> Vec<u64> {
    let mut values = Vec::new();
    for name in names_in(parts).unwrap().iter().filter(|name| !name.starts_with(TEMPORARY)) {
        let file = fs::File::open(parts.join(name)).unwrap();
        let batches: Vec<_> = if name.ends_with(".parquet") {
            ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap().collect()
        } else {
            arrow_ipc::reader::FileReader::try_new(file, None).unwrap().collect()
        };
        for batch in batches {
            let batch = batch.unwrap();
            let array = batch.column_by_name(column).unwrap();
            let array = array.as_any().downcast_ref::<arrow_array::UInt64Array>().unwrap();
            values.extend(array.values().iter());
        }
    }
    values
}

#[test]
fn the_folder_keeps_the_promises_of_a_sink_in_every_format() {
    for format in [PredictionFormat::Jsonl, PredictionFormat::Parquet, PredictionFormat::Arrow, PredictionFormat::None]
    {
        let places: Mutex<Vec<TempDir>> = Mutex::new(Vec::new());
        conformance::sink(|| {
            let place = tempdir().unwrap();
            let (folder, seen) = (place.path().join("out"), place.path().join("out"));
            places.lock().unwrap().push(place);
            let running = Arc::new(Mutex::new(None));
            SinkUnderTest {
                open: Box::new(move || {
                    let mut slot = running.lock().unwrap();
                    drop(slot.take());
                    *slot = Some(open(&folder, format));
                    drop(slot);
                    Box::new(Reopened(Arc::clone(&running)))
                }),
                visible: Box::new(move || visible(&seen, format)),
                keeps: if format == PredictionFormat::None {
                    |output| !label(output).starts_with("prediction")
                } else {
                    |_| true
                },
            }
        });
    }
}

#[test]
fn the_layout_is_as_documented() {
    let place = tempdir().unwrap();
    committed(place.path(), PredictionFormat::Parquet, 3);
    let names: Vec<String> = contents(place.path()).keys().map(|path| path.display().to_string()).collect();
    let blob = |bytes: u8| format!("snapshots/blobs/{}.safetensors", state::sha256_hex(&[bytes; 64]));
    let mut expected: Vec<String> = [
        "boundaries.jsonl",
        "boundaries/part-000000001.parquet",
        "boundaries/part-000000002.parquet",
        "boundaries/part-000000003.parquet",
        "checkpoints/checkpoint-000000002.lightcl",
        "checkpoints/checkpoint-000000003.lightcl",
        "dead_letters.jsonl",
        "predictions/part-000000001.parquet",
        "predictions/part-000000002.parquet",
        "predictions/part-000000003.parquet",
        "snapshots/v000001/manifest.json",
        "snapshots/v000002/manifest.json",
        "snapshots/v000003/manifest.json",
        "stability.jsonl",
        "stability/part-000000001.parquet",
        "stability/part-000000002.parquet",
        "stability/part-000000003.parquet",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([blob(7), blob(1), blob(2), blob(3)])
    .collect();
    expected.sort();
    let mut names = names;
    names.sort();
    assert_eq!(names, expected);
}

#[test]
fn tables_hold_what_the_lines_hold() {
    let place = tempdir().unwrap();
    committed(place.path(), PredictionFormat::Parquet, 1);
    for (kind, schema) in [
        (BOUNDARY_PARTS, boundary_schema()),
        (STABILITY_PARTS, stability_schema()),
        (PREDICTION_PARTS, prediction_schema()),
    ] {
        let file = fs::File::open(place.path().join(kind).join("part-000000001.parquet")).unwrap();
        let mut reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        let batch = reader.next().unwrap().unwrap();
        assert_eq!(batch.schema().fields(), schema.fields());
        let mut json = Vec::new();
        let mut writer = arrow_json::LineDelimitedWriter::new(&mut json);
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        let row: serde_json::Value =
            serde_json::from_str(String::from_utf8(json).unwrap().lines().next().unwrap()).unwrap();
        match kind {
            BOUNDARY_PARTS => {
                assert_eq!(row["evidence"][0]["detector"], "every");
                assert_eq!(row["closed_task_labels"], serde_json::json!(["cat", "dog"]));
                assert_eq!((&row["partition"], &row["offset"]), (&"a.arrow".into(), &12.into()));
            }
            STABILITY_PARTS => {
                assert_eq!(row["task_incremental"][0], serde_json::json!([0.5]));
                assert_eq!(row["task_incremental"][1], serde_json::json!([null, 1.0]));
                assert_eq!(row["layers"][0]["vital_channels"], 3);
                assert_eq!(row["prequential"]["accuracy"], 0.75);
                assert_eq!(row["bytes"][0]["bytes"], 12);
            }
            _ => assert_eq!(
                (&row["index"], &row["id"], &row["predicted"]),
                (&10.into(), &"row 10".into(), &"dog".into())
            ),
        }
    }
}

#[test]
fn weights_are_written_once() {
    let place = tempdir().unwrap();
    let mut sink = open(place.path(), PredictionFormat::None);
    sink.recover().unwrap();
    sink.write(&[snapshot(1)]).unwrap();
    let prefix = crate::sink::snapshots::blob_path(&place.path().join(SNAPSHOT_FOLDER), &state::sha256_hex(&[7; 64]));
    let written = fs::metadata(&prefix).unwrap().modified().unwrap();
    sink.commit(&commit(1)).unwrap();
    sink.write(&[snapshot(2)]).unwrap();
    assert_eq!(fs::metadata(&prefix).unwrap().modified().unwrap(), written);
    // Not to be seen before it is committed.
    assert_eq!(snapshot_versions(&place.path().join(SNAPSHOT_FOLDER)).unwrap(), [1]);
}

#[test]
fn a_kill_between_any_two_steps_of_a_commit_leaves_the_commit_before_or_the_new_one() {
    let place = tempdir().unwrap();
    let running = place.path().join("running");
    for format in [PredictionFormat::Jsonl, PredictionFormat::Parquet] {
        let _ = fs::remove_dir_all(&running);
        committed(&running, format, 2);
        let before = contents(&running);
        let straight = place.path().join(format!("straight {format:?}"));
        committed(&straight, format, 3);
        let after = contents(&straight);

        let mut sink = open(&running, format);
        sink.recover().unwrap();
        let mut killed = Vec::new();
        let kill = |name: &str, killed: &mut Vec<(PathBuf, bool)>, stands: bool| {
            let to = place.path().join(format!("{format:?} {name}"));
            copy(&running, &to);
            killed.push((to, stands));
        };
        for (number, output) in outputs(3).iter().enumerate() {
            sink.write(std::slice::from_ref(output)).unwrap();
            kill(&format!("output {number}"), &mut killed, false);
        }
        sink.sync_lines().unwrap();
        kill("lines", &mut killed, false);
        let parts = sink.finish_parts(3).unwrap();
        kill("parts", &mut killed, false);
        sink.publish_snapshots().unwrap();
        kill("snapshots", &mut killed, false);
        sink.write_checkpoint(&commit(3), parts).unwrap();
        kill("checkpoint", &mut killed, true);
        checkpoint::drop_old(&running, 2).unwrap();
        kill("old", &mut killed, true);
        drop(sink);

        for (folder, stands) in killed {
            let mut sink = open(&folder, format);
            let found = sink.recover().unwrap().unwrap();
            assert_eq!(found, commit(if stands { 3 } else { 2 }), "{}", folder.display());
            if stands {
                checkpoint::drop_old(&folder, 2).unwrap();
            } else {
                assert_eq!(contents(&folder), before, "{}", folder.display());
                sink.write(&outputs(3)).unwrap();
                sink.commit(&commit(3)).unwrap();
            }
            // Whenever it was killed, the folder ends as if it had not been.
            assert!(contents(&folder) == after, "{}", folder.display());
        }
    }
}

#[test]
fn a_checkpoint_torn_at_any_byte_is_set_aside_for_the_one_before() {
    let place = tempdir().unwrap();
    let folder = place.path().join("out");
    committed(&folder, PredictionFormat::Jsonl, 2);
    let newest = checkpoint_files(&folder).unwrap().remove(0);
    let whole = fs::read(&newest).unwrap();
    let good = contents(&folder);
    for end in 0..whole.len() {
        fs::write(&newest, &whole[..end]).unwrap();
        assert_eq!(latest_checkpoint(&folder).unwrap().unwrap().header.epoch, 1);
        // Recovering syncs a good deal: not at every byte.
        if end % 23 > 0 {
            continue;
        }
        let mut sink = open(&folder, PredictionFormat::Jsonl);
        assert_eq!(sink.recover().unwrap(), Some(commit(1)), "{end}");
        let aside = newest.with_extension("lightcl.damaged");
        assert_eq!(fs::read(&aside).unwrap().len(), end);
        fs::remove_file(aside).unwrap();
        // The rows come again and lead to the same.
        sink.write(&outputs(2)).unwrap();
        sink.commit(&commit(2)).unwrap();
        assert!(contents(&folder) == good, "{end}");
    }
}

#[test]
fn when_every_checkpoint_is_damaged_nothing_is_touched_and_the_ways_out_are_named() {
    let place = tempdir().unwrap();
    committed(place.path(), PredictionFormat::Jsonl, 3);
    for path in checkpoint_files(place.path()).unwrap() {
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    let before = contents(place.path());
    for _ in 0..2 {
        let mut sink = open(place.path(), PredictionFormat::Jsonl);
        let error = sink.recover().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::User);
        assert!(error.message().contains("--fresh") && error.message().contains("--out"), "{error}");
        assert!(sink.write(&[letter(0)]).is_err());
        assert!(contents(place.path()) == before);
    }
    let mut sink = FolderSink::open(place.path(), FolderOptions { fresh: true, ..FolderOptions::default() }).unwrap();
    assert_eq!(sink.recover().unwrap(), None);
    assert!(contents(place.path()).is_empty());
}

#[test]
fn a_file_shorter_than_committed_is_an_error_that_names_it() {
    let place = tempdir().unwrap();
    committed(place.path(), PredictionFormat::Jsonl, 1);
    fs::write(place.path().join(STABILITY), "{}\n").unwrap();
    let error = open(place.path(), PredictionFormat::Jsonl).recover().unwrap_err();
    assert!(error.to_string().contains("shorter") && error.to_string().contains(STABILITY), "{error}");
}

#[test]
fn leftovers_of_a_start_that_never_committed_are_removed() {
    let place = tempdir().unwrap();
    let folder = place.path().join("out");
    let mut sink = open(&folder, PredictionFormat::Parquet);
    sink.recover().unwrap();
    sink.write(&outputs(1)).unwrap();
    let copied = place.path().join("killed");
    sink.sync_lines().unwrap();
    copy(&folder, &copied);
    drop(sink);
    let mut sink = open(&copied, PredictionFormat::Parquet);
    assert_eq!(sink.recover().unwrap(), None);
    assert!(contents(&copied).is_empty(), "{:?}", contents(&copied).keys());
}

#[test]
fn two_runs_do_not_write_into_one_folder() {
    let place = tempdir().unwrap();
    let first = open(place.path(), PredictionFormat::None);
    let error = FolderSink::open(place.path(), FolderOptions::default()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::External);
    assert!(error.message().contains("another run"), "{error}");
    drop(first);
    open(place.path(), PredictionFormat::None);
}

#[test]
fn a_folder_of_somebody_else_is_refused_and_fresh_removes_only_what_runs_wrote() {
    let place = tempdir().unwrap();
    let foreign = place.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("thesis.txt"), "years of work").unwrap();
    for fresh in [false, true] {
        let error = FolderSink::open(&foreign, FolderOptions { fresh, ..FolderOptions::default() }).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::User);
        assert!(error.message().contains("thesis.txt"), "{error}");
    }
    let error = FolderSink::open(&foreign.join("thesis.txt"), FolderOptions::default()).err().unwrap();
    assert!(error.message().contains("is a file"), "{error}");

    let ours = place.path().join("ours");
    committed(&ours, PredictionFormat::Parquet, 2);
    fs::write(ours.join("notes.txt"), "mine").unwrap();
    fs::write(ours.join("predictions").join("plot.png"), "mine").unwrap();
    let mut sink = FolderSink::open(&ours, FolderOptions { fresh: true, ..FolderOptions::default() }).unwrap();
    assert_eq!(sink.recover().unwrap(), None);
    let left: Vec<PathBuf> = contents(&ours).into_keys().collect();
    assert_eq!(left, [PathBuf::from("notes.txt"), PathBuf::from("predictions/plot.png")]);
}

#[cfg(unix)]
#[test]
fn a_write_that_fails_stops_the_sink_and_leaves_what_was_committed() {
    let place = tempdir().unwrap();
    let folder = place.path().join("out");
    committed(&folder, PredictionFormat::Parquet, 2);
    let before = contents(&folder);
    let mut sink = open(&folder, PredictionFormat::Parquet);
    sink.recover().unwrap();
    // A folder that is a file: writing below it fails.
    let blocked = folder.join(CHECKPOINT_FOLDER).join(".tmp-checkpoint-000000003.lightcl");
    fs::create_dir(&blocked).unwrap();
    sink.write(&outputs(3)).unwrap();
    let error = sink.commit(&commit(3)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::External);
    assert!(error.message().contains("checkpoint-000000003"), "{error}");
    let later = sink.write(&outputs(3)).unwrap_err();
    assert!(later.message().contains("recovered"), "{later}");
    fs::remove_dir(&blocked).unwrap();
    assert_eq!(sink.recover().unwrap(), Some(commit(2)));
    assert!(contents(&folder) == before);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_external_error_with_advice() {
    let place = tempdir().unwrap();
    let mut sink = open(place.path(), PredictionFormat::Jsonl);
    sink.recover().unwrap();
    std::os::unix::fs::symlink("/dev/full", place.path().join(PREDICTIONS)).unwrap();
    let error = (0..10_000).find_map(|index| sink.write(&[prediction(index)]).err()).expect("the device takes nothing");
    assert_eq!(error.kind(), ErrorKind::External);
    assert!(error.message().contains("predictions.jsonl; what was committed stands: make room"), "{error}");
}

#[test]
fn many_predictions_are_written_in_batches_and_none_is_lost() {
    let place = tempdir().unwrap();
    for (number, format) in [PredictionFormat::Parquet, PredictionFormat::Arrow].into_iter().enumerate() {
        let folder = place.path().join(number.to_string());
        let mut sink = open(&folder, format);
        sink.recover().unwrap();
        let all: Vec<Output> = (0..150_000).map(prediction).collect();
        for chunk in all.chunks(777) {
            sink.write(chunk).unwrap();
            assert!(sink.predictions.len() < PREDICTION_BATCH_ROWS);
        }
        sink.commit(&commit(1)).unwrap();
        let found = table_column(&folder.join(PREDICTION_PARTS), "index");
        assert_eq!(found, (0..150_000).collect::<Vec<_>>());
    }
}

#[test]
fn the_header_says_what_the_commit_holds() {
    let place = tempdir().unwrap();
    let configuration = serde_json::json!({ "learner": { "seed": 5 } });
    let options = FolderOptions { configuration: configuration.clone(), ..options(PredictionFormat::Parquet) };
    let mut sink = FolderSink::open(place.path(), options).unwrap();
    sink.recover().unwrap();
    sink.write(&outputs(1)).unwrap();
    sink.commit(&commit(1)).unwrap();
    let header = latest_checkpoint(place.path()).unwrap().unwrap().header;
    assert_eq!(header.configuration, configuration);
    assert_eq!(header.snapshots, 1);
    assert_eq!(header.parts.len(), 3);
    let length = fs::metadata(place.path().join(BOUNDARIES)).unwrap().len();
    assert_eq!(header.lengths[BOUNDARIES], length);
    assert!(place.path().join(SNAPSHOT_FOLDER).join("v000001").join(MANIFEST).is_file());
}

#[test]
fn a_commit_out_of_order_is_refused() {
    let place = tempdir().unwrap();
    committed(place.path(), PredictionFormat::None, 2);
    let mut sink = open(place.path(), PredictionFormat::None);
    assert!(sink.commit(&commit(3)).is_err(), "not recovered yet");
    sink.recover().unwrap();
    assert!(sink.commit(&commit(2)).is_err());
    sink.commit(&commit(3)).unwrap();
}
