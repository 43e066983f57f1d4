//! Sinks: where outputs and state go.
//!
//! [`FolderSink`] writes a folder that needs no server; its layout is in `docs/operations.md`. [`read_checkpoint`] and
//! [`latest_checkpoint`] read what it committed.

mod checkpoint;
mod files;
mod folder;
mod lines;
mod ownership;
mod parts;
mod rows;
mod snapshots;

pub use checkpoint::{
    CHECKPOINT_FOLDER, Checkpoint, CheckpointHeader, checkpoint_files, latest_checkpoint, read_checkpoint,
};
pub use files::{publish_folder, write_file};
pub use folder::{FolderOptions, FolderSink};
pub use lines::{BOUNDARIES, DEAD_LETTERS, PREDICTIONS, STABILITY};
pub use ownership::{SUMMARY, is_output_folder};
pub use rows::{boundary_schema, prediction_schema, stability_schema};
pub use snapshots::{
    BLOB_FOLDER, MANIFEST, SNAPSHOT_FOLDER, newest_snapshot, read_manifest, read_snapshot, snapshot_versions,
};
pub use snapshots::{read_blob, snapshot_folder};

#[cfg(test)]
mod schema_tests;
#[cfg(test)]
mod test_outputs;
