//! Running means and variances of a vector.

use serde::{Deserialize, Serialize};

/// From so many rows on old ones are forgotten: the statistics follow slow drift, as those of about so many last rows.
const HORIZON: u64 = 4096;

/// Mean and sum of squared deviations of each number of some vectors, kept up to date by Welford's update (1962); two are
/// joined by the formula of Chan, Golub and LeVeque (1979).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Moments {
    pub(super) rows: u64,
    pub(super) mean: Vec<f64>,
    pub(super) squares: Vec<f64>,
}

impl Moments {
    pub(super) fn add(&mut self, values: &[f64]) {
        if self.rows == 0 {
            self.mean = vec![0.0; values.len()];
            self.squares = vec![0.0; values.len()];
        }
        self.rows = self.rows.saturating_add(1);
        let rows = self.rows as f64;
        for ((mean, squares), &value) in self.mean.iter_mut().zip(&mut self.squares).zip(values) {
            let before = value - *mean;
            *mean += before / rows;
            *squares += before * (value - *mean);
        }
    }

    pub(super) fn join(&mut self, other: &Moments) {
        if self.rows == 0 {
            *self = other.clone();
            return;
        }
        let (own, added) = (self.rows as f64, other.rows as f64);
        let all = own + added;
        if added == 0.0 {
            return;
        }
        for (place, (mean, squares)) in self.mean.iter_mut().zip(&mut self.squares).enumerate() {
            let (Some(other_mean), Some(other_squares)) = (other.mean.get(place), other.squares.get(place)) else {
                break;
            };
            let difference = other_mean - *mean;
            *mean += difference * added / all;
            *squares += other_squares + difference * difference * own * added / all;
        }
        self.rows = self.rows.saturating_add(other.rows);
        self.forget();
    }

    /// Weighs all rows down to the horizon.
    fn forget(&mut self) {
        if self.rows > HORIZON {
            let share = (HORIZON - 1) as f64 / (self.rows - 1) as f64;
            self.squares.iter_mut().for_each(|squares| *squares *= share);
            self.rows = HORIZON;
        }
    }

    /// The unbiased variance of one number; 0 with fewer than two rows.
    pub(super) fn variance(&self, place: usize) -> f64 {
        let squares = self.squares.get(place).copied().unwrap_or(0.0);
        if self.rows < 2 { 0.0 } else { squares / (self.rows - 1) as f64 }
    }

    pub(super) fn bytes(&self) -> u64 {
        (size_of::<Self>() + 8 * (self.mean.len() + self.squares.len())) as u64
    }

    pub(super) fn is_sound(&self) -> bool {
        self.mean.len() == self.squares.len()
            && self.mean.iter().chain(&self.squares).all(|value| value.is_finite())
            && self.squares.iter().all(|&value| value >= 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_moments_are_those_of_all_rows() {
        let rows: Vec<[f64; 2]> = (0..20).map(|i| [f64::from(i % 7), f64::from(i * i)]).collect();
        let of = |rows: &[[f64; 2]]| {
            let mut moments = Moments::default();
            rows.iter().for_each(|row| moments.add(row));
            moments
        };
        let (mut left, all) = (of(&rows[..8]), of(&rows));
        left.join(&of(&rows[8..]));
        assert_eq!(left.rows, all.rows);
        for place in 0..2 {
            assert!((left.mean[place] - all.mean[place]).abs() < 1e-9);
            assert!((left.variance(place) - all.variance(place)).abs() < 1e-6);
        }
    }
}
