//! Reference implementations of the traits that live in memory: small enough to be read, and what the conformance
//! suites themselves are tested with.

mod sink;
mod softmax_regression;
mod source;

pub use sink::{MemorySink, MemoryStore};
pub use softmax_regression::SoftmaxRegression;
pub use source::MemorySource;
