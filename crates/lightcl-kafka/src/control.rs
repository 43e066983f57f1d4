//! What a unit's worker is asked to do.

use std::sync::atomic::{AtomicU8, Ordering};

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
pub struct Control(AtomicU8);

impl Control {
    /// What is wished.
    pub fn wish(&self) -> Wish {
        match self.0.load(Ordering::Acquire) {
            0 => Wish::Run,
            1 => Wish::Drain,
            _ => Wish::Abandon,
        }
    }

    /// Wishes something; a more urgent wish stays.
    pub fn set(&self, wish: Wish) {
        self.0.fetch_max(wish as u8, Ordering::AcqRel);
    }

    /// Whether anything but going on is wished.
    pub fn is_ending(&self) -> bool {
        self.wish() != Wish::Run
    }
}
