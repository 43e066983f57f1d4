//! The two losses and their gradients in closed form.
//!
//! Both need their value on the host (for the report and the divergence guard) and have simple derivatives, so autodiff
//! starts at the maps and logits: the training step backpropagates the sum of each output times its gradient.

use crate::memory::References;
use crate::network::{total, values};
use burn::tensor::Tensor;
use lightcl_core::{ClassId, Result};

/// A value and its gradient with respect to the logits, `rows x classes`.
#[derive(Debug)]
pub(crate) struct CrossEntropy {
    pub(crate) loss: f64,
    pub(crate) gradient: Vec<f32>,
}

/// Weighted cross-entropy `sum(w * ce) / sum(w)` with the softmax over the `active` classes only; other logits get no
/// gradient. `logits` is `rows x classes`; every label must be active.
///
/// Without weight (all 0) there is nothing to learn: loss and gradient are 0. Anything non-finite gives a non-finite
/// loss.
pub(crate) fn cross_entropy(
    logits: &[f32],
    classes: usize,
    active: &[ClassId],
    labels: &[ClassId],
    weights: &[f32],
) -> CrossEntropy {
    let total_weight: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
    let mut gradient = vec![0.0; logits.len()];
    if total_weight == 0.0 {
        return CrossEntropy { loss: 0.0, gradient };
    }
    let mut loss = 0.0;
    let mut shares = vec![0.0_f64; active.len()];
    for (row, (&label, &weight)) in labels.iter().zip(weights).enumerate() {
        let scores = &logits[row * classes..(row + 1) * classes];
        let highest = active.iter().map(|&class| scores[class as usize]).fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for (share, &class) in shares.iter_mut().zip(active) {
            *share = f64::from(scores[class as usize] - highest).exp();
            sum += *share;
        }
        let own = f64::from(scores[label as usize] - highest);
        let weight = f64::from(weight) / total_weight;
        loss += weight * (sum.ln() - own);
        for (share, &class) in shares.iter().zip(active) {
            let target = if class == label { 1.0 } else { 0.0 };
            gradient[row * classes + class as usize] = (weight * (share / sum - target)) as f32;
        }
    }
    CrossEntropy { loss, gradient }
}

/// The pattern loss and its gradients.
pub(crate) struct PatternLoss {
    pub(crate) loss: f64,
    /// With respect to each map, `[memory rows, channels * spatial]`.
    pub(crate) map_gradients: Vec<Tensor<2>>,
    /// With respect to the logits, `memory rows x classes`.
    pub(crate) logit_gradient: Vec<f32>,
}

/// `beta * (sum over vital channels of (map - reference)^2 + sum over all logits of (logit - reference)^2)`, sums over
/// samples, channels and space (arXiv 2407.10545; `docs/concepts.md`). `maps` carry no graph; `logits` is
/// `memory rows x classes` with the classes of the references.
pub(crate) fn pattern_loss(
    maps: impl IntoIterator<Item = Tensor<2>>,
    logits: &[f32],
    references: &References,
    beta: f64,
) -> Result<PatternLoss> {
    let mut sum = 0.0;
    let mut map_gradients = Vec::with_capacity(references.maps.len());
    for ((map, reference), vital) in maps.into_iter().zip(&references.maps).zip(&references.vital) {
        let change = (map - reference.clone()) * vital.clone();
        sum += total(change.clone() * change.clone())?;
        map_gradients.push(change.mul_scalar((2.0 * beta) as f32));
    }
    let mut logit_gradient = Vec::with_capacity(logits.len());
    for (&logit, &reference) in logits.iter().zip(&references.logits.values) {
        let change = f64::from(logit) - f64::from(reference);
        sum += change * change;
        logit_gradient.push((2.0 * beta * change) as f32);
    }
    Ok(PatternLoss { loss: beta * sum, map_gradients, logit_gradient })
}

/// Relative drift of one layer over the memory samples: `|map - reference| / |reference|` (all channels).
pub(crate) fn drift(map: Tensor<2>, reference: &Tensor<2>) -> Result<f64> {
    let (map, reference) = (values(map)?, values(reference.clone())?);
    let (mut change, mut norm) = (0.0_f64, 0.0_f64);
    for (&now, &then) in map.iter().zip(&reference) {
        change += (f64::from(now) - f64::from(then)).powi(2);
        norm += f64::from(then).powi(2);
    }
    Ok(if change == 0.0 { 0.0 } else { (change / norm.max(f64::MIN_POSITIVE)).sqrt() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cross_entropy_is_the_weighted_mean_over_the_active_classes() {
        let logits = [1.0, 2.0, 9.0, 0.5, -0.5, 9.0];
        let result = cross_entropy(&logits, 3, &[0, 1], &[1, 0], &[3.0, 1.0]);
        let first = (1.0_f64.exp() + 2.0_f64.exp()).ln() - 2.0;
        let second = (0.5_f64.exp() + (-0.5_f64).exp()).ln() - 0.5;
        assert!((result.loss - (3.0 * first + second) / 4.0).abs() < 1e-12);
        assert_eq!((result.gradient[2], result.gradient[5]), (0.0, 0.0));
        let share = 1.0 / (1.0 + 1.0_f64.exp());
        assert!((f64::from(result.gradient[0]) - 0.75 * share).abs() < 1e-7);
        assert!((result.gradient[0] + result.gradient[1]).abs() < 1e-7);
    }

    #[test]
    fn cross_entropy_agrees_with_a_difference_quotient() {
        let logits = [0.3_f32, -1.0, 0.7, 2.0, 0.0, -0.4];
        let (active, labels, weights) = ([0, 2], [2, 0], [0.5, 2.0]);
        let at = |logits: &[f32]| cross_entropy(logits, 3, &active, &labels, &weights).loss;
        let gradient = cross_entropy(&logits, 3, &active, &labels, &weights).gradient;
        for index in 0..logits.len() {
            let (mut up, mut down) = (logits, logits);
            up[index] += 1e-2;
            down[index] -= 1e-2;
            let slope = (at(&up) - at(&down)) / 2e-2;
            assert!((slope - f64::from(gradient[index])).abs() < 1e-4, "{index}");
        }
    }

    #[test]
    fn extreme_logits_and_no_weight_stay_defined_and_nan_shows() {
        let far = cross_entropy(&[1e5, -1e5], 2, &[0, 1], &[1], &[1.0]);
        assert!((far.loss - 2e5).abs() < 1e-6);
        assert_eq!(cross_entropy(&[1.0, 2.0], 2, &[0, 1], &[1], &[0.0]).loss, 0.0);
        assert!(!cross_entropy(&[f32::NAN, 2.0], 2, &[0, 1], &[1], &[1.0]).loss.is_finite());
        assert!(!cross_entropy(&[1.0, 2.0], 2, &[0, 1], &[1], &[f32::NAN]).loss.is_finite());
    }
}
