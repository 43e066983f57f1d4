//! Exact least squares after every row, at the price of one factorisation a block of rows.

use super::solve::factorise;
use super::statistics::Statistics;
use faer::linalg::triangular_solve::solve_lower_triangular_in_place;
use faer::{Mat, Par};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What ridge regression would say if the rows of the current block were in the statistics already.
///
/// At the start of a block `K = G + ridge I = L L^T` is factorised and `U = L^-1 C` solved for. A row `h` of the block gives
/// `v = L^-1 h`; seen as a Gaussian process, rows of the block covary by `S_ij = v_i v_j`, plus `f^(i + 1) / w_i` on the
/// diagonal, and the scores after the rows before are those of their innovations: with the growing Cholesky factor `L2` of `S`,
/// `o_t = v_t U + sum_(j < t) L2_tj e_j` and `e_t = (y_t - o_t) / L2_tt`. With forgetting factor 1 that is exactly ridge
/// regression on all rows so far; with another one the ridge decays within a block and is whole again at the next. Nothing is
/// ever subtracted from `K`, and its ridge stays: nothing winds up where little is excited.
#[derive(Debug, Clone, Default)]
pub(crate) struct Block {
    solved: Option<Arc<Solved>>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Solved {
    features: usize,
    /// `L` column by column, each from its diagonal down.
    columns: Vec<f64>,
    /// One row of `features` numbers a class: `L^-1 c`.
    classes: Vec<Vec<f64>>,
}

/// One row of a block as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// `L^-1 h`.
    v: Vec<f64>,
    /// Its row of `L2`.
    factor: Vec<f64>,
    /// Its innovation for each class.
    innovation: Vec<f64>,
}

/// A row that was scored and whose label may follow.
pub(crate) struct Scored {
    v: Vec<f64>,
    factor: Vec<f64>,
    pub(crate) scores: Vec<f64>,
}

impl Block {
    /// Forgets the rows, which are in the statistics now, and factorises those.
    pub(crate) fn renew(&mut self, statistics: &Statistics, ridge: f64) {
        self.rows.clear();
        let features = statistics.features;
        // What cannot be factorised keeps the solution it had.
        let Some(factor) = factorise(statistics, ridge) else { return };
        let share = statistics.share();
        let mut solution =
            Mat::from_fn(features, statistics.classes(), |feature, class| share * statistics.class_sum(class)[feature]);
        solve_lower_triangular_in_place(factor.as_ref(), solution.as_mut(), Par::Seq);
        let mut columns = Vec::with_capacity(features * (features + 1) / 2);
        for column in 0..features {
            columns.extend(factor.col(column).iter().skip(column));
        }
        let classes = (0..statistics.classes()).map(|class| solution.col(class).iter().copied().collect()).collect();
        self.solved = Some(Arc::new(Solved { features, columns, classes }));
    }

    /// Scores of a row given the statistics and the rows of the block; none before the first statistics.
    pub(crate) fn score(&self, row: &[f64]) -> Option<Scored> {
        let solved = self.solved.as_ref()?;
        Some(pulp::Arch::new().dispatch(|| self.score_by(solved, row)))
    }

    /// Inlined into what is compiled for each instruction set.
    #[inline(always)]
    fn score_by(&self, solved: &Solved, row: &[f64]) -> Scored {
        let mut v = row.to_vec();
        let mut column = solved.columns.as_slice();
        for index in 0..v.len() {
            let (now, later) = column.split_at(v.len() - index);
            let (head, tail) = v[index..].split_at_mut(1);
            head[0] /= now[0];
            let value = head[0];
            tail.iter_mut().zip(&now[1..]).for_each(|(v, l)| *v -= value * l);
            column = later;
        }
        let last = self.rows.last().map_or(0, |row| row.innovation.len());
        let mut scores: Vec<f64> = solved.classes.iter().map(|class| dot(&v, class)).collect();
        scores.resize(scores.len().max(last), 0.0);
        let mut factor: Vec<f64> = Vec::with_capacity(self.rows.len() + 1);
        for row in &self.rows {
            let place = factor.len();
            let covariance = dot(&v, &row.v) - dot(&factor, &row.factor[..place]);
            let value = covariance / row.factor[place];
            factor.push(value);
            scores.iter_mut().zip(&row.innovation).for_each(|(score, innovation)| *score += value * innovation);
        }
        Scored { v, factor, scores }
    }

    /// Takes a scored row in with its label.
    pub(crate) fn push(&mut self, scored: Scored, label: usize, weight: f64, forget: f64) {
        if weight <= 0.0 {
            return;
        }
        let Scored { v, mut factor, mut scores } = scored;
        let exponent = i32::try_from(self.rows.len() + 1).unwrap_or(i32::MAX);
        let noise = forget.powi(exponent) / weight;
        let spread = dot(&v, &v) + noise - dot(&factor, &factor);
        // Below the noise only by rounding.
        let root = spread.max(noise * 1e-3).sqrt();
        factor.push(root);
        scores.resize(scores.len().max(label + 1), 0.0);
        for (class, score) in scores.iter_mut().enumerate() {
            let target = if class == label { 1.0 } else { 0.0 };
            *score = (target - *score) / root;
        }
        self.rows.push(Row { v, factor, innovation: scores });
    }

    /// Whether it was ever renewed.
    pub(crate) fn is_solved(&self) -> bool {
        self.solved.is_some()
    }

    /// Rows of the block so far.
    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Puts saved rows back after [`Block::renew`].
    pub(crate) fn restore(&mut self, rows: Vec<Row>, features: usize, most_classes: usize) -> bool {
        let sound = rows.iter().enumerate().all(|(place, row)| {
            let finite = |numbers: &[f64]| numbers.iter().all(|number| number.is_finite());
            row.v.len() == features
                && row.factor.len() == place + 1
                && row.factor[place] > 0.0
                && row.innovation.len() <= most_classes
                && finite(&row.v)
                && finite(&row.factor)
                && finite(&row.innovation)
        });
        self.rows = rows;
        sound && (self.rows.is_empty() || self.solved.is_some())
    }

    /// Bytes held beside the statistics.
    pub(crate) fn bytes(&self) -> u64 {
        let rows: usize = self.rows.iter().map(|row| row.v.len() + row.factor.len() + row.innovation.len()).sum();
        let solved = self
            .solved
            .as_ref()
            .map_or(0, |solved| solved.columns.len() + solved.classes.iter().map(Vec::len).sum::<usize>());
        8 * (rows + solved) as u64
    }

    /// The weights that statistics and rows of the block give, `L^-T (u + V^T L2^-T e)`, class by class.
    pub(crate) fn weights(&self) -> Option<Vec<Vec<f64>>> {
        let solved = self.solved.as_ref()?;
        let classes = self.rows.iter().map(|row| row.innovation.len()).chain([solved.classes.len()]).max()?;
        let back = |class: usize| {
            let mut weights = solved.classes.get(class).cloned().unwrap_or_else(|| vec![0.0; solved.features]);
            let mut shares: Vec<f64> =
                self.rows.iter().map(|row| row.innovation.get(class).copied().unwrap_or(0.0)).collect();
            for (place, row) in self.rows.iter().enumerate().rev() {
                shares[place] /= row.factor[place];
                let share = shares[place];
                shares.iter_mut().zip(&row.factor[..place]).for_each(|(earlier, factor)| *earlier -= share * factor);
                weights.iter_mut().zip(&row.v).for_each(|(weight, v)| *weight += share * v);
            }
            let mut columns = solved.columns.as_slice();
            for index in (0..weights.len()).rev() {
                let (before, column) = columns.split_at(columns.len() - (weights.len() - index));
                columns = before;
                let (head, tail) = weights[index..].split_at_mut(1);
                head[0] = (head[0] - dot(&column[1..], tail)) / column[0];
            }
            weights
        };
        Some((0..classes).map(back).collect())
    }
}

/// Inner product in eight lanes, whose order is fixed.
#[inline(always)]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analytic::Precision;

    const FEATURES: usize = 6;

    fn row(number: usize) -> Vec<f64> {
        (0..FEATURES).map(|i| ((number * 31 + i * 17 + number * number % 7) % 23) as f64 / 8.0 - 1.4).collect()
    }

    fn take(statistics: &mut Statistics, numbers: std::ops::Range<usize>, forget: f64) {
        let rows = Mat::from_fn(numbers.len(), FEATURES, |r, c| row(numbers.start + r)[c]);
        let labels: Vec<u32> = numbers.clone().map(|number| number as u32 % 3).collect();
        let weights: Vec<f32> = numbers.map(|number| 1.0 + (number % 2) as f32).collect();
        statistics.accumulate(rows.as_ref(), &labels, &weights, forget);
    }

    #[test]
    fn scores_within_a_block_are_those_of_a_solution_with_all_rows_before() {
        let (mut statistics, mut block) = (Statistics::new(Precision::Double, FEATURES), Block::default());
        take(&mut statistics, 0..20, 1.0);
        block.renew(&statistics, 0.5);
        // A ridge is in units of the mean square, which moves with the rows: compare with the one of the block.
        let ridge = super::super::solve::ridge_of(&statistics, 0.5);
        for number in 20..36 {
            let scored = block.score(&row(number)).unwrap();
            let mut all = Statistics::new(Precision::Double, FEATURES);
            take(&mut all, 0..number, 1.0);
            let mut direct = Block::default();
            direct.renew(&all, 0.5 * ridge / super::super::solve::ridge_of(&all, 0.5));
            let expected = direct.score(&row(number)).unwrap().scores;
            scored.scores.iter().zip(&expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-9, "{number}: {a} {b}"));
            block.push(scored, number % 3, 1.0 + (number % 2) as f64, 1.0);
        }
    }

    #[test]
    fn weights_give_the_scores_that_the_rows_of_a_block_lead_to() {
        let (mut statistics, mut block) = (Statistics::new(Precision::Double, FEATURES), Block::default());
        take(&mut statistics, 0..20, 0.98);
        block.renew(&statistics, 0.5);
        for number in 20..31 {
            let scored = block.score(&row(number)).unwrap();
            // A class that the statistics do not know among them.
            block.push(scored, number % 4, 1.0 + (number % 2) as f64, 0.98);
        }
        let (weights, scored) = (block.weights().unwrap(), block.score(&row(77)).unwrap().scores);
        assert_eq!(weights.len(), 4);
        for (class, weights) in weights.iter().enumerate() {
            assert!((dot(weights, &row(77)) - scored[class]).abs() < 1e-9, "{class}");
        }
    }

    #[test]
    fn a_class_met_in_a_block_is_known_to_its_next_row() {
        let (mut statistics, mut block) = (Statistics::new(Precision::Double, FEATURES), Block::default());
        take(&mut statistics, 0..20, 0.9);
        block.renew(&statistics, 1e-3);
        let scored = block.score(&row(50)).unwrap();
        block.push(scored, 4, 1.0, 0.9);
        let scores = block.score(&row(50)).unwrap().scores;
        assert_eq!(scores.len(), 5);
        assert!(scores[4] > 0.25 && scores[3] == 0.0, "{scores:?}");
    }

    #[test]
    fn nothing_winds_up_where_a_stream_excites_one_feature_alone() {
        let mut statistics = Statistics::new(Precision::Double, FEATURES);
        take(&mut statistics, 0..20, 0.9);
        for _ in 0..1000 {
            let rows = Mat::from_fn(20, FEATURES, |_, column| if column == 0 { 1.0 } else { 0.0 });
            statistics.accumulate(rows.as_ref(), &[0; 20], &[1.0; 20], 0.9);
        }
        let mut block = Block::default();
        block.renew(&statistics, 1.0);
        let scores = block.score(&[1.0, 100.0, -100.0, 100.0, 0.0, 0.0]).unwrap().scores;
        assert!(scores.iter().all(|score| score.abs() < 2.0), "{scores:?}");
    }
}
