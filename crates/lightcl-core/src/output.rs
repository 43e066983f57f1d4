//! What the operator emits.

use crate::{Evidence, Position, Snapshot, StabilityReport};
use serde::{Deserialize, Serialize};

/// One thing the operator emits, in stream order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// A row was scored, before it was learnt from.
    Prediction(Prediction),
    /// A new task began.
    Boundary(BoundaryEvent),
    /// A model was published.
    Snapshot(Box<Snapshot>),
    /// How much is kept.
    Stability(Box<StabilityReport>),
    /// A row could not be used: a dead letter.
    Rejected(Rejected),
}

/// The score of one row (schema: `schemas/prediction.schema.json`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// 0-based number of the row in the stream.
    pub index: u64,
    /// Where the row stands in its source.
    pub position: Position,
    /// The sample's own name, when a column gives one.
    pub id: Option<String>,
    /// The true label, as in the input.
    pub label: Option<String>,
    /// The predicted label, as in the input; none before any class is known.
    pub predicted: Option<String>,
    /// Probability of the predicted class.
    pub probability: Option<f32>,
    /// The task that was being learnt.
    pub task: u32,
    /// The newest snapshot's version when the row was scored; 0 before the first.
    pub model_version: u64,
}

/// Two tasks that became one, to make room for a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergedTasks {
    /// The task that is gone; its number never comes back.
    pub gone: u32,
    /// The task that it went into.
    pub into: u32,
}

/// A task began, or one known before returned (schema: `schemas/boundary.schema.json`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BoundaryEvent {
    /// Version of this layout: 1.
    pub format: u32,
    /// The task that begins here, or returns.
    pub task: u32,
    /// Whether the task was known before and returns here.
    pub recurring: bool,
    /// Index of the first sample of the new task: the estimated change point, or the oldest row that could still be given back
    /// where that lies further behind.
    pub at: u64,
    /// Where those who noticed it estimate that the change was.
    pub estimated_at: u64,
    /// Index of the sample at which it was noticed.
    pub detected_at: u64,
    /// Where the first sample of the new task stands in its source.
    pub position: Position,
    /// Learnt samples that were undone and learnt again under the new task.
    pub rolled_back: u64,
    /// Why.
    pub evidence: Vec<Evidence>,
    /// Labels seen in the task that ended, as in the input.
    pub closed_task_labels: Vec<String>,
    /// The tasks that became one because there was no room for one more.
    pub merged: Option<MergedTasks>,
}

/// Why a row was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// The source could not read the row.
    Unreadable,
    /// A feature, or a value in a list, is NaN or infinite.
    NonFiniteFeature,
    /// A feature, or a value in a list, is null.
    NullFeature,
    /// A list of another length than the first.
    WrongLength,
    /// Image bytes that do not decode.
    ImageUndecodable,
    /// An image of another size than the first.
    ImageSize,
    /// No label.
    NullLabel,
    /// A label of another type than the first.
    LabelType,
    /// A whole-number label that does not fit 32 bits.
    LabelOutOfRange,
    /// More classes than `max_classes`.
    TooManyClasses,
    /// A weight that is null, negative or not finite.
    BadWeight,
    /// The batch gave a non-finite or exploding loss or weight.
    Diverged,
}

impl RejectReason {
    /// The reason as it stands in outputs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            RejectReason::Unreadable => "unreadable",
            RejectReason::NonFiniteFeature => "non_finite_feature",
            RejectReason::NullFeature => "null_feature",
            RejectReason::WrongLength => "wrong_length",
            RejectReason::ImageUndecodable => "image_undecodable",
            RejectReason::ImageSize => "image_size",
            RejectReason::NullLabel => "null_label",
            RejectReason::LabelType => "label_type",
            RejectReason::LabelOutOfRange => "label_out_of_range",
            RejectReason::TooManyClasses => "too_many_classes",
            RejectReason::BadWeight => "bad_weight",
            RejectReason::Diverged => "diverged",
        }
    }
}

/// A dead letter: a row that could not be used, with all that is needed to mend it (schema:
/// `schemas/dead-letter.schema.json`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rejected {
    /// Version of this layout: 1.
    pub format: u32,
    /// 0-based number of the row in the stream.
    pub index: u64,
    /// Where the row stands in its source.
    pub position: Position,
    /// Why, in a word.
    pub reason: RejectReason,
    /// The column at fault, where one is.
    pub column: Option<String>,
    /// Why, in a sentence.
    pub message: String,
    /// The row itself: the text as found, or its columns as a JSON object.
    pub payload: String,
}
