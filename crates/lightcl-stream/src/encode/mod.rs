//! From Arrow rows to [`lightcl_core::Samples`]: features become numbers, labels become stable class ids.
//!
//! Everything that is learnt on the way (class ids, category slots, running mean and variance, the shape of a sample) is
//! part of the state. A row that cannot be used teaches nothing and becomes a dead letter; a row that can is first taken
//! in and then standardised, so that no row sees the future. How rows are cut into calls does not matter.
//!
//! ```
//! use arrow_array::record_batch;
//! use lightcl_core::{PositionedBatch, RowOffsets, Samples};
//! use lightcl_stream::encode::{Encoder, EncoderConfig};
//! use std::sync::Arc;
//!
//! let batch = record_batch!(
//!     ("width", Float64, [1.5, 2.5, f64::NAN]),
//!     ("colour", Utf8, ["red", "blue", "red"]),
//!     ("kind", Utf8, ["nut", "bolt", "nut"])
//! ).map_err(|error| lightcl_core::Error::internal("no batch").caused_by(error))?;
//! let mut encoder = Encoder::new(EncoderConfig::new(["width", "colour"], "kind"), &batch.schema())?;
//! let batch = PositionedBatch { batch, partition: Arc::from("rows"), offsets: RowOffsets::From(0), faults: Vec::new() };
//! let (mut samples, mut rejected) = (Samples::default(), Vec::new());
//! encoder.encode(&batch, 0..3, 0, &mut samples, &mut rejected)?;
//! assert_eq!(samples.labels, [0, 1]);
//! assert_eq!(samples.row(1)[..3], [2.5, 0.0, 1.0]);
//! assert_eq!(rejected[0].message, "column 'width': found NaN, expected a finite number");
//! assert_eq!(encoder.class_label(1).as_deref(), Some("bolt"));
//! # Ok::<(), lightcl_core::Error>(())
//! ```

mod category;
mod config;
mod description;
mod encoder;
mod feature_rows;
mod features;
mod image;
mod labels;
mod learnt;
mod merge;
mod numbers;
mod plan;
mod problem;
mod row_json;
mod rows;
mod standardize;
mod tensor;
mod texts;
mod times;

pub use config::{
    CategoryEncoding, DEFAULT_CATEGORY_SLOTS, EncoderConfig, FeatureConfig, FeatureKind, MAX_SAMPLE_VALUES,
};
pub use encoder::{Encoder, FrozenRows};
pub use feature_rows::FeatureRows;
