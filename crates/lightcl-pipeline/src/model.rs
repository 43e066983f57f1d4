//! A snapshot as a model that scores rows.

use lightcl_core::{Embedding, Error, Learner, Logits, PositionedBatch, Rejected, Result, Snapshot};
use lightcl_learner::LightClLearner;
use lightcl_stream::encode::{Encoder, FeatureRows};
use lightcl_stream::predict;

pub use lightcl_learner::NetworkPart;

/// The learner of a snapshot, and how rows become its numbers.
pub struct Model {
    /// How rows become numbers.
    pub encoder: Encoder,
    learner: LightClLearner,
    /// Roles of the weights in the snapshot.
    roles: Vec<String>,
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
            roles: snapshot.blobs.iter().map(|blob| blob.role.clone()).collect(),
        })
    }

    /// Class scores of encoded rows, one row for each usable one: logarithms of probabilities but for a constant a row.
    ///
    /// # Errors
    /// When the rows were encoded for another model.
    pub fn scores(&self, rows: &FeatureRows) -> Result<Logits> {
        self.learner.score_rows(&rows.features)
    }

    /// The labels of the classes, in the order of [`Model::scores`]: that in which they first came in training.
    ///
    /// # Errors
    /// When a class has no label, which no sound snapshot has.
    pub fn class_labels(&self) -> Result<Vec<String>> {
        let label = |class| {
            let label = self.encoder.class_label(class);
            label.ok_or_else(|| Error::user("a class of the snapshot has no label").with("class", class))
        };
        (0..self.learner.score_rows(&[])?.classes as u32).map(label).collect()
    }

    /// Shape of what [`Model::activations`] gives of one row.
    ///
    /// # Errors
    /// When the snapshot does not hold that part of the network.
    pub fn activation_shape(&self, part: NetworkPart) -> Result<Vec<usize>> {
        let needed = match part {
            NetworkPart::Prefix => &["prefix"][..],
            NetworkPart::Suffix => &["prefix", "suffix"],
        };
        if let Some(role) = needed.iter().find(|needed| !self.roles.iter().any(|role| role == *needed)) {
            let message = format!("the snapshot holds no {role} of a network: its head scores without one");
            return Err(Error::user(message).with("weights", self.roles.join(", ")));
        }
        Ok(self.learner.part_shape(part))
    }

    /// Activations of encoded rows, one row for each usable one.
    ///
    /// # Errors
    /// When the snapshot does not hold that part of the network, or the rows were encoded for another model.
    pub fn activations(&self, part: NetworkPart, rows: &FeatureRows) -> Result<Embedding> {
        self.activation_shape(part)?;
        self.learner.part_outputs(part, &rows.features)
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
