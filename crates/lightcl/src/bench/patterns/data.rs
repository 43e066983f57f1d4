//! Streams of tasks with a test part each: two classes a task, or all classes with another look a task.

use crate::bench::images::{self, CLASSES_PER_TASK, DEGREES_PER_TASK, PIXELS, TASKS, batch, order_of_pixels, rotated};
use crate::bench::streams::{Made, Request, Settings, Stream, Truth};
use crate::bench::tables::{find, read};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch, UInt64Array};
use lightcl_core::{Error, Result};
use lightcl_stream::encode::EncoderConfig;
use lightcl_testkit::seeded;
use rand::seq::SliceRandom;
use std::path::{Path, PathBuf};

/// Why a stream that was not asked for by name is left out.
pub(super) const SLOW: &str = "it takes long on a CPU: name it with --streams";

/// Rows of a task, and of its test part, in a quick run.
const QUICK: (usize, usize) = (200, 100);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tasks {
    /// Two classes each.
    Split,
    /// So many images, their pixels in an order of its own; the first task as they are.
    Permuted(usize),
    /// So many images, turned by an angle of its own; the first task as they are.
    Rotated(usize),
}

struct Entry {
    name: &'static str,
    file: &'static str,
    /// Training and test part in the examples of the repository, used where the folder of data sets has no such file.
    example: Option<(&'static str, &'static str)>,
    column: &'static str,
    tasks: Tasks,
    is_slow: bool,
}

const fn entry(name: &'static str, file: &'static str, column: &'static str, tasks: Tasks) -> Entry {
    Entry { name, file, example: None, column, tasks, is_slow: false }
}

/// A new stream is one row.
const STREAMS: &[Entry] = &[
    entry("cifar10_embeddings", "cifar10_embeddings.parquet", "embedding", Tasks::Split),
    Entry {
        example: Some(("fashion-mnist.arrow", "fashion-mnist-test.arrow")),
        ..entry("fashion_split", "fashion_mnist_12k.arrow", "image", Tasks::Split)
    },
    entry("mnist_split", "mnist.arrow", "image", Tasks::Split),
    entry("mnist_permuted", "mnist.arrow", "image", Tasks::Permuted(10_000)),
    entry("mnist_rotated", "mnist.arrow", "image", Tasks::Rotated(10_000)),
    Entry { is_slow: true, ..entry("cifar10_jpeg", "cifar10_jpeg.parquet", "jpeg", Tasks::Split) },
];

/// The names of all streams.
pub(super) fn names() -> Vec<String> {
    STREAMS.iter().map(|entry| entry.name.to_owned()).collect()
}

/// Whether a stream runs only when it is named.
pub(super) fn is_slow(name: &str) -> bool {
    STREAMS.iter().any(|entry| entry.name == name && entry.is_slow)
}

/// Reads the rows and makes the tasks; the seed decides the order of rows within each.
///
/// # Errors
/// When a file that is there cannot be read, or holds something else.
pub(super) fn make(name: &str, request: &Request<'_>) -> Result<Made> {
    let entry = STREAMS.iter().find(|entry| entry.name == name);
    let entry = entry.ok_or_else(|| Error::internal("no such stream").with("stream", name))?;
    let (training, test) = match entry.files(request.data) {
        Ok(files) => files,
        Err(why) => return Ok(Made::Skipped(why)),
    };
    let most =
        |rows: usize, test: usize| if request.quick { (QUICK.0.min(rows), QUICK.1.min(test)) } else { (rows, test) };
    let parts = match entry.tasks {
        Tasks::Split => {
            let most = most(usize::MAX, usize::MAX);
            (split(&training, "train", Some(request.seed), most.0)?, split(&test, "test", None, most.1)?)
        }
        Tasks::Permuted(rows) | Tasks::Rotated(rows) => {
            let most = most(rows, usize::MAX);
            (
                entry.changed(&training, "train", Some(request.seed), most.0)?,
                entry.changed(&test, "test", None, most.1)?,
            )
        }
    };
    let mut change_points = Vec::new();
    let mut start = 0;
    for part in &parts.0[..parts.0.len() - 1] {
        start += part.num_rows() as u64;
        change_points.push(start);
    }
    let rows = arrow_select::concat::concat_batches(&parts.0[0].schema(), &parts.0)
        .map_err(|error| Error::internal("cannot put tasks together").caused_by(error))?;
    Ok(Made::Stream(Box::new(Stream {
        name: entry.name,
        settings: Settings::Images,
        encoder: EncoderConfig::new([entry.column], "label"),
        rows,
        held_out: parts.1,
        change_points,
        slack: 0,
        truth: Truth::All,
    })))
}

impl Entry {
    /// Where the training and the test part are.
    fn files(&self, data: Option<&Path>) -> std::result::Result<(PathBuf, PathBuf), String> {
        match (find(data, self.file, None), self.example) {
            (Ok(path), _) => Ok((path.clone(), path)),
            (Err(why), None) => Err(why),
            (Err(_), Some((training, test))) => {
                Ok((find(data, self.file, Some(training))?, find(data, self.file, Some(test))?))
            }
        }
    }

    /// Each task's images as it shows them. Training images are shared out, test images all belong to every task.
    fn changed(&self, path: &Path, part: &str, seed: Option<u64>, rows_per_task: usize) -> Result<Vec<RecordBatch>> {
        let (pixels, labels) = images::load(path, part)?;
        let mut rows: Vec<usize> = (0..labels.len()).collect();
        if let Some(seed) = seed {
            rows.shuffle(&mut seeded(seed));
        }
        let first = |task: usize| if seed.is_some() { task.saturating_mul(rows_per_task) } else { 0 };
        (0..TASKS)
            .map(|task| {
                let order = order_of_pixels(task);
                let (mut shown, mut shown_labels) = (Vec::new(), Vec::new());
                for &row in rows.iter().skip(first(task)).take(rows_per_task) {
                    let image = &pixels[row * PIXELS..(row + 1) * PIXELS];
                    match self.tasks {
                        Tasks::Rotated(_) => shown.extend(rotated(image, DEGREES_PER_TASK * task as f64)),
                        Tasks::Permuted(_) | Tasks::Split => shown.extend(order.iter().map(|&pixel| image[pixel])),
                    }
                    shown_labels.push(labels[row]);
                }
                batch(shown, shown_labels)
            })
            .collect()
    }
}

/// Rows of two classes a task, of one part; where a file does not name its parts, of all.
fn split(path: &Path, part: &str, seed: Option<u64>, rows_per_task: usize) -> Result<Vec<RecordBatch>> {
    let rows = read(path)?;
    let labels = rows.column_by_name("label").and_then(|column| column.as_primitive_opt::<Int64Type>());
    let labels = labels.ok_or_else(|| Error::user("no column label of whole numbers").with("path", path.display()))?;
    let parts = rows.column_by_name("split").and_then(|column| column.as_string_opt::<i32>());
    let is_chosen = |row: &usize| labels.is_valid(*row) && parts.is_none_or(|parts| parts.value(*row) == part);
    let mut order: Vec<usize> = (0..rows.num_rows()).filter(is_chosen).collect();
    if let Some(seed) = seed {
        order.shuffle(&mut seeded(seed));
    }
    (0..TASKS)
        .map(|task| {
            let own = |row: &&usize| labels.value(**row) / CLASSES_PER_TASK == task as i64;
            let own = order.iter().filter(own).take(rows_per_task).map(|&row| row as u64);
            arrow_select::take::take_record_batch(&rows, &UInt64Array::from_iter_values(own))
                .map_err(|error| Error::internal("cannot select rows").caused_by(error))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_make_five_tasks_of_two_classes_with_test_rows_of_the_same() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data");
        let training = split(&top.join("fashion-mnist.arrow"), "train", Some(1), 50).unwrap();
        let test = split(&top.join("fashion-mnist-test.arrow"), "test", None, 30).unwrap();
        assert_eq!((training.len(), test.len()), (TASKS, TASKS));
        for (task, part) in training.iter().chain(&test).enumerate() {
            let labels = part.column_by_name("label").unwrap().as_primitive::<Int64Type>();
            assert!(labels.values().iter().all(|label| label / CLASSES_PER_TASK == (task % TASKS) as i64));
        }
        assert_eq!((training[4].num_rows(), test[0].num_rows()), (50, 30));
    }

    #[test]
    fn permuted_tasks_share_no_training_image_and_all_test_images() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data");
        let entry = Entry { example: None, ..entry("some", "", "image", Tasks::Rotated(40)) };
        let training = entry.changed(&top.join("fashion-mnist.arrow"), "train", Some(1), 40).unwrap();
        let test = entry.changed(&top.join("fashion-mnist-test.arrow"), "test", None, usize::MAX).unwrap();
        assert!(training.iter().all(|part| part.num_rows() == 40) && test.iter().all(|part| part.num_rows() == 2000));
        let labels = |part: &RecordBatch| part.column_by_name("label").unwrap().as_primitive::<Int64Type>().clone();
        assert_eq!(labels(&test[0]), labels(&test[4]));
        assert_ne!(labels(&training[0]), labels(&training[4]));
    }

    #[test]
    fn a_stream_whose_file_is_missing_says_where_it_was_looked_for() {
        let Made::Skipped(why) = make("mnist_split", &Request { seed: 0, quick: true, data: None }).unwrap() else {
            panic!("there is no such example");
        };
        assert!(why.contains("mnist.arrow") && why.contains("--data"), "{why}");
        assert!(
            crate::bench::chosen("stream", &["mnist_spilt".to_owned()], names())
                .unwrap_err()
                .message()
                .contains("did you mean mnist_split?")
        );
        assert!(is_slow("cifar10_jpeg") && !is_slow("mnist_split"));
    }
}
