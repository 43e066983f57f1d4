//! Random features: the positive part of a fixed Gaussian projection.

use lightcl_core::mix;
use std::f64::consts::TAU;
use std::sync::Arc;

/// A Gaussian matrix that its seed alone decides: never trained, never stored. Entry `n` (row-major) is drawn by the
/// Box-Muller transform from the two hashes `mix(seed ^ mix(2 n))` and `mix(seed ^ mix(2 n + 1))` ([`lightcl_core::mix`]),
/// which a few lines of any language reproduce (`docs/snapshot-in-python.md`).
#[derive(Debug, Clone)]
pub(crate) struct Projection {
    /// What it is drawn from.
    pub(crate) seed: u64,
    /// Numbers of a row that it takes.
    pub(crate) inputs: usize,
    /// Features that it gives.
    pub(crate) outputs: usize,
    /// `inputs x outputs`, row-major.
    pub(crate) matrix: Arc<Vec<f32>>,
    /// One shift a feature.
    pub(crate) shifts: Arc<Vec<f32>>,
}

/// Deviation of what is projected, and of the shifts: without shifts, all features of inputs of few numbers would bend in one
/// point.
pub(crate) const SCALE: f64 = 1.5;
pub(crate) const SHIFT: f64 = 0.6;

impl Projection {
    /// The projection of a seed.
    pub(crate) fn new(seed: u64, inputs: usize, outputs: usize) -> Projection {
        let scale = SCALE / (inputs.max(1) as f64).sqrt();
        let matrix = (0..(inputs * outputs) as u64).map(|n| (normal(seed, n) * scale) as f32).collect();
        let shifts = (0..outputs as u64).map(|n| (normal(!seed, n) * SHIFT) as f32).collect();
        Projection { seed, inputs, outputs, matrix: Arc::new(matrix), shifts: Arc::new(shifts) }
    }
}

/// A standard normal number that its place decides.
pub(crate) fn normal(seed: u64, place: u64) -> f64 {
    let unit = |n: u64| (mix(seed ^ mix(n)) >> 11) as f64 / (1_u64 << 53) as f64;
    let (first, second) = (unit(place.wrapping_mul(2)), unit(place.wrapping_mul(2).wrapping_add(1)));
    // In (0, 1], so that the logarithm is finite.
    (-2.0 * (1.0 - first).ln()).sqrt() * (TAU * second).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_standard_normal() {
        let draws: Vec<f64> = (0..100_000).map(|n| normal(7, n)).collect();
        let mean = draws.iter().sum::<f64>() / 1e5;
        let variance = draws.iter().map(|x| x * x).sum::<f64>() / 1e5;
        let fourth = draws.iter().map(|x| x.powi(4)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03 && (fourth - 3.0).abs() < 0.2, "{mean} {variance}");
    }

    #[test]
    fn a_seed_gives_its_matrix_and_no_other() {
        let (one, again, other) = (Projection::new(1, 3, 4), Projection::new(1, 3, 4), Projection::new(2, 3, 4));
        assert_eq!(one.matrix, again.matrix);
        assert_ne!(one.matrix, other.matrix);
    }
}
