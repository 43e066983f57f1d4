//! Where learners of a job are kept: `LOCATION/JOB/RANGE/KEY`, an output folder each, as `lightcl run` writes it.
//!
//! A learner is trained in a folder of its own under `.attempts` and gets its name in one step when it is done. Two that train
//! the same learner at once (a retried task whose first executor only seemed to be gone) do not meet; the first to be done
//! stays, and the other takes note. What a killed process leaves under `.attempts` is nobody's.

use super::options::KeyedOptions;
use lightcl_core::state::sha256_hex;
use lightcl_core::{Error, Result};
use lightcl_pipeline::sink::{SUMMARY, publish_folder, write_file};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Unfinished learners.
const ATTEMPTS: &str = ".attempts";
/// Longest name of a key's folder that is made of the key alone; what is longer is cut and told apart by a hash.
const LONGEST: usize = 120;
/// Hexadecimal digits of that hash.
const DIGITS: usize = 20;

/// What is told of a learner that is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// Rows read, rejected ones included.
    pub samples: u64,
    /// Rows rejected.
    pub rejected: u64,
    /// Tasks that it found.
    pub tasks: u32,
    /// Share of rows predicted rightly before they were learnt from.
    pub prequential_accuracy: Option<f64>,
    /// Hash of all that it knows.
    pub state_sha256: String,
}

/// The results of one job over one range.
#[derive(Debug, Clone)]
pub(super) struct Results {
    folder: PathBuf,
    attempts: PathBuf,
}

impl Results {
    pub fn new(options: &KeyedOptions, range: &str) -> Self {
        let job = options.location.join(&options.job);
        Results { folder: job.join(range), attempts: job.join(ATTEMPTS) }
    }

    /// The folder of a key's learner.
    pub fn of(&self, key: &str) -> PathBuf {
        self.folder.join(folder_name(key))
    }

    /// What a learner that is done has come to; none where it is not.
    ///
    /// # Errors
    /// When its folder cannot be read.
    pub fn outcome(&self, key: &str) -> Result<Option<Outcome>> {
        let path = self.of(key).join(SUMMARY);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(cannot("read", &path, error)),
        };
        serde_json::from_str(&text).map(Some).map_err(|error| {
            Error::user("the summary of a learner is damaged: remove its folder, and it is trained again")
                .with("file", path.display())
                .caused_by(error)
        })
    }

    /// A folder to train a learner in; it is removed unless it is published.
    ///
    /// # Errors
    /// When folders cannot be made.
    pub fn attempt(&self) -> Result<TempDir> {
        for folder in [&self.folder, &self.attempts] {
            fs::create_dir_all(folder).map_err(|error| cannot("make", folder, error))?;
        }
        TempDir::new_in(&self.attempts).map_err(|error| cannot("make a folder in", &self.attempts, error))
    }

    /// Gives a trained learner its name. Gives what stands there then: this one, or that which was done first.
    ///
    /// # Errors
    /// When the disk fails or is full, or the one that was done first knows something else.
    pub fn publish(&self, key: &str, attempt: TempDir, summary: &impl Serialize) -> Result<Outcome> {
        let text = serde_json::to_string_pretty(summary)
            .map_err(|error| Error::internal("the summary has no JSON form").caused_by(error))?;
        write_file(&attempt.path().join(SUMMARY), |file| writeln!(file, "{text}"))?;
        let folder = self.of(key);
        // Nobody removes it any more once it has another name.
        if publish_folder(attempt.path(), &folder)? {
            let _ = attempt.keep();
        }
        let ours: Outcome = serde_json::from_str(&text)
            .map_err(|error| Error::internal("the summary cannot be read back").caused_by(error))?;
        let there = self
            .outcome(key)?
            .ok_or_else(|| Error::internal("a learner that was published is gone").with("folder", folder.display()))?;
        if there.state_sha256 != ours.state_sha256 {
            return Err(changed(key, &folder)
                .with("its state", &there.state_sha256)
                .with("state of these rows", &ours.state_sha256));
        }
        Ok(there)
    }
}

/// The error of rows that are others than those which a learner that is done was trained on.
pub(super) fn changed(key: &str, folder: &Path) -> Error {
    Error::user(
        "a learner of this job and range was trained on other rows: name the job or the range anew, or remove its folder",
    )
    .with("key", key)
    .with("folder", folder.display())
}

fn cannot(action: &str, path: &Path, error: io::Error) -> Error {
    Error::external(format!("cannot {action} {}", path.display())).caused_by(error)
}

/// A key as the name of a folder: letters, digits, `-`, `_` and points that are not first as they are, all other bytes as `%`
/// and two hexadecimal digits, so that two keys never have one name.
fn folder_name(key: &str) -> String {
    let mut name = String::new();
    for (place, byte) in key.bytes().enumerate() {
        if byte.is_ascii_alphanumeric() || b"-_".contains(&byte) || (byte == b'.' && place > 0) {
            name.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(name, "%{byte:02X}");
        }
    }
    if name.len() > LONGEST {
        name.truncate(LONGEST - DIGITS - 1);
        // No short name has this sign.
        let _ = write!(name, "~{}", &sha256_hex(key.as_bytes())[..DIGITS]);
    }
    // The empty key needs a name too.
    if name.is_empty() { "%".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn results(folder: &Path) -> Results {
        Results::new(&KeyedOptions::new("[sample]", "k", folder).job("j"), "r")
    }

    fn outcome(state: &str) -> Outcome {
        Outcome { samples: 3, rejected: 1, tasks: 1, prequential_accuracy: Some(0.5), state_sha256: state.to_owned() }
    }

    #[test]
    fn names_of_keys_differ_and_stay_in_their_folder() {
        let long = "x".repeat(300);
        let other = format!("{}y", &long[1..]);
        let keys = ["", "a", "A", "a b", "a%20b", "..", ".", "../a", "a/b", "é", "~", &long, &other];
        let names: BTreeSet<String> = keys.iter().map(|key| folder_name(key)).collect();
        assert_eq!(names.len(), keys.len());
        assert!(names.iter().all(|name| !name.contains('/') && !name.starts_with('.') && name.len() <= LONGEST));
        assert_eq!(folder_name("shop-7.de"), "shop-7.de");
    }

    #[test]
    fn a_learner_is_published_once_and_another_with_the_same_state_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let results = results(folder.path());
        assert_eq!(results.outcome("a").unwrap(), None);
        let (first, second) = (results.attempt().unwrap(), results.attempt().unwrap());
        fs::write(first.path().join("who"), "first").unwrap();
        assert_eq!(results.publish("a", first, &outcome("s")).unwrap(), outcome("s"));
        assert_eq!(results.publish("a", second, &outcome("s")).unwrap(), outcome("s"));
        assert_eq!(fs::read(results.of("a").join("who")).unwrap(), b"first");
        assert_eq!(results.outcome("a").unwrap(), Some(outcome("s")));
        assert_eq!(fs::read_dir(folder.path().join("j/.attempts")).unwrap().count(), 0);
    }

    #[test]
    fn another_state_or_a_damaged_summary_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let results = results(folder.path());
        results.publish("a", results.attempt().unwrap(), &outcome("s")).unwrap();
        let error = results.publish("a", results.attempt().unwrap(), &outcome("t")).unwrap_err();
        assert!(error.to_string().contains("trained on other rows"), "{error}");
        fs::write(results.of("a").join(SUMMARY), "{").unwrap();
        assert!(results.outcome("a").unwrap_err().to_string().contains("remove its folder"));
    }
}
