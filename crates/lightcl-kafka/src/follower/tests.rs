use super::*;
use crate::parts::{Keyed, Slots};
use crate::snapshot_topic::{retire_records, snapshot_records};
use lightcl_core::state::sha256_hex;
use lightcl_core::{Blob, BlobEntry, Manifest, Positions};
use std::sync::Arc;

fn snapshot(model_id: &str, version: u64, prefix: &[u8], suffix: &[u8]) -> Snapshot {
    let blobs: Vec<Blob> = [("prefix", prefix), ("suffix", suffix)]
        .map(|(role, bytes)| Blob { role: role.to_owned(), bytes: Arc::new(bytes.to_vec()) })
        .into();
    let entry = |blob: &Blob| BlobEntry {
        role: blob.role.clone(),
        sha256: sha256_hex(&blob.bytes),
        bytes: blob.bytes.len() as u64,
    };
    let manifest = Manifest {
        format: 1,
        model_id: model_id.into(),
        version,
        parent: None,
        task: 0,
        reason: "interval".into(),
        positions: Positions::default(),
        samples: 0,
        trained_samples: 0,
        steps: 0,
        prequential_accuracy: None,
        plasticity: None,
        stability: None,
        config_sha256: String::new(),
        learner: serde_json::Value::Null,
        encoder: serde_json::Value::Null,
        blobs: blobs.iter().map(entry).collect(),
    };
    Snapshot { manifest, blobs }
}

/// A topic of one partition, and a shelf that reads it.
struct Reader {
    shelf: Shelf,
    offset: i64,
}

impl Reader {
    fn new(wanted: Wanted) -> Self {
        Reader { shelf: Shelf::new(wanted, None), offset: 0 }
    }

    /// Takes records in, looking for news at each manifest as a follower that has caught up does.
    fn see(&mut self, records: &[Keyed]) -> Vec<String> {
        let mut news = Vec::new();
        for Keyed { key, value } in records {
            let seen = Seen {
                partition: 0,
                offset: self.offset,
                timestamp_ms: None,
                key: key.as_bytes(),
                value: value.as_deref(),
            };
            self.offset += 1;
            if self.shelf.see(seen) {
                news.extend(self.shelf.take_news(false));
            }
        }
        news.iter().map(shown).collect()
    }

    fn end(&mut self) -> Vec<String> {
        self.shelf.take_news(true).iter().map(shown).collect()
    }
}

fn shown(news: &Followed) -> String {
    match news {
        Followed::Snapshot { unit, snapshot, .. } => {
            let blobs: Vec<_> = snapshot.blobs.iter().map(|blob| String::from_utf8_lossy(&blob.bytes)).collect();
            format!("{unit} v{} {}", snapshot.manifest.version, blobs.join(" "))
        }
        Followed::Retired { unit, .. } => format!("{unit} retired"),
        Followed::Rejected { unit, error, .. } => format!("{unit} rejected: {}", error.message()),
    }
}

fn published(slots: &mut Slots, version: u64, suffix: &[u8]) -> Vec<Keyed> {
    snapshot_records(slots, "u", &snapshot("m", version, b"frozen", suffix), 4096).unwrap()
}

#[test]
fn every_version_is_given_and_nothing_of_it_is_kept_twice() {
    let (mut slots, mut reader) = (Slots::default(), Reader::new(Wanted::default()));
    for version in 1..6 {
        let suffix = vec![b'0' + version as u8; 3 + 2000 * version as usize % 7000];
        let news = reader.see(&published(&mut slots, version, &suffix));
        assert_eq!(news, [format!("u v{version} frozen {}", String::from_utf8_lossy(&suffix))]);
        assert_eq!(reader.shelf.waiting_bytes(), 0);
    }
    assert!(reader.end().is_empty());
    assert_eq!(reader.see(&retire_records(&mut slots, "m", "u")), ["u retired"]);
    assert!(reader.end().is_empty());
}

#[test]
fn at_the_start_only_the_newest_is_given() {
    let (mut slots, mut reader) = (Slots::default(), Reader::new(Wanted::default()));
    for version in 1..4 {
        for record in published(&mut slots, version, &[b'a'; 9000]) {
            reader.shelf.see(Seen {
                partition: 0,
                offset: reader.offset,
                timestamp_ms: None,
                key: record.key.as_bytes(),
                value: record.value.as_deref(),
            });
            reader.offset += 1;
        }
    }
    assert_eq!(reader.end(), [format!("u v3 frozen {}", "a".repeat(9000))]);
    assert_eq!(reader.shelf.waiting_bytes(), 0);
}

#[test]
fn a_damaged_snapshot_is_said_once_and_the_next_is_good() {
    let (mut slots, mut reader) = (Slots::default(), Reader::new(Wanted::default()));
    reader.see(&published(&mut slots, 1, b"one"));
    let mut second = published(&mut slots, 2, b"two");
    second[0].value = Some(b"tw0".to_vec());
    assert!(reader.see(&second).is_empty());
    assert_eq!(reader.end(), ["u rejected: a payload is damaged: its hash is not the one in its manifest"]);
    assert!(reader.end().is_empty());
    let third = published(&mut slots, 3, b"three");
    assert_eq!(reader.see(&third), ["u v3 frozen three"]);
    let fourth = published(&mut slots, 4, b"four");
    assert!(reader.see(&fourth[1..]).is_empty());
    assert_eq!(reader.end(), ["u rejected: a chunk of a payload is not there"]);
    // The chunk comes after all: from another partition, say.
    reader.see(&fourth[..1]);
    assert_eq!(reader.end(), ["u v4 frozen four"]);
}

#[test]
fn a_damaged_snapshot_is_said_where_the_stream_never_rests() {
    let (mut slots, mut reader) = (Slots::default(), Reader::new(Wanted::default()));
    reader.see(&published(&mut slots, 1, b"one"));
    let mut second = published(&mut slots, 2, b"two");
    second[0].value = Some(b"tw".to_vec());
    assert!(reader.see(&second).is_empty());
    let third = published(&mut slots, 3, b"three");
    assert_eq!(reader.see(&third), ["u rejected: a payload is shorter than its manifest says", "u v3 frozen three"]);
}

#[test]
fn a_lacking_chunk_is_named() {
    let (mut slots, mut reader) = (Slots::default(), Reader::new(Wanted::default()));
    let records = published(&mut slots, 1, b"one");
    reader.see(&records[1..]);
    assert_eq!(reader.end(), ["u rejected: a chunk of a payload is not there"]);
}

#[test]
fn only_what_is_wanted_is_held() {
    let wanted = Wanted { model_id: Some("m".into()), unit: Some("u".into()) };
    let mut reader = Reader::new(wanted);
    let mut slots = Slots::default();
    for (model_id, unit) in [("m", "other"), ("other", "u")] {
        let records = snapshot_records(&mut slots, unit, &snapshot(model_id, 1, b"a", b"b"), 4096).unwrap();
        assert!(reader.see(&records).is_empty());
    }
    let strange =
        [Keyed { key: "what/is/this".into(), value: Some(vec![1; 100]) }, Keyed::tombstone("m/u/manifest".into())];
    assert!(reader.see(&strange).is_empty());
    assert_eq!(reader.shelf.waiting_bytes(), 0);
    assert_eq!(reader.see(&published(&mut slots, 7, b"one")), ["u v7 frozen one"]);
}
