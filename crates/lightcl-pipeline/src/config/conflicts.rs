//! What keys may hold together, and the defaults that depend on other keys.

use super::document::{Node, Origin};
use super::faults::Faults;
use super::kafka_conflicts;
use super::settings::{
    Backbone, CategoryEncoding, Feature, FeatureKind, FileType, Head, Method, Prefix, Settings, SourceType, Update,
};
use std::collections::BTreeSet;
use std::path::Path;

/// Fills in the defaults that depend on other keys, and spells short forms out.
pub(super) fn resolve(settings: &mut Settings, said: &Node, file: &str, faults: &mut Faults) {
    let stem = Path::new(file).file_stem().map_or("pipeline".into(), |stem| stem.to_string_lossy().into_owned());
    settings.name.get_or_insert_with(|| stem.clone());
    settings.output.dir.get_or_insert_with(|| format!("lightcl-out/{stem}"));
    if let Some(evaluate) = &mut settings.evaluate {
        evaluate.kind = evaluate.kind.or(settings.source.kind.file());
    }
    kafka_conflicts::resolve(settings, said, faults);
    let learner = &mut settings.learner;
    if learner.head != Head::Network && learner.analytic.update == Update::Row {
        learner.score_samples.get_or_insert(1);
    }
    let boundary = &mut settings.boundary;
    if let Some(column) = &boundary.task_column {
        match &settings.sample.task {
            Some(other) if other != column => {
                let message = format!(
                    "boundary.task_column names '{column}' but sample.task names '{other}'; they are the same setting, \
                     leave one out"
                );
                faults.add(&place(said, "boundary.task_column"), message);
            }
            _ => settings.sample.task = Some(column.clone()),
        }
        // What the stream itself says comes first: of two detectors that fire at once, the first in the list decides.
        if !boundary.detect.iter().any(|name| name == "task_column") {
            boundary.detect.insert(0, "task_column".to_owned());
        }
    }
    if boundary.every_samples.is_some() && !boundary.detect.iter().any(|name| name == "every") {
        boundary.detect.push("every".to_owned());
    }
}

/// Finds settings that contradict each other.
pub(super) fn check(settings: &Settings, said: &Node, faults: &mut Faults) {
    source(settings, said, faults);
    kafka_conflicts::check(settings, said, faults);
    metrics(settings, said, faults);
    features(settings, said, faults);
    boundary(settings, said, faults);
    learner(settings, said, faults);
    if faults.is_empty() {
        the_parts_own_checks(settings, said, faults);
    }
}

/// Where a key was given, or else the nearest table around it.
pub(super) fn place(said: &Node, path: &str) -> Origin {
    let mut path: Vec<&str> = path.split('.').collect();
    while !path.is_empty() {
        if let Some(node) = said.find(&path) {
            return node.origin.clone();
        }
        path.pop();
    }
    Origin::Default
}

pub(super) fn is_given(said: &Node, path: &str) -> bool {
    said.find(&path.split('.').collect::<Vec<_>>()).is_some()
}

fn source(settings: &Settings, said: &Node, faults: &mut Faults) {
    let csv = &settings.source.csv;
    for (key, character) in [("delimiter", csv.delimiter), ("quote", csv.quote)] {
        if !character.is_ascii() || matches!(character, '\n' | '\r' | '\0') {
            let path = format!("source.csv.{key}");
            faults.add(&place(said, &path), format!("{path} must be one ASCII character and no line break"));
        }
    }
    if csv.delimiter == csv.quote {
        faults.add(&place(said, "source.csv.delimiter"), "source.csv.delimiter and source.csv.quote must differ");
    }
    if settings.source.path.as_deref() == Some("-") && settings.source.kind == SourceType::Parquet {
        let message = "parquet cannot be read from standard input, since its index is at the end; name a file";
        faults.add(&place(said, "source.path"), message);
    }
    if settings.evaluate.as_ref().is_some_and(|evaluate| evaluate.path == "-") {
        let message = "evaluate.path cannot be standard input: held-out samples are read again and again";
        faults.add(&place(said, "evaluate.path"), message);
    }
}

fn metrics(settings: &Settings, said: &Node, faults: &mut Faults) {
    let Some(listen) = &settings.metrics.listen else { return };
    let port = listen.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    if !matches!(port, Some(Ok(_))) {
        let message =
            format!("metrics.listen must be an address and a port, such as \"127.0.0.1:9184\", not \"{listen}\"");
        faults.add(&place(said, "metrics.listen"), message);
    }
}

fn features(settings: &Settings, said: &Node, faults: &mut Faults) {
    let mut seen = BTreeSet::new();
    for (index, feature) in settings.sample.features.iter().enumerate() {
        let path = format!("sample.features.{index}");
        let column = feature.column();
        let mut fault = |key: &str, message: String| {
            let path = if key.is_empty() { path.clone() } else { format!("{path}.{key}") };
            faults.add(&place(said, &path), message);
        };
        if !seen.insert(column) {
            fault("", format!("the column '{column}' is a feature twice"));
        }
        if column == settings.sample.label {
            fault("", format!("the label column '{column}' is also a feature: the answer would be in the question"));
        }
        let Feature::Table(table) = feature else { continue };
        if table.kind != FeatureKind::Category {
            for (key, given) in [("encoding", table.encoding.is_some()), ("size", table.size.is_some())] {
                if given {
                    fault(key, format!("'{key}' is for categories; add as = \"category\" or leave it out"));
                }
            }
        } else if table.encoding.unwrap_or_default() == CategoryEncoding::OneHot && table.size == Some(1) {
            fault("size", "a one-hot category needs a size of at least 2: its last slot takes all other values".into());
        }
        if table.shape.is_some() && !matches!(table.kind, FeatureKind::Auto | FeatureKind::Tensor) {
            fault("shape", "only a tensor can be given a shape".into());
        }
    }
}

fn boundary(settings: &Settings, said: &Node, faults: &mut Faults) {
    let boundary = &settings.boundary;
    let detect = || place(said, "boundary.detect");
    if boundary.detects("task_column") && settings.sample.task.is_none() {
        faults.add(&detect(), "the detector task_column needs the column's name: set boundary.task_column");
    }
    if boundary.detects("every") && boundary.every_samples.is_none() {
        faults.add(&detect(), "the detector every needs a number of samples: set boundary.every_samples");
    }
    if boundary.detects("calendar") && settings.sample.event_time.is_none() {
        faults.add(&detect(), "the detector calendar needs the time of the events: set sample.event_time");
    }
    detector_sections(settings, said, faults);
}

/// What detectors say about their sections, shown at the first key that the message names. A section that is not used
/// is checked too: whoever writes it means to use it.
fn detector_sections(settings: &Settings, said: &Node, faults: &mut Faults) {
    let configs = settings.detector_configs();
    for section in settings.boundary.sections() {
        let path = format!("boundary.{}", section.name);
        if !is_given(said, &path) {
            continue;
        }
        let detector = section.used.first().unwrap_or(&section.name);
        let Err(error) = lightcl_boundary::build(&[(*detector).to_owned()], &configs) else { continue };
        let key = error.context().iter().map(|(key, _)| format!("{path}.{key}")).find(|path| is_given(said, path));
        faults.add(&place(said, key.as_ref().unwrap_or(&path)), format!("{path}: {error}"));
    }
}

fn learner(settings: &Settings, said: &Node, faults: &mut Faults) {
    let learner = &settings.learner;
    if learner.backbone == Backbone::Mlp && learner.frozen >= learner.hidden.len() {
        let message = format!(
            "learner.frozen ({}) must be less than the number of layers in learner.hidden ({}), so that something stays \
             plastic",
            learner.frozen,
            learner.hidden.len()
        );
        let key = if is_given(said, "learner.frozen") { "learner.frozen" } else { "learner.hidden" };
        faults.add(&place(said, key), message);
    }
    if learner.batch_samples > learner.window_samples {
        let message = format!(
            "learner.batch_samples ({}) cannot be more than learner.window_samples ({})",
            learner.batch_samples, learner.window_samples
        );
        let batch_given = is_given(said, "learner.batch_samples");
        faults.add(&place(said, if batch_given { "learner.batch_samples" } else { "learner.window_samples" }), message);
    }
    if learner.score_samples.is_some_and(|rows| rows > learner.window_samples) {
        let message = "learner.score_samples cannot be more than learner.window_samples";
        faults.add(&place(said, "learner.score_samples"), message);
    }
    let analytic = &learner.analytic;
    for (key, follows) in [("previous_label", analytic.previous_label), ("no_change", analytic.no_change)] {
        if follows && learner.head != Head::Network && settings.evaluate.is_some() {
            let path = format!("learner.analytic.{key}");
            let message = format!("{path} needs samples that follow each other, and those of [evaluate] do not");
            faults.add(&place(said, &path), message);
        }
    }
    match &learner.weights {
        Some(weights) => {
            let path = Path::new(weights);
            let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            let origin = place(said, "learner.weights");
            if !["safetensors", "pt", "pth"].contains(&extension) {
                let message = format!("learner.weights must be a .safetensors, .pt or .pth file, not {weights}");
                faults.add(&origin, message);
            } else if !path.is_file() {
                faults.add(&origin, format!("there is no file {weights} to take weights from"));
            }
        }
        None if !learner.weight_names.is_empty() => {
            faults.add(&place(said, "learner.weight_names"), "learner.weight_names needs a file: set learner.weights");
        }
        None => {}
    }
}

/// Whatever a part refuses by itself and was not found above; the parts are the last word on their settings.
fn the_parts_own_checks(settings: &Settings, said: &Node, faults: &mut Faults) {
    let checks = [
        ("sample", settings.encoder_config().validate()),
        ("boundary", settings.detector().map(drop)),
        ("learner", settings.learner_config().validate()),
        ("learner", settings.operator_config(String::new()).validate()),
    ];
    for (section, result) in checks {
        if let Err(error) = result {
            faults.add(&place(said, section), error.to_string());
        }
    }
}

/// Settings that were given but do nothing, or that may surprise.
pub(super) fn notes(settings: &Settings, said: &Node) -> Vec<String> {
    let learner = &settings.learner;
    let unused: &[&str] = match learner.backbone {
        Backbone::Mlp => &["width"],
        Backbone::Resnet18 => &["hidden", "frozen"],
    };
    let mut notes: Vec<String> = unused
        .iter()
        .map(|key| format!("learner.{key}"))
        .filter(|path| is_given(said, path))
        .map(|path| format!("{path} is not used with this backbone"))
        .collect();
    if learner.head == Head::Network && is_given(said, "learner.analytic") {
        notes.push("learner.analytic is not used: learner.head is network".to_owned());
    }
    if learner.method == Method::Sgd {
        for path in ["learner.memory", "learner.prefix"] {
            if is_given(said, path) {
                notes.push(format!("{path} is not used by the method sgd"));
            }
        }
    }
    if learner.prefix == Prefix::Pretrained && learner.weights.is_none() {
        notes.push(
            "learner.prefix is pretrained but there are no learner.weights: the first layers stay as drawn from the seed"
                .to_owned(),
        );
    }
    for section in settings.boundary.sections().filter(|section| section.used.is_empty()) {
        let path = format!("boundary.{}", section.name);
        if is_given(said, &path) {
            notes.push(format!("{path} is not used: boundary.detect does not name {}", section.detectors.join(", ")));
        }
    }
    if !matches!(settings.source.kind, SourceType::Csv | SourceType::Kafka)
        && settings.evaluate.as_ref().is_none_or(|evaluate| evaluate.kind != Some(FileType::Csv))
        && is_given(said, "source.csv")
    {
        notes.push("source.csv is not used: the source is not csv".to_owned());
    }
    kafka_conflicts::notes(settings, said, &mut notes);
    if settings.checkpoint.every_samples == 0 && settings.checkpoint.every_seconds == 0 {
        notes.push("checkpoints are off: state is saved only at boundaries and at the end".to_owned());
    }
    notes
}
