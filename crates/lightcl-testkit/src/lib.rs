//! What tests of `lightcl` and of crates that extend it share: seeded streams with known change points, in-memory
//! reference implementations of the traits, and conformance suites that say whether an implementation keeps the
//! promises of its trait.
//!
//! ```
//! use lightcl_testkit::{MemorySource, conformance, streams::{ClassIncremental, Generator}};
//!
//! let stream = ClassIncremental { rows_per_task: 30, ..ClassIncremental::default() }.generate(7);
//! assert_eq!(stream.change_points, [30, 60, 90, 120]);
//! conformance::source(|| Box::new(MemorySource::new("stream", stream.batches(16))));
//! ```
//!
//! | suite | takes |
//! |---|---|
//! | [`conformance::source`] | a function that makes the source, at the start of the same input each time |
//! | [`conformance::detector`] | a function that makes the detector |
//! | [`conformance::learner`] | a function that makes the learner, and a stream of tasks of its shape |
//! | [`conformance::sink`] | a function that makes an empty place with a way to open a sink on it and to read it |
//!
//! Kafka brokers and what goes with them are in [`services`].
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, reason = "a test kit reports by panicking")]

pub mod conformance;
mod memory;
mod observations;
mod random;
pub mod services;
pub mod streams;

pub use memory::{MemorySink, MemorySource, MemoryStore, SoftmaxRegression};
pub use observations::{Observed, observe_stream, observed};
pub use random::{normal, seeded};
