//! Rows a second of `lightcl_predict` beside the learner's own batch scoring, in turns in one run, and the memory held.
//!
//! ```text
//! cargo bench --profile dev -p lightcl-datafusion --bench predict [-- --smoke] [-- --rows N] [-- --head NAME]
//! ```
//! Rows of 33 floats come from eight batches in memory, one after the other; the model is a perceptron of four layers of 128
//! that is learnt first. "own" is the learner on rows that are encoded already, in batches of the same size; "sql" is a query
//! over plain float columns, from the scan to labels as text. `--smoke` takes few rows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark fails by panicking")]

#[path = "../tests/session/scoring_support.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod scoring_support;

use datafusion::arrow::array::{ArrayRef, Float32Array, RecordBatch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use lightcl_datafusion::{Options, register};
use lightcl_pipeline::model::Model;
use lightcl_pipeline::sink::{newest_snapshot, read_snapshot};
use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

const FEATURES: usize = 33;
const BATCH_ROWS: usize = 8192;
const CLASSES: usize = 6;

/// Numbers in `[-1, 1)` that depend on their place only.
fn number(row: usize, feature: usize) -> f32 {
    let mixed = (row as u64 * 64 + feature as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as f32 / (1 << 23) as f32 - 1.0
}

fn class(row: usize) -> usize {
    let sum: f32 = (0..FEATURES).map(|feature| number(row, feature) * (feature % 5) as f32).sum();
    ((sum / 2.0 + 3.0).max(0.0) as usize).min(CLASSES - 1)
}

fn batch(first: usize) -> RecordBatch {
    RecordBatch::try_from_iter((0..FEATURES).map(|feature| {
        let column: Float32Array = (first..first + BATCH_ROWS).map(|row| number(row, feature)).collect();
        (format!("f{feature}"), Arc::new(column) as ArrayRef)
    }))
    .unwrap()
}

/// The same few batches over and over.
#[derive(Debug)]
struct Rows {
    batches: Vec<RecordBatch>,
    schema: SchemaRef,
    count: usize,
}

impl PartitionStream for Rows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = self.batches.clone();
        let counts = (0..self.count).step_by(BATCH_ROWS).map(|first| (self.count - first).min(BATCH_ROWS));
        let rows: Vec<_> = counts.enumerate().collect();
        let stream = futures::stream::iter(
            rows.into_iter().map(move |(number, count)| Ok(batches[number % batches.len()].slice(0, count))),
        );
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream))
    }
}

/// Bytes that this process holds in memory.
fn resident() -> u64 {
    let statistics = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statistics.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.next().and_then(|_| arguments.next())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let smoke = std::env::args().any(|argument| argument == "--smoke");
    let rows = argument("--rows").map_or(if smoke { 200_000 } else { 10_000_000 }, |rows| rows.parse().unwrap());
    let head = argument("--head").unwrap_or_else(|| "network".to_owned());
    let folder = tempfile::tempdir().unwrap();
    let (source, out) = (folder.path().join("rows.csv"), folder.path().join("model"));
    let names: Vec<String> = (0..FEATURES).map(|feature| format!("f{feature}")).collect();
    let mut text = format!("{},label\n", names.join(","));
    for row in 0..4000 {
        let numbers: Vec<String> = (0..FEATURES).map(|feature| format!("{:.6}", number(row, feature))).collect();
        writeln!(text, "{},class {}", numbers.join(","), class(row)).unwrap();
    }
    std::fs::write(&source, text).unwrap();
    scoring_support::train(
        &format!(
            "[source]\ntype = \"csv\"\npath = {source:?}\n[sample]\nfeatures = {names:?}\nlabel = \"label\"\n\
             standardize = true\n[learner]\nhidden = [128, 128, 128, 128]\nfrozen = 2\nlearning_rate = 0.05\nhead = \"{head}\"\n"
        ),
        &out,
    );
    let model = Model::from_snapshot(&read_snapshot(&newest_snapshot(&out).unwrap().unwrap()).unwrap()).unwrap();

    let batches: Vec<RecordBatch> = (0..8).map(|number| batch(number * BATCH_ROWS)).collect();
    let encoded: Vec<_> = batches.iter().map(|batch| model.encoder.encode_features(batch).unwrap()).collect();
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    let models = [("model".to_owned(), out)].into();
    register(&context, Options { models }).unwrap();
    let schema = batches[0].schema();
    let partition = Arc::new(Rows { batches, schema: Arc::clone(&schema), count: rows });
    let table = StreamingTable::try_new(schema, vec![partition as Arc<dyn PartitionStream>]).unwrap();
    context.register_table("rows", Arc::new(table)).unwrap();
    let sql = format!("SELECT lightcl_predict('model', {}) FROM rows", names.join(", "));
    let mut stream = context.sql(&sql).await.unwrap().execute_stream().await.unwrap();

    println!("{rows} rows of {FEATURES} floats, 33-128x4-{CLASSES}, head {head}, batches of {BATCH_ROWS} rows");
    println!("{:>10} {:>14} {:>14} {:>8} {:>14}", "rows", "own rows/s", "sql rows/s", "sql/own", "resident MB");
    let (mut own, mut sql) = (Duration::ZERO, Duration::ZERO);
    let (mut own_rows, mut sql_rows, mut number) = (0, 0, 0);
    for tenth in 1..=10 {
        let goal = rows * tenth / 10;
        let started = Instant::now();
        while own_rows < goal {
            let batch = &encoded[number % encoded.len()];
            black_box(model.scores(batch).unwrap());
            own_rows += batch.usable.len();
            number += 1;
        }
        own += started.elapsed();
        let started = Instant::now();
        while sql_rows < goal {
            let Some(batch) = stream.next().await else { break };
            sql_rows += black_box(batch.unwrap()).num_rows();
        }
        sql += started.elapsed();
        let speed = |rows: usize, time: Duration| rows as f64 / time.as_secs_f64();
        let (own_speed, sql_speed) = (speed(own_rows, own), speed(sql_rows, sql));
        let resident = resident() as f64 / 1e6;
        println!("{goal:>10} {own_speed:>14.0} {sql_speed:>14.0} {:>8.3} {resident:>14.1}", sql_speed / own_speed);
    }
    assert_eq!(sql_rows, rows);
}
