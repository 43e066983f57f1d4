//! A pipeline whose source is Kafka, run as a job.

use crate::assembly::Operators;
use crate::config::Pipeline;
use crate::driver::Progress;
use crate::meters;
use crate::sink::{FolderOptions, FolderSink};
use arrow_schema::Schema;
use lightcl_core::{Error, Output, Result, Sink};
use lightcl_kafka::{Finished, Health, Job, Observer, Target, format};
use lightcl_stream::Operator;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a job has done so far, over all its learners.
#[derive(Default)]
pub struct Counted {
    samples: AtomicU64,
    commits: AtomicU64,
    state_bytes: AtomicU64,
}

/// Counts, and hands on what is to be shown.
struct Watch<F> {
    counted: Arc<Counted>,
    show: F,
}

impl<F: Fn(&str, &Progress, &[Output]) + Send + Sync> Observer for Watch<F> {
    fn pushed(&self, learner: &str, operator: Option<&Operator>, rows: usize, outputs: &[Output], elapsed: Duration) {
        meters::pushed(operator, rows, outputs, elapsed);
        let samples = self.counted.samples.fetch_add(rows as u64, Ordering::Relaxed) + rows as u64;
        let task = operator.map_or(0, Operator::current_task);
        let accuracy = operator.and_then(|operator| operator.prequential().report().window_accuracy);
        (self.show)(learner, &Progress { samples, total: None, task, accuracy }, outputs);
    }

    fn committed(&self, _: &str, _: usize, state_bytes: usize, elapsed: Duration) {
        meters::committed(state_bytes, elapsed);
        self.counted.commits.fetch_add(1, Ordering::Relaxed);
        self.counted.state_bytes.fetch_add(state_bytes as u64, Ordering::Relaxed);
    }
}

/// Runs the job; `show` is called on the learners' threads with what they did.
///
/// # Errors
/// When the brokers refuse what is asked, or no learner can go on.
pub fn run(
    pipeline: &Arc<Pipeline>,
    fresh: bool,
    stop: Arc<AtomicBool>,
    health: Arc<Health>,
    show: impl Fn(&str, &Progress, &[Output]) + Send + Sync + 'static,
) -> Result<Value> {
    let settings = pipeline.settings();
    let source = settings.kafka_source()?.ok_or_else(|| Error::internal("the pipeline's source is not Kafka"))?;
    let configuration = pipeline.learning_part()?;
    let target = match settings.kafka_sink() {
        Some(sink) => Target::Kafka(sink),
        None => {
            let folder = pipeline.output_dir().to_owned();
            let (format, keep) = (settings.predictions.format, settings.checkpoint.keep);
            Target::Sinks(Arc::new(move |unit: &str| {
                let configuration = configuration.clone();
                let options = FolderOptions { predictions: format, keep, fresh, configuration };
                open_folder(&folder.join(unit), options)
            }))
        }
    };
    // What is missing is found here, before anything is learnt.
    Operators::new(pipeline)?;
    let (maker, format) = (Arc::clone(pipeline), source.format.clone());
    let counted = Arc::new(Counted::default());
    let job = Job {
        source,
        target,
        scope: settings.kafka_scope(),
        checkpoints: settings.kafka_checkpoints(),
        model_id: pipeline.name().to_owned(),
        config_sha256: pipeline.config_sha256()?,
        fresh,
        open_format: Box::new(move || format::open(&format)),
        make_operator: Arc::new(move |_: &str, schema: &Schema| Operators::new(&maker)?.operator(schema)),
        stop,
        health,
        observer: Arc::new(Watch { counted: Arc::clone(&counted), show }),
    };
    let started = Instant::now();
    let finished = job.run()?;
    summary(&finished, &counted, started.elapsed())
}

fn open_folder(folder: &Path, options: FolderOptions) -> Result<Box<dyn Sink>> {
    crate::cli::refuse_another_configuration(folder, &options.configuration, options.fresh)?;
    Ok(Box::new(FolderSink::open(folder, options)?))
}

/// One object for the job: sums over its units, means weighted by their rows, and the units one by one.
fn summary(finished: &Finished, counted: &Counted, elapsed: Duration) -> Result<Value> {
    let mut units = Vec::with_capacity(finished.units.len());
    for unit in &finished.units {
        let mut value = serde_json::to_value(&unit.summary)
            .map_err(|error| Error::internal("the summary has no JSON form").caused_by(error))?;
        if value.is_null() {
            value = json!({});
        }
        value["unit"] = json!(unit.unit);
        value["rows_read"] = json!(unit.rows);
        value["positions"] = json!(unit.positions);
        units.push(value);
    }
    // Of a job with one learner the figures are those of that learner.
    let mut summary = match &units[..] {
        [one] => one.clone(),
        _ => sums(&units),
    };
    let rows = counted.samples.load(Ordering::Relaxed);
    let seconds = elapsed.as_secs_f64();
    summary["rows_read"] = json!(rows);
    summary["samples_per_second"] = json!(rows as f64 / seconds.max(1e-9));
    summary["seconds"] = json!(seconds);
    summary["commits"] = json!(counted.commits.load(Ordering::Relaxed));
    summary["state_bytes_written"] = json!(counted.state_bytes.load(Ordering::Relaxed));
    summary["stopped"] = json!(finished.stopped);
    summary["failed"] =
        finished.failed.iter().map(|(unit, error)| json!({ "unit": unit, "error": error.to_string() })).collect();
    summary["units"] = Value::Array(units);
    Ok(summary)
}

/// Figures of several learners as one: counts add up, accuracies are means weighted by samples.
fn sums(units: &[Value]) -> Value {
    let mut summary = json!({});
    for key in [
        "samples",
        "rejected",
        "trained_samples",
        "tasks",
        "merged_tasks",
        "boundary_count",
        "recurring_boundaries",
        "snapshots",
    ] {
        summary[key] = json!(units.iter().filter_map(|unit| unit[key].as_u64()).sum::<u64>());
    }
    for key in [
        "prequential_accuracy",
        "kappa",
        "no_change_accuracy",
        "majority_accuracy",
        "task_il",
        "class_il",
        "plasticity",
        "stability",
        "forgetting",
    ] {
        let weighted = units.iter().filter_map(|unit| Some((unit[key].as_f64()?, unit["samples"].as_f64()?)));
        let (sum, weight) =
            weighted.fold((0.0, 0.0), |(sum, total), (value, weight)| (sum + value * weight, total + weight));
        summary[key] = if weight > 0.0 { json!(sum / weight) } else { Value::Null };
    }
    // Each learner has boundaries and a state of its own: they stand with the units.
    summary["boundaries"] = json!([]);
    summary["state_sha256"] = Value::Null;
    summary
}
