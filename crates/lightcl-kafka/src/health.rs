//! Whether a job lives and is ready, for whoever asks over HTTP.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What the threads of a run say of themselves. Cheap to call from all of them.
///
/// ```
/// use lightcl_kafka::health::Health;
/// use std::time::Duration;
///
/// let health = Health::new();
/// assert!(health.is_live(Duration::from_secs(60)) && !health.is_ready());
/// health.set_ready(true);
/// health.stop_unit("samples-3", "its records before offset 17 are gone");
/// assert_eq!(health.stopped().len(), 1);
/// ```
#[derive(Debug)]
pub struct Health {
    started: Instant,
    /// Milliseconds after the start at which there was progress last.
    progressed_ms: AtomicU64,
    ready: AtomicBool,
    stopped: Mutex<BTreeMap<String, String>>,
}

impl Health {
    /// One that begins to live now, and is not ready.
    #[must_use]
    pub fn new() -> Self {
        Health {
            started: Instant::now(),
            progressed_ms: AtomicU64::new(0),
            ready: AtomicBool::new(false),
            stopped: Mutex::new(BTreeMap::new()),
        }
    }

    /// Says that there is progress: rows were learnt, or there are none to learn.
    pub fn progress(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.progressed_ms.fetch_max(now, Ordering::Relaxed);
    }

    /// How long there has been no progress.
    pub fn silence(&self) -> Duration {
        let last = Duration::from_millis(self.progressed_ms.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(last)
    }

    /// Whether there was progress within the last so long.
    pub fn is_live(&self, max_silence: Duration) -> bool {
        self.silence() <= max_silence
    }

    /// Says whether state is restored and partitions are assigned.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Whether state is restored and partitions are assigned.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Says that a unit (a partition, a key) has stopped while the others go on, and why.
    pub fn stop_unit(&self, unit: &str, reason: &str) {
        self.units().insert(unit.to_owned(), reason.to_owned());
    }

    /// Says that a unit goes on, or is no longer ours.
    pub fn clear_unit(&self, unit: &str) {
        self.units().remove(unit);
    }

    /// The units that have stopped, and why.
    pub fn stopped(&self) -> Vec<(String, String)> {
        self.units().iter().map(|(unit, reason)| (unit.clone(), reason.clone())).collect()
    }

    /// A thread that died while it wrote a reason left whole entries.
    fn units(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Health {
    fn default() -> Self {
        Health::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::sleep;

    #[test]
    fn silence_ends_with_progress() {
        let health = Health::new();
        sleep(Duration::from_millis(30));
        assert!(!health.is_live(Duration::from_millis(10)));
        health.progress();
        assert!(health.is_live(Duration::from_secs(60)) && health.silence() < Duration::from_millis(30));
    }

    #[test]
    fn units_stop_and_go_on() {
        let health = Health::default();
        health.stop_unit("a-1", "gone");
        health.stop_unit("a-1", "still gone");
        assert_eq!(health.stopped(), [("a-1".to_owned(), "still gone".to_owned())]);
        health.clear_unit("a-1");
        assert!(health.stopped().is_empty());
    }
}
