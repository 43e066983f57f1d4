//! Recursive least squares, exact after every row.

use super::factor::{Factor, dot};
use serde::{Deserialize, Serialize};

/// `K = sum f^age w h h^T + ridge I` as a Cholesky factor, and the weights `W = K^-1 C` of ridge regression on one-hot
/// labels.
///
/// Forgetting would let the ridge decay with the rest, and a direction that no row excites any more would wind up. So a few
/// diagonal entries are topped up at every row in turn, often enough that none loses more than half of its ridge; the weights
/// follow that exactly too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RowHead {
    features: usize,
    factor: Factor,
    /// One row of `features` numbers a class.
    weights: Vec<f64>,
    /// The diagonal entry that is topped up next.
    next: usize,
}

impl RowHead {
    pub(crate) fn new(features: usize, ridge: f64) -> RowHead {
        RowHead { features, factor: Factor::new(features, ridge), weights: Vec::new(), next: 0 }
    }

    pub(crate) fn classes(&self) -> usize {
        self.weights.len() / self.features
    }

    pub(crate) fn weights(&self, class: usize) -> &[f64] {
        &self.weights[class * self.features..(class + 1) * self.features]
    }

    pub(crate) fn grow(&mut self, classes: usize) {
        if classes > self.classes() {
            self.weights.resize(classes * self.features, 0.0);
        }
    }

    /// Score of each class, an estimate of its probability.
    pub(crate) fn score(&self, row: &[f64]) -> impl Iterator<Item = f64> {
        self.weights.chunks_exact(self.features).map(move |weights| dot(weights, row))
    }

    /// Takes a row in.
    pub(crate) fn learn(&mut self, row: &[f64], label: usize, weight: f64, forget: f64, ridge: f64) {
        self.grow(label + 1);
        let root = weight.sqrt();
        let mut v: Vec<f64> = row.iter().map(|value| value * root).collect();
        self.factor.update(forget, &mut v, 0);
        let mut topped = Vec::new();
        let (count, added) = top_up(self.features, forget, ridge);
        for _ in 0..count {
            v.fill(0.0);
            v[self.next] = added.sqrt();
            self.factor.update(1.0, &mut v, self.next);
            topped.push(self.next);
            self.next = (self.next + 1) % self.features;
        }
        let mut gain = row.to_vec();
        self.factor.solve(&mut gain, 0);
        let pulls: Vec<(usize, Vec<f64>)> = topped
            .into_iter()
            .map(|index| {
                let mut pull = vec![0.0; self.features];
                pull[index] = added;
                self.factor.solve(&mut pull, index);
                (index, pull)
            })
            .collect();
        for (class, weights) in self.weights.chunks_exact_mut(self.features).enumerate() {
            let target = if class == label { 1.0 } else { 0.0 };
            let error = weight * (target - dot(weights, row));
            let at: Vec<f64> = pulls.iter().map(|(index, _)| weights[*index]).collect();
            weights.iter_mut().zip(&gain).for_each(|(value, gain)| *value += error * gain);
            for ((_, pull), at) in pulls.iter().zip(at) {
                weights.iter_mut().zip(pull).for_each(|(value, pull)| *value -= at * pull);
            }
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.factor.bytes() + 8 * self.weights.len() as u64
    }

    pub(crate) fn is_sound(&self, features: usize) -> bool {
        self.features == features
            && self.factor.is_sound(features)
            && self.weights.len().is_multiple_of(features)
            && self.weights.iter().all(|weight| weight.is_finite())
            && self.next < features
    }
}

/// How many diagonal entries are topped up at a row, and by how much.
fn top_up(features: usize, forget: f64, ridge: f64) -> (usize, f64) {
    if forget == 1.0 {
        return (0, 0.0);
    }
    let count = (features as f64 * -forget.ln() / std::f64::consts::LN_2).ceil().clamp(1.0, features as f64);
    (count as usize, ridge * (1.0 - forget.powf(features as f64 / count)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: usize, features: usize) -> Vec<f64> {
        (0..features).map(|i| ((number * 31 + i * 17 + number * number % 7) % 23) as f64 / 8.0 - 1.4).collect()
    }

    /// The weights that the definition gives: `(sum f^age w h h^T + ridge I)^-1 C`, by a factor of its own.
    fn direct(rows: &[(Vec<f64>, usize, f64)], ridge: f64, class: usize) -> Vec<f64> {
        let mut factor = Factor::new(rows[0].0.len(), ridge);
        let mut sum = vec![0.0; rows[0].0.len()];
        for (row, label, weight) in rows {
            let mut v: Vec<f64> = row.iter().map(|value| value * weight.sqrt()).collect();
            factor.update(1.0, &mut v, 0);
            if *label == class {
                sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
            }
        }
        factor.solve(&mut sum, 0);
        sum
    }

    #[test]
    fn without_forgetting_the_weights_are_those_of_ridge_regression_after_every_row() {
        let mut head = RowHead::new(6, 0.5);
        let mut rows = Vec::new();
        for number in 0..60 {
            rows.push((row(number, 6), number % 3, 1.0 + (number % 2) as f64));
            let (features, label, weight) = &rows[number];
            head.learn(features, *label, *weight, 1.0, 0.5);
            for class in 0..head.classes() {
                let expected = direct(&rows, 0.5, class);
                head.weights(class).iter().zip(&expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-9, "{number}"));
            }
        }
    }

    #[test]
    fn with_forgetting_the_weights_solve_the_equations_of_the_factor_and_nothing_winds_up() {
        let (features, forget, ridge) = (8, 0.9, 1.0);
        let mut head = RowHead::new(features, ridge);
        let mut sums = vec![vec![0.0; features]; 2];
        // Only the first feature is excited after a while.
        for number in 0..20_000 {
            let mut h = row(number, features);
            if number > 100 {
                h[1..].fill(0.0);
            }
            let label = number % 2;
            head.learn(&h, label, 1.0, forget, ridge);
            sums.iter_mut().flatten().for_each(|sum| *sum *= forget);
            sums[label].iter_mut().zip(&h).for_each(|(sum, value)| *sum += value);
        }
        assert!(head.is_sound(features));
        for class in 0..2 {
            let mut expected = sums[class].clone();
            head.factor.solve(&mut expected, 0);
            head.weights(class).iter().zip(&expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-6, "{a} {b}"));
        }
        let mut unit = vec![0.0; features];
        unit[5] = 1.0;
        head.factor.solve(&mut unit, 0);
        assert!(unit[5] < 2.5 / ridge, "an unexcited direction keeps at least half of its ridge: {}", unit[5]);
    }
}
