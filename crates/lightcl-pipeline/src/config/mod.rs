//! Configuration: a pipeline file with overrides, checked as a whole and explained key by key.
//!
//! The file is TOML. Environment variables (`LIGHTCL__LEARNER__SEED=3`) come over the file, `--set learner.seed=3` over
//! both. Every mistake is found at once and shown where it stands, with the nearest right name. Relative paths are
//! relative to the current directory.
//!
//! ```
//! use lightcl_pipeline::config::{Overrides, Pipeline};
//!
//! let text = "[source]\ntype = \"csv\"\npath = \"a.csv\"\n[sample]\nfeatures = [\"x\"]\nlabel = \"y\"\n";
//! let pipeline = Pipeline::parse(text, "shop.toml", &Overrides::default())?;
//! assert_eq!(pipeline.name(), "shop");
//! assert_eq!(pipeline.settings().learner.batch_samples, 32);
//!
//! let wrong = Pipeline::parse(&format!("{text}[learner]\nlerning_rate = 1\n"), "shop.toml", &Overrides::default());
//! let message = wrong.err().expect("there is no such key").to_string();
//! assert!(message.starts_with("shop.toml:8:1: unknown key 'lerning_rate' in [learner]; did you mean 'learning_rate'?"));
//! # Ok::<(), lightcl_core::Error>(())
//! ```

mod by_type;
mod conflicts;
mod convert;
mod convert_kafka;
mod difference;
mod document;
mod explain;
mod faults;
mod kafka_conflicts;
mod names;
mod overrides;
mod pipeline;
mod secrets;
pub mod settings;
mod shape;
mod walk;

pub use difference::difference;
pub use explain::{Explained, toml_inline};
pub use names::nearest;
pub use overrides::{ENVIRONMENT_PREFIX, Overrides};
pub use pipeline::{Pipeline, sha256_of};
pub use secrets::is_secret;
pub use settings::{Settings, pipeline_schema};
