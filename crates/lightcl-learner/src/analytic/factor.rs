//! Exact recursive least squares by a Cholesky factor.

use serde::{Deserialize, Serialize};

/// The lower triangular `L` with `L L^T = K`, column by column, and ways to update and use it.
///
/// Only additions are made to `K`, by which a Cholesky factor stays accurate; the inverse form of recursive least squares
/// does not, and winds up where forgetting meets little excitation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Factor {
    size: usize,
    /// Column `c` holds rows `c..size`.
    columns: Vec<f64>,
}

impl Factor {
    /// The factor of `diagonal * I`.
    pub(crate) fn new(size: usize, diagonal: f64) -> Factor {
        let mut factor = Factor { size, columns: vec![0.0; size * (size + 1) / 2] };
        let root = diagonal.sqrt();
        (0..size).for_each(|column| factor.column_mut(column)[0] = root);
        factor
    }

    pub(crate) fn bytes(&self) -> u64 {
        8 * self.columns.len() as u64
    }

    pub(crate) fn is_sound(&self, size: usize) -> bool {
        self.size == size
            && self.columns.len() == size * (size + 1) / 2
            && self.columns.iter().all(|value| value.is_finite())
            && (0..size).all(|column| self.columns[self.start(column)] > 0.0)
    }

    fn start(&self, column: usize) -> usize {
        column * self.size - column * column.saturating_sub(1) / 2
    }

    fn column(&self, column: usize) -> &[f64] {
        let start = self.start(column);
        &self.columns[start..start + self.size - column]
    }

    fn column_mut(&mut self, column: usize) -> &mut [f64] {
        let start = self.start(column);
        let end = start + self.size - column;
        &mut self.columns[start..end]
    }

    /// `K = decay * K + v v^T`, where `v` is 0 before `first`. `v` is used up.
    pub(crate) fn update(&mut self, decay: f64, v: &mut [f64], first: usize) {
        let root = decay.sqrt();
        if decay != 1.0 {
            let end = self.start(first);
            self.columns[..end].iter_mut().for_each(|value| *value *= root);
        }
        for index in first..self.size {
            let (head, tail) = v[index..].split_at_mut(1);
            let column = self.column_mut(index);
            let diagonal = column[0] * root;
            let hypotenuse = diagonal.hypot(head[0]);
            let (cosine, sine) = (diagonal / hypotenuse, head[0] / hypotenuse);
            column[0] = hypotenuse;
            let scaled = cosine * root;
            let rest = sine * root;
            for (value, v) in column[1..].iter_mut().zip(tail) {
                let (old, other) = (*value, *v);
                *value = scaled * old + sine * other;
                *v = cosine * other - rest * old;
            }
        }
    }

    /// `b = K^-1 b`, where `b` is 0 before `first`.
    pub(crate) fn solve(&self, b: &mut [f64], first: usize) {
        for index in first..self.size {
            let column = self.column(index);
            let (head, tail) = b[index..].split_at_mut(1);
            head[0] /= column[0];
            let value = head[0];
            tail.iter_mut().zip(&column[1..]).for_each(|(b, l)| *b -= value * l);
        }
        for index in (0..self.size).rev() {
            let column = self.column(index);
            let (head, tail) = b[index..].split_at_mut(1);
            head[0] = (head[0] - dot(&column[1..], tail)) / column[0];
        }
    }
}

/// Inner product in eight lanes, whose order is fixed.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let (a, b) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.0.iter().zip(b.0) {
        for lane in 0..8 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a.1.iter().zip(b.1).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_and_solutions_are_those_of_the_matrix() {
        const SIZE: usize = 13;
        let mut factor = Factor::new(SIZE, 2.0);
        let mut matrix = [[0.0_f64; SIZE]; SIZE];
        (0..SIZE).for_each(|i| matrix[i][i] = 2.0);
        for step in 0..40_usize {
            let first = if step % 3 == 0 { step % SIZE } else { 0 };
            let v: Vec<f64> =
                (0..SIZE).map(|i| if i < first { 0.0 } else { ((i * 5 + step * 7) % 9) as f64 / 4.0 - 1.0 }).collect();
            let decay = if step % 2 == 0 { 0.9 } else { 1.0 };
            for i in 0..SIZE {
                (0..SIZE).for_each(|j| matrix[i][j] = decay * matrix[i][j] + v[i] * v[j]);
            }
            factor.update(decay, &mut v.clone(), first);
        }
        assert!(factor.is_sound(SIZE));
        let wanted: Vec<f64> = (0..SIZE).map(|i| i as f64 - 4.0).collect();
        let mut solution: Vec<f64> =
            (0..SIZE).map(|i| (0..SIZE).map(|j| matrix[i][j] * wanted[j]).sum::<f64>()).collect();
        factor.solve(&mut solution, 0);
        solution.iter().zip(&wanted).for_each(|(a, b)| assert!((a - b).abs() < 1e-9, "{a} {b}"));
    }
}
