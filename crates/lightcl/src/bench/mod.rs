//! `lightcl bench`: methods compared on streams whose truth is known.

mod detectors;
mod generated;
mod images;
pub(crate) mod patterns;
pub(crate) mod prequential;
mod quality;
mod report;
mod run;
mod streams;
mod table;
mod tables;
mod timing;
mod trial;

pub(crate) use quality::Rule;

use crate::config::nearest;
use lightcl_core::{Error, Result};
use report::{Figures, Report, Row, Skipped, StreamReport};
use run::Run;
use serde_json::Value;
use std::path::PathBuf;
use streams::{Made, Request, Stream};

/// What is compared on what.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Runs of each detector on each stream.
    pub seeds: u64,
    /// Names of streams; none = all.
    pub streams: Vec<String>,
    /// Names of detectors; none = all.
    pub detectors: Vec<String>,
    /// A folder of data sets.
    pub data: Option<PathBuf>,
    /// Whether streams are short.
    pub quick: bool,
    /// Whether runs have roll-back: both, to compare.
    pub rollback: Vec<bool>,
    /// When a boundary counts.
    pub rule: Rule,
}

/// Compares boundary detectors. `show` is given the tables, each as soon as it is there; the result is all of it.
///
/// # Errors
/// When a name is wrong, a file that is there cannot be read, a run fails, or what `show` returns.
pub(crate) fn boundaries(plan: &Plan, show: &mut dyn FnMut(&str) -> Result<()>) -> Result<Value> {
    if let Some(folder) = plan.data.as_deref().filter(|folder| !folder.is_dir()) {
        return Err(Error::user("--data is no folder").with("path", folder.display()));
    }
    let names = chosen("stream", &plan.streams, streams::names().into_iter().map(str::to_owned).collect())?;
    let detectors = detectors::chosen(&plan.detectors)?;
    let rule = plan.rule;
    let mut report = Report {
        suite: "boundaries",
        rule,
        seeds: plan.seeds,
        quick: plan.quick,
        streams: Vec::new(),
        skipped: Vec::new(),
        summary: Vec::new(),
    };
    show(&table::heading(rule, plan.seeds, plan.quick))?;
    for name in names {
        match on_stream(&name, &detectors, plan, rule)? {
            Ok(done) => {
                show(&table::stream(&done))?;
                report.streams.push(done);
            }
            Err(reason) => {
                let skipped = Skipped { stream: name, reason };
                show(&table::skipped(&skipped))?;
                report.skipped.push(skipped);
            }
        }
    }
    report.summary = report::summarise(&report.streams);
    show(&table::summary(&report.summary, report::common(&report.streams).count()))?;
    serde_json::to_value(&report).map_err(|error| Error::internal("the report has no JSON form").caused_by(error))
}

/// The names given, or all when none is. `kind` says what they name.
///
/// # Errors
/// When one is not among all of them, or stands there twice.
fn chosen(kind: &'static str, given: &[String], all: Vec<String>) -> Result<Vec<String>> {
    if let Some(name) = given.iter().find(|name| !all.contains(name)) {
        return Err(unknown(kind, name, &all));
    }
    once(given)?;
    Ok(if given.is_empty() { all } else { given.to_vec() })
}

/// What to say of a name that is not known.
fn unknown(kind: &'static str, name: &str, known: &[String]) -> Error {
    let hint = nearest(name, known.iter().map(String::as_str))
        .map_or_else(String::new, |nearest| format!("did you mean {nearest}? "));
    Error::user(format!("no such {kind}; {hint}there are {}", known.join(", "))).with(kind, name)
}

/// Refuses a name that is given twice.
fn once(given: &[String]) -> Result<()> {
    match given.iter().enumerate().find(|&(place, name)| given[..place].contains(name)) {
        Some((_, twice)) => Err(Error::user("a name is given twice; name it once").with("name", twice)),
        None => Ok(()),
    }
}

/// All detectors on one stream, or why it is left out.
fn on_stream(name: &str, detectors: &[String], plan: &Plan, rule: Rule) -> Result<Result<StreamReport, String>> {
    let choices: Vec<(&String, bool)> =
        detectors.iter().flat_map(|detector| plan.rollback.iter().map(move |&rollback| (detector, rollback))).collect();
    let mut runs: Vec<Vec<Run>> = choices.iter().map(|_| Vec::new()).collect();
    let mut report: Option<StreamReport> = None;
    for seed in 0..plan.seeds {
        let stream: Stream =
            match streams::make(name, &Request { seed, quick: plan.quick, data: plan.data.as_deref() })? {
                Made::Stream(stream) => *stream,
                Made::Skipped(reason) => return Ok(Err(reason)),
            };
        log::info!("{name}: seed {seed}, {} rows for each of {} detectors", stream.len(), choices.len());
        let report = report.get_or_insert_with(|| StreamReport::new(&stream));
        for ((detector, rollback), runs) in choices.iter().zip(&mut runs) {
            if let Some(reason) = detectors::reason_to_skip(detector, stream.truth) {
                if !report.left_out.contains(&reason) {
                    report.left_out.push(reason);
                }
                continue;
            }
            let run = run::run(&stream, detector, *rollback, seed, rule)
                .map_err(|error| error.with("stream", name).with("detector", detector).with("seed", seed))?;
            report.no_change_accuracy = run.no_change_accuracy;
            runs.push(run);
        }
    }
    let Some(mut report) = report else { return Ok(Err("there are no seeds".to_owned())) };
    for ((detector, rollback), runs) in choices.into_iter().zip(runs) {
        if !runs.is_empty() {
            let figures = Figures::of(&runs, report.truth);
            report.detectors.push(Row { detector: detector.clone(), rollback, figures, runs });
        }
    }
    Ok(Ok(report))
}
