//! Learn and predict inside DataFusion: learners as tables, a test-then-train operator, and functions that score.

mod shared;

use datafusion::error::Result;
use datafusion::prelude::SessionContext;

pub use shared::Options;

/// Registers everything on a session: the table kinds, the functions and the schema `lightcl`.
///
/// # Errors
/// When the session's catalog does not take them.
pub fn register(_context: &SessionContext, options: Options) -> Result<()> {
    let _shared = shared::Shared::new(options);
    Ok(())
}
