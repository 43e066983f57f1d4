//! What the encoder is told: which columns matter and how they are read.

use lightcl_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The most numbers one sample may have.
pub const MAX_SAMPLE_VALUES: usize = 64 << 20;

/// Slots of a one-hot category when nothing is said.
pub const DEFAULT_CATEGORY_SLOTS: usize = 32;

/// Which columns make a sample.
///
/// ```
/// use lightcl_stream::encode::EncoderConfig;
///
/// let config = EncoderConfig::new(["temperature", "machine"], "state");
/// assert_eq!(config.label.as_deref(), Some("state"));
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncoderConfig {
    /// The feature columns, in the order in which their numbers stand in a sample.
    pub features: Vec<FeatureConfig>,
    /// The label column. Without one rows can be scored, not learnt from.
    pub label: Option<String>,
    /// A column that names the task.
    pub task: Option<String>,
    /// A column of sample weights.
    pub weight: Option<String>,
    /// A column of event times.
    pub event_time: Option<String>,
    /// A column of sample names.
    pub id: Option<String>,
    /// Whether numbers are standardised by a running mean and variance.
    pub standardize: bool,
    /// The most classes; rows of further ones are rejected.
    pub max_classes: usize,
}

/// One feature column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureConfig {
    /// The column's name.
    pub column: String,
    /// How it is read.
    pub kind: FeatureKind,
    /// The shape of a tensor whose column does not tell it, such as `[3, 32, 32]` for a flat list of 3,072 numbers.
    #[serde(default)]
    pub shape: Option<Vec<usize>>,
}

impl FeatureConfig {
    /// A column read by its type.
    pub fn auto(column: impl Into<String>) -> Self {
        FeatureConfig { column: column.into(), kind: FeatureKind::Auto, shape: None }
    }
}

/// How a feature column is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureKind {
    /// By its type: numbers and booleans as numbers, lists as tensors, binary as images, text and dictionaries as
    /// one-hot categories of 32 slots.
    Auto,
    /// One number; a boolean is 0 or 1.
    Numeric,
    /// A list of numbers, or nested lists; whole numbers of 8 bits without sign become `[0, 1]`.
    Tensor,
    /// JPEG or PNG bytes: `[channels, height, width]` numbers in `[0, 1]`.
    Image,
    /// A value out of several.
    Category {
        /// How the value becomes numbers.
        encoding: CategoryEncoding,
        /// How many numbers.
        size: usize,
    },
}

/// How a category becomes numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CategoryEncoding {
    /// A slot for each value in order of first appearance; the last slot is shared by all that came too late.
    OneHot,
    /// The slot is a stable hash of the value: no vocabulary is kept.
    Hash,
}

impl EncoderConfig {
    /// Features read by their types and a label; nothing optional.
    pub fn new<F: Into<String>>(features: impl IntoIterator<Item = F>, label: impl Into<String>) -> Self {
        EncoderConfig {
            features: features.into_iter().map(FeatureConfig::auto).collect(),
            label: Some(label.into()),
            task: None,
            weight: None,
            event_time: None,
            id: None,
            standardize: false,
            max_classes: 1000,
        }
    }

    /// Checks what can be checked without a schema.
    ///
    /// # Errors
    /// When there is no feature, a column is a feature twice or both feature and label, or a size is out of range.
    pub fn validate(&self) -> Result<()> {
        if self.features.is_empty() {
            return Err(Error::user("there is no feature column; name at least one under sample.features"));
        }
        if self.max_classes == 0 {
            return Err(Error::user("max_classes must be at least 1"));
        }
        let mut seen = BTreeSet::new();
        for feature in &self.features {
            let column = &feature.column;
            if !seen.insert(column) {
                return Err(Error::user("a column is named as a feature twice").with("column", column));
            }
            if self.label.as_ref() == Some(column) {
                return Err(Error::user("the label column is also a feature: the answer would be in the question")
                    .with("column", column));
            }
            if let Some(shape) = &feature.shape {
                if !matches!(feature.kind, FeatureKind::Auto | FeatureKind::Tensor) {
                    return Err(Error::user("only a tensor can be given a shape").with("column", column));
                }
                let values = shape.iter().try_fold(1_usize, |values, &dim| values.checked_mul(dim));
                if shape.is_empty() || !values.is_some_and(|values| (1..=MAX_SAMPLE_VALUES).contains(&values)) {
                    return Err(Error::user(format!("the shape must hold between 1 and {MAX_SAMPLE_VALUES} numbers"))
                        .with("column", column)
                        .with("shape", format!("{shape:?}")));
                }
            }
            if let FeatureKind::Category { encoding, size } = feature.kind {
                let least = if encoding == CategoryEncoding::OneHot { 2 } else { 1 };
                if !(least..=MAX_SAMPLE_VALUES).contains(&size) {
                    return Err(Error::user(format!(
                        "the size of this category must lie between {least} and {MAX_SAMPLE_VALUES}"
                    ))
                    .with("column", column)
                    .with("size", size));
                }
            }
        }
        Ok(())
    }
}
