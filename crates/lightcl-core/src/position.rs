//! Where a row stands in its source.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The place of one row: a partition (a file, a Kafka topic and partition) and its 0-based offset there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Name of the partition.
    pub partition: Arc<str>,
    /// 0-based offset of the row in its partition.
    pub offset: u64,
}

/// For each partition the offset of the **next** row to read.
///
/// ```
/// use lightcl_core::Positions;
///
/// let mut positions = Positions::default();
/// positions.advance("a.arrow", 12);
/// assert_eq!(positions.next("a.arrow"), 12);
/// assert_eq!(positions.next("b.arrow"), 0);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Positions(pub BTreeMap<String, u64>);

impl Positions {
    /// The offset to read next in `partition`; 0 for one never seen.
    pub fn next(&self, partition: &str) -> u64 {
        self.0.get(partition).copied().unwrap_or(0)
    }

    /// Sets the offset to read next.
    pub fn advance(&mut self, partition: &str, next: u64) {
        match self.0.get_mut(partition) {
            Some(offset) => *offset = next,
            None => {
                self.0.insert(partition.to_owned(), next);
            }
        }
    }
}
