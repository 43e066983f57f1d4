//! What a unit's worker is asked to do.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

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

/// The wish in force; it only ever gets more urgent.
#[derive(Debug, Default)]
pub struct Control {
    wish: AtomicU8,
    has_caught_up: AtomicBool,
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
}
