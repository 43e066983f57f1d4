//! What output folders hold.

use lightcl_core::{Error, Manifest, Result};
use lightcl_pipeline::sink::{
    Checkpoint, SNAPSHOT_FOLDER, is_output_folder, latest_checkpoint, read_manifest, snapshot_folder, snapshot_versions,
};
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A model's place, looked into once.
pub(super) struct Committed {
    path: PathBuf,
    /// The last commit; none before the first, and of a lone snapshot.
    pub checkpoint: Option<Checkpoint>,
    is_snapshot: bool,
}

impl Committed {
    /// Looks into an output folder or a snapshot. A place that is not there yet is empty.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let is_folder = !path.exists() || is_output_folder(path);
        let checkpoint = if is_folder { latest_checkpoint(path)? } else { None };
        Ok(Committed { path: path.to_owned(), checkpoint, is_snapshot: !is_folder })
    }

    /// The published models, with where each is.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn snapshots(&self) -> Result<Vec<(PathBuf, Manifest)>> {
        if self.is_snapshot {
            let folder = snapshot_folder(&self.path)?;
            let manifest = read_manifest(&folder)?;
            return Ok(vec![(folder, manifest)]);
        }
        let last = self.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.header.snapshots);
        let folder = self.path.join(SNAPSHOT_FOLDER);
        let versions = snapshot_versions(&folder)?.into_iter().filter(|version| *version <= last);
        versions
            .map(|version| {
                let folder = place_of(&self.path, version);
                read_manifest(&folder).map(|manifest| (folder, manifest))
            })
            .collect()
    }

    /// The committed lines of a file.
    ///
    /// # Errors
    /// When the file cannot be read, or a line is not what it should be.
    pub fn lines<T: DeserializeOwned>(&self, name: &'static str) -> Result<Vec<T>> {
        let length = self.checkpoint.as_ref().and_then(|checkpoint| checkpoint.header.lengths.get(name)).copied();
        let Some(length) = length.filter(|length| *length > 0) else { return Ok(Vec::new()) };
        let path = self.path.join(name);
        let mut text = String::new();
        // What stands behind the committed length may be cut off yet.
        File::open(&path)
            .and_then(|file| file.take(length).read_to_string(&mut text))
            .map_err(|error| Error::external(format!("cannot read {}", path.display())).caused_by(error))?;
        text.lines()
            .map(|line| {
                serde_json::from_str(line).map_err(|error| {
                    Error::user(format!("{} holds a line that no run wrote", path.display())).caused_by(error)
                })
            })
            .collect()
    }
}

/// Where a version is, or will be.
pub(super) fn place_of(output: &Path, version: u64) -> PathBuf {
    output.join(SNAPSHOT_FOLDER).join(format!("v{version:06}"))
}
