//! The scale of a classifier's scores, and how well it did.

use serde::{Deserialize, Serialize};

/// The most that one row counts in a loss: nats.
const LOSS_CAP: f64 = 20.0;
/// Bounds of the temperature's logarithm.
const BOUNDS: (f64, f64) = (-3.0, 5.0);
/// A step of the temperature's logarithm.
const STEP: f64 = 0.01;
/// How fast the mean square of the gradient follows it.
const FOLLOW: f64 = 1e-3;

/// A temperature learnt online (steps scaled by the gradient's mean square) and the prequential log-loss under it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Calibration {
    logarithm: f64,
    squares: f64,
    /// Decayed sum of log-losses, and of their weights.
    loss: f64,
    rows: f64,
}

impl Calibration {
    /// Scores are multiplied by `temperature` at first.
    pub(crate) fn new(temperature: f64) -> Calibration {
        Calibration { logarithm: temperature.ln(), squares: 1.0, loss: 0.0, rows: 0.0 }
    }

    /// What scores are multiplied by before a softmax.
    pub(crate) fn temperature(&self) -> f64 {
        self.logarithm.exp()
    }

    /// Mean loss of the rows so far, the newer the more by the factor they were taken with.
    pub(crate) fn loss(&self) -> f64 {
        if self.rows > 0.0 { self.loss / self.rows } else { 0.0 }
    }

    /// Takes in what another one learnt of other rows.
    pub(crate) fn merge(&mut self, other: &Calibration) {
        let rows = self.rows + other.rows;
        if rows > 0.0 {
            let share = other.rows / rows;
            self.logarithm += share * (other.logarithm - self.logarithm);
            self.squares += share * (other.squares - self.squares);
            self.loss += other.loss;
            self.rows = rows;
        }
    }

    /// Takes in the score of a row whose class is known now.
    pub(crate) fn take(&mut self, scores: &[f32], label: usize, forget: f64) {
        let temperature = self.temperature();
        let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let Some(&own) = scores.get(label).filter(|_| highest.is_finite()) else { return };
        let (mut total, mut mean) = (0.0, 0.0);
        for &score in scores {
            let away = f64::from(score) - f64::from(highest);
            let weight = (temperature * away).exp();
            total += weight;
            mean += weight * away;
        }
        let own = f64::from(own) - f64::from(highest);
        let loss = total.ln() - temperature * own;
        self.loss = forget * self.loss + loss.min(LOSS_CAP);
        self.rows = forget * self.rows + 1.0;
        let gradient = temperature * (mean / total - own);
        if !gradient.is_finite() {
            return;
        }
        self.squares += FOLLOW * (gradient * gradient - self.squares);
        self.logarithm = (self.logarithm - STEP * gradient / (self.squares + 1e-3).sqrt()).clamp(BOUNDS.0, BOUNDS.1);
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.logarithm >= BOUNDS.0
            && self.logarithm <= BOUNDS.1
            && self.squares.is_finite()
            && self.loss.is_finite()
            && self.rows >= 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_temperature_finds_the_odds_of_the_data() {
        // The higher score is right three times in four: the temperature of scores 0 and 1 is ln 3.
        let mut calibration = Calibration::new(8.0);
        for row in 0..4000_usize {
            calibration.take(&[0.0, 1.0], usize::from(row % 4 != 0), 1.0);
        }
        assert!((calibration.temperature() - 3.0_f64.ln()).abs() < 0.15, "{}", calibration.temperature());
    }

    #[test]
    fn broken_scores_and_unknown_labels_change_nothing() {
        let mut calibration = Calibration::new(1.0);
        let before = calibration.clone();
        calibration.take(&[f32::INFINITY, 0.0], 0, 1.0);
        calibration.take(&[0.0, 1.0], 2, 1.0);
        calibration.take(&[], 0, 1.0);
        assert_eq!(calibration, before);
    }
}
