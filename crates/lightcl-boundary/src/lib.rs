//! Task-boundary detectors for labelled streams: each notices by itself, from one signal, that a new task began.
//!
//! | name | fires when | blind to |
//! |---|---|---|
//! | `new_classes` | labels come from classes the task did not have | new rules or inputs with the same classes |
//! | `error` | the prequential error rises (ADWIN) | changes that the learner does not get wrong |
//! | `task_column` | a column of the stream names another task | streams without such a column |
//! | `every` | a fixed number of samples has passed | everything |
//! | `adwin`, `page_hinkley`, `cusum` | the mean of a signal changes | other changes of its distribution |
//! | `ddm`, `eddm` | errors become more frequent | everything but the error |
//! | `hddm_a`, `hddm_w` | errors become more frequent, or margins smaller | unbounded signals |
//! | `kswin`, `bayesian` | a signal is distributed otherwise | slow changes |
//! | `never` | never | everything |
//!
//! The signals are error, loss, margin, entropy and pattern loss ([`Signal`]); each [`SignalDetector`] watches one with
//! one of the change detectors in [`scalar`].
//!
//! [`registry::build`] makes any of them, or several at once ([`AnyOf`]), from names and settings. All are
//! deterministic, hold bounded memory, and save and restore their whole state.
//!
//! ```
//! use lightcl_boundary::{DetectorConfigs, build};
//! use lightcl_core::{Observation, Verdict};
//!
//! let mut detector = build(&["new_classes".to_owned()], &DetectorConfigs::default())?;
//! let mut found = None;
//! for index in 0..400 {
//!     let label = if index < 300 { index as u32 % 2 } else { 2 };
//!     let observation = Observation {
//!         index, label, predicted: Some(0), loss: 0.1, margin: 0.9, entropy: 0.2,
//!         task_key: None, event_time: None, features: &[], activations: &[], pattern_loss: None,
//!     };
//!     if let Verdict::Boundary { at, .. } = detector.observe(&observation) {
//!         detector.reset();
//!         found.get_or_insert((at, index));
//!     }
//! }
//! assert_eq!(found, Some((300, 303)));
//! # Ok::<(), lightcl_core::Error>(())
//! ```

mod any;
mod error;
mod every;
mod never;
mod new_classes;
mod placement;
pub mod registry;
pub mod scalar;
pub mod signal;
mod task_column;

pub use any::AnyOf;
pub use error::{ErrorConfig, ErrorDetector};
pub use every::{EveryConfig, EveryDetector};
pub use never::NeverDetector;
pub use new_classes::{NewClassesConfig, NewClassesDetector};
pub use registry::{DetectorConfigs, build, names};
pub use scalar::{Adwin, AdwinConfig};
pub use signal::{Direction, Signal, SignalConfig, SignalDetector};
pub use task_column::TaskColumnDetector;
