//! Layers that read their weights, one after another, from a part of the network.

use super::tensors::Weight;
use burn::tensor::{Tensor, activation::relu, module, ops::ConvOptions};
use lightcl_core::{Error, Result};
use std::slice;

/// Added to the variance of a batch norm.
const EPSILON: f64 = 1e-5;
/// Share of the new batch in running statistics.
const MOMENTUM: f32 = 0.1;

/// Where batch norms take their statistics from.
pub(crate) enum Norms<'a> {
    /// Evaluation mode: the running statistics, which do not change.
    Running(&'a [Tensor<1>]),
    /// Training mode: those of the batch itself, which move the running ones (unbiased variance).
    Batch(&'a mut [Tensor<1>]),
}

enum Statistics<'a> {
    Running(slice::Iter<'a, Tensor<1>>),
    Batch(slice::IterMut<'a, Tensor<1>>),
}

/// Hands out the weights of one part in their order while the part runs.
pub(crate) struct Reader<'a> {
    weights: slice::Iter<'a, Weight>,
    statistics: Statistics<'a>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(weights: &'a [Weight], norms: Norms<'a>) -> Self {
        let statistics = match norms {
            Norms::Running(tensors) => Statistics::Running(tensors.iter()),
            Norms::Batch(tensors) => Statistics::Batch(tensors.iter_mut()),
        };
        Reader { weights: weights.iter(), statistics }
    }

    /// Whether all weights were read.
    pub(crate) fn is_done(&self) -> bool {
        self.weights.len() == 0
    }

    fn vector(&mut self) -> Result<Tensor<1>> {
        match self.weights.next() {
            Some(Weight::Vector(tensor)) => Ok(tensor.clone()),
            _ => Err(out_of_step("vector")),
        }
    }

    fn matrix(&mut self) -> Result<Tensor<2>> {
        match self.weights.next() {
            Some(Weight::Matrix(tensor)) => Ok(tensor.clone()),
            _ => Err(out_of_step("matrix")),
        }
    }

    fn filters(&mut self) -> Result<Tensor<4>> {
        match self.weights.next() {
            Some(Weight::Filters(tensor)) => Ok(tensor.clone()),
            _ => Err(out_of_step("filters")),
        }
    }

    /// A linear layer with bias.
    pub(crate) fn linear(&mut self, input: Tensor<2>) -> Result<Tensor<2>> {
        let weight = self.matrix()?;
        let bias = self.vector()?;
        Ok(module::linear(input, weight, Some(bias)))
    }

    /// A square convolution without bias.
    pub(crate) fn convolution(&mut self, input: Tensor<4>, stride: usize, padding: usize) -> Result<Tensor<4>> {
        let filters = self.filters()?;
        let options = ConvOptions::new([stride, stride], [padding, padding], [1, 1], 1);
        Ok(module::conv2d(input, filters, None, options))
    }

    /// A batch norm.
    pub(crate) fn norm(&mut self, input: Tensor<4>) -> Result<Tensor<4>> {
        let scale = self.vector()?;
        let shift = self.vector()?;
        match &mut self.statistics {
            Statistics::Running(tensors) => {
                let (Some(mean), Some(variance)) = (tensors.next(), tensors.next()) else {
                    return Err(out_of_step("statistics"));
                };
                // One multiply and one add a value: scale / std and shift - mean * scale / std are per channel.
                let factor = scale / variance.clone().add_scalar(EPSILON as f32).sqrt();
                let offset = shift - mean.clone() * factor.clone();
                let channels = factor.dims()[0];
                Ok(input * factor.reshape([1, channels, 1, 1]) + offset.reshape([1, channels, 1, 1]))
            }
            Statistics::Batch(tensors) => {
                let (Some(mean), Some(variance)) = (tensors.next(), tensors.next()) else {
                    return Err(out_of_step("statistics"));
                };
                let [rows, _, height, width] = input.dims();
                let count = (rows * height * width) as f32;
                let normed = module::batch_norm_train(input, scale, shift, EPSILON);
                // A single value a channel has no unbiased variance; its biased one, 0, stands in.
                let unbiased = if count > 1.0 { count / (count - 1.0) } else { 1.0 };
                let (new_mean, new_variance) = (normed.mean.inner(), normed.variance.inner());
                *mean = mean.clone().mul_scalar(1.0 - MOMENTUM) + new_mean.mul_scalar(MOMENTUM);
                *variance = variance.clone().mul_scalar(1.0 - MOMENTUM) + new_variance.mul_scalar(MOMENTUM * unbiased);
                Ok(normed.output)
            }
        }
    }

    /// One residual block: two 3x3 convolutions with batch norms, and a 1x1 convolution with batch norm as shortcut where
    /// the shape changes. Gives the map inside the block and its output, both after ReLU.
    pub(crate) fn block(&mut self, input: Tensor<4>, stride: usize, shortcut: bool) -> Result<(Tensor<4>, Tensor<4>)> {
        let inner = self.convolution(input.clone(), stride, 1)?;
        let inner = relu(self.norm(inner)?);
        let outer = self.convolution(inner.clone(), 1, 1)?;
        let outer = self.norm(outer)?;
        let side = if shortcut {
            let side = self.convolution(input, stride, 0)?;
            self.norm(side)?
        } else {
            input
        };
        Ok((inner, relu(outer + side)))
    }
}

fn out_of_step(wanted: &str) -> Error {
    Error::internal("the network's weights do not follow its layout").with("wanted", wanted)
}
