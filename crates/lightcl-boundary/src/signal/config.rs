//! Settings of detectors on a signal.

use super::ScalarSettings;
use lightcl_core::{Error, Observation, Result};
use serde::{Deserialize, Serialize};

/// Fewest values that `history_samples` may ask for: a change is placed with five on either side.
const FEWEST_HISTORY: usize = 10;

/// Most values that `history_samples` may ask for.
const MOST_HISTORY: usize = 100_000;

/// A number that every sample has, or nearly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// 1 when the prediction was wrong or absent, else 0.
    Error,
    /// Cross-entropy of the prediction, in nats.
    Loss,
    /// Difference between the two highest class probabilities, in `[0, 1]`.
    Margin,
    /// Entropy of the class probabilities, in nats.
    Entropy,
    /// Mean pattern loss of the last window learnt; absent before the first and where the learner has none.
    PatternLoss,
}

impl Signal {
    /// The name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Signal::Error => "error",
            Signal::Loss => "loss",
            Signal::Margin => "margin",
            Signal::Entropy => "entropy",
            Signal::PatternLoss => "pattern_loss",
        }
    }

    pub(super) fn described(self) -> &'static str {
        match self {
            Signal::Error => "the error rate",
            Signal::Loss => "the loss",
            Signal::Margin => "the margin",
            Signal::Entropy => "the entropy",
            Signal::PatternLoss => "the pattern loss",
        }
    }

    pub(super) fn of(self, observation: &Observation<'_>) -> Option<f64> {
        match self {
            Signal::Error => Some(observation.error()),
            Signal::Loss => Some(observation.loss),
            Signal::Margin => Some(observation.margin),
            Signal::Entropy => Some(observation.entropy),
            Signal::PatternLoss => observation.pattern_loss,
        }
    }

    /// What values it can take.
    fn values(self) -> Values {
        match self {
            Signal::Error => Values::ZeroOrOne,
            Signal::Margin => Values::ZeroToOne,
            Signal::Loss | Signal::Entropy | Signal::PatternLoss => Values::Real,
        }
    }
}

/// Values that a signal takes or a detector is made for; each kind is one of the next too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Values {
    /// 0 or 1.
    ZeroOrOne,
    /// In `[0, 1]`.
    ZeroToOne,
    /// Any.
    Real,
}

/// Which change of a signal is a boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// It rises.
    Rise,
    /// It falls.
    Fall,
    /// Either.
    Both,
}

impl Direction {
    /// The name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Direction::Rise => "rise",
            Direction::Fall => "fall",
            Direction::Both => "both",
        }
    }

    pub(super) fn includes(self, rises: bool) -> bool {
        self != if rises { Direction::Fall } else { Direction::Rise }
    }
}

/// Settings of a change detector on a signal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, bound = "C: ScalarSettings")]
pub struct SignalConfig<C> {
    /// Settings of the change detector itself.
    pub detector: C,
    /// What is watched.
    pub signal: Signal,
    /// Which change is a boundary; without one a rise, or a fall of the margin: the learner gets worse.
    pub direction: Option<Direction>,
    /// No boundary within so many samples of the last one: the learner is still taking in the task.
    pub min_task_samples: u64,
    /// The change is placed within so many of the last values.
    pub history_samples: usize,
    /// The mean must change by at least this much.
    pub minimum_change: f64,
}

impl<C: ScalarSettings> Default for SignalConfig<C> {
    fn default() -> Self {
        SignalConfig {
            detector: C::default(),
            signal: C::DEFAULT_SIGNAL,
            direction: None,
            min_task_samples: 250,
            history_samples: 600,
            minimum_change: 0.0,
        }
    }
}

impl<C: ScalarSettings> SignalConfig<C> {
    /// The direction that is looked for.
    pub fn direction(&self) -> Direction {
        self.direction.unwrap_or(if self.signal == Signal::Margin { Direction::Fall } else { Direction::Rise })
    }

    pub(super) fn validate(&self, name: &str) -> Result<()> {
        let refuse = |message: String| Err(Error::user(message).with("signal", self.signal.name()));
        if !(FEWEST_HISTORY..=MOST_HISTORY).contains(&self.history_samples) {
            return Err(Error::user(format!(
                "{name}.history_samples must lie between {FEWEST_HISTORY} and {MOST_HISTORY}"
            ))
            .with("history_samples", self.history_samples));
        }
        if !(self.minimum_change >= 0.0 && self.minimum_change.is_finite()) {
            return Err(Error::user(format!("{name}.minimum_change must be at least 0"))
                .with("minimum_change", self.minimum_change));
        }
        match self.detector.values() {
            Values::ZeroOrOne if self.signal.values() > Values::ZeroOrOne => {
                return refuse(format!("{name} as set is for values that are 0 or 1: set {name}.signal to \"error\""));
            }
            Values::ZeroToOne if self.signal.values() > Values::ZeroToOne => {
                return refuse(format!(
                    "{name} is for values between 0 and 1: set {name}.signal to \"error\" or \"margin\""
                ));
            }
            _ => {}
        }
        let (finds, wanted) = (self.detector.finds(), self.direction());
        if (wanted.includes(true) && !finds.up()) || (wanted.includes(false) && !finds.down()) {
            let how = C::HOW_TO_FIND_BOTH;
            let message = format!("{name} as set cannot find every change that direction asks for: set direction{how}");
            return Err(Error::user(message)
                .with("direction", wanted.name())
                .with("mode", finds.name())
                .with("signal", self.signal.name()));
        }
        Ok(())
    }
}
