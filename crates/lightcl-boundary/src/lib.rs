//! Task-boundary detectors for labelled streams: each notices by itself, from one signal, that a new task began.
//!
//! | name | fires when | blind to |
//! |---|---|---|
//! | `auto` | any of the signals below says so, by stated rules | what none of them sees |
//! | `input`, `activations` | the inputs, or the frozen prefix's outputs, lie elsewhere | another rule |
//! | `rule`, `calibration`, `residual` | inputs and labels are related in another way | inputs that move |
//! | `class_shares` | the shares of the classes shift, or a class is gone | all else |
//! | `new_classes` | labels come from classes the task did not have | new rules or inputs with the same classes |
//! | `error` | the prequential error rises (ADWIN) | changes that the learner does not get wrong |
//! | `task_column` | a column of the stream names another task | streams without such a column |
//! | `calendar` | the event time enters another hour, day, week or month | streams without event times |
//! | `every` | a fixed number of samples has passed | everything |
//! | `adwin`, `page_hinkley`, `cusum` | the mean of a signal changes | other changes of its distribution |
//! | `ddm`, `eddm` | errors become more frequent | everything but the error |
//! | `hddm_a`, `hddm_w` | errors become more frequent, or margins smaller | unbounded signals |
//! | `kswin`, `bayesian` | a signal is distributed otherwise | slow changes |
//! | `never` | never | everything |
//!
//! [`Regimes`] tells whether the rows after a boundary belong to a task seen before.
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
mod auto;
mod calendar;
mod error;
mod every;
mod mmd;
mod never;
mod new_classes;
mod placement;
mod regimes;
pub mod registry;
pub mod scalar;
pub mod signal;
mod task_column;

pub use any::AnyOf;
pub use auto::{AutoConfig, AutoDetector, AutoSignal};
pub use calendar::{Alternate, CalendarConfig, CalendarDetector, CalendarPeriod, DayOfWeek};
pub use error::ErrorConfig;
pub use every::{EveryConfig, EveryDetector};
pub use mmd::{MmdConfig, MmdDetector, MmdSignal};
pub use never::NeverDetector;
pub use new_classes::{NewClassesConfig, NewClassesDetector};
pub use regimes::{NAME as REGIMES, Recognised, Regimes, RegimesConfig};
pub use registry::{DetectorConfigs, build, names};
pub use scalar::{Adwin, AdwinConfig};
pub use signal::{Direction, Signal, SignalConfig, SignalDetector};
pub use task_column::{NAME as TASK_COLUMN, TaskColumnDetector};
