//! `[evaluate]`, `[snapshot]`, `[checkpoint]`, `[stability]`, `[predictions]`, `[output]` and `[metrics]`.

use super::FileType;
use lightcl_stream::OperatorConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Held-out samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evaluate {
    /// A file, a glob or a folder with the columns of the source.
    #[schemars(length(min = 1))]
    pub path: String,
    /// How it is encoded. Default: as the source; with a Kafka source it must be said.
    #[serde(default, rename = "type")]
    pub kind: Option<FileType>,
}

/// When a model is published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Snapshot {
    /// Whether a model is published when a task ends.
    pub on_boundary: bool,
    /// Samples between two snapshots; 0 for none by count.
    pub every_samples: u64,
    /// Whether a model is published at the end of the input.
    pub at_end: bool,
}

impl Default for Snapshot {
    fn default() -> Self {
        let operator = OperatorConfig::new("");
        Snapshot {
            on_boundary: operator.snapshot_on_boundary,
            every_samples: operator.snapshot_every_samples,
            at_end: operator.snapshot_at_end,
        }
    }
}

/// When outputs and state are made durable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Checkpoint {
    /// Samples between two checkpoints; 0 for none by count.
    pub every_samples: u64,
    /// Seconds between two checkpoints; 0 for none by time.
    #[schemars(range(max = 31_536_000))]
    pub every_seconds: u64,
    /// Checkpoints that are kept; the older ones are there in case the newest is damaged.
    #[schemars(range(min = 1, max = 1000))]
    pub keep: usize,
}

impl Default for Checkpoint {
    fn default() -> Self {
        Checkpoint { every_samples: 10_000, every_seconds: 60, keep: 2 }
    }
}

/// How memory stability is watched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Stability {
    /// Samples between two reports; 0 for those at boundaries and at the end only.
    pub every_samples: u64,
    /// Most held-out samples that a task keeps as latent probes; 0 for none.
    #[schemars(range(max = 1_048_576))]
    pub probe_samples: usize,
    /// Most bytes that the probes of all tasks hold; those of the oldest tasks are thinned first.
    pub probe_bytes: u64,
    /// Samples in the window of the prequential accuracy.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub prequential_window_samples: usize,
    /// Fading factor of the prequential accuracy; 1 forgets nothing.
    #[schemars(range(max = 1), extend("exclusiveMinimum" = 0))]
    pub prequential_fading: f64,
}

impl Default for Stability {
    fn default() -> Self {
        let operator = OperatorConfig::new("");
        Stability {
            every_samples: operator.stability_every_samples,
            probe_samples: operator.probe_samples,
            probe_bytes: operator.probe_bytes,
            prequential_window_samples: operator.prequential_window_samples,
            prequential_fading: operator.prequential_fading,
        }
    }
}

/// What becomes of the predictions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Predictions {
    /// How they are written.
    pub format: PredictionFormat,
}

/// How predictions are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PredictionFormat {
    /// Not at all.
    #[default]
    None,
    /// `predictions/part-<epoch>.parquet`, one file a commit.
    Parquet,
    /// `predictions/part-<epoch>.arrow`, one file a commit.
    Arrow,
    /// predictions.jsonl.
    Jsonl,
}

/// Where outputs go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Output {
    /// The output folder. Default: lightcl-out/ and the name of the pipeline file.
    #[schemars(length(min = 1))]
    pub dir: Option<String>,
}

/// Figures and health over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Where /metrics (Prometheus), /healthz and /readyz answer: address:port, such as 127.0.0.1:9184. Default: nowhere.
    #[schemars(length(min = 1))]
    pub listen: Option<String>,
    /// Longest time without progress before /healthz says 503, in seconds: longer than the longest step of learning. A run over
    /// files is healthy as long as it answers.
    #[schemars(range(min = 1, max = 86_400))]
    pub max_silence_seconds: u64,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics { listen: None, max_silence_seconds: 300 }
    }
}
