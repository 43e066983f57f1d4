//! Symmetric matrices as one packed triangle, and systems of equations with them.

use serde::{Deserialize, Serialize};

/// A symmetric matrix: its lower triangle, row by row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Symmetric {
    size: usize,
    triangle: Vec<f64>,
}

impl Symmetric {
    pub fn zero(size: usize) -> Self {
        Symmetric { size, triangle: vec![0.0; size * (size + 1) / 2] }
    }

    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether this is a matrix of the given size with finite entries and no negative diagonal.
    pub fn is_sound(&self, size: usize) -> bool {
        self.size == size
            && self.triangle.len() == size * (size + 1) / 2
            && self.triangle.iter().all(|entry| entry.is_finite())
            && (0..size).all(|i| self.diagonal(i) >= 0.0)
    }

    /// Adds `sum over rows of row * row'`; `rows` holds rows of `size` numbers.
    pub fn add_rows(&mut self, rows: &[f32]) {
        let size = self.size;
        let mut start = 0;
        let mut sums = vec![0.0_f32; size];
        for i in 0..size {
            let sums = &mut sums[..=i];
            sums.fill(0.0);
            // Four rows at a time: each sum is then loaded and stored once for four products.
            let fours = rows.chunks_exact(4 * size);
            for row in fours.remainder().chunks_exact(size) {
                for (sum, &value) in sums.iter_mut().zip(&row[..=i]) {
                    *sum += row[i] * value;
                }
            }
            for four in fours {
                let (first, rest) = four.split_at(size);
                let (second, rest) = rest.split_at(size);
                let (third, fourth) = rest.split_at(size);
                let values = first[..=i].iter().zip(&second[..=i]).zip(&third[..=i]).zip(&fourth[..=i]);
                for (sum, (((a, b), c), d)) in sums.iter_mut().zip(values) {
                    *sum += (first[i] * a + second[i] * b) + (third[i] * c + fourth[i] * d);
                }
            }
            for (entry, &sum) in self.triangle[start..start + i + 1].iter_mut().zip(sums.iter()) {
                *entry += f64::from(sum);
            }
            start += i + 1;
        }
    }

    pub fn scale(&mut self, factor: f64) {
        self.triangle.iter_mut().for_each(|entry| *entry *= factor);
    }

    pub fn diagonal(&self, i: usize) -> f64 {
        self.triangle[i * (i + 3) / 2]
    }

    /// Cholesky's factor of `self / divisor + ridge * identity`; None when that is not positive definite.
    pub fn factor(&self, divisor: f64, ridge: f64) -> Option<Factor> {
        let size = self.size;
        let mut rows = vec![0.0_f64; size * size];
        for i in 0..size {
            let (above, row) = rows.split_at_mut(i * size);
            let row = &mut row[..size];
            let start = i * (i + 1) / 2;
            for j in 0..=i {
                let mut value = self.triangle[start + j] / divisor;
                if j < i {
                    let other = &above[j * size..j * size + j];
                    value -= dot(&row[..j], other);
                    row[j] = value / above[j * size + j];
                } else {
                    value += ridge;
                    value -= dot(&row[..i], &row[..i]);
                    if !(value > 0.0 && value.is_finite()) {
                        return None;
                    }
                    row[i] = value.sqrt();
                }
            }
        }
        Some(Factor { size, rows })
    }
}

/// A lower triangular matrix `L`, with `L L'` the matrix that was factored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Factor {
    size: usize,
    rows: Vec<f64>,
}

impl Factor {
    /// Whether this is a factor of the given size.
    pub fn is_sound(&self, size: usize) -> bool {
        self.size == size
            && Some(self.rows.len()) == size.checked_mul(size)
            && self.rows.iter().all(|entry| entry.is_finite())
            && (0..size).all(|i| self.rows[i * size + i] > 0.0)
    }

    /// Whether it is for vectors of this length.
    pub fn is_of_size(&self, size: usize) -> bool {
        self.size == size
    }

    /// Solves `L y = x`.
    pub fn forward(&self, x: &mut [f64]) {
        for i in 0..self.size {
            let row = &self.rows[i * self.size..i * self.size + i + 1];
            x[i] = (x[i] - dot(&row[..i], &x[..i])) / row[i];
        }
    }

    /// Solves `L' y = x`.
    pub fn backward(&self, x: &mut [f64]) {
        for i in (0..self.size).rev() {
            let value = x[i] / self.rows[i * self.size + i];
            x[i] = value;
            let row = &self.rows[i * self.size..i * self.size + i];
            for (entry, factor) in x[..i].iter_mut().zip(row) {
                *entry -= value * factor;
            }
        }
    }

    /// Solves `L L' y = x`.
    pub fn solve(&self, x: &mut [f64]) {
        self.forward(x);
        self.backward(x);
    }
}

/// The sum of products, in four sums side by side: the compiler may then use vector instructions without reordering.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 4];
    let (a_blocks, b_blocks) = (a.chunks_exact(4), b.chunks_exact(4));
    let rest: f64 = a_blocks.remainder().iter().zip(b_blocks.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_blocks.zip(b_blocks) {
        for lane in 0..4 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    rest + (sums[0] + sums[1]) + (sums[2] + sums[3])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_solved_system_gives_back_its_right_side() {
        let rows: Vec<f32> = (0..40_u32).map(|i| ((i * 7919 % 101) as f32) / 50.0 - 1.0).collect();
        let mut matrix = Symmetric::zero(4);
        matrix.add_rows(&rows);
        let mut solution = vec![1.0, -2.0, 0.5, 3.0];
        matrix.factor(10.0, 0.1).unwrap().solve(&mut solution);
        let entry = |i: usize, j: usize| {
            rows.chunks(4).map(|row| f64::from(row[i]) * f64::from(row[j])).sum::<f64>() / 10.0
                + if i == j { 0.1 } else { 0.0 }
        };
        for (i, expected) in [1.0, -2.0, 0.5, 3.0].iter().enumerate() {
            let found: f64 = (0..4).map(|j| entry(i, j) * solution[j]).sum();
            assert!((found - expected).abs() < 1e-5, "{i}: {found}");
        }
        assert!((matrix.diagonal(2) - (entry(2, 2) - 0.1) * 10.0).abs() < 1e-4);
    }

    #[test]
    fn a_matrix_that_is_not_positive_definite_has_no_factor() {
        assert!(Symmetric::zero(3).factor(1.0, 0.0).is_none());
        assert!(Symmetric::zero(3).factor(1.0, f64::NAN).is_none());
        assert!(Symmetric::zero(3).factor(1.0, 1.0).is_some());
    }
}
