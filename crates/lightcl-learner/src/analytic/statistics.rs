//! Second-order statistics of features: what the closed-form heads are solved from.

use super::Precision;
use faer::linalg::matmul::matmul;
use faer::traits::RealField;
use faer::traits::math_utils::one;
use faer::{Accum, Mat, MatRef, Par};
use lightcl_core::ClassId;
use serde::{Deserialize, Serialize};

/// Rows of the Gram matrix that are computed together.
const PANEL: usize = 64;

/// A symmetric matrix of which the lower triangle is kept, row by row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Triangle {
    Double(Vec<f64>),
    Single(Vec<f32>),
}

/// Numbers in the rows of a triangle before row `row`.
fn start(row: usize) -> usize {
    row * (row + 1) / 2
}

impl Triangle {
    pub(crate) fn new(precision: Precision, size: usize) -> Triangle {
        match precision {
            Precision::Double => Triangle::Double(vec![0.0; start(size)]),
            Precision::Single => Triangle::Single(vec![0.0; start(size)]),
        }
    }

    pub(crate) fn precision(&self) -> Precision {
        match self {
            Triangle::Double(_) => Precision::Double,
            Triangle::Single(_) => Precision::Single,
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Triangle::Double(numbers) => numbers.len(),
            Triangle::Single(numbers) => numbers.len(),
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Triangle::Double(numbers) => 8 * numbers.len() as u64,
            Triangle::Single(numbers) => 4 * numbers.len() as u64,
        }
    }

    pub(crate) fn is_finite(&self) -> bool {
        match self {
            Triangle::Double(numbers) => numbers.iter().all(|n| n.is_finite()),
            Triangle::Single(numbers) => numbers.iter().all(|n| n.is_finite()),
        }
    }

    /// `self[row][column]`, `column <= row`.
    pub(crate) fn at(&self, row: usize, column: usize) -> f64 {
        match self {
            Triangle::Double(numbers) => numbers[start(row) + column],
            Triangle::Single(numbers) => f64::from(numbers[start(row) + column]),
        }
    }

    /// `self[row][..=row] = decay * self[row][..=row] + added`.
    fn add_to_row<T: Copy + Into<f64>>(&mut self, row: usize, decay: f64, added: &[T]) {
        let range = start(row)..start(row + 1);
        // Compiled for the widest instructions there are: a pass over the whole triangle.
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || match self {
                Triangle::Double(numbers) => {
                    numbers[range].iter_mut().zip(added).for_each(|(n, &added)| *n = *n * decay + added.into());
                }
                Triangle::Single(numbers) => {
                    numbers[range]
                        .iter_mut()
                        .zip(added)
                        .for_each(|(n, &added)| *n = (f64::from(*n) * decay + added.into()) as f32);
                }
            },
        );
    }

    /// `self += other`.
    pub(crate) fn add(&mut self, other: &Triangle) {
        match (self, other) {
            (Triangle::Double(own), Triangle::Double(others)) => own.iter_mut().zip(others).for_each(|(a, b)| *a += b),
            (Triangle::Single(own), Triangle::Single(others)) => own.iter_mut().zip(others).for_each(|(a, b)| *a += b),
            (Triangle::Double(own), Triangle::Single(others)) => {
                own.iter_mut().zip(others).for_each(|(a, b)| *a += f64::from(*b));
            }
            (Triangle::Single(own), Triangle::Double(others)) => {
                own.iter_mut().zip(others).for_each(|(a, b)| *a += *b as f32);
            }
        }
    }

    /// The lower triangle as a square matrix, above it 0, for a factorisation in place.
    pub(crate) fn to_lower(&self, size: usize) -> Mat<f64> {
        let mut square = Mat::<f64>::zeros(size, size);
        for column in 0..size {
            let mut cells = square.col_mut(column);
            for row in column..size {
                cells[row] = self.at(row, column);
            }
        }
        square
    }
}

/// Sums over rows: `G = sum w h h^T`, `c_y = sum w h` of the rows of class `y`, and `n_y = sum w`; with a forgetting factor
/// `f` every sum is multiplied by `f` before a row is added. Accumulated in 64 bits a window at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Statistics {
    pub(crate) features: usize,
    pub(crate) gram: Triangle,
    /// One row of `features` numbers a class.
    pub(crate) class_sums: Vec<f64>,
    /// Weight of each class's rows.
    pub(crate) class_weights: Vec<f64>,
    /// Weight of all rows that the Gram matrix has: more than the classes' where columns were put aside.
    total: f64,
}

/// The sums of classes alone: what a relation of labels to inputs is, beside a Gram matrix that others share.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Columns {
    class_sums: Vec<f64>,
    class_weights: Vec<f64>,
}

impl Columns {
    pub(crate) fn bytes(&self) -> u64 {
        8 * (self.class_sums.len() + self.class_weights.len()) as u64
    }

    pub(crate) fn is_sound(&self, features: usize, most_classes: usize) -> bool {
        self.class_weights.len() <= most_classes
            && self.class_sums.len() == self.class_weights.len() * features
            && self.class_sums.iter().chain(&self.class_weights).all(|number| number.is_finite())
    }

    /// Adds another's sums.
    pub(crate) fn add(&mut self, other: &Columns) {
        let longest = |own: &mut Vec<f64>, others: &[f64]| own.resize(own.len().max(others.len()), 0.0);
        longest(&mut self.class_sums, &other.class_sums);
        longest(&mut self.class_weights, &other.class_weights);
        self.class_sums.iter_mut().zip(&other.class_sums).for_each(|(own, others)| *own += others);
        self.class_weights.iter_mut().zip(&other.class_weights).for_each(|(own, others)| *own += others);
    }
}

impl Statistics {
    pub(crate) fn new(precision: Precision, features: usize) -> Statistics {
        let gram = Triangle::new(precision, features);
        Statistics { features, gram, class_sums: Vec::new(), class_weights: Vec::new(), total: 0.0 }
    }

    /// Puts other columns in the place of its own, which it gives.
    pub(crate) fn exchange(&mut self, columns: Columns) -> Columns {
        let class_sums = std::mem::replace(&mut self.class_sums, columns.class_sums);
        Columns { class_sums, class_weights: std::mem::replace(&mut self.class_weights, columns.class_weights) }
    }

    /// What the columns must be multiplied by to be those of as many rows as the Gram matrix has.
    pub(crate) fn share(&self) -> f64 {
        let own: f64 = self.class_weights.iter().sum();
        if own > 0.0 { self.total / own } else { 1.0 }
    }

    /// Mean and variance of each feature.
    pub(crate) fn moments(&self) -> Vec<(f64, f64)> {
        let total = self.total.max(f64::MIN_POSITIVE);
        (0..self.features)
            .map(|feature| {
                let sum: f64 = (0..self.classes()).map(|class| self.class_sum(class)[feature]).sum();
                let mean = sum / total;
                (mean, (self.gram.at(feature, feature) / total - mean * mean).max(0.0))
            })
            .collect()
    }

    pub(crate) fn classes(&self) -> usize {
        self.class_weights.len()
    }

    /// Weight of all rows.
    pub(crate) fn weight(&self) -> f64 {
        self.total
    }

    pub(crate) fn class_sum(&self, class: usize) -> &[f64] {
        &self.class_sums[class * self.features..(class + 1) * self.features]
    }

    pub(crate) fn grow(&mut self, classes: usize) {
        if classes > self.classes() {
            self.class_weights.resize(classes, 0.0);
            self.class_sums.resize(classes * self.features, 0.0);
        }
    }

    /// Takes rows in, in order: `rows x features`.
    pub(crate) fn accumulate(&mut self, rows: MatRef<'_, f64>, labels: &[ClassId], weights: &[f32], forget: f64) {
        let decay = forget.powi(i32::try_from(rows.nrows()).unwrap_or(i32::MAX));
        self.total *= decay;
        self.class_weights.iter_mut().for_each(|weight| *weight *= decay);
        self.class_sums.iter_mut().for_each(|sum| *sum *= decay);
        let shares = shares(weights, forget);
        self.add(rows, labels, &shares, decay, 0);
        let highest = labels.iter().max().map_or(0, |&label| label as usize + 1);
        self.grow(highest);
        for (&label, &share) in labels.iter().zip(&shares) {
            self.class_weights[label as usize] += share;
            self.total += share;
        }
    }

    /// Adds the features from `first` on of the last rows, which are in the sums already with 0 in their place.
    pub(crate) fn complete(
        &mut self,
        rows: MatRef<'_, f64>,
        labels: &[ClassId],
        weights: &[f32],
        forget: f64,
        first: usize,
    ) {
        self.add(rows, labels, &shares(weights, forget), 1.0, first);
    }

    fn add(&mut self, rows: MatRef<'_, f64>, labels: &[ClassId], shares: &[f64], decay: f64, first: usize) {
        let (count, features) = (rows.nrows(), self.features);
        let scaled;
        let scaled = if shares.iter().all(|&share| share == 1.0) {
            rows
        } else {
            scaled = Mat::from_fn(count, features, |row, feature| rows[(row, feature)] * shares[row]);
            scaled.as_ref()
        };
        match self.gram {
            Triangle::Double(_) => self.add_products(rows, scaled, decay, first),
            // What is kept in 32 bits is multiplied in 32 bits, twice as fast.
            Triangle::Single(_) => {
                let narrow =
                    |wide: MatRef<'_, f64>| Mat::from_fn(count, features, |row, column| wide[(row, column)] as f32);
                self.add_products(narrow(rows).as_ref(), narrow(scaled).as_ref(), decay, first);
            }
        }
        let highest = labels.iter().max().map_or(0, |&label| label as usize + 1);
        self.grow(highest);
        for feature in first..features {
            let cells = scaled.col(feature);
            for (row, &label) in labels.iter().enumerate().take(count) {
                self.class_sums[label as usize * features + feature] += cells[row];
            }
        }
    }

    /// `G = decay G + rows^T scaled`, a panel of rows of the triangle at a time.
    fn add_products<T: RealField + Copy + Into<f64>>(
        &mut self,
        rows: MatRef<'_, T>,
        scaled: MatRef<'_, T>,
        decay: f64,
        first: usize,
    ) {
        let features = self.features;
        let mut product = Mat::<T>::zeros(features, PANEL);
        let mut from = first;
        while from < features {
            let to = (from + PANEL).min(features);
            // Column `i` of the product is row `from + i` of the triangle.
            let mut panel = product.as_mut().submatrix_mut(0, 0, to, to - from);
            let left = rows.subcols(0, to).transpose();
            matmul(&mut panel, Accum::Replace, left, scaled.subcols(from, to - from), one::<T>(), Par::Seq);
            for row in from..to {
                let cells = panel.as_ref().col(row - from);
                match cells.try_as_col_major() {
                    Some(cells) => self.gram.add_to_row(row, decay, cells.as_slice()),
                    None => self.gram.add_to_row(row, decay, &cells.iter().copied().collect::<Vec<_>>()),
                }
            }
            from = to;
        }
    }

    /// Adds the sums of other rows: those of two runs over disjoint rows are those of one run over both. `classes` are our
    /// numbers of the other's classes.
    pub(crate) fn merge(&mut self, other: &Statistics, classes: &[ClassId]) {
        self.gram.add(&other.gram);
        self.total += other.total;
        for (theirs, &ours) in classes.iter().enumerate().take(other.classes()) {
            let ours = ours as usize;
            self.grow(ours + 1);
            self.class_weights[ours] += other.class_weights[theirs];
            let sums = &mut self.class_sums[ours * self.features..(ours + 1) * self.features];
            sums.iter_mut().zip(other.class_sum(theirs)).for_each(|(own, others)| *own += others);
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.gram.bytes() + 8 * (self.class_sums.len() + self.class_weights.len()) as u64
    }

    /// Whether the sums fit each other and can be those of some rows.
    pub(crate) fn is_sound(&self, features: usize) -> bool {
        self.features == features
            && self.gram.len() == start(features)
            && self.class_sums.len() == self.classes() * features
            && self.gram.is_finite()
            && self.class_sums.iter().all(|sum| sum.is_finite())
            && self.class_weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0)
            && self.total.is_finite()
            && self.total >= 0.0
    }
}

/// What each of some rows counts when the last of them has been taken in.
fn shares(weights: &[f32], forget: f64) -> Vec<f64> {
    let mut shares: Vec<f64> = weights.iter().map(|&weight| f64::from(weight)).collect();
    let mut decay = 1.0;
    for share in shares.iter_mut().rev() {
        *share *= decay;
        decay *= forget;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: usize, features: usize) -> Mat<f64> {
        Mat::from_fn(count, features, |row, column| ((row * 7 + column * 3) % 11) as f64 / 5.0 - 1.0)
    }

    #[test]
    fn sums_are_those_of_the_definition_however_rows_are_cut_into_windows() {
        let (all, labels) = (rows(50, 70), (0..50).map(|row| row % 3).collect::<Vec<ClassId>>());
        let weights: Vec<f32> = (0..50).map(|row| 0.5 + (row % 4) as f32).collect();
        let forget = 0.97;
        let mut cut = Statistics::new(Precision::Double, 70);
        for window in [0..1, 1..20, 20..50] {
            let part = all.as_ref().subrows(window.start, window.len());
            cut.accumulate(part, &labels[window.clone()], &weights[window], forget);
        }
        for (row, column) in [(0, 0), (3, 1), (69, 69), (65, 2)] {
            let expected: f64 = (0..50)
                .map(|i| forget.powi(49 - i as i32) * f64::from(weights[i]) * all[(i, row)] * all[(i, column)])
                .sum();
            assert!((cut.gram.at(row, column) - expected).abs() < 1e-12, "{row} {column}");
        }
        let expected: f64 = (0..50)
            .filter(|i| i % 3 == 1)
            .map(|i| forget.powi(49 - i as i32) * f64::from(weights[i]) * all[(i, 5)])
            .sum();
        assert!((cut.class_sum(1)[5] - expected).abs() < 1e-12);
        assert!(cut.is_sound(70));
    }

    #[test]
    fn features_that_come_late_complete_the_sums() {
        let (all, labels) = (rows(20, 9), vec![0; 20]);
        let weights = vec![1.0; 20];
        let mut late = all.clone();
        late.as_mut().subcols_mut(4, 5).fill(0.0);
        let (mut whole, mut completed) = (Statistics::new(Precision::Double, 9), Statistics::new(Precision::Double, 9));
        whole.accumulate(all.as_ref(), &labels, &weights, 0.99);
        completed.accumulate(late.as_ref(), &labels, &weights, 0.99);
        completed.complete(all.as_ref(), &labels, &weights, 0.99, 4);
        for row in 0..9 {
            for column in 0..=row {
                assert!((whole.gram.at(row, column) - completed.gram.at(row, column)).abs() < 1e-12, "{row} {column}");
            }
        }
        whole.class_sums.iter().zip(&completed.class_sums).for_each(|(a, b)| assert!((a - b).abs() < 1e-12));
    }

    #[test]
    fn the_sums_of_two_halves_are_those_of_the_whole() {
        let (all, labels) = (rows(30, 5), (0..30).map(|row| row / 15).collect::<Vec<ClassId>>());
        let run = |range: std::ops::Range<usize>| {
            let mut statistics = Statistics::new(Precision::Double, 5);
            let part = all.as_ref().subrows(range.start, range.len());
            statistics.accumulate(part, &labels[range.clone()], &vec![1.0; range.len()], 1.0);
            statistics
        };
        let (mut first, second, whole) = (run(0..15), run(15..30), run(0..30));
        first.merge(&second, &[0, 1]);
        assert_eq!(first.class_weights, whole.class_weights);
        first.class_sums.iter().zip(&whole.class_sums).for_each(|(a, b)| assert!((a - b).abs() < 1e-12));
    }
}
