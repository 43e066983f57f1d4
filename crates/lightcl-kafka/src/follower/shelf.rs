//! What a follower holds: for each model the last value of each key that may still be needed.

use super::{Followed, Wanted};
use crate::claims::Claims;
use crate::snapshot_topic::{SnapshotKey, assemble_claimed};
use lightcl_core::{Blob, Error};
use metrics::counter;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// One record of the topic.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: Option<i64>,
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

/// Models by prefix.
#[derive(Debug)]
pub(super) struct Shelf {
    wanted: Wanted,
    /// Where weights stand that are not in the topic.
    claims: Option<Claims>,
    models: BTreeMap<String, Model>,
    /// Prefixes with something new since they were last looked at.
    touched: BTreeSet<String>,
    /// What is to be said of models that were seen: they are gone, or were of no use before others took their place.
    past: Vec<Followed>,
}

#[derive(Debug, Default)]
struct Model {
    model_id: String,
    unit: String,
    chunks: HashMap<String, Chunk>,
    manifest: Option<Pending>,
    /// Weights of the snapshot that was given out last: weights that do not change come once.
    given: Option<Vec<(String, Blob)>>,
}

#[derive(Debug)]
struct Chunk {
    place: (i32, i64),
    value: Vec<u8>,
}

/// A manifest whose snapshot is not given out yet.
#[derive(Debug)]
struct Pending {
    place: (i32, i64),
    published_ms: Option<i64>,
    value: Vec<u8>,
    /// Why its snapshot could not be put together, as long as that has not been said.
    error: Option<Error>,
    /// Whether it has been said.
    rejected: bool,
    /// Whether the store of its weights did not answer, so that it is looked at again.
    waits_for_store: bool,
}

impl Shelf {
    pub(super) fn new(wanted: Wanted, claims: Option<Claims>) -> Self {
        Shelf { wanted, claims, models: BTreeMap::new(), touched: BTreeSet::new(), past: Vec::new() }
    }

    /// Takes a record in. Gives whether it is a manifest, or the end of one.
    pub(super) fn see(&mut self, seen: Seen<'_>) -> bool {
        let Some(parsed) = str::from_utf8(seen.key).ok().and_then(SnapshotKey::parse) else { return false };
        let prefix = parsed.prefix();
        if !self.models.contains_key(prefix) {
            let Some((model_id, unit)) = parsed.names().filter(|(model_id, unit)| self.wanted.is(model_id, unit))
            else {
                return false;
            };
            if seen.value.is_none() {
                return false;
            }
            self.models.insert(prefix.to_owned(), Model { model_id, unit, ..Model::default() });
        }
        let Some(model) = self.models.get_mut(prefix) else { return false };
        let place = (seen.partition, seen.offset);
        let is_manifest = matches!(parsed, SnapshotKey::Manifest(_));
        match (parsed, seen.value) {
            (SnapshotKey::Manifest(_), Some(value)) => {
                let pending = Pending {
                    place,
                    published_ms: seen.timestamp_ms,
                    value: value.to_vec(),
                    error: None,
                    rejected: false,
                    waits_for_store: false,
                };
                self.past.extend(model.manifest.replace(pending).and_then(|before| model.rejected(before.error)));
            }
            (SnapshotKey::Manifest(_), None) => {
                model.manifest = None;
                if model.given.take().is_some() {
                    self.past.push(Followed::Retired { model_id: model.model_id.clone(), unit: model.unit.clone() });
                }
            }
            (SnapshotKey::Chunk(_), value) => {
                // Seen as text above.
                let key = String::from_utf8_lossy(seen.key);
                match value {
                    Some(value) => {
                        model.chunks.insert(key.into_owned(), Chunk { place, value: value.to_vec() });
                    }
                    None => {
                        model.chunks.remove(key.as_ref());
                    }
                }
            }
        }
        if model.manifest.is_none() && model.given.is_none() && model.chunks.is_empty() {
            self.models.remove(prefix);
            self.touched.remove(prefix);
        } else {
            self.touched.insert(prefix.to_owned());
        }
        is_manifest
    }

    /// What is new: snapshots that are whole now, models that have gone, and snapshots that were not whole when the next
    /// came. At the `end` of the topic, also those that should be whole and are not.
    pub(super) fn take_news(&mut self, end: bool) -> Vec<Followed> {
        let mut news = std::mem::take(&mut self.past);
        let touched = if end { std::mem::take(&mut self.touched) } else { self.touched.clone() };
        for prefix in touched {
            let Some(model) = self.models.get_mut(&prefix) else { continue };
            if let Some(followed) = model.settle(&prefix, self.claims.as_ref(), end) {
                if !matches!(followed, Followed::Rejected { .. }) {
                    self.touched.remove(&prefix);
                }
                news.push(followed);
            }
            if model.manifest.as_ref().is_some_and(|pending| pending.waits_for_store) {
                self.touched.insert(prefix);
            }
        }
        news
    }

    /// Whether there are snapshots whose weights could not be had from their store, and may be later.
    pub(super) fn waits_for_store(&self) -> bool {
        let waits = |model: &Model| model.manifest.as_ref().is_some_and(|pending| pending.waits_for_store);
        self.touched.iter().filter_map(|prefix| self.models.get(prefix)).any(waits)
    }

    /// Bytes of chunks and manifests that wait for the rest of their snapshot.
    #[cfg(test)]
    pub(super) fn waiting_bytes(&self) -> usize {
        let of = |model: &Model| {
            let chunks: usize = model.chunks.values().map(|chunk| chunk.value.len()).sum();
            chunks + model.manifest.as_ref().map_or(0, |manifest| manifest.value.len())
        };
        self.models.values().map(of).sum()
    }
}

impl Model {
    fn settle(&mut self, prefix: &str, claims: Option<&Claims>, end: bool) -> Option<Followed> {
        let pending = self.manifest.as_mut()?;
        let known = |sha256: &str| {
            let given = self.given.as_ref()?.iter().find(|(known, _)| known == sha256);
            given.map(|(_, blob)| Arc::clone(&blob.bytes))
        };
        let chunks = &self.chunks;
        let mut chunk = |key: &str| chunks.get(key).map(|chunk| chunk.value.clone());
        let assembled = assemble_claimed(prefix, &pending.value, claims, &known, &mut chunk);
        pending.waits_for_store = assembled.as_ref().is_err_and(Error::is_retryable);
        match assembled {
            Ok((manifest, snapshot)) => {
                let ((partition, offset), published_ms) = (pending.place, pending.published_ms);
                self.manifest = None;
                let hashes = snapshot.manifest.blobs.iter().map(|entry| entry.sha256.clone());
                self.given = Some(hashes.zip(snapshot.blobs.iter().cloned()).collect());
                // All that stood before the manifest is either in force, and then held as weights, or superseded.
                // Chunks in other partitions may belong to the next snapshot, but for those that this one names.
                let in_force: Vec<String> = manifest
                    .parts
                    .iter()
                    .map(|(part, entry)| format!("{prefix}/{}/{}/", crate::parts::encoded(part), entry.slot))
                    .collect();
                self.chunks.retain(|key, chunk| {
                    let is_before = chunk.place.0 == partition && chunk.place.1 < offset;
                    !is_before && !in_force.iter().any(|named| key.starts_with(named.as_str()))
                });
                Some(Followed::Snapshot { unit: self.unit.clone(), published_ms, snapshot: Box::new(snapshot) })
            }
            Err(_) if pending.rejected => None,
            Err(error) if end => {
                pending.rejected = true;
                pending.error = None;
                self.rejected(Some(error))
            }
            Err(error) => {
                pending.error = Some(error);
                None
            }
        }
    }

    fn rejected(&self, error: Option<Error>) -> Option<Followed> {
        error.map(|error| {
            counter!("lightcl_snapshot_rejected_total").increment(1);
            Followed::Rejected { model_id: self.model_id.clone(), unit: self.unit.clone(), error }
        })
    }
}
