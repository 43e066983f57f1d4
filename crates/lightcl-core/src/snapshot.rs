//! Published models: weights in safetensors and a manifest that says what they are.

use crate::Positions;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a learner gives to a snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct LearnerSnapshot {
    /// The architecture and settings a reader needs to run the weights (method, backbone, widths, classes, ..).
    pub description: serde_json::Value,
    /// Safetensors files by role: `prefix` (never changes after freezing), `suffix` and `analytic` (solved heads).
    pub blobs: Vec<Blob>,
}

/// One file of weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Blob {
    /// `prefix`, `suffix` or `analytic`.
    pub role: String,
    /// Safetensors bytes.
    pub bytes: Arc<Vec<u8>>,
}

/// How a manifest names a [`Blob`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobEntry {
    /// `prefix`, `suffix` or `analytic`.
    pub role: String,
    /// SHA-256 of the file, in hexadecimal; also its name.
    pub sha256: String,
    /// Length of the file in bytes.
    pub bytes: u64,
}

/// What a snapshot holds, as written to `manifest.json` (schema: `schemas/snapshot.schema.json`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this layout: 1.
    pub format: u32,
    /// Name of the model: stays the same over a run and its restarts.
    pub model_id: String,
    /// Number of the snapshot in its run, from 1.
    pub version: u64,
    /// The snapshot before this one.
    pub parent: Option<u64>,
    /// The task that was being learnt, or had just ended.
    pub task: u32,
    /// Why it was taken: `boundary`, `interval`, `end` or `merge` (runs were joined).
    pub reason: String,
    /// What had been read from the source.
    pub positions: Positions,
    /// Rows read so far, rejected ones included.
    pub samples: u64,
    /// Rows learnt from so far.
    pub trained_samples: u64,
    /// Optimisation steps taken so far.
    pub steps: u64,
    /// Prequential accuracy over the last window, when any row was scored.
    pub prequential_accuracy: Option<f64>,
    /// Learning plasticity so far.
    pub plasticity: Option<f64>,
    /// Memory stability so far.
    pub stability: Option<f64>,
    /// SHA-256 of the configuration that decides what is learnt.
    pub config_sha256: String,
    /// The learner's architecture and settings.
    pub learner: serde_json::Value,
    /// How rows become numbers: features, standardisation, categories, labels.
    pub encoder: serde_json::Value,
    /// The weight files.
    pub blobs: Vec<BlobEntry>,
}

/// A snapshot on its way to a sink.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// What it holds.
    pub manifest: Manifest,
    /// The files, in the order of `manifest.blobs`.
    pub blobs: Vec<Blob>,
}
