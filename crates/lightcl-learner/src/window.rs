//! Learning from one window.

use crate::learner::LightClLearner;
use crate::memory::References;
use crate::model::Model;
use crate::network::{Network, tensor, values};
use crate::train::{Batch, Outcome};
use crate::{ActiveClasses, MAX_CLASSES};
use burn::tensor::{Int, Tensor, TensorData};
use lightcl_core::{ClassId, LearnReport, Result, Samples};
use rand::seq::SliceRandom;

/// Windows in a row without a single step after which the network starts over.
const STUCK_WINDOWS: u32 = 8;

impl LightClLearner {
    /// `Learner::learn`.
    pub(crate) fn learn_window(&mut self, window: &Samples) -> Result<LearnReport> {
        self.model.check(window)?;
        let mut report = LearnReport::default();
        let rejected: Vec<bool> = (0..window.len())
            .map(|row| {
                let weight = window.weights.get(row).copied().unwrap_or(f32::NAN);
                !(weight.is_finite() && weight >= 0.0)
                    || window.labels[row] as usize >= MAX_CLASSES
                    || !is_finite(window.row(row))
            })
            .collect();
        self.meet_classes(window.labels.iter().zip(&rejected).filter(|(_, rejected)| !**rejected).map(|(&l, _)| l))?;
        if rejected.iter().all(|&rejected| rejected) {
            report.rejected_rows = (0..window.len()).collect();
            return Ok(report);
        }

        let cached = self.caches_prefix();
        let run = if self.runs_network() && (cached || self.analytic.is_some()) {
            report.prefix_samples += window.len() as u64;
            Some(self.run_prefix(&window.features, window.len())?)
        } else {
            None
        };
        let good: Vec<usize> = (0..window.len()).filter(|&row| !rejected[row]).collect();
        if let Some(bridge) = &mut self.bridge {
            bridge.keep(&window.select(&good));
        }
        if self.analytic.is_some() {
            self.learn_analytic(window, &good, run.as_ref())?;
        }
        if !self.trains_network() {
            report.rejected_rows = (0..window.len()).filter(|&row| rejected[row]).collect();
            return Ok(report);
        }
        let rows = match run {
            Some(run) if cached => run.embedding,
            _ => self.model.input(&window.features, window.len()),
        };
        let mut refused = rejected.clone();
        let active = self.active();
        let memory_samples = self.references.as_ref().map_or(0, References::rows) as u64;
        let size = self.config.batch_samples;
        for pass in 0..self.config.passes {
            let mut order: Vec<usize> = (0..window.len()).collect();
            if pass > 0 {
                order.retain(|&row| !refused[row]);
                order.shuffle(&mut self.generator);
            }
            for chunk in even_chunks(&order, size) {
                let chosen: Vec<usize> = chunk.iter().copied().filter(|&row| !refused[row]).collect();
                if chosen.is_empty() {
                    continue;
                }
                let mut batch = Batch {
                    rows: choose(&rows, &chosen),
                    labels: chosen.iter().map(|&row| window.labels[row]).collect(),
                    weights: chosen.iter().map(|&row| window.weights[row]).collect(),
                };
                if cached {
                    self.add_replayed(&mut batch);
                }
                if !cached {
                    report.prefix_samples += memory_samples + chosen.len() as u64;
                }
                match self.step(batch, &active)? {
                    Outcome::Taken { loss, pattern } => {
                        report.steps += 1;
                        report.loss += loss;
                        report.pattern_loss += pattern;
                    }
                    Outcome::Refused => chosen.iter().for_each(|&row| refused[row] = true),
                }
            }
        }
        if report.steps > 0 {
            report.loss /= report.steps as f64;
            report.pattern_loss /= report.steps as f64;
        }
        if let Some(replay) = self.replay.as_mut().filter(|_| cached) {
            let outputs = values(choose(&rows, &good))?;
            let chosen = window.select(&good);
            replay.take(&outputs, &chosen.labels, &chosen.weights);
        }
        self.restart_when_stuck(report.steps)?;
        // What the heads have taken in, or will when the prefix freezes, was learnt from, whatever the network made of it.
        let has_bridge = self.bridge.is_some();
        let is_taken = self.analytic.as_ref().is_some_and(|bank| has_bridge || bank.is_ready(self.progress.frozen));
        let lost = if is_taken { rejected } else { refused };
        report.rejected_rows = (0..window.len()).filter(|&row| lost[row]).collect();
        Ok(report)
    }

    /// Adds pseudo-features of classes that a batch lacks. They weigh as its rows do on average.
    fn add_replayed(&mut self, batch: &mut Batch) {
        let Some(replay) = &self.replay else { return };
        let is_positive = self.model.network.has_prefix();
        let (features, labels) = replay.draw(&batch.labels, is_positive, &mut self.generator);
        if labels.is_empty() {
            return;
        }
        let mean = batch.weights.iter().sum::<f32>() / batch.weights.len() as f32;
        let shape = [labels.len(), features.len() / labels.len()];
        let drawn = tensor(features, shape, &self.model.network.device);
        batch.rows = Tensor::cat(vec![batch.rows.clone(), drawn], 0);
        batch.weights.resize(batch.labels.len() + labels.len(), mean);
        batch.labels.extend(labels);
    }

    /// Draws the plastic weights anew when no step has been possible for a while: weights that have come to rest just within
    /// the bound would have every batch refused for good.
    fn restart_when_stuck(&mut self, steps: u64) -> Result<()> {
        let progress = &mut self.progress;
        progress.refused_windows = if steps > 0 { 0 } else { progress.refused_windows + 1 };
        if progress.refused_windows < STUCK_WINDOWS {
            return Ok(());
        }
        progress.refused_windows = 0;
        progress.restarts += 1;
        let seed = lightcl_core::mix(self.config.seed ^ lightcl_core::mix(progress.restarts));
        let fresh = Model::new(Network::clone(&self.model.network), seed, self.model.classes, None)?;
        if !self.progress.frozen {
            self.model.prefix = fresh.prefix;
        }
        self.model.suffix = fresh.suffix;
        if let Some(masks) = &self.pruning {
            self.model.suffix.weights =
                crate::sparse::apply(std::mem::take(&mut self.model.suffix.weights), &masks.suffix)?;
            if !self.progress.frozen {
                self.model.prefix.weights =
                    crate::sparse::apply(std::mem::take(&mut self.model.prefix.weights), &masks.prefix)?;
            }
        }
        self.momentum = None;
        // They say what weights did that are gone.
        self.references = None;
        Ok(())
    }

    /// Classes of the cross-entropy, in order.
    fn active(&self) -> Vec<ClassId> {
        match self.config.active_classes {
            _ if self.replay.is_some() => self.progress.seen.iter().copied().collect(),
            ActiveClasses::Task => self.progress.current.iter().copied().collect(),
            ActiveClasses::Seen => self.progress.seen.iter().copied().collect(),
        }
    }
}

/// As few parts as hold at most `size` rows each, all of nearly the same length: a small rest would make a step of its
/// own, and a noisy one.
fn even_chunks(rows: &[usize], size: usize) -> impl Iterator<Item = &[usize]> {
    let parts = rows.len().div_ceil(size);
    (0..parts).map(move |part| &rows[part * rows.len() / parts..(part + 1) * rows.len() / parts])
}

/// Rows of a tensor: a view where they follow each other.
fn choose(rows: &Tensor<2>, chosen: &[usize]) -> Tensor<2> {
    let (Some(&first), Some(&last)) = (chosen.first(), chosen.last()) else { return rows.clone() };
    if chosen.windows(2).all(|pair| pair[1] == pair[0] + 1) {
        return rows.clone().narrow(0, first, last + 1 - first);
    }
    let indices: Vec<i64> = chosen.iter().map(|&row| row as i64).collect();
    let indices = Tensor::<1, Int>::from_data(TensorData::new(indices, [chosen.len()]), &rows.device());
    rows.clone().select(0, indices)
}

/// Whether every number of a row is finite.
pub(crate) fn is_finite(numbers: &[f32]) -> bool {
    numbers.iter().all(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_hold_every_row_once_and_are_as_even_as_can_be() {
        for (length, size, expected) in
            [(0, 4, vec![]), (3, 4, vec![3]), (8, 4, vec![4, 4]), (9, 4, vec![3, 3, 3]), (248, 32, vec![31; 8])]
        {
            let rows: Vec<usize> = (0..length).collect();
            let chunks: Vec<&[usize]> = even_chunks(&rows, size).collect();
            assert_eq!(chunks.iter().map(|chunk| chunk.len()).collect::<Vec<_>>(), expected);
            assert_eq!(chunks.concat(), rows);
        }
    }
}
