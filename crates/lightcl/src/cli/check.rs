//! `lightcl check`: every setting in force, and whether the input fits it.

use super::CheckArgs;
use crate::config::{Explained, Overrides, Pipeline, toml_inline};
use crate::source::{self, FileSourceConfig};
use arrow_schema::{DataType, Schema};
use lightcl_core::{Result, Source};
use lightcl_kafka::config::Topics;
use lightcl_kafka::topics::check_properties;
use lightcl_kafka::{Connection, SecretSource};
use lightcl_learner::LightClLearner;
use lightcl_stream::encode::Encoder;
use std::fmt::Write;

/// Where the explanations begin, if the setting before them leaves room.
const EXPLANATION_COLUMN: usize = 44;

/// Checks a pipeline and prints every setting with its value, where that came from and what it means.
///
/// # Errors
/// With everything that is wrong, each shown where it stands.
pub fn run(args: &CheckArgs) -> Result<()> {
    let overrides = Overrides::from_process(&args.set, None)?;
    let pipeline = Pipeline::load(&args.pipeline, &overrides)?;
    let mut text =
        format!("# {}: every setting in force, where it comes from, what it means\n", args.pipeline.display());
    settings(&pipeline, &mut text)?;
    text.push('\n');
    input(&pipeline, &mut text)?;
    for note in pipeline.notes() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# note: {note}");
    }
    text.push_str("# all is well\n");
    super::print(&text)
}

fn settings(pipeline: &Pipeline, text: &mut String) -> Result<()> {
    for line in pipeline.explain()? {
        let (setting, explanation) = match line {
            Explained::Section { path, description, set } => {
                text.push('\n');
                if set { (format!("[{path}]"), description) } else { (format!("# [{path}] is not set"), description) }
            }
            Explained::Key { path, value, origin, description } => {
                let key = path.rsplit('.').next().unwrap_or(&path);
                let setting = match value {
                    Some(value) => format!("{key} = {}", toml_inline(&value)),
                    None => format!("# {key} is not set"),
                };
                (setting, format!("{origin}: {description}"))
            }
        };
        let _ = writeln!(text, "{setting:EXPLANATION_COLUMN$} # {explanation}");
    }
    Ok(())
}

/// Opens what the pipeline reads, and looks whether columns and weights fit.
fn input(pipeline: &Pipeline, text: &mut String) -> Result<()> {
    let settings = pipeline.settings();
    let Some(config) = settings.source_config() else { return topics(pipeline, text) };
    if config.path == "-" {
        text.push_str("# source: standard input, which is read only by a run\n");
        return Ok(());
    }
    let source = open(pipeline, "source.path", config)?;
    let schema = source.schema();
    let _ = writeln!(text, "# source: {}columns {}", rows_in_words(source.as_ref()), columns_in_words(&schema));
    let encoder = Encoder::new(settings.encoder_config(), &schema).map_err(|error| pipeline.locate_column(error))?;
    held_out(pipeline, text)?;
    let weights = settings.weights().map_err(|error| pipeline.locate(error, "learner.weights"))?;
    match encoder.shape() {
        Some(shape) => {
            let at = if weights.is_some() { "learner.weights" } else { "learner.backbone" };
            LightClLearner::new(settings.learner_config(), shape, weights.as_ref())
                .map_err(|error| pipeline.locate(error, at))?;
            let _ = writeln!(text, "# a sample: {} numbers, shape {shape:?}", shape.iter().product::<usize>());
        }
        None => text.push_str("# a sample: its shape is known after the first row\n"),
    }
    Ok(())
}

fn held_out(pipeline: &Pipeline, text: &mut String) -> Result<()> {
    let settings = pipeline.settings();
    let Some(config) = settings.evaluation_config() else { return Ok(()) };
    let held_out = open(pipeline, "evaluate.path", config)?;
    Encoder::new(settings.encoder_config(), &held_out.schema())
        .map_err(|error| pipeline.locate(error, "evaluate.path"))?;
    let _ = writeln!(text, "# held out: {}all columns are there", rows_in_words(held_out.as_ref()));
    Ok(())
}

/// What can be said of a Kafka job without asking the brokers.
fn topics(pipeline: &Pipeline, text: &mut String) -> Result<()> {
    let settings = pipeline.settings();
    if let Some(source) = settings.kafka_source()? {
        let topics = match &source.topics {
            Topics::Names(names) => names.join(", "),
            Topics::Pattern(pattern) => format!("all that match {pattern}"),
        };
        let _ =
            writeln!(text, "# source: topics {topics} at {}, which are read only by a run", source.connection.brokers);
        secrets("source", &source.connection, text);
        if let Some((_, password)) = &source.format.registry_auth {
            secret("source", "registry.password", password, text);
        }
        check_properties(&source.connection).map_err(|error| pipeline.locate(error, "source.client"))?;
    }
    if let Some(sink) = settings.kafka_sink() {
        secrets("sink", &sink.connection, text);
        check_properties(&sink.connection).map_err(|error| pipeline.locate(error, "sink.client"))?;
    }
    held_out(pipeline, text)?;
    settings.weights().map_err(|error| pipeline.locate(error, "learner.weights"))?;
    Ok(())
}

fn secrets(section: &str, connection: &Connection, text: &mut String) {
    for (name, source) in &connection.secrets {
        secret(section, name, source, text);
    }
}

/// Where a secret is read from, and whether it is there; never what it is.
fn secret(section: &str, name: &str, source: &SecretSource, text: &mut String) {
    let (place, is_there) = match source {
        SecretSource::Environment(variable) => {
            (format!("the environment variable {variable}"), std::env::var_os(variable).is_some())
        }
        SecretSource::File(path) => (format!("the file {}", path.display()), path.is_file()),
    };
    let missing = if is_there { "" } else { ", which is not there now" };
    let _ = writeln!(text, "# secret of [{section}]: {name} from {place}{missing}");
}

fn open(pipeline: &Pipeline, setting: &str, config: FileSourceConfig) -> Result<Box<dyn Source>> {
    source::open(config).map_err(|error| pipeline.locate(error, setting))
}

fn rows_in_words(source: &dyn Source) -> String {
    source.total_rows().map(|rows| format!("{rows} rows, ")).unwrap_or_default()
}

fn columns_in_words(schema: &Schema) -> String {
    const MOST: usize = 20;
    let mut columns: Vec<String> = schema
        .fields()
        .iter()
        .take(MOST)
        .map(|field| format!("{} ({})", field.name(), type_in_words(field.data_type())))
        .collect();
    if schema.fields().len() > MOST {
        columns.push(format!("and {} more", schema.fields().len() - MOST));
    }
    columns.join(", ")
}

fn type_in_words(data_type: &DataType) -> String {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) => format!("list of {}", type_in_words(item.data_type())),
        DataType::FixedSizeList(item, size) => format!("list of {size} {}", type_in_words(item.data_type())),
        DataType::Dictionary(_, value) => type_in_words(value),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}
