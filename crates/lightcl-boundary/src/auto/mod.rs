//! Detector `auto` and its signals one by one: `input`, `activations`, `rule`, `residual`, `class_shares`.

mod config;
mod history;
mod mean_shift;
mod reader;
mod row;
mod signal;
mod sketch;
mod state;
mod symmetric;

use crate::placement::{likeliest_shift, within_bounds};
use crate::{NewClassesConfig, NewClassesDetector};
pub use config::AutoConfig;
use lightcl_core::{BoundaryDetector, Evidence, Needs, Observation, Result, Verdict};
use mean_shift::{Finding, MeanShift};
use reader::CLASS_SLOTS;
use row::{Row, read_width};
pub use signal::AutoSignal;
pub(crate) use sketch::{Sketch, SketchState};
use state::AutoState;

/// Rows that are looked at together.
const BLOCK_ROWS: usize = 16;
/// Random features of the inputs, and of the prefix's outputs.
const FEATURES: usize = 24;
const ACTIVATION_FEATURES: usize = 24;
/// Rows kept for placing a boundary and for a quick start after it.
const KEPT_ROWS: usize = 512;
/// Blocks in the shortest window that is trusted where rows depend on each other.
const LONG_SCALE: usize = 8;
/// Nothing fires before so many blocks of the stream: thresholds need some past.
const FIRST_BLOCKS: u64 = 16;
/// Rows of a task after which residuals, and their relation to the inputs, are watched: before, the classifier learns.
const RESIDUAL_FROM: u64 = 64;
const RULE_FROM: u64 = 200;
/// What the covariance of the last task is worth in the next, in rows.
const KEPT_FREEDOM: f64 = 32.0;
/// Strengths of a sign that has to last `LOOKS` looks, half as many, and one.
const WEAK: f64 = 0.8;
const CLEAR: f64 = 1.0;
const STRONG: f64 = 2.0;
const LOOKS: u32 = 4;
/// A slow change has settled when its effect has not grown for so many looks.
const SETTLED_LOOKS: u32 = 4;
/// Where rows depend on each other every boundary lifts the bar so much, and the lift halves in so many blocks.
const LIFT: f64 = 1.5;
const LIFT_HALVES_IN_BLOCKS: f64 = 1024.0;

/// Sums that cost most are taken from every block of a task's start, then from one of two, then of eight.
fn is_sampled(block: u64) -> bool {
    block < 32 || block.is_multiple_of(if block < 128 { 2 } else { 8 })
}

/// Several signals and stated rules.
///
/// 1. Every row becomes a few bounded numbers (standardised, 24 random features) and is read by a small ridge
///    classifier that learns beside the learner.
/// 2. Every 16 rows each [`AutoSignal`] is looked at: has its mean over the last 16, 32, .. 512 rows moved from what it was
///    in the task before them? Its **strength** is the statistic over its threshold; the threshold is the higher of what
///    chance and what the stream's own past give.
/// 3. A boundary: some signal's strength is at least 2 in one look, at least 1 in two looks in a row, or at least 0.8 in
///    four. Before that it is a warning. Classes that the task did not have are a boundary at once.
/// 4. Where neighbouring rows depend on each other (seasons, bursts: the inputs' statistic is usually well above that of
///    independent rows), only windows of 128 rows and more count, and every boundary lifts the bar by half for a while:
///    a rhythm is no new task.
/// 5. The boundary lies where the rows, projected on the direction of the change, are likeliest two stretches of constant
///    mean. The rows after it start the new task's statistics, so that a short task is not lost.
///
/// A fall of an error is the learner getting better, and no sign.
pub struct AutoDetector {
    name: &'static str,
    config: AutoConfig,
    classes: NewClassesDetector,
    sketch: Sketch,
    activations: Sketch,
    shifts: Vec<MeanShift>,
    state: AutoState,
    scratch: Scratch,
}

/// Buffers that hold nothing from one row to the next.
#[derive(Default)]
struct Scratch {
    inputs: Vec<f32>,
    shares: Vec<f32>,
    block: Vec<f32>,
    solved: Vec<f64>,
}

impl AutoDetector {
    /// A detector before the first row.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn new(config: AutoConfig) -> Result<Self> {
        Self::named("auto", config)
    }

    /// One signal alone, under its own name.
    ///
    /// # Errors
    /// As [`AutoDetector::new`].
    pub fn only(signal: AutoSignal, config: AutoConfig) -> Result<Self> {
        Self::named(signal.name(), AutoConfig { signals: vec![signal], new_classes: false, ..config })
    }

    fn named(name: &'static str, config: AutoConfig) -> Result<Self> {
        config.validate()?;
        Ok(AutoDetector {
            name,
            classes: NewClassesDetector::new(NewClassesConfig::default())?,
            sketch: Sketch::new(FEATURES, config.seed),
            activations: Sketch::new(ACTIVATION_FEATURES, config.seed ^ 1),
            shifts: config.signals.iter().map(|signal| MeanShift::new(signal.shape())).collect(),
            state: AutoState::default(),
            scratch: Scratch::default(),
            config,
        })
    }

    /// The row as the signals see it; none while the standardisation is being learnt.
    fn read(&mut self, seen: &Observation<'_>) -> Option<Row> {
        if !self.sketch.is_warm(seen.features) {
            return None;
        }
        // The oldest row's buffers serve the newest.
        let rows = &mut self.state.rows;
        let mut row = if rows.len() == KEPT_ROWS { rows.pop_front() } else { None }.unwrap_or_default();
        row.index = seen.index;
        row.slot = seen.label as usize % CLASS_SLOTS;
        row.error = seen.error() as f32;
        let scratch = &mut self.scratch;
        self.sketch.standardise(seen.features, &mut scratch.inputs);
        row.begin_read(&scratch.inputs);
        self.sketch.features(&scratch.inputs, &mut row.read);
        self.state.reader.predict(&row.read, &mut scratch.shares);
        row.compare(&scratch.shares);
        row.novelty = match self.config.signals.contains(&AutoSignal::Novelty) {
            true => self.state.reader.novelty(&row.read, &mut scratch.solved),
            false => 0.0,
        };
        row.activations.clear();
        if !seen.activations.is_empty() && self.activations.is_warm(seen.activations) {
            self.activations.standardise(seen.activations, &mut scratch.inputs);
            self.activations.features(&scratch.inputs, &mut row.activations);
        }
        Some(row)
    }

    /// Shows the last block to every signal and to the classifier.
    fn take_block(&mut self, last: usize, seeding: bool) {
        let state = &mut self.state;
        let Some(start) = last.checked_sub(BLOCK_ROWS) else { return };
        let block = &mut self.scratch.block;
        for (signal, shift) in self.config.signals.iter().zip(&mut self.shifts) {
            let early = match signal {
                // Residuals of rows before a reset are of the old task's classifier.
                AutoSignal::Rule | AutoSignal::Calibration => seeding || state.samples < RULE_FROM,
                AutoSignal::Residual | AutoSignal::Novelty => seeding || state.samples < RESIDUAL_FROM,
                AutoSignal::Error => seeding,
                _ => false,
            };
            block.clear();
            if !early && state.rows.range(start..last).all(|row| signal.vector(row, block)) {
                shift.take(state.rows[start].index, block);
            }
        }
        if self.config.signals.iter().any(|signal| signal.reads()) {
            block.clear();
            state.rows.range(start..last).for_each(|row| block.extend(&row.read));
            let slots: Vec<usize> = state.rows.range(start..last).map(|row| row.slot).collect();
            state.reader.learn(block, read_width(self.sketch.width()), &slots);
        }
    }

    fn look(&mut self, index: u64) -> Verdict {
        self.take_block(self.state.rows.len(), false);
        let state = &mut self.state;
        state.looks = state.looks.saturating_add(1);
        let may_fire = state.samples >= self.config.min_task_samples && state.looks >= FIRST_BLOCKS;
        let calm = state.over == 0 || !may_fire;
        let is_input = |signal: &AutoSignal| matches!(signal, AutoSignal::Input | AutoSignal::Activations);
        let dependent =
            self.config.signals.iter().zip(&self.shifts).any(|(s, shift)| is_input(s) && shift.is_dependent());
        let residual = self.config.signals.iter().position(|&signal| signal == AutoSignal::Residual);
        state.findings.clear();
        for (&signal, shift) in self.config.signals.iter().zip(&mut self.shifts) {
            if let Some(mut finding) = shift.look(calm, dependent) {
                finding.strength *= self.config.sensitivity / if dependent { state.bar } else { 1.0 };
                state.findings.push((signal, finding));
            }
        }
        // A classifier that is still getting better moves what its residuals are related to, too.
        if let Some(residual) = residual {
            let learns = |finding: &Finding| self.shifts[residual].falls(finding.scale);
            let related = |signal: &AutoSignal| matches!(signal, AutoSignal::Rule | AutoSignal::Calibration);
            for (_, finding) in state.findings.iter_mut().filter(|(s, finding)| related(s) && learns(finding)) {
                finding.strength = 0.0;
            }
        }
        state.bar = 1.0 + (state.bar - 1.0) * 0.5_f64.powf(1.0 / LIFT_HALVES_IN_BLOCKS);
        // The earliest of equals.
        state.findings.sort_by(|(_, a), (_, b)| b.strength.total_cmp(&a.strength));
        let Some(&(signal, strongest)) = state.findings.first().filter(|_| may_fire) else { return Verdict::Stable };
        if strongest.strength < WEAK {
            (state.over, state.peak, state.since_peak) = (0, 0.0, 0);
            return Verdict::Stable;
        }
        // A weak sign has to last four looks, a clear one two, a strong one only this.
        let weight = match strongest.strength {
            strength if strength >= STRONG => LOOKS,
            strength if strength >= CLEAR => LOOKS / 2,
            _ => 1,
        };
        state.over = state.over.saturating_add(weight);
        // What takes long to see may still be under way: the boundary is where it has settled.
        state.since_peak = state.since_peak.saturating_add(1);
        if strongest.effect > 1.02 * state.peak {
            (state.peak, state.since_peak) = (strongest.effect, 0);
        }
        let settles = strongest.scale >= LONG_SCALE && state.since_peak < SETTLED_LOOKS;
        if state.over < LOOKS || settles {
            return Verdict::Warning;
        }
        if dependent {
            state.bar *= LIFT;
        }
        let at = self.place(signal, strongest.scale).unwrap_or(index);
        self.report(at, index, Vec::new())
    }

    /// Index of the row at which the mean of a signal is likeliest to have moved.
    fn place(&self, signal: AutoSignal, scale: usize) -> Option<u64> {
        let number = self.config.signals.iter().position(|&other| other == signal)?;
        let shift = &self.shifts[number];
        let direction = shift.direction(scale)?;
        let rows = &self.state.rows;
        // First roughly among all blocks, then by row if those rows are still here.
        let block = shift.place(scale)?;
        let Some(block) = rows.iter().position(|row| row.index == block) else { return Some(block) };
        let start = block.saturating_sub((scale + 4) * BLOCK_ROWS);
        let mut vector = Vec::new();
        let values: Vec<f64> = rows
            .range(start..)
            .map(|row| {
                vector.clear();
                signal.vector(row, &mut vector);
                vector.iter().zip(&direction).map(|(&value, weight)| f64::from(value) * weight).sum()
            })
            .collect();
        likeliest_shift(values.iter().copied(), true, 1).map(|shift| rows[start + shift.split].index)
    }

    fn report(&mut self, at: u64, index: u64, mut evidence: Vec<Evidence>) -> Verdict {
        let at = within_bounds(at, self.state.first_index.unwrap_or(index), index);
        self.state.reported = Some(at);
        evidence.extend(self.state.findings.iter().map(|(signal, finding)| {
            let sign = if finding.strength >= WEAK { signal.meaning() } else { "no sign" };
            Evidence::new(
                signal.name(),
                format!(
                    "{sign}: strength {:.2} (statistic {:.2}, threshold {:.2}, last {} rows)",
                    finding.strength,
                    finding.statistic,
                    finding.threshold,
                    finding.scale * BLOCK_ROWS
                ),
            )
        }));
        Verdict::Boundary { at, evidence }
    }
}

impl BoundaryDetector for AutoDetector {
    fn name(&self) -> &str {
        self.name
    }

    fn needs(&self) -> Needs {
        Needs { activations: self.config.signals.contains(&AutoSignal::Activations) }
    }

    fn observe(&mut self, seen: &Observation<'_>) -> Verdict {
        self.state.reported = None;
        self.state.first_index.get_or_insert(seen.index);
        self.state.samples = self.state.samples.saturating_add(1);
        let by_class = if self.config.new_classes { self.classes.observe(seen) } else { Verdict::Stable };
        let mut verdict = if by_class == Verdict::Warning { Verdict::Warning } else { Verdict::Stable };
        if let Some(row) = self.read(seen) {
            self.state.rows.push_back(row);
            self.state.waiting += 1;
            if self.state.waiting == BLOCK_ROWS {
                self.state.waiting = 0;
                match self.look(seen.index) {
                    Verdict::Stable => {}
                    other => verdict = other,
                }
            }
        }
        match by_class {
            Verdict::Boundary { at, evidence } if self.state.samples >= self.config.min_task_samples => {
                self.report(at, seen.index, evidence)
            }
            _ => verdict,
        }
    }

    fn reset(&mut self) {
        if self.state.samples == 0 && self.state.first_index.is_none() {
            return;
        }
        self.classes.reset();
        self.shifts.iter_mut().for_each(|shift| shift.restart(KEPT_FREEDOM));
        let old = std::mem::take(&mut self.state);
        let AutoState { looks, bar, .. } = old;
        self.state = AutoState { looks, bar, ..AutoState::default() };
        // Rows after the boundary that was just reported belong to the new task.
        let Some(at) = old.reported else { return };
        self.state.rows = old.rows.into_iter().filter(|row| row.index >= at).collect();
        let rows = self.state.rows.len();
        self.state.samples = rows as u64;
        self.state.waiting = rows % BLOCK_ROWS;
        for last in (BLOCK_ROWS..=rows).step_by(BLOCK_ROWS) {
            self.take_block(last, true);
        }
    }
}
