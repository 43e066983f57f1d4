//! Inputs of any width as a few bounded numbers: standardisation, then seeded random features.

use super::reader::dot;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Rows from which mean and deviation of the inputs are taken.
const WARM_ROWS: u32 = 64;
/// Standardised inputs are cut off here, so that a single wild number cannot fill a sum.
const CLIP: f32 = 5.0;

/// `tanh(P z + b)` of the standardised input `z`: bounded, so that one outlier moves a mean by little (Rahimi and Recht
/// 2008, random kitchen sinks). Standardisation is that of the first [`WARM_ROWS`] rows and then stays, so that what was
/// summed before keeps its meaning.
#[derive(Debug, Clone)]
pub(crate) struct Sketch {
    features: usize,
    seed: u64,
    /// `features x width`, drawn again from the seed after a restore.
    projection: Vec<f32>,
    bias: Vec<f32>,
    state: SketchState,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SketchState {
    width: Option<usize>,
    rows: u32,
    mean: Vec<f32>,
    /// Sums of squared deviations while warming, then factors.
    spread: Vec<f32>,
}

impl Sketch {
    pub fn new(features: usize, seed: u64) -> Self {
        Sketch { features, seed, projection: Vec::new(), bias: Vec::new(), state: SketchState::default() }
    }

    pub fn state(&self) -> &SketchState {
        &self.state
    }

    /// Takes a state that [`SketchState::is_sound`] has passed.
    pub fn set_state(&mut self, state: SketchState) {
        self.bias.clear();
        self.state = state;
    }

    pub fn width(&self) -> usize {
        self.state.width()
    }

    /// Takes in a row while the standardisation is being learnt; true once it stands and the row can be sketched.
    pub fn is_warm(&mut self, row: &[f32]) -> bool {
        let state = &mut self.state;
        let width = *state.width.get_or_insert(row.len());
        if state.rows == WARM_ROWS {
            return true;
        }
        state.mean.resize(width, 0.0);
        state.spread.resize(width, 0.0);
        state.rows += 1;
        let share = 1.0 / state.rows as f32;
        for ((mean, spread), &value) in state.mean.iter_mut().zip(&mut state.spread).zip(row) {
            let value = if value.is_finite() { value.clamp(-1e18, 1e18) } else { *mean };
            let distance = value - *mean;
            *mean += distance * share;
            *spread += distance * (value - *mean);
        }
        if state.rows == WARM_ROWS {
            let deviations: Vec<f32> = state.spread.iter().map(|spread| (spread / WARM_ROWS as f32).sqrt()).collect();
            let typical = deviations.iter().sum::<f32>() / width.max(1) as f32;
            for (spread, deviation) in state.spread.iter_mut().zip(deviations) {
                *spread = 1.0 / (deviation + 0.05 * typical + 1e-6);
            }
        }
        false
    }

    /// Standardised inputs into `inputs`, as many as the first row had.
    pub fn standardise(&self, row: &[f32], inputs: &mut Vec<f32>) {
        let state = &self.state;
        inputs.clear();
        inputs.extend(row.iter().zip(&state.mean).zip(&state.spread).map(|((&value, mean), factor)| {
            let standard = (value - mean) * factor;
            if standard.is_finite() { standard.clamp(-CLIP, CLIP) } else { 0.0 }
        }));
        inputs.resize(state.width(), 0.0);
    }

    /// Adds the random features of standardised inputs.
    pub fn features(&mut self, inputs: &[f32], features: &mut Vec<f32>) {
        let from = features.len();
        self.project(inputs, features);
        features[from..].iter_mut().zip(&self.bias).for_each(|(value, bias)| *value = soft_step(*value + bias));
    }

    /// Adds standardised inputs in random directions.
    pub fn project(&mut self, inputs: &[f32], projected: &mut Vec<f32>) {
        let width = self.state.width();
        if self.bias.is_empty() {
            self.draw(width);
        }
        let directions = (0..self.features).map(|feature| &self.projection[feature * width..(feature + 1) * width]);
        projected.extend(directions.map(|direction| dot(direction, inputs)));
    }

    fn draw(&mut self, width: usize) {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        let scale = 1.0 / (width.max(1) as f32).sqrt();
        self.projection = (0..self.features * width).map(|_| scale * normal(&mut random)).collect();
        self.bias = (0..self.features).map(|_| random.random_range(-1.0..1.0)).collect();
    }
}

impl SketchState {
    /// Inputs in a row; 0 before the first.
    pub fn width(&self) -> usize {
        self.width.unwrap_or(0)
    }

    /// Whether this could have come from a sketch.
    pub fn is_sound(&self) -> bool {
        let width = self.width.unwrap_or(0);
        let learnt = if self.rows == 0 { 0 } else { width };
        self.rows <= WARM_ROWS
            && self.mean.len() == learnt
            && self.spread.len() == learnt
            && self.mean.iter().chain(&self.spread).all(|value| value.is_finite())
    }
}

/// Nearly `tanh`, from the first terms of its continued fraction: the same on every machine, and quick.
fn soft_step(x: f32) -> f32 {
    let x = x.clamp(-3.0, 3.0);
    let square = x * x;
    x * (27.0 + square) / (27.0 + 9.0 * square)
}

fn normal(random: &mut ChaCha8Rng) -> f32 {
    // Twelve uniform draws have variance one (Irwin-Hall); the tails do not matter here.
    (0..12).map(|_| random.random::<f32>()).sum::<f32>() - 6.0
}
