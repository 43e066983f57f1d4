//! One model out of learners of parts, beside one learner of all rows in order: is joining worth it?
//!
//! ```text
//! cargo bench --profile dev --workspace --bench merged [-- --smoke] [-- --seeds N]
//! ```
//! 10,000 images of clothes, five tasks of two kinds. They are learnt from in order by one learner; in five parts that are the
//! tasks; and in five parts that take every fifth image. Parts are learnt from apart and joined. The figures are the share of
//! 2,000 held-out images that are told among all ten kinds, over several seeds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark fails by panicking")]

use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::Float64Type;
use datafusion::arrow::ipc::reader::FileReader;
use datafusion::prelude::SessionContext;
use lightcl_datafusion::{KeyedOptions, LearnByKeyExt, Options, register};
use lightcl_pipeline::merge::merge;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data");

const PIPELINE: &str = r#"
[sample]
features = ["image"]
label = "label"
[boundary]
rollback_batches = 2
[learner]
hidden = [256, 256, 256, 256]
frozen = 2
window_samples = 256
passes = 5
batch_samples = 32
learning_rate = 0.1
[learner.analytic]
width = 1000
standardize = "none"
forget = [1.0]
[stability]
probe_samples = 0
"#;

fn images(name: &str) -> RecordBatch {
    let reader = FileReader::try_new(File::open(Path::new(DATA).join(name)).unwrap(), None).unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

/// The part of a row, by its number.
type Cut = fn(i64) -> i64;

const CUTS: [(&str, Cut); 3] =
    [("in order", |_| 0), ("parts = tasks", |row| row / 2000), ("parts = every fifth", |row| row % 5)];

async fn train(context: &SessionContext, folder: &Path, head: &str, seed: usize, cut: Cut) -> Vec<PathBuf> {
    let batch = images("fashion-mnist.arrow");
    let rows = batch.num_rows() as i64;
    let columns: [(&str, ArrayRef); 4] = [
        ("part", Arc::new((0..rows).map(|row| Some(cut(row))).collect::<Int64Array>())),
        ("row", Arc::new(Int64Array::from_iter_values(0..rows))),
        ("image", Arc::clone(batch.column_by_name("image").unwrap())),
        ("label", Arc::clone(batch.column_by_name("label").unwrap())),
    ];
    let mut fields: Vec<_> = RecordBatch::try_from_iter(columns.clone()).unwrap().schema().fields().to_vec();
    // The shape of an image stands in its field.
    fields[2] = Arc::new(batch.schema().field_with_name("image").unwrap().clone());
    let schema = Arc::new(datafusion::arrow::datatypes::Schema::new(fields));
    let batch = RecordBatch::try_new(schema, columns.map(|(_, column)| column).to_vec()).unwrap();
    let options = KeyedOptions::new(PIPELINE, "part", folder).order("row").range("images");
    let options = options.set(format!("learner.head={head}")).set(format!("learner.seed={seed}"));
    let learners = context.read_batch(batch).unwrap().learn_by_key(options).unwrap();
    let learners = learners.sort_by(vec![datafusion::prelude::col("key")]).unwrap().collect().await.unwrap();
    let paths =
        learners.iter().flat_map(|batch| batch.column(1).as_string::<i32>().iter().flatten().map(PathBuf::from));
    paths.collect()
}

async fn accuracy(context: &SessionContext, model: &Path) -> f64 {
    let query = format!(
        "SELECT avg(CASE WHEN lightcl_predict('{}', image) = CAST(label AS VARCHAR) THEN 1.0 ELSE 0.0 END) FROM held_out",
        model.display()
    );
    let batches = context.sql(&query).await.unwrap().collect().await.unwrap();
    batches[0].column(0).as_primitive::<Float64Type>().value(0)
}

fn shown(values: &[f64]) -> String {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let spread = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1).max(1) as f64;
    format!("{mean:.4} ± {:.4}", spread.sqrt())
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let smoke = arguments.iter().any(|argument| argument == "--smoke");
    let given = arguments.iter().position(|argument| argument == "--seeds").and_then(|at| arguments.get(at + 1));
    let seeds = given.map_or(if smoke { 1 } else { 5 }, |seeds| seeds.parse().unwrap());
    let context = SessionContext::new();
    register(&context, Options::default()).unwrap();
    context.register_batch("held_out", images("fashion-mnist-test.arrow")).unwrap();
    println!("| head | rows | class-IL of {seeds} seeds |\n|---|---|---|");
    for head in ["analytic", "mixture", "network"] {
        for (name, cut) in CUTS {
            let mut found = Vec::new();
            for seed in 0..seeds {
                let folder = tempfile::tempdir().unwrap();
                let learners = train(&context, folder.path(), head, seed, cut).await;
                let model = match learners.as_slice() {
                    [one] => Ok(one.clone()),
                    _ => merge(&learners, &folder.path().join("merged")).map(|_| folder.path().join("merged")),
                };
                match model {
                    Ok(model) => found.push(accuracy(&context, &model).await),
                    Err(error) => {
                        println!("| {head} | {name} | refused: {error} |");
                        break;
                    }
                }
            }
            if !found.is_empty() {
                println!("| {head} | {name} | {} |", shown(&found));
            }
        }
    }
}
