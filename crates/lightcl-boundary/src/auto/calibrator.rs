//! What each predicted score has meant so far.

use super::row::{Row, sign};
use serde::{Deserialize, Serialize};

/// Points between -1 and 1 at which it is kept.
const POINTS: usize = 33;
/// Rows that the score itself is worth at each point: it is believed until there is evidence.
const PRIOR_ROWS: f32 = 4.0;
/// Rows in the whole table beyond which the past is forgotten.
const MOST_ROWS: f32 = 16_384.0;
/// Rows that the mean squared residual is taken over.
const LOSS_ROWS: f32 = 2000.0;
/// Scores of the plain inputs are preferred unless their squared residual is higher by more than this factor.
const WORSE: f32 = 1.01;

/// The meaning of two scores of a row: of the whole classifier, and of its plain inputs alone, which knows straight rules
/// only but far more exactly. The better one is used; where inputs are too many for plain ones, the first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Calibrators {
    whole: Calibrator,
    plain: Calibrator,
    is_plain: bool,
}

impl Calibrators {
    /// The label's sign less what the score of its row meant, and that score.
    pub fn residual(&self, scores: [f32; 2], sign: f32) -> (f32, f32) {
        let (calibrator, score) = if self.is_plain { (&self.plain, scores[1]) } else { (&self.whole, scores[0]) };
        (sign - calibrator.read(score), score)
    }

    /// Takes in rows.
    pub fn learn<'a>(&mut self, rows: impl Iterator<Item = &'a Row>, has_plain: bool) {
        for row in rows {
            self.whole.learn(row.scores[0], sign(row.slot));
            if has_plain {
                self.plain.learn(row.scores[1], sign(row.slot));
            }
        }
        self.whole.refresh();
        if has_plain {
            self.plain.refresh();
        }
        self.is_plain = has_plain && self.plain.loss <= WORSE * self.whole.loss;
    }

    /// Whether this could have come from rows.
    pub fn is_sound(&self) -> bool {
        self.whole.is_sound() && self.plain.is_sound()
    }
}

/// The mean of the labels' signs by predicted score, interpolated between points at equal distances: histogram binning
/// (Zadrozny and Elkan 2001, "Obtaining calibrated probability estimates from decision trees and naive Bayesian
/// classifiers") with linear weights.
///
/// A linear classifier's score is a poor estimate near a sharp rule, and the residual of a poor estimate varies more
/// than the labels do. What is left over after this is nearly the noise of the labels alone, in which a small change of
/// rule shows sooner.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Calibrator {
    /// Weight of the rows at each point, and their labels' signs; empty before the first row.
    weights: Vec<f32>,
    signs: Vec<f32>,
    total: f32,
    /// What a score means at each point.
    means: Vec<f32>,
    /// Mean squared residual.
    loss: f32,
}

impl Calibrator {
    /// The expected sign of the label; the score at its word before the first block.
    fn read(&self, score: f32) -> f32 {
        let (point, share) = place(score);
        match (self.means.get(point), self.means.get(point + 1)) {
            (Some(below), Some(above)) => below * (1.0 - share) + above * share,
            _ => score,
        }
    }

    fn learn(&mut self, score: f32, sign: f32) {
        self.weights.resize(POINTS, 0.0);
        self.signs.resize(POINTS, 0.0);
        self.total += 1.0;
        let residual = sign - self.read(score);
        self.loss += (residual * residual - self.loss) / self.total.clamp(64.0, LOSS_ROWS);
        let (point, share) = place(score);
        for (point, weight) in [(point, 1.0 - share), (point + 1, share)] {
            self.weights[point] += weight;
            self.signs[point] += weight * sign;
        }
    }

    /// Takes what was learnt into use.
    fn refresh(&mut self) {
        if self.total > MOST_ROWS {
            let kept = MOST_ROWS / self.total;
            self.weights.iter_mut().chain(&mut self.signs).for_each(|value| *value *= kept);
            self.total = MOST_ROWS;
        }
        self.means.clear();
        self.means.extend(self.weights.iter().zip(&self.signs).enumerate().map(|(point, (weight, signs))| {
            let score = point as f32 / (POINTS - 1) as f32 * 2.0 - 1.0;
            (signs + PRIOR_ROWS * score) / (weight + PRIOR_ROWS)
        }));
    }

    fn is_sound(&self) -> bool {
        let tables = [&self.weights, &self.signs, &self.means];
        tables.iter().all(|table| table.len() == POINTS || table.is_empty())
            && tables.iter().all(|table| table.iter().all(|value| value.is_finite()))
            && self.weights.len() == self.signs.len()
            && self.weights.iter().all(|&weight| weight >= 0.0)
            && self.total >= 0.0
            && self.total.is_finite()
            && self.loss.is_finite()
    }
}

/// The point below a score and how far it lies towards the next.
fn place(score: f32) -> (usize, f32) {
    let place = ((score + 1.0) / 2.0).clamp(0.0, 1.0) * (POINTS - 1) as f32;
    let point = (place as usize).min(POINTS - 2);
    (point, place - point as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u32, scores: [f32; 2], is_one: bool) -> Row {
        Row { index: u64::from(number), slot: usize::from(is_one), scores, ..Row::default() }
    }

    #[test]
    fn a_score_comes_to_mean_what_labels_said_at_it() {
        let mut calibrators = Calibrators::default();
        assert_eq!(calibrators.residual([0.5, 0.0], 1.0), (0.5, 0.5));
        // Scores run from -0.5 to 0.5, labels are one above -0.25 however the scores lie.
        let score = |number: u32| (number * 7919 % 1000) as f32 / 1000.0 - 0.5;
        let rows: Vec<Row> = (0..4000).map(|i| row(i, [score(i), 0.0], score(i) > -0.25)).collect();
        rows.chunks(16).for_each(|rows| calibrators.learn(rows.iter(), false));
        assert!(calibrators.residual([0.0, 0.0], 1.0).0.abs() < 0.05);
        assert!((calibrators.residual([-0.4, 0.0], 1.0).0 - 2.0).abs() < 0.05);
        assert!(calibrators.is_sound());
    }

    #[test]
    fn the_better_of_two_scores_is_used() {
        let mut calibrators = Calibrators::default();
        let score = |number: u32| (number * 7919 % 1000) as f32 / 500.0 - 1.0;
        let rows: Vec<Row> = (0..1000).map(|i| row(i, [score(i + 1), score(i)], score(i) > 0.0)).collect();
        rows.chunks(16).for_each(|rows| calibrators.learn(rows.iter(), true));
        assert!(calibrators.is_plain);
        let rows: Vec<Row> = (0..4000).map(|i| row(i, [score(i), score(i + 1)], score(i) > 0.0)).collect();
        rows.chunks(16).for_each(|rows| calibrators.learn(rows.iter(), true));
        assert!(!calibrators.is_plain);
    }
}
