//! A pipeline file, read, checked and completed.

use super::by_type;
use super::conflicts;
use super::document::{self, Node, Origin};
use super::faults::{Fault, Faults, Place};
use super::overrides::Overrides;
use super::settings::{Settings, pipeline_schema};
use super::walk::walk;
use lightcl_core::{Error, ErrorKind, Result, state};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// A checked pipeline: every key has a value, and the values go together.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    pub(super) settings: Settings,
    /// What was said, and where; defaults are not in it.
    pub(super) said: Node,
    notes: Vec<String>,
    file: String,
    text: String,
}

impl Pipeline {
    /// Reads and checks a pipeline file.
    ///
    /// # Errors
    /// When the file cannot be read, or with everything that is wrong in it and in the overrides.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self> {
        let shown = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| {
            let message = match error.kind() {
                std::io::ErrorKind::NotFound => match nearest_file(path) {
                    Some(near) => format!("there is no pipeline file {shown}; did you mean {near}?"),
                    None => format!("there is no pipeline file {shown}"),
                },
                std::io::ErrorKind::InvalidData => format!("the pipeline file {shown} is not UTF-8 text"),
                _ => format!("cannot read the pipeline file {shown}"),
            };
            Error::user(message).caused_by(error)
        })?;
        Self::parse(&text, &shown, overrides)
    }

    /// Checks the text of a pipeline file; `file` is its name in messages and gives the model its default name.
    ///
    /// # Errors
    /// With everything that is wrong in it and in the overrides.
    pub fn parse(text: &str, file: &str, overrides: &Overrides) -> Result<Self> {
        let fail = |faults: Faults| faults.into_error(file, text);
        let mut said = document::parse(text).map_err(fail)?;
        let mut faults = Faults::default();
        overrides.apply(&mut said, &mut faults);
        if !faults.is_empty() {
            return Err(fail(faults));
        }
        by_type::settle(&mut said, &mut faults);
        let (value, wrong) = walk(&pipeline_schema(), &said);
        faults.extend(wrong);
        if !faults.is_empty() {
            return Err(fail(faults));
        }
        let mut settings: Settings = serde_json::from_value(value).map_err(|error| {
            Error::internal("the pipeline fits its schema but not the program").with("file", file).caused_by(error)
        })?;
        let mut faults = Faults::default();
        conflicts::resolve(&mut settings, &said, file, &mut faults);
        conflicts::check(&settings, &said, &mut faults);
        if !faults.is_empty() {
            return Err(fail(faults));
        }
        let notes = conflicts::notes(&settings, &said);
        Ok(Pipeline { settings, said, notes, file: file.to_owned(), text: text.to_owned() })
    }

    /// Every setting in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Name of the model.
    pub fn name(&self) -> &str {
        self.settings.name.as_deref().unwrap_or_default()
    }

    /// The output folder.
    pub fn output_dir(&self) -> &Path {
        Path::new(self.settings.output.dir.as_deref().unwrap_or_default())
    }

    /// Settings that are allowed but do nothing or may surprise, a sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Every key that this pipeline has, with its value, defaults filled in; null where nothing is set. Secrets are not in
    /// it, only where they are read from.
    ///
    /// # Errors
    /// Never for a pipeline that was read.
    pub fn effective(&self) -> Result<Value> {
        let mut all = serde_json::to_value(&self.settings)
            .map_err(|error| Error::internal("the settings have no JSON form").caused_by(error))?;
        for path in self.settings.without_meaning() {
            let (table, key) = path.rsplit_once('.').unwrap_or(("", path));
            let table =
                table.split('.').filter(|part| !part.is_empty()).try_fold(&mut all, |all, part| all.get_mut(part));
            if let Some(table) = table.and_then(Value::as_object_mut) {
                table.remove(key);
            }
        }
        Ok(all)
    }

    /// The settings that decide the bytes of the state: what must not change when a run is resumed.
    ///
    /// # Errors
    /// As [`Pipeline::effective`].
    pub fn learning_part(&self) -> Result<Value> {
        let mut all = self.effective()?;
        let mut take = |section: &str, leave_out: &[&str]| {
            let mut part = all.get_mut(section).map(Value::take).unwrap_or_default();
            if let Some(part) = part.as_object_mut() {
                part.retain(|key, _| !leave_out.contains(&key.as_str()));
            }
            part
        };
        // How rows are cut into batches changes nothing. Of Kafka only how records become rows counts: where they are, who
        // reads them and from where on may change, and a value that was too long becomes a row from then on.
        let elsewhere = [
            "batch_rows",
            "brokers",
            "topics",
            "pattern",
            "group",
            "instance",
            "start",
            "timestamp",
            "offsets",
            "or_else",
            "until_end",
            "max_wait_ms",
            "registry",
            "registry_user",
            "most_value_bytes",
            "oauth_token_file",
            "client",
            "secrets",
        ];
        Ok(json!({
            "source": take("source", &elsewhere),
            "sample": take("sample", &[]),
            // What it stands for is in sample.task and in the list of detectors.
            "boundary": take("boundary", &["task_column"]),
            // Which learners are in memory changes nothing.
            "learner": take("learner", &["most_learners"]),
            "evaluate": take("evaluate", &[]),
            "stability": take("stability", &["every_samples"]),
        }))
    }

    /// SHA-256 of [`Pipeline::learning_part`].
    ///
    /// # Errors
    /// As [`Pipeline::effective`].
    pub fn config_sha256(&self) -> Result<String> {
        Ok(sha256_of(&self.learning_part()?))
    }

    /// Shows an error about what a setting names (`source.path`, a column) where that setting stands. Errors that are not
    /// the user's stay as they are.
    #[must_use]
    pub fn locate(&self, error: Error, path: &str) -> Error {
        if error.kind() != ErrorKind::User {
            return error;
        }
        let origin = conflicts::place(&self.said, path);
        if origin == Origin::Default {
            return error;
        }
        let faults = Faults::from_iter([Fault::new(origin, error.message())]);
        let mut pointed = faults.into_error(&self.file, &self.text);
        for (key, value) in error.context() {
            pointed = pointed.with(key, value);
        }
        let mut causes = Vec::new();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            causes.push(inner.to_string());
            cause = inner.source();
        }
        if causes.is_empty() { pointed } else { pointed.caused_by(causes.join(": ")) }
    }

    /// As [`Pipeline::locate`], for an error about one of the columns under `[sample]`.
    #[must_use]
    pub fn locate_column(&self, error: Error) -> Error {
        let sample = &self.settings.sample;
        let features = sample
            .features
            .iter()
            .enumerate()
            .map(|(index, feature)| ("feature", format!("sample.features.{index}"), feature.column()));
        let others = [
            ("label", "sample.label", Some(&sample.label)),
            // Where sample.task was not given, its short form was.
            ("task", "sample.task", sample.task.as_ref().filter(|_| self.settings.boundary.task_column.is_none())),
            ("task", "boundary.task_column", self.settings.boundary.task_column.as_ref()),
            ("weight", "sample.weight", sample.weight.as_ref()),
            ("event time", "sample.event_time", sample.event_time.as_ref()),
            ("id", "sample.id", sample.id.as_ref()),
        ];
        let others =
            others.into_iter().filter_map(|(role, path, column)| Some((role, path.to_owned(), column?.as_str())));
        let found = features
            .chain(others)
            .find(|(role, _, column)| error.message().contains(&format!("{role} column '{column}'")));
        match found {
            Some((_, path, _)) => self.locate(error, &path),
            None => self.locate(error, "sample"),
        }
    }

    /// Where a setting came from: `default`, `line 5`, an environment variable or an option.
    pub fn origin_in_words(&self, path: &str) -> String {
        match self.said_at(path) {
            Origin::Default => "default".to_owned(),
            Origin::File { start, .. } => format!("line {}", Place::of(&self.text, *start).line),
            Origin::Environment(name) => name.clone(),
            Origin::CommandLine(option) => option.split(['=', ' ']).next().unwrap_or(option).to_owned(),
        }
    }

    fn said_at(&self, path: &str) -> &Origin {
        let path: Vec<&str> = path.split('.').collect();
        self.said.find(&path).map_or(&Origin::Default, |node| &node.origin)
    }
}

/// SHA-256 of a [`Pipeline::learning_part`].
pub fn sha256_of(learning_part: &Value) -> String {
    let mut text = String::new();
    write_sorted(learning_part, &mut text);
    state::sha256_hex(text.as_bytes())
}

/// JSON with sorted keys, whatever order the library keeps them in.
fn write_sorted(value: &Value, text: &mut String) {
    match value {
        Value::Object(object) => {
            let mut entries: Vec<_> = object.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            text.push('{');
            for (key, value) in entries {
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                write_sorted(value, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(values) => {
            text.push('[');
            for value in values {
                write_sorted(value, text);
                text.push(',');
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

fn nearest_file(path: &Path) -> Option<String> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut names: Vec<String> =
        fs::read_dir(folder).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    let near = super::nearest(path.file_name()?.to_str()?, names.iter().map(String::as_str))?;
    Some(path.with_file_name(near).display().to_string())
}
