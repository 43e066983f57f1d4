use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

/// Last values by key, as a reader of a compacted topic has them.
#[derive(Default)]
struct Topic(HashMap<String, Vec<u8>>);

impl Topic {
    fn see(&mut self, record: &Keyed) {
        match &record.value {
            Some(value) => self.0.insert(record.key.clone(), value.clone()),
            None => self.0.remove(&record.key),
        };
    }

    fn see_all(&mut self, records: &[Keyed]) {
        records.iter().for_each(|record| self.see(record));
    }

    fn assemble(&self, entry: &PartEntry) -> Result<Vec<u8>> {
        assemble("m/u", "p", entry, &mut |key| self.0.get(key).cloned())
    }
}

#[test]
fn slots_alternate_and_the_same_bytes_are_not_written_again() {
    let (mut slots, mut topic) = (Slots::default(), Topic::default());
    let (records, first) = slots.put("m/u", "p", b"abcdefg", 3);
    assert_eq!(
        records.iter().map(|record| record.key.as_str()).collect::<Vec<_>>(),
        ["m/u/p/a/0", "m/u/p/a/1", "m/u/p/a/2"]
    );
    topic.see_all(&records);
    let (records, again) = slots.put("m/u", "p", b"abcdefg", 3);
    assert!(records.is_empty());
    assert_eq!(again, first);
    let (records, second) = slots.put("m/u", "p", b"xy", 3);
    assert_eq!((second.slot, second.chunks, second.bytes), (Slot::B, 1, 2));
    topic.see_all(&records);
    assert_eq!(topic.assemble(&first).unwrap(), b"abcdefg");
    assert_eq!(topic.assemble(&second).unwrap(), b"xy");
    // Slot A again, with one chunk where there were three.
    let (records, third) = slots.put("m/u", "p", b"z", 3);
    assert_eq!(records.iter().filter(|record| record.value.is_none()).count(), 2);
    topic.see_all(&records);
    assert_eq!(topic.assemble(&third).unwrap(), b"z");
    assert_eq!(topic.0.len(), 2);
    topic.see_all(&slots.retire("m/u"));
    assert!(topic.0.is_empty());
    assert!(slots.retire("m/u").is_empty());
}

#[test]
fn nothing_at_all_is_a_part_too() {
    let (records, entry) = Slots::default().put("m/u", "p", b"", 3);
    assert!(records.is_empty());
    assert_eq!(Topic::default().assemble(&entry).unwrap(), b"");
}

#[test]
fn what_is_wrong_with_a_part_is_said() {
    let (mut slots, mut topic) = (Slots::default(), Topic::default());
    let (records, entry) = slots.put("m/u", "p", b"abcdefg", 3);
    topic.see_all(&records);
    let with = |key: &str, value: Option<&[u8]>| {
        let mut damaged = Topic(topic.0.clone());
        damaged.see(&Keyed { key: key.to_owned(), value: value.map(<[u8]>::to_vec) });
        damaged.assemble(&entry).unwrap_err().to_string()
    };
    let lacking = with("m/u/p/a/1", None);
    assert!(lacking.contains("not there") && lacking.contains("m/u/p/a/1"), "{lacking}");
    assert!(with("m/u/p/a/1", Some(b"dXf")).contains("hash"));
    assert!(with("m/u/p/a/1", Some(b"d")).contains("shorter"));
    assert!(with("m/u/p/a/1", Some(b"ddddddd")).contains("longer"));
    // A length that nobody has memory for costs none.
    let absurd = PartEntry { bytes: u64::MAX, ..entry.clone() };
    assert!(topic.assemble(&absurd).unwrap_err().to_string().contains("shorter"));
}

#[test]
fn only_keys_of_chunks_are_read_as_such() {
    let key = chunk_key(&prefix(&["a/b", "c"]), "x/manifest", Slot::B, 12);
    assert_eq!(key, "a%2Fb/c/x%2Fmanifest/b/12");
    assert_eq!(parse_chunk_key(&key), Some(("a%2Fb/c", "x/manifest".to_owned(), Slot::B, 12)));
    for other in ["m/u/manifest", "p/a/0", "m/u/p/c/0", "m/u/p/a/00", "m/u/p/a/+1", "m/u/p/a/", "m/u/%zz/a/0", ""] {
        assert_eq!(parse_chunk_key(other), None, "{other}");
    }
}

#[test]
fn slots_can_be_saved() {
    let mut slots = Slots::default();
    slots.put("m/u", "p", b"abc", 2);
    let bytes = lightcl_core::state::encode("slots", 1, &slots).unwrap();
    assert_eq!(lightcl_core::state::decode::<Slots>("slots", 1, &bytes).unwrap(), slots);
    let text = serde_json::to_string(&slots.put("m/u", "p", b"abc", 2).1).unwrap();
    assert!(text.contains(r#""slot":"a""#), "{text}");
}

/// One step of a writer: the parts it puts behind one manifest, or a retirement.
#[derive(Debug, Clone)]
enum Step {
    Publish(Vec<Vec<u8>>),
    Retire,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Few distinct bytes, so that payloads repeat.
    let payload = proptest::collection::vec(0_u8..2, 0..12);
    let publish = proptest::collection::vec(payload, 2).prop_map(Step::Publish);
    proptest::collection::vec(prop_oneof![9 => publish, 1 => Just(Step::Retire)], 1..12)
}

proptest! {
    #[test]
    fn a_segment_is_read_back_as_it_was(text in any::<String>()) {
        prop_assert_eq!(decoded(&encoded(&text)), Some(text.clone()));
        prop_assert!(!encoded(&text).contains('/'));
    }

    /// Wherever a reader stands in the log, the last manifest it saw can be put together, also where the log was
    /// compacted up to any place behind a manifest before it read it, and nothing stays behind that no manifest names.
    #[test]
    fn the_last_manifest_seen_is_whole(steps in steps(), chunk_bytes in 1_usize..5, cleaned in 0.0_f64..1.0) {
        const MANIFEST: &str = "m/u/manifest";
        let mut slots = Slots::default();
        let mut log: Vec<Keyed> = Vec::new();
        let mut published: Vec<(Vec<PartEntry>, Vec<Vec<u8>>)> = Vec::new();
        for step in steps {
            match step {
                Step::Publish(payloads) => {
                    let mut entries = Vec::new();
                    for (part, payload) in ["x", "y"].iter().zip(&payloads) {
                        let (records, entry) = slots.put("m/u", part, payload, chunk_bytes);
                        log.extend(records);
                        entries.push(entry);
                    }
                    log.push(Keyed { key: MANIFEST.into(), value: Some(published.len().to_string().into_bytes()) });
                    published.push((entries, payloads));
                }
                Step::Retire => {
                    log.push(Keyed::tombstone(MANIFEST.into()));
                    log.extend(slots.retire("m/u"));
                }
            }
        }
        // What the cleaner leaves of the log's head: each key's last record there.
        let head = (log.len() as f64 * cleaned) as usize;
        let last: HashMap<&str, usize> = log[..head].iter().enumerate().map(|(at, record)| (record.key.as_str(), at)).collect();
        let kept = |at: usize| at >= head || last[log[at].key.as_str()] == at;
        for compacted in [false, true] {
            let mut topic = Topic::default();
            for (at, record) in log.iter().enumerate() {
                if compacted && !kept(at) {
                    continue;
                }
                topic.see(record);
                let Some(number) = topic.0.get(MANIFEST) else { continue };
                let (entries, payloads) = &published[str::from_utf8(number).unwrap().parse::<usize>().unwrap()];
                for ((part, entry), payload) in ["x", "y"].iter().zip(entries).zip(payloads) {
                    let found = assemble("m/u", part, entry, &mut |key| topic.0.get(key).cloned());
                    prop_assert_eq!(found.as_ref().ok(), Some(payload), "at {} of {:?}: {:?}", at, log, found.as_ref().err());
                }
            }
            let named: u32 = slots.prefixes.values().flat_map(BTreeMap::values).map(|part| part.chunks.iter().sum::<u32>()).sum();
            let manifests = usize::from(topic.0.contains_key(MANIFEST));
            prop_assert_eq!(topic.0.len(), named as usize + manifests);
        }
    }
}
