//! What detectors are compared on: a stream is rows, known change points and the settings it is learnt with.

use super::generated::GENERATED;
use super::{images, tables};
use arrow_array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow_schema::{Field, Schema};
use lightcl_core::{Error, Result};
use lightcl_learner::{ActiveClasses, Backbone, LearnerConfig};
use lightcl_stream::encode::EncoderConfig;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

/// The column that names the task, where tasks are known.
pub(crate) const TASK: &str = "task";

/// Of so many rows of each task one is kept to measure accuracy with.
const HELD_OUT_EVERY: usize = 10;
/// Streams with fewer rows hold none out.
const LEAST_ROWS_TO_HOLD_OUT: usize = 1600;

/// How much is known of the change points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Truth {
    /// All of them: whatever else fires is a false alarm.
    All,
    /// Some: finding them can be judged, false alarms cannot.
    Some,
    /// None.
    Unknown,
}

/// What a stream is learnt with: the settings of the example pipelines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settings {
    /// As `pipelines/elec2.toml`.
    Table,
    /// As `pipelines/fashion-mnist.toml`.
    Images,
}

impl Settings {
    /// The learner's settings.
    pub fn learner(self, seed: u64) -> LearnerConfig {
        let (units, active_classes, learning_rate) = match self {
            Settings::Table => (128, ActiveClasses::Seen, 0.05),
            Settings::Images => (256, ActiveClasses::Task, 0.1),
        };
        LearnerConfig {
            backbone: Backbone::Mlp { hidden: vec![units; 4], frozen: 2 },
            active_classes,
            learning_rate,
            passes: 5,
            seed,
            ..LearnerConfig::default()
        }
    }

    /// Rows learnt from together.
    pub fn window_samples(self) -> usize {
        match self {
            Settings::Table => 32,
            Settings::Images => 256,
        }
    }
}

/// A stream that is ready to run.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    /// Its name in the tables.
    pub name: &'static str,
    /// What it is learnt with.
    pub settings: Settings,
    /// Which columns make a sample.
    pub encoder: EncoderConfig,
    /// The rows, in order.
    pub rows: RecordBatch,
    /// Held-out rows of each true task; none where tasks are not known.
    pub held_out: Vec<RecordBatch>,
    /// Rows at which a new task truly begins.
    pub change_points: Vec<u64>,
    /// Half the width of its gradual changes.
    pub slack: u64,
    /// How much is known.
    pub truth: Truth,
}

impl Stream {
    /// A stream whose tasks are all known: names them in a column and holds rows out.
    ///
    /// # Errors
    /// When the batch already has a column of the task's name but of another type.
    pub fn with_tasks(
        name: &'static str,
        settings: Settings,
        mut encoder: EncoderConfig,
        rows: &RecordBatch,
        starts: &[u64],
    ) -> Result<Self> {
        let task_of = |row: usize| starts.partition_point(|&start| start <= row as u64);
        let keys: StringArray = (0..rows.num_rows()).map(|row| Some(task_of(row).to_string())).collect();
        let rows = with_column(rows, TASK, Arc::new(keys))?;
        encoder.task = Some(TASK.to_owned());
        let first_row = |task: usize| if task == 0 { 0 } else { starts[task - 1] as usize };
        // A short stream keeps all its rows: a task of some hundred has none to spare.
        let holds_out = rows.num_rows() >= LEAST_ROWS_TO_HOLD_OUT;
        let is_held_out =
            |row: usize| holds_out && (row - first_row(task_of(row))) % HELD_OUT_EVERY == HELD_OUT_EVERY - 1;
        let learnt: BooleanArray = (0..rows.num_rows()).map(|row| Some(!is_held_out(row))).collect();
        let held_out = (0..=starts.len())
            .map(|task| {
                let chosen: BooleanArray =
                    (0..rows.num_rows()).map(|row| Some(task_of(row) == task && is_held_out(row))).collect();
                filter(&rows, &chosen)
            })
            .collect::<Result<Vec<_>>>()?;
        let change_points =
            starts.iter().map(|&start| (0..start as usize).filter(|&row| !is_held_out(row)).count() as u64).collect();
        Ok(Stream {
            name,
            settings,
            encoder,
            rows: filter(&rows, &learnt)?,
            held_out,
            change_points,
            slack: 0,
            truth: Truth::All,
        })
    }

    /// Number of rows that are learnt from.
    pub fn len(&self) -> u64 {
        self.rows.num_rows() as u64
    }
}

fn filter(rows: &RecordBatch, chosen: &BooleanArray) -> Result<RecordBatch> {
    arrow_select::filter::filter_record_batch(rows, chosen)
        .map_err(|error| Error::internal("cannot select rows").caused_by(error))
}

/// The batch with a column added, or put in the place of one of that name.
pub(crate) fn with_column(rows: &RecordBatch, name: &str, column: ArrayRef) -> Result<RecordBatch> {
    let schema = rows.schema();
    let others = schema.fields().iter().zip(rows.columns()).filter(|(field, _)| field.name() != name);
    let (mut fields, mut columns): (Vec<_>, Vec<_>) =
        others.map(|(field, column)| (Arc::clone(field), Arc::clone(column))).unzip();
    fields.push(Arc::new(Field::new(name, column.data_type().clone(), true)));
    columns.push(column);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|error| Error::internal("cannot add a column").with("column", name).caused_by(error))
}

/// How streams are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    /// Seed of whatever is random.
    pub seed: u64,
    /// Whether streams are short.
    pub quick: bool,
    /// A folder of data sets beside the examples of the repository.
    pub data: Option<&'a Path>,
}

/// A stream, or why there is none.
pub(crate) enum Made {
    /// Ready to run.
    Stream(Box<Stream>),
    /// Why it is left out.
    Skipped(String),
}

/// The names of all streams, in the order of the tables.
pub(crate) fn names() -> Vec<&'static str> {
    let generated = GENERATED.iter().map(|entry| entry.name);
    let images = images::STREAMS.iter().map(|entry| entry.name);
    let tables = tables::STREAMS.iter().map(|entry| entry.name);
    generated.chain(images).chain(tables).collect()
}

/// Makes the stream of a name, one of [`names`].
///
/// # Errors
/// When a file that is there cannot be read.
pub(crate) fn make(name: &str, request: &Request<'_>) -> Result<Made> {
    if let Some(entry) = GENERATED.iter().find(|entry| entry.name == name) {
        return entry.make(request);
    }
    if let Some(entry) = images::STREAMS.iter().find(|entry| entry.name == name) {
        return entry.make(request);
    }
    match tables::STREAMS.iter().find(|entry| entry.name == name) {
        Some(entry) => entry.make(request),
        None => Err(Error::internal("no such stream").with("stream", name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Int64Array;

    #[test]
    fn every_tenth_row_of_a_task_is_held_out_and_change_points_move_along() {
        let labels: ArrayRef = Arc::new(Int64Array::from_iter_values(0..5047));
        let rows = RecordBatch::try_from_iter([("label", labels)]).unwrap();
        let encoder = EncoderConfig::new(["x"], "label");
        let stream = Stream::with_tasks("some", Settings::Table, encoder, &rows, &[25, 40]).unwrap();
        assert_eq!(stream.held_out.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [2, 1, 500]);
        assert_eq!((stream.change_points.clone(), stream.len()), (vec![23, 37], 4544));
        let label = |row: usize| stream.rows.column(0).as_any().downcast_ref::<Int64Array>().unwrap().value(row);
        assert_eq!((label(23), label(37)), (25, 40));
        let short = rows.slice(0, 47);
        let encoder = EncoderConfig::new(["x"], "label");
        let stream = Stream::with_tasks("short", Settings::Table, encoder, &short, &[25, 40]).unwrap();
        assert_eq!((stream.change_points.clone(), stream.len()), (vec![25, 40], 47), "a short stream keeps all");
    }

    #[test]
    fn names_are_unique_and_a_wrong_one_gets_a_hint() {
        let distinct: std::collections::BTreeSet<_> = names().into_iter().collect();
        assert_eq!(distinct.len(), names().len());
        assert!(
            crate::bench::chosen("stream", &["sinne".to_owned()], names().into_iter().map(str::to_owned).collect())
                .unwrap_err()
                .message()
                .contains("did you mean sine?")
        );
    }
}
