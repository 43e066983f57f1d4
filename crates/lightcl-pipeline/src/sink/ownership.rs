//! Whose folder it is, and who writes into it now.

use super::checkpoint::{CHECKPOINT_FOLDER, epoch_of};
use super::files::{Named, TEMPORARY, failed, names_in, remove};
use super::lines;
use super::parts::PART_FOLDERS;
use super::snapshots::{BLOB_FOLDER, SNAPSHOT_FOLDER, version_of};
use lightcl_core::{Error, Result};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::Path;

/// File of the summary of the last run that came to its end, in the output folder.
pub const SUMMARY: &str = "summary.json";

/// The file that marks a folder as ours and is locked while a run writes there.
const LOCK: &str = "lightcl.lock";

/// Whether a run has written into this folder.
pub fn is_output_folder(folder: &Path) -> bool {
    folder.join(LOCK).is_file()
}

/// Makes the folder ours and ours alone until the file given back is closed.
pub(super) fn claim(folder: &Path) -> Result<File> {
    if folder.exists() && !folder.is_dir() {
        return Err(Error::user(format!(
            "the output folder {} is a file; choose another with --out",
            folder.display()
        )));
    }
    fs::create_dir_all(folder).named("make the output folder", folder)?;
    if !is_output_folder(folder) {
        let foreign: Vec<String> = names_in(folder)?.into_iter().filter(|name| !name.starts_with('.')).collect();
        if !foreign.is_empty() {
            return Err(Error::user(format!(
                "the folder {} holds things that are not from a run ({}{}); choose another with --out",
                folder.display(),
                foreign[..foreign.len().min(3)].join(", "),
                if foreign.len() > 3 { ", .." } else { "" }
            )));
        }
    }
    let path = folder.join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| failed("write into the output folder:", &path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::external(format!(
            "another run is writing into {}; wait for it, or choose another folder with --out",
            folder.display()
        ))
        .retryable()),
        Err(TryLockError::Error(error)) => Err(failed("lock", &path, error)),
    }
}

/// Removes everything that runs have written, and nothing else.
pub(super) fn clear(folder: &Path) -> Result<()> {
    // Checkpoints go first: a run that is interrupted here finds an uncommitted start, which it removes.
    clear_folder(&folder.join(CHECKPOINT_FOLDER), |name| {
        epoch_of(name.trim_end_matches(DAMAGED)).is_some() || name.starts_with(TEMPORARY)
    })?;
    for name in lines::ALL.into_iter().chain([SUMMARY]) {
        remove(&folder.join(name))?;
    }
    for part_folder in PART_FOLDERS {
        clear_folder(&folder.join(part_folder), |name| name.starts_with("part-") || name.starts_with(TEMPORARY))?;
    }
    let snapshots = folder.join(SNAPSHOT_FOLDER);
    clear_folder(&snapshots.join(BLOB_FOLDER), |name| name.ends_with(".safetensors") || name.starts_with(TEMPORARY))?;
    clear_folder(&snapshots, |name| version_of(name).is_some() || name.starts_with(TEMPORARY))
}

/// What a damaged checkpoint's name ends in.
pub(super) const DAMAGED: &str = ".damaged";

fn clear_folder(folder: &Path, is_ours: impl Fn(&str) -> bool) -> Result<()> {
    for name in names_in(folder)?.iter().filter(|name| is_ours(name)) {
        remove(&folder.join(name))?;
    }
    // A folder with somebody's files in it stays.
    let _ = fs::remove_dir(folder);
    Ok(())
}
