//! Claim checks: payloads that are too big for a topic stand as objects in a folder or a bucket, and the topic names them.
//!
//! An object lies at `{topic}/{prefix}/{part}/{sha256}` in the store, so that each belongs to one part of one learner, and
//! writing it twice is writing it once. It is written before the manifest that names it is committed. What that manifest
//! supersedes is removed after the commit, but for the object before it, which a reader may be on its way to. Objects that no
//! manifest came to name (their commit was aborted) are swept at a restore.

mod store;
#[cfg(test)]
mod tests;

use crate::parts::{self, Keyed, PartEntry, Placed, Slots, verified};
use lightcl_core::state::sha256_hex;
use lightcl_core::{Error, Result};
use object_store::path::Path;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
pub use store::{ClaimStore, check_address};

/// Objects that nobody names are left alone for so long: their commit may be on its way.
const SWEEP_AFTER: Duration = Duration::from_secs(3600);
/// An object that is there already is written again when it is older: somebody may be about to sweep it.
const RENEW_AFTER: Duration = Duration::from_secs(1200);
/// Longer segments of keys are no names of files.
const LONGEST_SEGMENT: usize = 200;

/// The objects that one topic names.
#[derive(Debug, Clone)]
pub struct Claims {
    store: Arc<ClaimStore>,
    topic: String,
}

impl Claims {
    /// The objects of a topic.
    pub fn new(store: &Arc<ClaimStore>, topic: &str) -> Self {
        Claims { store: Arc::clone(store), topic: topic.to_owned() }
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    fn folder(&self, prefix: &str) -> Result<Path> {
        let segments: Vec<String> = std::iter::once(segment(&parts::encoded(&self.topic)))
            .chain(prefix.split('/').filter(|name| !name.is_empty()).map(segment))
            .collect();
        path(&segments.join("/"))
    }

    fn path(&self, prefix: &str, part: &str, sha256: &str) -> Result<Path> {
        path(&format!("{}/{}/{sha256}", self.folder(prefix)?, segment(&parts::encoded(part))))
    }

    /// Writes an object, unless it is there; gives its URI.
    ///
    /// # Errors
    /// When the store does not take it; retryable where it may do so later.
    pub fn put(&self, prefix: &str, part: &str, sha256: &str, bytes: &[u8]) -> Result<String> {
        let path = self.path(prefix, part, sha256)?;
        if let Some(found) = self.store.head(&path)?
            && found.size == bytes.len() as u64
            && age(found.last_modified.timestamp_millis()) < RENEW_AFTER
        {
            return Ok(self.store.uri(&path));
        }
        self.store.put(&path, bytes)?;
        metrics::counter!("lightcl_kafka_claim_bytes_total").increment(bytes.len() as u64);
        Ok(self.store.uri(&path))
    }

    /// Reads the object of a part, and verifies it. Where it stands follows from where the configuration says that objects
    /// stand, and not from the URI: the folder may have another name here.
    ///
    /// # Errors
    /// When it is not there or damaged, or, retryable, the store does not answer.
    pub fn get(&self, prefix: &str, part: &str, entry: &PartEntry) -> Result<Vec<u8>> {
        let named = |error: Error| error.with("named as", entry.uri.as_deref().unwrap_or_default());
        let path = self.path(prefix, part, &entry.sha256).map_err(named)?;
        verified(prefix, part, entry, self.store.get(&path, entry.bytes).map_err(named)?).map_err(named)
    }

    /// Removes the object of an entry. One that stays is swept later.
    pub fn remove(&self, prefix: &str, part: &str, sha256: &str) {
        if let Err(error) = self.path(prefix, part, sha256).and_then(|path| self.store.delete(&path)) {
            log::debug!("an object that is not needed any longer stays: {error}");
        }
    }

    /// Removes old objects under a prefix but for those named by prefix, part and hash. Gives how many there were.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub fn sweep<'a>(&self, prefix: &str, named: impl Iterator<Item = (&'a str, &'a str, &'a str)>) -> Result<usize> {
        let named: HashSet<Path> =
            named.map(|(prefix, part, sha256)| self.path(prefix, part, sha256)).collect::<Result<_>>()?;
        let mut removed = 0;
        for found in self.store.list(&self.folder(prefix)?)? {
            if !named.contains(&found.location) && age(found.last_modified.timestamp_millis()) > SWEEP_AFTER {
                self.store.delete(&found.location)?;
                removed += 1;
            }
        }
        Ok(removed + self.store.sweep_unfinished(&self.folder(prefix)?, SWEEP_AFTER))
    }

    /// Removes all objects under a prefix. Gives how many there were.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn retire(&self, prefix: &str) -> Result<usize> {
        let found = self.store.list(&self.folder(prefix)?)?;
        found.iter().try_for_each(|found| self.store.delete(&found.location))?;
        Ok(found.len())
    }
}

fn path(text: &str) -> Result<Path> {
    Path::parse(text).map_err(|error| Error::internal("an object has no path").caused_by(error))
}

/// A segment of a key as a name of a folder.
fn segment(encoded: &str) -> String {
    if encoded.len() > LONGEST_SEGMENT || matches!(encoded, "" | "." | "..") {
        format!("~{}", sha256_hex(encoded.as_bytes()))
    } else {
        encoded.to_owned()
    }
}

fn age(milliseconds: i64) -> Duration {
    let then = UNIX_EPOCH + Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0));
    SystemTime::now().duration_since(then).unwrap_or_default()
}

/// Puts a part together, from an object or from chunks.
///
/// # Errors
/// When it is not whole; retryable when the store does not answer.
pub fn fetch(
    claims: Option<&Claims>,
    prefix: &str,
    part: &str,
    entry: &PartEntry,
    chunk: &mut dyn FnMut(&str) -> Option<Vec<u8>>,
) -> Result<Vec<u8>> {
    match claims.filter(|_| entry.uri.is_some()) {
        Some(claims) => claims.get(prefix, part, entry),
        None => parts::assemble(prefix, part, entry, chunk),
    }
}

/// How parts are put in their places.
#[derive(Default)]
pub struct Placing<'a> {
    /// Largest chunk in a topic.
    pub chunk_bytes: usize,
    /// Where larger parts go.
    pub claims: Option<&'a Claims>,
    /// Whether nothing is written: only the slots are brought up to date.
    pub dry: bool,
    /// Objects that nobody needs any longer once the manifest is there, and that were not named again.
    pub dropped: Vec<Dropped>,
    /// Asked whether to try again after an error that may go away by itself.
    pub again: Option<&'a dyn Fn(&Error) -> bool>,
}

/// An object that is to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// The topic that named it.
    pub topic: String,
    /// Prefix, part and hash.
    pub object: (String, String, String),
}

impl Placing<'_> {
    /// Puts a part in its place; gives the records to write and its entry.
    ///
    /// # Errors
    /// When an object cannot be written.
    pub fn put(
        &mut self,
        slots: &mut Slots,
        prefix: &str,
        part: &str,
        bytes: &[u8],
    ) -> Result<(Vec<Keyed>, PartEntry)> {
        let sha256 = sha256_hex(bytes);
        let claims = self.claims.filter(|claims| bytes.len() > claims.store.above_bytes());
        let uri = match claims {
            None => None,
            // It was written when it was put there.
            Some(claims) if self.dry || slots.holds(prefix, part, &sha256, true) => {
                Some(claims.store.uri(&claims.path(prefix, part, &sha256)?))
            }
            Some(claims) => Some(self.write(claims, prefix, part, &sha256, bytes)?),
        };
        let Placed { records, entry, dropped } = slots.place(prefix, part, bytes, sha256, self.chunk_bytes, uri);
        if let Some(claims) = self.claims {
            let dropped_as = |sha256: &str| Dropped {
                topic: claims.topic.clone(),
                object: (prefix.to_owned(), part.to_owned(), sha256.to_owned()),
            };
            let named = dropped_as(&entry.sha256);
            self.dropped.retain(|dropped| *dropped != named);
            self.dropped.extend(dropped.map(|dropped| dropped_as(&dropped.sha256)));
        }
        Ok((records, entry))
    }

    fn write(&self, claims: &Claims, prefix: &str, part: &str, sha256: &str, bytes: &[u8]) -> Result<String> {
        loop {
            match claims.put(prefix, part, sha256, bytes) {
                Err(error) if error.is_retryable() && self.again.is_some_and(|again| again(&error)) => {}
                result => return result,
            }
        }
    }
}
