//! Running standardisation.

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Mean and variance of each number so far, by Welford's method (Welford 1962) in `f64`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Standardizer {
    /// Rows taken in.
    pub count: u64,
    /// Mean of each number.
    pub mean: Vec<f64>,
    /// Sum of squared deviations from the mean of each number.
    pub squares: Vec<f64>,
}

impl Standardizer {
    /// Takes in a row and standardises it by the figures that then stand, so that no row sees a later one. Only the
    /// numbers in `ranges` count.
    pub fn learn(&mut self, row: &mut [f32], ranges: &[Range<usize>]) {
        let width = ranges.iter().map(ExactSizeIterator::len).sum();
        self.mean.resize(width, 0.0);
        self.squares.resize(width, 0.0);
        self.count += 1;
        let count = self.count as f64;
        let figures = self.mean.iter_mut().zip(&mut self.squares);
        for (index, (mean, squares)) in positions(ranges).zip(figures) {
            let value = f64::from(row[index]);
            let delta = value - *mean;
            *mean += delta / count;
            *squares += delta * (value - *mean);
            row[index] = scaled(value, *mean, *squares, count);
        }
    }

    /// Standardises a row and takes nothing in. Before the first row was taken in everything is zero.
    pub fn apply(&self, row: &mut [f32], ranges: &[Range<usize>]) {
        let count = self.count as f64;
        if self.count == 0 {
            positions(ranges).for_each(|index| row[index] = 0.0);
            return;
        }
        for (index, (mean, squares)) in positions(ranges).zip(self.mean.iter().zip(&self.squares)) {
            row[index] = scaled(f64::from(row[index]), *mean, *squares, count);
        }
    }

    /// As [`Standardizer::apply`] to each row of `width` numbers, with the same bytes.
    pub fn apply_to_rows(&self, rows: &mut [f32], width: usize, ranges: &[Range<usize>]) {
        if self.count == 0 {
            rows.chunks_exact_mut(width.max(1)).for_each(|row| self.apply(row, ranges));
            return;
        }
        let figures: Vec<(usize, f64, f64)> = self.figures(ranges).collect();
        for row in rows.chunks_exact_mut(width.max(1)) {
            for &(index, mean, deviation) in &figures {
                row[index] = scaled_by(f64::from(row[index]), mean, deviation);
            }
        }
    }

    /// Undoes the standardisation of rows of `width` numbers by the figures that stand now: for rows that were standardised not
    /// long ago.
    pub fn undo_in_rows(&self, rows: &mut [f32], width: usize, ranges: &[Range<usize>]) {
        let figures: Vec<(usize, f64, f64)> = self.figures(ranges).collect();
        for row in rows.chunks_exact_mut(width.max(1)) {
            for &(index, mean, deviation) in &figures {
                let value = mean + f64::from(row[index]) * deviation;
                row[index] = value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
            }
        }
    }

    /// Place, mean and standard deviation of each number. Roots are drawn once for all rows.
    fn figures(&self, ranges: &[Range<usize>]) -> impl Iterator<Item = (usize, f64, f64)> {
        let figures = self.mean.iter().zip(self.deviations());
        positions(ranges).zip(figures).map(|(index, (mean, deviation))| (index, *mean, deviation))
    }

    /// Standard deviations.
    pub fn deviations(&self) -> Vec<f64> {
        let count = self.count.max(1) as f64;
        self.squares.iter().map(|squares| (squares / count).sqrt()).collect()
    }

    /// Whether the figures can have come from `width` numbers.
    pub fn is_sound(&self, width: Option<usize>) -> bool {
        let lengths_fit = self.mean.len() == self.squares.len()
            && if self.count == 0 { self.mean.is_empty() } else { Some(self.mean.len()) == width };
        lengths_fit
            && self.mean.iter().all(|mean| mean.is_finite())
            && self.squares.iter().all(|squares| squares.is_finite() && *squares >= 0.0)
    }
}

fn positions(ranges: &[Range<usize>]) -> impl Iterator<Item = usize> + '_ {
    ranges.iter().flat_map(Clone::clone)
}

/// Standardised numbers are cut off so many standard deviations from the mean. When a number that hardly varied begins
/// to, its first rows lie hundreds of deviations away, and a few steps on them would leave weights that no later step
/// could bring back.
const MOST_DEVIATIONS: f64 = 10.0;

fn scaled(value: f64, mean: f64, squares: f64, count: f64) -> f32 {
    scaled_by(value, mean, (squares / count).sqrt())
}

fn scaled_by(value: f64, mean: f64, deviation: f64) -> f32 {
    // A number that never varied says nothing.
    if deviation > 0.0 { ((value - mean) / deviation).clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS) as f32 } else { 0.0 }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "ranges are what is meant")]
mod tests {
    use super::*;

    #[test]
    fn figures_equal_those_of_all_rows_so_far() {
        let rows = [[3.0_f32, 7.0], [5.0, 7.0], [-4.0, 7.0], [100.0, 7.0]];
        let mut standardizer = Standardizer::default();
        for (seen, row) in rows.iter().enumerate() {
            let mut out = *row;
            standardizer.learn(&mut out, &[0..2]);
            let so_far: Vec<f64> = rows[..=seen].iter().map(|row| f64::from(row[0])).collect();
            let mean = so_far.iter().sum::<f64>() / so_far.len() as f64;
            let variance = so_far.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / so_far.len() as f64;
            let expected = if variance > 0.0 { (f64::from(row[0]) - mean) / variance.sqrt() } else { 0.0 };
            assert!((f64::from(out[0]) - expected).abs() < 1e-6, "{out:?} {expected}");
            assert_eq!(out[1], 0.0, "a number that never varies");
        }
        let mut again = rows[3];
        standardizer.apply(&mut again, &[0..2]);
        assert!((again[0] - 1.725).abs() < 0.01);
        standardizer.undo_in_rows(&mut again, 2, &[0..2]);
        assert!((again[0] - 100.0).abs() < 1e-3 && again[1] == 7.0, "{again:?}");
    }

    #[test]
    fn a_number_that_hardly_varied_and_begins_to_is_cut_off_at_ten_deviations() {
        let mut standardizer = Standardizer::default();
        for row in 0..20_000 {
            let mut numbers = [if row < 19_000 { 0.5 } else { 0.5 + (row % 3) as f32 }];
            standardizer.learn(&mut numbers, &[0..1]);
            assert!(numbers[0].abs() <= 10.0, "{row}: {numbers:?}");
        }
        let mut far = [1e30];
        standardizer.apply(&mut far, &[0..1]);
        assert_eq!(far, [10.0]);
    }

    #[test]
    fn numbers_outside_the_ranges_stay_as_they_are() {
        let mut standardizer = Standardizer::default();
        let mut row = [1.0, 9.0, 2.0];
        standardizer.learn(&mut row, &[0..1, 2..3]);
        assert_eq!(row[1], 9.0);
        assert_eq!(standardizer.mean, [1.0, 2.0]);
    }

    #[test]
    fn a_far_number_beside_tiny_variance_stays_finite() {
        let standardizer = Standardizer { count: 2, mean: vec![0.0], squares: vec![1e-80] };
        let mut row = [3e38];
        standardizer.apply(&mut row, &[0..1]);
        assert_eq!(row[0], 10.0);
    }
}
