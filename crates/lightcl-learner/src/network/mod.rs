//! Networks as a prefix that freezes and a suffix that stays plastic.
//!
//! A network is a description; its weights are plain lists of tensors in the order of its [`Layout`]. Both parts take
//! and give one row a sample, whatever the shape inside. The suffix's list ends with the head (`head.weight`,
//! `head.bias`) once there is a class.

mod layers;
mod mlp;
mod resnet18;
mod tensors;

pub(crate) use layers::{Norms, Reader};
pub(crate) use tensors::{Weight, tensor, total, values, within};

use crate::{Backbone, LearnerConfig};
use burn::tensor::{Device, Tensor};
use lightcl_core::{ClassId, Result};
use mlp::Mlp;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use resnet18::ResNet18;

/// What a weight is, which decides how it starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Role {
    /// Drawn uniformly in `±1/sqrt(fan_in)`; a matrix is kept transposed in memory.
    LinearWeight,
    /// Drawn uniformly in `±1/sqrt(fan_in)`.
    Filters,
    /// Drawn as the weight it belongs to.
    Bias,
    /// 1.
    NormScale,
    /// 0.
    NormShift,
}

/// One weight: its name and shape as in PyTorch.
#[derive(Debug, Clone)]
pub(crate) struct ParameterSpec {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) role: Role,
    fan_in: usize,
}

impl ParameterSpec {
    fn linear_weight(name: impl Into<String>, outputs: usize, inputs: usize) -> Self {
        ParameterSpec { name: name.into(), shape: vec![outputs, inputs], role: Role::LinearWeight, fan_in: inputs }
    }

    fn bias(name: impl Into<String>, outputs: usize, inputs: usize) -> Self {
        ParameterSpec { name: name.into(), shape: vec![outputs], role: Role::Bias, fan_in: inputs }
    }

    fn filters(name: impl Into<String>, outputs: usize, inputs: usize, side: usize) -> Self {
        let shape = vec![outputs, inputs, side, side];
        ParameterSpec { name: name.into(), shape, role: Role::Filters, fan_in: inputs * side * side }
    }

    fn norm_scale(name: impl Into<String>, channels: usize) -> Self {
        ParameterSpec { name: name.into(), shape: vec![channels], role: Role::NormScale, fan_in: 1 }
    }

    fn norm_shift(name: impl Into<String>, channels: usize) -> Self {
        ParameterSpec { name: name.into(), shape: vec![channels], role: Role::NormShift, fan_in: 1 }
    }

    /// The shape in memory.
    pub(crate) fn stored_shape(&self) -> Vec<usize> {
        match (self.role, self.shape.as_slice()) {
            (Role::LinearWeight, &[outputs, inputs]) => vec![inputs, outputs],
            _ => self.shape.clone(),
        }
    }

    /// PyTorch's initial values (Kaiming uniform with a = sqrt 5), from a generator of this weight's own.
    pub(crate) fn initial(&self, seed: u64) -> Vec<f32> {
        let count = self.shape.iter().product();
        match self.role {
            Role::NormScale => vec![1.0; count],
            Role::NormShift => vec![0.0; count],
            Role::LinearWeight | Role::Filters | Role::Bias => {
                let mut generator = generator(seed, &self.name);
                let bound = 1.0 / (self.fan_in as f64).sqrt();
                (0..count).map(|_| uniform(&mut generator, bound)).collect()
            }
        }
    }

    /// A tensor of this weight from values in PyTorch's layout.
    pub(crate) fn weight(&self, values: Vec<f32>, device: &Device) -> Result<Weight> {
        match (self.role, self.shape.as_slice()) {
            (Role::LinearWeight, &[outputs, inputs]) => {
                Weight::new(transposed(&values, outputs, inputs), &[inputs, outputs], device)
            }
            _ => Weight::new(values, &self.shape, device),
        }
    }

    /// The values of a tensor of this weight in PyTorch's layout.
    pub(crate) fn exported(&self, weight: &Weight) -> Result<Vec<f32>> {
        let values = weight.values()?;
        Ok(match (self.role, self.shape.as_slice()) {
            (Role::LinearWeight, &[outputs, inputs]) => transposed(&values, inputs, outputs),
            _ => values,
        })
    }
}

fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

/// The running statistic of a batch norm.
#[derive(Debug, Clone)]
pub(crate) struct StatisticSpec {
    pub(crate) name: String,
    pub(crate) channels: usize,
    pub(crate) initial: f32,
}

/// One plastic layer whose maps the memory keeps.
#[derive(Debug, Clone)]
pub(crate) struct MapSpec {
    pub(crate) name: String,
    pub(crate) channels: usize,
    pub(crate) spatial: usize,
}

/// Every weight and statistic of a network in the order in which it reads them.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) prefix: Vec<ParameterSpec>,
    /// Without the head.
    pub(crate) suffix: Vec<ParameterSpec>,
    pub(crate) prefix_statistics: Vec<StatisticSpec>,
    pub(crate) suffix_statistics: Vec<StatisticSpec>,
    pub(crate) maps: Vec<MapSpec>,
    /// Shape of one sample's prefix output.
    pub(crate) embedding_shape: Vec<usize>,
    /// Inputs of the head.
    pub(crate) features: usize,
}

impl Layout {
    /// Numbers in one sample's prefix output.
    pub(crate) fn embedding_width(&self) -> usize {
        self.embedding_shape.iter().product()
    }

    /// The suffix's weights with a head of `classes` rows.
    pub(crate) fn suffix_with_head(&self, classes: usize) -> Vec<ParameterSpec> {
        let mut specs = self.suffix.clone();
        if classes > 0 {
            specs.push(ParameterSpec::linear_weight("head.weight", classes, self.features));
            specs.push(ParameterSpec::bias("head.bias", classes, self.features));
        }
        specs
    }

    /// Initial values of one class's row of the head and its bias: the same whenever the class appears.
    pub(crate) fn initial_head_row(&self, seed: u64, class: ClassId) -> (Vec<f32>, f32) {
        let mut generator = generator(seed, &format!("head.{class}"));
        let bound = 1.0 / (self.features as f64).sqrt();
        let row = (0..self.features).map(|_| uniform(&mut generator, bound)).collect();
        (row, uniform(&mut generator, bound))
    }
}

/// What the suffix gives for some rows.
pub(crate) struct SuffixOutput {
    /// `[rows, classes]`; none before there is a class.
    pub(crate) logits: Option<Tensor<2>>,
    /// The maps after each plastic ReLU, `[rows, channels * spatial]`.
    pub(crate) maps: Vec<Tensor<2>>,
}

#[derive(Debug, Clone)]
enum Kind {
    Mlp(Mlp),
    ResNet18(ResNet18),
}

/// A network without its weights.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    kind: Kind,
    pub(crate) layout: Layout,
    pub(crate) input_shape: Vec<usize>,
    pub(crate) device: Device,
}

impl Network {
    /// The network of a validated configuration.
    pub(crate) fn new(config: &LearnerConfig, shape: &[usize]) -> Result<Network> {
        config.validate_with_shape(shape)?;
        let kind = match (&config.backbone, shape) {
            (Backbone::Resnet18 { width }, &[channels, height, breadth]) => {
                Kind::ResNet18(ResNet18 { channels, height, breadth, width: *width })
            }
            (Backbone::Mlp { hidden, frozen }, _) => {
                Kind::Mlp(Mlp { inputs: shape.iter().product(), hidden: hidden.clone(), frozen: *frozen })
            }
            (Backbone::Resnet18 { .. }, _) => {
                return Err(lightcl_core::Error::internal("an unfit shape passed validation"));
            }
        };
        let layout = match &kind {
            Kind::Mlp(mlp) => mlp.layout(),
            Kind::ResNet18(resnet) => resnet.layout(),
        };
        Ok(Network { kind, layout, input_shape: shape.to_vec(), device: tensors::compute_device() })
    }

    /// Numbers in one sample.
    pub(crate) fn input_width(&self) -> usize {
        self.input_shape.iter().product()
    }

    /// Whether anything stands between a sample and the prefix's output, which then ends in a ReLU.
    pub(crate) fn has_prefix(&self) -> bool {
        !self.layout.prefix.is_empty()
    }

    /// Whether it has batch norms, so that the rows of a batch depend on each other in training mode.
    pub(crate) fn has_norms(&self) -> bool {
        !self.layout.suffix_statistics.is_empty()
    }

    /// Runs the prefix.
    pub(crate) fn prefix(&self, weights: &[Weight], norms: Norms<'_>, input: Tensor<2>) -> Result<Tensor<2>> {
        let mut reader = Reader::new(weights, norms);
        match &self.kind {
            Kind::Mlp(mlp) => mlp.prefix(&mut reader, input),
            Kind::ResNet18(resnet) => resnet.prefix(&mut reader, input, |_, _| ()),
        }
    }

    /// Runs the prefix and keeps what analytic heads may tap: the stem and the ends of all stages but the last (`stem`,
    /// `stage1`, `stage2`), then the prefix output (`prefix`), with the shape of one sample.
    pub(crate) fn prefix_taps(
        &self,
        weights: &[Weight],
        norms: Norms<'_>,
        input: Tensor<2>,
    ) -> Result<Vec<(String, Vec<usize>, Tensor<2>)>> {
        let mut reader = Reader::new(weights, norms);
        let mut taps = Vec::new();
        let output = match &self.kind {
            Kind::Mlp(mlp) => mlp.prefix(&mut reader, input)?,
            Kind::ResNet18(resnet) => resnet.prefix(&mut reader, input, |stage, maps| {
                if stage < 3 {
                    let [rows, channels, height, breadth] = maps.dims();
                    let flat = maps.clone().reshape([rows, channels * height * breadth]);
                    taps.push((stage_name(stage), vec![channels, height, breadth], flat));
                }
            })?,
        };
        taps.push(("prefix".to_owned(), self.layout.embedding_shape.clone(), output));
        Ok(taps)
    }

    /// Names and shapes of what [`Network::prefix_taps`] gives.
    pub(crate) fn tap_shapes(&self) -> Vec<(String, Vec<usize>)> {
        let mut shapes = Vec::new();
        if let Kind::ResNet18(resnet) = &self.kind {
            for stage in [0, 1, 2] {
                shapes.push((stage_name(stage), resnet.stage_shape(stage).to_vec()));
            }
        }
        shapes.push(("prefix".to_owned(), self.layout.embedding_shape.clone()));
        shapes
    }

    /// Runs the suffix.
    pub(crate) fn suffix(&self, weights: &[Weight], norms: Norms<'_>, embedding: Tensor<2>) -> Result<SuffixOutput> {
        let mut reader = Reader::new(weights, norms);
        match &self.kind {
            Kind::Mlp(mlp) => mlp.suffix(&mut reader, embedding),
            Kind::ResNet18(resnet) => resnet.suffix(&mut reader, embedding),
        }
    }
}

fn stage_name(stage: u32) -> String {
    if stage == 0 { "stem".to_owned() } else { format!("stage{stage}") }
}

/// A generator that depends on the seed and a name only.
pub(crate) fn generator(seed: u64, name: &str) -> ChaCha8Rng {
    let digest = lightcl_core::state::sha256_hex(format!("{seed}/{name}").as_bytes());
    let mut key = [0_u8; 32];
    for (byte, digits) in key.iter_mut().zip(digest.as_bytes().chunks_exact(2)) {
        *byte = digits.iter().fold(0, |byte, digit| byte << 4 | (*digit as char).to_digit(16).unwrap_or(0) as u8);
    }
    ChaCha8Rng::from_seed(key)
}

/// Uniform in `[-bound, bound)`.
fn uniform(generator: &mut ChaCha8Rng, bound: f64) -> f32 {
    let unit = f64::from(generator.next_u32()) / 4_294_967_296.0;
    ((2.0 * unit - 1.0) * bound) as f32
}
