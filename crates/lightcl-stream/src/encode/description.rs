//! The encoder as a part of snapshot manifests.

use super::config::{EncoderConfig, FeatureKind};
use super::encoder::Encoder;
use super::learnt::{Learnt, SavedLearnt};
use super::standardize::Standardizer;
use super::texts::ValueKind;
use lightcl_core::{Error, Result};
use serde::{Deserialize, Serialize};

const FORMAT: u32 = 1;

/// How rows become numbers, for people and for other programs.
#[derive(Debug, Serialize, Deserialize)]
struct Description {
    /// Version of this layout.
    format: u32,
    config: EncoderConfig,
    /// Shape of a sample.
    shape: Option<Vec<usize>>,
    features: Vec<FeatureDescription>,
    labels: LabelDescription,
    standardization: Option<Standardization>,
}

#[derive(Debug, Serialize, Deserialize)]
struct FeatureDescription {
    column: String,
    kind: FeatureKind,
    shape: Option<Vec<usize>>,
    /// For one-hot categories the values by slot; the slot after them, and any further one, is for all other values.
    categories: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct LabelDescription {
    kind: Option<ValueKind>,
    /// Labels by class number.
    names: Vec<String>,
}

/// `(number - mean) / deviation`, 0 where the deviation is 0. Numbers of categories are left out.
#[derive(Debug, Serialize, Deserialize)]
struct Standardization {
    rows: u64,
    mean: Vec<f64>,
    deviation: Vec<f64>,
    sum_of_squared_deviations: Vec<f64>,
}

impl Encoder {
    /// Everything that scoring rows needs, as JSON: settings, shapes, categories, labels, means and variances.
    ///
    /// # Errors
    /// When it cannot be written as JSON; never because of what was learnt.
    pub fn describe(&self) -> Result<serde_json::Value> {
        let saved = self.learnt.to_saved(&self.config);
        let features = saved.columns.into_iter().zip(saved.kinds).zip(saved.shapes).zip(saved.categories);
        let description = Description {
            format: FORMAT,
            config: self.config.clone(),
            shape: self.shape().map(<[usize]>::to_vec),
            features: features
                .map(|(((column, kind), shape), categories)| FeatureDescription { column, kind, shape, categories })
                .collect(),
            labels: LabelDescription { kind: saved.label_kind, names: saved.labels },
            standardization: self.config.standardize.then(|| Standardization {
                rows: saved.standardizer.count,
                deviation: self.learnt.standardizer.deviations(),
                mean: saved.standardizer.mean,
                sum_of_squared_deviations: saved.standardizer.squares,
            }),
        };
        serde_json::to_value(description)
            .map_err(|error| Error::internal("the encoder cannot be described").caused_by(error))
    }

    /// An encoder from what [`Encoder::describe`] gave. It is bound to the schema of the first rows it sees, or by
    /// [`Encoder::bind`].
    ///
    /// # Errors
    /// When the description is of another version, incomplete, or contradicts itself.
    pub fn from_description(description: &serde_json::Value) -> Result<Self> {
        let found = description.get("format").and_then(serde_json::Value::as_u64);
        if found != Some(u64::from(FORMAT)) {
            return Err(Error::user("the description of the encoder has another format than this program reads")
                .with("expected", FORMAT)
                .with("found", found.map_or_else(|| "none".to_owned(), |format| format.to_string())));
        }
        let description: Description = Deserialize::deserialize(description)
            .map_err(|error| Error::user("the description of the encoder cannot be read").caused_by(error))?;
        description.config.validate()?;
        let mut saved = SavedLearnt {
            columns: Vec::new(),
            standardize: description.config.standardize,
            kinds: Vec::new(),
            shapes: Vec::new(),
            categories: Vec::new(),
            label_kind: description.labels.kind,
            labels: description.labels.names,
            standardizer: description.standardization.map_or_else(Standardizer::default, |figures| Standardizer {
                count: figures.rows,
                mean: figures.mean,
                squares: figures.sum_of_squared_deviations,
            }),
        };
        for feature in description.features {
            saved.columns.push(feature.column);
            saved.kinds.push(feature.kind);
            saved.shapes.push(feature.shape);
            saved.categories.push(feature.categories);
        }
        let learnt = Learnt::from_saved(saved, &description.config)?;
        Ok(Encoder::from_parts(description.config, learnt))
    }
}
