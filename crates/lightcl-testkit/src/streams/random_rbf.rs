//! Clouds of points around random centroids.

use super::{Change, Generator, SyntheticStream};
use crate::random::{normal, seeded};
use lightcl_core::ClassId;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Random radial basis functions (Bifet, Holmes, Pfahringer, Kirkby and Gavalda 2009, "New ensemble methods for evolving
/// data streams"): centroids with a class, a weight and a spread each; a row is drawn around one of them. At a change
/// point some centroids move to other places; with a `speed` all of them also wander between change points.
#[derive(Debug, Clone)]
pub struct RandomRbf {
    /// Rows of each task.
    pub rows: Vec<usize>,
    /// How concepts change.
    pub change: Change,
    /// Features.
    pub width: usize,
    /// Classes.
    pub classes: usize,
    /// Centroids; their classes go round.
    pub centroids: usize,
    /// Centroids that are drawn anew at a change point.
    pub redrawn: usize,
    /// How far a centroid moves with each row drawn.
    pub speed: f64,
}

impl Default for RandomRbf {
    fn default() -> Self {
        RandomRbf {
            rows: vec![4000; 3],
            change: Change::Abrupt,
            width: 10,
            classes: 4,
            centroids: 20,
            redrawn: 12,
            speed: 0.0,
        }
    }
}

#[derive(Debug, Clone)]
struct Centroid {
    centre: Vec<f64>,
    velocity: Vec<f64>,
    deviation: f64,
    weight: f64,
    class: ClassId,
}

impl Centroid {
    fn draw(width: usize, class: usize, random: &mut ChaCha8Rng) -> Self {
        Centroid {
            centre: (0..width).map(|_| random.random()).collect(),
            velocity: direction(width, random),
            deviation: random.random_range(0.05..0.15),
            weight: random.random_range(0.2..1.0),
            class: class as ClassId,
        }
    }

    /// One step; the walls of the unit cube throw it back.
    fn wander(&mut self, speed: f64) {
        for (place, velocity) in self.centre.iter_mut().zip(&mut self.velocity) {
            *place += speed * *velocity;
            if !(0.0..=1.0).contains(place) {
                *velocity = -*velocity;
                *place = place.clamp(0.0, 1.0);
            }
        }
    }
}

/// A random vector of length 1.
fn direction(width: usize, random: &mut ChaCha8Rng) -> Vec<f64> {
    let vector: Vec<f64> = (0..width).map(|_| normal(random)).collect();
    let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    vector.into_iter().map(|value| value / length).collect()
}

impl RandomRbf {
    fn concepts(&self, random: &mut ChaCha8Rng) -> Vec<Vec<Centroid>> {
        let first: Vec<Centroid> =
            (0..self.centroids).map(|number| Centroid::draw(self.width, number % self.classes, random)).collect();
        std::iter::successors(Some(first), |last| {
            let mut next = last.clone();
            for centroid in next.iter_mut().take(self.redrawn) {
                *centroid = Centroid::draw(self.width, centroid.class as usize, random);
            }
            Some(next)
        })
        .take(self.change.concepts(self.rows.len()))
        .collect()
    }
}

impl Generator for RandomRbf {
    fn name(&self) -> &'static str {
        "random_rbf"
    }

    fn generate(&self, seed: u64) -> SyntheticStream {
        let mut random = seeded(seed);
        let mut concepts = self.concepts(&mut random);
        let tasks = self.change.tasks(&self.rows, &mut random, |concept, random| {
            let centroids = &mut concepts[concept];
            if self.speed > 0.0 {
                centroids.iter_mut().for_each(|centroid| centroid.wander(self.speed));
            }
            let total: f64 = centroids.iter().map(|centroid| centroid.weight).sum();
            let mut left = random.random::<f64>() * total;
            let chosen = centroids.iter().position(|centroid| {
                left -= centroid.weight;
                left < 0.0
            });
            // Rounding may leave a little after the last one.
            let chosen = &centroids[chosen.unwrap_or(self.centroids - 1)];
            let distance = normal(random) * chosen.deviation;
            let offset = direction(self.width, random);
            let row =
                chosen.centre.iter().zip(offset).map(|(centre, step)| (centre + distance * step) as f32).collect();
            (row, chosen.class)
        });
        SyntheticStream::from_tasks(self.name(), self.width, &tasks)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::rule_accuracies;
    use super::*;

    #[test]
    fn centroids_hold_for_their_task_only_and_wander_with_a_speed() {
        let still = RandomRbf::default();
        let concepts = still.concepts(&mut seeded(6));
        let nearest = |concept: usize, row: &[f32]| {
            let distance = |centroid: &Centroid| -> f64 {
                centroid.centre.iter().zip(row).map(|(centre, &value)| (centre - f64::from(value)).powi(2)).sum()
            };
            let best = concepts[concept].iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
            best.unwrap().class
        };
        for (own, next) in rule_accuracies(&still.generate(6), nearest) {
            assert!(own > 0.99 && next < 0.8, "{own} {next}");
        }
        let moving = RandomRbf { speed: 0.0005, ..still.clone() }.generate(6);
        for (own, _) in rule_accuracies(&moving, nearest) {
            assert!(own < 0.9, "{own}");
        }
    }
}
