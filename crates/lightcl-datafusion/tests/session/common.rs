//! What the tests of learning in SQL share.

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::stream;
use lightcl_core::state::sha256_hex;
use lightcl_datafusion::{Options, register};
use lightcl_pipeline::assembly::assemble;
use lightcl_pipeline::config::{Overrides, Pipeline};
use lightcl_pipeline::driver::Run;
use lightcl_pipeline::sink::{FolderOptions, FolderSink, latest_checkpoint};
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// The electricity market: half-hourly rows in order of time.
pub const ELEC2: &str = "../../examples/data/elec2.parquet";
/// Its columns in order.
pub const COLUMNS: &str = "event_time, day, period, nswprice, nswdemand, vicprice, vicdemand, transfer, label";

/// A small learner of it.
pub const PIPELINE: &str = r#"
[source]
type = "parquet"
path = "../../examples/data/elec2.parquet"

[sample]
features = [
    "period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer",
    { column = "day", as = "category", encoding = "one_hot", size = 8 },
]
label = "label"
event_time = "event_time"
standardize = true

[boundary]
detect = ["error"]

[learner]
backbone = "mlp"
hidden = [16, 16]
frozen = 1
active_classes = "seen"
window_samples = 64
learning_rate = 0.05
head = "network"

[checkpoint]
every_samples = 1000
"#;

/// A learner of two numbers that names no source.
pub const POINTS: &str = r#"
[sample]
features = ["x", "y"]
label = "label"
[boundary]
detect = ["error"]
[learner]
backbone = "mlp"
hidden = [8, 8]
frozen = 1
window_samples = 32
head = "network"
"#;

/// Runs a future on a runtime of this thread.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

/// A session that plans for so many partitions.
pub fn session(partitions: usize) -> SessionContext {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(partitions));
    register(&context, Options::default()).unwrap();
    context
}

/// The same, with the electricity market as table `elec2`.
pub async fn market(partitions: usize) -> SessionContext {
    let context = session(partitions);
    context.register_parquet("elec2", ELEC2, ParquetReadOptions::default()).await.unwrap();
    context
}

/// Runs a statement; gives its batches.
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

/// The one number that a statement gives.
pub async fn number(context: &SessionContext, statement: &str) -> u64 {
    let batches = sql(context, statement).await.unwrap();
    let column = datafusion::arrow::compute::cast(batches[0].column(0), &arrow_schema::DataType::UInt64).unwrap();
    column.as_primitive::<UInt64Type>().value(0)
}

/// The first column of what a statement gives, as text.
pub async fn texts(context: &SessionContext, statement: &str) -> Vec<Option<String>> {
    let batches = sql(context, statement).await.unwrap();
    let column = |batch: &RecordBatch| {
        let column = datafusion::arrow::compute::cast(batch.column(0), &arrow_schema::DataType::Utf8).unwrap();
        column.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>()
    };
    batches.iter().flat_map(column).collect()
}

/// The plan of a statement.
pub async fn plan(context: &SessionContext, statement: &str) -> String {
    let batches = sql(context, statement).await.unwrap();
    let column = |batch: &RecordBatch| {
        let column = datafusion::arrow::compute::cast(batch.column(1), &arrow_schema::DataType::Utf8).unwrap();
        column.as_string::<i32>().iter().map(|text| text.unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    batches.iter().flat_map(column).collect::<Vec<_>>().join("\n")
}

/// Makes a learner's table.
pub async fn create(context: &SessionContext, name: &str, folder: &Path, pipeline: &str, options: &str) {
    let statement = create_statement(name, folder, pipeline, options);
    sql(context, &statement).await.unwrap();
}

/// The statement that makes a learner's table; of points, with their columns.
pub fn create_statement(name: &str, folder: &Path, pipeline: &str, options: &str) -> String {
    let columns = if pipeline.contains("[source]") { "" } else { "(x DOUBLE, y DOUBLE, label VARCHAR)" };
    format!(
        "CREATE EXTERNAL TABLE {name} {columns} STORED AS LIGHTCL LOCATION '{}' \
         OPTIONS ('lightcl.pipeline' '{pipeline}' {options})",
        folder.display()
    )
}

/// The hash of what a folder has committed.
pub fn state_of(folder: &Path) -> String {
    sha256_hex(&latest_checkpoint(folder).unwrap().expect("something is committed").state)
}

/// What the program does with a pipeline over files; gives the hash of the state and the rows.
pub fn straight(pipeline: &str, folder: &Path, set: &[&str]) -> (String, u64) {
    let overrides = Overrides { set: set.iter().map(|&one| one.to_owned()).collect(), ..Overrides::default() };
    let pipeline = Pipeline::parse(pipeline, "learner.toml", &overrides).unwrap();
    let (source, operator) = assemble(&pipeline).unwrap();
    let settings = pipeline.settings();
    let options = FolderOptions {
        predictions: settings.predictions.format,
        configuration: pipeline.learning_part().unwrap(),
        ..FolderOptions::default()
    };
    let run = Run {
        source,
        operator,
        sink: Box::new(FolderSink::open(folder, options).unwrap()),
        checkpoints: settings.checkpoint_policy(),
        slice_rows: settings.learner.window_samples,
        stop: Arc::default(),
        health: Arc::default(),
    };
    let finished = run.drive(&mut |_, _| {}).unwrap();
    (finished.operator.summary().unwrap().state_sha256, finished.rows_read)
}

/// Points that a line parts, the same each time. The label turns round after half of them with `turn`.
pub fn points(rows: std::ops::Range<u64>, turn: Option<u64>) -> RecordBatch {
    let number = |row: u64, salt: u64| {
        let mixed =
            (row * 2 + salt).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed >> 11) as f64 / (1_u64 << 53) as f64 * 2.0 - 1.0
    };
    let x: Vec<f64> = rows.clone().map(|row| number(row, 0)).collect();
    let y: Vec<f64> = rows.clone().map(|row| number(row, 1)).collect();
    let labels = rows.clone().zip(x.iter().zip(&y)).map(|(row, (x, y))| {
        let turned = turn.is_some_and(|turn| row >= turn);
        if (x + y > 0.0) != turned { "above" } else { "below" }
    });
    let labels: StringArray = labels.map(Some).collect();
    let columns: [(&str, ArrayRef); 3] =
        [("x", Arc::new(Float64Array::from(x))), ("y", Arc::new(Float64Array::from(y))), ("label", Arc::new(labels))];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// A partition of a table whose rows come when a test gives them; it can be read once.
pub struct Given {
    schema: SchemaRef,
    rows: Mutex<Option<mpsc::Receiver<Result<RecordBatch>>>>,
}

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Given")
    }
}

#[async_trait]
impl PartitionStream for Given {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.rows.lock().unwrap().take().expect("it is read once");
        let rows = stream::unfold(rows, |mut rows| async move { rows.recv().await.map(|batch| (batch, rows)) });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}

/// Registers an unbounded table of points, whose partitions are fed by the senders.
pub fn unbounded(context: &SessionContext, name: &str, partitions: usize) -> Vec<mpsc::Sender<Result<RecordBatch>>> {
    let schema = points(0..0, None).schema();
    let mut streams: Vec<Arc<dyn PartitionStream>> = Vec::new();
    let mut senders = Vec::new();
    for _ in 0..partitions {
        let (sender, rows) = mpsc::channel(4);
        streams.push(Arc::new(Given { schema: Arc::clone(&schema), rows: Mutex::new(Some(rows)) }));
        senders.push(sender);
    }
    let table = StreamingTable::try_new(schema, streams).unwrap().with_infinite_table(true);
    context.register_table(name, Arc::new(table)).unwrap();
    senders
}
