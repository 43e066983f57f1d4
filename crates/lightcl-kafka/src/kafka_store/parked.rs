//! The states of keys: parked behind the outputs that came with them, found again by their offsets.

use super::{KafkaStore, STATE, again};
use crate::claims::{Placing, fetch};
use crate::compacted::Compacted;
use crate::learners::{Left, Parking};
use crate::parts::{Keyed, PartEntry, Slots, chunk_key, prefix};
use lightcl_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Where the state of a key stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parked {
    pub record: ParkedRecord,
    /// Offsets of its chunks.
    pub offsets: Vec<i64>,
}

/// What the state topic says of the state of a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ParkedRecord {
    format: u32,
    key: String,
    entry: PartEntry,
    pub slots: Slots,
    pub snapshot_slots: Slots,
    left: Left,
    /// The process in which the learners of the unit began. One that is started with --fresh leaves those parked before alone,
    /// and so must every one after it.
    begun: u64,
}

impl Parking for KafkaStore {
    fn load(&mut self, key: &str) -> Result<Option<(Vec<u8>, Left)>> {
        self.write_parked(Some(key))?;
        let Some(Parked { record, offsets }) = self.parked.get(key).cloned() else { return Ok(None) };
        self.snapshot_slots.insert(key.to_owned(), record.snapshot_slots.clone());
        if let Some(state) = self.unsettled.get(key) {
            return Ok(Some((state.clone(), record.left)));
        }
        let Some(topic) = self.config.sink.topics.state.clone() else { return Ok(None) };
        let (partition, started) = (self.state_partition, Instant::now());
        let values = if offsets.is_empty() { Vec::new() } else { self.reader()?.fetch(&topic, partition, &offsets)? };
        let again = again(&self.control, &self.unit);
        let state = loop {
            let mut values = values.iter().cloned();
            let mut chunk = |_: &str| values.next();
            let prefix = self.key_prefix(key);
            match fetch(self.state_claims.as_ref(), &prefix, STATE, &record.entry, &mut chunk) {
                Err(error) if error.is_retryable() && again(&error) => {}
                result => break result?,
            }
        };
        log::trace!("{}: loaded the learner of {key} in {:?}", self.unit, started.elapsed());
        Ok(Some((state, record.left)))
    }

    fn with_left(&self, wanted: &dyn Fn(Left) -> bool) -> Vec<String> {
        let written = self.parked.iter().filter(|(key, _)| !self.waiting.contains_key(*key));
        let written = written.map(|(key, parked)| (key, parked.record.left));
        let all = self.waiting.iter().map(|(key, (_, left))| (key, *left)).chain(written);
        let mut keys: Vec<String> = all.filter(|(_, left)| wanted(*left)).map(|(key, _)| key.clone()).collect();
        keys.sort_unstable();
        keys
    }

    fn park(&mut self, key: &str, state: Vec<u8>, left: Left) -> Result<()> {
        // What it gave before it was parked may come behind, and with it slots that belong to this state.
        self.waiting_bytes += state.len();
        if let Some((before, _)) = self.waiting.insert(key.to_owned(), (state, left)) {
            self.waiting_bytes -= before.len();
        }
        Ok(())
    }
}

impl KafkaStore {
    /// Hands over what was parked and waits for the outputs that came with it: that of one key, or of all.
    pub(super) fn write_parked(&mut self, key: Option<&str>) -> Result<()> {
        let keys = match key {
            Some(key) => vec![key.to_owned()],
            None => self.waiting.keys().cloned().collect(),
        };
        for key in keys {
            if let Some((state, left)) = self.waiting.remove(&key) {
                self.waiting_bytes -= state.len();
                self.write_state(&key, state, left)?;
            }
        }
        Ok(())
    }

    fn write_state(&mut self, key: &str, state: Vec<u8>, left: Left) -> Result<()> {
        let prefix = self.key_prefix(key);
        let mut slots = self.parked.get(key).map(|parked| parked.record.slots.clone()).unwrap_or_default();
        let again = again(&self.control, &self.unit);
        let mut placing = Placing {
            chunk_bytes: self.config.sink.chunk_bytes,
            claims: self.state_claims.as_ref(),
            dropped: std::mem::take(&mut self.dropped),
            again: Some(&again),
            ..Placing::default()
        };
        let placed = placing.put(&mut slots, &prefix, STATE, &state);
        self.dropped = placing.dropped;
        let (chunks, entry) = placed?;
        let snapshot_slots = self.snapshot_slots.get(key).cloned().unwrap_or_default();
        let begun = self.record.begun;
        let record = ParkedRecord { format: 1, key: key.to_owned(), entry, slots, snapshot_slots, left, begun };
        let mut offsets = self.parked.get(key).map(|parked| parked.offsets.clone()).unwrap_or_default();
        if !chunks.is_empty() || record.entry.uri.is_some() {
            offsets = vec![-1; record.entry.chunks as usize];
        }
        for (number, chunk) in chunks.into_iter().enumerate() {
            let token = if chunk.value.is_some() {
                self.tokens.push((key.to_owned(), number));
                self.tokens.len()
            } else {
                0
            };
            if let Some(record) = self.state_record(chunk, token) {
                self.outbox.push(record);
            }
        }
        let value = serde_json::to_vec(&record)
            .map_err(|error| Error::internal("the record of a parked learner has no JSON form").caused_by(error))?;
        if let Some(record) = self.state_record(Keyed { key: format!("{prefix}/parked"), value: Some(value) }, 0) {
            self.outbox.push(record);
        }
        self.parked.insert(key.to_owned(), Parked { record, offsets });
        self.unsettled.insert(key.to_owned(), state);
        Ok(())
    }

    fn key_prefix(&self, key: &str) -> String {
        prefix(&[&self.config.model_id, &self.unit, key])
    }

    /// Takes in what the state topic says of a key.
    pub(super) fn take_in_key(&mut self, value: &[u8], found: &Compacted, begun: u64) -> Result<()> {
        let record: ParkedRecord = serde_json::from_slice(value).map_err(|error| {
            Error::user("the record of a parked learner cannot be read; start new learners with --fresh")
                .caused_by(error)
        })?;
        if record.begun != begun {
            return Ok(());
        }
        let prefix = self.key_prefix(&record.key);
        let offsets = (0..record.entry.chunks)
            .map(|number| {
                let key = chunk_key(&prefix, STATE, record.entry.slot, number);
                found.keys.get(&key).map(|latest| latest.offset).ok_or_else(|| {
                    Error::external("a part of a parked learner is gone from the state topic").with("key", key)
                })
            })
            .collect::<Result<Vec<_>>>()?;
        self.parked.insert(record.key.clone(), Parked { record, offsets });
        Ok(())
    }

    /// Takes note of where chunks of parked states stand. Where that was not told, the state stays here.
    pub(super) fn settle(&mut self, placed: Vec<(usize, i32, i64)>) {
        for (token, _, offset) in placed {
            if let Some((key, number)) = token.checked_sub(1).and_then(|index| self.tokens.get(index))
                && let Some(parked) = self.parked.get_mut(key)
                && let Some(place) = parked.offsets.get_mut(*number)
            {
                *place = offset;
            }
        }
        self.tokens.clear();
        let parked = &self.parked;
        self.unsettled
            .retain(|key, _| parked.get(key).is_some_and(|parked| parked.offsets.iter().any(|offset| *offset < 0)));
    }
}
