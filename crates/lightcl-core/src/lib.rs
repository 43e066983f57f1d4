//! The vocabulary of `lightcl`: samples, tasks, boundaries, snapshots, stability reports, the traits that sources,
//! detectors, learners and sinks implement, and the one error type. Depends on Arrow's arrays and nothing heavier.
//!
//! ```
//! use lightcl_core::{Error, Samples};
//!
//! let samples = Samples::from_rows(&[1], &[(vec![0.5], 0)]);
//! assert_eq!(samples.len(), 1);
//! # Ok::<(), Error>(())
//! ```

mod boundary;
mod error;
mod learner;
mod mix;
mod output;
mod position;
mod sample;
mod sink;
mod snapshot;
mod source;
mod stability;
pub mod state;

pub use boundary::{BoundaryDetector, Evidence, Needs, Observation, Verdict};
pub use error::{Error, ErrorKind, Result};
pub use learner::{Embedding, ExpertReport, LayerReport, LearnReport, Learner, Logits, PartBytes, TaskChange};
pub use mix::mix;
pub use output::{BoundaryEvent, MergedTasks, Output, Prediction, RejectReason, Rejected};
pub use position::{Position, Positions};
pub use sample::{ClassId, EvaluationSet, PositionedBatch, RowFault, RowOffsets, SampleMeta, Samples};
pub use sink::{Commit, Sink};
pub use snapshot::{Blob, BlobEntry, LearnerSnapshot, Manifest, Snapshot};
pub use source::Source;
pub use stability::{AccuracyMatrix, PrequentialReport, StabilityReport};
pub use state::Stateful;
