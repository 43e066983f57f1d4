//! Seeded streams with known change points. A new kind of stream is one file: a struct of settings that implements
//! [`Generator`].

mod agrawal;
mod another_rule;
mod change;
mod class_incremental;
mod led;
mod moved_inputs;
mod random_rbf;
mod rotating_hyperplane;
mod sea;
mod sine;
mod stationary;

pub use agrawal::Agrawal;
pub use another_rule::AnotherRule;
pub use change::Change;
pub use class_incremental::ClassIncremental;
pub use led::Led;
pub use moved_inputs::MovedInputs;
pub use random_rbf::RandomRbf;
pub use rotating_hyperplane::RotatingHyperplane;
pub use sea::Sea;
pub use sine::{Sine, SineCurve};
pub use stationary::Stationary;

use arrow_array::types::Float32Type;
use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, Int64Array, RecordBatch, StringArray};
use lightcl_core::{ClassId, Position, SampleMeta, Samples};
use std::sync::Arc;

/// Makes streams of one kind.
pub trait Generator {
    /// The stream's name in tables and messages.
    fn name(&self) -> &'static str;

    /// The stream of this seed; the same on every call.
    fn generate(&self, seed: u64) -> SyntheticStream;
}

/// A stream whose tasks are known.
#[derive(Debug, Clone, PartialEq)]
pub struct SyntheticStream {
    /// Name of the generator.
    pub name: &'static str,
    /// All rows; the task key of each is the number of its task.
    pub samples: Samples,
    /// Indices of the first rows of all tasks but the first, ascending.
    pub change_points: Vec<u64>,
}

impl SyntheticStream {
    /// A stream of vectors from its tasks: `rows[t]` holds features and label of each row of task `t`.
    pub fn from_tasks(name: &'static str, width: usize, tasks: &[Vec<(Vec<f32>, ClassId)>]) -> Self {
        let mut samples = Samples::empty(&[width]);
        let mut change_points = Vec::new();
        let partition: Arc<str> = Arc::from(name);
        for (task, rows) in tasks.iter().enumerate() {
            if task > 0 {
                change_points.push(samples.len() as u64);
            }
            for (features, label) in rows {
                let index = samples.len() as u64;
                let meta = SampleMeta {
                    index,
                    position: Position { partition: Arc::clone(&partition), offset: index },
                    id: None,
                    task_key: Some(task.to_string()),
                    event_time: None,
                };
                samples.push(features, *label, 1.0, meta);
            }
        }
        SyntheticStream { name, samples, change_points }
    }

    /// The same rows with samples of another shape of the same size, such as `[1, 4, 4]` for 16 numbers.
    #[must_use]
    pub fn reshaped(mut self, shape: &[usize]) -> Self {
        assert_eq!(shape.iter().product::<usize>(), self.samples.width(), "the shape must hold one sample");
        self.samples.shape = shape.to_vec();
        self
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// The task that row `index` belongs to.
    pub fn task_of(&self, index: u64) -> usize {
        self.change_points.partition_point(|&start| start <= index)
    }

    /// The rows of each task.
    pub fn tasks(&self) -> Vec<Samples> {
        let mut edges = vec![0];
        edges.extend(self.change_points.iter().map(|&start| start as usize));
        edges.push(self.len());
        edges.windows(2).map(|edge| self.samples.slice(edge[0], edge[1])).collect()
    }

    /// All rows as one batch: `x` (list of fixed size of f32), `label` (i64), `task` (string).
    pub fn to_batch(&self) -> RecordBatch {
        let width = self.samples.width();
        let rows = (0..self.len()).map(|row| Some(self.samples.row(row).iter().map(|&value| Some(value))));
        let x = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(rows, width as i32);
        self.with_label_and_task(vec![("x".to_owned(), Arc::new(x))])
    }

    /// All rows as one batch with a column for each feature: `x0`, `x1`, .. (f32), `label` (i64), `task` (string).
    pub fn to_column_batch(&self) -> RecordBatch {
        let width = self.samples.width();
        let column = |feature: usize| -> ArrayRef {
            Arc::new(Float32Array::from_iter_values((0..self.len()).map(|row| self.samples.row(row)[feature])))
        };
        self.with_label_and_task((0..width).map(|feature| (format!("x{feature}"), column(feature))).collect())
    }

    /// [`SyntheticStream::to_batch`] cut into batches of `rows` rows.
    pub fn batches(&self, rows: usize) -> Vec<RecordBatch> {
        let whole = self.to_batch();
        (0..whole.num_rows())
            .step_by(rows.max(1))
            .map(|start| whole.slice(start, rows.max(1).min(whole.num_rows() - start)))
            .collect()
    }

    fn with_label_and_task(&self, mut columns: Vec<(String, ArrayRef)>) -> RecordBatch {
        let labels = self.samples.labels.iter().map(|&label| i64::from(label));
        columns.push(("label".to_owned(), Arc::new(Int64Array::from_iter_values(labels))));
        let tasks = self.samples.meta.iter().map(|meta| meta.task_key.as_deref());
        columns.push(("task".to_owned(), Arc::new(StringArray::from_iter(tasks))));
        RecordBatch::try_from_iter(columns).expect("columns of one length")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often the rule of each task but the last is right on that task and on the next.
    pub(super) fn rule_accuracies(
        stream: &SyntheticStream,
        rule: impl Fn(usize, &[f32]) -> ClassId,
    ) -> Vec<(f64, f64)> {
        let tasks = stream.tasks();
        let accuracy = |concept: usize, rows: &Samples| {
            let hits = (0..rows.len()).filter(|&row| rule(concept, rows.row(row)) == rows.labels[row]).count();
            hits as f64 / rows.len() as f64
        };
        (1..tasks.len()).map(|task| (accuracy(task - 1, &tasks[task - 1]), accuracy(task - 1, &tasks[task]))).collect()
    }

    #[test]
    fn tasks_and_batches_hold_all_rows_once() {
        let gradual = Change::Gradual { width: 300 };
        let generators: [&dyn Generator; 13] = [
            &ClassIncremental::default(),
            &AnotherRule::default(),
            &MovedInputs::default(),
            &Stationary { rows: 3000, ..Stationary::default() },
            &Sea::default(),
            &Sea { change: gradual, ..Sea::default() },
            &RotatingHyperplane::default(),
            &RotatingHyperplane { change: Change::Recurring, speed: 0.01, ..RotatingHyperplane::default() },
            &Agrawal { change: gradual, ..Agrawal::default() },
            &Led { change: Change::Recurring, ..Led::default() },
            &RandomRbf::default(),
            &RandomRbf { change: gradual, speed: 0.001, ..RandomRbf::default() },
            &Sine::default(),
        ];
        for generator in generators {
            let stream = generator.generate(3);
            assert_eq!(stream, generator.generate(3), "{}", generator.name());
            assert_ne!(stream, generator.generate(4), "{}", generator.name());
            assert_eq!(stream.name, generator.name());
            let tasks = stream.tasks();
            assert_eq!(tasks.iter().map(Samples::len).sum::<usize>(), stream.len());
            for (task, rows) in tasks.iter().enumerate() {
                for meta in &rows.meta {
                    assert_eq!(stream.task_of(meta.index), task);
                    assert_eq!(meta.task_key.as_deref(), Some(task.to_string().as_str()));
                }
            }
            let batches = stream.batches(700);
            assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), stream.len());
            assert_eq!(stream.to_column_batch().num_columns(), stream.samples.width() + 2);
        }
    }

    #[test]
    fn reshaping_keeps_the_numbers() {
        let stream = ClassIncremental { width: 16, ..ClassIncremental::default() }.generate(1);
        let images = stream.clone().reshaped(&[1, 4, 4]);
        assert_eq!(images.samples.row(5), stream.samples.row(5));
        assert_eq!(images.samples.shape, [1, 4, 4]);
    }
}
