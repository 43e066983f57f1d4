//! The LightCL learner (arXiv 2407.10545) on burn: a frozen prefix, a plastic suffix and a memory of feature patterns;
//! and the plain baseline on the same network.
//!
//! [`LightClLearner`] implements [`lightcl_core::Learner`]. Its networks are an MLP and a ResNet-18 ([`Backbone`]); weights
//! come from a seed, from safetensors or from PyTorch files ([`NamedWeights`]) and leave as safetensors with PyTorch's
//! names ([`lightcl_core::Learner::snapshot`]).

mod analytic;
mod bridge;
mod config;
mod learner;
mod loss;
mod memory;
mod merge;
mod model;
mod network;
mod plain;
mod replay;
mod report;
mod snapshot;
pub mod sparse;
mod state;
mod taps;
mod tasks;
mod train;
mod weights;
mod window;

pub use analytic::{AnalyticConfig, HeadKind, Precision, Reading, RegimeKind, Standardize, Tap, Update};
pub use config::{
    ActiveClasses, Backbone, FrozenNorm, LearnerConfig, MAX_CLASSES, MemoryConfig, Method, Prefix, ReplayKind,
};
pub use learner::LightClLearner;
pub use plain::NetworkPart;
pub use weights::NamedWeights;
