//! The roll-back ring: the last learnt windows and the learner from before each.

use crate::task::Task;
use lightcl_core::{Error, Learner, Result, Samples};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Everything needed to undo one learnt window.
pub(crate) struct Undo {
    /// All rows of the window, held-out probes included.
    pub rows: Samples,
    /// The learner before the window was learnt.
    pub learner: Box<dyn Learner>,
    /// The rest of what learning changed, before the window.
    pub before: Before,
    /// Bytes counted for this entry.
    bytes: u64,
}

/// What learning a window changes beside the learner.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Before {
    pub task: Task,
    pub recent: Samples,
    pub probe_rows_seen: u64,
    pub trained_samples: u64,
    pub steps: u64,
}

/// The last windows of the current task, newest last; bounded by number and by bytes. Memory is by design the one
/// place where raw rows outlive their window: it is emptied at each boundary.
pub(crate) struct Ring {
    entries: VecDeque<Undo>,
    most: usize,
    most_bytes: u64,
    /// Size of the learner's plastic part, measured once and valid while the number of classes stays the same.
    plastic_bytes: Option<(usize, u64)>,
}

#[derive(Serialize, Deserialize)]
struct SavedUndo {
    rows: Samples,
    learner: Vec<u8>,
    before: Before,
    bytes: u64,
}

impl Ring {
    pub fn new(most: usize, most_bytes: u64) -> Self {
        Ring { entries: VecDeque::new(), most, most_bytes, plastic_bytes: None }
    }

    pub fn is_enabled(&self) -> bool {
        self.most > 0
    }

    /// Remembers how to undo the window that is about to be learnt. `classes` is the size of the learner's head. Gives the
    /// rows of windows that can no longer be undone, oldest first.
    pub fn push(
        &mut self,
        rows: Samples,
        learner: &dyn Learner,
        classes: usize,
        before: Before,
    ) -> Result<Vec<Samples>> {
        let plastic = match self.plastic_bytes {
            Some((measured_at, bytes)) if measured_at == classes => bytes,
            _ => {
                let bytes = learner.save_plastic()?.len() as u64;
                self.plastic_bytes = Some((classes, bytes));
                bytes
            }
        };
        let bytes = plastic + rows.bytes() + before.recent.bytes();
        self.entries.push_back(Undo { rows, learner: learner.fork(), before, bytes });
        let mut settled = Vec::new();
        while (self.entries.len() > self.most || self.bytes() > self.most_bytes)
            && let Some(oldest) = self.entries.pop_front()
        {
            settled.push(oldest.rows);
        }
        Ok(settled)
    }

    /// Index of the oldest row that can still be undone.
    pub fn first_index(&self) -> Option<u64> {
        self.entries.front().and_then(|entry| entry.rows.meta.first()).map(|meta| meta.index)
    }

    /// Takes the newest window out.
    pub fn pop(&mut self) -> Option<Undo> {
        self.entries.pop_back()
    }

    /// Forgets all windows, at a boundary, and gives their rows, oldest first.
    pub fn clear(&mut self) -> Vec<Samples> {
        self.plastic_bytes = None;
        self.entries.drain(..).map(|entry| entry.rows).collect()
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }

    pub fn save(&self) -> Result<Vec<u8>> {
        let saved = self
            .entries
            .iter()
            .map(|entry| {
                Ok(SavedUndo {
                    rows: entry.rows.clone(),
                    learner: entry.learner.save_plastic()?,
                    before: entry.before.clone(),
                    bytes: entry.bytes,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        lightcl_core::state::encode("ring", 2, &(saved, self.plastic_bytes))
    }

    /// Puts a saved ring back; `learner` is the restored learner, whose frozen part all entries share.
    pub fn restore(&mut self, bytes: &[u8], learner: Option<&dyn Learner>) -> Result<()> {
        let (saved, plastic_bytes): (Vec<SavedUndo>, _) = lightcl_core::state::decode("ring", 2, bytes)?;
        let mut entries = VecDeque::with_capacity(saved.len());
        for SavedUndo { rows, learner: plastic, before, bytes } in saved {
            let learner = learner.ok_or_else(|| Error::internal("a saved roll-back ring without a learner"))?;
            let mut learner = learner.fork();
            learner.restore_plastic(&plastic)?;
            entries.push_back(Undo { rows, learner, before, bytes });
        }
        self.entries = entries;
        self.plastic_bytes = plastic_bytes;
        Ok(())
    }
}
