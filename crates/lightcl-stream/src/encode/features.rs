//! The feature columns of a range of rows, typed.

use super::category::{Vocabulary, hashed_slot, push_one_hot};
use super::config::{CategoryEncoding, FeatureKind, MAX_SAMPLE_VALUES};
use super::image::{self, ImageFault};
use super::numbers::Numbers;
use super::plan::{FeaturePlan, as_image};
use super::problem::{Problem, shown_shape};
use super::tensor::{ListFault, Lists};
use super::texts::Texts;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use lightcl_core::{Error, RejectReason, Result};

/// One feature column, ready to be read row by row.
pub(crate) struct FeatureColumn<'a> {
    pub name: &'a str,
    plan: &'a FeaturePlan,
    array: &'a ArrayRef,
    values: Values<'a>,
}

enum Values<'a> {
    Null,
    Numbers(Numbers<'a>),
    Lists(Lists<'a>),
    Images,
    Texts(Texts<'a>),
}

/// What is known of a feature before a row is read.
pub(crate) struct Known<'a> {
    pub shape: Option<&'a [usize]>,
    pub vocabulary: &'a Vocabulary,
}

/// What a row would teach about a feature, were it used.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct News {
    /// The shape, where it was not known.
    pub shape: Option<Vec<usize>>,
    /// A category that would get a slot of its own.
    pub category: Option<String>,
}

/// Buffers that outlive a row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scratch {
    pub text: String,
    dims: Vec<usize>,
    values: Vec<f32>,
}

impl<'a> FeatureColumn<'a> {
    pub fn new(name: &'a str, plan: &'a FeaturePlan, array: &'a ArrayRef) -> Result<Self> {
        let values = match plan.kind {
            _ if *array.data_type() == DataType::Null => Some(Values::Null),
            FeatureKind::Auto => None,
            FeatureKind::Numeric => Numbers::of(array.as_ref()).map(Values::Numbers),
            FeatureKind::Tensor => Lists::of(array.as_ref()).map(Values::Lists),
            FeatureKind::Image => Some(Values::Images),
            FeatureKind::Category { .. } => Texts::of(array.as_ref()).map(Values::Texts),
        };
        let values = values.ok_or_else(|| {
            Error::internal("a column has another type than planned")
                .with("column", name)
                .with("type", array.data_type())
        })?;
        Ok(FeatureColumn { name, plan, array, values })
    }

    /// Its numbers, where it has nothing but numbers.
    pub fn numbers_without_nulls(&self) -> Option<&Numbers<'a>> {
        match &self.values {
            Values::Numbers(numbers) if self.array.logical_null_count() == 0 => Some(numbers),
            _ => None,
        }
    }

    /// Appends the numbers of one row to `out`.
    pub fn read(
        &self,
        row: usize,
        known: &Known<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<f32>,
    ) -> Result<News, Problem> {
        match &self.values {
            Values::Null => Err(self.null("a value")),
            Values::Numbers(numbers) => {
                if self.array.is_null(row) {
                    return Err(self.null("a number"));
                }
                numbers
                    .copy(row..row + 1, false, out)
                    .map_err(|fault| self.problem(RejectReason::NonFiniteFeature, &fault.describe()))?;
                Ok(News::default())
            }
            Values::Texts(texts) => self.read_category(texts, row, known, &mut scratch.text, out),
            Values::Lists(lists) => self.read_list(lists, row, known, scratch, out),
            Values::Images => self.read_image(row, known, out),
        }
    }

    fn problem(&self, reason: RejectReason, message: &str) -> Problem {
        Problem::new(reason, self.name, format!("column '{}': {message}", self.name))
    }

    fn null(&self, expected: &str) -> Problem {
        self.problem(RejectReason::NullFeature, &format!("found null, expected {expected}"))
    }

    fn read_category(
        &self,
        texts: &Texts<'_>,
        row: usize,
        known: &Known<'_>,
        scratch: &mut String,
        out: &mut Vec<f32>,
    ) -> Result<News, Problem> {
        let FeatureKind::Category { encoding, size } = self.plan.kind else { return Ok(News::default()) };
        let value = texts.get(row, scratch).ok_or_else(|| self.null("a category"))?;
        let (slot, category) = match encoding {
            CategoryEncoding::Hash => (hashed_slot(value.text, size), None),
            CategoryEncoding::OneHot => match known.vocabulary.slot(value.text) {
                Some(slot) => (slot, None),
                None if known.vocabulary.len() + 1 < size => (known.vocabulary.len(), Some(value.text.to_owned())),
                None => (size - 1, None),
            },
        };
        push_one_hot(slot, size, out);
        Ok(News { shape: None, category })
    }

    fn read_list(
        &self,
        lists: &Lists<'_>,
        row: usize,
        known: &Known<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<f32>,
    ) -> Result<News, Problem> {
        let start = out.len();
        lists.read(row, &mut scratch.dims, out).map_err(|fault| self.list_problem(&fault))?;
        let dims = &scratch.dims;
        if let Some(gather) = &self.plan.gather {
            scratch.values.clear();
            scratch.values.extend_from_slice(&out[start..]);
            for (number, &from) in out[start..].iter_mut().zip(gather) {
                *number = scratch.values[from];
            }
        }
        let Some(expected) = known.shape else {
            return Ok(News { shape: Some(as_image(dims.clone())), category: None });
        };
        // A flat list holds the numbers of a tensor whose shape is known from elsewhere; a matrix is a plane.
        let flat: usize = expected.iter().product();
        let fits = *dims == expected
            || *dims == [flat]
            || self.plan.fixed
            || matches!((&dims[..], expected), ([height, width], [1, h, w]) if (height, width) == (h, w));
        if fits && out.len() - start == flat {
            return Ok(News::default());
        }
        let message = format!("found a list of {}, expected {}", shown_shape(dims), shown_shape(expected));
        Err(self.problem(RejectReason::WrongLength, &message))
    }

    fn list_problem(&self, fault: &ListFault) -> Problem {
        let (reason, message) = match fault {
            ListFault::Null => (RejectReason::NullFeature, "found null, expected a list".to_owned()),
            ListFault::NullInside(at) => {
                (RejectReason::NullFeature, format!("found null at place {at} of the list, expected a number"))
            }
            ListFault::Empty => (RejectReason::WrongLength, "found an empty list, expected numbers".to_owned()),
            ListFault::Ragged(first, other) => {
                let message = format!("found inner lists of {first} and {other} values, expected one length");
                (RejectReason::WrongLength, message)
            }
            ListFault::TooLong => {
                let message =
                    format!("found more than {MAX_SAMPLE_VALUES} values in a list, more than a sample may have");
                (RejectReason::WrongLength, message)
            }
            ListFault::NotFinite(fault) => {
                (RejectReason::NonFiniteFeature, format!("place {} of the list: {}", fault.at, fault.describe()))
            }
        };
        self.problem(reason, &message)
    }

    fn read_image(&self, row: usize, known: &Known<'_>, out: &mut Vec<f32>) -> Result<News, Problem> {
        if self.array.is_null(row) {
            return Err(self.null("an image"));
        }
        let bytes = match self.array.data_type() {
            DataType::Binary => self.array.as_binary::<i32>().value(row),
            DataType::LargeBinary => self.array.as_binary::<i64>().value(row),
            DataType::BinaryView => self.array.as_binary_view().value(row),
            DataType::FixedSizeBinary(_) => self.array.as_fixed_size_binary().value(row),
            _ => return Err(self.null("an image")),
        };
        match image::decode(bytes, known.shape, out) {
            Ok(shape) if known.shape.is_none() => Ok(News { shape: Some(shape.to_vec()), category: None }),
            Ok(_) => Ok(News::default()),
            Err(ImageFault::Undecodable(why)) => {
                let message = format!("found {} bytes that do not decode, expected JPEG or PNG: {why}", bytes.len());
                Err(self.problem(RejectReason::ImageUndecodable, &message))
            }
            Err(ImageFault::Size(found)) => {
                let expected = known.shape.map(shown_shape).unwrap_or_default();
                let message = format!(
                    "found an image of {} (channels x height x width), expected {expected}",
                    shown_shape(&found)
                );
                Err(self.problem(RejectReason::ImageSize, &message))
            }
        }
    }
}
