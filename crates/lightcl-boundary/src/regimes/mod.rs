//! Regimes: what the rows of each task look like, so that one seen before is recognised when it returns.

mod moments;

use lightcl_core::{ClassId, Error, Evidence, Result, Samples, Stateful, state};
use moments::Moments;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The name in the evidence.
const NAME: &str = "regimes";
const TAG: &str = "boundary.regimes";
const VERSION: u16 = 1;

/// A sample is sketched to at most so many numbers (count sketch), so that a task's statistics are small whatever the
/// width of a sample.
const SKETCH: usize = 32;
/// Fewer rows of classes seen twice say too little.
const LEAST_ROWS: u64 = 4;
/// The squared distance of two means, in units of what sampling alone would give, is 1 within one regime.
const MOST_DISTANCE: f64 = 4.0;
/// Most that one number adds to a distance, so that a constant that moved a little does not decide alone.
const MOST_TERM: f64 = 100.0;
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
/// Rows belong to a known task when every class that comes twice among them is one of the task's, when their means lie
/// within what sampling explains, and when they do so better than under the task that was left.
#[derive(Debug, Clone)]
pub struct Regimes {
    config: RegimesConfig,
    seed: u64,
    tasks: BTreeMap<u32, Signature>,
}

/// The statistics of each class of a task.
type Signature = BTreeMap<ClassId, Moments>;

impl Regimes {
    /// No task yet.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn new(config: RegimesConfig, seed: u64) -> Result<Self> {
        config.validate()?;
        Ok(Regimes { config, seed, tasks: BTreeMap::new() })
    }

    /// Takes in rows that are learnt under a task.
    pub fn learn(&mut self, task: u32, rows: &Samples) {
        let seed = self.seed;
        add_rows(self.tasks.entry(task).or_default(), rows, seed);
    }

    /// The known task, other than `current`, that rows after a boundary belong to; none when they are new.
    pub fn recognise(&self, current: u32, rows: &Samples) -> Option<Recognised> {
        if !self.config.recognise {
            return None;
        }
        let mut seen = Signature::new();
        add_rows(&mut seen, rows, self.seed);
        seen.retain(|_, moments| moments.rows >= 2);
        let count: u64 = seen.values().map(|moments| moments.rows).sum();
        if count < LEAST_ROWS {
            return None;
        }
        let left = self.tasks.get(&current).and_then(|signature| distance(signature, &seen));
        let fits = |signature| {
            let away = distance(signature, &seen)?;
            (away <= MOST_DISTANCE && left.is_none_or(|left| away < left)).then_some(away)
        };
        let (task, away) = self
            .tasks
            .iter()
            .filter(|&(&task, _)| task != current)
            .filter_map(|(&task, signature)| Some((task, fits(signature)?)))
            .min_by(|left, right| left.1.total_cmp(&right.1))?;
        let left = left.map_or_else(|| "of other classes".to_owned(), |left| format!("{left:.2} away"));
        let message = format!(
            "the first {count} samples fit task {task}: their means are {away:.2} sampling errors squared away (at most \
             {MOST_DISTANCE}), those of task {current} are {left}"
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
            .map(|(&task, other)| (task, unlikeness(signature, other)))
            .min_by(|left, right| left.1.total_cmp(&right.1))?;
        Some((goes, stays.0))
    }

    /// Puts one task's statistics into another's.
    pub fn merge(&mut self, goes: u32, stays: u32) {
        if let Some(signature) = self.tasks.remove(&goes) {
            let into = self.tasks.entry(stays).or_default();
            for (class, moments) in signature {
                into.entry(class).or_default().join(&moments);
            }
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.tasks.values().flat_map(BTreeMap::values).map(|moments| moments.bytes() + 4).sum()
    }
}

impl Stateful for Regimes {
    fn save(&self) -> Result<Vec<u8>> {
        state::encode(TAG, VERSION, &self.tasks)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let tasks: BTreeMap<u32, Signature> = state::decode(TAG, VERSION, bytes)?;
        if !tasks.values().flat_map(BTreeMap::values).all(Moments::is_sound) {
            return Err(Error::user("the saved signatures of tasks are damaged"));
        }
        self.tasks = tasks;
        Ok(())
    }
}

fn add_rows(signature: &mut Signature, rows: &Samples, seed: u64) {
    let width = rows.width();
    let places: Vec<(usize, f64)> = (0..width).map(|place| slot(place, width, seed)).collect();
    let mut sketch = vec![0.0; width.min(SKETCH)];
    for (row, &label) in rows.labels.iter().enumerate() {
        sketch.fill(0.0);
        for (&value, &(slot, sign)) in rows.row(row).iter().zip(&places) {
            sketch[slot] += sign * f64::from(value);
        }
        if sketch.iter().all(|value| value.abs() < 1e30) {
            signature.entry(label).or_default().add(&sketch);
        }
    }
}

/// Where a number of a sample goes in its sketch, and with which sign.
fn slot(place: usize, width: usize, seed: u64) -> (usize, f64) {
    if width <= SKETCH {
        return (place, 1.0);
    }
    // SplitMix64's finaliser (Steele, Lea and Flood 2014).
    let mut z = (seed ^ place as u64).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    ((z % SKETCH as u64) as usize, if z >> 63 == 0 { 1.0 } else { -1.0 })
}

/// How far means of rows are from a task's, in squared sampling errors, over all classes of the rows; none when the task
/// lacks one of them.
fn distance(task: &Signature, seen: &Signature) -> Option<f64> {
    let (mut sum, mut rows) = (0.0, 0.0);
    for (class, new) in seen {
        let known = task.get(class)?;
        let (n, m) = (new.rows as f64, known.rows as f64);
        let terms = new.mean.iter().zip(&known.mean).enumerate().map(|(place, (new_mean, mean))| {
            let variance = if known.rows >= 2 { known.variance(place) } else { new.variance(place) };
            term(new_mean - mean, variance * (1.0 / n + 1.0 / m))
        });
        sum += n * terms.sum::<f64>() / new.mean.len().max(1) as f64;
        rows += n;
    }
    (rows > 0.0).then(|| sum / rows)
}

fn term(difference: f64, variance: f64) -> f64 {
    let square = difference * difference;
    if square == 0.0 { 0.0 } else { (square / variance).min(MOST_TERM) }
}

/// How unlike two tasks are: the share of classes that only one of them has, and how far their means are apart.
fn unlikeness(left: &Signature, right: &Signature) -> f64 {
    let classes: BTreeSet<_> = left.keys().chain(right.keys()).collect();
    let shared = classes.iter().filter(|class| left.contains_key(class) && right.contains_key(class)).count();
    let of_all = |signature: &Signature| {
        signature.values().fold(Moments::default(), |mut all, moments| {
            all.join(moments);
            all
        })
    };
    let (left, right) = (of_all(left), of_all(right));
    let terms = left.mean.iter().zip(&right.mean).enumerate();
    let apart = terms.map(|(place, (a, b))| term(a - b, left.variance(place) + right.variance(place))).sum::<f64>()
        / left.mean.len().max(1) as f64;
    1.0 - shared as f64 / classes.len().max(1) as f64 + apart / (1.0 + apart)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(found(0, &rows(0.0, [0, 1], 24)), None, "the task that was left");
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
        assert!(regimes.bytes() < 2_000, "{}", regimes.bytes());
        let config = RegimesConfig { most_tasks: 1, ..RegimesConfig::default() };
        assert!(Regimes::new(config, 0).is_err());
    }
}
