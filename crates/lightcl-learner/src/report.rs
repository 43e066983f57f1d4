//! What the stability report shows of the learner.

use crate::analytic::Bank;
use crate::bridge::Bridge;
use crate::learner::LightClLearner;
use crate::loss::drift;
use crate::network::Weight;
use crate::replay::Replay;
use burn::tensor::Tensor;
use lightcl_core::{LayerReport, PartBytes, Result};

impl LightClLearner {
    /// `Learner::layers`.
    pub(crate) fn layer_reports(&self) -> Result<Vec<LayerReport>> {
        let mut drifts = vec![None; self.model.network.layout.maps.len()];
        if let Some(references) = &self.references {
            let maps = self.run_memory(references)?.maps;
            for ((found, map), reference) in drifts.iter_mut().zip(maps).zip(&references.maps) {
                *found = Some(drift(map, reference)?);
            }
        }
        let layout = &self.model.network.layout;
        let reports = layout.maps.iter().zip(drifts).enumerate().map(|(layer, (spec, drift))| {
            let mask = self.masks.as_ref().and_then(|masks| masks.get(layer));
            LayerReport {
                layer: spec.name.clone(),
                channels: spec.channels,
                vital_channels: mask.map_or(0, |mask| mask.iter().filter(|&&vital| vital).count()),
                drift,
            }
        });
        Ok(reports.collect())
    }

    /// `Learner::bytes`.
    pub(crate) fn part_bytes(&self) -> Vec<PartBytes> {
        let weights = |weights: &[Weight]| weights.iter().map(Weight::len).sum::<usize>() * 4;
        let numbers = |tensors: &[Tensor<1>]| tensors.iter().map(|t| t.dims()[0]).sum::<usize>() * 4;
        let rows = |tensor: &Tensor<2>| tensor.dims().iter().product::<usize>() * 4;
        let references = self.references.as_ref();
        let held = |list: &[Tensor<2>]| list.iter().map(rows).sum::<usize>();
        let optimiser = self.momentum.as_ref().map_or(0, |m| weights(&m.prefix) + weights(&m.suffix));
        let pruning = self.pruning.as_ref().map_or(0, |pruning| {
            pruning.prefix.iter().chain(&pruning.suffix).flatten().map(Weight::len).sum::<usize>() * 4
        });
        let parts = [
            ("prefix_weights", weights(&self.model.prefix.weights) + numbers(&self.model.prefix.statistics)),
            ("suffix_weights", weights(&self.model.suffix.weights) + numbers(&self.model.suffix.statistics)),
            ("optimiser", optimiser),
            ("masks", self.masks.as_ref().map_or(0, |masks| masks.iter().map(Vec::len).sum())),
            (
                "references",
                references.map_or(0, |r| {
                    held(&r.maps) + held(&r.vital) + r.embeddings.as_ref().map_or(0, rows) + r.logits.values.len() * 4
                }),
            ),
            ("memory_inputs", references.map_or(0, |r| rows(&r.inputs))),
            ("pruning", pruning),
        ];
        let parts = parts.into_iter().map(|(part, bytes)| (part, bytes as u64));
        let replay = self.replay.as_ref().map_or(0, Replay::bytes);
        let bridge = self.bridge.as_ref().map_or(0, Bridge::bytes);
        let parts = parts.chain([("replay", replay), ("bridge", bridge)]);
        let analytic = self.analytic.as_ref().map(Bank::bytes).unwrap_or_default();
        parts.chain(analytic).map(|(part, bytes)| PartBytes { part: part.to_owned(), bytes }).collect()
    }
}
