//! What the rows of one task look like, and how far other rows usually are from it.

use super::moments::Moments;
use lightcl_core::{ClassId, Samples, mix};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A sample is sketched to at most so many numbers (count sketch), so that a task's statistics are small whatever the
/// width of a sample.
pub(super) const SKETCH: usize = 64;
/// Rows that are compared together. All distances are of blocks of neighbouring rows: where rows depend on each other, the
/// mean of twice as many is not half as far away, and only distances of equally many rows can be compared.
const BLOCK_ROWS: usize = 32;
/// A block of fewer rows is no measure of how far rows usually are.
const LEAST_BLOCK: usize = 16;
/// Blocks of a task of which the distance is remembered.
const REMEMBERED: usize = 64;
/// Blocks that are compared at a boundary.
pub(super) const MOST_BLOCKS: usize = 8;
/// Fewer rows of classes seen twice say too little.
const LEAST_ROWS: u64 = 4;
/// Most that one number adds to a distance, so that a constant that moved a little does not decide alone.
const MOST_TERM: f64 = 100.0;
/// Rows of the average class that a class's own variance is mixed with: variances of few rows are wild.
const PRIOR_ROWS: f64 = 4.0;
/// Rows of a task before which distances from it say nothing yet.
const SETTLED_ROWS: u64 = 64;

/// The statistics of each class of some rows.
pub(super) type Classes = BTreeMap<ClassId, Moments>;

/// The statistics of a task, and the distances that its own last blocks had.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Signature {
    pub(super) classes: Classes,
    usual: VecDeque<f64>,
}

/// How far blocks of rows are from a task: the squared distance of class means in squared standard deviations, a mean over
/// numbers and rows, less what sampling of independent rows gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Distance {
    pub(super) away: f64,
    /// What sampling gives; `away` was lessened by it.
    pub(super) sampling: f64,
    pub(super) blocks: usize,
}

impl Signature {
    /// Takes in rows of the task, after a note of how far they were from those before them.
    pub(super) fn learn(&mut self, rows: &Samples, seed: u64) {
        for block in blocks(rows, seed) {
            let count: u64 = block.values().map(|moments| moments.rows).sum();
            let held: u64 = self.classes.values().map(|moments| moments.rows).sum();
            if count as usize >= LEAST_BLOCK
                && held >= SETTLED_ROWS
                && let Some((away, _)) = block_distance(&self.classes, &seen_twice(&block))
            {
                if self.usual.len() == REMEMBERED {
                    self.usual.pop_front();
                }
                self.usual.push_back(away);
            }
            for (class, moments) in block {
                self.classes.entry(class).or_default().join(&moments);
            }
        }
    }

    /// How far blocks are; none when the task lacks one of their classes or they say too little.
    pub(super) fn distance(&self, blocks: &[Classes]) -> Option<Distance> {
        let mut sum = Distance { away: 0.0, sampling: 0.0, blocks: 0 };
        let mut rows = 0;
        for block in blocks {
            let block = seen_twice(block);
            if block.is_empty() {
                continue;
            }
            rows += block.values().map(|moments| moments.rows).sum::<u64>();
            let (away, sampling) = block_distance(&self.classes, &block)?;
            sum.away += away;
            sum.sampling += sampling;
            sum.blocks += 1;
        }
        let count = sum.blocks as f64;
        (rows >= LEAST_ROWS).then(|| Distance { away: sum.away / count, sampling: sum.sampling / count, ..sum })
    }

    /// The second highest mean distance that as many neighbouring blocks of the task's own had; none while too few are known.
    pub(super) fn usual(&self, blocks: usize) -> Option<f64> {
        let blocks = blocks.max(1);
        let all: Vec<f64> = self.usual.iter().copied().collect();
        let mut means: Vec<f64> = all.windows(blocks).map(|run| run.iter().sum::<f64>() / blocks as f64).collect();
        means.sort_by(f64::total_cmp);
        (means.len() >= 8).then(|| means[means.len() - 2])
    }

    pub(super) fn join(&mut self, gone: Signature) {
        for (class, moments) in gone.classes {
            self.classes.entry(class).or_default().join(&moments);
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.classes.values().map(|moments| moments.bytes() + 4).sum::<u64>() + 8 * self.usual.len() as u64
    }

    pub(super) fn is_sound(&self) -> bool {
        self.usual.len() <= REMEMBERED
            && self.usual.iter().all(|away| away.is_finite())
            && self.classes.values().all(Moments::is_sound)
    }

    /// How unlike two tasks are: the share of classes that only one of them has, and how far their means are apart.
    pub(super) fn unlikeness(&self, other: &Signature) -> f64 {
        let (left, right) = (&self.classes, &other.classes);
        let classes: BTreeSet<_> = left.keys().chain(right.keys()).collect();
        let shared = classes.iter().filter(|class| left.contains_key(class) && right.contains_key(class)).count();
        let of_all = |classes: &Classes| {
            classes.values().fold(Moments::default(), |mut all, moments| {
                all.join(moments);
                all
            })
        };
        let (left, right) = (of_all(left), of_all(right));
        let terms = left.mean.iter().zip(&right.mean).enumerate();
        let apart = terms.map(|(place, (a, b))| term(a - b, left.variance(place) + right.variance(place))).sum::<f64>()
            / left.mean.len().max(1) as f64;
        1.0 - shared as f64 / classes.len().max(1) as f64 + apart / (1.0 + apart)
    }
}

/// The statistics of each block of the first rows.
pub(super) fn blocks(rows: &Samples, seed: u64) -> Vec<Classes> {
    let width = rows.width();
    let places: Vec<(usize, f64)> = (0..width).map(|place| slot(place, width, seed)).collect();
    let mut sketch = vec![0.0; width.min(SKETCH)];
    let mut blocks = vec![Classes::new(); rows.len().min(MOST_BLOCKS * BLOCK_ROWS).div_ceil(BLOCK_ROWS)];
    for (row, &label) in rows.labels.iter().enumerate().take(MOST_BLOCKS * BLOCK_ROWS) {
        sketch.fill(0.0);
        for (&value, &(slot, sign)) in rows.row(row).iter().zip(&places) {
            sketch[slot] += sign * f64::from(value);
        }
        if sketch.iter().all(|value| value.abs() < 1e30) {
            blocks[row / BLOCK_ROWS].entry(label).or_default().add(&sketch);
        }
    }
    blocks
}

fn seen_twice(block: &Classes) -> BTreeMap<ClassId, &Moments> {
    block.iter().filter(|(_, moments)| moments.rows >= 2).map(|(&class, moments)| (class, moments)).collect()
}

/// Where a number of a sample goes in its sketch, and with which sign.
fn slot(place: usize, width: usize, seed: u64) -> (usize, f64) {
    if width <= SKETCH {
        return (place, 1.0);
    }
    let z = mix(seed ^ place as u64);
    ((z % SKETCH as u64) as usize, if z >> 63 == 0 { 1.0 } else { -1.0 })
}

/// How far a block is from a task, less what sampling gives, and that; none when the task lacks one of its classes.
fn block_distance(task: &Classes, seen: &BTreeMap<ClassId, &Moments>) -> Option<(f64, f64)> {
    let freedom: f64 = task.values().map(|moments| moments.rows.saturating_sub(1) as f64).sum();
    let width = seen.values().next()?.mean.len();
    let pooled: Vec<f64> = (0..width)
        .map(|place| {
            let squares = task.values().filter_map(|moments| moments.squares.get(place)).sum::<f64>();
            squares / freedom.max(1.0)
        })
        .collect();
    let (mut sum, mut sampling, mut rows) = (0.0, 0.0, 0.0);
    for (class, new) in seen {
        let known = task.get(class)?;
        let (n, m) = (new.rows as f64, known.rows as f64);
        let means = new.mean.iter().zip(&known.mean);
        let variances = known.squares.iter().zip(&pooled);
        let terms = means.zip(variances).map(|((new_mean, mean), (squares, pooled))| {
            let variance = (squares + PRIOR_ROWS * pooled) / (m - 1.0 + PRIOR_ROWS);
            term(new_mean - mean, variance)
        });
        sum += n * terms.sum::<f64>() / width.max(1) as f64;
        sampling += 1.0 + n / m;
        rows += n;
    }
    (rows > 0.0).then(|| ((sum - sampling) / rows, sampling / rows))
}

fn term(difference: f64, variance: f64) -> f64 {
    let square = difference * difference;
    if square == 0.0 { 0.0 } else { (square / variance).min(MOST_TERM) }
}
