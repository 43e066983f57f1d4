//! Backfill: a learner for each key of a bounded input, whatever number of threads or machines work on it.
//!
//! Rows are brought together by their key and sorted within it, so what a learner learns depends on its own rows and their
//! order alone. Its results appear under their name in one step (see [`results`]): whoever does the same work again finds them.

mod frame;
mod function;
mod intake;
mod learning;
mod node;
mod operator;
mod options;
mod results;

pub use frame::LearnByKeyExt;
pub(super) use function::{FUNCTION, LearnByKeyFunction};
pub use node::LearnByKeyNode;
pub use operator::LearnByKeyExec;
pub use options::KeyedOptions;
