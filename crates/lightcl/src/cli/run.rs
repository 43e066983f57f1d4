//! `lightcl run`.

use super::{RunArgs, print};
use crate::assembly::assemble;
use crate::config::{Overrides, Pipeline, difference};
use crate::driver::{Finished, Progress, Run};
use crate::http::Server;
use crate::kafka_run;
use crate::logs;
use crate::sink::{FolderOptions, FolderSink, SUMMARY, latest_checkpoint, write_file};
use indicatif::{ProgressBar, ProgressStyle};
use lightcl_boundary::REGIMES;
use lightcl_core::{Error, Output, Result};
use lightcl_kafka::Health;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Runs a pipeline, or goes on with one that was stopped.
///
/// # Errors
/// When the configuration is wrong, differs from that of the run to go on with, or the run fails.
pub fn run(arguments: &RunArgs) -> Result<()> {
    if arguments.quiet {
        logs::only_warnings();
    }
    let mut overrides = Overrides::from_process(&arguments.set, arguments.out.as_deref())?;
    overrides.until_end = arguments.until_end;
    let pipeline = Pipeline::load(&arguments.pipeline, &overrides)?;
    if pipeline.settings().is_kafka() {
        return run_on_kafka(arguments, pipeline);
    }
    let folder = pipeline.output_dir();
    let configuration = pipeline.learning_part()?;
    refuse_another_configuration(folder, &configuration, arguments.fresh)?;
    let health = Arc::new(Health::new());
    let _server = serve(&pipeline, &health, None)?;
    let (source, operator) = assemble(&pipeline)?;
    let settings = pipeline.settings();
    let options = FolderOptions {
        predictions: settings.predictions.format,
        keep: settings.checkpoint.keep,
        fresh: arguments.fresh,
        configuration,
    };
    let sink = FolderSink::open(folder, options)?;
    let stop = stop_on_signals()?;
    let run = Run {
        source,
        operator,
        sink: Box::new(sink),
        checkpoints: settings.checkpoint_policy(),
        slice_rows: settings.learner.window_samples,
        stop,
        health,
    };
    let mut shown = Shown::new(arguments.quiet);
    let finished = run.drive(&mut |progress, outputs| shown.show("", progress, outputs))?;
    shown.bar.finish_and_clear();
    let summary = summary(&finished)?;
    if !finished.stopped {
        write_file(&folder.join(SUMMARY), |file| writeln!(file, "{summary:#}"))?;
    }
    print(&if arguments.json { format!("{summary}\n") } else { summary_in_words(&summary, &finished) })
}

/// Metrics and health over HTTP for as long as the server lives, where `[metrics]` asks for them.
///
/// # Errors
/// When the address cannot be listened on.
pub(crate) fn serve(
    pipeline: &Pipeline,
    health: &Arc<Health>,
    max_silence: Option<Duration>,
) -> Result<Option<Server>> {
    let Some(listen) = &pipeline.settings().metrics.listen else { return Ok(None) };
    let server = Server::start(listen, Arc::clone(health), max_silence);
    Ok(Some(server.map_err(|error| pipeline.locate(error, "metrics.listen"))?))
}

/// Runs a pipeline as a Kafka job, until it is stopped or, with `until_end`, all was read.
fn run_on_kafka(arguments: &RunArgs, pipeline: Pipeline) -> Result<()> {
    let health = Arc::new(Health::new());
    let max_silence = Duration::from_secs(pipeline.settings().metrics.max_silence_seconds);
    let _server = serve(&pipeline, &health, Some(max_silence))?;
    let stop = stop_on_signals()?;
    let shown = Mutex::new(Shown::new(arguments.quiet));
    let show = move |learner: &str, progress: &Progress, outputs: &[Output]| {
        shown.lock().unwrap_or_else(PoisonError::into_inner).show(learner, progress, outputs);
    };
    let mut summary = kafka_run::run(&Arc::new(pipeline), arguments.fresh, stop, health, show)?;
    summary["peak_memory_bytes"] = json!(peak_memory_bytes());
    let failed = summary["failed"].as_array().map_or(0, Vec::len);
    print(&if arguments.json { format!("{summary}\n") } else { units_in_words(&summary) })?;
    if failed > 0 {
        return Err(Error::external("some learners could not go on; each said why").with("learners", failed));
    }
    Ok(())
}

/// Refuses to go on with a run of another configuration, unless it is to start over.
///
/// # Errors
/// When the folder holds such a run, or cannot be read.
pub(crate) fn refuse_another_configuration(folder: &Path, new: &Value, fresh: bool) -> Result<()> {
    if fresh {
        return Ok(());
    }
    let Some(checkpoint) = latest_checkpoint(folder)? else { return Ok(()) };
    let changes = difference(&checkpoint.header.configuration, new);
    if changes.is_empty() {
        return Ok(());
    }
    Err(Error::user(format!(
        "the run in {} was started with another configuration; go back to it, choose another --out, or start over with \
         --fresh:\n  {}",
        folder.display(),
        changes.join("\n  ")
    )))
}

/// The first SIGINT or SIGTERM asks for a clean stop, the second ends the process with 130.
pub(crate) fn stop_on_signals() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let registered = signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)));
        registered.map_err(|error| Error::external("cannot wait for signals").caused_by(error))?;
    }
    Ok(stop)
}

/// Time between two plain lines of progress.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Progress: a bar on a terminal, else a plain line now and then and for what happens.
struct Shown {
    bar: ProgressBar,
    quiet: bool,
    started: Instant,
    /// When the last plain line was written, and the rows read when the first was due.
    last_line: Instant,
    first_sample: Option<u64>,
    /// The task that each learner learnt when progress was last shown.
    tasks: HashMap<String, u32>,
}

impl Shown {
    fn new(quiet: bool) -> Self {
        let hidden = quiet || logs::is_json() || !std::io::stderr().is_terminal();
        let bar = if hidden { ProgressBar::hidden() } else { ProgressBar::new(0) };
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} samples  ETA {eta}  {msg}") {
            bar.set_style(style);
        }
        let started = Instant::now();
        Shown { bar, quiet, started, last_line: started, first_sample: None, tasks: HashMap::new() }
    }

    /// Shows how far all learners are together, and what happened to one of them; the only one has no name.
    fn show(&mut self, learner: &str, progress: &Progress, outputs: &[Output]) {
        let first = *self.first_sample.get_or_insert_with(|| {
            // What an earlier process read says nothing about the time that is left.
            self.bar.set_position(progress.samples);
            self.bar.reset_eta();
            progress.samples
        });
        let rate = (progress.samples - first) as f64 / self.started.elapsed().as_secs_f64();
        let accuracy = progress.accuracy.map_or_else(String::new, |accuracy| format!("  accuracy {accuracy:.3}"));
        let of = if learner.is_empty() { String::new() } else { format!("{learner}: ") };
        let state = format!("{rate:.0}/s  {of}task {}{accuracy}", progress.task);
        self.bar.set_length(progress.total.unwrap_or(progress.samples));
        self.bar.set_position(progress.samples);
        self.bar.set_message(state.clone());
        if self.quiet {
            return;
        }
        if self.bar.is_hidden() && self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let of = progress.total.map_or_else(String::new, |total| format!(" of {total}"));
            log::info!(
                samples = progress.samples,
                task = progress.task,
                accuracy = progress.accuracy,
                samples_per_second = rate;
                "{}{of} samples  {state}", progress.samples
            );
        }
        for output in outputs {
            if let Output::Boundary(event) = output {
                // The first decided; what every signal said is in the event. Recognition comes last.
                let last = event.evidence.last().filter(|last| last.detector == REGIMES && event.evidence.len() > 1);
                let why: Vec<_> = event
                    .evidence
                    .first()
                    .into_iter()
                    .chain(last)
                    .map(|evidence| format!("{}: {}", evidence.detector, evidence.message))
                    .collect();
                let before = self.tasks.insert(learner.to_owned(), event.task);
                let what = match event.recurring {
                    true if before == Some(event.task) => format!("task {} goes on", event.task),
                    true => format!("returns to task {}", event.task),
                    false => format!("task {} begins", event.task),
                };
                let merged = event.merged.map_or_else(String::new, |merged| {
                    format!("; to make room, task {} went into task {}", merged.gone, merged.into)
                });
                let line = format!("{of}{what} at sample {} ({}){merged}", event.at, why.join("; "));
                if self.bar.is_hidden() {
                    log::info!(at = event.at, task = event.task, recurring = event.recurring, learner; "{line}");
                } else {
                    self.bar.println(line);
                }
            }
        }
    }
}

/// The operator's summary with speed, memory and how the run ended.
fn summary(finished: &Finished) -> Result<Value> {
    let mut summary = serde_json::to_value(finished.operator.summary()?)
        .map_err(|error| Error::internal("the summary has no JSON form").caused_by(error))?;
    let seconds = finished.elapsed.as_secs_f64();
    summary["samples_per_second"] = json!(finished.rows_read as f64 / seconds.max(1e-9));
    summary["seconds"] = json!(seconds);
    summary["peak_memory_bytes"] = json!(peak_memory_bytes());
    summary["resumed_at"] = json!(finished.resumed_at);
    summary["stopped"] = json!(finished.stopped);
    Ok(summary)
}

/// The process's peak resident bytes, where the system tells them (Linux: `VmHWM`).
fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

fn summary_in_words(summary: &Value, finished: &Finished) -> String {
    let mut text = String::new();
    if finished.stopped {
        let _ = writeln!(text, "stopped at sample {}; run the same command again to go on", summary["samples"]);
    }
    text.push_str(&figures_in_words(summary));
    text
}

/// A job's figures, then one line a learner.
fn units_in_words(summary: &Value) -> String {
    let mut text = String::new();
    if summary["stopped"] == json!(true) {
        text.push_str("stopped; run the same command again to go on\n");
    }
    text.push_str(&figures_in_words(summary));
    for unit in summary["units"].as_array().into_iter().flatten() {
        let accuracy = unit["prequential_accuracy"].as_f64().map_or("-".to_owned(), |share| format!("{share:.4}"));
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:22} {} samples, {} tasks, accuracy {accuracy}, state {}",
            unit["unit"].as_str().unwrap_or_default(),
            unit["samples"],
            unit["tasks"],
            unit["state_sha256"].as_str().unwrap_or("-"),
        );
    }
    text
}

fn figures_in_words(summary: &Value) -> String {
    let mut text = String::new();
    let keys = [
        "samples",
        "rejected",
        "tasks",
        "merged_tasks",
        "boundary_count",
        "recurring_boundaries",
        "boundaries",
        "prequential_accuracy",
        "kappa",
        "no_change_accuracy",
        "majority_accuracy",
        "accuracy_source",
        "task_il",
        "class_il",
        "plasticity",
        "stability",
        "forgetting",
        "samples_per_second",
        "peak_memory_bytes",
        "snapshots",
        "state_sha256",
    ];
    for key in keys {
        let value = match &summary[key] {
            Value::Null => "-".to_owned(),
            Value::String(text) => text.clone(),
            Value::Number(number) if number.is_f64() => format!("{:.4}", number.as_f64().unwrap_or(f64::NAN)),
            other => other.to_string(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{key:22} {value}");
    }
    text
}
