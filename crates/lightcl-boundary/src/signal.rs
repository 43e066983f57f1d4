//! Any change detector on any signal of the learner.

mod config;
mod settings;

pub use config::{Direction, Signal, SignalConfig, Values};
pub use settings::ScalarSettings;

use crate::placement::{Shift, likeliest_rise, likeliest_shift, within_bounds};
use crate::scalar::{Change, ScalarDetector, usable};
use lightcl_core::{BoundaryDetector, Error, Observation, Result, Stateful, Verdict, state};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const VERSION: u16 = 1;

/// Values that each side of a placed change of a mean has at least.
const SHORTEST_SIDE: usize = 5;

/// Fires when a [`ScalarDetector`] finds a change of one [`Signal`] in the direction that is looked for.
///
/// Most detectors notice a change some way after it happened, and do not say where. The boundary is placed by the
/// likeliest split of the last `history_samples` values into two, among the splits that change the right way: for
/// errors as runs of two constant rates, for the other signals as two normal distributions of one spread.
///
/// A change in the other direction is no boundary (a learner that gets better is none): history and detector quietly
/// start afresh. Samples without the signal are left out; a value that is not finite is too. The pattern loss
/// counts once a window, since it is the same for all samples until the next window is learnt.
///
/// The first `min_task_samples` after a reset are a guard: nothing fires, and the first four fifths of it are not even
/// watched, since an untrained learner's signals say nothing about the stream. Changes within the guard are missed.
///
/// ```
/// use lightcl_boundary::scalar::CusumConfig;
/// use lightcl_boundary::{Direction, Signal, SignalConfig, SignalDetector};
///
/// let entropy: SignalConfig<CusumConfig> = SignalConfig { signal: Signal::Entropy, ..SignalConfig::default() };
/// assert_eq!(entropy.direction(), Direction::Rise);
/// let detector = SignalDetector::new(&entropy)?;
/// # Ok::<(), lightcl_core::Error>(())
/// ```
pub struct SignalDetector {
    name: &'static str,
    tag: String,
    /// What the detector and its settings are, for the evidence.
    summary: String,
    watched: Watched,
    scalar: Box<dyn ScalarDetector>,
    watch: Watch,
}

/// What a [`SignalConfig`] says beside the detector's own settings.
#[derive(Debug, Clone, Copy)]
struct Watched {
    signal: Signal,
    direction: Direction,
    min_task_samples: u64,
    history_samples: usize,
    minimum_change: f64,
}

/// What is known of the task, beside the detector's state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Watch {
    first_index: Option<u64>,
    samples: u64,
    /// The pattern loss of the last window that was taken in: all samples until the next is learnt see the same.
    pattern_loss: Option<f64>,
    /// The last values, oldest first, and the rows they belong to.
    values: VecDeque<f64>,
    indices: VecDeque<u64>,
}

impl Watch {
    fn push(&mut self, value: f64, index: u64, most: usize) {
        self.values.push_back(value);
        self.indices.push_back(index);
        if self.values.len() > most {
            self.values.pop_front();
            self.indices.pop_front();
        }
    }
}

impl SignalDetector {
    /// A detector at the start of a task.
    ///
    /// # Errors
    /// When a setting is out of range, or the detector cannot watch that signal or find changes in that direction.
    pub fn new<C: ScalarSettings>(config: &SignalConfig<C>) -> Result<Self> {
        Self::named(C::NAME, config)
    }

    /// The same under another name in the registry.
    pub(crate) fn named<C: ScalarSettings>(name: &'static str, config: &SignalConfig<C>) -> Result<Self> {
        config.validate(name)?;
        let watched = Watched {
            signal: config.signal,
            direction: config.direction(),
            min_task_samples: config.min_task_samples,
            history_samples: config.history_samples,
            minimum_change: config.minimum_change,
        };
        Ok(SignalDetector {
            name,
            tag: format!("boundary.signal.{name}.{}", config.signal.name()),
            summary: config.detector.summary(),
            watched,
            scalar: config.detector.detector().map_err(|error| error.with("detector", name))?,
            watch: Watch::default(),
        })
    }

    fn forget_values(&mut self) {
        self.scalar.reset();
        self.watch.values.clear();
        self.watch.indices.clear();
    }

    /// Where the values changed that way.
    fn place(&self, rises: bool) -> Option<Shift> {
        let values = self.watch.values.iter().copied();
        if self.watched.signal != Signal::Error {
            return likeliest_shift(values, rises, SHORTEST_SIDE);
        }
        // A fall of the errors is a rise of the right predictions.
        let rise = likeliest_rise(values.map(|error| (error > 0.0) == rises))?;
        let rate = |rate: f64| if rises { rate } else { 1.0 - rate };
        Some(Shift { split: rise.split, before: rate(rise.before), after: rate(rise.after) })
    }
}

impl BoundaryDetector for SignalDetector {
    fn name(&self) -> &str {
        self.name
    }

    fn observe(&mut self, observation: &Observation<'_>) -> Verdict {
        let Watched { signal, direction, min_task_samples, history_samples, minimum_change } = self.watched;
        let index = observation.index;
        let first_index = *self.watch.first_index.get_or_insert(index);
        self.watch.samples = self.watch.samples.saturating_add(1);
        if self.watch.samples <= min_task_samples / 5 * 4 {
            return Verdict::Stable;
        }
        let Some(value) = signal.of(observation).and_then(usable) else { return Verdict::Stable };
        if signal == Signal::PatternLoss && self.watch.pattern_loss.replace(value) == Some(value) {
            return Verdict::Stable;
        }
        self.watch.push(value, index, history_samples);

        let is_guarded = self.watch.samples <= min_task_samples;
        let rises = match self.scalar.update(value) {
            Change::Stable => return Verdict::Stable,
            Change::Warning if is_guarded => return Verdict::Stable,
            Change::Warning => return Verdict::Warning,
            Change::Rise => true,
            Change::Fall => false,
        };
        if !direction.includes(rises) {
            self.forget_values();
            return Verdict::Stable;
        }
        if is_guarded {
            return Verdict::Stable;
        }
        // A detector's own means may be of windows that reach over the change: the split's say how large it is.
        let Some(shift) = self.place(rises).filter(|shift| (shift.after - shift.before).abs() >= minimum_change) else {
            return Verdict::Stable;
        };
        let at = within_bounds(self.watch.indices[shift.split], first_index, index);
        let message = format!(
            "{} {} from {:.3} to {:.3} over the last {} samples ({})",
            signal.described(),
            if rises { "rose" } else { "fell" },
            shift.before,
            shift.after,
            self.watch.values.len(),
            self.summary
        );
        Verdict::boundary(at, self.name, message)
    }

    fn reset(&mut self) {
        self.scalar.reset();
        self.watch = Watch::default();
    }
}

impl Stateful for SignalDetector {
    fn save(&self) -> Result<Vec<u8>> {
        state::encode(&self.tag, VERSION, &(&self.watch, self.scalar.save()?))
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let (watch, scalar): (Watch, Vec<u8>) = state::decode(&self.tag, VERSION, bytes)?;
        let kept = watch.values.len();
        let is_sound = kept == watch.indices.len()
            && kept <= self.watched.history_samples
            && kept as u64 <= watch.samples
            && watch.values.iter().chain(&watch.pattern_loss).all(|&value| usable(value) == Some(value));
        if !is_sound {
            return Err(Error::user("the saved state of a detector is damaged").with("detector", self.name));
        }
        self.scalar.restore(&scalar)?;
        self.watch = watch;
        Ok(())
    }
}
