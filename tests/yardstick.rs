//! Accuracy beside the PyTorch yardstick, on data that is not part of the repository: skipped with a printed reason
//! where the folder `shared` does not stand beside the checkout. Figures and commands: `docs/measurements.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray, UInt64Array};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::{Numbers, mean_and_deviation, number, run, top};
use tempfile::tempdir;

/// One stream and what the yardstick reaches on it.
struct Setting {
    name: &'static str,
    file: &'static str,
    features: &'static str,
    learner: &'static str,
    seeds: u64,
    /// Mean and standard deviation of class-IL and task-IL.
    class_il: (f64, f64),
    task_il: (f64, f64),
}

fn data(name: &str) -> Option<PathBuf> {
    let path = top().join("../shared/data").join(name);
    path.exists().then_some(path)
}

fn read(path: &Path) -> RecordBatch {
    let file = File::open(path).unwrap();
    let batches: Vec<RecordBatch> = if path.extension().is_some_and(|e| e == "parquet") {
        let builder = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        builder.build().unwrap().map(Result::unwrap).collect()
    } else {
        arrow_ipc::reader::FileReader::try_new(file, None).unwrap().map(Result::unwrap).collect()
    };
    arrow_select::concat::concat_batches(&batches[0].schema(), &batches).unwrap()
}

/// Writes the training rows task by task (two classes each, shuffled inside a task) and the test rows.
fn write_stream(rows: &RecordBatch, features: &str, seed: u64, train: &Path, test: &Path) {
    let column = |name: &str| rows.column_by_name(name).unwrap();
    let labels = column("label").as_any().downcast_ref::<Int64Array>().unwrap();
    let split = column("split").as_any().downcast_ref::<StringArray>().unwrap();
    let mut numbers = Numbers(seed);
    let mut order = Vec::new();
    for task in 0..5 {
        let mut of_task: Vec<u64> = (0..rows.num_rows())
            .filter(|&row| split.value(row) == "train" && labels.value(row) / 2 == task)
            .map(|row| row as u64)
            .collect();
        for place in (1..of_task.len()).rev() {
            of_task.swap(place, (numbers.next() % (place as u64 + 1)) as usize);
        }
        order.extend(of_task);
    }
    let held_out = (0..rows.num_rows()).filter(|&row| split.value(row) == "test").map(|row| row as u64).collect();
    for (path, order) in [(train, order), (test, held_out)] {
        let order = UInt64Array::from(order);
        let taken = |name: &str| arrow_select::take::take(column(name), &order, None).unwrap();
        let labels = taken("label");
        let tasks: Int64Array =
            labels.as_any().downcast_ref::<Int64Array>().unwrap().iter().map(|l| l.map(|l| l / 2)).collect();
        let batch = RecordBatch::try_from_iter([
            (features, taken(features)),
            ("label", labels),
            ("task", Arc::new(tasks) as ArrayRef),
        ])
        .unwrap();
        let mut writer = arrow_ipc::writer::FileWriter::try_new(File::create(path).unwrap(), &batch.schema()).unwrap();
        for start in (0..batch.num_rows()).step_by(2000) {
            writer.write(&batch.slice(start, 2000.min(batch.num_rows() - start))).unwrap();
        }
        writer.finish().unwrap();
    }
}

fn compare(setting: &Setting) {
    let Some(path) = data(setting.file) else {
        println!("skipped: {} is not beside this checkout", setting.file);
        return;
    };
    let rows = read(&path);
    let folder = tempdir().unwrap();
    let (train, test) = (folder.path().join("train.arrow"), folder.path().join("test.arrow"));
    let pipeline = folder.path().join("pipeline.toml");
    let text = format!(
        "[source]\ntype = \"arrow\"\npath = {train:?}\n[evaluate]\npath = {test:?}\n\
         [sample]\nfeatures = [\"{}\"]\nlabel = \"label\"\n[boundary]\ndetect = []\ntask_column = \"task\"\n\
         [stability]\nprobe_samples = 0\n[learner]\nhidden = [256, 256, 256, 256]\nfrozen = 2\n\
         active_classes = \"task\"\nwindow_samples = 256\ninitial_classes = 10\n{}\n",
        setting.features, setting.learner
    );
    std::fs::write(&pipeline, text).unwrap();
    let (mut class_il, mut task_il, mut plasticity, mut stability) = (vec![], vec![], vec![], vec![]);
    for seed in 0..setting.seeds {
        write_stream(&rows, setting.features, seed, &train, &test);
        let out = folder.path().join(format!("out-{seed}"));
        let summary = run(&pipeline, &out, &["--set", &format!("learner.seed={seed}")]);
        assert_eq!(summary["tasks"], 5);
        class_il.push(number(&summary, "class_il"));
        task_il.push(number(&summary, "task_il"));
        plasticity.push(number(&summary, "plasticity"));
        stability.push(number(&summary, "stability"));
    }
    for (measure, values) in [("class-IL", &class_il), ("task-IL", &task_il), ("LP", &plasticity), ("MS", &stability)] {
        let (mean, deviation) = mean_and_deviation(values);
        println!("{}: {measure} {mean:.4} +- {deviation:.4} over {} seeds", setting.name, setting.seeds);
    }
    // Two means over a few seeds differ by chance: 1.5 points, or three standard errors where those are wider.
    let near = |ours: &[f64], yardstick: (f64, f64), measure: &str| {
        let (mean, deviation) = mean_and_deviation(ours);
        let chance = 3.0 * ((deviation.powi(2) + yardstick.1.powi(2)) / ours.len() as f64).sqrt();
        let allowed = chance.max(0.015);
        assert!(
            (mean - yardstick.0).abs() <= allowed,
            "{}: {measure} {mean:.4} is not within {allowed:.4} of {:.4}",
            setting.name,
            yardstick.0
        );
    };
    near(&class_il, setting.class_il, "class-IL");
    near(&task_il, setting.task_il, "task-IL");
}

#[test]
fn split_mnist_is_learnt_as_well_as_by_the_yardstick() {
    compare(&Setting {
        name: "Split MNIST",
        file: "mnist.arrow",
        features: "image",
        learner: "passes = 1\nlearning_rate = 0.1",
        seeds: 5,
        class_il: (0.3750, 0.0307),
        task_il: (0.8786, 0.0206),
    });
}

#[test]
fn split_fashion_mnist_is_learnt_as_well_as_by_the_yardstick() {
    compare(&Setting {
        name: "Split Fashion-MNIST",
        file: "fashion_mnist_12k.arrow",
        features: "image",
        learner: "passes = 5\nlearning_rate = 0.1",
        seeds: 5,
        class_il: (0.2695, 0.0655),
        task_il: (0.9517, 0.0300),
    });
}

#[test]
fn cifar_10_embeddings_are_learnt_as_well_as_by_the_yardstick() {
    compare(&Setting {
        name: "CIFAR-10 embeddings",
        file: "not-for-redistribution/cifar10_embeddings.parquet",
        features: "embedding",
        learner: "prefix = \"pretrained\"\npasses = 2\nlearning_rate = 0.01",
        seeds: 5,
        class_il: (0.3616, 0.0359),
        task_il: (0.8518, 0.0036),
    });
}
