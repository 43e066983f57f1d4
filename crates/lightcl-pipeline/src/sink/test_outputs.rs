//! Outputs for tests: a few of every kind.

use lightcl_core::{
    AccuracyMatrix, Blob, BlobEntry, BoundaryEvent, Evidence, ExpertReport, LayerReport, Manifest, MergedTasks, Output,
    PartBytes, Position, Positions, Prediction, PrequentialReport, RejectReason, Rejected, Snapshot, StabilityReport,
    state,
};
use std::sync::Arc;

pub fn position(offset: u64) -> Position {
    Position { partition: Arc::from("a.arrow"), offset }
}

pub fn prediction(index: u64) -> Output {
    Output::Prediction(Prediction {
        index,
        position: position(index),
        id: Some(format!("row {index}")),
        label: Some("cat".to_owned()),
        predicted: (index > 0).then(|| "dog".to_owned()),
        probability: (index > 0).then_some(0.5),
        task: 1,
        model_version: 2,
    })
}

pub fn boundary(at: u64) -> Output {
    Output::Boundary(BoundaryEvent {
        format: 1,
        task: 1,
        at,
        detected_at: at + 4,
        position: position(at),
        estimated_at: 3,
        rolled_back: 0,
        evidence: vec![Evidence { detector: "every".to_owned(), message: "so many".to_owned() }],
        closed_task_labels: vec!["cat".to_owned(), "dog".to_owned()],
        recurring: at.is_multiple_of(2),
        merged: (!at.is_multiple_of(2)).then_some(MergedTasks { gone: 0, into: 3 }),
    })
}

pub fn report(samples: u64) -> Output {
    let mut matrix = AccuracyMatrix::new(vec![vec![Some(0.5)], vec![None, Some(1.0)]]);
    if !samples.is_multiple_of(2) {
        (matrix.tasks, matrix.after) = (vec![0, 2], vec![2, 0]);
    }
    Output::Stability(Box::new(StabilityReport {
        format: 1,
        samples,
        task: 1,
        reason: "boundary".to_owned(),
        rejected: 0,
        trained_samples: samples,
        loss: Some(0.25),
        pattern_loss: None,
        prequential: PrequentialReport { accuracy: Some(0.75), ..PrequentialReport::default() },
        accuracy_source: "probes".to_owned(),
        task_incremental: matrix.clone(),
        class_incremental: matrix.clone(),
        probe_task_incremental: matrix,
        plasticity: Some(0.75),
        stability: None,
        backward_transfer: None,
        forgetting: None,
        any_time_accuracy: Some(0.5),
        layers: vec![LayerReport { layer: "deep.0".to_owned(), channels: 8, vital_channels: 3, drift: Some(0.125) }],
        experts: vec![ExpertReport { expert: "network".to_owned(), weight: 0.25 }],
        bytes: vec![PartBytes { part: "suffix".to_owned(), bytes: 12 }],
    }))
}

pub fn letter(index: u64) -> Output {
    Output::Rejected(Rejected {
        format: 1,
        index,
        position: position(index),
        reason: RejectReason::NullLabel,
        column: None,
        message: "no label".to_owned(),
        payload: "{}".to_owned(),
    })
}

pub fn snapshot(version: u64) -> Output {
    let blobs: Vec<Blob> = [("prefix", vec![7; 64]), ("suffix", vec![version as u8; 64])]
        .into_iter()
        .map(|(role, bytes)| Blob { role: role.to_owned(), bytes: Arc::new(bytes) })
        .collect();
    let entries = blobs.iter().map(|blob| BlobEntry {
        role: blob.role.clone(),
        sha256: state::sha256_hex(&blob.bytes),
        bytes: blob.bytes.len() as u64,
    });
    Output::Snapshot(Box::new(Snapshot {
        manifest: Manifest {
            format: 1,
            model_id: "m".to_owned(),
            version,
            parent: None,
            task: 0,
            reason: "boundary".to_owned(),
            positions: Positions::default(),
            samples: version,
            trained_samples: version,
            steps: version,
            prequential_accuracy: None,
            plasticity: None,
            stability: None,
            config_sha256: state::sha256_hex(b"configuration"),
            learner: serde_json::json!({ "method": "lightcl" }),
            encoder: serde_json::json!({ "format": 1 }),
            blobs: entries.collect(),
        },
        blobs,
    }))
}

/// Outputs of all kinds for commit `epoch`.
pub fn outputs(epoch: u64) -> Vec<Output> {
    let first = epoch * 10;
    vec![
        prediction(first),
        letter(first + 1),
        boundary(first + 2),
        prediction(first + 2),
        report(first + 3),
        snapshot(epoch),
    ]
}
