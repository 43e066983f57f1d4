//! Tasks that relate inputs and labels in ways of their own.

use super::head::Head;
use super::statistics::Columns;
use super::{AnalyticConfig, RegimeKind};
use faer::{Mat, MatRef};
use lightcl_core::{ClassId, Error, Result, TaskChange};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the head that forgets least keeps apart for each task. A head that forgets needs none of it.
///
/// With [`RegimeKind::Labels`] a task whose labels mean something else has class sums of its own over a Gram matrix that all
/// share: few bytes a task, and all rows say how inputs vary. With [`RegimeKind::Domains`] every task has a head of its own, and
/// a row is scored by that of the task whose rows it looks most like.
#[derive(Debug, Clone, Default)]
pub(crate) struct Regimes {
    current: u32,
    /// The regime of each task that was put aside or is current.
    of_task: BTreeMap<u32, u32>,
    columns: BTreeMap<u32, Columns>,
    heads: BTreeMap<u32, Head>,
}

/// Regimes as they are saved.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedRegimes {
    current: u32,
    of_task: BTreeMap<u32, u32>,
    columns: BTreeMap<u32, Columns>,
    heads: BTreeMap<u32, super::head::SavedHead>,
}

/// A variance is at least this share of the mean variance of all features.
const LEAST_VARIANCE: f64 = 1e-3;

impl Regimes {
    /// A task is about to be learnt: `head` is exchanged for what it keeps.
    pub(crate) fn enter(&mut self, config: &AnalyticConfig, head: &mut Head, task: u32, change: TaskChange) {
        let known = self.of_task.get(&task).copied();
        let is_own = match config.regimes {
            RegimeKind::None => return,
            RegimeKind::Labels => matches!(change, TaskChange::Labels | TaskChange::Unknown),
            RegimeKind::Domains => true,
        };
        let is_first = self.of_task.is_empty();
        let next = known.unwrap_or(if is_own && !is_first { task } else { self.current });
        if is_first {
            self.current = task;
        }
        let next = if is_first { task } else { next };
        self.of_task.insert(task, next);
        if next == self.current {
            return;
        }
        if config.regimes == RegimeKind::Labels {
            let columns = self.columns.remove(&next).unwrap_or_default();
            self.columns.insert(self.current, head.exchange_columns(columns));
        } else {
            let other = self.heads.remove(&next).unwrap_or_else(|| head.emptied());
            let mut own = std::mem::replace(head, other);
            own.close();
            self.heads.insert(self.current, own);
        }
        self.current = next;
    }

    /// A task went into another one.
    pub(crate) fn merge(&mut self, head: &mut Head, gone: u32, into: u32) {
        let Some(from) = self.of_task.remove(&gone) else { return };
        let to = *self.of_task.entry(into).or_insert(from);
        if from == to || self.of_task.values().any(|&regime| regime == from) {
            return;
        }
        if let Some(columns) = self.columns.remove(&from) {
            match self.columns.get_mut(&to) {
                Some(others) => others.add(&columns),
                None => head.add_columns(&columns),
            }
        }
        if let Some(other) = self.heads.remove(&from) {
            let classes: Vec<ClassId> = (0..other.classes() as ClassId).collect();
            match self.heads.get_mut(&to) {
                Some(held) => held.merge(&other, &classes),
                None => head.merge(&other, &classes),
            }
        }
    }

    /// Scores of rows by the head of the task whose rows each looks most like: the one under which its features are likeliest,
    /// were they independent and normal. None where no other head is kept.
    /// Beside the scores: whether a row looks more like those of another task than of the current one.
    pub(crate) fn score(&self, head: &Head, rows: MatRef<'_, f32>) -> Option<(Mat<f32>, Vec<bool>)> {
        if self.heads.is_empty() {
            return None;
        }
        let heads: Vec<&Head> = std::iter::once(head).chain(self.heads.values()).collect();
        let models: Vec<Vec<(f64, f64)>> = heads.iter().map(|head| head.moments()).collect();
        let scores: Vec<Option<Mat<f32>>> = heads.iter().map(|head| head.score(rows)).collect();
        let classes = scores.iter().flatten().map(Mat::ncols).max()?;
        let mut chosen = Mat::from_fn(rows.nrows(), classes, |_, _| BENEATH);
        let mut elsewhere = Vec::with_capacity(rows.nrows());
        for row in 0..rows.nrows() {
            let likelihood = |place: usize| match &scores[place] {
                Some(_) => likelihood(&models[place], rows, row),
                None => f64::NEG_INFINITY,
            };
            let best = (0..heads.len()).max_by(|&a, &b| likelihood(a).total_cmp(&likelihood(b))).unwrap_or(0);
            elsewhere.push(best > 0);
            if let Some(scores) = &scores[best] {
                (0..scores.ncols()).for_each(|class| chosen[(row, class)] = scores[(row, class)]);
            }
        }
        Some((chosen, elsewhere))
    }

    /// Heads of other tasks.
    pub(crate) fn heads(&self) -> &BTreeMap<u32, Head> {
        &self.heads
    }

    /// Takes a published head of another task as its own.
    pub(crate) fn adopt(&mut self, task: u32, head: Head) {
        self.of_task.insert(task, task);
        self.heads.insert(task, head);
    }

    pub(crate) fn settle(&mut self) {
        self.heads.values_mut().for_each(Head::settle);
    }

    pub(crate) fn bytes(&self) -> u64 {
        let heads = self.heads.values().map(Head::bytes).map(|(sums, weights)| sums + weights);
        self.columns.values().map(Columns::bytes).sum::<u64>() + heads.sum::<u64>()
    }

    pub(crate) fn save(&self) -> SavedRegimes {
        SavedRegimes {
            current: self.current,
            of_task: self.of_task.clone(),
            columns: self.columns.clone(),
            heads: self.heads.iter().map(|(&task, head)| (task, head.save())).collect(),
        }
    }

    /// What was saved beside `head`, which belongs to the same settings.
    pub(crate) fn restored(saved: SavedRegimes, head: &Head, most_classes: usize) -> Result<Regimes> {
        let features = head.features();
        if !saved.columns.values().all(|columns| columns.is_sound(features, most_classes)) {
            return Err(Error::user("the saved regimes do not fit the settings, or are damaged"));
        }
        let restore = |(task, saved)| {
            let mut other = head.emptied();
            other.restore(saved, most_classes)?;
            Ok((task, other))
        };
        Ok(Regimes {
            current: saved.current,
            of_task: saved.of_task,
            columns: saved.columns,
            heads: saved.heads.into_iter().map(restore).collect::<Result<_>>()?,
        })
    }
}

/// A score beneath all others.
const BENEATH: f32 = -1e6;

/// Logarithm of the likelihood of a row's features, less what all models have in common.
fn likelihood(model: &[(f64, f64)], rows: MatRef<'_, f32>, row: usize) -> f64 {
    let floor =
        LEAST_VARIANCE * model.iter().map(|(_, variance)| variance).sum::<f64>() / model.len().max(1) as f64 + 1e-12;
    let each = model.iter().enumerate().map(|(feature, (mean, variance))| {
        let variance = variance + floor;
        let away = f64::from(rows[(row, feature)]) - mean;
        -0.5 * (away * away / variance + variance.ln())
    });
    each.sum()
}
