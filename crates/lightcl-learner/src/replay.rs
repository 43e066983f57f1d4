//! Gaussian replay: pseudo-features of earlier classes in place of stored samples.

use crate::analytic::statistics::Statistics;
use crate::analytic::{Precision, solve::cholesky};
use faer::Mat;
use lightcl_core::{ClassId, Error, Result};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::TAU;
use std::sync::Arc;

/// The widest prefix output that a covariance is kept of.
pub(crate) const MOST_WIDTH: usize = 2048;
/// Share of the mean variance that is added to each, so that the covariance can be factorised.
const SHRINK: f64 = 1e-3;
/// The covariance is factorised again when so much has come to it.
const GROWTH: f64 = 0.1;

/// Class means and the covariance that classes share, of prefix outputs; from them come pseudo-features that the plastic
/// layers train on beside the rows of a window, so that classes that come no more are not pushed aside (SLCA, Zhang et al.
/// 2023; feature replay by class statistics).
#[derive(Debug, Clone)]
pub(crate) struct Replay {
    statistics: Arc<Statistics>,
    /// The factor of the covariance, and the weight of rows that it was taken at.
    factor: Option<(Arc<Mat<f64>>, f64)>,
}

/// A replay memory as it is saved.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedReplay {
    statistics: Statistics,
    /// Column by column.
    factor: Option<(Vec<f64>, f64)>,
}

impl Replay {
    /// Nothing seen yet, for prefix outputs of so many numbers.
    pub(crate) fn new(width: usize) -> Result<Replay> {
        if width > MOST_WIDTH {
            return Err(Error::user(
                "replay = \"gaussian\" keeps a covariance of the prefix's output, which is too wide here: use a smaller backbone, or replay = \"none\"",
            )
            .with("most_numbers", MOST_WIDTH)
            .with("numbers", width));
        }
        Ok(Replay { statistics: Arc::new(Statistics::new(Precision::Double, width)), factor: None })
    }

    /// Takes in prefix outputs, `rows x width`, row-major.
    pub(crate) fn take(&mut self, outputs: &[f32], labels: &[ClassId], weights: &[f32]) {
        let width = self.statistics.features;
        let rows = Mat::from_fn(labels.len(), width, |row, column| f64::from(outputs[row * width + column]));
        let statistics = Arc::make_mut(&mut self.statistics);
        statistics.accumulate(rows.as_ref(), labels, weights, 1.0);
        let weight = statistics.weight();
        if self.factor.as_ref().is_none_or(|(_, then)| weight > then * (1.0 + GROWTH)) && weight > 0.0 {
            // What cannot be factorised keeps the factor that it had.
            if let Some(factor) = self.covariance_factor() {
                self.factor = Some((Arc::new(factor), weight));
            }
        }
    }

    fn covariance_factor(&self) -> Option<Mat<f64>> {
        let Statistics { features: width, class_weights, .. } = &*self.statistics;
        let mut scatter = self.statistics.gram.to_lower(*width);
        for (class, &weight) in class_weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
            let sum = self.statistics.class_sum(class);
            for column in 0..*width {
                let share = sum[column] / weight;
                for row in column..*width {
                    scatter[(row, column)] -= sum[row] * share;
                }
            }
        }
        let total = self.statistics.weight();
        let mean = (0..*width).map(|i| scatter[(i, i)].max(0.0)).sum::<f64>() / (*width as f64 * total);
        for column in 0..*width {
            for row in column..*width {
                scatter[(row, column)] /= total;
            }
            scatter[(column, column)] += SHRINK * mean + 1e-9;
        }
        cholesky(scatter)
    }

    /// Pseudo-features of known classes that are not in a batch, as many of each as the batch has of its own classes on
    /// average; row-major, with their labels. `is_positive` cuts them off at 0, as the prefix's ReLU does.
    pub(crate) fn draw(
        &self,
        batch: &[ClassId],
        is_positive: bool,
        generator: &mut ChaCha8Rng,
    ) -> (Vec<f32>, Vec<ClassId>) {
        let Some((factor, _)) = &self.factor else { return Default::default() };
        let mut counts: BTreeMap<ClassId, usize> = BTreeMap::new();
        batch.iter().for_each(|&label| *counts.entry(label).or_default() += 1);
        let each = batch.len().div_ceil(counts.len().max(1));
        let width = self.statistics.features;
        let known = self.statistics.class_weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0);
        let absent: BTreeSet<ClassId> =
            known.map(|(class, _)| class as ClassId).filter(|class| !counts.contains_key(class)).collect();
        let (mut rows, mut labels) = (Vec::with_capacity(absent.len() * each * width), Vec::new());
        let mut noise = vec![0.0; width];
        for &class in &absent {
            let weight = self.statistics.class_weights[class as usize];
            let sum = self.statistics.class_sum(class as usize);
            for _ in 0..each {
                noise.iter_mut().for_each(|noise| *noise = normal(generator));
                let mut row: Vec<f64> = sum.iter().map(|sum| sum / weight).collect();
                for (column, &share) in noise.iter().enumerate() {
                    let cells = factor.col(column);
                    (column..width).for_each(|i| row[i] += share * cells[i]);
                }
                rows.extend(row.into_iter().map(|value| if is_positive { value.max(0.0) } else { value } as f32));
                labels.push(class);
            }
        }
        (rows, labels)
    }

    pub(crate) fn bytes(&self) -> u64 {
        let width = self.statistics.features as u64;
        self.statistics.bytes() + self.factor.as_ref().map_or(0, |_| 8 * width * width)
    }

    pub(crate) fn save(&self) -> SavedReplay {
        let factor = self.factor.as_ref().map(|(factor, weight)| {
            let columns = (0..factor.ncols()).flat_map(|column| factor.col(column).iter().copied()).collect();
            (columns, *weight)
        });
        SavedReplay { statistics: Statistics::clone(&self.statistics), factor }
    }

    pub(crate) fn restore(&mut self, saved: SavedReplay, most_classes: usize) -> Result<()> {
        let width = self.statistics.features;
        let fits = saved.statistics.is_sound(width)
            && saved.statistics.classes() <= most_classes
            && saved.factor.as_ref().is_none_or(|(factor, weight)| {
                factor.len() == width * width && weight.is_finite() && factor.iter().all(|value| value.is_finite())
            });
        if !fits {
            return Err(Error::user("the saved replay memory does not fit the network, or is damaged"));
        }
        self.factor = saved.factor.map(|(factor, weight)| {
            (Arc::new(Mat::from_fn(width, width, |row, column| factor[column * width + row])), weight)
        });
        self.statistics = Arc::new(saved.statistics);
        Ok(())
    }
}

/// A standard normal number (Box and Muller 1958).
fn normal(generator: &mut ChaCha8Rng) -> f64 {
    let mut unit = || (generator.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    let (first, second) = (unit(), unit());
    (-2.0 * (1.0 - first).ln()).sqrt() * (TAU * second).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pseudo_features_have_the_means_and_the_covariance_of_the_rows() {
        let mut replay = Replay::new(2).unwrap();
        let mut generator = crate::network::generator(1, "test");
        // Two classes around (5, 5) and (9, 5); the second number follows the first.
        let mut rows = Vec::new();
        let labels: Vec<ClassId> = (0..4000).map(|row| row % 2).collect();
        for &label in &labels {
            let (a, b) = (normal(&mut generator), normal(&mut generator));
            rows.extend([(5.0 + 4.0 * f64::from(label) + a) as f32, (5.0 + 0.8 * a + 0.6 * b) as f32]);
        }
        replay.take(&rows, &labels, &vec![1.0; 4000]);
        let batch = vec![0; 3000];
        let (drawn, drawn_labels) = replay.draw(&batch, true, &mut generator);
        assert_eq!(drawn_labels, vec![1; 3000]);
        let column = |i: usize| drawn.iter().skip(i).step_by(2).map(|&v| f64::from(v));
        let means = [column(0).sum::<f64>() / 3000.0, column(1).sum::<f64>() / 3000.0];
        let covariance = column(0).zip(column(1)).map(|(a, b)| (a - means[0]) * (b - means[1])).sum::<f64>() / 3000.0;
        assert!((means[0] - 9.0).abs() < 0.1 && (means[1] - 5.0).abs() < 0.1, "{means:?}");
        assert!((covariance - 0.8).abs() < 0.1, "{covariance}");
    }

    #[test]
    fn classes_of_the_batch_are_not_replayed() {
        let mut replay = Replay::new(1).unwrap();
        let mut generator = crate::network::generator(1, "test");
        assert!(replay.draw(&[0], false, &mut generator).1.is_empty());
        replay.take(&[1.0, 2.0, 3.0, 4.0], &[0, 1, 2, 2], &[1.0; 4]);
        assert_eq!(replay.draw(&[0, 0, 1, 1], false, &mut generator).1, [2, 2]);
    }
}
