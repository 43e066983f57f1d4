//! Accuracies per task after each task: on latent probes and, where there is one, on a held-out set.

use crate::encode::Encoder;
use crate::probes::Probes;
use crate::task::Task;
use lightcl_core::{AccuracyMatrix, ClassId, EvaluationSet, Learner, Logits, Result};
use serde::{Deserialize, Serialize};

/// Both matrices `R[i][j]` of one set of rows. A column for each task held, a row for the last visit of each: bounded by
/// the square of the number of tasks held, however long the stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Accuracies {
    /// The task of each column.
    tasks: Vec<u32>,
    /// The newest last.
    rows: Vec<Row>,
}

/// Accuracies after a visit: of the first columns, since tasks opened later had none then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Row {
    after: u32,
    task_incremental: Vec<Option<f64>>,
    class_incremental: Vec<Option<f64>>,
}

impl Accuracies {
    /// Sets the row after the last visit of task `after`; one after an earlier visit, or an earlier part of this one, goes.
    pub fn set_row(&mut self, after: u32, tasks: &[Task], tally: &Tally) {
        let shares = |hits: &[u64]| {
            let pairs = hits.iter().zip(&tally.rows);
            pairs.map(|(&hits, &rows)| (rows > 0).then(|| hits as f64 / rows as f64)).collect()
        };
        self.tasks = tasks.iter().map(|task| task.id).collect();
        self.rows.retain(|row| row.after != after);
        self.rows.push(Row {
            after,
            task_incremental: shares(&tally.task_hits),
            class_incremental: shares(&tally.class_hits),
        });
    }

    /// Takes the row and the column of a task out.
    pub fn forget(&mut self, task: u32) {
        self.rows.retain(|row| row.after != task);
        let Some(column) = self.tasks.iter().position(|&own| own == task) else { return };
        self.tasks.remove(column);
        for row in &mut self.rows {
            for values in [&mut row.task_incremental, &mut row.class_incremental] {
                if column < values.len() {
                    values.remove(column);
                }
            }
        }
    }

    pub fn task_incremental(&self) -> AccuracyMatrix {
        self.matrix(|row| &row.task_incremental)
    }

    pub fn class_incremental(&self) -> AccuracyMatrix {
        self.matrix(|row| &row.class_incremental)
    }

    fn matrix(&self, of: impl Fn(&Row) -> &Vec<Option<f64>>) -> AccuracyMatrix {
        let after: Vec<u32> = self.rows.iter().map(|row| row.after).collect();
        let rows = self.rows.iter().map(|row| of(row).clone()).collect();
        let counted = |ids: &[u32]| ids.iter().enumerate().all(|(place, &id)| place == id as usize);
        if counted(&self.tasks) && counted(&after) {
            return AccuracyMatrix::new(rows);
        }
        AccuracyMatrix { rows, tasks: self.tasks.clone(), after }
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        let cells: usize = self.rows.iter().map(|row| row.task_incremental.len() + row.class_incremental.len()).sum();
        (4 * self.tasks.len() + size_of::<Row>() * self.rows.len() + size_of::<Option<f64>>() * cells) as u64
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
        if let Some((task, owner)) = tasks.iter().enumerate().find(|(_, owner)| owner.id == task) {
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
