//! KSWIN: the last values are distributed otherwise than those before.

use super::{Change, Follow, ScalarDetector, between_0_and_1, sound, usable, within};
use lightcl_core::{Error, Result, Stateful, state};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const TAG: &str = "boundary.kswin";
const VERSION: u16 = 1;

/// Longest window.
const MOST_WINDOW: usize = 10_000;

/// Distances between two distributions up to this are never a change, however many values say so: river's.
const SMALLEST_DISTANCE: f64 = 0.1;

/// Settings of [`Kswin`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KswinConfig {
    /// The chance that one test finds a change where there is none. In (0, 1). A test is made at every value, so the
    /// chance over a sequence is far higher.
    pub alpha: f64,
    /// Values in the window.
    pub window_size: usize,
    /// Newest values in it, which are compared with as many drawn from the rest. At most half of `window_size`.
    pub stat_size: usize,
    /// Seed of the draws.
    pub seed: u64,
    /// Whom to follow where river departs from the paper.
    pub follow: Follow,
}

impl Default for KswinConfig {
    fn default() -> Self {
        KswinConfig { alpha: 0.005, window_size: 100, stat_size: 30, seed: 42, follow: Follow::River }
    }
}

impl KswinConfig {
    pub(crate) fn validate(&self) -> Result<()> {
        between_0_and_1("alpha", self.alpha)?;
        within("window_size", self.window_size, 2, MOST_WINDOW)?;
        within("stat_size", self.stat_size, 1, self.window_size / 2)
            .map_err(|error| error.with("window_size", self.window_size))?;
        self.critical_distance().map(|_| ())
    }

    /// The smallest number of values by which two empirical distributions have to differ for a change.
    fn critical_distance(&self) -> Result<usize> {
        let size = self.stat_size as f64;
        let smallest = (1..=self.stat_size).find(|&apart| match self.follow {
            Follow::River => {
                apart as f64 / size > SMALLEST_DISTANCE && chance_of_distance(apart, self.stat_size) <= self.alpha
            }
            Follow::Paper => apart as f64 / size > (-self.alpha.ln() / size).sqrt(),
        });
        smallest.ok_or_else(|| {
            Error::user("alpha is so small that stat_size values can never be a change: raise either")
                .with("alpha", self.alpha)
                .with("stat_size", self.stat_size)
        })
    }
}

/// The chance that the empirical distributions of two samples of `size` values of one continuous distribution differ
/// by `apart` values or more somewhere: 2 Σ (-1)^(k+1) C(2n, n - k·apart) / C(2n, n) over k ≥ 1 (Gnedenko & Korolyuk
/// 1951).
fn chance_of_distance(apart: usize, size: usize) -> f64 {
    let (mut chance, mut ratio, mut reached) = (0.0, 1.0, 0);
    for k in 1..=size / apart {
        for step in reached..k * apart {
            ratio *= (size - step) as f64 / (size + 1 + step) as f64;
        }
        reached = k * apart;
        chance += if k % 2 == 1 { 2.0 * ratio } else { -2.0 * ratio };
    }
    chance
}

/// KSWIN, Kolmogorov-Smirnov windowing (Raab, Heusinger & Schleif, "Reactive Soft Prototype Computing for Concept Drift
/// Streams", Neurocomputing 416, 2020).
///
/// The newest `stat_size` values of a window are compared with as many drawn at random from the rest of it by the
/// two-sample Kolmogorov-Smirnov test, which sees any change of the distribution: of the spread as well as of the mean.
/// O(`window_size`) a value. Whether it was a rise or a fall is told by the means of the two samples.
///
/// It fires often where nothing changes, as river's does: a test with `alpha` is made at every value.
///
/// **Where river differs from the paper.** The paper calls it a change when the distance exceeds √(-ln(alpha)/r), an
/// approximation; river when the exact p-value is at most `alpha` and the distance above 0.1 (with the defaults a
/// distance of 14 of 30 values rather than 13). After a change the paper goes on with the newest values as the window;
/// river means to, but its next update empties the window. `follow = "paper"` does as the paper in both. River with a
/// seed also repeats the same draws after every change; here the generator goes on, so indices differ from river's
/// within what its own seeds make them differ.
///
/// ```
/// use lightcl_boundary::scalar::{Change, Kswin, KswinConfig, ScalarDetector};
///
/// let mut detector = Kswin::new(KswinConfig::default())?;
/// let value = |i: u32| f64::from(i * 7919 % 101) / 101.0 + if i < 500 { 0.0 } else { 0.6 };
/// let found = (0..1000).find(|&i| detector.update(value(i)) == Change::Rise);
/// assert!(found.is_some_and(|i| (500..530).contains(&i)));
/// # Ok::<(), lightcl_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Kswin {
    config: KswinConfig,
    critical_distance: usize,
    state: Window,
    /// Room to sort in; holds nothing between values.
    older: Vec<f64>,
    newest: Vec<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Window {
    values: VecDeque<f64>,
    /// State of the random generator; it goes on through changes.
    random: u64,
    fired: bool,
}

impl Kswin {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn new(config: KswinConfig) -> Result<Self> {
        config.validate()?;
        let critical_distance = config.critical_distance()?;
        let state = Window { values: VecDeque::new(), random: config.seed, fired: false };
        Ok(Kswin { config, critical_distance, state, older: Vec::new(), newest: Vec::new() })
    }

    /// Fills `older` with a draw from the values before the newest and `newest` with those.
    fn draw(&mut self) {
        let KswinConfig { window_size, stat_size, .. } = self.config;
        let rest = window_size - stat_size;
        self.older.clear();
        self.older.extend(self.state.values.range(..rest));
        for place in 0..stat_size {
            let other = place + below(rest - place, &mut self.state.random);
            self.older.swap(place, other);
        }
        self.older.truncate(stat_size);
        self.newest.clear();
        self.newest.extend(self.state.values.range(rest..));
    }
}

/// SplitMix64 (Steele, Lea & Flood 2014): one word of state, so it is saved with the rest.
fn next_random(random: &mut u64) -> u64 {
    *random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *random;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A number below `limit`. The bias is at most `limit` / 2^64.
fn below(limit: usize, random: &mut u64) -> usize {
    ((u128::from(next_random(random)) * limit as u128) >> 64) as usize
}

/// By how many values the empirical distributions of two sorted samples of one size differ at most.
fn distance(first: &[f64], second: &[f64]) -> usize {
    let (mut i, mut j, mut most) = (0, 0, 0);
    while i < first.len() && j < second.len() {
        let value = first[i].min(second[j]);
        while i < first.len() && first[i] <= value {
            i += 1;
        }
        while j < second.len() && second[j] <= value {
            j += 1;
        }
        most = most.max(i.abs_diff(j));
    }
    most
}

impl ScalarDetector for Kswin {
    fn update(&mut self, value: f64) -> Change {
        let Some(value) = usable(value) else { return Change::Stable };
        let KswinConfig { window_size, stat_size, follow, .. } = self.config;
        if self.state.fired {
            let keep = if follow == Follow::Paper { stat_size } else { 0 };
            self.state.values.drain(..self.state.values.len().saturating_sub(keep));
            self.state.fired = false;
        }
        self.state.values.push_back(value);
        if self.state.values.len() > window_size {
            self.state.values.pop_front();
        }
        if self.state.values.len() < window_size {
            return Change::Stable;
        }
        self.draw();
        self.older.sort_unstable_by(f64::total_cmp);
        self.newest.sort_unstable_by(f64::total_cmp);
        if distance(&self.older, &self.newest) < self.critical_distance {
            return Change::Stable;
        }
        self.state.fired = true;
        let rose = self.newest.iter().sum::<f64>() >= self.older.iter().sum::<f64>();
        if rose { Change::Rise } else { Change::Fall }
    }

    fn reset(&mut self) {
        self.state.values.clear();
        self.state.fired = false;
    }
}

impl Stateful for Kswin {
    fn save(&self) -> Result<Vec<u8>> {
        state::encode(TAG, VERSION, &self.state)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let window: Window = state::decode(TAG, VERSION, bytes)?;
        let values = window.values.len() <= self.config.window_size
            && window.values.iter().all(|&value| usable(value) == Some(value));
        sound(values, TAG)?;
        self.state = window;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_are_those_of_the_exact_test() {
        // scipy.stats.ks_2samp(method="exact") of two samples of 30 values whose distributions differ by so many.
        for (apart, chance) in
            [(12, 0.015_643_390_496_754_332), (13, 0.006_548_396_368_058_784), (14, 0.002_530_062_236_269_84)]
        {
            let found = chance_of_distance(apart, 30);
            assert!((found - chance).abs() < 1e-12, "{apart}: {found}");
        }
        assert!((chance_of_distance(1, 1) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_paper_is_content_with_a_smaller_distance_than_river() {
        let paper = KswinConfig { follow: Follow::Paper, ..KswinConfig::default() };
        assert_eq!(KswinConfig::default().critical_distance().unwrap(), 14);
        assert_eq!(paper.critical_distance().unwrap(), 13);
    }

    #[test]
    fn equal_values_count_together() {
        assert_eq!(distance(&[0.0, 0.0, 1.0], &[0.0, 1.0, 1.0]), 1);
        assert_eq!(distance(&[0.0, 0.0], &[-0.0, 0.0]), 0);
        assert_eq!(distance(&[1.0, 2.0], &[3.0, 4.0]), 2);
    }

    #[test]
    fn draws_are_without_replacement_and_reach_every_value() {
        let mut kswin =
            Kswin::new(KswinConfig { window_size: 10, stat_size: 4, alpha: 0.05, ..KswinConfig::default() }).unwrap();
        kswin.state.values = (0..10).map(f64::from).collect();
        let mut counts = [0_u32; 6];
        for _ in 0..6000 {
            kswin.draw();
            assert_eq!(kswin.newest, [6.0, 7.0, 8.0, 9.0]);
            kswin.older.sort_unstable_by(f64::total_cmp);
            assert!(kswin.older.windows(2).all(|pair| pair[0] < pair[1]));
            kswin.older.iter().for_each(|&value| counts[value as usize] += 1);
        }
        assert!(counts.iter().all(|&count| (3800..4200).contains(&count)), "{counts:?}");
    }
}
