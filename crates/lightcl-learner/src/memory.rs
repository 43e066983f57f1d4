//! The memory of feature patterns: which channels are vital, and what they said.

use crate::network::{Layout, tensor, values};
use burn::tensor::{Device, Tensor};
use lightcl_core::{Error, Logits, Result};

/// One flag a channel for each plastic layer.
pub(crate) type Masks = Vec<Vec<bool>>;

/// The vital channels of one layer: those whose score is at or above the `k`-th smallest, where
/// `k = max(1, C - floor(C * ratio + 0.5))` for `C` channels. This keeps one channel more than `C * ratio` (78 of 512 at
/// 0.15), as the published program does.
pub(crate) fn vital(scores: &[f64], ratio: f64) -> Vec<bool> {
    let channels = scores.len();
    let kept = (channels as f64 * ratio + 0.5).floor() as usize;
    let rank = channels.saturating_sub(kept).max(1);
    let mut sorted = scores.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.get(rank - 1) {
        Some(&threshold) => scores.iter().map(|&score| score >= threshold).collect(),
        None => Vec::new(),
    }
}

/// The vital channels of every plastic layer from its maps of one batch: a channel's score is the sum of its magnitudes
/// over batch and space.
pub(crate) fn vital_masks(maps: Vec<Tensor<2>>, layout: &Layout, ratio: f64) -> Result<Masks> {
    maps.into_iter()
        .zip(&layout.maps)
        .map(|(map, spec)| {
            let sums = values(map.abs().sum_dim(0))?;
            let scores: Vec<f64> =
                sums.chunks(spec.spatial).map(|channel| channel.iter().map(|&v| f64::from(v)).sum()).collect();
            Ok(vital(&scores, ratio))
        })
        .collect()
}

/// Adds the channels of a task that ended to those of the tasks before.
pub(crate) fn merge(masks: &mut Option<Masks>, new: Masks) {
    match masks {
        None => *masks = Some(new),
        Some(old) => {
            for (old, new) in old.iter_mut().zip(new) {
                old.iter_mut().zip(new).for_each(|(old, new)| *old |= new);
            }
        }
    }
}

/// The memory samples of the current task, and the maps and logits that the network gave for them when it began.
#[derive(Debug, Clone)]
pub(crate) struct References {
    /// The samples, `[rows, width]`.
    pub(crate) inputs: Tensor<2>,
    /// Their prefix outputs, when the frozen prefix never changes.
    pub(crate) embeddings: Option<Tensor<2>>,
    /// `[rows, channels * spatial]` for each plastic layer.
    pub(crate) maps: Vec<Tensor<2>>,
    /// One row a sample; a class that appears later adds its column then.
    pub(crate) logits: Logits,
    /// 1 at vital channels, else 0; `[1, channels * spatial]` for each plastic layer.
    pub(crate) vital: Vec<Tensor<2>>,
}

impl References {
    /// Memory samples.
    pub(crate) fn rows(&self) -> usize {
        self.inputs.dims()[0]
    }

    /// Adds the columns that `now` (the network's logits for the same samples) has beyond the references.
    pub(crate) fn add_classes(&mut self, now: &Logits) -> Result<()> {
        let (old, new, rows) = (self.logits.classes, now.classes, self.rows());
        if now.values.len() != rows * new || new < old {
            return Err(Error::internal("the memory's logits have another shape than the head"));
        }
        let mut grown = Vec::with_capacity(rows * new);
        for row in 0..rows {
            grown.extend_from_slice(self.logits.row(row));
            grown.extend_from_slice(&now.row(row)[old..]);
        }
        self.logits = Logits { classes: new, values: grown };
        Ok(())
    }
}

/// Masks as rows that multiply maps. Without masks nothing is vital.
pub(crate) fn vital_rows(masks: Option<&Masks>, layout: &Layout, device: &Device) -> Vec<Tensor<2>> {
    layout
        .maps
        .iter()
        .enumerate()
        .map(|(layer, spec)| {
            let flags = masks.and_then(|masks| masks.get(layer));
            let row: Vec<f32> = (0..spec.channels)
                .flat_map(|channel| {
                    let is_vital = flags.and_then(|flags| flags.get(channel)).copied().unwrap_or(false);
                    std::iter::repeat_n(if is_vital { 1.0 } else { 0.0 }, spec.spatial)
                })
                .collect();
            let width = row.len();
            tensor(row, [1, width], device)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_channel_more_than_the_ratio_is_vital() {
        let scores: Vec<f64> = (0..512).map(f64::from).collect();
        let mask = vital(&scores, 0.15);
        assert_eq!(mask.iter().filter(|&&vital| vital).count(), 78);
        assert!(mask[511] && mask[434] && !mask[433]);
    }

    #[test]
    fn ties_at_the_threshold_are_all_vital_and_a_ratio_of_one_keeps_everything() {
        assert_eq!(vital(&[1.0, 1.0, 1.0, 0.0], 0.25), [true, true, true, false]);
        assert_eq!(vital(&[3.0, 1.0, 2.0], 1.0), [true; 3]);
        assert_eq!(vital(&[5.0], 0.15), [true]);
    }

    #[test]
    fn masks_of_tasks_are_joined() {
        let mut masks = None;
        merge(&mut masks, vec![vec![true, false, false]]);
        merge(&mut masks, vec![vec![false, false, true]]);
        assert_eq!(masks, Some(vec![vec![true, false, true]]));
    }
}
