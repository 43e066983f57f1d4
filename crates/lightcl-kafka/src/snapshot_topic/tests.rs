use super::*;
use lightcl_core::state::sha256_hex;
use lightcl_core::{BlobEntry, Positions};
use std::collections::HashMap;

fn snapshot(version: u64, blobs: &[(&str, &[u8])], encoder: serde_json::Value) -> Snapshot {
    let blobs: Vec<Blob> =
        blobs.iter().map(|(role, bytes)| Blob { role: (*role).to_owned(), bytes: Arc::new(bytes.to_vec()) }).collect();
    let entry = |blob: &Blob| BlobEntry {
        role: blob.role.clone(),
        sha256: sha256_hex(&blob.bytes),
        bytes: blob.bytes.len() as u64,
    };
    let manifest = Manifest {
        format: 1,
        model_id: "shop/eu".into(),
        version,
        parent: None,
        task: 0,
        reason: "boundary".into(),
        positions: Positions::default(),
        samples: 10,
        trained_samples: 10,
        steps: 1,
        prequential_accuracy: Some(0.1),
        plasticity: None,
        stability: None,
        config_sha256: String::new(),
        learner: serde_json::Value::Null,
        encoder,
        blobs: blobs.iter().map(entry).collect(),
    };
    Snapshot { manifest, blobs }
}

#[derive(Default)]
struct Topic(HashMap<String, Vec<u8>>);

impl Topic {
    fn see(&mut self, records: Vec<Keyed>) {
        for Keyed { key, value } in records {
            match value {
                Some(value) => self.0.insert(key, value),
                None => self.0.remove(&key),
            };
        }
    }

    fn assemble(&self, prefix: &str) -> Result<Snapshot> {
        let value = &self.0[&manifest_key(prefix)];
        assemble_snapshot(prefix, value, &|_| None, &mut |key| self.0.get(key).cloned()).map(|(_, snapshot)| snapshot)
    }
}

const PREFIX: &str = "shop%2Feu/samples%2F3";
const UNIT: &str = "samples/3";

#[test]
fn a_snapshot_is_read_back_and_its_prefix_is_written_once() {
    let (mut slots, mut topic) = (Slots::default(), Topic::default());
    let first = snapshot(1, &[("prefix", b"frozen weights"), ("suffix", b"one")], serde_json::Value::Null);
    let records = snapshot_records(&mut slots, UNIT, &first, 4096).unwrap();
    assert_eq!(records.last().unwrap().key, manifest_key(PREFIX));
    topic.see(records);
    assert_eq!(topic.assemble(PREFIX).unwrap(), first);
    let second = snapshot(2, &[("prefix", b"frozen weights"), ("suffix", b"two")], serde_json::Value::Null);
    let records = snapshot_records(&mut slots, UNIT, &second, 4096).unwrap();
    assert!(records.iter().all(|record| !record.key.contains("/prefix/")), "{records:?}");
    topic.see(records);
    assert_eq!(topic.assemble(PREFIX).unwrap(), second);
    let records = retire_records(&mut slots, "shop/eu", UNIT);
    assert_eq!(records[0], Keyed::tombstone(manifest_key(PREFIX)));
    topic.see(records);
    assert!(topic.0.is_empty());
}

#[test]
fn a_manifest_longer_than_a_chunk_is_a_part_itself() {
    let (mut slots, mut topic) = (Slots::default(), Topic::default());
    let wide = snapshot(1, &[("suffix", b"one")], serde_json::json!({ "mean": vec![0.1; 5000] }));
    let records = snapshot_records(&mut slots, UNIT, &wide, 4096).unwrap();
    assert!(records.iter().all(|record| record.value.as_ref().is_some_and(|value| value.len() <= 4096)));
    topic.see(records);
    assert_eq!(topic.assemble(PREFIX).unwrap(), wide);
}

#[test]
fn a_manifest_that_does_not_fit_is_refused() {
    let (mut slots, mut topic) = (Slots::default(), Topic::default());
    topic.see(
        snapshot_records(&mut slots, UNIT, &snapshot(1, &[("suffix", b"one")], serde_json::Value::Null), 4096).unwrap(),
    );
    let own = topic.0[&manifest_key(PREFIX)].clone();
    topic.0.insert(manifest_key("shop%2Feu/other"), own.clone());
    assert!(topic.assemble("shop%2Feu/other").unwrap_err().to_string().contains("another model"));
    let mut manifest: TopicManifest = serde_json::from_slice(&own).unwrap();
    manifest.parts.clear();
    topic.0.insert(manifest_key(PREFIX), serde_json::to_vec(&manifest).unwrap());
    assert!(topic.assemble(PREFIX).unwrap_err().to_string().contains("where weights stand"));
    topic.0.insert(manifest_key(PREFIX), b"{}".to_vec());
    assert!(topic.assemble(PREFIX).unwrap_err().to_string().contains("no manifest"));
}

#[test]
fn keys_say_whose_they_are() {
    let key = format!("{PREFIX}/suffix/a/0");
    assert_eq!(SnapshotKey::parse(&key), Some(SnapshotKey::Chunk(PREFIX)));
    let key = manifest_key(PREFIX);
    let parsed = SnapshotKey::parse(&key).unwrap();
    assert_eq!((parsed, parsed.names()), (SnapshotKey::Manifest(PREFIX), Some(("shop/eu".into(), UNIT.into()))));
    for other in ["manifest", "shop/manifest", "a/b/c/manifest", "a/b/c/p/a/0", "a/%/manifest", ""] {
        assert_eq!(SnapshotKey::parse(other), None, "{other}");
    }
}
