//! Memory stays flat: ten times the rows, the same peak.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use arrow_array::{ArrayRef, Float32Array, Int64Array, RecordBatch};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use support::{Numbers, number, run_command, shown, summary};
use tempfile::tempdir;

/// An Arrow file of `rows` rows: eight numbers, two classes, the rule moves slowly.
fn write(path: &Path, rows: usize) {
    let mut numbers = Numbers(7);
    let mut writer = None;
    for start in (0..rows).step_by(10_000) {
        let columns: Vec<Vec<f32>> =
            (0..8).map(|_| (0..10_000).map(|_| numbers.unit() as f32 * 2.0 - 1.0).collect()).collect();
        let turn = start as f32 / 2e6;
        let labels: Int64Array =
            (0..10_000).map(|i| i64::from(columns[0][i] * (1.0 - turn) + columns[1][i] * turn > 0.0)).collect();
        let mut named: Vec<(String, ArrayRef)> = columns
            .into_iter()
            .enumerate()
            .map(|(i, column)| (format!("x{i}"), Arc::new(Float32Array::from(column)) as ArrayRef))
            .collect();
        named.push(("label".to_owned(), Arc::new(labels)));
        let batch = RecordBatch::try_from_iter(named).unwrap();
        let writer = writer.get_or_insert_with(|| {
            arrow_ipc::writer::FileWriter::try_new(File::create(path).unwrap(), &batch.schema()).unwrap()
        });
        writer.write(&batch).unwrap();
    }
    writer.unwrap().finish().unwrap();
}

#[test]
fn peak_memory_over_two_million_rows_is_within_five_percent_of_that_over_two_hundred_thousand() {
    let folder = tempdir().unwrap();
    let mut peaks = Vec::new();
    for rows in [200_000, 2_000_000] {
        let data = folder.path().join(format!("{rows}.arrow"));
        write(&data, rows);
        let pipeline = folder.path().join(format!("{rows}.toml"));
        let features: Vec<String> = (0..8).map(|i| format!("\"x{i}\"")).collect();
        let text = format!(
            "[source]\ntype = \"arrow\"\npath = {data:?}\n[sample]\nfeatures = [{}]\nlabel = \"label\"\n\
             [boundary]\ndetect = [\"every\"]\nevery_samples = {}\n\
             [learner]\nhidden = [32, 32, 32]\nfrozen = 1\nbatch_samples = 128\n[predictions]\nformat = \"parquet\"\n",
            features.join(", "),
            rows / 5
        );
        std::fs::write(&pipeline, text).unwrap();
        // Glibc gives threads heaps of their own, as many as meet: by chance that is a megabyte or two. With one heap what is
        // measured is what the program holds.
        let mut command = run_command(&pipeline, &folder.path().join(format!("out-{rows}")), &[]);
        let output = command.env("MALLOC_ARENA_MAX", "1").output().unwrap();
        assert!(output.status.success(), "{}", shown(&output));
        let summary = summary(&output);
        assert_eq!(summary["samples"], rows);
        peaks.push(number(&summary, "peak_memory_bytes"));
        println!("{rows} rows: peak {} bytes, {} rows/s", peaks[peaks.len() - 1], summary["samples_per_second"]);
    }
    assert!(peaks[1] <= peaks[0] * 1.05, "{peaks:?}");
}
