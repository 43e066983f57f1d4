//! The columns of a range of rows, typed once and then read row by row.

use super::config::EncoderConfig;
use super::features::{FeatureColumn, Known, News, Scratch};
use super::labels::{self, Labels};
use super::learnt::Learnt;
use super::numbers::Numbers;
use super::plan::Plan;
use super::problem::Problem;
use super::row_json::row_to_json;
use super::texts::{Texts, ValueKind};
use super::times::Times;
use arrow_array::{Array, ArrayRef, RecordBatch};
use lightcl_core::{ClassId, Error, Position, PositionedBatch, RejectReason, Rejected, Result, RowFault, SampleMeta};
use std::ops::Range;
use std::sync::Arc;

/// The rows of one call.
pub(crate) struct Rows<'a> {
    batch: &'a PositionedBatch,
    first_row: usize,
    first_index: u64,
    features: Vec<FeatureColumn<'a>>,
    /// The numbers of all rows, row-major, where nothing can be wrong with any.
    sound: Option<Vec<f32>>,
    label: Option<(&'a str, Texts<'a>)>,
    weight: Option<(&'a str, &'a ArrayRef, Numbers<'a>)>,
    task: Option<Texts<'a>>,
    id: Option<Texts<'a>>,
    event_time: Option<Times<'a>>,
    faults: Vec<&'a RowFault>,
}

/// A label that a row carries.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RowLabel {
    Class(ClassId),
    New(ValueKind, String),
}

/// The numbers of rows column by column, row-major; none where a feature is no plain number, or a row cannot be used.
fn sound_numbers(features: &[FeatureColumn<'_>], rows: usize) -> Option<Vec<f32>> {
    let mut sound = vec![0.0; rows * features.len()];
    for (place, feature) in features.iter().enumerate() {
        feature.numbers_without_nulls()?.scatter(0..rows, features.len(), sound.get_mut(place..)?);
    }
    sound.iter().all(|number| number.is_finite()).then_some(sound)
}

/// Slices the batch to the rows of one call: nothing is copied.
pub(crate) fn slice(batch: &PositionedBatch, rows: &Range<usize>) -> Result<RecordBatch> {
    if rows.start > rows.end || rows.end > batch.batch.num_rows() {
        return Err(Error::internal("rows beyond the batch")
            .with("rows", format!("{rows:?}"))
            .with("batch", batch.batch.num_rows()));
    }
    Ok(batch.batch.slice(rows.start, rows.len()))
}

impl<'a> Rows<'a> {
    /// `slice` holds the rows of `batch` from `rows.start` on.
    pub fn new(
        config: &'a EncoderConfig,
        plan: &'a Plan,
        batch: &'a PositionedBatch,
        slice: &'a RecordBatch,
        rows: &Range<usize>,
        first_index: u64,
    ) -> Result<Self> {
        let moved = |what: &str| Error::internal(format!("the {what} column has another type than planned"));
        let features = config.features.iter().zip(&plan.features).map(|(feature, plan)| {
            let column = plan.column.ok_or_else(|| Error::internal("rows in an input without columns"))?;
            FeatureColumn::new(&feature.column, plan, slice.column(column))
        });
        let features = features.collect::<Result<Vec<_>>>()?;
        let faults: Vec<&RowFault> = batch.faults.iter().filter(|fault| rows.contains(&fault.row)).collect();
        let sound = if faults.is_empty() { sound_numbers(&features, rows.len()) } else { None };
        let texts = |index: Option<usize>, what: &str| {
            index.map(|index| Texts::of(slice.column(index).as_ref()).ok_or_else(|| moved(what))).transpose()
        };
        let label = texts(plan.label, "label")?.map(|texts| (config.label.as_deref().unwrap_or_default(), texts));
        let weight = match plan.weight {
            Some(index) => {
                let array = slice.column(index);
                let numbers = Numbers::of(array.as_ref()).ok_or_else(|| moved("weight"))?;
                Some((config.weight.as_deref().unwrap_or_default(), array, numbers))
            }
            None => None,
        };
        let event_time = plan
            .event_time
            .map(|index| Times::of(slice.column(index).as_ref()).ok_or_else(|| moved("event time")))
            .transpose()?;
        Ok(Rows {
            batch,
            first_row: rows.start,
            first_index,
            features,
            sound,
            label,
            weight,
            task: texts(plan.task, "task")?,
            id: texts(plan.id, "id")?,
            event_time,
            faults,
        })
    }

    fn fault(&self, row: usize) -> Option<&'a RowFault> {
        self.faults.iter().copied().find(|fault| fault.row == self.first_row + row)
    }

    /// Appends the numbers of one row to `out` and says what it would teach.
    pub fn features(
        &self,
        row: usize,
        learnt: &Learnt,
        scratch: &mut Scratch,
        news: &mut [News],
        out: &mut Vec<f32>,
    ) -> Result<(), Problem> {
        if let Some(sound) = &self.sound {
            let width = self.features.len();
            out.extend_from_slice(&sound[row * width..(row + 1) * width]);
            return Ok(());
        }
        if let Some(fault) = self.fault(row) {
            return Err(Problem { reason: RejectReason::Unreadable, column: None, message: fault.message.clone() });
        }
        for (number, (column, news)) in self.features.iter().zip(news).enumerate() {
            let shape = learnt.shapes[number].as_deref();
            let known = Known { shape, vocabulary: &learnt.vocabularies[number] };
            *news = column.read(row, &known, scratch, out)?;
        }
        Ok(())
    }

    /// The label of a row that is to be learnt from.
    pub fn label(
        &self,
        row: usize,
        labels: &Labels,
        max_classes: usize,
        scratch: &mut String,
    ) -> Result<RowLabel, Problem> {
        let Some((column, texts)) = &self.label else {
            let message = "there is no label column".to_owned();
            return Err(Problem { reason: RejectReason::NullLabel, column: None, message });
        };
        let Some(label) = texts.get(row, scratch) else {
            let message = format!("column '{column}': found null, expected a label");
            return Err(Problem::new(RejectReason::NullLabel, column, message));
        };
        Ok(match labels.look_up(&label, column, max_classes)? {
            labels::Known::Class(class) => RowLabel::Class(class),
            labels::Known::New => RowLabel::New(label.kind, label.text.to_owned()),
        })
    }

    /// The class of a row that is only scored, where it is known, and its label as it stands in the input.
    pub fn known_label(&self, row: usize, labels: &Labels, scratch: &mut String) -> (Option<ClassId>, Option<String>) {
        let Some((column, texts)) = &self.label else { return (None, None) };
        let Some(label) = texts.get(row, scratch) else { return (None, None) };
        let class = match labels.look_up(&label, column, usize::MAX) {
            Ok(labels::Known::Class(class)) => Some(class),
            _ => None,
        };
        (class, Some(label.text.to_owned()))
    }

    /// The weight of a row: 1 where no column gives one.
    pub fn weight(&self, row: usize, scratch: &mut Vec<f32>) -> Result<f32, Problem> {
        let Some((column, array, numbers)) = &self.weight else { return Ok(1.0) };
        let bad = |found: &str| {
            let message = format!("column '{column}': found {found}, expected a weight of at least 0");
            Problem::new(RejectReason::BadWeight, column, message)
        };
        if array.is_null(row) {
            return Err(bad("null"));
        }
        scratch.clear();
        numbers.copy(row..row + 1, false, scratch).map_err(|fault| bad(&fault.found.to_string()))?;
        match scratch.first() {
            Some(&weight) if weight >= 0.0 => Ok(weight),
            Some(weight) => Err(bad(&weight.to_string())),
            None => Err(bad("null")),
        }
    }

    fn position(&self, row: usize) -> Position {
        let offset = self.batch.offset_of(self.first_row + row);
        Position { partition: Arc::clone(&self.batch.partition), offset }
    }

    pub fn meta(&self, row: usize, scratch: &mut String) -> SampleMeta {
        let mut text = |texts: &Option<Texts<'_>>| Some(texts.as_ref()?.get(row, scratch)?.text.to_owned());
        let (id, task_key) = (text(&self.id), text(&self.task));
        SampleMeta {
            index: self.first_index + row as u64,
            position: self.position(row),
            id,
            task_key,
            event_time: self.event_time.as_ref().and_then(|times| times.get(row, scratch)),
        }
    }

    pub fn reject(&self, row: usize, problem: Problem) -> Rejected {
        let found = self.fault(row).and_then(|fault| fault.payload.clone());
        Rejected {
            format: 1,
            index: self.first_index + row as u64,
            position: self.position(row),
            reason: problem.reason,
            column: problem.column,
            message: problem.message,
            payload: found.unwrap_or_else(|| row_to_json(&self.batch.batch, self.first_row + row)),
        }
    }
}
