//! The file that makes a commit count: positions, the lengths of all outputs, and the state, under one hash.
//!
//! Layout, numbers little-endian: `LIGHTCL\0`, version (u32), length of the header (u64), length of the state (u64),
//! header (JSON), state, SHA-256 of everything before it.

use super::files::{Named, failed, names_in, write_file};
use lightcl_core::{Error, Positions, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Folder of the checkpoints in an output folder.
pub const CHECKPOINT_FOLDER: &str = "checkpoints";

const MAGIC: &[u8; 8] = b"LIGHTCL\0";
const VERSION: u32 = 1;
/// Magic, version and both lengths.
const PREFIX_BYTES: usize = 8 + 4 + 8 + 8;
const HASH_BYTES: usize = 32;
const EXTENSION: &str = ".lightcl";
const STEM: &str = "checkpoint-";

/// What a checkpoint says beside the state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointHeader {
    /// Number of the commit in the run, from 1.
    pub epoch: u64,
    /// What had been read from the source.
    pub positions: Positions,
    /// Committed bytes of each file of JSON lines, by name.
    pub lengths: BTreeMap<String, u64>,
    /// Part files that this commit added.
    pub parts: Vec<String>,
    /// Version of the last committed snapshot; 0 before the first.
    pub snapshots: u64,
    /// The settings that decide what is learnt, as the run gave them.
    pub configuration: serde_json::Value,
}

/// A committed point of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Everything beside the state.
    pub header: CheckpointHeader,
    /// The operator's state.
    pub state: Vec<u8>,
}

/// Writes the checkpoint of a commit. Once this returns, the commit stands.
pub(super) fn write_checkpoint(output: &Path, header: &CheckpointHeader, state: &[u8]) -> Result<()> {
    let header_bytes = serde_json::to_vec(header)
        .map_err(|error| Error::internal("the checkpoint's header has no JSON form").caused_by(error))?;
    let mut prefix = Vec::with_capacity(PREFIX_BYTES);
    prefix.extend_from_slice(MAGIC);
    prefix.extend_from_slice(&VERSION.to_le_bytes());
    prefix.extend_from_slice(&(header_bytes.len() as u64).to_le_bytes());
    prefix.extend_from_slice(&(state.len() as u64).to_le_bytes());
    let mut hash = Sha256::new();
    for part in [&prefix[..], &header_bytes, state] {
        hash.update(part);
    }
    let hash = hash.finalize();
    write_file(&checkpoint_path(output, header.epoch), |file| {
        for part in [&prefix[..], &header_bytes, state, &hash] {
            file.write_all(part)?;
        }
        Ok(())
    })
}

fn checkpoint_path(output: &Path, epoch: u64) -> PathBuf {
    output.join(CHECKPOINT_FOLDER).join(format!("{STEM}{epoch:09}{EXTENSION}"))
}

/// Reads and verifies one checkpoint.
///
/// # Errors
/// An external error when the file cannot be read; a user error when it is damaged, no checkpoint at all, or from a newer
/// version of the program.
pub fn read_checkpoint(path: &Path) -> Result<Checkpoint> {
    let bytes = fs::read(path).named("read", path)?;
    parse(&bytes).map_err(|flaw| flaw.into_error().with("file", path.display()))
}

/// Why bytes are no checkpoint for us.
#[derive(Debug)]
enum Flaw {
    /// They are not what was once written.
    Damaged(Error),
    /// They are whole, but another version wrote them.
    OtherVersion(Error),
}

impl Flaw {
    fn into_error(self) -> Error {
        match self {
            Flaw::Damaged(error) | Flaw::OtherVersion(error) => error,
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Checkpoint, Flaw> {
    let damaged = |why: &str| Flaw::Damaged(Error::user(format!("the checkpoint is damaged: {why}")));
    if bytes.len() < PREFIX_BYTES + HASH_BYTES || !bytes.starts_with(MAGIC) {
        return Err(damaged("it is too short or begins with something else"));
    }
    let (content, hash) = bytes.split_at(bytes.len() - HASH_BYTES);
    if Sha256::digest(content)[..] != *hash {
        return Err(damaged("its hash is wrong"));
    }
    // From here on the file is what some version of this program wrote.
    let number = |at: usize| -> u64 {
        let mut number = [0; 8];
        number.copy_from_slice(&content[at..at + 8]);
        u64::from_le_bytes(number)
    };
    let version = number(8) as u32;
    if version != VERSION {
        let error = Error::user(
            "the checkpoint was written by another version of lightcl; go on with that one, or start over with --fresh",
        );
        return Err(Flaw::OtherVersion(error.with("found", version).with("expected", VERSION)));
    }
    let (header_length, state_length) = (number(12), number(20));
    let body = &content[PREFIX_BYTES..];
    let whole = header_length.checked_add(state_length);
    let Some(header_length) = usize::try_from(header_length).ok().filter(|_| whole == Some(body.len() as u64)) else {
        return Err(damaged("its lengths do not add up"));
    };
    let (header, state) = body.split_at(header_length);
    let header = serde_json::from_slice(header).map_err(|error| damaged(&format!("its header: {error}")))?;
    Ok(Checkpoint { header, state: state.to_vec() })
}

/// All checkpoint files of an output folder, the newest first.
///
/// # Errors
/// When the folder cannot be read.
pub fn checkpoint_files(output: &Path) -> Result<Vec<PathBuf>> {
    let folder = output.join(CHECKPOINT_FOLDER);
    let mut files: Vec<(u64, PathBuf)> =
        names_in(&folder)?.into_iter().filter_map(|name| Some((epoch_of(&name)?, folder.join(name)))).collect();
    files.sort_by_key(|(epoch, _)| std::cmp::Reverse(*epoch));
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

/// The epoch in a checkpoint's name; none for other files.
pub(super) fn epoch_of(name: &str) -> Option<u64> {
    name.strip_prefix(STEM)?.strip_suffix(EXTENSION)?.parse().ok()
}

/// The newest checkpoint that is whole; none when nothing was committed. Nothing is changed.
///
/// # Errors
/// When a checkpoint cannot be read or is of another version, or when there are some and all are damaged.
pub fn latest_checkpoint(output: &Path) -> Result<Option<Checkpoint>> {
    Ok(newest_whole(output)?.0)
}

/// A checkpoint that cannot be read, and why.
pub(super) type Damaged = (PathBuf, Error);

/// As [`latest_checkpoint`], with the damaged files that are newer.
pub(super) fn newest_whole(output: &Path) -> Result<(Option<Checkpoint>, Vec<Damaged>)> {
    let mut damaged = Vec::new();
    for path in checkpoint_files(output)? {
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) => return Err(failed("read", &path, error)),
        };
        match parse(&bytes) {
            Ok(checkpoint) => return Ok((Some(checkpoint), damaged)),
            Err(Flaw::OtherVersion(error)) => return Err(error.with("file", path.display())),
            Err(Flaw::Damaged(error)) => damaged.push((path, error)),
        }
    }
    match damaged.pop() {
        None => Ok((None, Vec::new())),
        Some((path, error)) => Err(Error::user(
            "no checkpoint of this folder can be read: put back a copy of one, start over with --fresh, or choose \
             another folder with --out",
        )
        .with("file", path.display())
        .caused_by(error)),
    }
}

/// Removes all but the newest `keep` checkpoints.
pub(super) fn drop_old(output: &Path, keep: usize) -> Result<()> {
    for path in checkpoint_files(output)?.into_iter().skip(keep.max(1)) {
        super::files::remove(&path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> CheckpointHeader {
        let mut positions = Positions::default();
        positions.advance("a.arrow", 7);
        CheckpointHeader {
            epoch: 3,
            positions,
            lengths: BTreeMap::from([("boundaries.jsonl".to_owned(), 12)]),
            parts: vec!["boundaries/part-000000003.parquet".to_owned()],
            snapshots: 1,
            configuration: serde_json::json!({ "learner": { "seed": 0 } }),
        }
    }

    fn written() -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(CHECKPOINT_FOLDER)).unwrap();
        write_checkpoint(folder.path(), &header(), &[1, 2, 3]).unwrap();
        fs::read(checkpoint_path(folder.path(), 3)).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(parse(&written()).unwrap(), Checkpoint { header: header(), state: vec![1, 2, 3] });
    }

    #[test]
    fn a_file_cut_at_any_byte_or_with_any_byte_changed_is_damaged() {
        let whole = written();
        for end in 0..whole.len() {
            assert!(parse(&whole[..end]).is_err(), "{end}");
        }
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x10;
            assert!(matches!(parse(&bytes), Err(Flaw::Damaged(_))), "{place}");
        }
        assert!(parse(&[whole, vec![0]].concat()).is_err());
    }

    fn sealed(mut content: Vec<u8>) -> Vec<u8> {
        let hash = Sha256::digest(&content);
        content.extend_from_slice(&hash);
        content
    }

    #[test]
    fn another_version_and_lengths_that_do_not_add_up_are_told_apart() {
        let content = |version: u32, header: u64, state: u64| {
            let mut bytes = MAGIC.to_vec();
            bytes.extend_from_slice(&version.to_le_bytes());
            bytes.extend_from_slice(&header.to_le_bytes());
            bytes.extend_from_slice(&state.to_le_bytes());
            bytes.extend_from_slice(b"{}");
            sealed(bytes)
        };
        assert!(matches!(parse(&content(2, 2, 0)), Err(Flaw::OtherVersion(_))));
        for (header, state) in [(3, 0), (1, 0), (u64::MAX, 3), (u64::MAX, u64::MAX), (2, 0)] {
            assert!(matches!(parse(&content(1, header, state)), Err(Flaw::Damaged(_))), "{header} {state}");
        }
    }
}
