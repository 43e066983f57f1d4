//! `[learner.analytic]`: heads solved in closed form.

use lightcl_learner::AnalyticConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The heads solved in closed form (second-order feature patterns).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Analytic {
    /// Where features come from; they stand side by side.
    #[schemars(length(min = 1, max = 3))]
    pub tap: Vec<Tap>,
    /// Random features, shared by the taps; 0 takes the taps as they are, "auto" as many as max_bytes allows (at most 2000).
    pub width: OrAuto<usize>,
    /// Whether the taps themselves are features beside the random ones.
    pub linear: bool,
    /// Cells a side that maps of convolutional layers are averaged over.
    #[schemars(range(min = 1, max = 16))]
    pub grid: usize,
    /// How taps are scaled. Default: running where update is row, else fixed.
    pub standardize: OrAuto<Standardize>,
    /// Forgetting factors, one head each: all sums are multiplied by it once a sample; 1.0 never forgets.
    #[schemars(length(min = 1, max = 16), inner(range(min = 0.5, max = 1)))]
    pub forget: Vec<f64>,
    /// Ridge in samples: as strong as so many of them with the features' mean square; "auto" picks it by prequential loss.
    pub ridge: OrAuto<f64>,
    /// How classes are read from the statistics.
    pub reading: Reading,
    /// When the heads follow the statistics. Default: row where learner.window_samples is below 8, else window.
    pub update: OrAuto<Update>,
    /// Numbers that statistics are kept in.
    pub precision: Precision,
    /// Whether the label before is an input too: for streams whose labels follow each other and are known by then.
    pub previous_label: bool,
    /// Whether "the label before again" is an expert of the mixture.
    pub no_change: bool,
    /// Share of weight that moves between experts at every sample, so that the mixture follows changes.
    #[schemars(range(min = 0, max = 0.5))]
    pub share: f64,
    /// Power of a sample's likelihood in the mixture's weights.
    #[schemars(range(max = 2), extend("exclusiveMinimum" = 0))]
    pub evidence: f64,
    /// Most bytes that the statistics may hold before classes are met; what does not fit is refused.
    pub max_bytes: u64,
    /// Bytes of samples kept until the first layers freeze, so that their features take them in too; 0 for none.
    pub bridge_bytes: u64,
}

impl Default for Analytic {
    fn default() -> Self {
        let config = AnalyticConfig::default();
        Analytic {
            tap: vec![Tap::Input],
            width: config.width.map_or(OrAuto::AUTO, OrAuto::Given),
            linear: config.linear,
            grid: config.grid,
            standardize: OrAuto::AUTO,
            forget: config.forget,
            ridge: OrAuto::AUTO,
            reading: Reading::default(),
            update: OrAuto::AUTO,
            precision: Precision::default(),
            previous_label: config.previous_label,
            no_change: config.no_change,
            share: config.share,
            evidence: config.evidence,
            max_bytes: config.max_bytes,
            bridge_bytes: config.bridge_bytes,
        }
    }
}

/// A value, or the word "auto".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OrAuto<T> {
    /// As given.
    Given(T),
    /// Chosen by the program.
    Auto(AutoWord),
}

impl<T> OrAuto<T> {
    /// The word "auto".
    pub const AUTO: Self = OrAuto::Auto(AutoWord::Auto);

    /// The value, where one was given.
    pub fn given(self) -> Option<T> {
        match self {
            OrAuto::Given(value) => Some(value),
            OrAuto::Auto(_) => None,
        }
    }
}

/// The word "auto".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AutoWord {
    /// Chosen by the program.
    Auto,
}

/// Where features come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tap {
    /// The sample itself.
    Input,
    /// The output of the layers that freeze.
    Prefix,
    /// Stem and stage ends of a convolutional network's frozen layers.
    Stages,
}

/// How taps are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standardize {
    /// Not at all: for samples that are scaled already, and for statistics that are to be merged.
    None,
    /// By mean and deviation of the first window, for good.
    Fixed,
    /// By mean and deviation of all samples before.
    Running,
}

/// How classes are read from the statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// Whichever has the lower prequential loss.
    #[default]
    Auto,
    /// Ridge regression on the classes.
    Ridge,
    /// Linear discriminant analysis.
    Lda,
}

/// When the heads follow the statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Update {
    /// Sums are taken a window at a time and solved when enough has changed.
    Window,
    /// Exactly after every sample, for windows of few samples.
    Row,
}

/// Numbers that statistics are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 64 bits: the order of samples does not show, however long the stream.
    #[default]
    Double,
    /// 32 bits: half the memory, for streams of up to ten million samples.
    Single,
}
