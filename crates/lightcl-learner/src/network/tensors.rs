//! Tensors of the ranks that weights have, handled alike, and their way to and from plain numbers.

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use lightcl_core::{Error, Result};

/// The device that all work runs on: the one place to choose another.
pub(crate) fn compute_device() -> Device {
    Device::flex()
}

/// One trainable tensor.
///
/// Matrices are kept as `[inputs, outputs]`, which is what burn's fused linear operation takes; files hold PyTorch's
/// `[outputs, inputs]`.
#[derive(Debug, Clone)]
pub(crate) enum Weight {
    /// A bias, or the scale or shift of a batch norm.
    Vector(Tensor<1>),
    /// The weight of a linear layer, `[inputs, outputs]`.
    Matrix(Tensor<2>),
    /// Filters of a convolution, `[outputs, inputs, height, width]`.
    Filters(Tensor<4>),
}

/// Applies one expression to the tensor inside, whatever its rank, and wraps the result again.
macro_rules! map {
    ($weight:expr, $tensor:ident => $body:expr) => {
        match $weight {
            Weight::Vector($tensor) => Weight::Vector($body),
            Weight::Matrix($tensor) => Weight::Matrix($body),
            Weight::Filters($tensor) => Weight::Filters($body),
        }
    };
}

/// Applies one expression to the tensor inside, whatever its rank.
macro_rules! read {
    ($weight:expr, $tensor:ident => $body:expr) => {
        match $weight {
            Weight::Vector($tensor) => $body,
            Weight::Matrix($tensor) => $body,
            Weight::Filters($tensor) => $body,
        }
    };
}

impl Weight {
    /// A tensor of the given dimensions (1, 2 or 4 of them).
    pub(crate) fn new(values: Vec<f32>, shape: &[usize], device: &Device) -> Result<Weight> {
        if values.len() != shape.iter().product::<usize>() {
            return Err(Error::internal("a tensor has another number of values than its shape says")
                .with("shape", format!("{shape:?}"))
                .with("values", values.len()));
        }
        match *shape {
            [a] => Ok(Weight::Vector(tensor(values, [a], device))),
            [a, b] => Ok(Weight::Matrix(tensor(values, [a, b], device))),
            [a, b, c, d] => Ok(Weight::Filters(tensor(values, [a, b, c, d], device))),
            _ => Err(Error::internal("weights have 1, 2 or 4 dimensions").with("shape", format!("{shape:?}"))),
        }
    }

    /// The dimensions, as kept in memory.
    pub(crate) fn shape(&self) -> Vec<usize> {
        read!(self, t => t.dims().to_vec())
    }

    /// Numbers in it.
    pub(crate) fn len(&self) -> usize {
        read!(self, t => t.dims().iter().product())
    }

    /// The numbers, row-major.
    pub(crate) fn values(&self) -> Result<Vec<f32>> {
        read!(self, t => values(t.clone()))
    }

    /// A leaf of a new autodiff graph that shares this tensor's memory.
    pub(crate) fn tracked(&self) -> Weight {
        map!(self, t => t.clone().autodiff().require_grad())
    }

    /// Takes this leaf's gradient out of `gradients`; none when the loss does not depend on it.
    pub(crate) fn take_gradient(&self, gradients: &mut Gradients) -> Option<Weight> {
        match self {
            Weight::Vector(t) => t.grad_remove(gradients).map(Weight::Vector),
            Weight::Matrix(t) => t.grad_remove(gradients).map(Weight::Matrix),
            Weight::Filters(t) => t.grad_remove(gradients).map(Weight::Filters),
        }
    }

    /// All zeros, in the same shape.
    pub(crate) fn zeros_like(&self) -> Weight {
        map!(self, t => t.zeros_like())
    }

    /// `self * factor`.
    pub(crate) fn scale(self, factor: f32) -> Weight {
        map!(self, t => t.mul_scalar(factor))
    }

    /// Combines two tensors of the same shape.
    fn zip(self, other: Weight, operation: Operation) -> Result<Weight> {
        macro_rules! apply {
            ($a:ident, $b:ident) => {
                match operation {
                    Operation::Add => $a.add($b),
                    Operation::Subtract => $a.sub($b),
                    Operation::Multiply => $a.mul($b),
                }
            };
        }
        match (self, other) {
            (Weight::Vector(a), Weight::Vector(b)) => Ok(Weight::Vector(apply!(a, b))),
            (Weight::Matrix(a), Weight::Matrix(b)) => Ok(Weight::Matrix(apply!(a, b))),
            (Weight::Filters(a), Weight::Filters(b)) => Ok(Weight::Filters(apply!(a, b))),
            _ => Err(Error::internal("a weight met one of another rank")),
        }
    }

    /// `self + other`.
    pub(crate) fn plus(self, other: Weight) -> Result<Weight> {
        self.zip(other, Operation::Add)
    }

    /// `self - other`.
    pub(crate) fn minus(self, other: Weight) -> Result<Weight> {
        self.zip(other, Operation::Subtract)
    }

    /// `self * other`, element by element.
    pub(crate) fn times(self, other: Weight) -> Result<Weight> {
        self.zip(other, Operation::Multiply)
    }

    /// Whether every number is finite and at most `bound` in magnitude.
    pub(crate) fn within(&self, bound: f32) -> Result<bool> {
        read!(self, t => within(t.clone(), bound))
    }
}

enum Operation {
    Add,
    Subtract,
    Multiply,
}

/// A tensor from numbers; their count must fit the shape.
pub(crate) fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// The numbers of a tensor, row-major.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    tensor
        .try_into_vec_as::<f32>()
        .map_err(|error| Error::internal("cannot read a tensor back from the device").caused_by(error.to_string()))
}

/// Whether every number of a tensor is finite and at most `bound` in magnitude. NaN passes through the maximum.
pub(crate) fn within<const D: usize>(tensor: Tensor<D>, bound: f32) -> Result<bool> {
    let largest = values(tensor.max_abs())?;
    Ok(largest.iter().all(|value| *value <= bound))
}

/// Sum of all numbers, dimension by dimension: the order of additions does not depend on the number of threads, which
/// that of a flat sum may.
pub(crate) fn total(rows: Tensor<2>) -> Result<f64> {
    Ok(values(rows.sum_dim(1).sum_dim(0))?.iter().map(|&value| f64::from(value)).sum())
}
