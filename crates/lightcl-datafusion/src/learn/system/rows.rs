//! The rows of the system tables.

use super::columns::Kind;
use super::committed::{Committed, place_of};
use crate::learn::live::{Live, Seen};
use crate::shared::Shared;
use lightcl_core::{BoundaryEvent, Manifest, Rejected, Result, StabilityReport, state};
use lightcl_pipeline::sink::{BOUNDARIES, DEAD_LETTERS, STABILITY};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

/// A learner or model of the session.
struct Model {
    name: String,
    location: Option<PathBuf>,
    live: Option<Arc<Live>>,
}

/// All rows of a table. A model whose folder cannot be read has a row in `models` that says so, and none elsewhere.
pub(super) fn all(kind: Kind, shared: &Shared) -> Vec<Value> {
    let mut rows = Vec::new();
    for model in models(shared) {
        match rows_of(kind, &model) {
            Ok(more) => rows.extend(more),
            Err(error) if kind == Kind::Models => rows.push(unreadable(&model, &error.to_string())),
            Err(error) => log::warn!("the model {} is left out of lightcl.{}: {error}", model.name, kind.name()),
        }
    }
    rows
}

/// The models of the session by name: those that are registered, and those that are kept nowhere.
fn models(shared: &Shared) -> Vec<Model> {
    let mut learners = shared.learners.all();
    let mut models = Vec::new();
    for (name, location) in shared.locations() {
        let place = learners.iter().position(|live| live.name == name && live.folder.as_ref() == Some(&location));
        let live = place.map(|place| learners.swap_remove(place));
        models.push(Model { name, location: Some(location), live });
    }
    models.extend(learners.into_iter().map(|live| Model {
        name: live.name.clone(),
        location: live.folder.clone(),
        live: Some(live),
    }));
    models.sort_by(|left, right| left.name.cmp(&right.name));
    models
}

fn rows_of(kind: Kind, model: &Model) -> Result<Vec<Value>> {
    // While it is held the learner does not commit: nothing is seen twice, or not at all.
    let seen = model.live.as_ref().map(|live| live.lock());
    let empty = Seen::default();
    let seen: &Seen = seen.as_deref().unwrap_or(&empty);
    let committed = model.location.as_deref().map(Committed::read).transpose()?;
    let name = model.name.as_str();
    match kind {
        Kind::Models => Ok(vec![model_row(model, seen, committed.as_ref())?]),
        Kind::Snapshots => snapshots(model, seen, committed.as_ref()),
        Kind::Stability => {
            let reports = both(committed.as_ref(), STABILITY, &seen.reports)?;
            Ok(reports.iter().map(|(report, committed)| stability_row(name, report, *committed)).collect())
        }
        Kind::Boundaries => {
            let events = both(committed.as_ref(), BOUNDARIES, &seen.boundaries)?;
            Ok(events.iter().map(|(event, committed)| boundary_row(name, event, *committed)).collect())
        }
        Kind::DeadLetters => {
            let letters = both(committed.as_ref(), DEAD_LETTERS, &seen.rejected)?;
            Ok(letters.iter().map(|(letter, committed)| letter_row(name, letter, *committed)).collect())
        }
        Kind::Layers => {
            let reports = both(committed.as_ref(), STABILITY, &seen.reports)?;
            Ok(reports.iter().flat_map(|(report, committed)| layer_rows(name, report, *committed)).collect())
        }
    }
}

/// What is committed, then what is not.
fn both<T: DeserializeOwned + Clone>(
    committed: Option<&Committed>,
    file: &'static str,
    live: &VecDeque<T>,
) -> Result<Vec<(T, bool)>> {
    let committed = committed.map_or(Ok(Vec::new()), |committed| committed.lines(file))?;
    Ok(committed.into_iter().map(|one| (one, true)).chain(live.iter().map(|one| (one.clone(), false))).collect())
}

fn model_row(model: &Model, seen: &Seen, committed: Option<&Committed>) -> Result<Value> {
    let checkpoint = committed.and_then(|committed| committed.checkpoint.as_ref());
    let newest = committed.map_or(Ok(Vec::new()), Committed::snapshots)?.pop().map(|(_, manifest)| manifest);
    let reports: Vec<StabilityReport> = committed.map_or(Ok(Vec::new()), |committed| committed.lines(STABILITY))?;
    let report = reports.last();
    // Of learners of this session more is known than is written.
    let is_known = model.live.is_some() && seen.samples > 0;
    let learner = match (&model.live, checkpoint) {
        (Some(live), _) => live.configuration["learner"].clone(),
        (None, Some(checkpoint)) => checkpoint.header.configuration["learner"].clone(),
        (None, None) => newest.as_ref().map_or(Value::Null, |manifest| manifest.learner.clone()),
    };
    let known = |now: Value, then: Option<Value>| if is_known { now } else { then.unwrap_or_default() };
    let version = seen.version.max(newest.as_ref().map_or(0, |manifest| manifest.version));
    let task = report.map(|report| report.task).or(newest.as_ref().map(|manifest| manifest.task));
    let samples = report.map(|report| report.samples).or(newest.as_ref().map(|manifest| manifest.samples));
    let accuracy = report.and_then(|report| report.prequential.window_accuracy);
    let accuracy = accuracy.or(newest.as_ref().and_then(|manifest| manifest.prequential_accuracy));
    let state_sha256 = match checkpoint {
        Some(checkpoint) => Some(state::sha256_hex(&checkpoint.state)),
        None => seen.state_sha256.clone(),
    };
    Ok(json!({
        "name": model.name,
        "location": model.location.as_ref().map(|location| location.display().to_string()),
        "training": seen.is_training,
        "method": learner["method"].as_str(),
        "backbone": learner["backbone"].as_str(),
        "version": version,
        "task": known(json!(seen.task), task.map(Value::from)),
        "samples": known(json!(seen.samples), samples.map(Value::from)),
        "prequential_accuracy": known(json!(seen.accuracy), accuracy.map(Value::from)),
        "epoch": checkpoint.map_or(seen.epoch, |checkpoint| checkpoint.header.epoch),
        "positions": checkpoint.map(|checkpoint| json!(checkpoint.header.positions).to_string()),
        "state_bytes": checkpoint.map(|checkpoint| checkpoint.state.len()),
        "state_sha256": state_sha256,
    }))
}

fn unreadable(model: &Model, error: &str) -> Value {
    json!({
        "name": model.name,
        "location": model.location.as_ref().map(|location| location.display().to_string()),
        "training": model.live.as_ref().is_some_and(|live| live.lock().is_training),
        "version": 0,
        "epoch": 0,
        "error": error,
    })
}

fn snapshots(model: &Model, seen: &Seen, committed: Option<&Committed>) -> Result<Vec<Value>> {
    let published = committed.map_or(Ok(Vec::new()), Committed::snapshots)?;
    let published = published.into_iter().map(|(place, manifest)| (Some(place), manifest, true));
    let staged = seen.snapshots.iter().map(|manifest| {
        let place = model.location.as_ref().map(|location| place_of(location, manifest.version));
        (place, manifest.clone(), false)
    });
    let row = |(place, manifest, committed): (Option<PathBuf>, Manifest, bool)| {
        json!({
            "model": model.name,
            "version": manifest.version,
            "parent": manifest.parent,
            "task": manifest.task,
            "reason": manifest.reason,
            "samples": manifest.samples,
            "trained_samples": manifest.trained_samples,
            "steps": manifest.steps,
            "prequential_accuracy": manifest.prequential_accuracy,
            "plasticity": manifest.plasticity,
            "stability": manifest.stability,
            "config_sha256": manifest.config_sha256,
            "bytes": manifest.blobs.iter().map(|blob| blob.bytes).sum::<u64>(),
            "location": place.map(|place| place.display().to_string()),
            "committed": committed,
        })
    };
    Ok(published.chain(staged).map(row).collect())
}

fn stability_row(model: &str, report: &StabilityReport, committed: bool) -> Value {
    let prequential = &report.prequential;
    json!({
        "model": model,
        "samples": report.samples,
        "task": report.task,
        "reason": report.reason,
        "rejected": report.rejected,
        "trained_samples": report.trained_samples,
        "loss": report.loss,
        "pattern_loss": report.pattern_loss,
        "prequential_accuracy": prequential.accuracy,
        "window_accuracy": prequential.window_accuracy,
        "fading_accuracy": prequential.fading_accuracy,
        "kappa": prequential.kappa,
        "no_change_accuracy": prequential.no_change_accuracy,
        "majority_accuracy": prequential.majority_accuracy,
        "accuracy_source": report.accuracy_source,
        "task_incremental": report.task_incremental.rows,
        "class_incremental": report.class_incremental.rows,
        "matrix_tasks": report.task_incremental.tasks,
        "matrix_after": report.task_incremental.after,
        "plasticity": report.plasticity,
        "stability": report.stability,
        "backward_transfer": report.backward_transfer,
        "forgetting": report.forgetting,
        "any_time_accuracy": report.any_time_accuracy,
        "bytes": report.bytes.iter().map(|part| part.bytes).sum::<u64>(),
        "committed": committed,
    })
}

fn boundary_row(model: &str, event: &BoundaryEvent, committed: bool) -> Value {
    json!({
        "model": model,
        "task": event.task,
        "recurring": event.recurring,
        "at": event.at,
        "estimated_at": event.estimated_at,
        "detected_at": event.detected_at,
        "partition": event.position.partition,
        "offset": event.position.offset,
        "rolled_back": event.rolled_back,
        "evidence": event.evidence,
        "closed_task_labels": event.closed_task_labels,
        "merged_task": event.merged.map(|merged| merged.gone),
        "merged_into": event.merged.map(|merged| merged.into),
        "committed": committed,
    })
}

fn letter_row(model: &str, letter: &Rejected, committed: bool) -> Value {
    json!({
        "model": model,
        "index": letter.index,
        "partition": letter.position.partition,
        "offset": letter.position.offset,
        "reason": letter.reason.as_str(),
        "column": letter.column,
        "message": letter.message,
        "payload": letter.payload,
        "committed": committed,
    })
}

fn layer_rows(model: &str, report: &StabilityReport, committed: bool) -> Vec<Value> {
    let row = |layer: &lightcl_core::LayerReport| {
        json!({
            "model": model,
            "samples": report.samples,
            "task": report.task,
            "layer": layer.layer,
            "channels": layer.channels,
            "vital_channels": layer.vital_channels,
            "occupancy": if layer.channels == 0 { 0.0 } else { layer.vital_channels as f64 / layer.channels as f64 },
            "drift": layer.drift,
            "committed": committed,
        })
    };
    report.layers.iter().map(row).collect()
}
