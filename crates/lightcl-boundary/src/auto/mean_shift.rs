//! Has the mean of some vectors moved? Windows of several lengths against everything before them.

use super::history::History;
use super::judge::{Finding, Judge, Seen, chance_threshold};
use super::symmetric::{Factor, Symmetric};
use super::{BLOCK_ROWS, LONG_SCALE, is_sampled, shortest_side};
use crate::placement::likeliest_shift;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Blocks in each window that is compared with what was before it.
pub(super) const SCALES: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
const LONGEST: usize = SCALES[SCALES.len() - 1];
/// Blocks that the rows before a window fill at least.
const LEAST_REFERENCE: u64 = 4;
/// A median statistic of the shortest window that is so many times what independent rows give means that rows depend on
/// each other.
const DEPENDENT_FROM: f64 = 1.9;

/// Hotelling's statistic of the mean of the last 16, 32, .. 1,024 rows against the mean of all rows before them
/// (Hotelling 1931), each judged against chance and against its own past.
///
/// The covariance comes from deviations within blocks of 16 rows, so that a moving mean does not inflate it. Rows of
/// real streams depend on each other, which the textbook's threshold knows nothing of: a statistic must also exceed what
/// it was in the past ([`History`]).
#[derive(Debug, Clone)]
pub(super) struct MeanShift {
    shape: Shape,
    state: MeanShiftState,
    /// Holds nothing from one call to the next.
    deviations: Vec<f32>,
}

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shape {
    /// Numbers in a vector.
    pub dimensions: usize,
    /// Whether only a rise of the first number counts.
    pub rise_only: bool,
    /// Added to every variance: a mean of rare events is not normal, and without this two of them would be a sign.
    pub variance_floor: f64,
    /// Added to every variance, as a share of their mean: directions in which little was seen count less.
    pub ridge_share: f64,
    /// How strict the test is: standard deviations of a normal variable with the same tail.
    pub deviations: f64,
    /// How each number is looked at alone beside all together; not at all when none.
    pub alone: Option<Alone>,
}

/// A test of each number of its own, in windows of 128 rows and more: in shorter ones a rare number is not normal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Alone {
    /// As in [`Shape`]; of the largest statistic.
    pub deviations: f64,
    /// Added to the variance, beside the shape's.
    pub variance_floor: f64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct MeanShiftState {
    count: u64,
    /// Index of the first row of each of the last blocks, oldest first.
    starts: VecDeque<u64>,
    /// Sums over each of them.
    blocks: VecDeque<Vec<f64>>,
    /// Sum over all blocks of the task.
    total: Vec<f64>,
    /// Whitened sums over the task up to before the first of those blocks, up to its end, up to the end of the next, ..:
    /// a window's sum is the difference of two. Empty before the covariance is known.
    white: VecDeque<Vec<f64>>,
    /// Sum of squared deviations of rows from their block's mean, and their degrees of freedom.
    scatter: Symmetric,
    freedom: f64,
    /// Cholesky's factor of the covariance, and the degrees of freedom it was taken at.
    factor: Factor,
    factored_at: f64,
    /// Numbers of a vector that were not constant then.
    varying: f64,
    histories: Vec<History>,
    /// The same of numbers alone.
    alone_histories: Vec<History>,
}

impl MeanShift {
    pub fn new(shape: Shape) -> Self {
        let state = MeanShiftState {
            scatter: Symmetric::zero(shape.dimensions),
            total: vec![0.0; shape.dimensions],
            histories: vec![History::default(); SCALES.len()],
            alone_histories: vec![History::default(); SCALES.len()],
            ..MeanShiftState::default()
        };
        MeanShift { shape, state, deviations: Vec::new() }
    }

    pub fn state(&self) -> &MeanShiftState {
        &self.state
    }

    pub fn set_state(&mut self, state: MeanShiftState) {
        self.state = state;
    }

    /// Takes in a block: `BLOCK_ROWS` rows of `dimensions` numbers, and the index of the first.
    pub fn take(&mut self, start: u64, rows: &[f32]) {
        let dimensions = self.shape.dimensions;
        let state = &mut self.state;
        // The buffers of the oldest block serve the newest.
        let is_full = state.blocks.len() == LONGEST;
        let mut sum = if is_full { state.blocks.pop_front() } else { None }.unwrap_or_default();
        sum.clear();
        sum.resize(dimensions, 0.0);
        for row in rows.chunks_exact(dimensions) {
            sum.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        if is_sampled(state.count) {
            let deviations = &mut self.deviations;
            deviations.clear();
            let means = sum.iter().map(|sum| (sum / BLOCK_ROWS as f64) as f32);
            for row in rows.chunks_exact(dimensions) {
                deviations.extend(row.iter().zip(means.clone()).map(|(value, mean)| value - mean));
            }
            state.scatter.add_rows(deviations);
            state.freedom += (BLOCK_ROWS - 1) as f64;
        }
        state.count = state.count.saturating_add(1);
        add(&mut state.total, &sum);
        state.blocks.push_back(sum);
        if is_full {
            state.starts.pop_front();
        }
        state.starts.push_back(start);
        if state.freedom >= 1.125 * state.factored_at && self.refactor() {
            return;
        }
        let state = &mut self.state;
        let Some(last) = state.white.back() else { return };
        let mut white = state.blocks[state.blocks.len() - 1].clone();
        state.factor.forward(&mut white);
        add(&mut white, last);
        state.white.push_back(white);
        if is_full {
            state.white.pop_front();
        }
    }

    /// Takes the covariance anew and whitens everything by it; false when there is none yet.
    fn refactor(&mut self) -> bool {
        let state = &mut self.state;
        let (d, freedom) = (self.shape.dimensions as f64, state.freedom);
        let typical = (0..self.shape.dimensions).map(|i| state.scatter.diagonal(i)).sum::<f64>() / d / freedom;
        let ridge = self.shape.ridge_share * typical + self.shape.variance_floor + 1e-9;
        let Some(factor) = state.scatter.factor(freedom, ridge) else { return false };
        state.factor = factor;
        state.factored_at = freedom;
        let varies = |&i: &usize| state.scatter.diagonal(i) > 1e-9 * freedom;
        state.varying = (0..self.shape.dimensions).filter(varies).count().max(1) as f64;
        state.white.clear();
        let mut sum = state.total.clone();
        for block in state.blocks.iter().rev().map(Some).chain([None]) {
            let mut white = sum.clone();
            state.factor.forward(&mut white);
            state.white.push_front(white);
            sum.iter_mut().zip(block.into_iter().flatten()).for_each(|(sum, value)| *sum -= value);
        }
        true
    }

    /// Whether rows next to each other are alike, so that windows differ by more than chance all the time.
    pub fn is_dependent(&self) -> bool {
        let independent = chance_threshold(self.state.varying.max(1.0), 0.0);
        let median = self.state.histories.first().and_then(History::median);
        median.is_some_and(|median| f64::from(median) > DEPENDENT_FROM * independent)
    }

    /// The strongest sign that the mean has moved, among windows that are long enough to be trusted. `calm` lets the
    /// statistics enter their own history.
    pub fn look(&mut self, calm: bool, long_only: bool) -> Option<Finding> {
        let d = self.state.varying.max(1.0);
        let factored_at = self.state.factored_at;
        let uncertainty = factored_at / (factored_at - d - 1.0).max(0.25 * factored_at);
        let mut together = Judge::new(chance_threshold(d, self.shape.deviations) * uncertainty);
        let mut alone = self.shape.alone.map(|alone| (alone, Judge::new(chance_threshold(1.0, alone.deviations))));
        let mut best: Option<Finding> = None;
        let mut keep = |finding: Option<Finding>| {
            if finding.is_some_and(|new| best.is_none_or(|best| new.strength > best.strength)) {
                best = finding;
            }
        };
        for (place, &scale) in SCALES.iter().enumerate() {
            if self.state.count < scale as u64 + LEAST_REFERENCE {
                break;
            }
            let Some(difference) = self.difference(scale) else { break };
            // Whitening is by a triangular matrix with a positive diagonal: the first number keeps its sign.
            let falls = self.shape.rise_only && difference[0] < 0.0;
            let (after, before) = (scale as f64, (self.state.count - scale as u64) as f64);
            let weight = BLOCK_ROWS as f64 * after * before / (after + before);
            let effect = sum_of_squares(difference.iter().copied());
            let statistic = if falls { 0.0 } else { weight * effect / d };
            let seen = Seen { statistic, scale, effect, number: None };
            keep(together.finding(seen, &mut self.state.histories[place], calm, long_only));
            let Some((shape, judge)) = alone.as_mut().filter(|_| scale >= LONG_SCALE) else { continue };
            let effects = (0..difference.len()).map(|number| {
                let (gap, variance) = self.state.factor.unwhitened(number, &difference);
                (number, gap * gap / (variance + shape.variance_floor))
            });
            if let Some((number, effect)) = effects.max_by(|(_, a), (_, b)| a.total_cmp(b)) {
                let seen = Seen { statistic: weight * effect, scale, effect, number: Some(number) };
                keep(judge.finding(seen, &mut self.state.alone_histories[place], calm, long_only));
            }
        }
        best
    }

    /// Whitened mean of a row in the last `scale` blocks less that in those before.
    fn difference(&self, scale: usize) -> Option<Vec<f64>> {
        let state = &self.state;
        if state.white.len() <= scale || state.count <= scale as u64 {
            return None;
        }
        let (total, earlier) = (&state.white[state.white.len() - 1], &state.white[state.white.len() - 1 - scale]);
        let rows = BLOCK_ROWS as f64;
        let (after, before) = (scale as f64 * rows, (state.count - scale as u64) as f64 * rows);
        Some(total.iter().zip(earlier).map(|(total, earlier)| (total - earlier) / after - earlier / before).collect())
    }

    /// Whether the first number's mean has fallen over the last `scale` blocks, by more than two standard errors.
    pub fn falls(&self, scale: usize) -> bool {
        let (after, before) = (scale as f64, self.state.count.saturating_sub(scale as u64) as f64);
        let error = ((1.0 / after + 1.0 / before) / BLOCK_ROWS as f64).sqrt();
        self.difference(scale).is_some_and(|difference| difference[0] < -2.0 * error)
    }

    /// Weights that project a row onto the direction in which the mean differs: of all numbers, or the one found alone.
    pub fn direction(&self, finding: Finding) -> Option<Vec<f64>> {
        let mut direction = self.difference(finding.scale)?;
        if let Some(number) = finding.number {
            let (gap, variance) = self.state.factor.unwhitened(number, &direction);
            direction.fill(0.0);
            direction[number] = gap / variance;
        } else {
            self.state.factor.backward(&mut direction);
        }
        Some(direction)
    }

    /// Index of the first row of the block from which on the mean along the direction of a finding is likeliest to have
    /// moved.
    pub fn place(&self, finding: Finding) -> Option<u64> {
        let state = &self.state;
        let direction = self.direction(finding)?;
        let project = |block: &Vec<f64>| block.iter().zip(&direction).map(|(a, b)| a * b).sum();
        let values: Vec<f64> = state.blocks.iter().map(project).collect();
        likeliest_shift(values.iter().copied(), true, shortest_side(finding.scale))
            .and_then(|shift| state.starts.get(shift.split).copied())
    }

    /// Forgets the mean. The past of the statistics stays, since it is the stream's; what is known of the covariance
    /// stays with the weight of `rows` rows.
    pub fn restart(&mut self, rows: f64) {
        let old = std::mem::replace(&mut self.state, MeanShift::new(self.shape).state);
        let kept = (rows / old.freedom.max(1.0)).min(1.0);
        self.state.scatter = old.scatter;
        self.state.scatter.scale(kept);
        self.state.freedom = old.freedom * kept;
        self.state.histories = old.histories;
        self.state.alone_histories = old.alone_histories;
    }

    /// Whether a state could have come from this.
    pub fn fits(&self, state: &MeanShiftState) -> bool {
        let d = self.shape.dimensions;
        let vectors = state.blocks.iter().chain(&state.white).chain([&state.total]);
        let finite = |value: &f64| value.is_finite();
        vectors.clone().all(|vector| vector.len() == d && vector.iter().all(finite))
            && state.blocks.len() <= LONGEST
            && state.starts.len() == state.blocks.len()
            && state.blocks.len() as u64 <= state.count
            && (state.white.is_empty() || state.white.len() == state.blocks.len() + 1)
            && state.scatter.is_sound(d)
            && (state.factor.is_sound(0) || state.factor.is_sound(d))
            && (state.white.is_empty() || state.factor.is_sound(d))
            && state.freedom.is_finite()
            && state.freedom >= 0.0
            && state.factored_at.is_finite()
            && state.factored_at >= 0.0
            && state.varying.is_finite()
            && state.varying >= 0.0
            && [&state.histories, &state.alone_histories]
                .iter()
                .all(|histories| histories.len() == SCALES.len() && histories.iter().all(History::is_sound))
    }
}

/// In four sums side by side, for vector instructions.
fn sum_of_squares(values: impl Iterator<Item = f64>) -> f64 {
    let mut sums = [0.0; 4];
    for (number, value) in values.enumerate() {
        sums[number % 4] += value * value;
    }
    sums.iter().sum()
}

fn add(sum: &mut [f64], values: &[f64]) {
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}
