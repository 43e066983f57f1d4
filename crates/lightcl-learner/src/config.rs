//! Settings of the learner.

use crate::analytic::{AnalyticConfig, HeadKind, Tap};
use lightcl_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// How the learner keeps what it knew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// LightCL (arXiv 2407.10545): a frozen prefix, a plastic suffix and a memory of feature patterns.
    #[default]
    Lightcl,
    /// Plain stochastic gradient descent: the whole network always trains, nothing is remembered. The baseline.
    Sgd,
}

/// The network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Backbone {
    /// Fully connected layers with ReLU; samples of any shape are flattened.
    Mlp {
        /// Units of each hidden layer.
        hidden: Vec<usize>,
        /// How many of the first layers make the prefix; fewer than there are hidden layers.
        frozen: usize,
    },
    /// ResNet-18 for small images `[channels, height, width]` with 1 or 3 channels: a 3x3 stem without max-pool; stem and
    /// stages 1 to 3 make the prefix, stage 4 and the classifier the suffix.
    Resnet18 {
        /// Filters of the first stage (64 in the original; later stages have 2, 4 and 8 times as many).
        width: usize,
    },
}

impl Default for Backbone {
    fn default() -> Self {
        Backbone::Mlp { hidden: vec![256; 4], frozen: 2 }
    }
}

/// When the prefix freezes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prefix {
    /// The whole network trains on the first task; the prefix freezes when the second begins.
    #[default]
    FromScratch,
    /// The prefix is frozen from the first task on, with the weights it was given (or drew).
    Pretrained,
}

/// What a frozen prefix does with its batch-norm statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrozenNorm {
    /// The prefix runs in evaluation mode and never changes: it is computed once a sample.
    #[default]
    Fixed,
    /// The prefix runs in training mode and its running statistics follow the stream, as in the published program.
    Update,
}

/// The classes that cross-entropy runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActiveClasses {
    /// Those of the current task, as published.
    #[default]
    Task,
    /// All that were ever seen.
    Seen,
}

/// What stands in for samples of earlier classes in the network's loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayKind {
    /// Nothing, as published.
    #[default]
    None,
    /// Features drawn from each class's mean and the covariance that all share. The loss then runs over all classes seen.
    Gaussian,
}

/// The memory of feature patterns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryConfig {
    /// How many of a new task's first samples are kept, with their maps and logits, while it is learnt. 0 switches the
    /// pattern loss off.
    pub samples: usize,
    /// Share of a layer's channels that a task marks as vital, in `(0, 1]`.
    pub ratio: f64,
    /// Weight of the pattern loss.
    pub beta: f64,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        MemoryConfig { samples: 15, ratio: 0.15, beta: 2e-4 }
    }
}

/// All settings of a [`crate::LightClLearner`].
///
/// ```
/// use lightcl_learner::{Backbone, LearnerConfig};
///
/// let config = LearnerConfig {
///     backbone: Backbone::Mlp { hidden: vec![32, 32, 16], frozen: 2 },
///     learning_rate: 0.1,
///     ..LearnerConfig::default()
/// };
/// config.validate()?;
/// # Ok::<(), lightcl_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LearnerConfig {
    /// How what was known is kept.
    pub method: Method,
    /// The network.
    pub backbone: Backbone,
    /// When the prefix freezes.
    pub prefix: Prefix,
    /// What a frozen prefix does with its batch-norm statistics.
    pub frozen_norm: FrozenNorm,
    /// The classes that cross-entropy runs over.
    pub active_classes: ActiveClasses,
    /// Step size of stochastic gradient descent.
    pub learning_rate: f64,
    /// Momentum in `[0, 1)`, without dampening (PyTorch's convention).
    pub momentum: f64,
    /// Samples a step.
    pub batch_samples: usize,
    /// Passes over each window: the first in order of arrival, the others shuffled by the seeded generator.
    pub passes: usize,
    /// Seed of the initial weights and of the shuffling.
    pub seed: u64,
    /// The memory of feature patterns.
    pub memory: MemoryConfig,
    /// What turns activations into classes.
    pub head: HeadKind,
    /// The analytic heads, where `head` has any.
    pub analytic: AnalyticConfig,
    /// What stands in for samples of earlier classes in the network's loss.
    pub replay: ReplayKind,
    /// Bytes of rows kept while a prefix trains, for those who look at its output when it has frozen: prefix taps and replay. 0
    /// keeps none.
    pub bridge_bytes: u64,
    /// Prunes channels before the first task, to about a tenth of the weights (see [`crate::sparse`]).
    pub sparse: bool,
    /// Classes that the head has from the start; more are added as they appear.
    pub initial_classes: usize,
}

impl Default for LearnerConfig {
    fn default() -> Self {
        LearnerConfig {
            method: Method::default(),
            backbone: Backbone::default(),
            prefix: Prefix::default(),
            frozen_norm: FrozenNorm::default(),
            active_classes: ActiveClasses::default(),
            learning_rate: 0.01,
            momentum: 0.0,
            batch_samples: 32,
            passes: 1,
            seed: 0,
            memory: MemoryConfig::default(),
            head: HeadKind::default(),
            analytic: AnalyticConfig::default(),
            replay: ReplayKind::default(),
            bridge_bytes: 16 << 20,
            sparse: false,
            initial_classes: 0,
        }
    }
}

/// The most classes a head may have; rows of classes beyond are rejected.
pub const MAX_CLASSES: usize = 1 << 16;

/// The widest layer a configuration may ask for.
const MAX_WIDTH: usize = 1 << 16;

impl LearnerConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// A user error that names the first setting out of range and what is allowed.
    pub fn validate(&self) -> Result<()> {
        match &self.backbone {
            Backbone::Mlp { hidden, frozen } => {
                check(!hidden.is_empty(), "hidden", "name at least one hidden layer", hidden.len())?;
                for &units in hidden {
                    check((1..=MAX_WIDTH).contains(&units), "hidden", "a layer has 1 to 65536 units", units)?;
                }
                check(
                    *frozen < hidden.len(),
                    "frozen",
                    "fewer layers must freeze than there are hidden layers, so that something stays plastic",
                    frozen,
                )?;
            }
            Backbone::Resnet18 { width } => {
                check((1..=MAX_WIDTH / 8).contains(width), "width", "choose 1 to 8192 filters", width)?;
            }
        }
        let rate = self.learning_rate;
        check(rate.is_finite() && rate > 0.0, "learning_rate", "choose a positive number such as 0.01", rate)?;
        check((0.0..1.0).contains(&self.momentum), "momentum", "choose a number in [0, 1)", self.momentum)?;
        check(self.batch_samples > 0, "batch_samples", "choose at least 1", self.batch_samples)?;
        check(self.passes > 0, "passes", "choose at least 1", self.passes)?;
        let memory = &self.memory;
        check(memory.ratio > 0.0 && memory.ratio <= 1.0, "memory.ratio", "choose a number in (0, 1]", memory.ratio)?;
        check(
            memory.beta.is_finite() && memory.beta >= 0.0,
            "memory.beta",
            "choose a number that is not negative",
            memory.beta,
        )?;
        check(self.initial_classes <= MAX_CLASSES, "initial_classes", "choose at most 65536", self.initial_classes)?;
        check(
            !(self.replay == ReplayKind::Gaussian && self.method == Method::Sgd),
            "replay",
            "\"gaussian\" draws outputs of a frozen prefix, which method = \"sgd\" never has",
            "gaussian",
        )?;
        check(
            !(self.replay == ReplayKind::Gaussian && self.frozen_norm == FrozenNorm::Update),
            "replay",
            "\"gaussian\" needs frozen_norm = \"fixed\": statistics of outputs that go on moving mean nothing",
            "gaussian",
        )?;
        if self.head == HeadKind::Network {
            return Ok(());
        }
        self.analytic.validate()?;
        let is_convolutional = matches!(self.backbone, Backbone::Resnet18 { .. });
        check(
            is_convolutional || !self.analytic.tap.contains(&Tap::Stages),
            "analytic.tap",
            "\"stages\" needs a convolutional backbone: use \"prefix\"",
            "stages",
        )?;
        let taps_prefix = self.analytic.tap.iter().any(|tap| *tap != Tap::Input);
        check(
            !(taps_prefix && is_convolutional && self.frozen_norm == FrozenNorm::Update),
            "analytic.tap",
            "taps of the prefix need frozen_norm = \"fixed\": sums over features that go on moving mean nothing",
            "update",
        )?;
        check(
            !(taps_prefix && self.method == Method::Sgd),
            "analytic.tap",
            "method = \"sgd\" never freezes a prefix to tap: use \"input\"",
            "prefix",
        )
    }

    /// As [`LearnerConfig::validate`], with the shape of the samples.
    pub(crate) fn validate_with_shape(&self, shape: &[usize]) -> Result<()> {
        self.validate()?;
        let width = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size)).unwrap_or(0);
        if shape.is_empty() || width == 0 || width > 1 << 28 {
            return Err(Error::user("samples need a shape with at least one number and at most 2^28")
                .with("shape", format!("{shape:?}")));
        }
        if matches!(self.backbone, Backbone::Resnet18 { .. }) && !matches!(shape, [1 | 3, _, _]) {
            return Err(Error::user(
                "resnet18 needs images of shape [channels, height, width] with 1 or 3 channels; use the mlp backbone for other samples",
            )
            .with("shape", format!("{shape:?}")));
        }
        Ok(())
    }
}

pub(crate) fn check(holds: bool, key: &'static str, advice: &str, found: impl std::fmt::Display) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::user(format!("{key}: {advice}")).with("found", found)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_out_of_range_is_a_user_error_that_names_it() {
        let good = LearnerConfig::default();
        good.validate().unwrap();
        let bad: Vec<(&str, LearnerConfig)> = vec![
            ("hidden", LearnerConfig { backbone: Backbone::Mlp { hidden: vec![], frozen: 0 }, ..good.clone() }),
            ("hidden", LearnerConfig { backbone: Backbone::Mlp { hidden: vec![0], frozen: 0 }, ..good.clone() }),
            ("frozen", LearnerConfig { backbone: Backbone::Mlp { hidden: vec![4, 4], frozen: 2 }, ..good.clone() }),
            ("width", LearnerConfig { backbone: Backbone::Resnet18 { width: 0 }, ..good.clone() }),
            ("learning_rate", LearnerConfig { learning_rate: 0.0, ..good.clone() }),
            ("learning_rate", LearnerConfig { learning_rate: f64::NAN, ..good.clone() }),
            ("momentum", LearnerConfig { momentum: 1.0, ..good.clone() }),
            ("batch_samples", LearnerConfig { batch_samples: 0, ..good.clone() }),
            ("passes", LearnerConfig { passes: 0, ..good.clone() }),
            (
                "memory.ratio",
                LearnerConfig { memory: MemoryConfig { ratio: 0.0, ..good.memory.clone() }, ..good.clone() },
            ),
            (
                "memory.beta",
                LearnerConfig { memory: MemoryConfig { beta: -1.0, ..good.memory.clone() }, ..good.clone() },
            ),
            ("initial_classes", LearnerConfig { initial_classes: MAX_CLASSES + 1, ..good.clone() }),
        ];
        for (key, config) in bad {
            let error = config.validate().unwrap_err();
            assert_eq!(error.kind(), lightcl_core::ErrorKind::User);
            assert!(error.message().starts_with(&format!("{key}: ")), "{error}");
        }
    }

    #[test]
    fn the_shape_must_suit_the_backbone() {
        let resnet = LearnerConfig { backbone: Backbone::Resnet18 { width: 4 }, ..LearnerConfig::default() };
        assert!(resnet.validate_with_shape(&[3, 8, 8]).is_ok());
        assert!(resnet.validate_with_shape(&[1, 28, 28]).is_ok());
        for shape in [&[2, 8, 8][..], &[8, 8], &[3, 0, 8], &[], &[usize::MAX, usize::MAX]] {
            assert!(resnet.validate_with_shape(shape).is_err(), "{shape:?}");
        }
        assert!(LearnerConfig::default().validate_with_shape(&[2, 8, 8]).is_ok());
        assert!(LearnerConfig::default().validate_with_shape(&[0]).is_err());
    }

    #[test]
    fn settings_survive_json() {
        let config = LearnerConfig { backbone: Backbone::Resnet18 { width: 20 }, ..LearnerConfig::default() };
        let json = serde_json::to_string(&config).unwrap();
        assert!(json.contains(r#""type":"resnet18""#), "{json}");
        assert_eq!(serde_json::from_str::<LearnerConfig>(&json).unwrap(), config);
        assert!(serde_json::from_str::<LearnerConfig>(r#"{"lerning_rate": 1}"#).is_err());
    }
}
