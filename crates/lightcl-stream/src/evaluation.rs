//! Accuracies per task after each task: on latent probes and, where there is one, on a held-out set.

use crate::encode::Encoder;
use crate::probes::Probes;
use crate::task::Task;
use lightcl_core::{AccuracyMatrix, ClassId, EvaluationSet, Learner, Logits, Result};
use serde::{Deserialize, Serialize};

/// Both matrices `R[i][j]` of one set of rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Accuracies {
    pub task_incremental: AccuracyMatrix,
    pub class_incremental: AccuracyMatrix,
}

impl Accuracies {
    /// Sets the row "after task `task`": again when a finished run goes on with more rows of the same task.
    pub fn set_row(&mut self, task: usize, tally: &Tally) {
        for (matrix, hits) in
            [(&mut self.task_incremental, &tally.task_hits), (&mut self.class_incremental, &tally.class_hits)]
        {
            matrix.rows.resize(task + 1, Vec::new());
            matrix.rows[task] = hits
                .iter()
                .zip(&tally.rows)
                .map(|(&hits, &rows)| (rows > 0).then(|| hits as f64 / rows as f64))
                .collect();
        }
    }
}

/// Counts of one scoring round, one entry a task.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    rows: Vec<u64>,
    task_hits: Vec<u64>,
    class_hits: Vec<u64>,
}

impl Tally {
    fn new(tasks: usize) -> Self {
        Tally { rows: vec![0; tasks], task_hits: vec![0; tasks], class_hits: vec![0; tasks] }
    }

    fn count(&mut self, task: usize, own_classes: &[ClassId], label: ClassId, logits: &Logits, row: usize) {
        self.rows[task] += 1;
        self.task_hits[task] += u64::from(logits.best(row, Some(own_classes)) == Some(label));
        self.class_hits[task] += u64::from(logits.best(row, None) == Some(label));
    }
}

/// Scores the probes of every task.
pub(crate) fn on_probes(probes: &Probes, tasks: &[Task], learner: &dyn Learner) -> Result<Tally> {
    let mut tally = Tally::new(tasks.len());
    probes.score(learner, |task, labels, logits| {
        if let Some(owner) = tasks.get(task) {
            let own: Vec<ClassId> = owner.classes.iter().copied().collect();
            for (row, &label) in labels.iter().enumerate() {
                tally.count(task, &own, label, logits, row);
            }
        }
    })?;
    Ok(tally)
}

/// Scores the held-out set: each row counts for every task that owns it. Rows of classes not seen yet, and rows that
/// cannot be encoded, count for none.
pub(crate) fn on_held_out(
    set: &mut dyn EvaluationSet,
    encoder: &Encoder,
    tasks: &[Task],
    learner: &dyn Learner,
) -> Result<Tally> {
    let own: Vec<Vec<ClassId>> = tasks.iter().map(|task| task.classes.iter().copied().collect()).collect();
    let mut tally = Tally::new(tasks.len());
    set.for_each(&mut |batch| {
        let rows = encoder.encode_frozen(batch, 0..batch.batch.num_rows(), 0)?;
        let logits = learner.score(&rows.samples)?;
        for (row, label) in rows.labels.iter().enumerate() {
            let Some(label) = *label else { continue };
            let key = rows.samples.meta[row].task_key.as_deref();
            for (task, _) in tasks.iter().enumerate().filter(|(_, task)| task.owns(label, key)) {
                tally.count(task, &own[task], label, &logits, row);
            }
        }
        Ok(())
    })?;
    Ok(tally)
}
