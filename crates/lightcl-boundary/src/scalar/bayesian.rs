//! Bayesian online change-point detection: how probable is it that the current run of values began lately?

mod predictive;

use super::{Change, ScalarDetector, Spread, between_0_and_1, sound, usable, within};
use lightcl_core::{Error, Result, Stateful, state};
use predictive::{bernoulli_log_density, mean_log_density, normal_log_density};
use serde::{Deserialize, Serialize};

// The crate `changepoint` has this method too, but it brings some 90 crates along (nalgebra, ndarray, rv), keeps every
// run length (memory grows with the stream), and its state has no bounds that a restore could check.

const TAG: &str = "boundary.bayesian";
const VERSION: u16 = 1;

/// Settings of [`Bayesian`]. River has no such detector; the defaults are ours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BayesianConfig {
    /// How the values of a run are distributed.
    pub model: BayesianModel,
    /// Values in a run that are expected before anything is seen; a change is as likely at every value. Above 1.
    pub expected_run_length: f64,
    /// A change is a probability above this that a run began lately. In (0, 1).
    pub threshold: f64,
    /// The first so many values only tell where the values lie and how far they spread. At least 2.
    pub warm_start: u64,
    /// A run counts once it has so many values, so that a few outliers are no change.
    pub shortest_run: u64,
    /// A run of more values did not begin lately.
    pub longest_run: u64,
    /// Run lengths that are kept at most: the most probable ones. Time and memory are proportional to it.
    pub most_runs: usize,
    /// A value counts as at most this many standard deviations of all values from their mean; not in the model
    /// `bernoulli`. Above 0.
    pub largest_deviation: f64,
}

impl Default for BayesianConfig {
    fn default() -> Self {
        BayesianConfig {
            model: BayesianModel::Mean,
            expected_run_length: 10_000.0,
            threshold: 0.9,
            warm_start: 50,
            shortest_run: 20,
            longest_run: 200,
            most_runs: 100,
            largest_deviation: 3.0,
        }
    }
}

/// How the values of a run are distributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BayesianModel {
    /// Normally around an unknown mean, with the variance of all values so far. Only another mean is a change, and
    /// values that are not normal at all, such as losses, rarely fire.
    Mean,
    /// Normally, with unknown mean and variance (normal-inverse-gamma prior around the first values). Another variance
    /// is a change too; values that are not normal fire often.
    Normal,
    /// Ones at an unknown rate (uniform prior); other values than 0 and 1 count in part.
    Bernoulli,
}

impl BayesianConfig {
    pub(crate) fn validate(&self) -> Result<()> {
        if !(self.expected_run_length > 1.0 && self.expected_run_length.is_finite()) {
            return Err(Error::user("expected_run_length must be finite and above 1")
                .with("expected_run_length", self.expected_run_length));
        }
        between_0_and_1("threshold", self.threshold)?;
        within("warm_start", self.warm_start, 2, u64::MAX)?;
        within("shortest_run", self.shortest_run, 1, self.longest_run)
            .map_err(|error| error.with("longest_run", self.longest_run))?;
        if !(self.largest_deviation > 0.0 && self.largest_deviation.is_finite()) {
            return Err(Error::user("largest_deviation must be finite and above 0")
                .with("largest_deviation", self.largest_deviation));
        }
        within("most_runs", self.most_runs, 2, 10_000)
    }
}

/// Bayesian online change-point detection (Adams & MacKay, "Bayesian Online Changepoint Detection", 2007,
/// arXiv:0710.3742).
///
/// The distribution over the length of the current run is carried along: each value makes every run a value longer, by
/// how well the run predicted it, or ends it. The detector fires once the runs of `shortest_run` to `longest_run` values
/// that began after the first `warm_start` values hold more than `threshold` of the probability. With the
/// model `normal` it sees changes of the spread as well as of the mean; rise or fall is told by the means.
///
/// **Where this differs from the paper.** The paper keeps all run lengths and gives no rule when to fire. Here the most
/// probable `most_runs` are kept, so that memory and time are bounded, and the rule is the one above. The prior lies
/// around the first values, so the settings have no unit. And values are cut at `largest_deviation`, and the model is
/// `mean` unless asked: with the paper's model and uncut values, skewed ones such as losses fire hundreds of times as
/// often. `model = "normal"` with a large `largest_deviation` is the paper's.
///
/// ```
/// use lightcl_boundary::scalar::{Bayesian, BayesianConfig, Change, ScalarDetector};
///
/// let mut detector = Bayesian::new(BayesianConfig::default())?;
/// let value = |i: u32| f64::from(i * 7919 % 101) / 101.0 + if i < 500 { 0.0 } else { 0.6 };
/// let found = (0..1000).find(|&i| detector.update(value(i)) == Change::Rise);
/// assert!(found.is_some_and(|i| (519..530).contains(&i)));
/// # Ok::<(), lightcl_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Bayesian {
    config: BayesianConfig,
    state: Runs,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Runs {
    /// Of all values.
    spread: Spread,
    /// Mean and variance of the first values; none while they are awaited.
    prior: Option<(f64, f64)>,
    /// Longest first.
    runs: Vec<Run>,
    fired: bool,
}

/// One length that the current run may have.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Run {
    /// Logarithm of its probability.
    log_weight: f64,
    /// Of its values; their number is the length.
    spread: Spread,
}

impl Bayesian {
    /// A detector that has seen nothing.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn new(config: BayesianConfig) -> Result<Self> {
        config.validate()?;
        Ok(Bayesian { config, state: Runs::default() })
    }

    /// The value as it counts: not too far from the mean of those before it.
    fn cut(&self, value: f64) -> f64 {
        let spread = &self.state.spread;
        match self.config.model {
            BayesianModel::Bernoulli => value.clamp(0.0, 1.0),
            _ if self.state.prior.is_none() => value,
            _ => {
                let most = self.config.largest_deviation * variance(spread).sqrt();
                value.clamp(spread.mean.mean - most, spread.mean.mean + most)
            }
        }
    }

    /// The prior and the one run there is once the first values are there.
    fn begin(&mut self) {
        let spread = self.state.spread;
        self.state.prior = Some((spread.mean.mean, variance(&spread)));
        self.state.runs = vec![Run { log_weight: 0.0, spread }];
    }

    /// Carries the distribution over run lengths on by one value.
    fn carry_on(&mut self, value: f64, prior: (f64, f64)) {
        let variance = variance(&self.state.spread);
        let hazard = 1.0 / self.config.expected_run_length;
        let runs = &mut self.state.runs;
        for run in runs.iter_mut() {
            run.log_weight += match self.config.model {
                BayesianModel::Mean => mean_log_density(value, &run.spread, prior.0, variance),
                BayesianModel::Normal => normal_log_density(value, &run.spread, prior),
                BayesianModel::Bernoulli => bernoulli_log_density(value, &run.spread),
            };
            run.spread.update(value);
        }
        let log_total = log_sum(runs);
        for run in runs.iter_mut() {
            run.log_weight += (-hazard).ln_1p() - log_total;
        }
        if runs.len() >= self.config.most_runs {
            let least = (0..runs.len()).min_by(|&a, &b| runs[a].log_weight.total_cmp(&runs[b].log_weight));
            // The order stays: longest first.
            least.map(|place| runs.remove(place));
        }
        runs.push(Run { log_weight: hazard.ln(), spread: Spread::default() });
    }

    /// Probability that a run began lately, and the mean of its values.
    fn began_lately(&self) -> (f64, f64) {
        let all = self.state.spread.mean.count;
        let lengths = self.config.shortest_run..=self.config.longest_run;
        let (mut probability, mut weighted_mean) = (0.0, 0.0);
        for Run { log_weight, spread } in &self.state.runs {
            if spread.mean.count < all && lengths.contains(&spread.mean.count) {
                let weight = log_weight.exp();
                probability += weight;
                weighted_mean += weight * spread.mean.mean;
            }
        }
        (probability, if probability > 0.0 { weighted_mean / probability } else { 0.0 })
    }
}

/// The variance of some values. Of equal ones it is 0; a little of their size stands in, so that densities stay finite.
fn variance(spread: &Spread) -> f64 {
    spread.variance().max(1e-12 * spread.mean.mean.abs().max(1e-3).powi(2))
}

/// Logarithm of the sum of the weights.
fn log_sum(runs: &[Run]) -> f64 {
    let most = runs.iter().map(|run| run.log_weight).fold(f64::NEG_INFINITY, f64::max);
    most + runs.iter().map(|run| (run.log_weight - most).exp()).sum::<f64>().ln()
}

impl ScalarDetector for Bayesian {
    fn update(&mut self, value: f64) -> Change {
        let Some(value) = usable(value) else { return Change::Stable };
        if self.state.fired {
            self.reset();
        }
        let value = self.cut(value);
        self.state.spread.update(value);
        let Some(prior) = self.state.prior else {
            if self.state.spread.mean.count >= self.config.warm_start {
                self.begin();
            }
            return Change::Stable;
        };
        self.carry_on(value, prior);
        let (probability, mean) = self.began_lately();
        if probability <= self.config.threshold {
            return Change::Stable;
        }
        self.state.fired = true;
        if mean >= self.state.spread.mean.mean { Change::Rise } else { Change::Fall }
    }

    fn reset(&mut self) {
        self.state = Runs::default();
    }
}

impl Stateful for Bayesian {
    fn save(&self) -> Result<Vec<u8>> {
        state::encode(TAG, VERSION, &self.state)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let state: Runs = state::decode(TAG, VERSION, bytes)?;
        let within = |spread: &Spread| {
            spread.is_sound() && (self.config.model != BayesianModel::Bernoulli || spread.mean.is_share())
        };
        let runs = state.runs.len() <= self.config.most_runs
            && state.runs.iter().all(|run| {
                run.log_weight.is_finite()
                    && run.log_weight <= 1e-6
                    && run.spread.mean.count <= state.spread.mean.count
                    && within(&run.spread)
            });
        let prior = match state.prior {
            None => state.runs.is_empty(),
            Some((mean, variance)) => {
                !state.runs.is_empty() && usable(mean) == Some(mean) && variance.is_finite() && variance > 0.0
            }
        };
        sound(within(&state.spread) && runs && prior, TAG)?;
        self.state = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_sum_to_one_and_the_number_of_runs_is_bounded() {
        let mut detector = Bayesian::new(BayesianConfig { most_runs: 30, ..BayesianConfig::default() }).unwrap();
        for i in 0..3000_u32 {
            detector.update(f64::from(i * 7919 % 101));
            let total: f64 = detector.state.runs.iter().map(|run| run.log_weight.exp()).sum();
            assert!(i < 60 || (total - 1.0).abs() < 0.05, "{i}: {total}");
            assert!(detector.state.runs.len() <= 30);
        }
    }
}
