//! A pipeline file as serde sees it: every key, its default and what it means.
//!
//! The comments on the fields are the descriptions in `schemas/pipeline.schema.json` and what `lightcl check` prints.
//! What a key may hold is checked against that schema first (`super::walk`), so that a mistake is shown where it
//! stands; what keys may hold together comes after (`super::conflicts`).

mod analytic;
mod boundary;
mod calendar;
mod detectors;
mod kafka;
mod learner;
mod outputs;
mod sample;
mod source;

pub use analytic::{Analytic, AutoWord, OrAuto, Precision, Reading, RegimeKind, Ridge, Standardize, Tap, Update};
pub use boundary::{AutoDetector, Boundary, ErrorDetector, NewClassesDetector, Regimes};
pub use calendar::CalendarDetector;
pub use detectors::{
    AdwinDetector, BayesianDetector, CusumDetector, DdmDetector, EddmDetector, HddmADetector, HddmWDetector,
    KswinDetector, MmdDetector, PageHinkleyDetector,
};
pub use kafka::{
    ClaimCheck, CommittedElse, Delivery, Format, Property, Secret, Sink, SinkTopics, SinkType, Start, Timestamp,
    Tombstones, ValueFormat,
};
pub use learner::{ActiveClasses, Backbone, FrozenNorm, Head, Learner, Memory, Method, Prefix, Replay, Scope};
pub use outputs::{Checkpoint, Evaluate, Metrics, Output, PredictionFormat, Predictions, Snapshot, Stability};
pub use sample::{CategoryEncoding, Feature, FeatureKind, FeatureTable, Sample};
pub use source::{Csv, FileType, Source, SourceType};

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde::{Deserialize, Serialize};

/// A pipeline: where samples come from, what is learnt from them and what becomes of it. Relative paths are relative to
/// the current directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Name of the model in its snapshots. Default: the name of the pipeline file.
    #[serde(default)]
    #[schemars(length(min = 1, max = 200))]
    pub name: Option<String>,
    /// Where samples come from.
    pub source: Source,
    /// Which columns make a sample.
    pub sample: Sample,
    /// How a new task is noticed.
    #[serde(default)]
    pub boundary: Boundary,
    /// What learns.
    #[serde(default)]
    pub learner: Learner,
    /// Held-out samples, scored per task at each boundary and at the end. Without it the figures per task come from the
    /// latent probes.
    #[serde(default)]
    pub evaluate: Option<Evaluate>,
    /// When a model is published.
    #[serde(default)]
    pub snapshot: Snapshot,
    /// When outputs and state are made durable, beside the end of each task and of the run.
    #[serde(default)]
    pub checkpoint: Checkpoint,
    /// How memory stability is watched.
    #[serde(default)]
    pub stability: Stability,
    /// What becomes of the predictions in the output folder.
    #[serde(default)]
    pub predictions: Predictions,
    /// Where outputs go.
    #[serde(default)]
    pub output: Output,
    /// Topics that outputs go to instead of the output folder.
    #[serde(default)]
    pub sink: Option<Sink>,
    /// Figures and health over HTTP.
    #[serde(default)]
    pub metrics: Metrics,
}

impl Settings {
    /// Paths of keys that mean nothing with this type of source.
    pub(super) fn without_meaning(&self) -> impl Iterator<Item = &'static str> {
        let source = &self.source;
        let kafka = source.kind == SourceType::Kafka;
        let cases = [
            (kafka, &OF_FILES[..]),
            (kafka && source.format != Format::Csv, &["source.csv"]),
            (!(kafka && self.learner.scope == Scope::Key), &["learner.most_learners"]),
            (!kafka, &OF_KAFKA),
        ];
        cases.into_iter().filter(|(holds, _)| *holds).flat_map(|(_, paths)| paths.iter().copied())
    }
}

/// Paths of keys that Kafka does not have.
pub(super) const OF_FILES: [&str; 3] = ["source.path", "source.batch_rows", "source.infer_rows"];

/// Paths of keys that files do not have.
pub(super) const OF_KAFKA: [&str; 23] = [
    "source.brokers",
    "source.topics",
    "source.pattern",
    "source.group",
    "source.instance",
    "source.format",
    "source.start",
    "source.timestamp",
    "source.offsets",
    "source.or_else",
    "source.until_end",
    "source.max_wait_ms",
    "source.registry",
    "source.registry_user",
    "source.types",
    "source.tombstones",
    "source.most_value_bytes",
    "source.oauth_token_file",
    "source.client",
    "source.secrets",
    "source.csv.columns",
    "learner.scope",
    "sink",
];

/// The JSON Schema of a pipeline file, as it stands in `schemas/pipeline.schema.json`.
///
/// ```
/// let schema = lightcl_pipeline::config::pipeline_schema();
/// assert_eq!(schema["properties"]["source"]["$ref"], "#/$defs/Source");
/// ```
pub fn pipeline_schema() -> serde_json::Value {
    let mut generator: SchemaGenerator = SchemaSettings::draft2020_12().into_generator();
    let mut schema: Schema = generator.root_schema_for::<Settings>();
    schema.insert("title".to_owned(), "lightcl pipeline".into());
    schema.insert("$id".to_owned(), "https://github.com/lightcl/lightcl/schemas/pipeline.schema.json".into());
    schema.to_value()
}
