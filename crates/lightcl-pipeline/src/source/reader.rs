//! What the readers of all formats share.

use arrow_array::RecordBatch;
use lightcl_core::{Error, Result, RowFault};
use std::fmt::Display;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Rows as a reader gives them.
pub(super) struct ReadRows {
    pub batch: RecordBatch,
    pub faults: Vec<RowFault>,
}

impl ReadRows {
    pub fn whole(batch: RecordBatch) -> Self {
        ReadRows { batch, faults: Vec::new() }
    }
}

/// Reads one file from its first row to its last.
pub(super) trait RowReader: Send {
    /// The next rows, at least one and at most `batch_rows`; none at the end, then and ever after.
    fn next(&mut self) -> Result<Option<ReadRows>>;

    /// Goes past the next `rows` rows, or to the end. Gives how many there were.
    fn skip(&mut self, rows: u64) -> Result<u64>;
}

/// Runs a step of a library that reads untrusted bytes. What it says is wrong with them, even by a panic, becomes an
/// error that names the file.
pub(super) fn guarded<T, E: Display>(name: &str, step: impl FnOnce() -> Result<T, E>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(step)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(damaged(name, &error.to_string())),
        Err(_) => Err(damaged(name, "its bytes contradict each other")),
    }
}

/// The error for a file that is damaged.
pub(super) fn damaged(name: &str, why: &str) -> Error {
    Error::external(format!("'{name}' is truncated or damaged: {why}")).with("file", name)
}

/// The error for a file that is not what it should be.
pub(super) fn wrong_format(name: &str, expected: &str, found: &str) -> Error {
    Error::user(format!("'{name}' is not {expected}; it seems to be {found}")).with("file", name)
}

/// The error for a read that failed.
pub(super) fn unreadable(name: &str, error: io::Error) -> Error {
    Error::external(format!("cannot read '{name}'")).with("file", name).caused_by(error)
}
