//! Sparse mode: whole channels are switched off before the first task and stay off.
//!
//! Each layer ranks its filters by the signed mean of their weights and prunes the lowest share: 0.7 in stage 3, 0.8 in
//! stage 4 and 0.2 elsewhere (stem, stages 1 and 2) of a ResNet-18. A pruned filter's weights are 0, and so are the
//! weights with which the next convolution reads its channel; both compose to about 90.6 % zeros at any width. Norms and
//! the classifier are left alone. The zeros are put back after each step.
//!
//! In an MLP a unit is a filter and its incoming weights rank it. Plastic layers are pruned like stage 4, the last
//! frozen layer (where there are two or more) like stage 3, the others like the rest; a pruned unit loses its bias too,
//! since no norm follows that would bring it back.

use crate::model::{Model, Part};
use crate::network::{ParameterSpec, Role, Weight};
use crate::{Backbone, LearnerConfig};
use lightcl_core::Result;

/// One tensor of zeros and ones for each weight that is pruned.
#[derive(Debug, Clone)]
pub(crate) struct Pruning {
    pub(crate) prefix: Vec<Option<Weight>>,
    /// Without the head.
    pub(crate) suffix: Vec<Option<Weight>>,
}

impl Pruning {
    /// Chooses the filters to prune from the weights as they are, and prunes them.
    pub(crate) fn start(config: &LearnerConfig, model: &mut Model) -> Result<Pruning> {
        let network = model.network.clone();
        let mut planner = Planner { config, kept: vec![true; network.input_shape[0]], block: Vec::new() };
        // An MLP flattens its input, and no input is ever pruned.
        if matches!(config.backbone, Backbone::Mlp { .. }) {
            planner.kept = vec![true; network.input_width()];
        }
        let device = &network.device;
        let mut plan = |specs: &[ParameterSpec], part: &Part| {
            specs
                .iter()
                .zip(&part.weights)
                .map(|(spec, weight)| {
                    let Some(mask) = planner.mask(spec, weight)? else { return Ok(None) };
                    Ok(Some(spec.weight(mask, device)?))
                })
                .collect::<Result<Vec<_>>>()
        };
        let prefix = plan(&network.layout.prefix, &model.prefix)?;
        let suffix = plan(&network.layout.suffix, &model.suffix)?;
        let pruning = Pruning { prefix, suffix };
        model.prefix.weights = apply(std::mem::take(&mut model.prefix.weights), &pruning.prefix)?;
        model.suffix.weights = apply(std::mem::take(&mut model.suffix.weights), &pruning.suffix)?;
        Ok(pruning)
    }

    /// The pruning of weights that were pruned before: their zeros.
    pub(crate) fn of_zeros(model: &Model) -> Result<Pruning> {
        let device = &model.network.device;
        let read = |specs: &[ParameterSpec], weights: &[Weight]| {
            specs
                .iter()
                .zip(weights)
                .map(|(spec, weight)| {
                    if matches!(spec.role, Role::NormScale | Role::NormShift) {
                        return Ok(None);
                    }
                    let mask = spec.exported(weight)?.iter().map(|&v| if v == 0.0 { 0.0 } else { 1.0 }).collect();
                    Ok(Some(spec.weight(mask, device)?))
                })
                .collect::<Result<Vec<_>>>()
        };
        let layout = &model.network.layout;
        Ok(Pruning {
            prefix: read(&layout.prefix, &model.prefix.weights)?,
            suffix: read(&layout.suffix, &model.suffix.weights)?,
        })
    }
}

/// Puts the zeros back.
pub(crate) fn apply(weights: Vec<Weight>, masks: &[Option<Weight>]) -> Result<Vec<Weight>> {
    let masks = masks.iter().map(Option::as_ref).chain(std::iter::repeat(None));
    weights
        .into_iter()
        .zip(masks)
        .map(|(weight, mask)| match mask {
            Some(mask) => weight.times(mask.clone()),
            None => Ok(weight),
        })
        .collect()
}

/// Walks the layers in order and remembers which channels the layer before kept.
struct Planner<'a> {
    config: &'a LearnerConfig,
    /// Channels kept by the layer before.
    kept: Vec<bool>,
    /// Channels kept at the input of the current residual block.
    block: Vec<bool>,
}

impl Planner<'_> {
    /// The mask of one weight in PyTorch's layout; none when it is not pruned.
    fn mask(&mut self, spec: &ParameterSpec, weight: &Weight) -> Result<Option<Vec<f32>>> {
        let outputs = spec.shape[0];
        match spec.role {
            Role::NormScale | Role::NormShift => Ok(None),
            // A bias follows its weight, whose kept outputs are at hand.
            Role::Bias => Ok(Some(self.kept.iter().map(|&kept| f32::from(u8::from(kept))).collect())),
            Role::LinearWeight | Role::Filters => {
                let inputs = spec.shape[1];
                let area: usize = spec.shape[2..].iter().product();
                let values = spec.exported(weight)?;
                let kept = keep(&values, outputs, self.rate(&spec.name));
                if spec.name.ends_with("conv1.weight") {
                    self.block = self.kept.clone();
                }
                let is_shortcut = spec.name.ends_with("short.0.weight");
                let seen = if is_shortcut { &self.block } else { &self.kept };
                let mut mask = Vec::with_capacity(values.len());
                for &output in &kept {
                    for input in 0..inputs {
                        let on = output && seen.get(input).copied().unwrap_or(true);
                        mask.extend(std::iter::repeat_n(f32::from(u8::from(on)), area));
                    }
                }
                // The block's output goes on under the name of its second convolution.
                if !is_shortcut {
                    self.kept = kept;
                }
                Ok(Some(mask))
            }
        }
    }

    /// Share of a layer's filters to prune.
    fn rate(&self, name: &str) -> f64 {
        const STAGE_3: f64 = 0.7;
        const STAGE_4: f64 = 0.8;
        const REST: f64 = 0.2;
        if name.starts_with("deep.") {
            return STAGE_4;
        }
        let in_stage_3 = match &self.config.backbone {
            Backbone::Resnet18 { .. } => name.starts_with("lower.4.") || name.starts_with("lower.5."),
            Backbone::Mlp { frozen, .. } => *frozen >= 2 && name.starts_with(&format!("lower.{}.", frozen - 1)),
        };
        if in_stage_3 { STAGE_3 } else { REST }
    }
}

/// Keeps all filters but the `rate` with the lowest mean weight (rounded; at least one stays, the first of equals goes).
fn keep(values: &[f32], filters: usize, rate: f64) -> Vec<bool> {
    let size = values.len() / filters.max(1);
    let sums: Vec<f64> = values.chunks(size.max(1)).map(|f| f.iter().map(|&v| f64::from(v)).sum()).collect();
    let mut order: Vec<usize> = (0..filters).collect();
    order.sort_by(|&a, &b| sums[a].total_cmp(&sums[b]));
    let pruned = ((filters as f64 * rate).round() as usize).min(filters.saturating_sub(1));
    let mut kept = vec![true; filters];
    for &filter in &order[..pruned] {
        kept[filter] = false;
    }
    kept
}

/// Share of zeros among all weights of a model, head included.
#[cfg(test)]
pub(crate) fn zero_share(model: &Model) -> Result<f64> {
    let mut zeros = 0;
    let mut count = 0;
    for weight in model.prefix.weights.iter().chain(&model.suffix.weights) {
        let values = weight.values()?;
        zeros += values.iter().filter(|&&v| v == 0.0).count();
        count += values.len();
    }
    Ok(zeros as f64 / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Network, tensor};

    #[test]
    fn the_filters_with_the_lowest_signed_mean_are_pruned() {
        let values = [-5.0, 1.0, 0.5, 0.5, 3.0, 3.0, -1.0, -1.0, 0.0, 0.0];
        assert_eq!(keep(&values, 5, 0.4), [false, true, true, false, true]);
        assert_eq!(keep(&values, 5, 1.0), [false, false, true, false, false]);
    }

    #[test]
    fn resnet18_ends_with_the_published_share_of_zeros() {
        let config = LearnerConfig { backbone: Backbone::Resnet18 { width: 20 }, ..LearnerConfig::default() };
        let network = Network::new(&config, &[3, 32, 32]).unwrap();
        let mut model = Model::new(network, 0, 10, None).unwrap();
        Pruning::start(&config, &mut model).unwrap();
        // Norm shifts start at 0 and would count as pruned.
        let shifts = 9600.0 / 2.0 / 64.0 * 20.0 / 1_100_000.0;
        let share = zero_share(&model).unwrap();
        assert!((share - shifts - 0.906).abs() < 0.004, "{share}");
    }

    #[test]
    fn an_mlps_pruned_units_are_silent() {
        let config =
            LearnerConfig { backbone: Backbone::Mlp { hidden: vec![10; 4], frozen: 2 }, ..LearnerConfig::default() };
        let network = Network::new(&config, &[6]).unwrap();
        let mut model = Model::new(network, 0, 2, None).unwrap();
        Pruning::start(&config, &mut model).unwrap();
        let output = model.classify(model.embed(tensor(vec![0.7; 6], [1, 6], &model.network.device)).unwrap()).unwrap();
        for (map, most) in output.maps.into_iter().zip([2, 2]) {
            let active = crate::network::values(map).unwrap().iter().filter(|&&v| v != 0.0).count();
            assert!(active <= most, "{active}");
        }
        let bias = model.suffix.weights[1].values().unwrap();
        assert_eq!(bias.iter().filter(|&&v| v == 0.0).count(), 8);
    }
}
