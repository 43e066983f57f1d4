//! The models in force, and the thread that renews them.

use super::{Event, Scoring};
use crate::claims::Claims;
use crate::config::Connection;
use crate::follower::{Followed, Follower, Wanted};
use lightcl_core::{ErrorKind, Result, Snapshot};
use metrics::{counter, histogram};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long the follower waits for news before it looks whether it shall stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Longest wait before brokers that did not answer are asked again.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A model that rows can be scored with.
pub(super) struct Loaded<M> {
    pub model: M,
    pub unit: String,
    pub version: u64,
    /// The task that was being learnt when the snapshot was taken.
    pub task: u32,
    published_ms: i64,
}

/// All models in force; never changed, only replaced.
pub(super) struct Models<M> {
    by_unit: BTreeMap<String, Arc<Loaded<M>>>,
    newest: Option<Arc<Loaded<M>>>,
}

impl<M> Models<M> {
    /// The unit's own model, or else the newest of any unit.
    pub(super) fn of(&self, unit: &str) -> Option<&Arc<Loaded<M>>> {
        self.by_unit.get(unit).or(self.newest.as_ref())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_unit.is_empty()
    }

    fn from_units(by_unit: BTreeMap<String, Arc<Loaded<M>>>) -> Self {
        let newest = by_unit.values().max_by_key(|loaded| loaded.published_ms).map(Arc::clone);
        Models { by_unit, newest }
    }
}

/// Where the models in force stand: taking them and putting others in their place is one exchange of a pointer.
pub(super) struct InForce<M>(Mutex<Arc<Models<M>>>);

impl<M> InForce<M> {
    pub(super) fn new() -> Self {
        InForce(Mutex::new(Arc::new(Models { by_unit: BTreeMap::new(), newest: None })))
    }

    pub(super) fn get(&self) -> Arc<Models<M>> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, models: Models<M>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(models);
    }
}

/// What the thread that renews models is made of.
pub(super) struct Renewal<'a, S: Scoring> {
    pub scoring: &'a S,
    pub connection: &'a Connection,
    pub topic: &'a str,
    pub wanted: Wanted,
    pub claims: Option<Claims>,
    pub in_force: &'a InForce<S::Model>,
    pub stop: &'a AtomicBool,
    pub report: &'a (dyn Fn(Event<'_>) + Sync),
}

impl<S: Scoring> Renewal<'_, S> {
    /// Renews models until it is stopped.
    ///
    /// # Errors
    /// When the topic is not there or must not be read. Everything else passes: the models in force stay good.
    pub(super) fn run(&self) -> Result<()> {
        let mut wait = Duration::from_millis(250);
        while !self.stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            match self.follow() {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() != ErrorKind::External => return Err(error),
                Err(error) => (self.report)(Event::Trouble { what: "the snapshots cannot be read now", error: &error }),
            }
            if began.elapsed() > LONGEST_WAIT {
                wait = Duration::from_millis(250);
            }
            let until = Instant::now() + wait;
            while !self.stop.load(Ordering::Relaxed) && Instant::now() < until {
                thread::sleep(LOOK_EVERY.min(wait));
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        Ok(())
    }

    /// Opens the topic and follows it. Opened again, it gives all models again: those that are the same stay.
    fn follow(&self) -> Result<()> {
        let mut follower = Follower::open_with(self.connection, self.topic, self.wanted.clone(), self.claims.clone())?;
        let mut seen: Option<BTreeSet<String>> = Some(BTreeSet::new());
        while !self.stop.load(Ordering::Relaxed) {
            let news = follower.poll(LOOK_EVERY)?;
            let mut by_unit = self.in_force.get().by_unit.clone();
            let mut changed = false;
            // Of several snapshots of a unit only the last is built.
            let mut latest = BTreeMap::new();
            for followed in news {
                match followed {
                    Followed::Snapshot { unit, published_ms, snapshot } => {
                        latest.insert(unit, (published_ms, snapshot));
                    }
                    Followed::Retired { model_id, unit } => {
                        latest.remove(&unit);
                        changed |= by_unit.remove(&unit).is_some();
                        (self.report)(Event::Retired { model_id: &model_id, unit: &unit });
                    }
                    Followed::Rejected { unit, error, .. } => {
                        (self.report)(Event::Rejected { unit: &unit, error: &error });
                    }
                }
            }
            for (unit, (published_ms, snapshot)) in latest {
                if let Some(seen) = &mut seen {
                    seen.insert(unit.clone());
                }
                changed |= self.load(&mut by_unit, unit, published_ms, &snapshot);
            }
            if follower.caught_up()
                && let Some(seen) = seen.take()
            {
                // What was retired while nobody looked.
                let before = by_unit.len();
                by_unit.retain(|unit, _| seen.contains(unit));
                changed |= by_unit.len() != before;
            }
            if changed {
                self.in_force.put(Models::from_units(by_unit));
            }
        }
        Ok(())
    }

    /// Builds a model; gives whether there is a new one.
    fn load(
        &self,
        by_unit: &mut BTreeMap<String, Arc<Loaded<S::Model>>>,
        unit: String,
        published_ms: Option<i64>,
        snapshot: &Snapshot,
    ) -> bool {
        let (version, published_ms) = (snapshot.manifest.version, published_ms.unwrap_or(0));
        if by_unit.get(&unit).is_some_and(|now| now.version == version && now.published_ms == published_ms) {
            return false;
        }
        match self.scoring.build(snapshot) {
            Ok(model) => {
                let task = snapshot.manifest.task;
                let loaded = Loaded { model, unit: unit.clone(), version, task, published_ms };
                counter!("lightcl_model_swaps_total").increment(1);
                let delay = milliseconds_now().saturating_sub(published_ms).max(0) as f64 / 1000.0;
                histogram!("lightcl_model_swap_seconds").record(delay);
                (self.report)(Event::Loaded { unit: &unit, version, delay });
                by_unit.insert(unit, Arc::new(loaded));
                true
            }
            Err(error) => {
                counter!("lightcl_snapshot_rejected_total").increment(1);
                (self.report)(Event::Rejected { unit: &unit, error: &error });
                false
            }
        }
    }
}

fn milliseconds_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as i64)
}
