//! Learning from one window.

use crate::learner::LightClLearner;
use crate::memory::References;
use crate::train::{Batch, Outcome};
use crate::{ActiveClasses, MAX_CLASSES};
use burn::tensor::{Int, Tensor, TensorData};
use lightcl_core::{ClassId, LearnReport, Result, Samples};
use rand::seq::SliceRandom;

impl LightClLearner {
    /// `Learner::learn`.
    pub(crate) fn learn_window(&mut self, window: &Samples) -> Result<LearnReport> {
        self.model.check(window)?;
        let mut report = LearnReport::default();
        let mut rejected: Vec<bool> = (0..window.len())
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
        let run = if cached && self.runs_network() || self.analytic.is_some() && self.runs_network() {
            report.prefix_samples += window.len() as u64;
            Some(self.run_prefix(&window.features, window.len())?)
        } else {
            None
        };
        if self.analytic.is_some() {
            let good: Vec<usize> = (0..window.len()).filter(|&row| !rejected[row]).collect();
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
        let active = self.active();
        let memory_samples = self.references.as_ref().map_or(0, References::rows) as u64;
        let size = self.config.batch_samples;
        for pass in 0..self.config.passes {
            let mut order: Vec<usize> = (0..window.len()).collect();
            if pass > 0 {
                order.retain(|&row| !rejected[row]);
                order.shuffle(&mut self.generator);
            }
            for chunk in even_chunks(&order, size) {
                let chosen: Vec<usize> = chunk.iter().copied().filter(|&row| !rejected[row]).collect();
                if chosen.is_empty() {
                    continue;
                }
                let batch = Batch {
                    rows: choose(&rows, &chosen),
                    labels: chosen.iter().map(|&row| window.labels[row]).collect(),
                    weights: chosen.iter().map(|&row| window.weights[row]).collect(),
                };
                if !cached {
                    report.prefix_samples += memory_samples + chosen.len() as u64;
                }
                match self.step(batch, &active)? {
                    Outcome::Taken { loss, pattern } => {
                        report.steps += 1;
                        report.loss += loss;
                        report.pattern_loss += pattern;
                    }
                    Outcome::Refused => chosen.iter().for_each(|&row| rejected[row] = true),
                }
            }
        }
        if report.steps > 0 {
            report.loss /= report.steps as f64;
            report.pattern_loss /= report.steps as f64;
        }
        report.rejected_rows = (0..window.len()).filter(|&row| rejected[row]).collect();
        Ok(report)
    }

    /// Classes of the cross-entropy, in order.
    fn active(&self) -> Vec<ClassId> {
        match self.config.active_classes {
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
