//! Rows that wait for their predictions, and go out in the order they came.

use arrow_array::builder::{BooleanBuilder, Float32Builder, StringBuilder, UInt32Builder, UInt64Builder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, FieldRef, SchemaRef};
use datafusion::execution::memory_pool::MemoryReservation;
use lightcl_core::{Error, Output, Result};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// The columns that the operator appends, in order.
pub(super) const APPENDED: [(&str, DataType); 5] = [
    ("lightcl_predicted", DataType::Utf8),
    ("lightcl_score", DataType::Float32),
    ("lightcl_task", DataType::UInt32),
    ("lightcl_boundary", DataType::Boolean),
    ("lightcl_model_version", DataType::UInt64),
];

/// The columns that the operator appends. All are null where a row was rejected.
pub(super) fn appended_fields() -> Vec<FieldRef> {
    APPENDED.into_iter().map(|(name, data_type)| Arc::new(Field::new(name, data_type, true))).collect()
}

/// What is said of one row.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Answer {
    pub predicted: Option<String>,
    pub score: Option<f32>,
    pub task: Option<u32>,
    pub boundary: Option<bool>,
    pub model_version: Option<u64>,
}

/// Rows with their answers.
///
/// # Errors
/// When the rows are not those of the schema's first columns.
pub(super) fn answered(
    schema: &SchemaRef,
    rows: &RecordBatch,
    answers: impl Iterator<Item = Answer>,
) -> Result<RecordBatch> {
    let (mut predicted, mut score) = (StringBuilder::new(), Float32Builder::new());
    let (mut task, mut boundary, mut version) = (UInt32Builder::new(), BooleanBuilder::new(), UInt64Builder::new());
    for answer in answers {
        predicted.append_option(answer.predicted);
        score.append_option(answer.score);
        task.append_option(answer.task);
        boundary.append_option(answer.boundary);
        version.append_option(answer.model_version);
    }
    let mut columns = rows.columns().to_vec();
    let appended: [ArrayRef; 5] = [
        Arc::new(predicted.finish()),
        Arc::new(score.finish()),
        Arc::new(task.finish()),
        Arc::new(boundary.finish()),
        Arc::new(version.finish()),
    ];
    columns.extend(appended);
    RecordBatch::try_new(Arc::clone(schema), columns)
        .map_err(|error| Error::internal("predictions do not fit their rows").caused_by(error))
}

struct Batch {
    rows: RecordBatch,
    /// The learner's number of the first row.
    first: u64,
    answers: Vec<Option<Answer>>,
    /// Rows that went out.
    gone: usize,
    came: Instant,
    /// Shared by all that is left of one batch of the input.
    _memory: Arc<MemoryReservation>,
}

/// Rows that the learner has taken in and not all answered.
pub(super) struct Waiting {
    schema: SchemaRef,
    batches: VecDeque<Batch>,
    /// A boundary became known, and no row has shown it.
    boundary: bool,
}

impl Waiting {
    /// For rows that go out under this schema.
    pub fn new(schema: SchemaRef) -> Self {
        Waiting { schema, batches: VecDeque::new(), boundary: false }
    }

    /// Takes rows, of which the first has this number in the learner's stream.
    pub fn push(&mut self, rows: RecordBatch, first: u64, memory: &Arc<MemoryReservation>) {
        let answers = vec![None; rows.num_rows()];
        self.batches.push_back(Batch {
            rows,
            first,
            answers,
            gone: 0,
            came: Instant::now(),
            _memory: Arc::clone(memory),
        });
    }

    /// Since when the row waits that has waited longest; none when none waits.
    pub fn since(&self) -> Option<Instant> {
        self.batches.front().map(|batch| batch.came)
    }

    /// Takes what the learner gave. A boundary is shown by the last row scored before it became known, or else by the first
    /// after it.
    pub fn answer(&mut self, outputs: &[Output]) {
        let mut last = None;
        for output in outputs {
            match output {
                Output::Prediction(prediction) => {
                    let boundary = std::mem::take(&mut self.boundary);
                    // Rows of an earlier statement may still have waited in the learner's state: they are not here.
                    if let Some(slot) = self.slot(prediction.index) {
                        *slot = Some(Answer {
                            predicted: prediction.predicted.clone(),
                            score: prediction.probability,
                            task: Some(prediction.task),
                            boundary: Some(boundary),
                            model_version: Some(prediction.model_version),
                        });
                        last = Some(prediction.index);
                    } else {
                        self.boundary = boundary;
                    }
                }
                Output::Rejected(letter) => {
                    if let Some(slot) = self.slot(letter.index)
                        && slot.is_none()
                    {
                        *slot = Some(Answer::default());
                    }
                }
                Output::Boundary(_) => {
                    let is_shown = last.is_some_and(|last| self.flag(last));
                    self.boundary |= !is_shown;
                }
                Output::Snapshot(_) | Output::Stability(_) => {}
            }
        }
    }

    /// Flags a row that was answered; gives whether it is here.
    fn flag(&mut self, index: u64) -> bool {
        match self.slot(index) {
            Some(Some(answer)) => {
                answer.boundary = Some(true);
                true
            }
            _ => false,
        }
    }

    fn slot(&mut self, index: u64) -> Option<&mut Option<Answer>> {
        let place = self.batches.partition_point(|batch| batch.first + batch.answers.len() as u64 <= index);
        let batch = self.batches.get_mut(place)?;
        let row = usize::try_from(index.checked_sub(batch.first)?).ok()?;
        batch.answers.get_mut(row).filter(|_| row >= batch.gone)
    }

    /// The rows that can go out now, in order; with `all` those that nothing was said of as well.
    ///
    /// # Errors
    /// When they do not fit the schema.
    pub fn ready(&mut self, all: bool) -> Result<Vec<RecordBatch>> {
        let mut ready = Vec::new();
        while let Some(batch) = self.batches.front_mut() {
            let rows = batch.answers.len();
            let waits = |answer: &Option<Answer>| answer.is_none() && !all;
            let end = batch.answers[batch.gone..].iter().position(waits).map_or(rows, |first| batch.gone + first);
            if end > batch.gone {
                let answers = batch.answers[batch.gone..end].iter_mut().map(|answer| answer.take().unwrap_or_default());
                let slice = batch.rows.slice(batch.gone, end - batch.gone);
                ready.push(answered(&self.schema, &slice, answers)?);
                batch.gone = end;
            }
            if end < rows {
                break;
            }
            self.batches.pop_front();
        }
        Ok(ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Int64Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Int64Type, UInt32Type};
    use arrow_schema::Schema;
    use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, UnboundedMemoryPool};
    use lightcl_core::{BoundaryEvent, Position, Prediction, RejectReason, Rejected};

    fn position() -> Position {
        Position { partition: Arc::from("p"), offset: 0 }
    }

    fn prediction(index: u64) -> Output {
        Output::Prediction(Prediction {
            index,
            position: position(),
            id: None,
            label: None,
            predicted: Some("a".to_owned()),
            probability: Some(0.5),
            task: 3,
            model_version: 1,
        })
    }

    fn rejected(index: u64) -> Output {
        Output::Rejected(Rejected {
            format: 1,
            index,
            position: position(),
            reason: RejectReason::NullLabel,
            column: None,
            message: String::new(),
            payload: String::new(),
        })
    }

    fn boundary() -> Output {
        Output::Boundary(BoundaryEvent {
            format: 1,
            task: 4,
            recurring: false,
            at: 0,
            estimated_at: 0,
            detected_at: 0,
            position: position(),
            rolled_back: 0,
            evidence: Vec::new(),
            closed_task_labels: Vec::new(),
            merged: None,
        })
    }

    /// Two batches of three rows, numbered from 10.
    fn waiting() -> Waiting {
        let x = Field::new("x", DataType::Int64, true);
        let fields: Vec<FieldRef> = std::iter::once(Arc::new(x.clone())).chain(appended_fields()).collect();
        let mut waiting = Waiting::new(Arc::new(Schema::new(fields)));
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let memory = Arc::new(MemoryConsumer::new("rows").register(&pool));
        for first in [10, 13] {
            let values = Arc::new(Int64Array::from_iter_values(first..first + 3));
            let rows = RecordBatch::try_new(Arc::new(Schema::new(vec![x.clone()])), vec![values]).unwrap();
            waiting.push(rows, first as u64, &memory);
        }
        waiting
    }

    fn xs(batches: &[RecordBatch]) -> Vec<i64> {
        batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
    }

    #[test]
    fn rows_go_out_in_order_as_soon_as_all_before_them_are_answered() {
        let mut waiting = waiting();
        waiting.answer(&[rejected(11), prediction(7), prediction(12)]);
        assert!(waiting.ready(false).unwrap().is_empty());
        waiting.answer(&[prediction(10), prediction(13)]);
        let ready = waiting.ready(false).unwrap();
        assert_eq!(xs(&ready), [10, 11, 12, 13]);
        let tasks = ready[0].column(3).as_primitive::<UInt32Type>();
        assert_eq!(tasks.iter().collect::<Vec<_>>(), [Some(3), None, Some(3)]);
        // A row that is refused after it went out changes nothing.
        waiting.answer(&[rejected(13)]);
        assert_eq!(xs(&waiting.ready(true).unwrap()), [14, 15]);
        assert!(waiting.since().is_none());
    }

    #[test]
    fn a_boundary_is_shown_by_the_row_that_made_it_known_or_by_the_next() {
        let flags = |batches: &[RecordBatch]| -> Vec<bool> {
            batches
                .iter()
                .flat_map(|batch| batch.column(4).as_boolean().iter().map(|flag| flag == Some(true)))
                .collect()
        };
        let mut with_row = waiting();
        with_row.answer(&[prediction(10), prediction(11), boundary(), prediction(12)]);
        assert_eq!(flags(&with_row.ready(false).unwrap()), [false, true, false]);
        let mut before = waiting();
        before.answer(&[boundary()]);
        before.answer(&[prediction(10), prediction(11)]);
        assert_eq!(flags(&before.ready(false).unwrap()), [true, false]);
    }
}
