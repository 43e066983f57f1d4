//! Prequential accuracy and speed of the network's head, the analytic heads and their mixture on tables, beside river's
//! adaptive random forest where there is a Python that has it.

mod data;
mod methods;
mod river;
mod table;

use super::chosen;
use super::report::HeadsReport;
use super::streams::Stream;
use super::trial::{self, Method, Spread};
use data::Source;
use lightcl_core::Result;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

pub(crate) use river::River;

/// What is compared on what.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub seeds: u64,
    /// Names of streams; none = all.
    pub streams: Vec<String>,
    /// Names of methods; none = all.
    pub methods: Vec<String>,
    pub data: Option<PathBuf>,
    pub quick: bool,
    /// A Python that has river.
    pub river: Option<PathBuf>,
    /// Settings of all analytic heads to try instead of ours.
    pub analytic: Option<Value>,
}

/// One seed of one method.
#[derive(Debug, Clone, Serialize)]
struct Run {
    seed: u64,
    accuracy: f64,
    /// Of the whole program: reading rows into samples, scoring and learning.
    rows_per_second: f64,
    /// Share of the time that the learner took.
    learner_share: f64,
}

/// One method on one stream.
#[derive(Debug, Clone, Serialize)]
struct Row {
    method: &'static str,
    accuracy: Option<Spread>,
    /// The most over the seeds: other programs only ever take from it.
    rows_per_second: f64,
    /// Prequential accuracy of each expert of the mixture by itself, mean over the seeds.
    experts: BTreeMap<String, f64>,
    runs: Vec<Run>,
}

impl Row {
    /// The most accurate expert.
    fn best_expert(&self) -> Option<(&str, f64)> {
        let best = self.experts.iter().max_by(|left, right| left.1.total_cmp(right.1));
        best.map(|(name, &accuracy)| (name.as_str(), accuracy))
    }
}

#[derive(Debug, Clone, Serialize)]
struct StreamReport {
    stream: &'static str,
    rows: u64,
    /// Whether heads may know the label before, and why not where they may not.
    previous_label: bool,
    no_change_accuracy: Option<f64>,
    majority_accuracy: Option<f64>,
    methods: Vec<Row>,
    /// River's adaptive random forest on the same rows.
    river: Option<River>,
}

/// Compares heads on tables. `show` is given the tables, each as soon as it is there; the result is all of it.
///
/// # Errors
/// When a name is wrong, a file that is there cannot be read, a run or river's script fails, or what `show` returns.
pub(crate) fn compare(plan: &Plan, show: &mut dyn FnMut(&str) -> Result<()>) -> Result<Value> {
    let names = chosen("stream", &plan.streams, data::names())?;
    chosen("method", &plan.methods, methods::names())?;
    let mut report = HeadsReport::new("streams", plan.seeds, plan.quick);
    show(&table::heading(plan.seeds, plan.quick))?;
    for name in names {
        let done = match data::find_source(&name, plan.data.as_deref())? {
            Ok(source) => Ok(on_stream(&source, plan)?),
            Err(reason) => Err(reason),
        };
        report.add(name, done, table::stream, show)?;
    }
    report.to_json()
}

fn on_stream(source: &Source, plan: &Plan) -> Result<StreamReport> {
    let stream = source.read(plan.quick)?;
    let wanted = |method: &Method| plan.methods.is_empty() || plan.methods.iter().any(|name| name == method.name);
    let mut report = StreamReport {
        stream: stream.name,
        rows: stream.len(),
        previous_label: source.knows_previous_label(),
        no_change_accuracy: None,
        majority_accuracy: None,
        methods: Vec::new(),
        river: None,
    };
    for method in methods::of(source.knows_previous_label()).into_iter().filter(wanted) {
        let method = method.with_settings(plan.analytic.as_ref())?;
        let mut row = Row {
            method: method.name,
            accuracy: None,
            rows_per_second: 0.0,
            experts: BTreeMap::new(),
            runs: Vec::new(),
        };
        for seed in 0..plan.seeds {
            let done = run_once(&stream, &method, seed, &mut report, &mut row.experts, plan.seeds)
                .map_err(|error| error.with("stream", stream.name).with("method", method.name).with("seed", seed))?;
            log::info!(
                "{}: seed {seed}, {}: {:.4}, {:.0} rows/s",
                stream.name,
                method.name,
                done.accuracy,
                done.rows_per_second
            );
            row.rows_per_second = row.rows_per_second.max(done.rows_per_second);
            row.runs.push(done);
        }
        row.accuracy = Spread::of(row.runs.iter().map(|run| run.accuracy));
        report.methods.push(row);
    }
    if let Some(python) = &plan.river {
        report.river = Some(river::run(python, source, &stream)?);
    }
    Ok(report)
}

fn run_once(
    stream: &Stream,
    method: &Method,
    seed: u64,
    report: &mut StreamReport,
    experts: &mut BTreeMap<String, f64>,
    seeds: u64,
) -> Result<Run> {
    let trial = trial::learn(stream, method, seed, false)?;
    report.no_change_accuracy = trial.prequential.no_change_accuracy;
    report.majority_accuracy = trial.prequential.majority_accuracy;
    if method.name.starts_with(methods::MIXTURE) {
        // Once more: what counting the experts costs is not the mixture's.
        for (expert, accuracy) in trial::learn(stream, method, seed, true)?.experts {
            *experts.entry(expert).or_default() += accuracy / seeds as f64;
        }
    }
    Ok(Run {
        seed,
        accuracy: trial.prequential.accuracy.unwrap_or(0.0),
        rows_per_second: stream.len() as f64 / trial.seconds.max(1e-9),
        learner_share: trial.learner_seconds / trial.seconds.max(1e-9),
    })
}
