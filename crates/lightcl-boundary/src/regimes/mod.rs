//! Regimes: what the rows of each task look like, so that one seen before is recognised when it returns.

mod moments;
mod signature;

use lightcl_core::{Error, Evidence, Result, Samples, Stateful, state};
use serde::{Deserialize, Serialize};
use signature::{Distance, SKETCH, Signature, blocks};
use std::collections::BTreeMap;

/// The name in the evidence.
pub const NAME: &str = "regimes";
const TAG: &str = "boundary.regimes";
const VERSION: u16 = 2;

/// Rows are a task's when they are at most so many times as far from it as its own blocks had been, ..
const USUAL: f64 = 1.25;
/// .. and in any case when they are no further than so many times what sampling gives, where the task knows how far its
/// own blocks had been and where it does not.
const CHANCE: f64 = 0.5;
const CHANCE_WITHOUT_PAST: f64 = 3.0;
/// Rows of one window that are looked at.
const WINDOW_ROWS: usize = 64;
/// Most tasks that may be held: the accuracy matrix has the square of it.
const MOST_TASKS: usize = 1000;

/// Settings of [`Regimes`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegimesConfig {
    /// Whether tasks that return are recognised; otherwise every boundary opens a new one.
    pub recognise: bool,
    /// Most tasks held; when one more begins, the least recently used goes into the one nearest to it.
    pub most_tasks: usize,
}

impl Default for RegimesConfig {
    fn default() -> Self {
        RegimesConfig { recognise: true, most_tasks: 32 }
    }
}

impl RegimesConfig {
    /// Checks the ranges.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn validate(&self) -> Result<()> {
        if (2..=MOST_TASKS).contains(&self.most_tasks) {
            return Ok(());
        }
        Err(Error::user(format!("regimes.most_tasks must lie between 2 and {MOST_TASKS}"))
            .with("most_tasks", self.most_tasks))
    }
}

/// A known task that rows belong to.
#[derive(Debug, Clone, PartialEq)]
pub struct Recognised {
    /// Its number.
    pub task: u32,
    /// Why.
    pub evidence: Evidence,
}

/// A signature of every task that is held: its class set, and mean and variance of a sketch of the features for each class.
///
/// Rows belong to a known task when every class that comes twice among them is one of the task's, when they are about as
/// near to its class means as its own rows used to be, and nearer than to those of the task that was left.
#[derive(Debug, Clone)]
pub struct Regimes {
    config: RegimesConfig,
    seed: u64,
    tasks: BTreeMap<u32, Signature>,
}

impl Regimes {
    /// No task yet.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn new(config: RegimesConfig, seed: u64) -> Result<Self> {
        config.validate()?;
        Ok(Regimes { config, seed, tasks: BTreeMap::new() })
    }

    /// How many of the first rows of a window count.
    pub const WINDOW_ROWS: usize = WINDOW_ROWS;
    /// Samples of more numbers than this are summarised by sums of several numbers, so that the numbers' scales matter.
    pub const MOST_WIDTH: usize = SKETCH;

    /// Takes in rows that are learnt under a task: the first of a window.
    pub fn learn(&mut self, task: u32, rows: &Samples) {
        let rows = rows.slice(0, rows.len().min(WINDOW_ROWS));
        self.tasks.entry(task).or_default().learn(&rows, self.seed);
    }

    /// The known task that rows after a boundary belong to; none when they are new. It is `current` itself where nothing in
    /// the rows bears the boundary out: a second task of the same rows would be none.
    pub fn recognise(&self, current: u32, rows: &Samples) -> Option<Recognised> {
        if !self.config.recognise {
            return None;
        }
        let seen = blocks(rows, self.seed);
        let left = self.tasks.get(&current).and_then(|signature| signature.distance(&seen));
        let (task, found, most) = self
            .tasks
            .iter()
            .filter_map(|(&task, signature)| {
                let found = signature.distance(&seen)?;
                let most = most(signature, &found);
                let fits = found.away <= most && (task == current || left.is_none_or(|left| found.away < left.away));
                fits.then_some((task, found, most))
            })
            .min_by(|left, right| left.1.away.total_cmp(&right.1.away))?;
        let left = left.map_or_else(|| "of other classes".to_owned(), |left| format!("{:.3} away", left.away));
        let message = format!(
            "the first {} samples fit task {task}: their class means are {:.3} variances away (at most {most:.3}), those \
             of task {current} are {left}",
            rows.len(),
            found.away
        );
        Some(Recognised { task, evidence: Evidence::new(NAME, message) })
    }

    /// The two tasks to merge when there is no room for one more, as (goes, stays): of all but `current` the least
    /// recently used, and the one nearest to it. None with fewer than two tasks.
    pub fn merge_candidate(&self, current: u32, last_used: impl Fn(u32) -> u64) -> Option<(u32, u32)> {
        let others = self.tasks.keys().copied().filter(|&task| task != current);
        let goes = others.min_by_key(|&task| (last_used(task), task))?;
        let signature = self.tasks.get(&goes)?;
        let stays = self
            .tasks
            .iter()
            .filter(|&(&task, _)| task != goes)
            .map(|(&task, other)| (task, signature.unlikeness(other)))
            .min_by(|left, right| left.1.total_cmp(&right.1))?;
        Some((goes, stays.0))
    }

    /// Puts one task's statistics into another's.
    pub fn merge(&mut self, goes: u32, stays: u32) {
        if let Some(signature) = self.tasks.remove(&goes) {
            self.tasks.entry(stays).or_default().join(signature);
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.tasks.values().map(Signature::bytes).sum()
    }
}

/// How far rows of a task may be from it.
fn most(signature: &Signature, found: &Distance) -> f64 {
    let chance = found.sampling / (found.blocks as f64).sqrt();
    match signature.usual(found.blocks) {
        Some(usual) => (USUAL * usual).max(CHANCE * chance),
        None => CHANCE_WITHOUT_PAST * chance,
    }
}

impl Stateful for Regimes {
    fn save(&self) -> Result<Vec<u8>> {
        state::encode(TAG, VERSION, &self.tasks)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let tasks: BTreeMap<u32, Signature> = state::decode(TAG, VERSION, bytes)?;
        if !tasks.values().all(Signature::is_sound) {
            return Err(Error::user("the saved signatures of tasks are damaged"));
        }
        self.tasks = tasks;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lightcl_core::ClassId;

    /// Rows of two classes whose first feature lies around `centre`.
    fn rows(centre: f32, classes: [ClassId; 2], count: u32) -> Samples {
        let row = |i: u32| (vec![centre + (i * 7 % 11) as f32 * 0.1, (i * 3 % 5) as f32], classes[(i % 2) as usize]);
        Samples::from_rows(&[2], &(0..count).map(row).collect::<Vec<_>>())
    }

    fn three_tasks() -> Regimes {
        let mut regimes = Regimes::new(RegimesConfig::default(), 7).unwrap();
        regimes.learn(0, &rows(0.0, [0, 1], 200));
        regimes.learn(3, &rows(9.0, [0, 1], 200));
        regimes.learn(4, &rows(9.2, [2, 3], 200));
        regimes
    }

    #[test]
    fn a_regime_that_returns_is_recognised_by_classes_and_means() {
        let regimes = three_tasks();
        let found = |current, rows: &Samples| regimes.recognise(current, rows).map(|known| known.task);
        assert_eq!(found(4, &rows(0.0, [0, 1], 24)), Some(0));
        assert_eq!(found(4, &rows(9.0, [0, 1], 24)), Some(3));
        assert_eq!(found(0, &rows(9.2, [2, 3], 24)), Some(4));
        assert_eq!(found(4, &rows(5.0, [0, 1], 24)), None, "other inputs");
        assert_eq!(found(4, &rows(0.0, [0, 5], 24)), None, "a class that no task has");
        assert_eq!(found(0, &rows(0.0, [0, 1], 24)), Some(0), "nothing changed");
        assert_eq!(found(4, &rows(0.0, [0, 1], 3)), None, "too few rows");
    }

    #[test]
    fn nothing_is_recognised_when_that_is_switched_off() {
        let mut regimes = Regimes::new(RegimesConfig { recognise: false, ..RegimesConfig::default() }, 7).unwrap();
        regimes.learn(0, &rows(0.0, [0, 1], 200));
        assert_eq!(regimes.recognise(1, &rows(0.0, [0, 1], 24)), None);
    }

    #[test]
    fn the_least_recently_used_task_goes_into_the_nearest() {
        let regimes = three_tasks();
        assert_eq!(regimes.merge_candidate(4, |task| u64::from(10 - task)), Some((3, 0)), "the same classes");
        assert_eq!(regimes.merge_candidate(0, u64::from), Some((3, 0)));
        assert_eq!(Regimes::new(RegimesConfig::default(), 0).unwrap().merge_candidate(0, |_| 0), None);
    }

    #[test]
    fn a_merged_task_is_recognised_under_the_number_that_stays() {
        let mut regimes = three_tasks();
        let bytes = regimes.bytes();
        regimes.merge(4, 0);
        assert_eq!(regimes.recognise(3, &rows(9.2, [2, 3], 24)).map(|known| known.task), Some(0));
        assert_eq!(regimes.bytes(), bytes);
        regimes.merge(3, 0);
        assert!(regimes.bytes() < bytes);
    }

    #[test]
    fn the_state_comes_back_and_damage_is_refused() {
        let regimes = three_tasks();
        let bytes = regimes.save().unwrap();
        let mut other = Regimes::new(RegimesConfig::default(), 7).unwrap();
        other.restore(&bytes).unwrap();
        assert_eq!(other.save().unwrap(), bytes);
        for cut in (0..bytes.len()).step_by(41) {
            other.restore(&bytes[..cut]).unwrap_err();
            assert_eq!(other.save().unwrap(), bytes);
        }
    }

    #[test]
    fn wide_samples_are_sketched_to_a_bounded_size() {
        let mut regimes = Regimes::new(RegimesConfig::default(), 7).unwrap();
        let wide: Vec<_> = (0..40).map(|i| (vec![i as f32 * 0.1; 3000], i % 2)).collect();
        regimes.learn(0, &Samples::from_rows(&[3000], &wide));
        assert!(regimes.bytes() < 4_000, "{}", regimes.bytes());
        let config = RegimesConfig { most_tasks: 1, ..RegimesConfig::default() };
        assert!(Regimes::new(config, 0).is_err());
    }
}
