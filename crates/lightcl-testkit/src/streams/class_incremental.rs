//! Each task brings classes of its own.

use super::{Generator, SyntheticStream};
use crate::random::{normal, seeded};
use lightcl_core::ClassId;
use rand::seq::SliceRandom;

/// Gaussian blobs: task `t` has classes `t * classes_per_task ..`, in equal shares and random order.
#[derive(Debug, Clone)]
pub struct ClassIncremental {
    /// Number of tasks.
    pub tasks: usize,
    /// Classes that each task brings.
    pub classes_per_task: usize,
    /// Rows of each task.
    pub rows_per_task: usize,
    /// Features.
    pub width: usize,
    /// Standard deviation of the classes' centres; rows have 1 around theirs.
    pub separation: f64,
}

impl Default for ClassIncremental {
    fn default() -> Self {
        ClassIncremental { tasks: 5, classes_per_task: 2, rows_per_task: 2000, width: 8, separation: 2.0 }
    }
}

impl Generator for ClassIncremental {
    fn name(&self) -> &'static str {
        "class_incremental"
    }

    fn generate(&self, seed: u64) -> SyntheticStream {
        let mut random = seeded(seed);
        let tasks: Vec<_> = (0..self.tasks)
            .map(|task| {
                let centres: Vec<Vec<f64>> = (0..self.classes_per_task)
                    .map(|_| (0..self.width).map(|_| self.separation * normal(&mut random)).collect())
                    .collect();
                let mut classes: Vec<usize> = (0..self.rows_per_task).map(|row| row % self.classes_per_task).collect();
                classes.shuffle(&mut random);
                classes
                    .into_iter()
                    .map(|class| {
                        let row = centres[class].iter().map(|centre| (centre + normal(&mut random)) as f32).collect();
                        (row, (task * self.classes_per_task + class) as ClassId)
                    })
                    .collect()
            })
            .collect();
        SyntheticStream::from_tasks(self.name(), self.width, &tasks)
    }
}
