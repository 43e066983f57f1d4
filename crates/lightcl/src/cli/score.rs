//! `lightcl score`.

use super::ScoreArgs;
use lightcl_core::{Error, Result};

/// Predicts the labels of rows with a snapshot.
///
/// # Errors
/// When snapshot or input cannot be read, or predictions cannot be written.
pub fn run(args: &ScoreArgs) -> Result<()> {
    Err(Error::internal("scoring is not wired up").with("snapshot", args.snapshot.display()))
}
