//! From the options of a learner to its pipeline, and from that to an operator.

use super::options::LearnOptions;
use arrow_schema::{Schema, SchemaRef};
use lightcl_core::{Error, Result};
use lightcl_pipeline::assembly::Operators;
use lightcl_pipeline::config::{Overrides, Pipeline, Settings, difference};
use lightcl_pipeline::sink::latest_checkpoint;
use lightcl_pipeline::source;
use lightcl_stream::Operator;
use serde_json::Value;
use std::path::Path;

/// What to do with a learner of another pipeline.
pub(super) const ANEW: &str = "choose another location, or start over with INSERT OVERWRITE";

/// A pipeline, read and checked.
pub(super) struct Recipe {
    pipeline: Pipeline,
    /// The same, with every scored row emitted.
    emitting: Pipeline,
    /// Whether the pipeline names a source of its own.
    has_source: bool,
}

impl std::fmt::Debug for Recipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recipe").field("model", &self.model()).finish_non_exhaustive()
    }
}

impl Recipe {
    /// Reads the pipeline that the options name. `name` stands for the file where they hold its text.
    ///
    /// # Errors
    /// When the file cannot be read, or with everything that is wrong in it.
    pub fn read(options: &LearnOptions, name: &str) -> Result<Self> {
        let overrides = |more: &[&str]| Overrides {
            set: options.set.iter().cloned().chain(more.iter().map(|&one| one.to_owned())).collect(),
            ..Overrides::default()
        };
        let (text, file) = pipeline_text(&options.pipeline, name)?;
        // Text that is no TOML is refused below, with the place.
        let has_source = text.parse::<toml::Table>().map_or(true, |table| table.contains_key("source"));
        let in_place: &[&str] = if has_source { &[] } else { &["source.type=parquet", "source.path=sql"] };
        let pipeline = Pipeline::parse(&text, &file, &overrides(in_place))?;
        if pipeline.settings().is_kafka() {
            return Err(Error::user(
                "a learner in SQL learns from the rows of a query: leave the Kafka source out of its pipeline",
            )
            .with("pipeline", file));
        }
        let emitting = Pipeline::parse(&text, &file, &overrides(&[in_place, &["predictions.format=jsonl"]].concat()))?;
        Ok(Recipe { pipeline, emitting, has_source })
    }

    /// Every setting in force.
    pub fn settings(&self) -> &Settings {
        self.pipeline.settings()
    }

    /// Name of the model.
    pub fn model(&self) -> &str {
        self.pipeline.name()
    }

    /// Columns of the files that the pipeline names; none where it names none.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn source_schema(&self) -> Result<Option<SchemaRef>> {
        let Some(config) = self.settings().source_config().filter(|_| self.has_source) else { return Ok(None) };
        let source = source::open(config).map_err(|error| self.pipeline.locate(error, "source.path"))?;
        Ok(Some(source.schema()))
    }

    /// A new operator for rows with these columns; with `emit` it gives a prediction for every row.
    ///
    /// # Errors
    /// When a column is missing or has the wrong type.
    pub fn operator(&self, schema: &Schema, emit: bool) -> Result<Operator> {
        let pipeline = if emit { &self.emitting } else { &self.pipeline };
        Operators::new(pipeline)?.operator(schema)
    }

    /// The settings that decide what is learnt. Of a source that the statement takes the place of there is nothing in it.
    ///
    /// # Errors
    /// Never for a pipeline that was read.
    pub fn configuration(&self) -> Result<Value> {
        let mut all = self.pipeline.learning_part()?;
        if let Some(all) = all.as_object_mut().filter(|_| !self.has_source) {
            all.remove("source");
        }
        Ok(all)
    }

    /// Refuses to go on with what another configuration has learnt; `way_out` says what else to do.
    ///
    /// # Errors
    /// When the folder holds such a learner, or cannot be read.
    pub fn check_folder(&self, folder: &Path, configuration: &Value, way_out: &str) -> Result<()> {
        let Some(checkpoint) = latest_checkpoint(folder)? else { return Ok(()) };
        let changes = difference(&checkpoint.header.configuration, configuration);
        if changes.is_empty() {
            return Ok(());
        }
        Err(Error::user(format!(
            "the learner in {} was made with another pipeline; go back to it, or {way_out}:\n  {}",
            folder.display(),
            changes.join("\n  ")
        )))
    }
}

/// The text of a pipeline that is given as such or by the path of its file, and what it is called in messages: by its path, or
/// by `name`.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn pipeline_text(given: &str, name: &str) -> Result<(String, String)> {
    if given.contains('\n') || given.trim_start().starts_with('[') {
        return Ok((given.to_owned(), format!("{name}.toml")));
    }
    match std::fs::read_to_string(given) {
        Ok(text) => Ok((text, given.to_owned())),
        Err(error) => {
            // It says why, and what the nearest name is.
            Pipeline::load(Path::new(given), &Overrides::default())?;
            Err(Error::external(format!("cannot read the pipeline file {given}")).caused_by(error))
        }
    }
}

/// The columns of a statement under the names and types that a learner knows.
///
/// # Errors
/// When there are fewer or more of them, or one is of another type.
pub(super) fn check_columns(known: &SchemaRef, given: &Schema) -> Result<()> {
    let same = known.fields().len() == given.fields().len()
        && known.fields().iter().zip(given.fields()).all(|(known, given)| known.data_type() == given.data_type());
    if same {
        return Ok(());
    }
    let shown = |schema: &Schema| {
        let columns: Vec<String> =
            schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
        columns.join(", ")
    };
    Err(Error::user("the columns of the statement are not those of the learner's table")
        .with("expected", shown(known))
        .with("found", shown(given)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[sample]\nfeatures = [\"x\"]\nlabel = \"y\"\n";

    #[test]
    fn a_pipeline_without_a_source_is_whole_and_says_nothing_of_one() {
        let recipe = Recipe::read(&LearnOptions::new(TEXT).set("learner.seed=3"), "shop").unwrap();
        assert_eq!(recipe.model(), "shop");
        assert!(recipe.source_schema().unwrap().is_none());
        let configuration = recipe.configuration().unwrap();
        assert_eq!((&configuration["source"], &configuration["learner"]["seed"]), (&Value::Null, &Value::from(3)));
    }

    #[test]
    fn what_is_wrong_is_shown_where_it_stands() {
        let message = |pipeline: &str| Recipe::read(&LearnOptions::new(pipeline), "shop").unwrap_err().to_string();
        assert!(message(&format!("{TEXT}[learner]\nlerning_rate = 1\n")).starts_with("shop.toml:5:1: unknown key"));
        assert!(message("no-such.toml").starts_with("there is no pipeline file no-such.toml"));
        let kafka = "[source]\ntype = \"kafka\"\nbrokers = \"b:1\"\ntopics = [\"t\"]\ngroup = \"g\"\n";
        assert!(message(&format!("{kafka}{TEXT}")).contains("leave the Kafka source out"));
    }
}
