//! Learn and predict inside DataFusion: topics and learners as tables, a test-then-train operator, and functions that score.

mod kafka;
mod learn;
mod score;
mod shared;

use datafusion::error::Result;
use datafusion::prelude::SessionContext;

/// The version of DataFusion that this crate extends.
pub use datafusion;
pub use learn::{LearnExt, LearnOptions};
pub use shared::Options;

/// Registers everything on a session: the table kinds, the functions and the schema `lightcl`.
///
/// # Errors
/// When the session's catalog does not take them.
pub fn register(context: &SessionContext, options: Options) -> Result<()> {
    let shared = shared::Shared::new(options);
    kafka::register(context)?;
    learn::register(context, &shared)?;
    score::register(context, &shared);
    Ok(())
}
