//! What a learner in SQL is made of.

use datafusion::error::{DataFusionError, Result};
use lightcl_pipeline::config::nearest;
use std::path::PathBuf;
use std::time::Duration;

/// Prefix of the options of a learner's table.
const PREFIX: &str = "lightcl.";
/// Prefix of options that override keys of the pipeline.
const SET: &str = "set.";
/// Options of a learner's table.
const OF_TABLES: [&str; 5] = ["pipeline", "partition", "partition_column", "offset", "order"];
/// What the operator has beside them.
const OF_OPERATORS: [&str; 3] = ["location", "name", "max_wait_ms"];

/// What is learnt, where it is kept, and how rows get their positions.
///
/// ```
/// use lightcl_datafusion::LearnOptions;
///
/// let options = LearnOptions::new("pipelines/elec2.toml").at("models/elec2").partition("elec2").set("learner.seed=3");
/// assert_eq!(options.pipeline, "pipelines/elec2.toml");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LearnOptions {
    /// The path of a pipeline file, relative to the current directory, or its text (anything with a line break). Without a
    /// section `[source]` the rows of the query are all there is.
    pub pipeline: String,
    /// The output folder. None: nothing is kept, and every run begins anew.
    pub location: Option<PathBuf>,
    /// What the learner is called in the system tables and in queries. Default: the name of the model.
    pub name: Option<String>,
    /// Name of the partition that rows are numbered in. Default: a fingerprint of the input's plan and of what it reads.
    pub partition: Option<String>,
    /// A column of text or whole numbers that tells which partition a row stands in, for inputs with several: rows are numbered
    /// within each. Its partitions are called by the name above and that value.
    pub partition_column: Option<String>,
    /// A column of ascending whole numbers that are the positions of rows. Default: the row's number in the query.
    pub offset: Option<String>,
    /// Whether rows of an unbounded input with several partitions may be learnt from as they arrive.
    pub any_order: bool,
    /// Longest time that a row waits for the rows that are scored with it. Default: half a second on an unbounded input, else
    /// for ever; zero is for ever.
    pub max_wait: Option<Duration>,
    /// Overrides of the pipeline's keys, as `lightcl run --set` takes them.
    pub set: Vec<String>,
}

impl LearnOptions {
    /// A learner of this pipeline with nothing else said.
    pub fn new(pipeline: impl Into<String>) -> Self {
        LearnOptions {
            pipeline: pipeline.into(),
            location: None,
            name: None,
            partition: None,
            partition_column: None,
            offset: None,
            any_order: false,
            max_wait: None,
            set: Vec::new(),
        }
    }

    /// Keeps the learner in an output folder.
    #[must_use]
    pub fn at(mut self, folder: impl Into<PathBuf>) -> Self {
        self.location = Some(folder.into());
        self
    }

    /// Gives the learner a name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Names the partition that rows are numbered in.
    #[must_use]
    pub fn partition(mut self, partition: impl Into<String>) -> Self {
        self.partition = Some(partition.into());
        self
    }

    /// Tells partitions apart by a column.
    #[must_use]
    pub fn partition_column(mut self, column: impl Into<String>) -> Self {
        self.partition_column = Some(column.into());
        self
    }

    /// Takes the positions of rows from a column.
    #[must_use]
    pub fn offset(mut self, column: impl Into<String>) -> Self {
        self.offset = Some(column.into());
        self
    }

    /// Learns from rows of several unbounded partitions as they arrive.
    #[must_use]
    pub fn any_order(mut self) -> Self {
        self.any_order = true;
        self
    }

    /// Bounds the time that a row waits for those that are scored with it; zero is for ever.
    #[must_use]
    pub fn max_wait(mut self, most: Duration) -> Self {
        self.max_wait = Some(most);
        self
    }

    /// Overrides a key of the pipeline: `learner.seed=3`.
    #[must_use]
    pub fn set(mut self, assignment: impl Into<String>) -> Self {
        self.set.push(assignment.into());
        self
    }

    /// The options of `CREATE EXTERNAL TABLE`; all but the location, which stands in the statement.
    pub(super) fn of_table<'a>(given: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for (key, value) in given {
            // What has no prefix is made an option of a format by the parser.
            let short = key.strip_prefix(PREFIX).ok_or_else(|| unknown(key, PREFIX, &OF_TABLES))?;
            pairs.push((short, value));
        }
        pairs.sort_unstable();
        let mut options = LearnOptions::new("");
        for (key, value) in pairs {
            if !options.take(key, value, &OF_TABLES)? {
                return Err(unknown(&format!("{PREFIX}{key}"), PREFIX, &OF_TABLES));
            }
        }
        if options.pipeline.is_empty() {
            return Err(DataFusionError::Plan(
                "a learner needs a pipeline: OPTIONS ('lightcl.pipeline' 'the path of a pipeline file, or its text')"
                    .to_owned(),
            ));
        }
        Ok(options)
    }

    /// Takes an option of the table function.
    pub(super) fn take_of_function(&mut self, key: &str, value: &str) -> Result<()> {
        let known = [&OF_OPERATORS[..], &OF_TABLES[1..]].concat();
        if self.take(key.strip_prefix(PREFIX).unwrap_or(key), value, &known)? {
            return Ok(());
        }
        Err(unknown(key, "", &known))
    }

    /// Gives whether there is such an option.
    fn take(&mut self, key: &str, value: &str, known: &[&str]) -> Result<bool> {
        if let Some(path) = key.strip_prefix(SET) {
            self.set.push(format!("{path}={value}"));
            return Ok(true);
        }
        if !known.contains(&key) {
            return Ok(false);
        }
        match key {
            "pipeline" => value.clone_into(&mut self.pipeline),
            "partition" => self.partition = Some(value.to_owned()),
            "partition_column" => self.partition_column = Some(value.to_owned()),
            "offset" => self.offset = Some(value.to_owned()),
            "location" => self.location = Some(PathBuf::from(value)),
            "name" => self.name = Some(value.to_owned()),
            "order" => {
                self.any_order = match value {
                    "input" => false,
                    "arrival" => true,
                    other => {
                        return Err(DataFusionError::Plan(format!(
                            "the order is 'input' (that of the query, the default) or 'arrival' (whatever comes first, of \
                             unbounded inputs), not '{other}'"
                        )));
                    }
                }
            }
            _ => {
                let most = value.parse().map_err(|_| {
                    DataFusionError::Plan(format!("max_wait_ms is a whole number of milliseconds, not '{value}'"))
                })?;
                self.max_wait = Some(Duration::from_millis(most));
            }
        }
        Ok(true)
    }
}

impl LearnOptions {
    /// Whether a second run would know the rows again: those that are learnt from as they arrive only by their partitions.
    ///
    /// # Errors
    /// When it would not, and something is kept that it goes on from.
    pub(super) fn check_order(&self) -> Result<()> {
        if !self.any_order || self.partition_column.is_some() || self.location.is_none() {
            return Ok(());
        }
        Err(DataFusionError::Plan(
            "rows that are learnt from as they arrive come in another order the next time, and are known again only by the \
             partition that they stand in: name its column with the option 'partition_column', and that of their offsets, if \
             they have one, with 'offset'"
                .to_owned(),
        ))
    }
}

/// The error of an option that there is not.
pub(super) fn unknown(key: &str, prefix: &str, known: &[&str]) -> DataFusionError {
    let all: Vec<String> = known.iter().map(|name| format!("{prefix}{name}")).collect();
    let bare = key.strip_prefix("format.").or_else(|| key.strip_prefix(PREFIX)).unwrap_or(key);
    let near = nearest(bare, known.iter().copied()).map(|near| format!("; did you mean '{prefix}{near}'?"));
    DataFusionError::Plan(format!(
        "there is no option '{key}' of a learner{}; there are {}, and {prefix}set.<key of the pipeline>",
        near.unwrap_or_default(),
        all.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(pairs: &[(&'static str, &'static str)]) -> Result<LearnOptions> {
        LearnOptions::of_table(pairs.iter().copied())
    }

    #[test]
    fn options_of_a_table_are_read() {
        let options = table(&[
            ("lightcl.set.learner.seed", "3"),
            ("lightcl.pipeline", "a.toml"),
            ("lightcl.partition", "p"),
            ("lightcl.order", "arrival"),
        ]);
        let expected = LearnOptions::new("a.toml").partition("p").any_order().set("learner.seed=3");
        assert_eq!(options.unwrap(), expected);
    }

    #[test]
    fn unknown_options_list_those_that_there_are() {
        let error = table(&[("lightcl.pipelin", "a.toml")]).unwrap_err().to_string();
        assert!(error.contains("did you mean 'lightcl.pipeline'?") && error.contains("lightcl.offset"), "{error}");
        let error = table(&[("format.partition", "a")]).unwrap_err().to_string();
        assert!(error.contains("did you mean 'lightcl.partition'?"), "{error}");
        assert!(table(&[]).unwrap_err().to_string().contains("needs a pipeline"));
        assert!(table(&[("lightcl.pipeline", "a"), ("lightcl.order", "up")]).is_err());
        let error = LearnOptions::new("a").take_of_function("pipeline", "b").unwrap_err().to_string();
        assert!(error.contains("location") && !error.contains("there are pipeline"), "{error}");
    }
}
