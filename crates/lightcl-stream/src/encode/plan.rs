//! Where each configured column stands in a schema, and what it is read as.

use super::config::{CategoryEncoding, DEFAULT_CATEGORY_SLOTS, EncoderConfig, FeatureConfig, FeatureKind};
use super::labels::check_label_type;
use super::numbers::is_number;
use super::problem::shown_shape;
use super::tensor::tensor_type;
use super::texts::is_text;
use super::times::is_time;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use lightcl_core::{Error, Result};
use std::sync::Arc;

/// Columns listed in an error message.
const MAX_LISTED_COLUMNS: usize = 50;

/// The columns of one schema, by index.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub schema: SchemaRef,
    pub features: Vec<FeaturePlan>,
    pub label: Option<usize>,
    pub task: Option<usize>,
    pub weight: Option<usize>,
    pub event_time: Option<usize>,
    pub id: Option<usize>,
}

/// One feature column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FeaturePlan {
    /// None where the input has no columns at all, and so no rows either.
    pub column: Option<usize>,
    /// Never [`FeatureKind::Auto`], except where the column's type says nothing because all its values are null.
    pub kind: FeatureKind,
    /// The shape of its numbers, where the schema fixes it.
    pub shape: Option<Vec<usize>>,
    /// Whether the column's type fixes how many numbers a row has.
    pub fixed: bool,
    /// For tensors stored in a permuted layout: where number `i` stands.
    pub gather: Option<Vec<usize>>,
}

/// Whether columns other than features may be absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// All columns named must be there: for learning.
    All,
    /// Features must be there: for scoring.
    FeaturesOnly,
}

impl Plan {
    /// `kinds` are those of an earlier plan; they win over what the schema suggests.
    pub fn new(
        config: &EncoderConfig,
        kinds: Option<&[FeatureKind]>,
        schema: &Schema,
        strictness: Strictness,
    ) -> Result<Self> {
        config.validate()?;
        let features = config.features.iter().enumerate().map(|(number, feature)| {
            let kind = kinds.and_then(|kinds| kinds.get(number)).copied().unwrap_or(feature.kind);
            plan_feature(feature, kind, schema)
        });
        let features = features.collect::<Result<_>>()?;
        let other = |role: &str, name: &Option<String>, check: &dyn Fn(&DataType) -> Result<(), String>| {
            let Some(name) = name else { return Ok(None) };
            let Some((index, field)) = find(role, name, schema, strictness == Strictness::All)? else {
                return Ok(None);
            };
            match check(field.data_type()) {
                Ok(()) => Ok(Some(index)),
                Err(why) => Err(unusable(role, name, &why)),
            }
        };
        let named = |data_type: &DataType| {
            is_text(data_type)
                .then_some(())
                .ok_or_else(|| format!("its values are {data_type}; expected text, whole numbers or booleans"))
        };
        let number = |data_type: &DataType| {
            is_number(data_type).then_some(()).ok_or_else(|| format!("its values are {data_type}; expected numbers"))
        };
        let time = |data_type: &DataType| {
            is_time(data_type).then_some(()).ok_or_else(|| {
                format!(
                    "its values are {data_type}; expected timestamps, dates, or 64-bit whole numbers of microseconds"
                )
            })
        };
        Ok(Plan {
            schema: Arc::new(schema.clone()),
            features,
            label: other("label", &config.label, &check_label_type)?,
            task: other("task", &config.task, &named)?,
            weight: other("weight", &config.weight, &number)?,
            event_time: other("event time", &config.event_time, &time)?,
            id: other("id", &config.id, &named)?,
        })
    }

    /// Whether batches of this schema can be read by this plan.
    pub fn fits(&self, schema: &SchemaRef) -> bool {
        Arc::ptr_eq(&self.schema, schema) || self.schema.fields() == schema.fields()
    }

    pub fn kinds(&self) -> Vec<FeatureKind> {
        self.features.iter().map(|feature| feature.kind).collect()
    }
}

fn unusable(role: &str, name: &str, why: &str) -> Error {
    Error::user(format!("the {role} column '{name}' cannot be used: {why}")).with("column", name)
}

/// Finds a column. An input without any column has no rows; there everything may be absent.
fn find<'a>(role: &str, name: &str, schema: &'a Schema, required: bool) -> Result<Option<(usize, &'a Field)>> {
    if let Some(found) = schema.column_with_name(name) {
        return Ok(Some(found));
    }
    if !required || schema.fields().is_empty() {
        return Ok(None);
    }
    let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let nearest = columns
        .iter()
        .map(|column| (column, strsim::normalized_damerau_levenshtein(&column.to_lowercase(), &name.to_lowercase())))
        .max_by(|left, right| left.1.total_cmp(&right.1));
    let hint = match nearest {
        Some((column, likeness)) if likeness >= 0.4 => format!("; did you mean '{column}'?"),
        Some((column, _)) => format!("; the nearest is '{column}'"),
        None => String::new(),
    };
    let mut listed = columns.iter().take(MAX_LISTED_COLUMNS).copied().collect::<Vec<_>>().join(", ");
    if columns.len() > MAX_LISTED_COLUMNS {
        listed.push_str(&format!(" and {} more", columns.len() - MAX_LISTED_COLUMNS));
    }
    Err(Error::user(format!("there is no {role} column '{name}'{hint}")).with("columns", listed))
}

fn plan_feature(config: &FeatureConfig, kind: FeatureKind, schema: &Schema) -> Result<FeaturePlan> {
    let name = &config.column;
    let mut plan = FeaturePlan { column: None, kind, shape: kind_shape(kind), fixed: false, gather: None };
    let Some((column, field)) = find("feature", name, schema, true)? else { return Ok(plan) };
    let data_type = field.data_type();
    let kind = match kind {
        FeatureKind::Auto => kind_of(data_type).ok_or_else(|| {
            let why = format!(
                "its values are {data_type}; expected numbers, lists of numbers, image bytes, text or booleans"
            );
            unusable("feature", name, &why)
        })?,
        given => given,
    };
    let refuse = |expected: &str| {
        let why = format!("its values are {data_type}; expected {expected}");
        Err(unusable("feature", name, &why))
    };
    (plan.column, plan.kind, plan.shape) = (Some(column), kind, kind_shape(kind));
    match kind {
        // Every value is null: whatever it is to be, no row is usable.
        _ if *data_type == DataType::Null => {}
        FeatureKind::Auto => {}
        FeatureKind::Numeric if is_number(data_type) => {}
        FeatureKind::Numeric if is_text(data_type) => return refuse("numbers; as = \"category\" reads text"),
        FeatureKind::Numeric => return refuse("numbers"),
        FeatureKind::Image if is_bytes(data_type) => {}
        FeatureKind::Image if is_text(data_type) => {
            return refuse("binary values that hold JPEG or PNG bytes; paths and encoded text are not followed");
        }
        FeatureKind::Image => return refuse("binary values that hold JPEG or PNG bytes"),
        FeatureKind::Category { .. } if is_text(data_type) => {}
        FeatureKind::Category { .. } => return refuse("text, whole numbers or booleans"),
        FeatureKind::Tensor if is_list(data_type) => {
            let tensor = tensor_type(field).map_err(|why| unusable("feature", name, &why))?;
            (plan.fixed, plan.shape, plan.gather) = (tensor.shape.is_some(), tensor.shape, tensor.gather);
        }
        FeatureKind::Tensor => return refuse("lists of numbers"),
    }
    if let Some(shape) = &config.shape {
        if !matches!(kind, FeatureKind::Tensor | FeatureKind::Auto) {
            return Err(unusable("feature", name, "only a list of numbers can be given a shape"));
        }
        if let Some(found) = &plan.shape
            && found.iter().product::<usize>() != shape.iter().product::<usize>()
        {
            let why = format!("its lists have {} numbers, its shape {}", shown_shape(found), shown_shape(shape));
            return Err(unusable("feature", name, &why));
        }
        plan.shape = Some(shape.clone());
    }
    plan.shape = plan.shape.map(as_image);
    Ok(plan)
}

/// The shape that follows from what a feature is.
fn kind_shape(kind: FeatureKind) -> Option<Vec<usize>> {
    match kind {
        FeatureKind::Numeric => Some(vec![1]),
        FeatureKind::Category { size, .. } => Some(vec![size]),
        _ => None,
    }
}

/// Two dimensions are an image of one channel.
pub(crate) fn as_image(shape: Vec<usize>) -> Vec<usize> {
    if let [height, width] = shape[..] { vec![1, height, width] } else { shape }
}

/// What [`FeatureKind::Auto`] stands for.
fn kind_of(data_type: &DataType) -> Option<FeatureKind> {
    Some(match data_type {
        DataType::Null => FeatureKind::Auto,
        _ if is_number(data_type) => FeatureKind::Numeric,
        _ if is_list(data_type) => FeatureKind::Tensor,
        _ if is_bytes(data_type) => FeatureKind::Image,
        _ if is_text(data_type) => {
            FeatureKind::Category { encoding: CategoryEncoding::OneHot, size: DEFAULT_CATEGORY_SLOTS }
        }
        _ => return None,
    })
}

fn is_list(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::List(_)
            | DataType::LargeList(_)
            | DataType::FixedSizeList(..)
            | DataType::ListView(_)
            | DataType::LargeListView(_)
    )
}

fn is_bytes(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_))
}
