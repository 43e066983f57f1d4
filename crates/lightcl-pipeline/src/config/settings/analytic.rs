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
    /// Random features, shared by the taps; 0 takes the taps as they are. "auto" is 500, or 60 where update is row; where
    /// max_bytes is set as many as fit, at most 2000.
    pub width: OrAuto<usize>,
    /// Whether the taps themselves are features beside the random ones. Default: where update is row.
    pub linear: Option<bool>,
    /// Cells a side that maps of convolutional layers are averaged over.
    #[schemars(range(min = 1, max = 16))]
    pub grid: usize,
    /// How taps are scaled. Default: running where update is row, else fixed.
    pub standardize: Option<Standardize>,
    /// Forgetting factors, one head each: all sums are multiplied by it once a sample; 1.0 never forgets. Default: [1.0], or
    /// [1.0, 0.998, 0.98, 0.95] where update is row.
    #[schemars(length(max = 16), inner(range(min = 0.5, max = 1)))]
    pub forget: Vec<f64>,
    /// Ridge of all heads, or a list with one for each, in samples: as strong as so many of them with the features' mean square.
    /// "auto" is the best of a few by prequential loss, or one for each factor that was found to suit it where update is row.
    pub ridge: Ridge,
    /// How classes are read from the statistics.
    pub reading: Reading,
    /// When scores follow the samples.
    pub update: Update,
    /// What tasks keep apart in the head that forgets least.
    pub regimes: RegimeKind,
    /// Numbers that statistics are kept in.
    pub precision: Precision,
    /// Whether one more head has the label before as an input: for streams whose labels follow each other and are known by
    /// then.
    pub previous_label: bool,
    /// Whether "the label before again" is an expert of the mixture.
    pub no_change: bool,
    /// Share of weight that moves between experts at every sample, so that the mixture follows changes.
    #[schemars(range(min = 0, max = 0.5))]
    pub share: f64,
    /// Power of a sample's likelihood in the mixture's weights.
    #[schemars(range(max = 2), extend("exclusiveMinimum" = 0))]
    pub evidence: f64,
    /// Most bytes that statistics and weights may hold with ten classes; what does not fit is refused. Default: no bound.
    pub max_bytes: Option<u64>,
}

impl Default for Analytic {
    fn default() -> Self {
        let config = AnalyticConfig::default();
        Analytic {
            tap: vec![Tap::Input],
            width: OrAuto::AUTO,
            linear: None,
            grid: config.grid,
            standardize: None,
            forget: Vec::new(),
            ridge: Ridge::Auto(AutoWord::Auto),
            reading: Reading::default(),
            update: Update::default(),
            regimes: RegimeKind::default(),
            precision: Precision::default(),
            previous_label: config.previous_label,
            no_change: config.no_change,
            share: config.share,
            evidence: config.evidence,
            max_bytes: None,
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

/// The ridges of the heads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Ridge {
    /// Chosen by the program.
    Auto(AutoWord),
    /// The same for all heads.
    One(#[schemars(range(min = 0.000001, max = 1_000_000))] f64),
    /// One for each forgetting factor.
    Each(#[schemars(length(max = 16), inner(range(min = 0.000001, max = 1_000_000)))] Vec<f64>),
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

/// When scores follow the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Update {
    /// With the windows that are learnt, when enough has changed.
    #[default]
    Window,
    /// Exactly, after every sample whose label is known.
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

/// What tasks keep apart in the head that forgets least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RegimeKind {
    /// Nothing: all samples go into the same sums.
    #[default]
    None,
    /// What classes look like, for tasks in which labels mean something else.
    Labels,
    /// Everything: a sample is scored by the head of the task whose samples it looks most like.
    Domains,
}
