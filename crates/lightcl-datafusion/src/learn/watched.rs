//! The sink of a learner, watched: what is written is shown live, and the state is accounted for.

use super::errors::from_engine;
use super::live::Live;
use super::meters::Meters;
use datafusion::execution::memory_pool::MemoryReservation;
use lightcl_core::{Commit, Output, Result, Sink, state};
use lightcl_pipeline::sink::{SNAPSHOT_FOLDER, snapshot_versions};
use std::sync::Arc;

/// Writes to an output folder, or to nowhere.
pub(super) struct WatchedSink {
    inner: Option<Box<dyn Sink>>,
    live: Arc<Live>,
    meters: Meters,
    /// What the learner's state takes.
    memory: MemoryReservation,
}

impl WatchedSink {
    pub fn new(inner: Option<Box<dyn Sink>>, live: Arc<Live>, meters: Meters, memory: MemoryReservation) -> Self {
        WatchedSink { inner, live, meters, memory }
    }

    /// Accounts for the bytes that the learner holds.
    ///
    /// # Errors
    /// When the memory pool has no room for them.
    pub fn hold(&self, bytes: usize) -> Result<()> {
        self.meters.state_bytes.set(bytes);
        self.memory.try_resize(bytes).map_err(|error| from_engine("the learner needs more memory than there is", error))
    }
}

impl Sink for WatchedSink {
    fn write(&mut self, outputs: &[Output]) -> Result<()> {
        self.meters.count(outputs);
        self.live.lock().take(outputs);
        match &mut self.inner {
            Some(sink) => sink.write(outputs),
            None => Ok(()),
        }
    }

    fn commit(&mut self, commit: &Commit) -> Result<()> {
        self.hold(self.memory.size().max(commit.state.len()))?;
        // Whoever reads what is not committed must not see it twice, or not at all.
        let mut seen = self.live.lock();
        match &mut self.inner {
            Some(sink) => {
                sink.commit(commit)?;
                seen.committed(commit);
            }
            None => {
                seen.epoch = commit.epoch;
                seen.state_sha256 = Some(state::sha256_hex(&commit.state));
            }
        }
        self.meters.commits.add(1);
        Ok(())
    }

    fn recover(&mut self) -> Result<Option<Commit>> {
        let Some(sink) = &mut self.inner else { return Ok(None) };
        let commit = sink.recover()?;
        if let Some(commit) = &commit {
            self.hold(commit.state.len())?;
            let published = match &self.live.folder {
                Some(folder) => snapshot_versions(&folder.join(SNAPSHOT_FOLDER))?.last().copied(),
                None => None,
            };
            let mut seen = self.live.lock();
            (seen.epoch, seen.version) = (commit.epoch, published.unwrap_or(0));
        }
        Ok(commit)
    }
}
