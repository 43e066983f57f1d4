//! The `lightcl` operator: a deterministic state machine over labelled samples, with no I/O, no runtime and no clock.
//!
//! [`Operator::push`] composes an encoder, a boundary detector and a learner: validate, score (test), detect, close and
//! open tasks, learn (train), emit. The same operator runs under the program, in Kafka and inside a DataFusion plan.
//! `docs/concepts.md` explains the rules it follows.

mod boundaries;
mod checkpoint;
mod config;
pub mod encode;
mod evaluation;
mod learning;
mod merge;
mod operator;
mod prequential;
mod probes;
mod progress;
mod report;
mod ring;
mod scoring;
mod task;

pub use config::OperatorConfig;
pub use lightcl_boundary::RegimesConfig;
pub use operator::{LearnerFactory, Operator};
pub use prequential::Prequential;
pub use report::Summary;
pub use scoring::predict;
