//! A snapshot as a model that scores rows.

use lightcl_core::{Learner, PositionedBatch, Rejected, Result, Snapshot};
use lightcl_learner::LightClLearner;
use lightcl_stream::encode::Encoder;
use lightcl_stream::predict;

/// The learner of a snapshot, and how rows become its numbers.
pub struct Model {
    /// How rows become numbers.
    pub encoder: Encoder,
    learner: LightClLearner,
}

/// A row that was scored.
pub struct ScoredRow {
    /// The sample's own name.
    pub id: Option<String>,
    /// Its label, where it has one.
    pub label: Option<String>,
    /// The predicted label.
    pub predicted: Option<String>,
    /// Probability of the predicted class.
    pub probability: Option<f32>,
}

impl Model {
    /// Builds the model of a snapshot.
    ///
    /// # Errors
    /// When the snapshot does not fit this program.
    pub fn from_snapshot(snapshot: &Snapshot) -> Result<Self> {
        Ok(Model {
            learner: LightClLearner::from_snapshot(&snapshot.manifest.learner, &snapshot.blobs)?,
            encoder: Encoder::from_description(&snapshot.manifest.encoder)?,
        })
    }

    /// Scores the rows of a batch: one entry a row, in order. The first has number `first_index`.
    ///
    /// # Errors
    /// When the columns do not fit the model. A row that does not is no error.
    pub fn score(
        &self,
        batch: &PositionedBatch,
        first_index: u64,
    ) -> Result<impl Iterator<Item = Result<ScoredRow, Rejected>>> {
        let count = batch.batch.num_rows();
        let rows = self.encoder.encode_frozen(batch, 0..count, first_index)?;
        let logits = self.learner.score(&rows.samples)?;
        let mut bad = rows.rejected.into_iter().peekable();
        let mut good = rows.samples.meta.into_iter().zip(rows.label_texts).enumerate();
        Ok((0..count as u64).filter_map(move |number| {
            if let Some(letter) = bad.next_if(|letter| letter.index == first_index + number) {
                return Some(Err(letter));
            }
            // There is one for each row that was not rejected.
            let (row, (meta, label)) = good.next()?;
            let (class, probability) = predict(&logits, row);
            let predicted = class.and_then(|class| self.encoder.class_label(class));
            Some(Ok(ScoredRow { id: meta.id, label, predicted, probability }))
        }))
    }
}
