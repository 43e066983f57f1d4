//! A small closed-form classifier that learns beside the learner, to notice when inputs and labels are related in
//! another way.

use super::symmetric::{Factor, Symmetric};
use super::{BLOCK_ROWS, is_sampled};
use serde::{Deserialize, Serialize};

/// Classes are counted in so many slots; more share one.
pub(super) const CLASS_SLOTS: usize = 32;
/// What a block's past is worth after it.
const FORGET: f64 = 0.992;
/// Strength of the ridge, as a share of the mean diagonal entry and in rows.
const RIDGE_SHARE: f64 = 0.1;
const RIDGE_ROWS: f64 = 2.0;

/// Ridge regression of the class on standardised inputs and random features, with exponential forgetting.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Reader {
    gram: Symmetric,
    /// Sum of the rows of each class slot, one slot after another.
    cross: Vec<f64>,
    /// Solved weights, laid out alike.
    weights: Vec<f32>,
    /// What the weights were solved by.
    factor: Factor,
    blocks: u64,
    /// Effective rows, and those that came since the weights were solved.
    rows: f64,
    unsolved: f64,
}

impl Reader {
    /// Predicted share of each class slot, into `shares`; empty before the first solution.
    pub fn predict(&self, row: &[f32], shares: &mut Vec<f32>) {
        shares.clear();
        if !row.is_empty() {
            shares.extend(self.weights.chunks_exact(row.len()).map(|weights| dot(weights, row).clamp(0.0, 1.0)));
        }
    }

    /// Takes in a block of rows of `width` numbers and their class slots.
    pub fn learn(&mut self, rows: &[f32], width: usize, slots: &[usize]) {
        let is_sampled = is_sampled(self.blocks);
        self.blocks = self.blocks.saturating_add(1);
        if !is_sampled {
            return;
        }
        if self.gram.size() != width {
            self.gram = Symmetric::zero(width);
        }
        self.gram.scale(FORGET);
        self.gram.add_rows(rows);
        self.cross.iter_mut().for_each(|value| *value *= FORGET);
        for (row, &slot) in rows.chunks_exact(width).zip(slots) {
            if self.cross.len() < (slot + 1) * width {
                self.cross.resize((slot + 1) * width, 0.0);
            }
            let sums = &mut self.cross[slot * width..(slot + 1) * width];
            sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        self.rows = FORGET * self.rows + BLOCK_ROWS as f64;
        self.unsolved += BLOCK_ROWS as f64;
        if self.unsolved >= self.rows / 8.0 {
            self.solve(width);
        }
    }

    fn solve(&mut self, width: usize) {
        self.unsolved = 0.0;
        let typical = (0..width).map(|i| self.gram.diagonal(i)).sum::<f64>() / width as f64;
        let Some(factor) = self.gram.factor(1.0, RIDGE_SHARE * typical + RIDGE_ROWS) else { return };
        let mut solution = self.cross.clone();
        solution.chunks_exact_mut(width).for_each(|slot| factor.solve(slot));
        self.weights = solution.into_iter().map(|value| value as f32).collect();
        self.factor = factor;
    }

    /// How far a row lies from those learnt: the square root of its leverage `h' (G + ridge)^-1 h`, which is about 1 on average
    /// when it is multiplied by rows and divided by dimensions. Cut off at 8; 0 before the first solution.
    pub fn novelty(&self, row: &[f32], scratch: &mut Vec<f64>) -> f32 {
        if self.weights.is_empty() || !self.factor.is_of_size(row.len()) {
            return 0.0;
        }
        scratch.clear();
        scratch.extend(row.iter().map(|&value| f64::from(value)));
        self.factor.forward(scratch);
        let leverage: f64 = scratch.iter().map(|value| value * value).sum();
        (leverage * self.rows / row.len() as f64).sqrt().min(8.0) as f32
    }

    /// Whether this could have come from rows of the given width.
    pub fn is_sound(&self, width: usize) -> bool {
        let slots = |length: usize| width > 0 && length.is_multiple_of(width) && length / width <= CLASS_SLOTS;
        let empty = self.gram.is_sound(0) && self.cross.is_empty() && self.weights.is_empty();
        let factor =
            if self.weights.is_empty() { self.factor == Factor::default() } else { self.factor.is_sound(width) };
        (empty || (self.gram.is_sound(width) && slots(self.cross.len()) && slots(self.weights.len())))
            && factor
            && self.cross.iter().all(|value| value.is_finite())
            && self.weights.iter().all(|value| value.is_finite())
            && self.rows.is_finite()
            && self.unsolved.is_finite()
    }
}

/// The sum of products, in eight sums side by side: the compiler may then use vector instructions without reordering.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    let (a_blocks, b_blocks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a_blocks.remainder().iter().zip(b_blocks.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_blocks.zip(b_blocks) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    rest + sums.iter().sum::<f32>()
}
