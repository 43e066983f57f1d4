//! The same inputs and classes, labelled by another rule in each task.

use super::{Generator, SyntheticStream};
use crate::random::{normal, seeded};
use lightcl_core::ClassId;

/// Standard normal inputs; the label in task `t` is whether feature `2t` is above feature `2t + 1` (modulo the width).
#[derive(Debug, Clone)]
pub struct AnotherRule {
    /// Rows of each task.
    pub rows: Vec<usize>,
    /// Features.
    pub width: usize,
}

impl Default for AnotherRule {
    fn default() -> Self {
        AnotherRule { rows: vec![4000, 5000, 4500], width: 8 }
    }
}

impl Generator for AnotherRule {
    fn name(&self) -> &'static str {
        "another_rule"
    }

    fn generate(&self, seed: u64) -> SyntheticStream {
        let mut random = seeded(seed);
        let tasks: Vec<_> = self
            .rows
            .iter()
            .enumerate()
            .map(|(task, &rows)| {
                let (left, right) = (2 * task % self.width, (2 * task + 1) % self.width);
                (0..rows)
                    .map(|_| {
                        let row: Vec<f32> = (0..self.width).map(|_| normal(&mut random) as f32).collect();
                        let label = ClassId::from(row[left] > row[right]);
                        (row, label)
                    })
                    .collect()
            })
            .collect();
        SyntheticStream::from_tasks(self.name(), self.width, &tasks)
    }
}
