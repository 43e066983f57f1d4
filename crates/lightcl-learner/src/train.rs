//! One step of training, and the guard that takes it back.

use crate::learner::LightClLearner;
use crate::loss::{PatternLoss, cross_entropy, pattern_loss};
use crate::memory::References;
use crate::network::{Norms, SuffixOutput, Weight, tensor, values, within};
use crate::sparse;
use burn::tensor::{Gradients, Tensor};
use lightcl_core::{ClassId, Error, Result};

/// Losses, logits, maps and weights beyond this are taken for divergence.
pub(crate) const BOUND: f32 = 1e6;
/// The same for running variances, which are squares.
const VARIANCE_BOUND: f32 = 1e12;

/// Some rows of a window.
pub(crate) struct Batch {
    /// Prefix outputs when the prefix never changes any more, else features.
    pub(crate) rows: Tensor<2>,
    pub(crate) labels: Vec<ClassId>,
    pub(crate) weights: Vec<f32>,
}

/// What became of a step.
pub(crate) enum Outcome {
    /// The weights moved.
    Taken {
        /// Total loss before the step.
        loss: f64,
        /// The pattern loss in it.
        pattern: f64,
    },
    /// Something exploded; everything is as before.
    Refused,
}

/// Momentum buffers, one for each trained weight.
#[derive(Debug, Clone)]
pub(crate) struct Momentum {
    /// Empty once the prefix is frozen.
    pub(crate) prefix: Vec<Weight>,
    pub(crate) suffix: Vec<Weight>,
}

/// Outputs with their gradients; its sum of products has the gradient of the loss.
#[derive(Default)]
struct Objective {
    sum: Option<Tensor<1>>,
}

impl Objective {
    fn add(&mut self, output: Tensor<2>, gradient: Tensor<2>) {
        // The value of this sum is never used, so the order of its additions does not matter.
        let term = (output * gradient.autodiff()).sum();
        self.sum = Some(match self.sum.take() {
            Some(sum) => sum + term,
            None => term,
        });
    }

    fn backward(self) -> Result<Gradients> {
        match self.sum {
            Some(sum) if sum.is_tracked() => Ok(sum.backward()),
            _ => Err(Error::internal("no output of the network depends on a trained weight")),
        }
    }
}

impl LightClLearner {
    /// Runs the prefix as training does: in training mode while it trains or updates its statistics, else in evaluation
    /// mode.
    pub(crate) fn embed_in_training(
        &self,
        weights: &[Weight],
        statistics: &mut [Tensor<1>],
        rows: Tensor<2>,
    ) -> Result<Tensor<2>> {
        let norms = if self.is_prefix_fixed() { Norms::Running(statistics) } else { Norms::Batch(statistics) };
        self.model.network.prefix(weights, norms, rows)
    }

    /// One step of stochastic gradient descent; `active` are the classes of the cross-entropy, in order.
    pub(crate) fn step(&mut self, batch: Batch, active: &[ClassId]) -> Result<Outcome> {
        let network = self.model.network.clone();
        let classes = self.model.classes;
        let trains_prefix = !self.progress.frozen;
        let mut prefix_statistics = self.model.prefix.statistics.clone();
        let mut suffix_statistics = self.model.suffix.statistics.clone();
        let prefix: Vec<Weight> = match trains_prefix {
            true => self.model.prefix.weights.iter().map(Weight::tracked).collect(),
            false => self.model.prefix.weights.clone(),
        };
        let suffix: Vec<Weight> = self.model.suffix.weights.iter().map(Weight::tracked).collect();

        let cached = self.caches_prefix();
        let mut forward = |rows: Tensor<2>| -> Result<SuffixOutput> {
            let embedding = if cached { rows } else { self.embed_in_training(&prefix, &mut prefix_statistics, rows)? };
            network.suffix(&suffix, Norms::Batch(&mut suffix_statistics), embedding.autodiff())
        };
        let mut objective = Objective::default();
        let references = self.references.as_ref();
        let memory_rows = references.map(|references| match &references.embeddings {
            Some(embeddings) if cached => embeddings.clone(),
            _ => references.inputs.clone(),
        });
        let batch_rows = batch.labels.len();
        let (loss, pattern) = match (references, memory_rows) {
            // Without norms the rows do not see each other: memory and batch run as one.
            (Some(references), Some(memory)) if !network.has_norms() => {
                let output = forward(Tensor::cat(vec![memory, batch.rows], 0))?;
                let logits = head_output(output.logits)?;
                let numbers = values(logits.clone().inner())?;
                if !all_within(&numbers) {
                    return Ok(Outcome::Refused);
                }
                let memory_count = references.rows();
                let (memory_logits, batch_logits) = numbers.split_at(memory_count * classes);
                let maps: Vec<Tensor<2>> = output.maps.into_iter().map(|map| map.narrow(0, 0, memory_count)).collect();
                let pattern = self.add_pattern(&mut objective, maps, memory_logits, references)?;
                let cross = cross_entropy(batch_logits, classes, active, &batch.labels, &batch.weights);
                let gradient = [pattern.logit_gradient, cross.gradient].concat();
                let gradient = tensor(gradient, [memory_count + batch_rows, classes], &network.device);
                objective.add(logits, gradient);
                (cross.loss + pattern.loss, pattern.loss)
            }
            (references, memory_rows) => {
                let mut pattern = 0.0;
                if let (Some(references), Some(memory)) = (references, memory_rows) {
                    let output = forward(memory)?;
                    let logits = head_output(output.logits)?;
                    let numbers = values(logits.clone().inner())?;
                    let patterns = self.add_pattern(&mut objective, output.maps, &numbers, references)?;
                    let shape = [references.rows(), classes];
                    objective.add(logits, tensor(patterns.logit_gradient, shape, &network.device));
                    pattern = patterns.loss;
                }
                let logits = head_output(forward(batch.rows)?.logits)?;
                let numbers = values(logits.clone().inner())?;
                if !all_within(&numbers) {
                    return Ok(Outcome::Refused);
                }
                let cross = cross_entropy(&numbers, classes, active, &batch.labels, &batch.weights);
                objective.add(logits, tensor(cross.gradient, [batch_rows, classes], &network.device));
                (cross.loss + pattern, pattern)
            }
        };
        if !loss.is_finite() || loss > f64::from(BOUND) {
            return Ok(Outcome::Refused);
        }

        let mut gradients = objective.backward()?;
        let masks = self.pruning.as_ref();
        let descent = Descent { rate: self.config.learning_rate as f32, momentum: self.config.momentum as f32 };
        let (prefix_buffers, suffix_buffers) = match &self.momentum {
            Some(buffers) => (buffers.prefix.as_slice(), buffers.suffix.as_slice()),
            None => (&[][..], &[][..]),
        };
        let new_prefix = match trains_prefix {
            true => Some(descent.apply(&self.model.prefix.weights, &prefix, prefix_buffers, &mut gradients)?),
            false => None,
        };
        let new_suffix = descent.apply(&self.model.suffix.weights, &suffix, suffix_buffers, &mut gradients)?;
        drop(gradients);

        let new_prefix = match (new_prefix, masks) {
            (Some(moved), Some(masks)) => {
                Some(Moved { weights: sparse::apply(moved.weights, &masks.prefix)?, buffers: moved.buffers })
            }
            (moved, _) => moved,
        };
        let new_suffix = match masks {
            Some(masks) => {
                Moved { weights: sparse::apply(new_suffix.weights, &masks.suffix)?, buffers: new_suffix.buffers }
            }
            None => new_suffix,
        };
        let trained = new_prefix.iter().flat_map(|moved| &moved.weights).chain(&new_suffix.weights);
        for weight in trained {
            if !weight.within(BOUND)? {
                return Ok(Outcome::Refused);
            }
        }
        if !(statistics_within(&prefix_statistics)? && statistics_within(&suffix_statistics)?) {
            return Ok(Outcome::Refused);
        }

        if self.config.momentum > 0.0 {
            let prefix = new_prefix.as_ref().map(|moved| moved.buffers.clone()).unwrap_or_default();
            self.momentum = Some(Momentum { prefix, suffix: new_suffix.buffers });
        }
        if let Some(moved) = new_prefix {
            self.model.prefix.weights = moved.weights;
        }
        self.model.prefix.statistics = prefix_statistics;
        self.model.suffix.weights = new_suffix.weights;
        self.model.suffix.statistics = suffix_statistics;
        Ok(Outcome::Taken { loss, pattern })
    }

    /// The pattern loss of the memory samples' outputs; its maps' part goes to the objective.
    fn add_pattern(
        &self,
        objective: &mut Objective,
        maps: Vec<Tensor<2>>,
        logits: &[f32],
        references: &References,
    ) -> Result<PatternLoss> {
        let plain = maps.iter().map(|map| map.clone().inner());
        let mut pattern = pattern_loss(plain, logits, references, self.config.memory.beta)?;
        for (map, gradient) in maps.into_iter().zip(std::mem::take(&mut pattern.map_gradients)) {
            objective.add(map, gradient);
        }
        Ok(pattern)
    }
}

/// Whether running statistics (mean, variance, mean, ..) are finite and sane.
pub(crate) fn statistics_within(statistics: &[Tensor<1>]) -> Result<bool> {
    for (index, statistic) in statistics.iter().enumerate() {
        let bound = if index % 2 == 0 { BOUND } else { VARIANCE_BOUND };
        if !within(statistic.clone(), bound)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether all numbers are finite and within the bound.
pub(crate) fn all_within(numbers: &[f32]) -> bool {
    numbers.iter().all(|number| number.abs() <= BOUND)
}

fn head_output(logits: Option<Tensor<2>>) -> Result<Tensor<2>> {
    logits.ok_or_else(|| Error::internal("training needs a class"))
}

/// Weights after a step, with their momentum buffers (empty without momentum).
struct Moved {
    weights: Vec<Weight>,
    buffers: Vec<Weight>,
}

/// Stochastic gradient descent in PyTorch's convention: `buffer = momentum * buffer + gradient`,
/// `weight -= rate * buffer`.
struct Descent {
    rate: f32,
    momentum: f32,
}

impl Descent {
    fn apply(
        &self,
        weights: &[Weight],
        tracked: &[Weight],
        buffers: &[Weight],
        gradients: &mut Gradients,
    ) -> Result<Moved> {
        let mut moved = Moved { weights: Vec::with_capacity(weights.len()), buffers: Vec::new() };
        for (index, (weight, leaf)) in weights.iter().zip(tracked).enumerate() {
            let gradient = leaf.take_gradient(gradients);
            let direction = if self.momentum > 0.0 {
                let buffer = match (buffers.get(index).cloned(), gradient) {
                    (Some(buffer), Some(gradient)) => buffer.scale(self.momentum).plus(gradient)?,
                    (Some(buffer), None) => buffer.scale(self.momentum),
                    (None, Some(gradient)) => gradient,
                    (None, None) => weight.zeros_like(),
                };
                moved.buffers.push(buffer.clone());
                Some(buffer)
            } else {
                gradient
            };
            moved.weights.push(match direction {
                Some(direction) => weight.clone().minus(direction.scale(self.rate))?,
                None => weight.clone(),
            });
        }
        Ok(moved)
    }
}
