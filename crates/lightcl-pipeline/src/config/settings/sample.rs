//! `[sample]`: which columns make a sample.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which columns make a sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Feature columns, in the order of the numbers they become: names, or tables that say more.
    #[schemars(length(min = 1))]
    pub features: Vec<Feature>,
    /// Column with the label.
    #[schemars(length(min = 1))]
    pub label: String,
    /// Column that names the task, for the detector task_column.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub task: Option<String>,
    /// Column with the sample's weight in the loss. Default: every sample weighs 1.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub weight: Option<String>,
    /// Column with the time of the event: a timestamp, or whole microseconds since 1970.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub event_time: Option<String>,
    /// Column with the sample's own name, repeated in predictions.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub id: Option<String>,
    /// Whether features are standardised by their running mean and variance, which no later row has entered; beyond 10
    /// deviations they are cut off.
    #[serde(default)]
    pub standardize: bool,
    /// Most classes there may be; rows of one class more go to the dead letters.
    #[serde(default = "default_max_classes")]
    #[schemars(range(min = 1, max = 65_536))]
    pub max_classes: usize,
}

fn default_max_classes() -> usize {
    1000
}

/// A feature column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Feature {
    /// The column's name; what it holds is told by its type.
    Name(#[schemars(length(min = 1))] String),
    /// The column and what it holds.
    Table(FeatureTable),
}

impl Feature {
    /// The column's name.
    pub fn column(&self) -> &str {
        match self {
            Feature::Name(column) => column,
            Feature::Table(table) => &table.column,
        }
    }

    /// Whether it is said to be a category.
    pub fn is_category(&self) -> bool {
        matches!(self, Feature::Table(table) if table.kind == FeatureKind::Category)
    }
}

/// A feature column and what it holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeatureTable {
    /// The column's name.
    #[schemars(length(min = 1))]
    pub column: String,
    /// What the column holds.
    #[serde(default, rename = "as")]
    pub kind: FeatureKind,
    /// How a category becomes numbers. Default: one_hot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<CategoryEncoding>,
    /// Numbers that a category becomes. Default: 32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub size: Option<usize>,
    /// Shape of a tensor whose column does not tell it, such as [3, 32, 32].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), inner(range(min = 1)))]
    pub shape: Option<Vec<usize>>,
}

/// What a feature column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeatureKind {
    /// Told by the column's type: numbers are numeric, lists tensors, binary images, text one-hot categories of 32.
    #[default]
    Auto,
    /// One number.
    Numeric,
    /// A list of numbers; lists of u8 are scaled to [0, 1].
    Tensor,
    /// JPEG or PNG bytes, scaled to [0, 1].
    Image,
    /// Text, a whole number or a boolean that names a category.
    Category,
}

/// How a category becomes numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CategoryEncoding {
    /// One slot a value in order of first appearance; the last slot takes all others.
    #[default]
    OneHot,
    /// A slot by a hash of the value: nothing to keep, but values may share a slot.
    Hash,
}
