//! Detector `new_classes`: labels come from classes that the task did not have.

use crate::placement::{likeliest_rise, within_bounds};
use lightcl_core::{BoundaryDetector, ClassId, Error, Observation, Result, Stateful, Verdict, state};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::iter::once;

const NAME: &str = "new_classes";
const TAG: &str = "boundary.new_classes";
const VERSION: u16 = 1;

/// The class set has settled when the next row is of a class never seen with at most a chance of one in this.
const UNSEEN_ONE_IN: u64 = 100;

/// Longest `confirm_window`.
const MOST_CONFIRM_WINDOW: usize = 10_000;

/// Settings of [`NewClassesDetector`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewClassesConfig {
    /// The classes of at least so many first samples form the task's class set.
    pub settle_samples: u64,
    /// Fires when so many of the last `confirm_window` samples are of other classes.
    pub confirm_samples: usize,
    /// See `confirm_samples`.
    pub confirm_window: usize,
}

impl Default for NewClassesConfig {
    fn default() -> Self {
        NewClassesConfig { settle_samples: 100, confirm_samples: 4, confirm_window: 16 }
    }
}

/// Fires when a run of samples is of classes outside the task's class set.
///
/// After a reset the set **settles**: every class seen belongs to it, for `settle_samples` rows and on until the chance
/// that the next row is of a class never seen is at most 1 %, estimated as the share of classes seen exactly once
/// among all rows (Good 1953, the Good-Turing estimate). So a stream of a thousand equally frequent classes settles
/// after some thousands of rows instead of firing, and a change while the set settles goes unseen.
///
/// Afterwards rows of other classes are **outside** rows. `confirm_samples` of them among the last `confirm_window`
/// rows are a boundary, placed at the first of that run: where the likeliest split of the window into two constant
/// shares of outside rows lies, so that a straggler well before the run does not draw the boundary to itself. While
/// some row in the window is outside the verdict is a warning. An outside row that leaves the window when no other is
/// left in it stayed alone: its class is a rare one of this task, and joins the set.
#[derive(Debug, Clone)]
pub struct NewClassesDetector {
    config: NewClassesConfig,
    state: ClassSet,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct ClassSet {
    first_index: Option<u64>,
    samples: u64,
    settled: bool,
    /// The set, with how often each class was seen while it settled.
    classes: BTreeMap<ClassId, u64>,
    /// Classes seen exactly once while the set settled.
    seen_once: u64,
    /// The last rows, oldest first.
    window: VecDeque<Row>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Row {
    index: u64,
    class: ClassId,
    outside: bool,
}

impl NewClassesDetector {
    /// A detector at the start of a task.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn new(config: NewClassesConfig) -> Result<Self> {
        if config.settle_samples == 0 {
            return Err(Error::user("new_classes.settle_samples must be at least 1"));
        }
        if !(1..=MOST_CONFIRM_WINDOW).contains(&config.confirm_window) {
            return Err(Error::user(format!(
                "new_classes.confirm_window must lie between 1 and {MOST_CONFIRM_WINDOW}"
            ))
            .with("confirm_window", config.confirm_window));
        }
        if !(1..=config.confirm_window).contains(&config.confirm_samples) {
            return Err(Error::user("new_classes.confirm_samples must lie between 1 and confirm_window")
                .with("confirm_samples", config.confirm_samples)
                .with("confirm_window", config.confirm_window));
        }
        Ok(NewClassesDetector { config, state: ClassSet::default() })
    }
}

impl ClassSet {
    fn settle(&mut self, class: ClassId, settle_samples: u64) {
        let count = self.classes.entry(class).or_insert(0);
        *count = count.saturating_add(1);
        match *count {
            1 => self.seen_once += 1,
            2 => self.seen_once = self.seen_once.saturating_sub(1),
            _ => {}
        }
        self.settled = self.samples >= settle_samples && self.seen_once.saturating_mul(UNSEEN_ONE_IN) <= self.samples;
    }

    fn outside_rows(&self) -> usize {
        self.window.iter().filter(|row| row.outside).count()
    }

    /// Takes the oldest row out of the window; a class that stayed alone joins the set.
    fn expire_oldest(&mut self) {
        if let Some(row) = self.window.pop_front()
            && row.outside
            && self.outside_rows() == 0
        {
            self.classes.insert(row.class, 1);
        }
    }

    /// Index of the first row of the run of outside rows that ends the window.
    fn run_start(&self) -> Option<u64> {
        // The row before the window counts as inside, so that a window full of outside rows has a split, too.
        let rise = likeliest_rise(once(false).chain(self.window.iter().map(|row| row.outside)))?;
        self.window.get(rise.split.saturating_sub(1)).map(|row| row.index)
    }

    fn has_sound_shape(&self, config: &NewClassesConfig) -> bool {
        let once = self.classes.values().filter(|&&count| count == 1).count() as u64;
        self.window.len() <= config.confirm_window
            && self.window.len() as u64 <= self.samples
            && (self.settled || (once == self.seen_once && self.outside_rows() == 0))
    }
}

impl BoundaryDetector for NewClassesDetector {
    fn name(&self) -> &str {
        NAME
    }

    fn observe(&mut self, observation: &Observation<'_>) -> Verdict {
        let (index, class) = (observation.index, observation.label);
        let set = &mut self.state;
        let first_index = *set.first_index.get_or_insert(index);
        set.samples = set.samples.saturating_add(1);
        if set.window.len() == self.config.confirm_window {
            set.expire_oldest();
        }
        let outside = set.settled && !set.classes.contains_key(&class);
        set.window.push_back(Row { index, class, outside });
        if !set.settled {
            set.settle(class, self.config.settle_samples);
            return Verdict::Stable;
        }
        let outside_rows = set.outside_rows();
        if outside_rows == 0 {
            return Verdict::Stable;
        }
        if outside_rows < self.config.confirm_samples {
            return Verdict::Warning;
        }
        let Some(start) = set.run_start() else { return Verdict::Warning };
        let at = within_bounds(start, first_index, index);
        let classes: BTreeSet<ClassId> = set.window.iter().filter(|row| row.outside).map(|row| row.class).collect();
        let shown: Vec<String> = classes.iter().take(10).map(ClassId::to_string).collect();
        let message = format!(
            "{outside_rows} of the last {} samples are of classes that the task did not have (numbers {}{})",
            set.window.len(),
            shown.join(", "),
            if classes.len() > shown.len() { ", .." } else { "" }
        );
        Verdict::boundary(at, NAME, message)
    }

    fn reset(&mut self) {
        self.state = ClassSet::default();
    }
}

impl Stateful for NewClassesDetector {
    fn save(&self) -> Result<Vec<u8>> {
        state::encode(TAG, VERSION, &self.state)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let restored: ClassSet = state::decode(TAG, VERSION, bytes)?;
        if !restored.has_sound_shape(&self.config) {
            return Err(Error::user("the saved state of a detector is damaged").with("detector", NAME));
        }
        self.state = restored;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_refused() {
        let default = NewClassesConfig::default;
        for config in [
            NewClassesConfig { settle_samples: 0, ..default() },
            NewClassesConfig { confirm_samples: 0, ..default() },
            NewClassesConfig { confirm_samples: 17, ..default() },
            NewClassesConfig { confirm_window: 0, confirm_samples: 0, ..default() },
        ] {
            assert!(NewClassesDetector::new(config).is_err());
        }
    }
}
