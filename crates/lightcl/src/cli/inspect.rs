//! `lightcl inspect`: what a snapshot or an output folder holds.

use super::InspectArgs;
use super::tensors::{TensorEntry, tensors};
use crate::sink::{
    Checkpoint, MANIFEST, SNAPSHOT_FOLDER, STABILITY, SUMMARY, checkpoint_files, is_output_folder, read_blob,
    read_checkpoint, read_manifest, snapshot_folder, snapshot_versions,
};
use lightcl_core::{BlobEntry, Error, Manifest, Result};
use serde_json::{Value, json};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Shows a snapshot or an output folder.
///
/// # Errors
/// When it is neither, cannot be read, or holds something that is damaged.
pub fn run(args: &InspectArgs) -> Result<()> {
    let path = &args.path;
    if !path.exists() {
        return Err(Error::user(format!("there is no {}", path.display())));
    }
    let is_run = is_output_folder(path) && !path.join(MANIFEST).is_file();
    let (value, text, damage) = if is_run { output_folder(path)? } else { snapshot(path)? };
    super::print(&if args.json { format!("{value}\n") } else { text })?;
    damage.map_or(Ok(()), Err)
}

/// What to print as JSON and as text, and the error to end with.
type Shown = (Value, String, Option<Error>);

struct BlobReport {
    entry: BlobEntry,
    tensors: Result<Vec<TensorEntry>>,
}

fn snapshot(path: &Path) -> Result<Shown> {
    let folder = snapshot_folder(path)?;
    let manifest = read_manifest(&folder)?;
    let blobs: Vec<BlobReport> = manifest
        .blobs
        .iter()
        .map(|entry| BlobReport {
            entry: entry.clone(),
            tensors: read_blob(&folder, entry).and_then(|blob| tensors(&blob.bytes)),
        })
        .collect();
    let value = json!({
        "kind": "snapshot",
        "manifest": manifest,
        "blobs": blobs.iter().map(blob_value).collect::<Vec<_>>(),
    });
    let text = snapshot_text(&folder, &manifest, &blobs);
    let damage = blobs.into_iter().find_map(|blob| blob.tensors.err());
    Ok((value, text, damage))
}

fn blob_value(blob: &BlobReport) -> Value {
    let BlobReport { entry, tensors } = blob;
    let shown = tensors
        .iter()
        .flatten()
        .map(|tensor| json!({ "name": tensor.name, "shape": tensor.shape, "type": tensor.data_type }));
    json!({
        "role": entry.role,
        "sha256": entry.sha256,
        "bytes": entry.bytes,
        "is_whole": tensors.is_ok(),
        "tensors": shown.collect::<Vec<_>>(),
    })
}

fn snapshot_text(folder: &Path, manifest: &Manifest, blobs: &[BlobReport]) -> String {
    let mut page = Page::default();
    page.title(&format!("snapshot {} of '{}', {}", manifest.version, manifest.model_id, folder.display()));
    page.fact("task", &format!("{} ({})", manifest.task, manifest.reason));
    page.fact("parent", &manifest.parent.map_or("none".to_owned(), |parent| parent.to_string()));
    page.fact("samples read", &manifest.samples.to_string());
    page.fact("samples learnt", &manifest.trained_samples.to_string());
    page.fact("steps", &manifest.steps.to_string());
    page.figure("prequential accuracy", manifest.prequential_accuracy);
    page.figure("plasticity", manifest.plasticity);
    page.figure("stability", manifest.stability);
    for (partition, next) in &manifest.positions.0 {
        page.fact("position", &format!("{partition}: {next}"));
    }
    page.fact("configuration", &manifest.config_sha256);

    page.title("learner");
    let learner = manifest.learner.as_object();
    let settings = learner.and_then(|learner| learner.get("settings")).and_then(Value::as_object);
    for (key, value) in
        learner.into_iter().flatten().filter(|(key, _)| !["settings", "analytic"].contains(&key.as_str()))
    {
        page.fact(key, &shown(value));
    }
    for (key, value) in settings.into_iter().flatten() {
        page.fact(&format!("settings.{key}"), &shown(value));
    }

    if let Some(analytic) = learner.and_then(|learner| learner.get("analytic")) {
        analytic_text(analytic, &mut page);
    }

    page.title("encoder");
    let encoder = &manifest.encoder;
    page.fact("shape of a sample", &shown(&encoder["shape"]));
    page.fact("labels", &shown(&encoder["labels"]["names"]));
    for feature in encoder["features"].as_array().into_iter().flatten() {
        page.fact("feature", &format!("{} ({})", shown(&feature["column"]), shown(&feature["kind"])));
    }
    page.fact("standardised", if encoder["standardization"].is_null() { "no" } else { "yes" });

    for BlobReport { entry, tensors } in blobs {
        let state = match tensors {
            Ok(_) => "whole".to_owned(),
            Err(error) => error.message().to_owned(),
        };
        page.title(&format!("{}: {} bytes, {state}", entry.role, entry.bytes));
        page.fact("sha256", &entry.sha256);
        for tensor in tensors.iter().flatten() {
            page.fact(&tensor.name, &format!("{:?} {}", tensor.shape, tensor.data_type));
        }
    }
    page.text
}

/// Heads solved in closed form, what they look at, and what they count in the mixture.
fn analytic_text(analytic: &Value, page: &mut Page) {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    page.title("analytic heads");
    for tap in list(&analytic["taps"]) {
        let own = if tap["linear"] == true { "its own and " } else { "" };
        let state = if tap["ready"] == true { "" } else { ", not there yet" };
        let said = format!("{} numbers; {own}{} random features{state}", shown(&tap["width"]), shown(&tap["random"]));
        page.fact(&format!("tap {}", shown(&tap["tap"])), &said);
    }
    let mixture = &analytic["mixture"];
    let (experts, weights) = (list(&mixture["experts"]), list(&mixture["weights"]));
    let heads = list(&analytic["heads"]);
    // Heads stand after the network, where that is an expert.
    let first = usize::from(!analytic["network_temperature"].is_null());
    for (place, (expert, weight)) in experts.iter().zip(&weights).enumerate() {
        let head = place.checked_sub(first).and_then(|place| heads.get(place));
        let more = head.map_or_else(String::new, |head| {
            format!(", forgetting factor {}, temperature {}", shown(&head["forget"]), figure(&head["temperature"]))
        });
        page.fact(&format!("expert {}", shown(expert)), &format!("weight {}{more}", figure(weight)));
    }
    for group in list(&mixture["groups"]) {
        let state = if group["active"] == true { " (being learnt)" } else { "" };
        page.fact("classes learnt together", &format!("{}{state}", shown(&group["classes"])));
    }
}

fn figure(value: &Value) -> String {
    value.as_f64().map_or_else(|| shown(value), |value| format!("{value:.4}"))
}

fn output_folder(folder: &Path) -> Result<Shown> {
    let checkpoints: Vec<(PathBuf, Result<Checkpoint>)> = checkpoint_files(folder)?
        .into_iter()
        .map(|path| {
            let checkpoint = read_checkpoint(&path);
            (path, checkpoint)
        })
        .collect();
    let latest = checkpoints.iter().find_map(|(_, checkpoint)| checkpoint.as_ref().ok());
    let committed = latest.map_or(0, |checkpoint| checkpoint.header.snapshots);
    let mut versions = snapshot_versions(&folder.join(SNAPSHOT_FOLDER))?;
    versions.retain(|&version| version <= committed);
    let report = last_report(folder, latest)?;
    let summary = fs::read(folder.join(SUMMARY)).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());

    let listed = checkpoints.iter().map(|(path, checkpoint)| {
        json!({
            "file": path.file_name().map(|name| name.to_string_lossy()),
            "is_whole": checkpoint.is_ok(),
            "epoch": checkpoint.as_ref().ok().map(|checkpoint| checkpoint.header.epoch),
            "state_bytes": checkpoint.as_ref().ok().map(|checkpoint| checkpoint.state.len()),
        })
    });
    let header = latest.map(|checkpoint| &checkpoint.header);
    let value = json!({
        "kind": "output_folder",
        "checkpoints": listed.collect::<Vec<_>>(),
        "epoch": header.map(|header| header.epoch),
        "positions": header.map(|header| &header.positions),
        "lengths": header.map(|header| &header.lengths),
        "snapshots": versions,
        "stability": report,
        "summary": summary,
        "configuration": header.map(|header| &header.configuration),
    });

    let mut page = Page::default();
    page.title(&format!("output folder {}", folder.display()));
    match header {
        None if checkpoints.is_empty() => page.fact("commits", "none yet"),
        None => page.fact("commits", "no checkpoint can be read"),
        Some(header) => {
            page.fact("commits", &header.epoch.to_string());
            for (partition, next) in &header.positions.0 {
                page.fact("position", &format!("{partition}: {next}"));
            }
            for (name, length) in &header.lengths {
                page.fact(name, &format!("{length} bytes"));
            }
        }
    }
    page.fact("finished", if summary.is_some() { "yes" } else { "no" });
    let joined = versions.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    page.fact("snapshots", if versions.is_empty() { "none" } else { &joined });
    page.title("checkpoints");
    for (path, checkpoint) in &checkpoints {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let state = match checkpoint {
            Ok(checkpoint) => format!("whole, {} bytes of state", checkpoint.state.len()),
            Err(error) => error.message().to_owned(),
        };
        page.fact(&name, &state);
    }
    if let Some(report) = &report {
        page.title("last stability report");
        for (key, value) in report.as_object().into_iter().flatten() {
            match value {
                Value::Object(inner) if key == "prequential" => {
                    inner.iter().for_each(|(name, value)| page.fact(&format!("prequential {name}"), &shown(value)));
                }
                // Matrices and lists are for programs: see --json.
                Value::Object(_) | Value::Array(_) => {}
                value => page.fact(key, &shown(value)),
            }
        }
    }
    // A damaged checkpoint with a good one beside it is what a run mends by itself.
    let damage = match latest {
        Some(_) => None,
        None => checkpoints.into_iter().find_map(|(_, checkpoint)| checkpoint.err()),
    };
    Ok((value, page.text, damage))
}

/// The last committed stability report.
fn last_report(folder: &Path, latest: Option<&Checkpoint>) -> Result<Option<Value>> {
    let committed = latest.and_then(|checkpoint| checkpoint.header.lengths.get(STABILITY)).copied().unwrap_or(0);
    if committed == 0 {
        return Ok(None);
    }
    let path = folder.join(STABILITY);
    let text =
        fs::read(&path).map_err(|error| Error::external(format!("cannot read {}", path.display())).caused_by(error))?;
    let text = text.get(..usize::try_from(committed).unwrap_or(usize::MAX)).unwrap_or(&text);
    let last = text.split(|&byte| byte == b'\n').rfind(|line| !line.is_empty());
    Ok(last.and_then(|line| serde_json::from_slice(line).ok()))
}

/// A page of aligned facts.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn title(&mut self, title: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{title}");
    }

    fn fact(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.text, "  {name:28} {value}");
    }

    fn figure(&mut self, name: &str, value: Option<f64>) {
        self.fact(name, &value.map_or("not known".to_owned(), |value| format!("{value:.4}")));
    }
}

/// A JSON value on one line, cut when it is long.
fn shown(value: &Value) -> String {
    const MOST: usize = 120;
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        other => other.to_string(),
    };
    if text.chars().count() <= MOST {
        return text;
    }
    let cut: String = text.chars().take(MOST).collect();
    format!("{cut} ..")
}
