//! What a backfill is made of.

use super::super::options::unknown;
use super::super::recipe::pipeline_text;
use datafusion::error::{DataFusionError, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Options beside the pipeline; `set.<key>` overrides a key of it.
const KNOWN: [&str; 5] = ["key", "order", "location", "job", "range"];

/// What is learnt, by what keys, in what order, and where the results go.
///
/// ```
/// use lightcl_datafusion::KeyedOptions;
///
/// let options = KeyedOptions::new("pipelines/shop.toml", "customer", "models").order("time").job("november");
/// assert_eq!(options.order, ["time"]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyedOptions {
    /// The path of a pipeline file, or its text.
    pub pipeline: String,
    /// Overrides of the pipeline's keys, as `lightcl run --set` takes them.
    pub set: Vec<String>,
    /// The column that tells learners apart: text, whole numbers, dates or booleans.
    pub key: String,
    /// The columns that say in which order a learner learns from its rows, ascending, nulls first. No two rows of a key may
    /// stand at one place.
    pub order: Vec<String>,
    /// The folder that the results of all jobs go to; every executor must reach it under this path.
    pub location: PathBuf,
    /// Name of the job. Default: `backfill`.
    pub job: String,
    /// Name of the rows that are learnt from. Default: a fingerprint of the files and conditions of the input.
    pub range: Option<String>,
}

impl KeyedOptions {
    /// A learner of this pipeline for each value of a column, kept under a folder.
    pub fn new(pipeline: impl Into<String>, key: impl Into<String>, location: impl Into<PathBuf>) -> Self {
        KeyedOptions {
            pipeline: pipeline.into(),
            set: Vec::new(),
            key: key.into(),
            order: Vec::new(),
            location: location.into(),
            job: "backfill".to_owned(),
            range: None,
        }
    }

    /// Orders rows by one more column.
    #[must_use]
    pub fn order(mut self, column: impl Into<String>) -> Self {
        self.order.push(column.into());
        self
    }

    /// Names the job.
    #[must_use]
    pub fn job(mut self, job: impl Into<String>) -> Self {
        self.job = job.into();
        self
    }

    /// Names the rows that are learnt from.
    #[must_use]
    pub fn range(mut self, range: impl Into<String>) -> Self {
        self.range = Some(range.into());
        self
    }

    /// Overrides a key of the pipeline: `learner.seed=3`.
    #[must_use]
    pub fn set(mut self, assignment: impl Into<String>) -> Self {
        self.set.push(assignment.into());
        self
    }

    /// The options of the table function.
    pub(super) fn of_function(pipeline: &str, pairs: &[(&str, &str)]) -> Result<Self> {
        let mut options = KeyedOptions::new(pipeline, "", "");
        for &(key, value) in pairs {
            match key.strip_prefix("lightcl.").unwrap_or(key) {
                "key" => value.clone_into(&mut options.key),
                "order" => options.order = value.split(',').map(|column| column.trim().to_owned()).collect(),
                "location" => options.location = value.into(),
                "job" => value.clone_into(&mut options.job),
                "range" => options.range = Some(value.to_owned()),
                other => match other.strip_prefix("set.") {
                    Some(path) => options.set.push(format!("{path}={value}")),
                    None => return Err(unknown(key, "", &KNOWN)),
                },
            }
        }
        Ok(options)
    }

    /// The same with the pipeline's text instead of its path, for whoever does not see the file.
    ///
    /// # Errors
    /// When something is not said that must be, a name is none, or the file cannot be read.
    pub(super) fn checked(mut self) -> Result<Self> {
        let missing = [
            ("key", self.key.is_empty(), "the column that tells learners apart"),
            ("order", self.order.is_empty(), "the columns that say in which order rows are learnt from"),
            ("location", self.location.as_os_str().is_empty(), "the folder for results"),
        ];
        for (name, is_missing, what) in missing {
            if is_missing {
                return Err(DataFusionError::Plan(format!("learning by key needs the option '{name}': {what}")));
            }
        }
        let names = std::iter::once(("job", &self.job)).chain(self.range.iter().map(|range| ("range", range)));
        for (option, name) in names {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.=".contains(&byte);
            if name.is_empty() || name.starts_with('.') || name.len() > 100 || !name.bytes().all(is_plain) {
                return Err(DataFusionError::Plan(format!(
                    "a folder is called by the option '{option}', which may have letters, digits and the signs _ - . = (not \
                     first a point), not more than 100: found '{name}'"
                )));
            }
        }
        (self.pipeline, _) =
            pipeline_text(&self.pipeline, &self.job).map_err(|error| super::super::errors::refused(&error))?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_function_are_those_of_the_builder() {
        let pairs =
            [("key", "k"), ("order", "a, b"), ("location", "out"), ("job", "j"), ("range", "r"), ("set.x.y", "1")];
        let expected = KeyedOptions::new("[sample]", "k", "out").order("a").order("b").job("j").range("r").set("x.y=1");
        assert_eq!(KeyedOptions::of_function("[sample]", &pairs).unwrap(), expected);
        let error = KeyedOptions::of_function("a.toml", &[("keys", "k")]).unwrap_err().to_string();
        assert!(error.contains("did you mean 'key'?"), "{error}");
    }

    #[test]
    fn what_must_be_said_is_asked_for_and_names_are_folders() {
        let message = |options: KeyedOptions| options.checked().unwrap_err().to_string();
        let whole = KeyedOptions::new("[sample]", "k", "out").order("t");
        assert_eq!(whole.clone().checked().unwrap(), whole);
        assert!(message(KeyedOptions::new("[sample]", "k", "out")).contains("needs the option 'order'"));
        assert!(message(KeyedOptions::new("[sample]", "", "out").order("t")).contains("needs the option 'key'"));
        assert!(message(whole.clone().job("../up")).contains("the option 'job'"));
        assert!(message(whole.clone().range(".hidden")).contains("the option 'range'"));
        assert!(
            message(KeyedOptions { pipeline: "none.toml".to_owned(), ..whole }).contains("there is no pipeline file")
        );
    }
}
