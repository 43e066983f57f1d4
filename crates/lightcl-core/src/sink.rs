//! Where outputs go, together with the state.

use crate::{Output, Positions, Result};

/// One atomic unit: all outputs written so far, the positions they stand at, and the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Number of the commit in the run, from 1, without gaps.
    pub epoch: u64,
    /// What has been read from the source.
    pub positions: Positions,
    /// The operator's state at these positions.
    pub state: Vec<u8>,
}

/// Takes outputs in order and makes them durable together with positions and state.
///
/// After a crash, [`Sink::recover`] gives the last commit and undoes every output written after it, so that replaying
/// from its positions writes each output once.
pub trait Sink: Send {
    /// Takes outputs; they become durable with the next commit.
    ///
    /// # Errors
    /// When they cannot be written; what was committed stays intact.
    fn write(&mut self, outputs: &[Output]) -> Result<()>;

    /// Makes everything written so far, the positions and the state durable as one unit.
    ///
    /// # Errors
    /// When that fails; the commit before then still stands.
    fn commit(&mut self, commit: &Commit) -> Result<()>;

    /// The last commit, if any, after undoing what was written since.
    ///
    /// # Errors
    /// When there was a commit but none can be read.
    fn recover(&mut self) -> Result<Option<Commit>>;
}
