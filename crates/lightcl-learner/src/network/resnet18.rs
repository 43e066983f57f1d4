//! ResNet-18 for small images (He et al. 2016, with the 3x3 stem used for CIFAR).

use super::layers::Reader;
use super::{Layout, MapSpec, ParameterSpec, StatisticSpec, SuffixOutput};
use burn::tensor::{Tensor, activation::relu};
use lightcl_core::Result;

/// Stem, batch norm and blocks `lower.0..5` freeze; blocks `deep.0`, `deep.1` and `head` stay plastic (names as in
/// PyTorch state dicts). A block has `conv1`, `bn1`, `conv2`, `bn2` and, where the shape changes, `short.0`, `short.1`.
#[derive(Debug, Clone)]
pub(crate) struct ResNet18 {
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) breadth: usize,
    /// Filters of the first stage.
    pub(crate) width: usize,
}

/// One residual block.
struct Block {
    inputs: usize,
    outputs: usize,
    stride: usize,
}

impl Block {
    fn has_shortcut(&self) -> bool {
        self.stride != 1 || self.inputs != self.outputs
    }
}

/// Size of a map's side after a 3x3 convolution with padding 1 and stride 2.
fn halved(side: usize) -> usize {
    side.div_ceil(2)
}

impl ResNet18 {
    /// The six blocks of stages 1 to 3.
    fn lower(&self) -> [Block; 6] {
        let w = self.width;
        [(w, w, 1), (w, w, 1), (w, 2 * w, 2), (2 * w, 2 * w, 1), (2 * w, 4 * w, 2), (4 * w, 4 * w, 1)]
            .map(|(inputs, outputs, stride)| Block { inputs, outputs, stride })
    }

    /// The two blocks of stage 4.
    fn deep(&self) -> [Block; 2] {
        let w = self.width;
        [(4 * w, 8 * w, 2), (8 * w, 8 * w, 1)].map(|(inputs, outputs, stride)| Block { inputs, outputs, stride })
    }

    /// Shape of the maps at the end of a stage, 1 to 4; 0 is the stem.
    pub(crate) fn stage_shape(&self, stage: u32) -> [usize; 3] {
        let halvings = stage.saturating_sub(1);
        let side = |side: usize| (0..halvings).fold(side, |side, _| halved(side));
        [self.width << halvings, side(self.height), side(self.breadth)]
    }

    pub(crate) fn layout(&self) -> Layout {
        let mut prefix = vec![ParameterSpec::filters("stem.weight", self.width, self.channels, 3)];
        let mut prefix_statistics = Vec::new();
        norm("bn", self.width, &mut prefix, &mut prefix_statistics);
        for (index, block) in self.lower().iter().enumerate() {
            block_layout(&format!("lower.{index}"), block, &mut prefix, &mut prefix_statistics);
        }
        let (mut suffix, mut suffix_statistics, mut maps) = (Vec::new(), Vec::new(), Vec::new());
        let [_, height, breadth] = self.stage_shape(4);
        for (index, block) in self.deep().iter().enumerate() {
            let name = format!("deep.{index}");
            block_layout(&name, block, &mut suffix, &mut suffix_statistics);
            for layer in ["conv1", "conv2"] {
                let name = format!("{name}.{layer}");
                maps.push(MapSpec { name, channels: block.outputs, spatial: height * breadth });
            }
        }
        Layout {
            prefix,
            suffix,
            prefix_statistics,
            suffix_statistics,
            maps,
            embedding_shape: self.stage_shape(3).to_vec(),
            features: 8 * self.width,
        }
    }

    /// Runs the prefix; `at_stage` sees the maps of the stem (0) and at the end of stages 1, 2 and 3.
    pub(crate) fn prefix(
        &self,
        reader: &mut Reader<'_>,
        input: Tensor<2>,
        mut at_stage: impl FnMut(u32, &Tensor<4>),
    ) -> Result<Tensor<2>> {
        let rows = input.dims()[0];
        let images = input.reshape([rows, self.channels, self.height, self.breadth]);
        let stem = reader.convolution(images, 1, 1)?;
        let mut maps = relu(reader.norm(stem)?);
        at_stage(0, &maps);
        for (index, block) in (0_u32..).zip(self.lower().iter()) {
            maps = reader.block(maps, block.stride, block.has_shortcut())?.1;
            if index % 2 == 1 {
                at_stage(index.div_ceil(2), &maps);
            }
        }
        Ok(flat(maps))
    }

    pub(crate) fn suffix(&self, reader: &mut Reader<'_>, embedding: Tensor<2>) -> Result<SuffixOutput> {
        let rows = embedding.dims()[0];
        let [channels, height, breadth] = self.stage_shape(3);
        let mut current = embedding.reshape([rows, channels, height, breadth]);
        let mut maps = Vec::with_capacity(4);
        for block in &self.deep() {
            let (inner, outer) = reader.block(current, block.stride, block.has_shortcut())?;
            maps.push(flat(inner));
            maps.push(flat(outer.clone()));
            current = outer;
        }
        let [rows, channels, height, breadth] = current.dims();
        let pooled = current.reshape([rows, channels, height * breadth]).mean_dim(2).reshape([rows, channels]);
        let logits = if reader.is_done() { None } else { Some(reader.linear(pooled)?) };
        Ok(SuffixOutput { logits, maps })
    }
}

/// One row a sample.
fn flat(maps: Tensor<4>) -> Tensor<2> {
    let [rows, channels, height, breadth] = maps.dims();
    maps.reshape([rows, channels * height * breadth])
}

fn norm(name: &str, channels: usize, weights: &mut Vec<ParameterSpec>, statistics: &mut Vec<StatisticSpec>) {
    weights.push(ParameterSpec::norm_scale(format!("{name}.weight"), channels));
    weights.push(ParameterSpec::norm_shift(format!("{name}.bias"), channels));
    statistics.push(StatisticSpec { name: format!("{name}.running_mean"), channels, initial: 0.0 });
    statistics.push(StatisticSpec { name: format!("{name}.running_var"), channels, initial: 1.0 });
}

fn block_layout(name: &str, block: &Block, weights: &mut Vec<ParameterSpec>, statistics: &mut Vec<StatisticSpec>) {
    weights.push(ParameterSpec::filters(format!("{name}.conv1.weight"), block.outputs, block.inputs, 3));
    norm(&format!("{name}.bn1"), block.outputs, weights, statistics);
    weights.push(ParameterSpec::filters(format!("{name}.conv2.weight"), block.outputs, block.outputs, 3));
    norm(&format!("{name}.bn2"), block.outputs, weights, statistics);
    if block.has_shortcut() {
        weights.push(ParameterSpec::filters(format!("{name}.short.0.weight"), block.outputs, block.inputs, 1));
        norm(&format!("{name}.short.1"), block.outputs, weights, statistics);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_has_the_parameters_of_resnet18() {
        let layout = ResNet18 { channels: 3, height: 32, breadth: 32, width: 64 }.layout();
        let count = |specs: &[ParameterSpec]| specs.iter().map(|s| s.shape.iter().product::<usize>()).sum::<usize>();
        // 11,173,962 weights with a head of 10 classes, as in every CIFAR ResNet-18; the head is not part of the layout.
        assert_eq!(count(&layout.prefix) + count(&layout.suffix) + 512 * 10 + 10, 11_173_962);
        assert_eq!(layout.embedding_shape, [256, 8, 8]);
        assert_eq!(layout.maps.iter().map(|m| (m.channels, m.spatial)).collect::<Vec<_>>(), [(512, 16); 4]);
        assert_eq!(layout.prefix.last().unwrap().name, "lower.5.bn2.bias");
        assert!(layout.prefix.iter().any(|s| s.name == "lower.4.short.0.weight" && s.shape == [256, 128, 1, 1]));
    }
}
