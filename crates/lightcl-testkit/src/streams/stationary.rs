//! Nothing changes: whatever fires is a false alarm.

use super::{Generator, SyntheticStream};
use crate::random::{normal, seeded};
use rand::RngExt;

/// Standard normal inputs; the label is whether the first feature plus noise is positive, or, for a random
/// `rare_share` of the rows, class 2.
#[derive(Debug, Clone)]
pub struct Stationary {
    /// Rows.
    pub rows: usize,
    /// Features.
    pub width: usize,
    /// Standard deviation of the noise; 0.5 gives a best possible error of about 15 %.
    pub noise: f64,
    /// Share of rows of a rare third class.
    pub rare_share: f64,
}

impl Default for Stationary {
    fn default() -> Self {
        Stationary { rows: 60_000, width: 8, noise: 0.5, rare_share: 0.0 }
    }
}

impl Generator for Stationary {
    fn name(&self) -> &'static str {
        "stationary"
    }

    fn generate(&self, seed: u64) -> SyntheticStream {
        let mut random = seeded(seed);
        let rows = (0..self.rows)
            .map(|_| {
                let row: Vec<f32> = (0..self.width).map(|_| normal(&mut random) as f32).collect();
                let above = f64::from(row[0]) + self.noise * normal(&mut random) > 0.0;
                let label = if random.random_bool(self.rare_share) { 2 } else { u32::from(above) };
                (row, label)
            })
            .collect();
        SyntheticStream::from_tasks(self.name(), self.width, &[rows])
    }
}
