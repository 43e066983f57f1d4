//! From taps to the features of the heads.

use super::projection::Projection;
use super::standardizer::Standardizer;
use super::{AnalyticConfig, Tap};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use lightcl_core::{ClassId, Error, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

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
    /// A tap's numbers, scaled; none where it is not there yet.
    fn scaled(&self, tap: &TapRows, rows: usize) -> Result<Option<Vec<f32>>> {
        let Some(values) = tap.values.as_ref().filter(|_| self.standardizer.is_ready()) else { return Ok(None) };
        if values.len() != rows * self.width {
            return Err(Error::internal("a tap gave another number of numbers than its rows have")
                .with("expected", rows * self.width)
                .with("found", values.len()));
        }
        let mut values = values.clone();
        self.standardizer.apply(&mut values);
        Ok(Some(values))
    }

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
    /// Random features of the input and the label before, for the head that knows it.
    pub(crate) lag: Option<Projection>,
    /// What each label before adds to them, drawn when it is first met.
    label_rows: Vec<Arc<Vec<f32>>>,
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
        let lag = match taps.first() {
            Some(&(tap, inputs)) if config.previous_label => {
                Some(Projection::new(tap_seed(seed, tap) ^ LAG_MARK, inputs, width))
            }
            _ => None,
        };
        let mut features = 1;
        let mut map = |(index, (tap, tap_width)): (usize, (Tap, usize))| {
            let outputs = (index + 1) * width / count - index * width / count;
            let projection = (outputs > 0).then(|| Projection::new(tap_seed(seed, tap), tap_width, outputs));
            let (linear, first) = (config.is_linear(), features);
            features += outputs + if linear { tap_width } else { 0 };
            let standardizer = Standardizer::new(config.scaling(), tap_width);
            TapMap { tap, width: tap_width, standardizer, projection, linear, first }
        };
        let taps = taps.into_iter().enumerate().map(&mut map).collect();
        Ok(FeatureMap { taps, features, lag, label_rows: Vec::new() })
    }

    /// Shows standardisers rows that are about to be learnt.
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

    /// Features of rows, `rows x features`; those of taps that are not there are 0.
    pub(crate) fn features(&self, taps: &[TapRows], rows: usize) -> Result<Mat<f32>> {
        let mut features = Mat::<f32>::zeros(rows, self.features);
        features.col_mut(0).fill(1.0);
        for (map, tap) in self.taps.iter().zip(taps) {
            let Some(values) = map.scaled(tap, rows)? else { continue };
            let scaled = MatRef::from_row_major_slice(&values, rows, map.width);
            let linear = map.linear_features();
            features.as_mut().subcols_mut(map.first, linear).copy_from(scaled.subcols(0, linear));
            let Some(projection) = &map.projection else { continue };
            let random = features.as_mut().subcols_mut(map.first + linear, projection.outputs);
            expand(scaled, projection, random, |_, _| 0.0);
        }
        Ok(features)
    }

    /// Features of the head that knows the label before: 1, the input, and random features of both.
    pub(crate) fn lag_features(
        &self,
        taps: &[TapRows],
        rows: usize,
        previous: &[Option<ClassId>],
    ) -> Result<Option<Mat<f32>>> {
        let (Some(projection), Some(map), Some(tap)) = (&self.lag, self.taps.first(), taps.first()) else {
            return Ok(None);
        };
        let mut features = Mat::<f32>::zeros(rows, self.lag_count());
        features.col_mut(0).fill(1.0);
        if let Some(values) = map.scaled(tap, rows)? {
            let scaled = MatRef::from_row_major_slice(&values, rows, map.width);
            features.as_mut().subcols_mut(1, map.width).copy_from(scaled);
            let random = features.as_mut().subcols_mut(1 + map.width, projection.outputs);
            expand(scaled, projection, random, |row, column| match previous.get(row) {
                Some(&Some(label)) => match self.label_rows.get(label as usize) {
                    Some(drawn) => drawn[column],
                    None => label_weight(projection, label, column),
                },
                _ => 0.0,
            });
        }
        Ok(Some(features))
    }

    /// Draws what a label before adds, for the rows that follow it.
    pub(crate) fn meet_label(&mut self, label: Option<ClassId>) {
        let (Some(projection), Some(label)) = (&self.lag, label) else { return };
        while self.label_rows.len() <= label as usize {
            let class = self.label_rows.len() as ClassId;
            let drawn = (0..projection.outputs).map(|column| label_weight(projection, class, column)).collect();
            self.label_rows.push(Arc::new(drawn));
        }
    }

    /// Features of the head that knows the label before.
    pub(crate) fn lag_count(&self) -> usize {
        match (&self.lag, self.taps.first()) {
            (Some(projection), Some(map)) => 1 + map.width + projection.outputs,
            _ => 0,
        }
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
            && saved.0.iter().zip(&self.taps).all(|(saved, map)| saved.fits(config.scaling(), map.width));
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
        let drawn = self.taps.iter().filter_map(|map| map.projection.as_ref()).chain(&self.lag);
        (scales, drawn.map(|p| 4 * (p.matrix.len() + p.shifts.len()) as u64).sum())
    }
}

/// Keeps the draws of the head that knows the label before apart from the others.
const LAG_MARK: u64 = 0x6c61_6265_6c00_0000;

/// What a label before adds to one random feature.
fn label_weight(projection: &Projection, label: ClassId, column: usize) -> f32 {
    let place = u64::from(label) << 32 | column as u64;
    let scale = LABEL_SIZE / (projection.inputs.max(1) as f32).sqrt();
    super::projection::normal(!projection.seed ^ LAG_MARK, place) as f32 * scale
}

/// The positive part of a projection plus its shifts plus what `more` says for a row and a feature.
fn expand(
    scaled: MatRef<'_, f32>,
    projection: &Projection,
    mut random: MatMut<'_, f32>,
    more: impl Fn(usize, usize) -> f32,
) {
    let matrix = MatRef::from_row_major_slice(&projection.matrix, projection.inputs, projection.outputs);
    matmul(&mut random, Accum::Replace, scaled, matrix, 1.0, Par::Seq);
    for (column, shift) in projection.shifts.iter().enumerate() {
        for row in 0..scaled.nrows() {
            let cell = &mut random[(row, column)];
            *cell = (*cell + shift + more(row, column)).max(0.0);
        }
    }
}

/// The seed of a tap's projection.
pub(crate) fn tap_seed(seed: u64, tap: Tap) -> u64 {
    lightcl_core::mix(seed ^ lightcl_core::mix(tap as u64 + 1))
}
