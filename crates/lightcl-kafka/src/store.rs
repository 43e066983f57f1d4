//! Where a unit's outputs, state and positions are kept.

use crate::learners::Parking;
use crate::producer::Failure;
use crate::records::RecordBlock;
use crate::unit_record::Step;
use lightcl_core::{Output, Positions, Result};

/// What a unit goes on from.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Whether the unit ever committed; if not, the rest is empty.
    pub found: bool,
    /// The operator's state; none where every key has its own, or none was saved.
    pub state: Option<Vec<u8>>,
    /// What was known of the columns.
    pub columns: Option<Vec<u8>>,
    /// Where that state stands.
    pub positions: Positions,
    /// Up to where outputs are out. Rows between the two are taken again, silently.
    pub committed: Positions,
    /// How they were taken.
    pub steps: Vec<Step>,
}

/// A state to be saved.
#[derive(Debug)]
pub struct Saved {
    /// The operator's; none where every key has its own, which are parked by then.
    pub state: Option<Vec<u8>>,
    /// What is known of the columns.
    pub columns: Vec<u8>,
}

/// Keeps what a unit has done, as one thing.
pub trait Store: Parking + Send {
    /// What was committed last; undoes what was not.
    ///
    /// # Errors
    /// When that cannot be read (retryable or not).
    fn recover(&mut self, cancelled: &dyn Fn() -> bool) -> Result<Recovered>;

    /// Takes an output of a learner; it is out with the next commit. One that is `out` already, since it comes from a replay,
    /// only brings up to date what the store knows.
    ///
    /// # Errors
    /// When it has no form in which it can be written.
    fn add(&mut self, learner: &str, output: Output, block: &RecordBlock, out: bool) -> Result<()>;

    /// Takes note of rows taken, and of a window closed early after them.
    fn took(&mut self, partition: &str, next: u64, cut: bool);

    /// Whether a commit should not wait longer, or should save the state.
    fn pressure(&self) -> Pressure;

    /// Makes outputs, positions and, when given, the state durable as one thing. After an error nothing of it is, unless
    /// the failure says that this is not known; the same call can then be made again.
    ///
    /// # Errors
    /// See [`Failure`].
    fn commit(&mut self, positions: &Positions, saved: Option<Saved>) -> Result<Committed, Failure>;
}

/// What waits for a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Little.
    None,
    /// So many outputs that a commit should come now.
    Commit,
    /// So many steps that the state should be saved now.
    Checkpoint,
}

/// What a commit wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Committed {
    /// Bytes of outputs.
    pub output_bytes: usize,
    /// Bytes of state.
    pub state_bytes: usize,
}
