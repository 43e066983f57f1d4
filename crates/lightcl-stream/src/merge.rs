//! Joining runs over disjoint rows.

use crate::Operator;
use crate::encode::Encoder;
use lightcl_core::{Learner, Output, Result, Stateful};

impl Operator {
    /// Whether the input has ended and everything in it was learnt.
    pub fn is_finished(&self) -> bool {
        self.progress.finished
    }

    /// Takes a learner and an encoder that know more than its own, and counts the rows of the operators that the rest is from.
    /// Position, tasks and figures stay its own. Gives the snapshot of what came of it, the first of a new series.
    ///
    /// # Errors
    /// When the learner cannot be published.
    pub fn join(
        &mut self,
        learner: Box<dyn Learner>,
        encoder: &Encoder,
        others: &[Operator],
    ) -> Result<Option<Output>> {
        self.encoder.restore(&encoder.save()?)?;
        self.learner = Some(learner);
        // Windows that could be undone would take the learner back to before.
        self.ring.clear();
        let progress = &mut self.progress;
        for other in others {
            progress.samples += other.progress.samples;
            progress.trained_samples += other.progress.trained_samples;
            progress.steps += other.progress.steps;
            for (reason, count) in &other.progress.rejected {
                *progress.rejected.entry(*reason).or_default() += count;
            }
        }
        progress.snapshots = 0;
        progress.last_stability = progress.samples;
        self.learner_mut()?.settle()?;
        self.snapshot("merge")
    }
}
