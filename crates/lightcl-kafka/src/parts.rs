//! Big payloads in a compacted topic: cut into chunks under keys that are used over and over, with a manifest last.
//!
//! Each part has two slots. What is in force stands in one of them; what comes next is written into the other, and only a
//! manifest written behind it says so. A reader that holds the last value of each key can thus always put together what
//! the last manifest it saw names, wherever it stands and whatever compaction has removed. This needs the records in one
//! order: **all records of a prefix belong in one partition**, in the order in which they are given here.
//!
//! [`Slots`] must go forward and back with what readers see. Where records end in an aborted transaction, the slots from
//! before it are the ones to go on with; where output is replayed silently, the puts are repeated and their records dropped.

use lightcl_core::state::sha256_hex;
use lightcl_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::{self, Write};

#[cfg(test)]
mod tests;

/// One record for a compacted topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyed {
    /// The key.
    pub key: String,
    /// The value; none for a tombstone.
    pub value: Option<Vec<u8>>,
}

impl Keyed {
    /// A record that makes a key go.
    pub fn tombstone(key: String) -> Self {
        Keyed { key, value: None }
    }
}

/// One of the two places of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// The first.
    A,
    /// The second.
    B,
}

impl Slot {
    fn other(self) -> Self {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }

    fn number(self) -> usize {
        match self {
            Slot::A => 0,
            Slot::B => 1,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Slot::A => "a",
            Slot::B => "b",
        })
    }
}

/// Where a part stands, as a manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartEntry {
    /// The slot.
    pub slot: Slot,
    /// Number of chunks.
    pub chunks: u32,
    /// Length of all of them together.
    pub bytes: u64,
    /// SHA-256 of all of them together, in hexadecimal.
    pub sha256: String,
    /// Where it stands instead, as an object: a [claim check](crate::claims). There are no chunks then.
    #[serde(default)]
    pub uri: Option<String>,
}

/// Remembers which slot holds what, for each part of each prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slots {
    prefixes: BTreeMap<String, BTreeMap<String, PartSlots>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PartSlots {
    in_force: PartEntry,
    /// Chunks that stand in slot A and in slot B.
    chunks: [u32; 2],
    /// What was in force before, where it is an object: a reader may be on its way to it.
    #[serde(default)]
    before: Option<PartEntry>,
}

/// A part that was put in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Records to write.
    pub records: Vec<Keyed>,
    /// Where it stands.
    pub entry: PartEntry,
    /// An object that nobody needs any longer, once the manifest that names the entry is there.
    pub dropped: Option<PartEntry>,
}

impl Slots {
    /// Records to write for a part, and its entry. There are none to write when the slot in force already holds these
    /// bytes; otherwise the other slot takes them, and chunks left over there from a longer part become tombstones.
    pub fn put(&mut self, prefix: &str, part: &str, bytes: &[u8], chunk_bytes: usize) -> (Vec<Keyed>, PartEntry) {
        let Placed { records, entry, .. } = self.place(prefix, part, bytes, sha256_hex(bytes), chunk_bytes, None);
        (records, entry)
    }

    /// Whether these bytes are in force, in an object or not.
    pub fn holds(&self, prefix: &str, part: &str, sha256: &str, in_object: bool) -> bool {
        let known = self.prefixes.get(prefix).and_then(|parts| parts.get(part)).map(|known| &known.in_force);
        known.is_some_and(|known| known.sha256 == sha256 && known.uri.is_some() == in_object)
    }

    /// As [`Slots::put`] for bytes whose hash is known. With a URI they stand in an object there, and no chunk is written.
    pub fn place(
        &mut self,
        prefix: &str,
        part: &str,
        bytes: &[u8],
        sha256: String,
        chunk_bytes: usize,
        uri: Option<String>,
    ) -> Placed {
        let in_force = self.holds(prefix, part, &sha256, uri.is_some());
        let parts = self.prefixes.entry(prefix.to_owned()).or_default();
        let known = parts.get(part);
        if let Some(known) = known.filter(|_| in_force) {
            return Placed { records: Vec::new(), entry: known.in_force.clone(), dropped: None };
        }
        let slot = known.map_or(Slot::A, |known| known.in_force.slot.other());
        let mut chunks = known.map_or([0; 2], |known| known.chunks);
        // Never more chunks than can be counted.
        let chunk_bytes = chunk_bytes.max(bytes.len() / u32::MAX as usize + 1);
        let in_chunks = if uri.is_some() { &[][..] } else { bytes };
        let mut records: Vec<Keyed> = (0..)
            .zip(in_chunks.chunks(chunk_bytes))
            .map(|(number, chunk)| Keyed { key: chunk_key(prefix, part, slot, number), value: Some(chunk.to_vec()) })
            .collect();
        let count = records.len() as u32;
        let left_over = std::mem::replace(&mut chunks[slot.number()], count);
        records.extend((count..left_over).map(|number| Keyed::tombstone(chunk_key(prefix, part, slot, number))));
        let entry = PartEntry { slot, chunks: count, bytes: bytes.len() as u64, sha256, uri };
        let before = known.map(|known| known.in_force.clone()).filter(|before| before.uri.is_some());
        let dropped = known.and_then(|known| known.before.clone());
        // An object that is named again stays.
        let dropped = dropped.filter(|dropped| {
            let is_same = |other: &PartEntry| other.uri.is_some() && other.sha256 == dropped.sha256;
            !is_same(&entry) && !before.as_ref().is_some_and(is_same)
        });
        parts.insert(part.to_owned(), PartSlots { in_force: entry.clone(), chunks, before });
        Placed { records, entry, dropped }
    }

    /// Prefix, part and hash of every object that is in force or was in force before.
    pub fn objects(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.prefixes.iter().flat_map(|(prefix, parts)| {
            parts.iter().flat_map(move |(part, slots)| {
                let entries = [Some(&slots.in_force), slots.before.as_ref()].into_iter().flatten();
                let objects = entries.filter(|entry| entry.uri.is_some());
                objects.map(move |entry| (prefix.as_str(), part.as_str(), entry.sha256.as_str()))
            })
        })
    }

    /// Whether anything was put under a prefix.
    pub fn has(&self, prefix: &str) -> bool {
        self.prefixes.get(prefix).is_some_and(|parts| !parts.is_empty())
    }

    /// Tombstones for every chunk of every part under the prefix, which is then forgotten. The manifest's tombstone goes
    /// before them: a reader must not look for chunks that are gone.
    pub fn retire(&mut self, prefix: &str) -> Vec<Keyed> {
        let mut records = Vec::new();
        for (part, slots) in self.prefixes.remove(prefix).unwrap_or_default() {
            for slot in [Slot::A, Slot::B] {
                let numbers = 0..slots.chunks[slot.number()];
                records.extend(numbers.map(|number| Keyed::tombstone(chunk_key(prefix, &part, slot, number))));
            }
        }
        records
    }
}

/// A text as one segment of a key: all but ASCII letters, digits, `-`, `_`, `.` and `~` stand as `%` and two hexadecimal
/// digits, so that a `/` in it does not look like one between segments.
///
/// ```
/// assert_eq!(lightcl_kafka::parts::encoded("shop/Zürich.7"), "shop%2FZ%C3%BCrich.7");
/// ```
pub fn encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(byte as char);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

/// The text that [`encoded`] made a segment of; none for a text that it does not make.
pub fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        if first == b'%' {
            let (digits, behind) = behind.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?);
            rest = behind;
        } else {
            bytes.push(first);
            rest = behind;
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    (encoded(&text) == segment).then_some(text)
}

/// A prefix of keys, from names of any kind.
///
/// ```
/// assert_eq!(lightcl_kafka::parts::prefix(&["model", "samples-3/key"]), "model/samples-3%2Fkey");
/// ```
pub fn prefix(names: &[&str]) -> String {
    names.iter().map(|name| encoded(name)).collect::<Vec<_>>().join("/")
}

/// The key of a chunk: `{prefix}/{part}/{slot}/{number}`. The prefix comes from [`prefix`]; the part is any name.
pub fn chunk_key(prefix: &str, part: &str, slot: Slot, number: u32) -> String {
    format!("{prefix}/{}/{slot}/{number}", encoded(part))
}

/// The prefix, part and slot of a chunk's key, and its number; none for another key.
pub fn parse_chunk_key(key: &str) -> Option<(&str, String, Slot, u32)> {
    let mut segments = key.rsplitn(4, '/');
    let number = segments.next()?;
    let slot = match segments.next()? {
        "a" => Slot::A,
        "b" => Slot::B,
        _ => return None,
    };
    let part = decoded(segments.next()?)?;
    let prefix = segments.next()?;
    // Only as it is written, so that two keys are never one chunk.
    let parsed: u32 = number.parse().ok().filter(|parsed: &u32| parsed.to_string() == number)?;
    Some((prefix, part, slot, parsed))
}

/// Puts a part together from a lookup of chunks by key, and verifies it.
///
/// # Errors
/// When a chunk lacks, or length or hash is not what the entry says.
pub fn assemble(
    prefix: &str,
    part: &str,
    entry: &PartEntry,
    chunk: &mut dyn FnMut(&str) -> Option<Vec<u8>>,
) -> Result<Vec<u8>> {
    let failed = |what: &str| Error::external(what).with("prefix", prefix).with("part", part).with("slot", entry.slot);
    if let Some(uri) = &entry.uri {
        return Err(Error::user(
            "a payload stands in an object and not in the topic; say where with sink.claim_check, as the job that wrote it",
        )
        .with("prefix", prefix)
        .with("part", part)
        .with("uri", uri));
    }
    // The length in the entry is not to be trusted: no memory is reserved by it.
    let mut bytes = Vec::new();
    for number in 0..entry.chunks {
        let key = chunk_key(prefix, part, entry.slot, number);
        let value = chunk(&key).ok_or_else(|| failed("a chunk of a payload is not there").with("chunk", &key))?;
        if bytes.len() as u64 + value.len() as u64 > entry.bytes {
            return Err(failed("a payload is longer than its manifest says")
                .with("expected_bytes", entry.bytes)
                .with("chunk", &key));
        }
        // The only chunk is the part: nothing to copy.
        if entry.chunks == 1 {
            bytes = value;
        } else {
            bytes.extend_from_slice(&value);
        }
    }
    verified(prefix, part, entry, bytes)
}

/// Checks length and hash of a part.
///
/// # Errors
/// When they are not what the entry says.
pub fn verified(prefix: &str, part: &str, entry: &PartEntry, bytes: Vec<u8>) -> Result<Vec<u8>> {
    let failed = |what: &str| Error::external(what).with("prefix", prefix).with("part", part).with("slot", entry.slot);
    if bytes.len() as u64 != entry.bytes {
        return Err(failed("a payload is shorter than its manifest says")
            .with("expected_bytes", entry.bytes)
            .with("bytes", bytes.len()));
    }
    if sha256_hex(&bytes) != entry.sha256 {
        return Err(failed("a payload is damaged: its hash is not the one in its manifest")
            .with("expected_sha256", &entry.sha256));
    }
    Ok(bytes)
}
