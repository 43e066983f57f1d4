//! Learn and predict inside DataFusion: topics and learners as tables, a test-then-train operator, and functions that score.

pub mod cluster;
mod kafka;
mod learn;
mod score;
mod shared;

use datafusion::error::Result;
use datafusion::prelude::SessionContext;

/// The version of DataFusion that this crate extends.
pub use datafusion;
pub use learn::{KeyedOptions, LearnByKeyExec, LearnByKeyExt, LearnByKeyNode, LearnExt, LearnOptions};
pub use shared::Options;

/// Registers everything on a session: the table kinds, the functions and the schema `lightcl`.
///
/// # Errors
/// When the session's catalog does not take them.
pub fn register(context: &SessionContext, options: Options) -> Result<()> {
    let shared = shared::Shared::new(options);
    learn::install(context, &shared);
    register_all(context, &shared)
}

/// Registers all that statements name, as [`register`] does, on a session whose statements are planned and run elsewhere: on a
/// cluster. It plans them as it did before.
///
/// # Errors
/// When the session's catalog does not take them.
pub fn register_for_cluster(context: &SessionContext, options: Options) -> Result<()> {
    register_all(context, &shared::Shared::new(options))
}

fn register_all(context: &SessionContext, shared: &std::sync::Arc<shared::Shared>) -> Result<()> {
    kafka::register(context)?;
    learn::register(context, shared)?;
    score::register(context, shared);
    Ok(())
}
