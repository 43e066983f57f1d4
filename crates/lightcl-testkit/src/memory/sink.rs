//! A sink over memory that stays when the sink is dropped.

use lightcl_core::{Commit, Output, Result, Sink};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a [`MemorySink`] writes to: it outlives the sink, as a disk would.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Stored>>);

#[derive(Debug, Default)]
struct Stored {
    outputs: Vec<Output>,
    committed_outputs: usize,
    commit: Option<Commit>,
}

impl MemoryStore {
    /// All outputs that a reader of the store would see now, those not committed yet included.
    pub fn outputs(&self) -> Vec<Output> {
        self.lock().outputs.clone()
    }

    /// The last commit.
    pub fn commit(&self) -> Option<Commit> {
        self.lock().commit.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes to a [`MemoryStore`].
#[derive(Debug, Clone, Default)]
pub struct MemorySink {
    store: MemoryStore,
}

impl MemorySink {
    /// A sink that goes on where an earlier one on the same store left off.
    pub fn open(store: &MemoryStore) -> Self {
        MemorySink { store: store.clone() }
    }
}

impl Sink for MemorySink {
    fn write(&mut self, outputs: &[Output]) -> Result<()> {
        self.store.lock().outputs.extend_from_slice(outputs);
        Ok(())
    }

    fn commit(&mut self, commit: &Commit) -> Result<()> {
        let mut stored = self.store.lock();
        stored.committed_outputs = stored.outputs.len();
        stored.commit = Some(commit.clone());
        Ok(())
    }

    fn recover(&mut self) -> Result<Option<Commit>> {
        let mut stored = self.store.lock();
        let committed = stored.committed_outputs;
        stored.outputs.truncate(committed);
        Ok(stored.commit.clone())
    }
}
