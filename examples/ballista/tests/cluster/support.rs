//! Samples, jobs over them, and what came of a job.

use datafusion::arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, UInt64Type};
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::error::Result;
use datafusion::prelude::{SessionConfig, SessionContext};
use lightcl_datafusion::{Options, register};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A learner of two numbers, with heads that can be joined.
pub const PIPELINE: &str = r#"
[sample]
features = ["x", "y"]
label = "label"
[boundary]
detect = ["error"]
[learner]
backbone = "mlp"
hidden = [16, 16]
frozen = 1
window_samples = 32
passes = 4
head = "mixture"
[learner.analytic]
standardize = "none"
forget = [1.0]
[stability]
probe_samples = 0
"#;

/// Keys of samples.
pub const KEYS: usize = 9;

/// Writes samples of all keys to so many Parquet files, mixed.
pub async fn write_samples(folder: &Path, rows: usize, files: usize) {
    let context = SessionContext::new();
    for file in 0..files {
        let at = (file..rows).step_by(files).collect::<Vec<_>>();
        let number = |row: usize, salt: usize| ((row * 2 + salt) as f64 * 12.9898).sin() * 43758.5453 % 1.0;
        let keys: StringArray = at.iter().map(|row| Some(format!("shop-{}", row * 7 / 2 % KEYS))).collect();
        let times: Int64Array = at.iter().map(|&row| Some(row as i64)).collect();
        let x: Float64Array = at.iter().map(|&row| Some(number(row, 0))).collect();
        let y: Float64Array = at.iter().map(|&row| Some(number(row, 1))).collect();
        let label = |row: usize| if number(row, 0) + number(row, 1) > 0.0 { "above" } else { "below" };
        let labels: StringArray = at.iter().map(|&row| Some(label(row))).collect();
        let columns: [(&str, ArrayRef); 5] = [
            ("shop", Arc::new(keys)),
            ("t", Arc::new(times)),
            ("x", Arc::new(x)),
            ("y", Arc::new(y)),
            ("label", Arc::new(labels)),
        ];
        let frame = context.read_batch(RecordBatch::try_from_iter(columns).unwrap()).unwrap();
        let path = folder.join(format!("{file}.parquet"));
        frame.write_parquet(path.to_str().unwrap(), DataFrameWriteOptions::new(), None).await.unwrap();
    }
}

/// Names the samples in a folder.
pub async fn create_samples(context: &SessionContext, folder: &Path) {
    let statement = format!("CREATE EXTERNAL TABLE samples STORED AS PARQUET LOCATION '{}/'", folder.display());
    sql(context, &statement).await.unwrap();
}

/// Runs a statement.
pub async fn sql(context: &SessionContext, statement: &str) -> Result<Vec<RecordBatch>> {
    context.sql(statement).await?.collect().await
}

/// The error of a statement.
pub async fn error(context: &SessionContext, statement: &str) -> String {
    match sql(context, statement).await {
        Ok(batches) => panic!("no error: {batches:?}"),
        Err(error) => error.to_string(),
    }
}

/// The call that trains a learner for each shop.
pub fn call(folder: &Path, job: &str) -> String {
    format!(
        "lightcl_learn_by_key('samples', '{PIPELINE}', 'key', 'shop', 'order', 't', 'location', '{}', 'job', '{job}', 'range', \
         'all')",
        folder.display()
    )
}

/// Rows and state of each learner, of a statement that selects key, rows and state_sha256.
pub fn learners(batches: &[RecordBatch]) -> BTreeMap<String, (u64, String)> {
    let mut found = BTreeMap::new();
    for batch in batches {
        let text = |column: usize| cast(batch.column(column), &DataType::Utf8).unwrap();
        let (keys, states) = (text(0), text(2));
        let rows = batch.column(1).as_primitive::<UInt64Type>();
        for row in 0..batch.num_rows() {
            let learner = (rows.value(row), states.as_string::<i32>().value(row).to_owned());
            let before = found.insert(keys.as_string::<i32>().value(row).to_owned(), learner);
            assert!(before.is_none(), "a key came twice");
        }
    }
    found
}

/// Trains in this process, without a cluster.
pub async fn train_alone(samples: &Path, folder: &Path, job: &str) -> BTreeMap<String, (u64, String)> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    register(&context, Options::default()).unwrap();
    create_samples(&context, samples).await;
    let call = call(folder, job);
    learners(&sql(&context, &format!("SELECT key, rows, state_sha256 FROM {call}")).await.unwrap())
}

/// All files of a job's range, by their path in it.
pub fn files(folder: &Path, job: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                found.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    let root = folder.join(job).join("all");
    walk(&root, &root, &mut found);
    found
}
