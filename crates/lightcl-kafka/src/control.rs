//! What a unit's worker is asked to do, and how far it has come.

use lightcl_core::Positions;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Go on.
    Run,
    /// Finish the rows in hand, commit with the state, and end.
    Drain,
    /// End at once, without a commit: the partitions may belong to somebody else.
    Abandon,
}

/// Up to where a partition is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The first offset that is not.
    pub next: u64,
    /// Milliseconds since 1970 at which the last record before it was made, where this process read it.
    pub timestamp_ms: Option<i64>,
}

/// The wish in force, which only ever gets more urgent; and the worker's answer to it.
#[derive(Debug, Default)]
pub struct Control {
    wish: AtomicU8,
    has_caught_up: AtomicBool,
    committed: Mutex<BTreeMap<String, Standing>>,
}

impl Control {
    /// What is wished.
    pub fn wish(&self) -> Wish {
        match self.wish.load(Ordering::Acquire) {
            0 => Wish::Run,
            1 => Wish::Drain,
            _ => Wish::Abandon,
        }
    }

    /// Wishes something; a more urgent wish stays.
    pub fn set(&self, wish: Wish) {
        self.wish.fetch_max(wish as u8, Ordering::AcqRel);
    }

    /// Says that the state has been brought forward to what is committed.
    pub fn catch_up(&self) {
        self.has_caught_up.store(true, Ordering::Release);
    }

    /// Whether the state has been brought forward to what is committed.
    pub fn has_caught_up(&self) -> bool {
        self.has_caught_up.load(Ordering::Acquire)
    }

    /// Whether anything but going on is wished.
    pub fn is_ending(&self) -> bool {
        self.wish() != Wish::Run
    }

    /// Says what is committed; `made` tells when the last records were made.
    pub fn set_committed(&self, positions: &Positions, made: &BTreeMap<Arc<str>, i64>) {
        let standing = |(partition, next): (&String, &u64)| {
            let timestamp_ms = made.get(partition.as_str()).copied();
            (partition.clone(), Standing { next: *next, timestamp_ms })
        };
        *self.committed.lock().unwrap_or_else(PoisonError::into_inner) = positions.0.iter().map(standing).collect();
    }

    /// Up to where a partition is committed; none before its state is there.
    pub fn committed(&self, partition: &str) -> Option<Standing> {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner).get(partition).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_only_gets_more_urgent() {
        let control = Control::default();
        control.set(Wish::Abandon);
        control.set(Wish::Drain);
        assert_eq!(control.wish(), Wish::Abandon);
    }

    #[test]
    fn what_is_committed_is_told_with_the_time_of_its_last_record() {
        let control = Control::default();
        assert_eq!(control.committed("t-0"), None);
        let positions = Positions([("t-0".to_owned(), 7), ("t-1".to_owned(), 9)].into());
        control.set_committed(&positions, &BTreeMap::from([("t-0".into(), 1000)]));
        assert_eq!(control.committed("t-0"), Some(Standing { next: 7, timestamp_ms: Some(1000) }));
        assert_eq!(control.committed("t-1"), Some(Standing { next: 9, timestamp_ms: None }));
    }
}
