//! The output folder.

use super::checkpoint::{self, CHECKPOINT_FOLDER, CheckpointHeader};
use super::files::{Named, TEMPORARY, names_in, remove, sync_folder};
use super::lines::{self, BOUNDARIES, DEAD_LETTERS, LineFile, PREDICTIONS, STABILITY};
use super::ownership;
use super::parts::{self, BOUNDARY_PARTS, PREDICTION_PARTS, PartFile, PartFormat, STABILITY_PARTS};
use super::rows::{PredictionRows, boundary_rows, stability_rows};
use super::snapshots::SnapshotFolder;
use crate::config::settings::PredictionFormat;
use lightcl_core::{BoundaryEvent, Commit, Error, Output, Result, Sink, StabilityReport};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Predictions that are gathered before they are encoded.
const PREDICTION_BATCH_ROWS: usize = 4096;
/// Boundary events and stability reports that are gathered before they are encoded.
const REPORT_BATCH_ROWS: usize = 64;

/// How a folder is written.
#[derive(Debug, Clone, PartialEq)]
pub struct FolderOptions {
    /// What becomes of predictions.
    pub predictions: PredictionFormat,
    /// How many checkpoints are kept, at least one.
    pub keep: usize,
    /// Whether to remove first what earlier runs wrote.
    pub fresh: bool,
    /// The settings that decide what is learnt; each checkpoint says them, so that a resumed run can compare.
    pub configuration: serde_json::Value,
}

impl Default for FolderOptions {
    fn default() -> Self {
        FolderOptions {
            predictions: PredictionFormat::None,
            keep: 2,
            fresh: false,
            configuration: serde_json::Value::Null,
        }
    }
}

/// Writes outputs, positions and state into one folder.
///
/// Boundaries, stability reports, dead letters and (if wanted) predictions are appended to JSON lines; boundaries,
/// reports and predictions also become tables, one file a commit. A commit makes all of it durable and then writes the
/// checkpoint, which says how long every file is; the renaming of that file is the one moment that counts. Recovering cuts
/// everything back to what the newest whole checkpoint says. One process writes into a folder at a time.
///
/// ```
/// use lightcl_pipeline::sink::{FolderOptions, FolderSink};
/// use lightcl_core::{Commit, Positions, Sink};
///
/// let folder = tempfile::tempdir().expect("a folder");
/// let mut sink = FolderSink::open(&folder.path().join("out"), FolderOptions::default())?;
/// assert!(sink.recover()?.is_none());
/// sink.commit(&Commit { epoch: 1, positions: Positions::default(), state: vec![1, 2] })?;
/// assert_eq!(sink.recover()?.map(|commit| commit.state), Some(vec![1, 2]));
/// # Ok::<(), lightcl_core::Error>(())
/// ```
pub struct FolderSink {
    folder: PathBuf,
    options: FolderOptions,
    lines: BTreeMap<&'static str, LineFile>,
    boundaries: Vec<BoundaryEvent>,
    boundary_part: PartFile,
    reports: Vec<StabilityReport>,
    stability_part: PartFile,
    predictions: PredictionRows,
    prediction_part: PartFile,
    snapshots: SnapshotFolder,
    epoch: u64,
    /// Whether outputs follow on what is committed: not before recovering, and not after a failure.
    is_ready: bool,
    /// Held for the lock on it.
    _lock: File,
}

impl FolderSink {
    /// Opens a folder, makes it when it is not there, and locks it.
    ///
    /// # Errors
    /// When the folder holds things that no run wrote, another run is writing into it, or it cannot be written.
    pub fn open(folder: &Path, options: FolderOptions) -> Result<Self> {
        let lock = ownership::claim(folder)?;
        if options.fresh {
            ownership::clear(folder)?;
        }
        let format = match options.predictions {
            PredictionFormat::Arrow => PartFormat::Arrow,
            _ => PartFormat::Parquet,
        };
        Ok(FolderSink {
            lines: lines::ALL.into_iter().map(|name| (name, LineFile::new(folder.join(name)))).collect(),
            boundaries: Vec::new(),
            boundary_part: PartFile::new(folder, BOUNDARY_PARTS, PartFormat::Parquet),
            reports: Vec::new(),
            stability_part: PartFile::new(folder, STABILITY_PARTS, PartFormat::Parquet),
            predictions: PredictionRows::default(),
            prediction_part: PartFile::new(folder, PREDICTION_PARTS, format),
            snapshots: SnapshotFolder::new(folder),
            epoch: 0,
            is_ready: false,
            _lock: lock,
            folder: folder.to_owned(),
            options,
        })
    }

    fn append_line<T: serde::Serialize>(&mut self, name: &'static str, value: &T) -> Result<()> {
        self.lines
            .get_mut(name)
            .ok_or_else(|| Error::internal("there is no such file of lines").with("file", name))?
            .append(value)
    }

    fn write_one(&mut self, output: &Output) -> Result<()> {
        match output {
            Output::Prediction(prediction) => match self.options.predictions {
                PredictionFormat::None => Ok(()),
                PredictionFormat::Jsonl => self.append_line(PREDICTIONS, prediction),
                PredictionFormat::Parquet | PredictionFormat::Arrow => {
                    self.predictions.push(prediction);
                    if self.predictions.len() >= PREDICTION_BATCH_ROWS { self.encode_predictions() } else { Ok(()) }
                }
            },
            Output::Boundary(event) => {
                self.append_line(BOUNDARIES, event)?;
                self.boundaries.push(event.clone());
                if self.boundaries.len() >= REPORT_BATCH_ROWS { self.encode_reports() } else { Ok(()) }
            }
            Output::Stability(report) => {
                self.append_line(STABILITY, report)?;
                self.reports.push(report.as_ref().clone());
                if self.reports.len() >= REPORT_BATCH_ROWS { self.encode_reports() } else { Ok(()) }
            }
            Output::Snapshot(snapshot) => self.snapshots.write(snapshot),
            Output::Rejected(letter) => self.append_line(DEAD_LETTERS, letter),
        }
    }

    fn encode_predictions(&mut self) -> Result<()> {
        if self.predictions.len() == 0 {
            return Ok(());
        }
        let batch = self.predictions.take()?;
        self.prediction_part.append(&batch)
    }

    fn encode_reports(&mut self) -> Result<()> {
        if !self.boundaries.is_empty() {
            self.boundary_part.append(&boundary_rows(&std::mem::take(&mut self.boundaries))?)?;
        }
        if !self.reports.is_empty() {
            self.stability_part.append(&stability_rows(&std::mem::take(&mut self.reports))?)?;
        }
        Ok(())
    }

    /// First step of a commit: lines are on disk.
    fn sync_lines(&mut self) -> Result<()> {
        self.lines.values_mut().try_for_each(LineFile::sync)
    }

    /// Second step: parts are on disk under their names.
    fn finish_parts(&mut self, epoch: u64) -> Result<Vec<String>> {
        self.encode_predictions()?;
        self.encode_reports()?;
        let mut parts = Vec::new();
        for part in [&mut self.boundary_part, &mut self.stability_part, &mut self.prediction_part] {
            parts.extend(part.finish(epoch)?);
        }
        Ok(parts)
    }

    /// Third step: snapshots have their names, and the names of new files and folders are on disk.
    fn publish_snapshots(&mut self) -> Result<()> {
        self.snapshots.publish()?;
        let checkpoints = self.folder.join(CHECKPOINT_FOLDER);
        fs::create_dir_all(&checkpoints).named("make the folder", &checkpoints)?;
        sync_folder(&self.folder)
    }

    /// Last step: the checkpoint makes all of it count.
    fn write_checkpoint(&mut self, commit: &Commit, parts: Vec<String>) -> Result<()> {
        let lengths = self.lines.iter().map(|(name, file)| ((*name).to_owned(), file.length()));
        let header = CheckpointHeader {
            epoch: commit.epoch,
            positions: commit.positions.clone(),
            lengths: lengths.filter(|(_, length)| *length > 0).collect(),
            parts,
            snapshots: self.snapshots.last(),
            configuration: self.options.configuration.clone(),
        };
        checkpoint::write_checkpoint(&self.folder, &header, &commit.state)?;
        self.epoch = commit.epoch;
        Ok(())
    }

    fn commit_in_steps(&mut self, commit: &Commit) -> Result<()> {
        self.sync_lines()?;
        let parts = self.finish_parts(commit.epoch)?;
        self.publish_snapshots()?;
        self.write_checkpoint(commit, parts)?;
        // A checkpoint too many is no harm, and the commit stands.
        if let Err(error) = checkpoint::drop_old(&self.folder, self.options.keep) {
            log::warn!("an old checkpoint stays: {error}");
        }
        Ok(())
    }

    fn require_ready(&self) -> Result<()> {
        if self.is_ready {
            return Ok(());
        }
        Err(Error::internal("the folder must be recovered before it is written").with("folder", self.folder.display()))
    }

    /// After a failure: nothing more is written until the folder is recovered, and unfinished files go. Lines stay as they
    /// are, since the commit may stand in spite of the failure.
    fn give_up(&mut self) {
        self.is_ready = false;
        self.boundaries.clear();
        self.reports.clear();
        self.predictions = PredictionRows::default();
        self.lines.values_mut().for_each(LineFile::abandon);
        // Best effort: what stays is removed when the folder is recovered.
        for part in [&mut self.boundary_part, &mut self.stability_part, &mut self.prediction_part] {
            let _ = part.abandon();
        }
        let _ = self.snapshots.abandon();
    }

    /// Goes through `work`, and gives up when it fails.
    fn guarded<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let result = work(self);
        if result.is_err() {
            self.give_up();
        }
        result
    }

    fn cut_back(&mut self) -> Result<Option<Commit>> {
        let (checkpoint, damaged) = checkpoint::newest_whole(&self.folder)?;
        for (path, error) in damaged {
            let mut aside = path.clone().into_os_string();
            aside.push(ownership::DAMAGED);
            fs::rename(&path, &aside).named("rename", &path)?;
            log::warn!("{error}; going back to the checkpoint before it ({})", path.display());
        }
        let (header, state) = match checkpoint {
            Some(checkpoint) => (Some(checkpoint.header), checkpoint.state),
            None => (None, Vec::new()),
        };
        let committed = |name: &str| header.as_ref().and_then(|header| header.lengths.get(name)).copied().unwrap_or(0);
        for (name, file) in &mut self.lines {
            file.cut(committed(name))?;
        }
        self.epoch = header.as_ref().map_or(0, |header| header.epoch);
        parts::remove_after(&self.folder, self.epoch)?;
        self.snapshots.cut(header.as_ref().map_or(0, |header| header.snapshots))?;
        for folder in [self.folder.clone(), self.folder.join(CHECKPOINT_FOLDER)] {
            for name in names_in(&folder)?.iter().filter(|name| name.starts_with(TEMPORARY)) {
                remove(&folder.join(name))?;
            }
        }
        // It says that a run came to its end, and there is more to do, or the end is said again.
        remove(&self.folder.join(ownership::SUMMARY))?;
        sync_folder(&self.folder)?;
        Ok(header.map(|header| Commit { epoch: header.epoch, positions: header.positions, state }))
    }
}

impl Sink for FolderSink {
    fn write(&mut self, outputs: &[Output]) -> Result<()> {
        self.require_ready()?;
        self.guarded(|sink| outputs.iter().try_for_each(|output| sink.write_one(output)))
    }

    fn commit(&mut self, commit: &Commit) -> Result<()> {
        self.require_ready()?;
        if commit.epoch <= self.epoch {
            return Err(Error::internal("a commit must follow the one before it")
                .with("epoch", commit.epoch)
                .with("last", self.epoch));
        }
        self.guarded(|sink| sink.commit_in_steps(commit))
    }

    fn recover(&mut self) -> Result<Option<Commit>> {
        self.give_up();
        let commit = self.cut_back()?;
        self.is_ready = true;
        Ok(commit)
    }
}

impl Drop for FolderSink {
    fn drop(&mut self) {
        self.give_up();
    }
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
