//! Snapshots as records of a compacted topic.
//!
//! A model of a unit (a partition, a key, or all of it) has the prefix `{model_id}/{unit}`, each segment [encoded]; its
//! weights are [parts] under it, one a role, and behind them comes the manifest under `{model_id}/{unit}/manifest`.
//! Weights that did not change since the last snapshot are not written again.
//!
//! [encoded]: crate::parts::encoded
//! [parts]: crate::parts

use crate::claims::{Claims, Placing, fetch};
use crate::parts::{self, Keyed, PartEntry, Slots};
use lightcl_core::{Blob, Error, Manifest, Result, Snapshot};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

#[cfg(test)]
mod tests;

const MANIFEST: &str = "/manifest";
/// The part that holds the snapshot's own manifest, where that is too long for one record.
const LONG_MANIFEST: &str = "snapshot.json";

/// Value of a manifest's record, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopicManifest {
    /// The snapshot (schema: `schemas/snapshot.schema.json`); none where it is longer than a chunk and stands in the part
    /// `snapshot.json`.
    pub snapshot: Option<Manifest>,
    /// What the model learns from: a partition, a key, or all of it.
    pub unit: String,
    /// Where the weights stand, by role.
    pub parts: BTreeMap<String, PartEntry>,
}

/// The prefix of all keys of a model of a unit.
pub fn snapshot_prefix(model_id: &str, unit: &str) -> String {
    parts::prefix(&[model_id, unit])
}

/// The key of the manifest under a prefix.
pub fn manifest_key(prefix: &str) -> String {
    format!("{prefix}{MANIFEST}")
}

/// The records of a snapshot in the order in which they belong in one partition: the manifest last.
///
/// # Errors
/// When the manifest has no JSON form.
pub fn snapshot_records(slots: &mut Slots, unit: &str, snapshot: &Snapshot, chunk_bytes: usize) -> Result<Vec<Keyed>> {
    let mut placing = Placing { chunk_bytes, ..Placing::default() };
    placed_records(slots, unit, snapshot, &mut placing)
}

/// As [`snapshot_records`], with weights put where `placing` says.
///
/// # Errors
/// When the manifest has no JSON form, or an object cannot be written.
pub fn placed_records(
    slots: &mut Slots,
    unit: &str,
    snapshot: &Snapshot,
    placing: &mut Placing<'_>,
) -> Result<Vec<Keyed>> {
    let chunk_bytes = placing.chunk_bytes;
    let no_json = |error: serde_json::Error| Error::internal("a manifest has no JSON form").caused_by(error);
    let prefix = snapshot_prefix(&snapshot.manifest.model_id, unit);
    let mut records = Vec::new();
    let mut entries = BTreeMap::new();
    let mut put = |part: &str, bytes: &[u8]| -> Result<()> {
        let (chunks, entry) = placing.put(slots, &prefix, part, bytes)?;
        records.extend(chunks);
        entries.insert(part.to_owned(), entry);
        Ok(())
    };
    for blob in &snapshot.blobs {
        put(&blob.role, &blob.bytes)?;
    }
    // Means and categories of wide rows can make it long.
    let text = serde_json::to_vec(&snapshot.manifest).map_err(no_json)?;
    let is_long = text.len() > chunk_bytes;
    if is_long {
        put(LONG_MANIFEST, &text)?;
    }
    let snapshot = (!is_long).then(|| snapshot.manifest.clone());
    let manifest = TopicManifest { snapshot, unit: unit.to_owned(), parts: entries };
    let value = serde_json::to_vec(&manifest).map_err(no_json)?;
    records.push(Keyed { key: manifest_key(&prefix), value: Some(value) });
    Ok(records)
}

/// Tombstones for a model of a unit: first for the manifest, so that no reader looks for chunks that are gone.
pub fn retire_records(slots: &mut Slots, model_id: &str, unit: &str) -> Vec<Keyed> {
    let prefix = snapshot_prefix(model_id, unit);
    let mut records = vec![Keyed::tombstone(manifest_key(&prefix))];
    records.extend(slots.retire(&prefix));
    records
}

/// What a key of the snapshot topic names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotKey<'a> {
    /// The manifest under a prefix.
    Manifest(&'a str),
    /// A chunk under a prefix.
    Chunk(&'a str),
}

impl<'a> SnapshotKey<'a> {
    /// Reads a key; none for one that [`snapshot_records`] does not make.
    pub fn parse(key: &'a str) -> Option<Self> {
        let parsed = match key.strip_suffix(MANIFEST) {
            Some(prefix) => SnapshotKey::Manifest(prefix),
            None => SnapshotKey::Chunk(parts::parse_chunk_key(key)?.0),
        };
        parsed.names().map(|_| parsed)
    }

    /// The prefix of the model.
    pub fn prefix(&self) -> &'a str {
        match self {
            SnapshotKey::Manifest(prefix) | SnapshotKey::Chunk(prefix) => prefix,
        }
    }

    /// Model id and unit.
    pub fn names(&self) -> Option<(String, String)> {
        let (model_id, unit) = self.prefix().split_once('/')?;
        Some((parts::decoded(model_id)?, parts::decoded(unit)?))
    }
}

/// Puts together the snapshot that a manifest's record names, and verifies it. `known` gives weights that are at hand by
/// their hash; `chunk` looks a chunk up by its key.
///
/// # Errors
/// When the record is no manifest of this prefix, or weights lack or are damaged.
pub fn assemble_snapshot(
    prefix: &str,
    value: &[u8],
    known: &dyn Fn(&str) -> Option<Arc<Vec<u8>>>,
    chunk: &mut dyn FnMut(&str) -> Option<Vec<u8>>,
) -> Result<(TopicManifest, Snapshot)> {
    assemble_claimed(prefix, value, None, known, chunk)
}

/// As [`assemble_snapshot`], with weights that stand in objects.
///
/// # Errors
/// As [`assemble_snapshot`]; retryable when the objects cannot be had now.
pub fn assemble_claimed(
    prefix: &str,
    value: &[u8],
    claims: Option<&Claims>,
    known: &dyn Fn(&str) -> Option<Arc<Vec<u8>>>,
    chunk: &mut dyn FnMut(&str) -> Option<Vec<u8>>,
) -> Result<(TopicManifest, Snapshot)> {
    let damaged = |what: &str| Error::external(what).with("prefix", prefix);
    let manifest: TopicManifest = serde_json::from_slice(value)
        .map_err(|error| damaged("a record is no manifest of a snapshot").caused_by(error))?;
    let described = match &manifest.snapshot {
        Some(described) => described.clone(),
        None => {
            let entry = manifest.parts.get(LONG_MANIFEST).ok_or_else(|| damaged("a manifest names no snapshot"))?;
            serde_json::from_slice(&fetch(claims, prefix, LONG_MANIFEST, entry, chunk)?)
                .map_err(|error| damaged("the manifest of a snapshot cannot be read").caused_by(error))?
        }
    };
    if snapshot_prefix(&described.model_id, &manifest.unit) != prefix {
        return Err(damaged("a manifest stands under the key of another model")
            .with("model_id", &described.model_id)
            .with("unit", &manifest.unit));
    }
    let mut blobs = Vec::with_capacity(described.blobs.len());
    for blob in &described.blobs {
        let entry = manifest.parts.get(&blob.role).filter(|entry| entry.sha256 == blob.sha256);
        let entry =
            entry.ok_or_else(|| damaged("a manifest does not say where weights stand").with("role", &blob.role))?;
        let bytes = match known(&entry.sha256) {
            Some(bytes) => bytes,
            None => Arc::new(fetch(claims, prefix, &blob.role, entry, chunk)?),
        };
        blobs.push(Blob { role: blob.role.clone(), bytes });
    }
    Ok((manifest, Snapshot { manifest: described, blobs }))
}
