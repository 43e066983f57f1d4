//! Detector `mmd`: a two-sample test of the inputs, or of the frozen prefix's outputs, against a permutation threshold.

mod config;
mod kernel;

use crate::auto::{Sketch, SketchState};
use crate::placement::{likeliest_shift, within_bounds};
pub use config::{MmdConfig, MmdSignal};
use lightcl_core::{BoundaryDetector, Error, Needs, Observation, Result, Stateful, Verdict, state};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const NAME: &str = "mmd";
const TAG: &str = "boundary.mmd";
const VERSION: u16 = 1;
/// Recent windows that sums are kept of, to place a change in.
const KEPT_WINDOWS: usize = 4;

/// The maximum mean discrepancy (Gretton, Borgwardt, Rasch, Schölkopf and Smola 2012, "A kernel two-sample test") between
/// the first `reference_samples` rows of a task and the last `recent_samples`, with random Fourier features (Rahimi and
/// Recht 2007, "Random features for large-scale kernel machines") in the place of the kernel: the squared distance of the
/// windows' mean features. It sees any change of the distribution, not only of the mean.
///
/// Rows are standardised by the first 64 of the stream. The bandwidth is the median distance of two rows of the reference.
/// The threshold comes from permutations of the reference and the first recent window pooled: what the statistic is when
/// it makes no difference which rows are recent. It is taken once a task, and with it everything before is dropped but
/// sums, so a row costs O(`frequencies` · width) and memory is bounded.
///
/// With the default level of one in a million a test, a test every 16 rows and two in a row to confirm, a stream of
/// 200,000 independent rows without a change has a false alarm in one of some hundred runs. Where neighbouring rows depend
/// on each other, permuted rows say too little and it fires often: use `auto` there, whose thresholds know the stream's
/// own past.
///
/// Changes in the first `reference_samples + recent_samples` rows of a task are not seen. The place of a change is told to
/// within `stride_samples`.
///
/// ```
/// use lightcl_boundary::{MmdConfig, MmdDetector, MmdSignal};
///
/// let detector = MmdDetector::new(MmdConfig { signal: MmdSignal::Activations, ..MmdConfig::default() })?;
/// assert!(MmdDetector::new(MmdConfig { recent_samples: 100, ..MmdConfig::default() }).is_err());
/// # Ok::<(), lightcl_core::Error>(())
/// ```
pub struct MmdDetector {
    config: MmdConfig,
    sketch: Sketch,
    watch: Watch,
    /// Hold nothing from one row to the next.
    inputs: Vec<f32>,
    projected: Vec<f32>,
    features: Vec<f32>,
}

/// What is known of the task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Watch {
    first_index: Option<u64>,
    /// Projections of the task's first rows, and where they stand; empty once there is a reference.
    pool: Vec<f32>,
    indices: Vec<u64>,
    reference: Option<Reference>,
    /// Sums of the features of the last strides, oldest first, and of the one that is being filled.
    strides: VecDeque<Stride>,
    filling: Option<Stride>,
    /// Tests in a row beyond the threshold.
    over: u32,
}

/// What the rows before are compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Reference {
    bandwidth: f32,
    mean: Vec<f64>,
    threshold: f64,
}

/// Some rows side by side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Stride {
    start: u64,
    rows: usize,
    sum: Vec<f64>,
}

impl MmdDetector {
    /// A detector before the first row.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn new(config: MmdConfig) -> Result<Self> {
        config.validate()?;
        let sketch = Sketch::new(config.frequencies, config.seed);
        Ok(MmdDetector {
            config,
            sketch,
            watch: Watch::default(),
            inputs: Vec::new(),
            projected: Vec::new(),
            features: Vec::new(),
        })
    }

    fn pooled_rows(&self) -> usize {
        self.config.reference_samples + self.config.recent_samples
    }

    /// Takes the reference from the pool, once that is full; true when the recent window can be tested at once.
    fn settle(&mut self) -> bool {
        if self.watch.indices.len() < self.pooled_rows() {
            return false;
        }
        let MmdConfig { reference_samples, recent_samples, frequencies, permutations, level, seed, .. } = self.config;
        let (pool, indices) = (std::mem::take(&mut self.watch.pool), std::mem::take(&mut self.watch.indices));
        let bandwidth = kernel::median_distance(&pool[..reference_samples * frequencies], frequencies, seed);
        let width = 2 * frequencies;
        let mut rows = Vec::with_capacity(indices.len() * width);
        pool.chunks_exact(frequencies).for_each(|row| kernel::fourier(row, bandwidth, &mut rows));
        let mut mean = vec![0.0; width];
        rows.chunks_exact(width).take(reference_samples).for_each(|row| kernel::add(&mut mean, row));
        mean.iter_mut().for_each(|value| *value /= reference_samples as f64);
        let threshold = kernel::threshold(&rows, width, recent_samples, permutations, level, seed);
        self.watch.reference = Some(Reference { bandwidth, mean, threshold });
        for (&index, row) in indices.iter().zip(rows.chunks_exact(width)).skip(reference_samples) {
            self.take(index, row);
        }
        true
    }

    /// Adds a row's features to the stride that is being filled; true when that is full.
    fn take(&mut self, index: u64, features: &[f32]) -> bool {
        let MmdConfig { recent_samples, stride_samples, .. } = self.config;
        let empty = || Stride { start: index, rows: 0, sum: vec![0.0; features.len()] };
        let mut stride = self.watch.filling.take().unwrap_or_else(empty);
        kernel::add(&mut stride.sum, features);
        stride.rows += 1;
        if stride.rows < stride_samples {
            self.watch.filling = Some(stride);
            return false;
        }
        self.watch.strides.push_back(stride);
        if self.watch.strides.len() > KEPT_WINDOWS * recent_samples / stride_samples {
            self.watch.strides.pop_front();
        }
        true
    }

    fn test(&mut self, index: u64) -> Verdict {
        let MmdConfig { recent_samples, stride_samples, confirm_tests, .. } = self.config;
        let Watch { reference: Some(reference), strides, over, first_index, .. } = &mut self.watch else {
            return Verdict::Stable;
        };
        let windows = recent_samples / stride_samples;
        let mut difference: Vec<f64> = reference.mean.iter().map(|mean| -mean).collect();
        for stride in strides.iter().rev().take(windows) {
            difference.iter_mut().zip(&stride.sum).for_each(|(gap, sum)| *gap += sum / recent_samples as f64);
        }
        let statistic: f64 = difference.iter().map(|gap| gap * gap).sum();
        if statistic <= reference.threshold {
            *over = 0;
            return Verdict::Stable;
        }
        *over = over.saturating_add(1);
        if *over < confirm_tests {
            return Verdict::Warning;
        }
        let along = |stride: &Stride| stride.sum.iter().zip(&difference).map(|(sum, gap)| sum * gap).sum::<f64>();
        let values: Vec<f64> = strides.iter().map(along).collect();
        let split = likeliest_shift(values.iter().copied(), true, 1).map(|shift| shift.split);
        // Among the first rows after the reference there is nothing to compare with but the reference itself.
        let start = strides.get(split.unwrap_or(0)).map_or(index, |stride| stride.start);
        let at = within_bounds(start, first_index.unwrap_or(index), index);
        let message = format!(
            "the {} of the last {recent_samples} rows are distributed otherwise: squared distance {statistic:.4}, \
             threshold {:.4}",
            match self.config.signal {
                MmdSignal::Input => "inputs",
                MmdSignal::Activations => "prefix's outputs",
            },
            reference.threshold
        );
        Verdict::boundary(at, NAME, message)
    }
}

impl BoundaryDetector for MmdDetector {
    fn name(&self) -> &str {
        NAME
    }

    fn needs(&self) -> Needs {
        Needs { activations: self.config.signal == MmdSignal::Activations }
    }

    fn observe(&mut self, observation: &Observation<'_>) -> Verdict {
        let index = observation.index;
        self.watch.first_index.get_or_insert(index);
        let row = match self.config.signal {
            MmdSignal::Input => observation.features,
            MmdSignal::Activations => observation.activations,
        };
        if row.is_empty() || !self.sketch.is_warm(row) {
            return Verdict::Stable;
        }
        self.sketch.standardise(row, &mut self.inputs);
        let Some(bandwidth) = self.watch.reference.as_ref().map(|reference| reference.bandwidth) else {
            self.sketch.project(&self.inputs, &mut self.watch.pool);
            self.watch.indices.push(index);
            return if self.settle() { self.test(index) } else { Verdict::Stable };
        };
        self.projected.clear();
        self.sketch.project(&self.inputs, &mut self.projected);
        let mut features = std::mem::take(&mut self.features);
        features.clear();
        kernel::fourier(&self.projected, bandwidth, &mut features);
        let is_full = self.take(index, &features);
        self.features = features;
        if is_full { self.test(index) } else { Verdict::Stable }
    }

    fn reset(&mut self) {
        // The standardisation is the stream's.
        self.watch = Watch::default();
    }
}

/// What is saved: everything but the frequencies, which come from their seed.
#[derive(Serialize, Deserialize)]
struct Saved {
    sketch: SketchState,
    watch: Watch,
}

impl Stateful for MmdDetector {
    fn save(&self) -> Result<Vec<u8>> {
        state::encode(TAG, VERSION, &Saved { sketch: self.sketch.state().clone(), watch: self.watch.clone() })
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let Saved { sketch, watch } = state::decode(TAG, VERSION, bytes)?;
        let MmdConfig { recent_samples, stride_samples, frequencies, .. } = self.config;
        let is_sum = |sum: &Vec<f64>| sum.len() == 2 * frequencies && sum.iter().all(|value| value.is_finite());
        let sound = sketch.is_sound()
            && watch.indices.len() < self.pooled_rows()
            && watch.pool.len() == watch.indices.len() * frequencies
            && watch.pool.iter().all(|value| value.is_finite())
            && watch.reference.as_ref().is_none_or(|reference| {
                let is_positive = reference.bandwidth > 0.0 && reference.threshold > 0.0;
                is_positive && reference.bandwidth.is_finite() && is_sum(&reference.mean) && watch.indices.is_empty()
            })
            && watch.strides.len() <= KEPT_WINDOWS * recent_samples / stride_samples
            && watch.strides.iter().all(|stride| stride.rows == stride_samples && is_sum(&stride.sum))
            && watch.filling.iter().all(|stride| stride.rows < stride_samples && is_sum(&stride.sum));
        if !sound {
            return Err(Error::user("the saved state of a detector is damaged").with("detector", NAME));
        }
        self.sketch.set_state(sketch);
        self.watch = watch;
        Ok(())
    }
}
