//! What a unit goes on from: its record, its state, and whether the group says the same.

use super::{KafkaStore, STATE};
use crate::claims::{Claims, fetch};
use crate::compacted::{Compacted, Keep};
use crate::config::Delivery;
use crate::parts::Slots;
use crate::snapshot_topic::snapshot_prefix;
use crate::store::Recovered;
use crate::unit_record::{CheckpointRecord, UnitRecord};
use crate::worker::set_restored;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lightcl_core::{Error, Result};

impl KafkaStore {
    /// See [`crate::store::Store::recover`].
    pub(super) fn read_back(&mut self, cancelled: &dyn Fn() -> bool) -> Result<Recovered> {
        self.parked.clear();
        self.unsettled.clear();
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.snapshot_slots.clear();
        self.record = UnitRecord::new(&self.unit, &self.config.config_sha256, self.config.run);
        // First of all: what another process left open under this id is ended now, and its producer is shut out.
        self.deliverer.open()?;
        let found = self.read_state(cancelled)?;
        let (low, end) = (found.low, found.end);
        let mut recovered = self.take_in(found)?;
        let committed = self.group.committed(&self.partitions)?;
        if self.config.fresh && !recovered.found {
            return Ok(recovered);
        }
        if !recovered.found {
            let told = self.partitions.iter().zip(&committed).find_map(|(source, offset)| Some((source, (*offset)?)));
            if let Some((source, offset)) = told {
                return Err(state_lost(
                    "the group has committed offsets, but the state topic holds no state of this unit",
                    &self.config.sink.topics.state,
                )
                .with("partition", source)
                .with("committed offset", offset)
                .with("unit", &self.unit));
            }
            if low > 0 && end == low {
                return Err(state_lost(
                    "the state topic is empty, but had records once: they were deleted",
                    &self.config.sink.topics.state,
                )
                .with("first offset", low)
                .with("unit", &self.unit));
            }
        }
        for (source, offset) in self.partitions.clone().iter().zip(committed) {
            let known = recovered.committed.0.get(&*source.name()).copied();
            match (known, offset) {
                (Some(known), Some(offset)) if known as i64 != offset => {
                    // Without transactions the offsets may be behind: outputs and state were out before them.
                    if self.config.sink.delivery == Delivery::AtLeastOnce && offset < known as i64 {
                        continue;
                    }
                    return Err(Error::user(
                        "the group's committed offset is not the one that the state was committed with: somebody moved \
                         it, or another job has the same state topic and model. Set it back, give each job its own, or \
                         start a new learner with --fresh",
                    )
                    .with("partition", source)
                    .with("committed offset", offset)
                    .with("offset of the state", known));
                }
                (Some(known), None) => {
                    log::warn!(
                        "{source}: the group has forgotten its offset; going on at {known}, where the state stands"
                    );
                }
                (None, Some(offset)) if recovered.found => {
                    // A partition that was committed by somebody else: a unit of several partitions that grew.
                    recovered.committed.advance(&source.name(), offset as u64);
                }
                _ => {}
            }
        }
        if self.parked.is_empty() {
            // Clients hold memory and threads; only keys that come back are read later.
            self.reader = None;
        }
        if recovered.found {
            self.sweep();
        }
        Ok(recovered)
    }

    /// Reads what the state topic holds of this unit.
    fn read_state(&mut self, cancelled: &dyn Fn() -> bool) -> Result<Compacted> {
        let Some(topic) = self.config.sink.topics.state.clone() else { return Ok(Compacted::default()) };
        let (partition, prefix) = (self.state_partition, format!("{}/", self.prefix()));
        let keep = |key: &str| match key.strip_prefix(&prefix) {
            // Of keys only places are held: their states would not fit into memory together.
            Some(rest) if rest.matches('/').count() >= 3 => Keep::Place,
            Some(_) => Keep::Value,
            None => Keep::Nothing,
        };
        // Reading is one half of a restore, taking rows again the other.
        let unit = self.unit.clone();
        self.reader()?.read(&topic, partition, cancelled, &|share| set_restored(&unit, share / 2.0), &keep)
    }

    /// Takes in the unit's record, the places of the keys' states, and the unit's state.
    fn take_in(&mut self, found: Compacted) -> Result<Recovered> {
        let Some(record) = found.keys.get(&self.unit_key()).and_then(|latest| latest.value.as_ref()) else {
            return Ok(Recovered::default());
        };
        let record = UnitRecord::from_bytes(record)?;
        if self.config.fresh && record.run != self.config.run {
            // What is in force stays whole until something newer is.
            self.record.state_slots = record.state_slots;
            self.record.snapshot_slots = record.snapshot_slots;
            return Ok(Recovered::default());
        }
        if record.config_sha256 != self.config.config_sha256 {
            return Err(Error::user(
                "the state was written by another configuration; go back to it, give the model another name or the job \
                 another group, or start a new learner with --fresh",
            )
            .with("unit", &self.unit)
            .with("config_sha256 of the state", &record.config_sha256)
            .with("of this job", &self.config.config_sha256));
        }
        let mut recovered = Recovered {
            found: true,
            committed: record.committed.clone(),
            steps: record.steps.clone(),
            ..Recovered::default()
        };
        if let Some(CheckpointRecord { positions, state, columns }) = &record.checkpoint {
            recovered.positions = positions.clone();
            let columns = BASE64.decode(columns).map_err(|error| {
                Error::user("the unit's record cannot be read; start a new learner with --fresh").caused_by(error)
            })?;
            recovered.columns = Some(columns);
            if let Some(entry) = state {
                let mut chunk = |key: &str| found.keys.get(key).and_then(|latest| latest.value.clone());
                recovered.state = Some(fetch(self.state_claims.as_ref(), &self.prefix(), STATE, entry, &mut chunk)?);
            }
        }
        for (key, latest) in &found.keys {
            if let Some(value) = latest.value.as_ref().filter(|_| key.ends_with("/parked")) {
                self.take_in_key(value, &found, record.begun)?;
            }
        }
        self.record = UnitRecord { run: self.config.run, ..record };
        Ok(recovered)
    }

    /// Removes objects that were written for commits that never came to be.
    fn sweep(&self) {
        let swept = |claims: &Option<Claims>, prefix: &str, slots: Vec<&Slots>| {
            let Some(claims) = claims else { return };
            match claims.sweep(prefix, slots.into_iter().flat_map(Slots::objects)) {
                Ok(0) => {}
                Ok(count) => log::info!("{}: {count} objects of commits that never came to be are removed", self.unit),
                Err(error) => log::warn!("{}: objects that nobody names stay: {error}", self.unit),
            }
        };
        let parked = self.parked.values().map(|parked| &parked.record.slots);
        swept(&self.state_claims, &self.prefix(), parked.chain([&self.record.state_slots]).collect());
        let snapshots = snapshot_prefix(&self.config.model_id, &self.unit);
        // Before this run's first snapshot, the one of a run before is in force.
        if self.record.snapshot_slots.has(&snapshots) {
            swept(&self.snapshot_claims, &snapshots, vec![&self.record.snapshot_slots]);
        }
    }
}

fn state_lost(what: &str, topic: &Option<String>) -> Error {
    Error::user(format!(
        "{what}. Put the state back, use another group, or start a new learner with --fresh; a state topic needs \
         cleanup.policy=compact"
    ))
    .with("state topic", topic.as_deref().unwrap_or("none"))
}
