//! The multi-layer perceptron: linear layers with ReLU.

use super::layers::Reader;
use super::{Layout, MapSpec, ParameterSpec, SuffixOutput};
use burn::tensor::{Tensor, activation::relu};
use lightcl_core::Result;

/// `lower.i` freeze, `deep.i` stay plastic, `head` classifies (names as in PyTorch state dicts).
#[derive(Debug, Clone)]
pub(crate) struct Mlp {
    pub(crate) inputs: usize,
    pub(crate) hidden: Vec<usize>,
    pub(crate) frozen: usize,
}

impl Mlp {
    pub(crate) fn layout(&self) -> Layout {
        let mut prefix = Vec::new();
        let mut suffix = Vec::new();
        let mut maps = Vec::new();
        let mut inputs = self.inputs;
        for (index, &units) in self.hidden.iter().enumerate() {
            let (name, part) = match index.checked_sub(self.frozen) {
                None => (format!("lower.{index}"), &mut prefix),
                Some(deep) => (format!("deep.{deep}"), &mut suffix),
            };
            part.push(ParameterSpec::linear_weight(format!("{name}.weight"), units, inputs));
            part.push(ParameterSpec::bias(format!("{name}.bias"), units, inputs));
            if index >= self.frozen {
                maps.push(MapSpec { name, channels: units, spatial: 1 });
            }
            inputs = units;
        }
        let embedding = match self.frozen {
            0 => self.inputs,
            layers => self.hidden[layers - 1],
        };
        Layout {
            prefix,
            suffix,
            prefix_statistics: Vec::new(),
            suffix_statistics: Vec::new(),
            maps,
            embedding_shape: vec![embedding],
            features: inputs,
        }
    }

    pub(crate) fn prefix(&self, reader: &mut Reader<'_>, input: Tensor<2>) -> Result<Tensor<2>> {
        let mut rows = input;
        for _ in 0..self.frozen {
            rows = relu(reader.linear(rows)?);
        }
        Ok(rows)
    }

    pub(crate) fn suffix(&self, reader: &mut Reader<'_>, embedding: Tensor<2>) -> Result<SuffixOutput> {
        let mut rows = embedding;
        let mut maps = Vec::with_capacity(self.hidden.len() - self.frozen);
        for _ in self.frozen..self.hidden.len() {
            rows = relu(reader.linear(rows)?);
            maps.push(rows.clone());
        }
        let logits = if reader.is_done() { None } else { Some(reader.linear(rows)?) };
        Ok(SuffixOutput { logits, maps })
    }
}
