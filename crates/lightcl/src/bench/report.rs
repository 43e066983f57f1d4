//! From runs to the figures of a detector on a stream, and over all streams.

use super::quality::{Quality, Rule, mean, median, ranks};
use super::run::Run;
use super::streams::{Stream, Truth};
use lightcl_core::{Error, Result};
use serde::Serialize;
use serde_json::Value;

/// One detector on one stream, over all seeds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub detector: String,
    pub rollback: bool,
    #[serde(flatten)]
    pub figures: Figures,
    pub runs: Vec<Run>,
}

/// Counts are summed over the seeds, accuracies are means.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Figures {
    pub boundaries: usize,
    pub matched: usize,
    pub missed: usize,
    /// None where not all change points are known; so are the figures that follow from it.
    pub false_alarms: Option<usize>,
    pub false_alarms_per_10k: Option<f64>,
    pub rows_between_false_alarms: Option<f64>,
    pub precision: Option<f64>,
    pub recall: Option<f64>,
    pub f1: Option<f64>,
    pub median_delay: Option<f64>,
    pub median_offset: Option<f64>,
    pub prequential_accuracy: Option<f64>,
    pub kappa: Option<f64>,
    pub task_il: Option<f64>,
    pub class_il: Option<f64>,
    /// The least over the seeds, as is the learner's: other programs only ever add to it.
    pub detector_ns_per_row: f64,
    pub learner_ns_per_row: f64,
}

impl Figures {
    /// The figures of the runs of one detector on a stream.
    pub fn of(runs: &[Run], truth: Truth) -> Self {
        let pooled = Quality::pooled(runs.iter().map(|run| &run.quality));
        let judged = truth == Truth::All;
        let over = |figure: fn(&Run) -> Option<f64>| mean(runs.iter().map(figure));
        let least = |figure: fn(&Run) -> f64| runs.iter().map(figure).reduce(f64::min).unwrap_or(0.0);
        Figures {
            boundaries: pooled.boundaries,
            matched: pooled.matched(),
            missed: pooled.missed(),
            false_alarms: judged.then(|| pooled.false_alarms()),
            false_alarms_per_10k: pooled.false_alarms_per_10k().filter(|_| judged),
            rows_between_false_alarms: pooled.rows_between_false_alarms().filter(|_| judged),
            precision: pooled.precision().filter(|_| judged && pooled.points > 0),
            recall: pooled.recall(),
            f1: pooled.f1().filter(|_| judged),
            median_delay: pooled.median_delay(),
            median_offset: pooled.median_offset(),
            prequential_accuracy: over(|run| run.prequential_accuracy),
            kappa: over(|run| run.kappa),
            task_il: over(|run| run.task_il),
            class_il: over(|run| run.class_il),
            detector_ns_per_row: least(|run| run.detector_ns_per_row),
            learner_ns_per_row: least(|run| run.learner_ns_per_row),
        }
    }
}

/// All detectors on one stream.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct StreamReport {
    pub stream: &'static str,
    pub rows: u64,
    pub truth: Truth,
    pub change_points: Vec<u64>,
    /// Half the width of its gradual changes.
    pub slack: u64,
    pub held_out_rows: usize,
    pub no_change_accuracy: Option<f64>,
    /// Detectors that were left out here, and why.
    pub left_out: Vec<String>,
    pub detectors: Vec<Row>,
}

impl StreamReport {
    /// A report without detectors yet.
    pub fn new(stream: &Stream) -> Self {
        StreamReport {
            stream: stream.name,
            rows: stream.len(),
            truth: stream.truth,
            change_points: stream.change_points.clone(),
            slack: stream.slack,
            held_out_rows: stream.held_out.iter().map(arrow_array::RecordBatch::num_rows).sum(),
            no_change_accuracy: None,
            left_out: Vec::new(),
            detectors: Vec::new(),
        }
    }
}

/// A stream that was left out.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Skipped {
    pub stream: String,
    pub reason: String,
}

/// What a suite that compares heads found, stream by stream.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct HeadsReport<S> {
    suite: &'static str,
    seeds: u64,
    quick: bool,
    streams: Vec<S>,
    skipped: Vec<Skipped>,
}

impl<S: Serialize> HeadsReport<S> {
    /// Before the first stream.
    pub fn new(suite: &'static str, seeds: u64, quick: bool) -> Self {
        HeadsReport { suite, seeds, quick, streams: Vec::new(), skipped: Vec::new() }
    }

    /// Shows and takes in a stream, or why it was left out.
    ///
    /// # Errors
    /// What `show` returns.
    pub fn add(
        &mut self,
        name: String,
        done: std::result::Result<S, String>,
        table: fn(&S) -> String,
        show: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<()> {
        match done {
            Ok(done) => {
                show(&table(&done))?;
                self.streams.push(done);
            }
            Err(reason) => {
                let skipped = Skipped { stream: name, reason };
                show(&super::table::skipped(&skipped))?;
                self.skipped.push(skipped);
            }
        }
        Ok(())
    }

    /// All of it.
    ///
    /// # Errors
    /// When a figure has no JSON form.
    pub fn to_json(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(|error| Error::internal("the report has no JSON form").caused_by(error))
    }
}

/// One detector over all streams.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SummaryRow {
    pub detector: String,
    pub rollback: bool,
    /// Over the streams whose change points are all known and that have some.
    pub mean_f1: Option<f64>,
    /// Mean rank by F1 over the same streams, 1 is best.
    pub mean_rank: Option<f64>,
    /// Over the streams whose change points are all known.
    pub mean_false_alarms_per_10k: Option<f64>,
    /// Over the streams that no detector was left out on, as are the accuracies that follow.
    pub mean_prequential_accuracy: Option<f64>,
    /// Mean rank by prequential accuracy.
    pub mean_accuracy_rank: Option<f64>,
    /// Over those of the streams whose tasks are known.
    pub mean_task_il: Option<f64>,
    pub mean_class_il: Option<f64>,
    /// The median over the streams: other programs' turns make outliers.
    pub detector_ns_per_row: Option<f64>,
    /// Streams that it ran on.
    pub streams: usize,
}

/// Everything.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub suite: &'static str,
    pub rule: Rule,
    pub seeds: u64,
    pub quick: bool,
    pub streams: Vec<StreamReport>,
    pub skipped: Vec<Skipped>,
    pub summary: Vec<SummaryRow>,
}

/// Every detector over all streams. A detector that was left out on a stream has no rank there.
pub(crate) fn summarise(streams: &[StreamReport]) -> Vec<SummaryRow> {
    let mut keys: Vec<(String, bool)> = Vec::new();
    for row in streams.iter().flat_map(|stream| &stream.detectors) {
        let key = (row.detector.clone(), row.rollback);
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let by_f1: Vec<_> = streams.iter().map(|stream| ranked(&stream.detectors, |figures| figures.f1)).collect();
    // Means of accuracies compare only over the same streams.
    let common: Vec<&StreamReport> = common(streams).collect();
    let by_accuracy: Vec<_> =
        common.iter().map(|stream| ranked(&stream.detectors, |figures| figures.prequential_accuracy)).collect();
    let summary = keys.into_iter().map(|(detector, rollback)| {
        let is_own = |row: &&Row| row.detector == detector && row.rollback == rollback;
        let figures = |stream: &StreamReport| stream.detectors.iter().find(is_own).map(|row| row.figures.clone());
        let own: Vec<Figures> = streams.iter().filter_map(figures).collect();
        let in_common: Vec<Figures> = common.iter().filter_map(|stream| figures(stream)).collect();
        let over = |figure: fn(&Figures) -> Option<f64>| mean(own.iter().map(figure));
        let over_common = |figure: fn(&Figures) -> Option<f64>| mean(in_common.iter().map(figure));
        let rank = |ranked: &[Vec<(&Row, f64)>]| {
            mean(ranked.iter().map(|ranks| ranks.iter().find(|(row, _)| is_own(row)).map(|(_, rank)| *rank)))
        };
        SummaryRow {
            mean_f1: over(|figures| figures.f1),
            mean_rank: rank(&by_f1),
            mean_false_alarms_per_10k: over(|figures| figures.false_alarms_per_10k),
            mean_prequential_accuracy: over_common(|figures| figures.prequential_accuracy),
            mean_accuracy_rank: rank(&by_accuracy),
            mean_task_il: over_common(|figures| figures.task_il),
            mean_class_il: over_common(|figures| figures.class_il),
            detector_ns_per_row: median(own.iter().map(|figures| figures.detector_ns_per_row)),
            streams: own.len(),
            detector: detector.clone(),
            rollback,
        }
    });
    summary.collect()
}

/// The streams that no detector was left out on.
pub(crate) fn common(streams: &[StreamReport]) -> impl Iterator<Item = &StreamReport> {
    streams.iter().filter(|stream| stream.left_out.is_empty())
}

/// The rows that have a figure, with their ranks by it.
fn ranked(rows: &[Row], figure: fn(&Figures) -> Option<f64>) -> Vec<(&Row, f64)> {
    let (rows, values): (Vec<&Row>, Vec<f64>) =
        rows.iter().filter_map(|row| Some((row, figure(&row.figures)?))).unzip();
    rows.into_iter().zip(ranks(&values)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::quality::Found;

    fn run(boundaries: &[u64], points: &[u64], accuracy: f64) -> Run {
        let found: Vec<Found> = boundaries.iter().map(|&at| Found { at, detected_at: at }).collect();
        Run {
            seed: 0,
            quality: Quality::of(&found, points, 1000, Rule { max_delay: 0, max_offset: 0 }, 0),
            boundaries: found,
            rejected: 0,
            prequential_accuracy: Some(accuracy),
            kappa: None,
            no_change_accuracy: None,
            task_il_by_task: Vec::new(),
            task_il: None,
            class_il: None,
            detector_ns_per_row: 1.0,
            learner_ns_per_row: 2.0,
            seconds: 0.0,
        }
    }

    fn report(stream: &'static str, truth: Truth, rows: Vec<(&str, Run)>) -> StreamReport {
        let row = |(detector, run): (&str, Run)| Row {
            detector: detector.to_owned(),
            rollback: true,
            figures: Figures::of(std::slice::from_ref(&run), truth),
            runs: vec![run],
        };
        StreamReport {
            stream,
            rows: 1000,
            truth,
            change_points: vec![500],
            slack: 0,
            held_out_rows: 0,
            no_change_accuracy: None,
            left_out: Vec::new(),
            detectors: rows.into_iter().map(row).collect(),
        }
    }

    #[test]
    fn false_alarms_are_judged_only_where_all_change_points_are_known() {
        let runs = [run(&[500, 900], &[500], 0.5)];
        let all = Figures::of(&runs, Truth::All);
        assert_eq!((all.false_alarms, all.precision, all.f1), (Some(1), Some(0.5), Some(2.0 / 3.0)));
        let some = Figures::of(&runs, Truth::Some);
        assert_eq!((some.false_alarms, some.precision, some.f1, some.recall), (None, None, None, Some(1.0)));
    }

    #[test]
    fn detectors_are_ranked_on_the_streams_that_can_judge_them() {
        let streams = [
            report("a", Truth::All, vec![("good", run(&[500], &[500], 0.9)), ("bad", run(&[], &[500], 0.8))]),
            report("b", Truth::Unknown, vec![("good", run(&[1], &[], 0.6)), ("bad", run(&[], &[], 0.7))]),
        ];
        let summary = summarise(&streams);
        let figures = |row: &SummaryRow| (row.mean_f1, row.mean_rank, row.mean_accuracy_rank, row.streams);
        assert_eq!(figures(&summary[0]), (Some(1.0), Some(1.0), Some(1.5), 2));
        assert_eq!(figures(&summary[1]), (Some(0.0), Some(2.0), Some(1.5), 2));
    }
}
