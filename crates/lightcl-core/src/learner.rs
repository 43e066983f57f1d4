//! The learner: scores, learns, and keeps what it knew.

use crate::{ClassId, LearnerSnapshot, Result, Samples, Stateful};
use serde::{Deserialize, Serialize};

/// Class scores before the softmax: row-major, `rows x classes`, class `c` in column `c`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Logits {
    /// Number of classes known to the learner; 0 before the first.
    pub classes: usize,
    /// `rows x classes` numbers.
    pub values: Vec<f32>,
}

impl Logits {
    /// The scores of one row.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.classes..(row + 1) * self.classes]
    }

    /// The best class of one row among all (or among `only`); the lowest number wins a tie.
    pub fn best(&self, row: usize, only: Option<&[ClassId]>) -> Option<ClassId> {
        let scores = self.row(row);
        let mut best: Option<(ClassId, f32)> = None;
        let mut consider = |class: ClassId| {
            if let Some(&score) = scores.get(class as usize)
                && best.is_none_or(|(_, high)| score > high)
            {
                best = Some((class, score));
            }
        };
        match only {
            Some(classes) => classes.iter().for_each(|&class| consider(class)),
            None => (0..self.classes as ClassId).for_each(consider),
        }
        best.map(|(class, _)| class)
    }
}

/// Outputs of the frozen prefix: what probes are kept as.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Embedding {
    /// Shape of one sample's activations.
    pub shape: Vec<usize>,
    /// Row-major activations.
    pub values: Vec<f32>,
}

/// What one call of [`Learner::learn`] did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LearnReport {
    /// Optimisation steps taken.
    pub steps: u64,
    /// Mean total loss over the steps; 0 when there was none.
    pub loss: f64,
    /// Mean pattern loss over the steps.
    pub pattern_loss: f64,
    /// Rows (numbers in the window) whose batch gave a non-finite or exploding loss or weight. The weights from before
    /// that batch stand, and the rows were not learnt from.
    pub rejected_rows: Vec<usize>,
    /// Samples that ran through the prefix, memory samples included.
    pub prefix_samples: u64,
}

/// One plastic layer, as the stability report shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerReport {
    /// The layer's name.
    pub layer: String,
    /// Channels (or hidden units).
    pub channels: usize,
    /// Channels marked vital by the masks of all tasks.
    pub vital_channels: usize,
    /// Relative drift of the reference maps: `|map - reference| / |reference|` in the Euclidean norm over the memory
    /// samples; none while there is no reference.
    pub drift: Option<f64>,
}

/// Bytes held by one part of the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartBytes {
    /// The part's name.
    pub part: String,
    /// Bytes it holds.
    pub bytes: u64,
}

/// What is different about a task, as far as those who noticed it can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskChange {
    /// Nobody knows: the stream or the calendar named it.
    #[default]
    Unknown,
    /// It has other classes.
    Classes,
    /// Its inputs lie elsewhere.
    Inputs,
    /// The same inputs mean other labels.
    Labels,
}

/// One expert of a mixture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExpertReport {
    /// Its name.
    pub expert: String,
    /// Its weight for the classes that are being learnt; all weights sum to 1.
    pub weight: f64,
}

/// A model that learns a stream of tasks.
///
/// Implementations are deterministic (rules in `docs/concepts.md`): learning the same rows in the same order from the
/// same state gives the same bytes, whatever the number of threads. [`Learner::score`] never changes state.
pub trait Learner: Stateful + Send {
    /// Class scores of each row. Before any class is known `classes` is 0.
    ///
    /// # Errors
    /// When the samples have another shape than the learner.
    fn score(&self, samples: &Samples) -> Result<Logits>;

    /// Scores the rows that come next in the stream, as [`Learner::score`] does; their labels have arrived by the time it
    /// returns, and a learner may take them as evidence of how good its scores are, or let the rows that follow know of them.
    /// The rows are learnt from later: see [`Learner::learn`].
    ///
    /// # Errors
    /// When the samples have another shape than the learner.
    fn score_next(&mut self, samples: &Samples) -> Result<Logits> {
        self.score(samples)
    }

    /// Learns from one window: `passes` passes over it in batches. Classes never seen before grow the head.
    ///
    /// # Errors
    /// When the samples have another shape than the learner. Data never makes it fail: see
    /// [`LearnReport::rejected_rows`].
    fn learn(&mut self, window: &Samples) -> Result<LearnReport>;

    /// Closes the current task; `importance` is the last clean batch of it and decides which channels are vital. Of a task
    /// that was resumed they were decided when it was closed first, and stay: see [`Learner::resume_task`].
    ///
    /// # Errors
    /// When the samples have another shape than the learner.
    fn end_task(&mut self, importance: &Samples) -> Result<()>;

    /// Says which task the call of [`Learner::begin_task`] or [`Learner::resume_task`] that follows is about, and what is different
    /// about it. A task's number stays its own when it returns.
    ///
    /// # Errors
    /// When what was learnt of tasks cannot be put aside.
    fn enter_task(&mut self, task: u32, change: TaskChange) -> Result<()> {
        let _ = (task, change);
        Ok(())
    }

    /// Says that a task went into another one: its number never comes back.
    ///
    /// # Errors
    /// When what was learnt of the two cannot be joined.
    fn merge_tasks(&mut self, gone: u32, into: u32) -> Result<()> {
        let _ = (gone, into);
        Ok(())
    }

    /// Opens the next task; `first` is its first batch, which gives the memory samples. It is called for the first task
    /// too, before anything is learnt.
    ///
    /// # Errors
    /// When the samples have another shape than the learner.
    fn begin_task(&mut self, first: &Samples) -> Result<()>;

    /// Opens a task again that was closed before: its regime has returned. `first` is the first batch of this visit and
    /// gives new memory samples, so that what is known now is protected; `classes` are the task's classes so far, which are
    /// current again. The task has its vital channels already: neither this nor the [`Learner::end_task`] that follows may
    /// mark more, or masks would fill up in a stream that returns for ever.
    ///
    /// A learner that marks nothing may leave the default, which begins a task.
    ///
    /// # Errors
    /// When the samples have another shape than the learner.
    fn resume_task(&mut self, first: &Samples, classes: &[ClassId]) -> Result<()> {
        let _ = classes;
        self.begin_task(first)
    }

    /// The weights as they are now, for publication.
    ///
    /// # Errors
    /// When the weights cannot be written to bytes.
    fn snapshot(&self) -> Result<LearnerSnapshot>;

    /// A copy that can be gone back to. Cheap: weights are shared until one side changes them.
    fn fork(&self) -> Box<dyn Learner>;

    /// Whether the prefix has stopped changing, so that [`Learner::embed`]'s results stay valid.
    fn is_prefix_frozen(&self) -> bool;

    /// What [`Learner::score_embedding`] needs of each row: outputs of the prefix, and whatever else the head looks at.
    ///
    /// # Errors
    /// When the samples have another shape than the learner.
    fn embed(&self, samples: &Samples) -> Result<Embedding>;

    /// Outputs of the prefix alone for each row, for those that watch how they move.
    ///
    /// # Errors
    /// When the samples have another shape than the learner.
    fn activations(&self, samples: &Samples) -> Result<Embedding> {
        self.embed(samples)
    }

    /// Class scores from prefix outputs: `score_embedding(embed(x)) == score(x)`.
    ///
    /// # Errors
    /// When the activations have another shape than the prefix gives.
    fn score_embedding(&self, embedding: &Embedding) -> Result<Logits>;

    /// Brings whatever is computed lazily up to date. The operator calls it where figures are taken: when a task ends and when
    /// the input does.
    ///
    /// # Errors
    /// When that cannot be computed.
    fn settle(&mut self) -> Result<()> {
        Ok(())
    }

    /// The experts whose opinions are mixed, with their weights; empty where there is one head.
    fn experts(&self) -> Vec<ExpertReport> {
        Vec::new()
    }

    /// The plastic layers, for the stability report.
    ///
    /// # Errors
    /// When the memory samples cannot be run through the network.
    fn layers(&self) -> Result<Vec<LayerReport>>;

    /// Bytes held, part by part.
    fn bytes(&self) -> Vec<PartBytes>;

    /// The state less what does not change within a task (the frozen prefix): what the roll-back ring saves.
    ///
    /// # Errors
    /// As [`Stateful::save`].
    fn save_plastic(&self) -> Result<Vec<u8>> {
        self.save()
    }

    /// Puts back what [`Learner::save_plastic`] gave, on a fork of the learner that gave it.
    ///
    /// # Errors
    /// As [`Stateful::restore`].
    fn restore_plastic(&mut self, bytes: &[u8]) -> Result<()> {
        self.restore(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_takes_the_lowest_class_on_a_tie_and_respects_the_subset() {
        let logits = Logits { classes: 3, values: vec![1.0, 5.0, 5.0] };
        assert_eq!(logits.best(0, None), Some(1));
        assert_eq!(logits.best(0, Some(&[0, 2])), Some(2));
        assert_eq!(logits.best(0, Some(&[7])), None);
    }
}
