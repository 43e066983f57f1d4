//! A hyperplane that turns.

use super::{Change, Generator, SyntheticStream};
use crate::random::{normal, seeded};
use lightcl_core::ClassId;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// A rotating hyperplane (Hulten, Spencer and Domingos 2001, "Mining time-changing data streams"): numbers uniform in
/// `[0, 1]`; the label says on which side of a hyperplane through the centre of the cube a row lies. At a change point
/// some of the hyperplane's weights are drawn anew; with a `speed` they also move between change points, as in the paper.
#[derive(Debug, Clone)]
pub struct RotatingHyperplane {
    /// Rows of each task.
    pub rows: Vec<usize>,
    /// How concepts change.
    pub change: Change,
    /// Features.
    pub width: usize,
    /// Weights that change.
    pub drifting: usize,
    /// How far a drifting weight moves with each row.
    pub speed: f64,
    /// Probability that a drifting weight turns back after a row.
    pub turn: f64,
    /// Share of labels that are flipped.
    pub noise: f64,
}

impl Default for RotatingHyperplane {
    fn default() -> Self {
        RotatingHyperplane {
            rows: vec![4000; 3],
            change: Change::Abrupt,
            width: 10,
            drifting: 6,
            speed: 0.0,
            turn: 0.1,
            noise: 0.05,
        }
    }
}

/// One concept: weights and the direction in which each moves.
#[derive(Debug, Clone)]
struct Hyperplane {
    weights: Vec<f64>,
    directions: Vec<f64>,
}

impl Hyperplane {
    fn is_above(&self, row: &[f32]) -> bool {
        self.weights.iter().zip(row).map(|(weight, &value)| weight * (f64::from(value) - 0.5)).sum::<f64>() >= 0.0
    }
}

impl RotatingHyperplane {
    fn concepts(&self, random: &mut ChaCha8Rng) -> Vec<Hyperplane> {
        let first = Hyperplane {
            weights: (0..self.width).map(|_| normal(random)).collect(),
            directions: (0..self.width).map(|_| if random.random_bool(0.5) { 1.0 } else { -1.0 }).collect(),
        };
        std::iter::successors(Some(first), |last| {
            let mut next = last.clone();
            next.weights.iter_mut().take(self.drifting).for_each(|weight| *weight = normal(random));
            Some(next)
        })
        .take(self.change.concepts(self.rows.len()))
        .collect()
    }
}

impl Generator for RotatingHyperplane {
    fn name(&self) -> &'static str {
        "hyperplane"
    }

    fn generate(&self, seed: u64) -> SyntheticStream {
        let mut random = seeded(seed);
        let mut concepts = self.concepts(&mut random);
        let tasks = self.change.tasks(&self.rows, &mut random, |concept, random| {
            let row: Vec<f32> = (0..self.width).map(|_| random.random()).collect();
            let plane = &mut concepts[concept];
            let label = plane.is_above(&row) ^ random.random_bool(self.noise);
            if self.speed > 0.0 {
                let moving = plane.weights.iter_mut().zip(&mut plane.directions).take(self.drifting);
                for (weight, direction) in moving {
                    *weight += *direction * self.speed;
                    if random.random_bool(self.turn) {
                        *direction = -*direction;
                    }
                }
            }
            (row, ClassId::from(label))
        });
        SyntheticStream::from_tasks(self.name(), self.width, &tasks)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::rule_accuracies;
    use super::*;

    #[test]
    fn a_hyperplane_holds_for_its_task_only_and_turns_slowly_with_a_speed() {
        let still = RotatingHyperplane { noise: 0.0, ..RotatingHyperplane::default() };
        let planes = still.concepts(&mut seeded(5));
        let rule = |concept: usize, row: &[f32]| ClassId::from(planes[concept].is_above(row));
        for (own, next) in rule_accuracies(&still.generate(5), rule) {
            assert!(own == 1.0 && next < 0.9, "{own} {next}");
        }
        let turning = RotatingHyperplane { speed: 0.001, turn: 0.0, ..still };
        for (own, _) in rule_accuracies(&turning.generate(5), rule) {
            assert!(own < 0.95, "{own}");
        }
    }
}
