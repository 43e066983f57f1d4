//! How probable the next value of a run is, given those it has.

use super::Spread;
use std::f64::consts::PI;

/// Weight of the prior mean, in values: how far means of runs may lie apart (a tenth of a value: about three standard
/// deviations).
const PRIOR_MEAN_WEIGHT: f64 = 0.1;
/// Shape of the prior of the variance: that of two values, so that runs may well differ in spread.
const PRIOR_SHAPE: f64 = 1.0;

/// Log-density of the next value of a run: Student's t, the predictive of a normal-inverse-gamma posterior.
pub(super) fn normal_log_density(value: f64, run: &Spread, (prior_mean, prior_variance): (f64, f64)) -> f64 {
    let count = run.mean.count as f64;
    let weight = PRIOR_MEAN_WEIGHT + count;
    let shape = PRIOR_SHAPE + count / 2.0;
    let apart = run.mean.mean - prior_mean;
    let mean = prior_mean + apart * (count / weight);
    let rate =
        PRIOR_SHAPE * prior_variance + run.squares / 2.0 + PRIOR_MEAN_WEIGHT * (count / weight) * apart * apart / 2.0;
    let scale = 2.0 * rate * (weight + 1.0) / weight;
    let distance = value - mean;
    log_gamma_step(shape) - 0.5 * (PI * scale).ln() - (shape + 0.5) * (distance * distance / scale).ln_1p()
}

/// Log-density of the next value of a run with a known variance.
pub(super) fn mean_log_density(value: f64, run: &Spread, prior_mean: f64, variance: f64) -> f64 {
    let count = run.mean.count as f64;
    let weight = PRIOR_MEAN_WEIGHT + count;
    let mean = prior_mean + (run.mean.mean - prior_mean) * (count / weight);
    let variance = variance * (1.0 + 1.0 / weight);
    let distance = value - mean;
    -0.5 * ((2.0 * PI * variance).ln() + distance * distance / variance)
}

/// ln Γ(x + 1/2) - ln Γ(x), to about 1e-10: an asymptotic series, reached from small x by Γ(x + 1) = x Γ(x).
fn log_gamma_step(x: f64) -> f64 {
    let (mut x, mut product) = (x, 1.0);
    while x < 10.0 {
        product *= x / (x + 0.5);
        x += 1.0;
    }
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    0.5 * x.ln() + product.ln() + inverse * (-1.0 / 8.0 + square * (1.0 / 192.0 - square * (1.0 / 640.0)))
}

/// Log-probability of the next value of a run of ones and zeros with a uniform prior of the rate.
pub(super) fn bernoulli_log_density(value: f64, run: &Spread) -> f64 {
    let count = run.mean.count as f64;
    let rate = (count * run.mean.mean + 1.0) / (count + 2.0);
    value * rate.ln() + (1.0 - value) * (1.0 - rate).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_gamma_steps_are_those_of_known_values() {
        // Γ(1/2) = √π, Γ(1) = 1, Γ(3/2) = √π / 2, Γ(2) = 1.
        for (x, expected) in [(0.5, -PI.ln() / 2.0), (1.0, (PI.sqrt() / 2.0).ln()), (1.5, -(PI.sqrt() / 2.0).ln())] {
            assert!((log_gamma_step(x) - expected).abs() < 1e-9, "{x}: {}", log_gamma_step(x));
        }
    }

    #[test]
    fn predictions_are_densities_that_integrate_to_one() {
        let mut run = Spread::default();
        for value in [1.0, 2.0, 4.0, 1.5, 3.0, 2.2] {
            run.update(value);
        }
        let step = 0.01;
        let total: f64 =
            (-200_000..200_000).map(|i| normal_log_density(f64::from(i) * step, &run, (2.0, 1.0)).exp() * step).sum();
        assert!((total - 1.0).abs() < 1e-4, "{total}");
        let total: f64 =
            (-2000..2000).map(|i| mean_log_density(f64::from(i) * step, &run, 2.0, 1.0).exp() * step).sum();
        assert!((total - 1.0).abs() < 1e-9, "{total}");
        let mut run = Spread::default();
        [1.0, 0.0, 0.0].iter().for_each(|&value| run.update(value));
        assert!((bernoulli_log_density(1.0, &run).exp() - 0.4).abs() < 1e-12);
        assert!((bernoulli_log_density(0.0, &run).exp() - 0.6).abs() < 1e-12);
    }
}
