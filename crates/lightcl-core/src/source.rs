//! Where samples come from.

use crate::{PositionedBatch, Positions, Result};
use arrow_schema::SchemaRef;

/// A positioned stream of Arrow batches.
///
/// Reading from the same positions gives the same rows in the same order; how they are cut into batches does not
/// matter to the operator. Memory is bounded by the batch, not by the input.
pub trait Source: Send {
    /// Columns of every batch.
    fn schema(&self) -> SchemaRef;

    /// Goes to the given positions: the next batch starts there.
    ///
    /// # Errors
    /// When a position does not exist (a file that is gone or shorter) or the source cannot seek.
    fn seek(&mut self, positions: &Positions) -> Result<()>;

    /// The next rows in order, or none at the end of the input.
    ///
    /// # Errors
    /// When the input as a whole cannot be read further (a truncated file, a failing disk). Single bad rows are
    /// [`crate::RowFault`]s instead.
    fn next(&mut self) -> Result<Option<PositionedBatch>>;

    /// Says that everything before `positions` is safe downstream and need not be delivered again.
    ///
    /// # Errors
    /// When the source cannot take note of it.
    fn ack(&mut self, positions: &Positions) -> Result<()> {
        let _ = positions;
        Ok(())
    }

    /// Rows in the whole input, where that is known without reading it.
    fn total_rows(&self) -> Option<u64> {
        None
    }
}
