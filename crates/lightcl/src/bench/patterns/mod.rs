//! Class- and task-incremental accuracy of the network's head, the analytic heads and their mixture, in one pass.

mod data;
mod methods;
mod table;

use super::report::HeadsReport;
use super::streams::{Made, Stream};
use super::trial::{self, Method, Spread};
use super::{chosen, run};
use lightcl_core::Result;
use serde::Serialize;
use serde_json::Value;
use std::path::PathBuf;

/// What is compared on what.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub seeds: u64,
    /// Names of streams; none = all but the slow ones.
    pub streams: Vec<String>,
    /// Names of methods; none = all.
    pub methods: Vec<String>,
    pub data: Option<PathBuf>,
    pub quick: bool,
    /// Settings of all analytic heads to try instead of ours.
    pub analytic: Option<Value>,
}

/// One seed of one method.
#[derive(Debug, Clone, Serialize)]
struct Run {
    seed: u64,
    class_il: f64,
    task_il: f64,
    task_il_by_task: Vec<f64>,
    prequential_accuracy: Option<f64>,
    statistics_bytes: u64,
    seconds: f64,
}

/// One method on one stream.
#[derive(Debug, Clone, Serialize)]
struct Row {
    method: &'static str,
    class_il: Option<Spread>,
    task_il: Option<Spread>,
    /// Bytes of the heads' sums at the end, the same for all seeds.
    statistics_bytes: u64,
    /// The least over the seeds.
    seconds: f64,
    runs: Vec<Run>,
}

#[derive(Debug, Clone, Serialize)]
struct StreamReport {
    stream: &'static str,
    rows: u64,
    test_rows: usize,
    tasks: usize,
    methods: Vec<Row>,
}

/// Compares heads. `show` is given the tables, each as soon as it is there; the result is all of it.
///
/// # Errors
/// When a name is wrong, a file that is there cannot be read, a run fails, or what `show` returns.
pub(crate) fn compare(plan: &Plan, show: &mut dyn FnMut(&str) -> Result<()>) -> Result<Value> {
    let names = chosen("stream", &plan.streams, data::names())?;
    chosen("method", &plan.methods, methods::names())?;
    let mut report = HeadsReport::new("patterns", plan.seeds, plan.quick);
    show(&table::heading(plan.seeds, plan.quick))?;
    for name in names {
        let is_slow = plan.streams.is_empty() && data::is_slow(&name);
        let done = if is_slow { Err(data::SLOW.to_owned()) } else { on_stream(&name, plan)? };
        report.add(name, done, table::stream, show)?;
    }
    report.to_json()
}

/// All methods on one stream, or why it is left out.
fn on_stream(name: &str, plan: &Plan) -> Result<Result<StreamReport, String>> {
    let wanted = |method: &Method| plan.methods.is_empty() || plan.methods.iter().any(|name| name == method.name);
    let mut report: Option<StreamReport> = None;
    for seed in 0..plan.seeds {
        let request = super::streams::Request { seed, quick: plan.quick, data: plan.data.as_deref() };
        let stream = match data::make(name, &request)? {
            Made::Stream(stream) => *stream,
            Made::Skipped(reason) => return Ok(Err(reason)),
        };
        let methods: Vec<Method> = methods::of(name)
            .into_iter()
            .filter(wanted)
            .map(|method| method.with_settings(plan.analytic.as_ref()))
            .collect::<Result<_>>()?;
        let report = report.get_or_insert_with(|| StreamReport {
            stream: stream.name,
            rows: stream.len(),
            test_rows: stream.held_out.iter().map(arrow_array::RecordBatch::num_rows).sum(),
            tasks: stream.held_out.len(),
            methods: Vec::new(),
        });
        for (place, method) in methods.iter().enumerate() {
            let done = run_once(&stream, method, seed)
                .map_err(|error| error.with("stream", name).with("method", method.name).with("seed", seed))?;
            log::info!(
                "{name}: seed {seed}, {}: class-IL {:.4}, task-IL {:.4}, {:.1} s",
                method.name,
                done.class_il,
                done.task_il,
                done.seconds
            );
            match report.methods.get_mut(place) {
                Some(row) => row.runs.push(done),
                None => report.methods.push(Row {
                    method: method.name,
                    class_il: None,
                    task_il: None,
                    statistics_bytes: done.statistics_bytes,
                    seconds: done.seconds,
                    runs: vec![done],
                }),
            }
        }
    }
    let Some(mut report) = report else { return Ok(Err("there are no seeds".to_owned())) };
    for row in &mut report.methods {
        row.class_il = Spread::of(row.runs.iter().map(|run| run.class_il));
        row.task_il = Spread::of(row.runs.iter().map(|run| run.task_il));
        row.seconds = row.runs.iter().map(|run| run.seconds).fold(row.seconds, f64::min);
    }
    Ok(Ok(report))
}

fn run_once(stream: &Stream, method: &Method, seed: u64) -> Result<Run> {
    let trial = trial::learn(stream, method, seed, false)?;
    let (task_il_by_task, class_il_by_task) = run::accuracies(stream, &trial.operator)?;
    // Tasks may have test parts of different sizes: class-IL is a share of all rows, task-IL a mean over tasks.
    let rows = stream.held_out.iter().map(|part| part.num_rows() as f64);
    let total: f64 = rows.clone().sum();
    let class_il = rows.zip(&class_il_by_task).map(|(rows, accuracy)| rows * accuracy).sum::<f64>() / total.max(1.0);
    let task_il = task_il_by_task.iter().sum::<f64>() / task_il_by_task.len().max(1) as f64;
    let parts = trial.operator.learner()?.bytes();
    Ok(Run {
        seed,
        class_il,
        task_il,
        task_il_by_task,
        prequential_accuracy: trial.prequential.accuracy,
        statistics_bytes: parts.iter().filter(|part| part.part == "analytic_statistics").map(|part| part.bytes).sum(),
        seconds: trial.seconds,
    })
}
