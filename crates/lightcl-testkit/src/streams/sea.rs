//! SEA concepts.

use super::{Change, Generator, SyntheticStream};
use crate::random::seeded;
use lightcl_core::ClassId;
use rand::RngExt;

/// SEA concepts (Street and Kim 2001, "A streaming ensemble algorithm (SEA) for large-scale classification"): three
/// numbers, uniform in `[0, 10]`; the label is whether the first two sum to at most the concept's threshold. The third
/// means nothing.
#[derive(Debug, Clone)]
pub struct Sea {
    /// Rows of each task.
    pub rows: Vec<usize>,
    /// How concepts change.
    pub change: Change,
    /// The threshold of each concept, from the start again when there are more concepts than thresholds.
    pub thresholds: Vec<f64>,
    /// Share of labels that are flipped.
    pub noise: f64,
}

impl Default for Sea {
    fn default() -> Self {
        Sea { rows: vec![4000; 4], change: Change::Abrupt, thresholds: vec![8.0, 9.0, 7.0, 9.5], noise: 0.1 }
    }
}

impl Sea {
    fn label(&self, concept: usize, row: &[f32]) -> bool {
        f64::from(row[0] + row[1]) <= self.thresholds[concept % self.thresholds.len()]
    }
}

impl Generator for Sea {
    fn name(&self) -> &'static str {
        "sea"
    }

    fn generate(&self, seed: u64) -> SyntheticStream {
        let tasks = self.change.tasks(&self.rows, &mut seeded(seed), |concept, random| {
            let row: Vec<f32> = (0..3).map(|_| random.random_range(0.0..10.0)).collect();
            let label = self.label(concept, &row) ^ random.random_bool(self.noise);
            (row, ClassId::from(label))
        });
        SyntheticStream::from_tasks(self.name(), 3, &tasks)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::rule_accuracies;
    use super::*;

    #[test]
    fn a_threshold_holds_for_its_task_only() {
        let sea = Sea { noise: 0.0, ..Sea::default() };
        let accuracies = rule_accuracies(&sea.generate(1), |concept, row| ClassId::from(sea.label(concept, row)));
        for (own, next) in accuracies {
            // Between thresholds 8 and 9 lie 8.5 % of the square, between 7 and 9.5 more.
            assert!(own == 1.0 && next < 0.94, "{own} {next}");
        }
    }
}
