//! Closed-form classifiers from second-order statistics.

use super::Reading;
use super::statistics::Statistics;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::cholesky::llt::solve::solve_in_place;
use faer::linalg::matmul::matmul;
use faer::linalg::solvers::{PartialPivLu, Solve};
use faer::{Accum, Mat, MatRef, Par};

/// Ridges that are tried where none is given, in rows: see [`solve`].
pub(crate) const RIDGES: [f64; 3] = [1.0, 10.0, 100.0];
/// A diagonal of nothing still gets a ridge, so that no rows at all give weights of 0.
const LEAST_RIDGE: f64 = 1e-9;
/// Classes with less weight than this are gone: forgetting has emptied them.
const LEAST_WEIGHT: f64 = 1e-12;

/// A linear classifier: scores `h^T weights + biases`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Linear {
    /// `features x classes`.
    pub(crate) weights: Mat<f32>,
    pub(crate) biases: Vec<f32>,
}

impl Linear {
    /// `rows x classes`.
    pub(crate) fn score(&self, rows: MatRef<'_, f32>) -> Mat<f32> {
        let mut scores = Mat::from_fn(rows.nrows(), self.biases.len(), |_, class| self.biases[class]);
        matmul(&mut scores, Accum::Add, rows, &self.weights, 1.0, Par::Seq);
        scores
    }

    /// Weights class by class, and biases.
    pub(crate) fn save(&self) -> (Vec<f32>, Vec<f32>) {
        let classes = 0..self.weights.ncols();
        (classes.flat_map(|class| self.weights.col(class).iter().copied()).collect(), self.biases.clone())
    }

    /// What was saved, where it fits.
    pub(crate) fn restore((weights, biases): (Vec<f32>, Vec<f32>), features: usize) -> Option<Linear> {
        let sound = weights.len() == features * biases.len() && weights.iter().chain(&biases).all(|n| n.is_finite());
        sound.then(|| Linear {
            weights: MatRef::from_column_major_slice(&weights, features, biases.len()).to_owned(),
            biases,
        })
    }
}

/// `(G + ridge I)^-1 M` with the class means `M`, from which both readings follow.
pub(crate) struct Solved {
    /// `features x classes`; 0 for classes that have no weight.
    solution: Mat<f64>,
    /// `features x classes`.
    means: Mat<f64>,
    weights: Vec<f64>,
}

/// Solves with a ridge as strong as so many rows of the mean square of the features: much while rows are few, little when they
/// are many, and the same whatever the scale. None where the matrix cannot be factorised, which a ridge prevents
/// but for numbers beyond all measure.
pub(crate) fn solve(statistics: &Statistics, ridge: f64) -> Option<Solved> {
    let (m, k) = (statistics.features, statistics.classes());
    let factor = factorise(statistics, ridge)?;
    let means = Mat::from_fn(m, k, |feature, class| {
        let weight = statistics.class_weights[class];
        if weight > LEAST_WEIGHT { statistics.class_sum(class)[feature] / weight } else { 0.0 }
    });
    let mut solution = means.clone();
    let mut nothing = MemBuffer::try_new(faer::dyn_stack::StackReq::EMPTY).ok()?;
    solve_in_place(factor.as_ref(), solution.as_mut(), Par::Seq, MemStack::new(&mut nothing));
    let finite = (0..k).all(|class| solution.col(class).iter().all(|value| value.is_finite()));
    let share = statistics.share();
    let weights = statistics.class_weights.iter().map(|weight| weight * share).collect();
    finite.then(|| Solved { solution, means, weights })
}

/// A ridge of so many rows, in the units of the Gram matrix.
pub(crate) fn ridge_of(statistics: &Statistics, ridge: f64) -> f64 {
    let m = statistics.features;
    let trace: f64 = (0..m).map(|row| statistics.gram.at(row, row)).sum();
    let rows = statistics.weight().max(f64::MIN_POSITIVE);
    (ridge * trace / (m.max(1) as f64 * rows)).max(LEAST_RIDGE)
}

/// The Cholesky factor of the Gram matrix with a ridge of so many rows.
pub(crate) fn factorise(statistics: &Statistics, ridge: f64) -> Option<Mat<f64>> {
    let (m, ridge) = (statistics.features, ridge_of(statistics, ridge));
    let mut factor = statistics.gram.to_lower(m);
    for row in 0..m {
        factor[(row, row)] += ridge;
    }
    cholesky(factor)
}

/// The Cholesky factor of a matrix of which the lower triangle is given; what is above stays as it was.
pub(crate) fn cholesky(mut matrix: Mat<f64>) -> Option<Mat<f64>> {
    let scratch = cholesky_in_place_scratch::<f64>(matrix.nrows(), Par::Seq, Default::default());
    let mut memory = MemBuffer::try_new(scratch).ok()?;
    let stack = MemStack::new(&mut memory);
    cholesky_in_place(matrix.as_mut(), Default::default(), Par::Seq, stack, Default::default()).ok()?;
    Some(matrix)
}

impl Solved {
    /// The classifier of one reading. Weights are given less their mean over the classes, which changes no probability and
    /// keeps 32 bits enough.
    pub(crate) fn read(&self, reading: Reading) -> Linear {
        let (weights, biases) = match reading {
            Reading::Lda => self.discriminant().unwrap_or_else(|| self.regression()),
            Reading::Ridge | Reading::Auto => self.regression(),
        };
        let (m, k) = (weights.nrows(), weights.ncols());
        let mut linear = Linear { weights: Mat::zeros(m, k), biases: Vec::with_capacity(k) };
        let share = 1.0 / k.max(1) as f64;
        let middle = biases.iter().sum::<f64>() * share;
        linear.biases.extend(biases.iter().map(|bias| (bias - middle) as f32));
        for feature in 0..m {
            let middle = (0..k).map(|class| weights[(feature, class)]).sum::<f64>() * share;
            for class in 0..k {
                linear.weights[(feature, class)] = (weights[(feature, class)] - middle) as f32;
            }
        }
        linear
    }

    /// Ridge regression on one-hot labels: `(G + ridge I)^-1 C`.
    fn regression(&self) -> (Mat<f64>, Vec<f64>) {
        let mut weights = self.solution.clone();
        for (class, &weight) in self.weights.iter().enumerate() {
            weights.col_mut(class).iter_mut().for_each(|value| *value *= weight);
        }
        (weights, vec![0.0; self.weights.len()])
    }

    /// Linear discriminant analysis. The within-class scatter is `S = G - M N M^T`, so that by Woodbury's identity
    /// `(S + ridge I)^-1 M = B (I - N M^T B)^-1` with `B = (G + ridge I)^-1 M`: the same factorisation serves both
    /// readings. Biases are `-1/2 mean^T weights + ln(share of the class)`. None where rounding leaves no inverse.
    fn discriminant(&self) -> Option<(Mat<f64>, Vec<f64>)> {
        let k = self.weights.len();
        let total: f64 = self.weights.iter().sum();
        let mut inner = self.means.transpose() * &self.solution;
        for row in 0..k {
            for column in 0..k {
                let one = if row == column { 1.0 } else { 0.0 };
                inner[(row, column)] = one - self.weights[row] * inner[(row, column)];
            }
        }
        // X inner = B  <=>  inner^T X^T = B^T.
        let inverse = PartialPivLu::new(inner.transpose()).solve(self.solution.transpose());
        let mut weights = inverse.transpose().to_owned();
        let mut biases = Vec::with_capacity(k);
        for class in 0..k {
            weights.col_mut(class).iter_mut().for_each(|value| *value *= total);
            let column = weights.col(class);
            let square: f64 = self.means.col(class).iter().zip(column.iter()).map(|(mean, weight)| mean * weight).sum();
            let share = if self.weights[class] > LEAST_WEIGHT { self.weights[class] / total } else { 0.0 };
            biases.push(share.max(1e-9).ln() - 0.5 * square);
            if !(square.is_finite() && column.iter().all(|value| value.is_finite())) {
                return None;
            }
        }
        Some((weights, biases))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analytic::Precision;
    use lightcl_core::ClassId;

    /// Three classes of four features; the last feature is the constant.
    fn statistics() -> (Statistics, Mat<f64>, Vec<ClassId>) {
        let rows = Mat::from_fn(60, 4, |row, column| match column {
            3 => 1.0,
            _ => ((row * 13 + column * 29) % 17) as f64 / 8.0 - 1.0 + if row % 3 == column { 0.8 } else { 0.0 },
        });
        let labels: Vec<ClassId> = (0..60).map(|row| (row % 3) as ClassId).collect();
        let mut statistics = Statistics::new(Precision::Double, 4);
        statistics.accumulate(rows.as_ref(), &labels, &[1.0; 60], 1.0);
        (statistics, rows, labels)
    }

    #[test]
    fn the_ridge_reading_satisfies_its_normal_equations() {
        let (statistics, rows, labels) = statistics();
        let linear = solve(&statistics, 0.6).unwrap().read(Reading::Ridge);
        let trace: f64 = (0..4).map(|i| statistics.gram.at(i, i)).sum();
        let ridge = 0.6 * trace / (4.0 * 60.0);
        // (G + ridge) (W_a - W_b) = C_a - C_b: weights are known up to what all classes share.
        for feature in 0..4 {
            let product = |class: usize| -> f64 {
                (0..4)
                    .map(|j| {
                        let gram: f64 = (0..60).map(|row| rows[(row, feature)] * rows[(row, j)]).sum();
                        (gram + if j == feature { ridge } else { 0.0 }) * f64::from(linear.weights[(j, class)])
                    })
                    .sum()
            };
            let sum = |class: u32| -> f64 { (0..60).filter(|&r| labels[r] == class).map(|r| rows[(r, feature)]).sum() };
            assert!((product(0) - product(1) - (sum(0) - sum(1))).abs() < 1e-3, "{feature}");
        }
    }

    #[test]
    fn the_discriminant_is_that_of_the_within_class_scatter() {
        let (statistics, rows, labels) = statistics();
        let linear = solve(&statistics, 0.6).unwrap().read(Reading::Lda);
        let trace: f64 = (0..4).map(|i| statistics.gram.at(i, i)).sum();
        let ridge = 0.6 * trace / (4.0 * 60.0);
        let mean = |class: u32, j: usize| -> f64 {
            (0..60).filter(|&r| labels[r] == class).map(|r| rows[(r, j)]).sum::<f64>() / 20.0
        };
        for i in 0..4 {
            let product = |class: usize| -> f64 {
                (0..4)
                    .map(|j| {
                        let scatter: f64 = (0..60)
                            .map(|r| (rows[(r, i)] - mean(labels[r], i)) * (rows[(r, j)] - mean(labels[r], j)))
                            .sum();
                        (scatter + if i == j { ridge } else { 0.0 }) * f64::from(linear.weights[(j, class)])
                    })
                    .sum()
            };
            let expected = 60.0 * (mean(0, i) - mean(1, i));
            assert!((product(0) - product(1) - expected).abs() < 1e-2, "{i}: {} {expected}", product(0) - product(1));
        }
    }

    #[test]
    fn no_rows_identical_columns_and_huge_numbers_give_finite_weights() {
        let empty = Statistics::new(Precision::Double, 3);
        assert_eq!(solve(&empty, 1e-2).unwrap().read(Reading::Lda).weights.ncols(), 0);
        for size in [1.0, 1e30, 1e-30] {
            let mut twins = Statistics::new(Precision::Double, 3);
            let rows = Mat::from_fn(4, 3, |row, _| size * row as f64);
            twins.accumulate(rows.as_ref(), &[0, 1, 0, 1], &[1.0; 4], 1.0);
            if let Some(solved) = solve(&twins, 1e-4) {
                for reading in [Reading::Ridge, Reading::Lda] {
                    let linear = solved.read(reading);
                    assert!((0..2).all(|c| linear.weights.col(c).iter().all(|w| w.is_finite())), "{size} {reading:?}");
                }
            }
        }
    }
}
