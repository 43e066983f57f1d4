//! `[learner]`: what learns.

use super::analytic::Analytic;
use lightcl_learner::{LearnerConfig, MemoryConfig};
use lightcl_stream::OperatorConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What learns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Learner {
    /// How it keeps what it knew.
    pub method: Method,
    /// The network.
    pub backbone: Backbone,
    /// Units of each hidden layer (mlp).
    #[schemars(length(min = 1, max = 1000), inner(range(min = 1, max = 65_536)))]
    pub hidden: Vec<usize>,
    /// How many of the first layers freeze (mlp); fewer than there are hidden layers.
    pub frozen: usize,
    /// Filters of the first stage (resnet18); 64 in the original.
    #[schemars(range(min = 1, max = 8192))]
    pub width: usize,
    /// When the first layers freeze.
    pub prefix: Prefix,
    /// Weights to start from: a safetensors file, or a PyTorch file (.pt, .pth). Default: drawn from the seed.
    #[schemars(length(min = 1))]
    pub weights: Option<String>,
    /// Names of tensors in that file where they differ from ours: ours = theirs.
    pub weight_names: BTreeMap<String, String>,
    /// What frozen batch-norm layers do with their running statistics.
    pub frozen_norm: FrozenNorm,
    /// The classes that cross-entropy runs over.
    pub active_classes: ActiveClasses,
    /// Samples in an optimisation step.
    #[schemars(range(min = 1, max = 65_536))]
    pub batch_samples: usize,
    /// Samples scored together, before the label of any of them is looked at. Default: 1 where learner.analytic.update is row,
    /// else batch_samples.
    #[schemars(range(min = 1, max = 65_536))]
    pub score_samples: Option<usize>,
    /// Samples learnt from together, then gone.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub window_samples: usize,
    /// Passes over each window: the first in order of arrival, the others in a seeded order.
    #[schemars(range(min = 1, max = 10_000))]
    pub passes: usize,
    /// Classes that the head has from the start. More are added as they appear; with a number here the head of a
    /// fixed-size network can be compared, or imported with its weights.
    #[schemars(range(max = 65_536))]
    pub initial_classes: usize,
    /// Step size of gradient descent.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub learning_rate: f64,
    /// Momentum of gradient descent.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub momentum: f64,
    /// Seed of every random choice.
    pub seed: u64,
    /// Prunes channels before the first task, to about a tenth of the weights.
    pub sparse: bool,
    /// What turns activations into classes.
    pub head: Head,
    /// What stands in for samples of earlier classes in the network's loss.
    pub replay: Replay,
    /// Bytes of samples kept until the first layers freeze, for what looks at their output then: heads that tap it, and replay; 0
    /// for none.
    pub bridge_bytes: u64,
    /// Which rows share a learner. Kafka only.
    pub scope: Scope,
    /// With scope = "key": most learners in memory for each partition; the others are parked in the state topic.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub most_learners: usize,
    /// The heads solved in closed form (second-order feature patterns).
    pub analytic: Analytic,
    /// The memory of feature patterns.
    pub memory: Memory,
}

impl Default for Learner {
    fn default() -> Self {
        let learner = LearnerConfig::default();
        let operator = OperatorConfig::new("");
        Learner {
            method: Method::default(),
            backbone: Backbone::default(),
            hidden: vec![256; 4],
            frozen: 2,
            width: 20,
            prefix: Prefix::default(),
            weights: None,
            weight_names: BTreeMap::new(),
            frozen_norm: FrozenNorm::default(),
            active_classes: ActiveClasses::default(),
            batch_samples: learner.batch_samples,
            score_samples: None,
            window_samples: operator.window_samples,
            passes: learner.passes,
            initial_classes: learner.initial_classes,
            learning_rate: learner.learning_rate,
            momentum: learner.momentum,
            seed: learner.seed,
            sparse: learner.sparse,
            head: Head::default(),
            replay: Replay::default(),
            bridge_bytes: learner.bridge_bytes,
            scope: Scope::default(),
            most_learners: 1000,
            analytic: Analytic::default(),
            memory: Memory::default(),
        }
    }
}

/// Which rows share a learner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// One learner a partition: the record's key decides who shares a model.
    #[default]
    Partition,
    /// One learner a record key.
    Key,
    /// One learner for everything; one instance only.
    Global,
}

/// How the learner keeps what it knew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// LightCL (arXiv 2407.10545): the first layers freeze, vital feature patterns of the others are held in place.
    #[default]
    Lightcl,
    /// Plain stochastic gradient descent on the same network, as a baseline: nothing is kept.
    Sgd,
}

/// The network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Backbone {
    /// Fully connected layers; samples of any shape are flattened.
    #[default]
    Mlp,
    /// ResNet-18 for small images with 1 or 3 channels.
    Resnet18,
}

/// When the first layers freeze.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Prefix {
    /// When the second task begins; the first one trains the whole network.
    #[default]
    FromScratch,
    /// From the first sample on, with the weights given (or drawn from the seed).
    Pretrained,
}

/// What frozen batch-norm layers do with their running statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FrozenNorm {
    /// They stand still, so that the frozen layers run once a sample however many passes are made.
    #[default]
    Fixed,
    /// They follow the stream, as in the published program.
    Update,
}

/// The classes that cross-entropy runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActiveClasses {
    /// Those of the current task, as published.
    #[default]
    Task,
    /// All that were ever seen.
    Seen,
}

/// What turns activations into classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// A linear layer, trained with the rest, as published.
    #[default]
    Network,
    /// Heads solved in closed form from second-order statistics of features: one pass, nothing forgotten. The network is
    /// trained only to make the frozen layers, where these are tapped.
    Analytic,
    /// Both, mixed by their prequential evidence.
    Mixture,
}

/// What stands in for samples of earlier classes in the network's loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Replay {
    /// Nothing, as published.
    #[default]
    None,
    /// Features drawn from each class's mean and the covariance that all share. The loss then runs over all classes seen.
    Gaussian,
}

/// The memory of feature patterns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Memory {
    /// How many of a task's first samples serve as its memory while it is learnt; 0 for none.
    #[schemars(range(max = 65_536))]
    pub samples: usize,
    /// Share of a layer's channels that a task marks as vital.
    #[schemars(range(max = 1), extend("exclusiveMinimum" = 0))]
    pub ratio: f64,
    /// Weight of the pattern loss.
    #[schemars(range(min = 0))]
    pub beta: f64,
}

impl Default for Memory {
    fn default() -> Self {
        let MemoryConfig { samples, ratio, beta } = MemoryConfig::default();
        Memory { samples, ratio, beta }
    }
}
