//! The same classes, with inputs that lie elsewhere in each task.

use super::{Generator, SyntheticStream};
use crate::random::{normal, seeded};
use lightcl_core::ClassId;

/// Standard normal inputs, shifted by `shift * t` in task `t` after the label (is the first feature positive?) was read
/// off.
#[derive(Debug, Clone)]
pub struct MovedInputs {
    /// Rows of each task.
    pub rows: Vec<usize>,
    /// Features.
    pub width: usize,
    /// How far every feature moves from task to task.
    pub shift: f32,
}

impl Default for MovedInputs {
    fn default() -> Self {
        MovedInputs { rows: vec![4000, 4000], width: 8, shift: 1.5 }
    }
}

impl Generator for MovedInputs {
    fn name(&self) -> &'static str {
        "moved_inputs"
    }

    fn generate(&self, seed: u64) -> SyntheticStream {
        let mut random = seeded(seed);
        let tasks: Vec<_> = self
            .rows
            .iter()
            .enumerate()
            .map(|(task, &rows)| {
                (0..rows)
                    .map(|_| {
                        let mut row: Vec<f32> = (0..self.width).map(|_| normal(&mut random) as f32).collect();
                        let label = ClassId::from(row[0] > 0.0);
                        row.iter_mut().for_each(|value| *value += self.shift * task as f32);
                        (row, label)
                    })
                    .collect()
            })
            .collect();
        SyntheticStream::from_tasks(self.name(), self.width, &tasks)
    }
}
