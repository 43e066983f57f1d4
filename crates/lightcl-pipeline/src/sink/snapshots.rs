//! Published models in the output folder: weights once by their hash, a manifest a version.

use super::files::{Named, TEMPORARY, names_in, remove, sync_folder, write_file};
use lightcl_core::{Blob, BlobEntry, Error, Manifest, Result, Snapshot, state};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Folder of the snapshots in an output folder.
pub const SNAPSHOT_FOLDER: &str = "snapshots";
/// Folder of the weights in the folder of the snapshots.
pub const BLOB_FOLDER: &str = "blobs";
/// File in a snapshot's folder that says what it holds.
pub const MANIFEST: &str = "manifest.json";

/// The snapshots of an output folder.
#[derive(Debug)]
pub(super) struct SnapshotFolder {
    folder: PathBuf,
    /// Version of the last committed snapshot.
    committed: u64,
    /// Versions that become visible with the next commit, in order.
    staged: Vec<u64>,
}

impl SnapshotFolder {
    pub fn new(output: &Path) -> Self {
        SnapshotFolder { folder: output.join(SNAPSHOT_FOLDER), committed: 0, staged: Vec::new() }
    }

    /// Version of the last snapshot written, committed or not.
    pub fn last(&self) -> u64 {
        self.staged.last().copied().unwrap_or(self.committed)
    }

    /// Writes weights that are not there yet, and the manifest under a temporary name.
    pub fn write(&mut self, snapshot: &Snapshot) -> Result<()> {
        let Snapshot { manifest, blobs } = snapshot;
        if manifest.blobs.len() != blobs.len() {
            return Err(Error::internal("a snapshot's manifest names other files than it has"));
        }
        let blob_folder = self.folder.join(BLOB_FOLDER);
        fs::create_dir_all(&blob_folder).named("make the folder", &blob_folder)?;
        for (entry, blob) in manifest.blobs.iter().zip(blobs) {
            let path = blob_path(&self.folder, &entry.sha256);
            let is_there = fs::metadata(&path).is_ok_and(|metadata| metadata.len() == blob.bytes.len() as u64);
            if !is_there {
                write_file(&path, |file| file.write_all(&blob.bytes))?;
            }
        }
        let text = serde_json::to_string_pretty(manifest)
            .map_err(|error| Error::internal("a manifest has no JSON form").caused_by(error))?;
        let staged = self.staged_path(manifest.version);
        fs::create_dir_all(&staged).named("make the folder", &staged)?;
        write_file(&staged.join(MANIFEST), |file| {
            file.write_all(text.as_bytes())?;
            file.write_all(b"\n")
        })?;
        self.staged.push(manifest.version);
        Ok(())
    }

    fn staged_path(&self, version: u64) -> PathBuf {
        self.folder.join(format!("{TEMPORARY}{}", version_name(version)))
    }

    /// Gives the staged snapshots their names.
    pub fn publish(&mut self) -> Result<()> {
        if self.staged.is_empty() {
            return Ok(());
        }
        for &version in &self.staged {
            let staged = self.staged_path(version);
            fs::rename(&staged, self.folder.join(version_name(version))).named("rename", &staged)?;
        }
        self.committed = self.last();
        self.staged.clear();
        sync_folder(&self.folder)
    }

    /// Removes what is newer than `committed`, and weights that no manifest names.
    pub fn cut(&mut self, committed: u64) -> Result<()> {
        self.abandon()?;
        for name in names_in(&self.folder)? {
            if name.starts_with(TEMPORARY) || version_of(&name).is_some_and(|version| version > committed) {
                remove(&self.folder.join(name))?;
            }
        }
        // Without all manifests it is not known which weights are named: then none go.
        let named = self.named_blobs()?;
        let blob_folder = self.folder.join(BLOB_FOLDER);
        for name in names_in(&blob_folder)? {
            let is_unnamed =
                named.as_ref().is_some_and(|named| name.ends_with(".safetensors") && !named.contains(&name));
            if name.starts_with(TEMPORARY) || is_unnamed {
                remove(&blob_folder.join(name))?;
            }
        }
        // Empty folders of an uncommitted start.
        let _ = fs::remove_dir(&blob_folder);
        let _ = fs::remove_dir(&self.folder);
        self.committed = committed;
        Ok(())
    }

    /// File names of all weights that a manifest names; none when a manifest cannot be read.
    fn named_blobs(&self) -> Result<Option<BTreeSet<String>>> {
        let mut named = BTreeSet::new();
        for version in snapshot_versions(&self.folder)? {
            let Ok(manifest) = read_manifest(&self.folder.join(version_name(version))) else { return Ok(None) };
            named.extend(manifest.blobs.into_iter().map(|entry| format!("{}.safetensors", entry.sha256)));
        }
        Ok(Some(named))
    }

    /// Removes what is staged.
    pub fn abandon(&mut self) -> Result<()> {
        for version in std::mem::take(&mut self.staged) {
            remove(&self.staged_path(version))?;
        }
        Ok(())
    }
}

fn version_name(version: u64) -> String {
    format!("v{version:06}")
}

/// The version that a folder's name says; none for other names.
pub(super) fn version_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix('v')?;
    (digits.len() >= 6 && digits.bytes().all(|digit| digit.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// Versions in a folder of snapshots, in order; none when there is no such folder.
///
/// # Errors
/// When the folder cannot be read.
pub fn snapshot_versions(snapshots: &Path) -> Result<Vec<u64>> {
    let mut versions: Vec<u64> = names_in(snapshots)?.iter().filter_map(|name| version_of(name)).collect();
    versions.sort_unstable();
    Ok(versions)
}

/// The folder of the newest snapshot in an output folder; none when there is none yet.
///
/// # Errors
/// When the folder cannot be read.
pub fn newest_snapshot(output: &Path) -> Result<Option<PathBuf>> {
    let snapshots = output.join(SNAPSHOT_FOLDER);
    Ok(snapshot_versions(&snapshots)?.last().map(|&newest| snapshots.join(version_name(newest))))
}

/// Reads a snapshot, its weights included, and verifies them. `path` is the snapshot's folder or its manifest; the weights
/// lie in `blobs` beside the folder or in it.
///
/// # Errors
/// When the manifest or a file of weights cannot be read or is damaged.
pub fn read_snapshot(path: &Path) -> Result<Snapshot> {
    let folder = snapshot_folder(path)?;
    let manifest = read_manifest(&folder)?;
    let blobs = manifest.blobs.iter().map(|entry| read_blob(&folder, entry)).collect::<Result<_>>()?;
    Ok(Snapshot { manifest, blobs })
}

/// The folder of the snapshot that `path` names: the folder itself or its manifest.
pub fn snapshot_folder(path: &Path) -> Result<PathBuf> {
    if path.join(MANIFEST).is_file() {
        return Ok(path.to_owned());
    }
    if path.is_file() {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if path.file_name().is_some_and(|name| name == MANIFEST) {
            return Ok(folder.to_owned());
        }
    }
    let versions = snapshot_versions(&path.join(SNAPSHOT_FOLDER)).unwrap_or_default();
    let advice = match versions.last() {
        Some(&last) => {
            format!("; did you mean {}?", path.join(SNAPSHOT_FOLDER).join(version_name(last)).display())
        }
        None => format!("; a snapshot is a folder with a {MANIFEST}"),
    };
    Err(Error::user(format!("{} is no snapshot{advice}", path.display())))
}

/// Reads and verifies one file of weights of the snapshot in `folder`.
pub fn read_blob(folder: &Path, entry: &BlobEntry) -> Result<Blob> {
    let BlobEntry { role, sha256, bytes: length } = entry;
    // By its absolute path, so that `.` has a folder around it.
    let absolute = folder.canonicalize().named("find", folder)?;
    let beside = absolute.parent().map(|around| blob_path(around, sha256));
    let within = blob_path(&absolute, sha256);
    let path = beside.filter(|path| path.is_file()).unwrap_or(within);
    let bytes = fs::read(&path).named(&format!("read the {role} weights"), &path)?;
    if bytes.len() as u64 != *length || state::sha256_hex(&bytes) != *sha256 {
        return Err(Error::user(format!("the {role} weights are damaged: their hash is not the one in the manifest"))
            .with("file", path.display()));
    }
    Ok(Blob { role: role.clone(), bytes: Arc::new(bytes) })
}

/// Where the weights with the given hash lie in a folder of snapshots.
pub(crate) fn blob_path(snapshots: &Path, sha256: &str) -> PathBuf {
    snapshots.join(BLOB_FOLDER).join(format!("{sha256}.safetensors"))
}

/// Reads the manifest in a snapshot's folder.
///
/// # Errors
/// When it cannot be read or is no manifest.
pub fn read_manifest(snapshot: &Path) -> Result<Manifest> {
    let path = snapshot.join(MANIFEST);
    let text = fs::read(&path).named("read", &path)?;
    serde_json::from_slice(&text)
        .map_err(|error| Error::user(format!("{} is no manifest of a snapshot", path.display())).caused_by(error))
}
