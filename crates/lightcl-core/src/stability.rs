//! Stability reports: how much is kept, how well the new is learnt.

use crate::{ExpertReport, LayerReport, PartBytes};
use serde::{Deserialize, Serialize};

/// `rows[i][j]`: accuracy on the task of column `j` after the visit of row `i`; none where a task has no sample to score.
///
/// In a stream whose tasks come once, row `i` is "after task `i`" and column `j` is task `j` (`j <= i`). Where tasks return
/// or were merged, [`AccuracyMatrix::tasks`] and [`AccuracyMatrix::after`] say what columns and rows stand for: one row for
/// the last visit of each task that is held, the newest last. Earlier visits' rows are gone, so that a stream that returns
/// for ever has a bounded matrix. Below, `R[j][j]` is the accuracy on task `j` after its last visit, and `T` the task learnt
/// last.
///
/// Measures follow `docs/concepts.md`. Learning plasticity and memory stability are named by the LightCL paper
/// (arXiv 2407.10545) without formulas; the ones here are ours.
///
/// ```
/// use lightcl_core::AccuracyMatrix;
///
/// let matrix = AccuracyMatrix::new(vec![vec![Some(1.0)], vec![Some(0.5), Some(0.9)]]);
/// assert_eq!(matrix.stability(), Some(0.5));
/// assert_eq!(matrix.plasticity(), Some(0.95));
/// assert_eq!(matrix.final_accuracy(), Some(0.7));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AccuracyMatrix {
    /// Row `i` holds the accuracies after visit `i` of those kept.
    pub rows: Vec<Vec<Option<f64>>>,
    /// The task of each column, in order of first opening; empty where column `j` is task `j` and row `i` follows task `i`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<u32>,
    /// The task whose visit had ended at each row; empty where [`AccuracyMatrix::tasks`] is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<u32>,
}

impl AccuracyMatrix {
    /// The matrix of a stream whose tasks came once each: row `i` after task `i`.
    pub fn new(rows: Vec<Vec<Option<f64>>>) -> Self {
        AccuracyMatrix { rows, tasks: Vec::new(), after: Vec::new() }
    }

    fn at(&self, after: usize, task: usize) -> Option<f64> {
        self.rows.get(after).and_then(|row| row.get(task)).copied().flatten()
    }

    fn last(&self) -> usize {
        self.rows.len().saturating_sub(1)
    }

    fn columns(&self) -> usize {
        self.rows.last().map_or(0, Vec::len)
    }

    /// The row after the last visit of a column's task.
    fn learnt_in(&self, task: usize) -> Option<usize> {
        if self.after.is_empty() {
            return (task < self.rows.len()).then_some(task);
        }
        let id = self.tasks.get(task)?;
        self.after.iter().rposition(|after| after == id)
    }

    /// Columns of all tasks but the one learnt last, each with the row after its last visit.
    fn earlier(&self) -> impl Iterator<Item = (usize, usize)> {
        let learnt = (0..self.columns()).filter_map(|task| Some((task, self.learnt_in(task)?)));
        learnt.filter(|&(_, row)| row != self.last())
    }

    /// Mean accuracy over all tasks after the last visit (ACC).
    pub fn final_accuracy(&self) -> Option<f64> {
        mean(self.rows.last()?.iter().copied().flatten())
    }

    /// Learning plasticity LP: mean over `j` of `R[j][j]`.
    pub fn plasticity(&self) -> Option<f64> {
        mean((0..self.columns()).filter_map(|task| self.at(self.learnt_in(task)?, task)))
    }

    /// Memory stability MS: mean over other tasks `j` of `min(1, R[T][j] / R[j][j])`; none with one task.
    pub fn stability(&self) -> Option<f64> {
        mean(self.earlier().filter_map(|(task, learnt)| {
            let (now, then) = (self.at(self.last(), task)?, self.at(learnt, task)?);
            (then > 0.0).then(|| (now / then).min(1.0))
        }))
    }

    /// Backward transfer BWT: mean over other tasks of `R[T][j] - R[j][j]`.
    pub fn backward_transfer(&self) -> Option<f64> {
        mean(self.earlier().filter_map(|(task, learnt)| Some(self.at(self.last(), task)? - self.at(learnt, task)?)))
    }

    /// Forgetting: mean over other tasks of `max_l R[l][j] - R[T][j]`, `l` over the rows kept.
    pub fn forgetting(&self) -> Option<f64> {
        mean(self.earlier().filter_map(|(task, _)| {
            let best = (0..=self.last()).filter_map(|row| self.at(row, task)).fold(f64::NEG_INFINITY, f64::max);
            self.at(self.last(), task).map(|now| best - now)
        }))
    }

    /// Any-time accuracy: mean over the rows kept of the mean accuracy on the tasks seen.
    pub fn any_time_accuracy(&self) -> Option<f64> {
        mean(self.rows.iter().filter_map(|row| mean(row.iter().copied().flatten())))
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// Test-then-train accuracy beside the two baselines without which it means nothing on autocorrelated streams.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PrequentialReport {
    /// Share of rows predicted rightly since the start.
    pub accuracy: Option<f64>,
    /// The same over the last rows (window).
    pub window_accuracy: Option<f64>,
    /// The same with a fading factor: S = hit + a S, N = 1 + a N, S / N (Gama et al. 2013).
    pub fading_accuracy: Option<f64>,
    /// Cohen's kappa since the start.
    pub kappa: Option<f64>,
    /// Accuracy of always predicting the previous label.
    pub no_change_accuracy: Option<f64>,
    /// Accuracy of always predicting the most frequent label so far.
    pub majority_accuracy: Option<f64>,
}

/// One stability report (schema: `schemas/stability.schema.json`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StabilityReport {
    /// Version of this layout: 1.
    pub format: u32,
    /// Rows read so far, rejected ones included.
    pub samples: u64,
    /// The task that was being learnt, or had just ended.
    pub task: u32,
    /// Why it was written: `boundary`, `interval` or `end`.
    pub reason: String,
    /// Rows rejected so far.
    pub rejected: u64,
    /// Rows learnt from so far.
    pub trained_samples: u64,
    /// Mean loss of the last window learnt.
    pub loss: Option<f64>,
    /// Mean pattern loss of the last window learnt.
    pub pattern_loss: Option<f64>,
    /// Test-then-train accuracy.
    pub prequential: PrequentialReport,
    /// Where the accuracies below come from: `evaluate` (held-out file) or `probes` (latent probes).
    pub accuracy_source: String,
    /// Accuracy among a task's own classes, `R[i][j]`.
    pub task_incremental: AccuracyMatrix,
    /// Accuracy among all classes, `R[i][j]`.
    pub class_incremental: AccuracyMatrix,
    /// Accuracy among a task's own classes on the latent probes, always.
    pub probe_task_incremental: AccuracyMatrix,
    /// Learning plasticity LP of `task_incremental`.
    pub plasticity: Option<f64>,
    /// Memory stability MS of `task_incremental`.
    pub stability: Option<f64>,
    /// Backward transfer BWT of `task_incremental`.
    pub backward_transfer: Option<f64>,
    /// Forgetting of `task_incremental`.
    pub forgetting: Option<f64>,
    /// Any-time accuracy of `task_incremental`.
    pub any_time_accuracy: Option<f64>,
    /// Drift and mask occupancy of each plastic layer.
    pub layers: Vec<LayerReport>,
    /// Experts whose opinions are mixed, with their weights; empty where there is one head.
    pub experts: Vec<ExpertReport>,
    /// Bytes held by each part of the state.
    pub bytes: Vec<PartBytes>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rows: &[&[f64]]) -> AccuracyMatrix {
        AccuracyMatrix::new(rows.iter().map(|row| row.iter().map(|&v| Some(v)).collect()).collect())
    }

    #[test]
    fn measures_follow_their_formulas() {
        let m = matrix(&[&[0.8], &[0.9, 0.6], &[0.6, 0.3, 1.0]]);
        let close = |a: Option<f64>, b: f64| assert!((a.unwrap() - b).abs() < 1e-12, "{a:?} {b}");
        close(m.final_accuracy(), 1.9 / 3.0);
        close(m.plasticity(), 0.8);
        close(m.stability(), (0.75 + 0.5) / 2.0);
        close(m.backward_transfer(), (-0.2 - 0.3) / 2.0);
        close(m.forgetting(), (0.3 + 0.3) / 2.0);
        close(m.any_time_accuracy(), (0.8 + 0.75 + 1.9 / 3.0) / 3.0);
    }

    #[test]
    fn a_task_that_returned_is_measured_from_its_last_visit() {
        // Tasks 0, 4 and 7 were learnt in the order 4, 7, 0: the row after the first visit of task 0 is gone.
        let m = AccuracyMatrix {
            tasks: vec![0, 4, 7],
            after: vec![4, 7, 0],
            ..matrix(&[&[0.9, 0.6], &[0.5, 0.8, 0.5], &[0.7, 0.3, 0.4]])
        };
        let close = |a: Option<f64>, b: f64| assert!((a.unwrap() - b).abs() < 1e-12, "{a:?} {b}");
        close(m.plasticity(), (0.7 + 0.6 + 0.5) / 3.0);
        close(m.stability(), (0.5 + 0.8) / 2.0);
        close(m.backward_transfer(), (-0.3 - 0.1) / 2.0);
        close(m.forgetting(), (0.5 + 0.1) / 2.0);
        close(m.final_accuracy(), 1.4 / 3.0);
    }

    #[test]
    fn a_plain_matrix_has_rows_alone_in_json() {
        assert_eq!(serde_json::to_string(&matrix(&[&[0.5]])).unwrap(), r#"{"rows":[[0.5]]}"#);
    }

    #[test]
    fn stability_never_rewards_a_gain_and_is_absent_with_one_task() {
        assert_eq!(matrix(&[&[0.5], &[1.0, 1.0]]).stability(), Some(1.0));
        assert_eq!(matrix(&[&[0.5]]).stability(), None);
        assert_eq!(AccuracyMatrix::default().final_accuracy(), None);
    }
}
