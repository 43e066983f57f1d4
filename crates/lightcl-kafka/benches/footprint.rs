//! What a job takes while it runs for long, against a broker of its own: resident memory over millions of records, and commits
//! of a learner with a large state (ResNet-18, whose plastic suffix alone is 33 MB).
//!
//! `cargo bench --profile dev -p lightcl-kafka --bench footprint -- [--records N] [--images N] [--checkpoint SECONDS] [--smoke]`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark fails by panicking")]

mod common;

use arrow_array::types::Float32Type;
use arrow_array::{ArrayRef, FixedSizeListArray, Int64Array, RecordBatch};
use arrow_ipc::writer::StreamWriter;
use common::{Commit, Kind, Plan, STATE, Seen, Spec, fill, flag, option};
use lightcl_core::{Output, PositionedBatch, RowOffsets};
use lightcl_kafka::Observer;
use lightcl_kafka::format::{FormatConfig, FormatKind};
use lightcl_learner::{Backbone, LearnerConfig};
use lightcl_stream::Operator;
use lightcl_stream::encode::{EncoderConfig, FeatureConfig};
use lightcl_testkit::services::{self, Broker};
use std::sync::Arc;
use std::time::{Duration, Instant};

const IMAGE: [usize; 3] = [3, 32, 32];
/// Images in a record.
const IMAGES: usize = 32;

fn main() {
    let _ = env_logger::builder().format_timestamp_millis().try_init();
    let smoke = flag("--smoke");
    if !services::ready_or_skipped() {
        return;
    }
    let broker = Broker::start(&[]);
    broker.create_topic(STATE, 1, &["cleanup.policy=compact"]);
    memory(&broker, option("--records").unwrap_or(if smoke { 100_000 } else { 10_000_000 }));
    let checkpoint = Duration::from_secs(option("--checkpoint").unwrap_or(if smoke { 2 } else { 30 }) as u64);
    commits(&broker, option("--images").unwrap_or(if smoke { 64 } else { 4_096 }), checkpoint);
}

/// Resident memory after each tenth of the records.
fn memory(broker: &Broker, records: usize) {
    let format = FormatConfig {
        columns: ["x0", "x1", "label"].map(str::to_owned).to_vec(),
        exact: vec!["label".into()],
        ..FormatConfig::default()
    };
    broker.create_topic("many", 1, &[]);
    fill(broker, "many", records, &|row| {
        let (x0, x1) = (row * 37 % 101, row * 53 % 97);
        format!("{{\"x0\":{x0},\"x1\":{x1},\"label\":{}}}", row * 7 % 13 % 4).into_bytes()
    });
    println!("{records} records of JSON, a learner 2-16x2-4, each row predicted");
    println!("{:>12} {:>12}", "rows", "resident MB");
    let seen = Arc::new(Resident { seen: Seen::default(), every: records / 10 });
    broker.create_topic("many-predictions", 1, &["retention.bytes=100000000"]);
    let learner = Kind::Real(Box::new(LearnerConfig {
        backbone: Backbone::Mlp { hidden: vec![16; 2], frozen: 1 },
        ..LearnerConfig::default()
    }));
    let plan = Plan {
        topic: "many",
        name: "many".into(),
        format: &format,
        spec: Spec { emit_predictions: true, ..Spec::new(&learner, EncoderConfig::new(["x0", "x1"], "label")) },
        checkpoint: Duration::from_secs(10),
        predictions: Some("many-predictions"),
    };
    plan.run(broker, Arc::clone(&seen) as Arc<dyn Observer>);
    println!("{:.0} rows/s", seen.seen.rows_per_second());
}

/// Says now and then how much memory is resident.
struct Resident {
    seen: Seen,
    every: usize,
}

impl Observer for Resident {
    fn pushed(&self, unit: &str, operator: Option<&Operator>, rows: usize, outputs: &[Output], elapsed: Duration) {
        let before = self.seen.total();
        self.seen.pushed(unit, operator, rows, outputs, elapsed);
        let after = self.seen.total();
        if before / self.every != after / self.every {
            println!("{after:>12} {:>12.1}", resident_bytes() as f64 / 1e6);
        }
    }

    fn committed(&self, unit: &str, output_bytes: usize, state_bytes: usize, took: Duration) {
        self.seen.committed(unit, output_bytes, state_bytes, took);
    }
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// Commits with and without a checkpoint, and what is written a second.
fn commits(broker: &Broker, images: usize, checkpoint: Duration) {
    let format = FormatConfig {
        kind: FormatKind::Arrow,
        columns: ["image", "label"].map(str::to_owned).to_vec(),
        exact: vec!["label".into()],
        ..FormatConfig::default()
    };
    let learner = Kind::Real(Box::new(LearnerConfig {
        backbone: Backbone::Resnet18 { width: 64 },
        prefix: lightcl_learner::Prefix::Pretrained,
        batch_samples: IMAGES,
        ..LearnerConfig::default()
    }));
    let mut columns = EncoderConfig::new(Vec::<String>::new(), "label");
    columns.features = vec![FeatureConfig { shape: Some(IMAGE.to_vec()), ..FeatureConfig::auto("image") }];
    let batches: Vec<RecordBatch> = (0..images / IMAGES).map(batch_of_images).collect();

    let spec = Spec { emit_predictions: true, window_samples: IMAGES, ..Spec::new(&learner, columns) };
    let mut operator = spec.operator("memory", &batches[0].schema()).unwrap();
    let started = Instant::now();
    for (number, batch) in batches.iter().enumerate() {
        let first = (number * IMAGES) as u64;
        let offsets =
            RowOffsets::Listed { offsets: (first..first + IMAGES as u64).collect(), next: first + IMAGES as u64 };
        let batch = PositionedBatch { batch: batch.clone(), partition: "memory".into(), offsets, faults: Vec::new() };
        operator.push(&batch).unwrap();
    }
    let memory = images as f64 / started.elapsed().as_secs_f64();
    drop(operator);

    broker.create_topic("images", 1, &[]);
    broker.create_topic("images-predictions", 1, &[]);
    fill(broker, "images", batches.len(), &|number| {
        let mut writer = StreamWriter::try_new(Vec::new(), &batches[number].schema()).unwrap();
        writer.write(&batches[number]).unwrap();
        writer.into_inner().unwrap()
    });
    let seen = Arc::new(Seen::default());
    let plan = Plan {
        topic: "images",
        name: "images".into(),
        format: &format,
        spec,
        checkpoint,
        predictions: Some("images-predictions"),
    };
    let started = Instant::now();
    plan.run(broker, Arc::clone(&seen) as Arc<dyn Observer>);
    let took = started.elapsed().as_secs_f64();
    println!("ResNet-18, {images} images, a commit a second, a checkpoint every {} s", checkpoint.as_secs());
    println!("{memory:.1} rows/s from memory, {:.1} rows/s as a job", seen.rows_per_second());
    let commits = seen.commits.lock().unwrap();
    let (with, without): (Vec<Commit>, Vec<Commit>) = commits.iter().partition(|commit| commit.state_bytes > 0);
    println!("{:16} {:>8} {:>12} {:>12} {:>14}", "commits", "number", "median ms", "longest ms", "MB a second");
    for (name, commits, of) in [
        ("outputs only", without, (|commit: &Commit| commit.output_bytes) as fn(&Commit) -> usize),
        ("with state", with, |commit: &Commit| commit.output_bytes + commit.state_bytes),
    ] {
        let mut times: Vec<f64> = commits.iter().map(|commit| commit.took.as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        let bytes: usize = commits.iter().map(of).sum();
        println!(
            "{name:16} {:>8} {:>12.1} {:>12.1} {:>14.4}",
            times.len(),
            times.get(times.len() / 2).unwrap_or(&f64::NAN),
            times.last().unwrap_or(&f64::NAN),
            bytes as f64 / 1e6 / took
        );
    }
    if let Some(state) = commits.iter().map(|commit| commit.state_bytes).max() {
        println!("the largest state written at once: {:.1} MB", state as f64 / 1e6);
    }
}

fn batch_of_images(number: usize) -> RecordBatch {
    let values: usize = IMAGE.iter().product();
    let rows = (0..IMAGES).map(|row| {
        let row = number * IMAGES + row;
        Some((0..values).map(move |pixel| Some((row * 31 + pixel * 17) as f32 % 251.0 / 251.0)))
    });
    let images = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(rows, values as i32);
    let labels = Int64Array::from_iter_values((0..IMAGES).map(|row| (row % 10) as i64));
    let columns: [(&str, ArrayRef); 2] = [("image", Arc::new(images)), ("label", Arc::new(labels))];
    RecordBatch::try_from_iter(columns).unwrap()
}
