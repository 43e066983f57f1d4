//! Features alone, for scoring at speed: whole columns at a time where all are numbers.

use super::config::FeatureKind;
use super::encoder::Encoder;
use super::features::{FeatureColumn, Known, News, Scratch};
use super::learnt::Learnt;
use super::numbers::{Numbers, is_number};
use super::plan::{FeaturePlan, Plan, Strictness};
use super::tensor::tensor_type;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field, Schema};
use lightcl_core::{Error, Result};
use std::borrow::Cow;
use std::ops::Range;

/// Rows that are encoded together, so that what is written column by column stays near.
const BLOCK_ROWS: usize = 256;

/// Where the numbers of a row stand among those of all lists.
type Bounds<'a> = Box<dyn Fn(usize) -> Range<usize> + 'a>;

/// The features of rows and nothing else about them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FeatureRows {
    /// The shape of one sample; empty while it is not known.
    pub shape: Vec<usize>,
    /// The numbers of the usable rows, row-major.
    pub features: Vec<f32>,
    /// One flag a row that was given: whether its features could be used.
    pub usable: Vec<bool>,
}

impl FeatureRows {
    /// Rows whose features could be used.
    pub fn usable_count(&self) -> usize {
        self.usable.iter().filter(|&&usable| usable).count()
    }
}

impl Encoder {
    /// Checks that rows of these columns can be scored.
    ///
    /// # Errors
    /// As [`Encoder::bind`].
    pub fn check_features(&self, schema: &Schema) -> Result<()> {
        self.plan_for(schema, Strictness::FeaturesOnly).map(|_| ())
    }

    /// Encodes the feature columns of a batch as [`Encoder::encode_frozen`] does, to the same bytes, and looks at nothing else.
    /// A row whose features cannot be used is marked so.
    ///
    /// # Errors
    /// When a feature column is not there or has a type or a fixed shape that does not fit what was learnt.
    pub fn encode_features(&self, batch: &RecordBatch) -> Result<FeatureRows> {
        let schema = batch.schema_ref();
        let plan = match &self.plan {
            Some(plan) if plan.fits(schema) => Cow::Borrowed(plan),
            _ => Cow::Owned(self.plan_for(schema, Strictness::FeaturesOnly)?),
        };
        let column = |plan: &FeaturePlan| {
            let column = plan.column.ok_or_else(|| Error::internal("rows in an input without columns"))?;
            Ok::<_, Error>(batch.column(column))
        };
        let arrays: Vec<&ArrayRef> = plan.features.iter().map(column).collect::<Result<_>>()?;
        if plan.features.iter().all(|feature| feature.kind == FeatureKind::Numeric) {
            let numbers: Option<Vec<_>> =
                arrays.iter().map(|array| Some((Numbers::of(array.as_ref())?, array.logical_nulls()))).collect();
            if let Some(numbers) = numbers {
                return Ok(self.encode_numbers(&numbers, batch.num_rows()));
            }
        }
        self.encode_row_by_row(&plan, &arrays, batch.num_rows())
    }

    /// Columns of numbers, block by block.
    fn encode_numbers(&self, columns: &[(Numbers<'_>, Option<NullBuffer>)], rows: usize) -> FeatureRows {
        let width = columns.len();
        let mut encoded =
            FeatureRows { shape: vec![width], features: vec![0.0; rows * width], usable: vec![true; rows] };
        for first in (0..rows).step_by(BLOCK_ROWS) {
            let range = first..rows.min(first + BLOCK_ROWS);
            let block = &mut encoded.features[range.start * width..range.end * width];
            for (number, (values, nulls)) in columns.iter().enumerate() {
                values.scatter(range.clone(), width, &mut block[number..]);
                if let Some(nulls) = nulls.as_ref().filter(|nulls| nulls.null_count() > 0) {
                    let flags = encoded.usable[range.clone()].iter_mut().zip(range.clone());
                    flags.for_each(|(usable, row)| *usable &= nulls.is_valid(row));
                }
            }
        }
        self.finish(&mut encoded, width);
        encoded
    }

    /// Leaves out rows that cannot be used and standardises the others.
    fn finish(&self, encoded: &mut FeatureRows, width: usize) {
        let FeatureRows { features, usable, .. } = encoded;
        for (row, usable) in features.chunks_exact(width).zip(usable.iter_mut()) {
            *usable &= row.iter().all(|number| number.is_finite());
        }
        keep(features, width, usable);
        if self.config().standardize {
            self.learnt.standardizer.apply_to_rows(features, width, &self.ranges);
        }
    }

    /// Features of any kind.
    fn encode_row_by_row(&self, plan: &Plan, arrays: &[&ArrayRef], rows: usize) -> Result<FeatureRows> {
        let columns: Vec<FeatureColumn<'_>> = self
            .config()
            .features
            .iter()
            .zip(&plan.features)
            .zip(arrays)
            .map(|((feature, plan), array)| FeatureColumn::new(&feature.column, plan, array))
            .collect::<Result<_>>()?;
        // What the call finds out for itself; mostly nothing, and then nothing is copied.
        let mut known = Cow::Borrowed(&self.learnt);
        let (mut shape, mut ranges) = (self.shape().map(<[usize]>::to_vec), Cow::Borrowed(&self.ranges));
        if shape.is_none() {
            known.to_mut().fill_in(plan);
        }
        let (mut numbers, mut news) = (Vec::new(), vec![News::default(); columns.len()]);
        let mut scratch = Scratch::default();
        let mut encoded = FeatureRows { usable: Vec::with_capacity(rows), ..FeatureRows::default() };
        for row in 0..rows {
            numbers.clear();
            let usable = read_row(&columns, row, &known, &mut scratch, &mut news, &mut numbers);
            encoded.usable.push(usable);
            if !usable {
                continue;
            }
            if shape.is_none() {
                let known = known.to_mut();
                known.take_in_shapes(&mut news);
                let (found, found_ranges) = known.sample_shape();
                (shape, ranges) = (found, Cow::Owned(found_ranges));
            }
            known.hide_new_categories(&news, &mut numbers);
            if self.config().standardize {
                self.learnt.standardizer.apply(&mut numbers, &ranges);
            }
            encoded.features.extend_from_slice(&numbers);
        }
        encoded.shape = shape.unwrap_or_default();
        Ok(encoded)
    }

    /// Checks that all features of a row can stand in one list of this column, in their order.
    ///
    /// # Errors
    /// When a feature is no plain number, or the column holds no lists of numbers, or lists of another fixed length.
    pub fn check_packed(&self, field: &Field) -> Result<()> {
        let (name, count) = (field.name(), self.config().features.len());
        let refuse = |why: String| Err(Error::user(format!("the column '{name}' cannot hold the features: {why}")));
        let other = |number: usize| self.learnt.kinds.get(number) != Some(&FeatureKind::Numeric);
        if let Some(feature) = self.config().features.iter().enumerate().find(|(number, _)| other(*number)) {
            return refuse(format!("'{}' is no plain number; give each feature by itself", feature.1.column));
        }
        let tensor = match field.data_type() {
            DataType::FixedSizeList(item, _) | DataType::List(item) | DataType::LargeList(item)
                if is_number(item.data_type()) =>
            {
                tensor_type(field)
            }
            other => return refuse(format!("its values are {other}; expected lists of {count} numbers")),
        };
        match tensor {
            Err(why) => refuse(why),
            Ok(tensor) if tensor.gather.is_some() => refuse("its tensors are permuted".to_owned()),
            Ok(tensor) => match tensor.shape.map(|shape| shape.iter().product::<usize>()) {
                Some(found) if found != count => {
                    refuse(format!("its lists have {found} numbers, but there are {count} features"))
                }
                _ => Ok(()),
            },
        }
    }

    /// As [`Encoder::encode_features`] for features that stand in one list a row. Lists of another length cannot be used.
    ///
    /// # Errors
    /// As [`Encoder::check_packed`].
    pub fn encode_packed(&self, field: &Field, lists: &dyn Array) -> Result<FeatureRows> {
        self.check_packed(field)?;
        let moved = || Error::internal("a list column has another type than its field says");
        let (rows, width) = (lists.len(), self.config().features.len());
        let (values, bounds): (&ArrayRef, Bounds<'_>) = match lists.data_type() {
            DataType::FixedSizeList(_, size) => {
                let size = usize::try_from(*size).map_err(|_| moved())?;
                (lists.as_fixed_size_list().values(), Box::new(move |row: usize| row * size..(row + 1) * size))
            }
            // Offsets of a valid array are never negative.
            DataType::List(_) => {
                let (lists, offsets) = (lists.as_list::<i32>(), lists.as_list::<i32>().value_offsets());
                (lists.values(), Box::new(move |row: usize| offsets[row] as usize..offsets[row + 1] as usize))
            }
            DataType::LargeList(_) => {
                let (lists, offsets) = (lists.as_list::<i64>(), lists.as_list::<i64>().value_offsets());
                (lists.values(), Box::new(move |row: usize| offsets[row] as usize..offsets[row + 1] as usize))
            }
            _ => return Err(moved()),
        };
        let numbers = Numbers::of(values.as_ref()).ok_or_else(moved)?;
        let value_nulls = values.logical_nulls().filter(|nulls| nulls.null_count() > 0);
        let mut encoded =
            FeatureRows { shape: vec![width], features: vec![0.0; rows * width], usable: vec![true; rows] };
        for (row, out) in encoded.features.chunks_exact_mut(width).enumerate() {
            let range = bounds(row);
            let is_whole = lists.is_valid(row)
                && range.len() == width
                && !value_nulls.as_ref().is_some_and(|nulls| range.clone().any(|value| nulls.is_null(value)));
            encoded.usable[row] = is_whole;
            if is_whole {
                numbers.scatter(range, 1, out);
            }
        }
        self.finish(&mut encoded, width);
        Ok(encoded)
    }
}

/// Appends the numbers of a row to `numbers`; false where one of its features cannot be used.
fn read_row(
    columns: &[FeatureColumn<'_>],
    row: usize,
    learnt: &Learnt,
    scratch: &mut Scratch,
    news: &mut [News],
    numbers: &mut Vec<f32>,
) -> bool {
    for (number, (column, news)) in columns.iter().zip(news).enumerate() {
        let known = Known { shape: learnt.shapes[number].as_deref(), vocabulary: &learnt.vocabularies[number] };
        match column.read(row, &known, scratch, numbers) {
            Ok(found) => *news = found,
            Err(_) => return false,
        }
    }
    true
}

/// Keeps the rows that are marked.
fn keep(numbers: &mut Vec<f32>, width: usize, marks: &[bool]) {
    if marks.iter().all(|&mark| mark) {
        return;
    }
    let mut end = 0;
    for (row, _) in marks.iter().enumerate().filter(|(_, mark)| **mark) {
        numbers.copy_within(row * width..(row + 1) * width, end);
        end += width;
    }
    numbers.truncate(end);
}
