//! From taps to the features of the heads.

use super::projection::Projection;
use super::standardizer::Standardizer;
use super::{AnalyticConfig, Tap};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use lightcl_core::{ClassId, Error, Result};
use serde::{Deserialize, Serialize};

/// A label before counts as an input of this size.
const LABEL_SIZE: f32 = 2.0;

/// What one tap gave for some rows, row-major; none while its source is not there yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct TapRows {
    pub(crate) values: Option<Vec<f32>>,
}

/// One tap's place among the features.
#[derive(Debug, Clone)]
pub(crate) struct TapMap {
    pub(crate) tap: Tap,
    /// Numbers a row.
    pub(crate) width: usize,
    pub(crate) standardizer: Standardizer,
    /// None where the tap is taken as it is.
    pub(crate) projection: Option<Projection>,
    /// Whether the tap's own numbers are features.
    pub(crate) linear: bool,
    /// First of its features.
    pub(crate) first: usize,
}

impl TapMap {
    fn linear_features(&self) -> usize {
        if self.linear { self.width } else { 0 }
    }
}

/// Features of a row: 1, then of each tap its numbers (standardised), its random features, or both.
#[derive(Debug, Clone)]
pub(crate) struct FeatureMap {
    pub(crate) taps: Vec<TapMap>,
    /// Features in all.
    pub(crate) features: usize,
    /// What the rows of the projection for labels before are drawn from.
    label_seed: Option<u64>,
}

/// What of a feature map is learnt.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedFeatures(Vec<Standardizer>);

impl FeatureMap {
    /// The features of taps with their widths; those of a prefix come last, so that they can be added later.
    pub(crate) fn new(config: &AnalyticConfig, seed: u64, mut taps: Vec<(Tap, usize)>) -> Result<FeatureMap> {
        taps.sort_by_key(|(tap, _)| *tap != Tap::Input);
        let width = config.random_features(taps.iter().map(|(_, width)| width).sum())?;
        let count = taps.len();
        let mut features = 1;
        let taps: Vec<TapMap> = taps
            .into_iter()
            .enumerate()
            .map(|(index, (tap, tap_width))| {
                let outputs = (index + 1) * width / count - index * width / count;
                let projection = (outputs > 0).then(|| Projection::new(tap_seed(seed, tap), tap_width, outputs));
                let linear = config.linear || width == 0;
                let first = features;
                features += outputs + if linear { tap_width } else { 0 };
                let standardizer = Standardizer::new(config.standardize, tap_width);
                TapMap { tap, width: tap_width, standardizer, projection, linear, first }
            })
            .collect();
        let label_seed = config.previous_label.then(|| tap_seed(seed, taps[0].tap) ^ LABEL_MARK);
        Ok(FeatureMap { taps, features, label_seed })
    }

    /// Shows standardisers the first window that their taps give.
    pub(crate) fn prepare(&mut self, rows: &[TapRows]) {
        for (map, rows) in self.taps.iter_mut().zip(rows) {
            if let Some(values) = &rows.values {
                map.standardizer.prepare(values, map.width);
            }
        }
    }

    /// Takes in rows that were learnt from.
    pub(crate) fn take(&mut self, rows: &[TapRows]) {
        for (map, rows) in self.taps.iter_mut().zip(rows) {
            if let Some(values) = &rows.values {
                map.standardizer.take(values);
            }
        }
    }

    /// Features of rows, `rows x features`; those of taps that are not there are 0. `previous` is the label before each
    /// row, where one is known.
    pub(crate) fn features(&self, taps: &[TapRows], rows: usize, previous: &[Option<ClassId>]) -> Result<Mat<f32>> {
        let mut features = Mat::<f32>::zeros(rows, self.features);
        features.col_mut(0).fill(1.0);
        for (index, (map, tap)) in self.taps.iter().zip(taps).enumerate() {
            let Some(values) = &tap.values else { continue };
            if values.len() != rows * map.width {
                return Err(Error::internal("a tap gave another number of numbers than its rows have")
                    .with("expected", rows * map.width)
                    .with("found", values.len()));
            }
            if !map.standardizer.is_ready() {
                continue;
            }
            let mut values = values.clone();
            map.standardizer.apply(&mut values);
            let scaled = MatRef::from_row_major_slice(&values, rows, map.width);
            let linear = map.linear_features();
            features.as_mut().subcols_mut(map.first, linear).copy_from(scaled.subcols(0, linear));
            let Some(projection) = &map.projection else { continue };
            let matrix = MatRef::from_row_major_slice(&projection.matrix, projection.inputs, projection.outputs);
            let mut random = features.as_mut().subcols_mut(map.first + linear, projection.outputs);
            matmul(&mut random, Accum::Replace, scaled, matrix, 1.0, Par::Seq);
            for (column, shift) in (0..projection.outputs).zip(projection.shifts.iter()) {
                let mut cells = random.as_mut().col_mut(column);
                for row in 0..rows {
                    let before = match (index, self.label_seed, previous.get(row)) {
                        (0, Some(seed), Some(&Some(label))) => label_weight(seed, label, column, projection),
                        _ => 0.0,
                    };
                    cells[row] = (cells[row] + shift + before).max(0.0);
                }
            }
        }
        Ok(features)
    }

    /// First feature of those that come from a prefix.
    pub(crate) fn first_of_prefix(&self) -> usize {
        self.taps.iter().find(|map| map.tap != Tap::Input).map_or(self.features, |map| map.first)
    }

    /// Whether some features beyond the constant are there.
    pub(crate) fn has_ready_tap(&self, prefix_is_there: bool) -> bool {
        self.taps.iter().any(|map| (map.tap == Tap::Input || prefix_is_there) && map.standardizer.is_ready())
    }

    pub(crate) fn save(&self) -> SavedFeatures {
        SavedFeatures(self.taps.iter().map(|map| map.standardizer.clone()).collect())
    }

    /// Puts saved standardisers back.
    pub(crate) fn restore(&mut self, config: &AnalyticConfig, saved: SavedFeatures) -> Result<()> {
        let fit = saved.0.len() == self.taps.len()
            && saved.0.iter().zip(&self.taps).all(|(saved, map)| saved.fits(config.standardize, map.width));
        if !fit {
            return Err(Error::user("the saved standardisation does not fit the taps"));
        }
        for (map, saved) in self.taps.iter_mut().zip(saved.0) {
            map.standardizer = saved;
        }
        Ok(())
    }

    /// Bytes of the standardisers, and of the projections, which are drawn anew from the seed and not saved.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let scales = self.taps.iter().map(|map| map.standardizer.bytes()).sum();
        let drawn = self.taps.iter().filter_map(|map| map.projection.as_ref());
        (scales, drawn.map(|p| 4 * (p.matrix.len() + p.shifts.len()) as u64).sum())
    }
}

/// Keeps the draws of labels before apart from those of inputs.
const LABEL_MARK: u64 = 0x6c61_6265_6c00_0000;

/// What a label before adds to one random feature.
fn label_weight(seed: u64, label: ClassId, column: usize, projection: &Projection) -> f32 {
    let place = u64::from(label) << 32 | column as u64;
    (super::projection::normal(seed, place) / (projection.inputs.max(1) as f64).sqrt()) as f32 * LABEL_SIZE
}

/// The seed of a tap's projection.
pub(crate) fn tap_seed(seed: u64, tap: Tap) -> u64 {
    lightcl_core::mix(seed ^ lightcl_core::mix(tap as u64 + 1))
}
