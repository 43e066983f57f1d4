//! Detector `auto` and its signals one by one: `input`, `activations`, `rule`, `residual`, `class_shares`.

mod history;
mod mean_shift;
mod reader;
mod row;
mod signal;
mod sketch;
mod symmetric;

use crate::placement::{likeliest_shift, within_bounds};
use crate::{NewClassesConfig, NewClassesDetector};
use lightcl_core::{BoundaryDetector, Error, Evidence, Needs, Observation, Result, Stateful, Verdict, state};
use mean_shift::{Finding, MeanShift, MeanShiftState, SCALES};
use reader::{CLASS_SLOTS, Reader};
use row::{Row, read_width};
use serde::{Deserialize, Serialize};
pub use signal::Signal;
use sketch::{Sketch, SketchState};
use std::collections::VecDeque;

const TAG: &str = "boundary.auto";
const VERSION: u16 = 1;

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

/// Settings of [`AutoDetector`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AutoConfig {
    /// Signals that are watched, the most trusted for placing a boundary first.
    pub signals: Vec<Signal>,
    /// Whether classes that the task did not have are a boundary at once ([`NewClassesDetector`]).
    pub new_classes: bool,
    /// No boundary within so many samples of the last one.
    pub min_task_samples: u64,
    /// Every threshold is divided by this: above 1 fires sooner and more often. In [0.1, 10].
    pub sensitivity: f64,
    /// Seed of the random features.
    pub seed: u64,
}

impl Default for AutoConfig {
    fn default() -> Self {
        AutoConfig {
            signals: vec![
                Signal::Input,
                Signal::Rule,
                Signal::Calibration,
                Signal::Residual,
                Signal::Error,
                Signal::ClassShares,
            ],
            new_classes: true,
            min_task_samples: 100,
            sensitivity: 1.0,
            seed: 0,
        }
    }
}

/// Several signals and stated rules.
///
/// 1. Every row becomes a few bounded numbers (standardised, 24 random features) and is read by a small ridge
///    classifier that learns beside the learner.
/// 2. Every 16 rows each [`Signal`] is looked at: has its mean over the last 16, 32, .. 512 rows moved from what it was
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

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct AutoState {
    reader: Reader,
    /// The last rows of the task, oldest first.
    rows: VecDeque<Row>,
    first_index: Option<u64>,
    /// Rows of the task, those before the reset that belong to it included.
    samples: u64,
    /// Rows since the last look, and looks in the whole stream.
    waiting: usize,
    looks: u64,
    /// Looks in a row with a sign, clear ones doubly.
    over: u32,
    /// The largest effect among those signs, and looks since.
    peak: f64,
    since_peak: u32,
    /// What strengths are divided by where rows depend on each other.
    bar: f64,
    /// What the last look found, for the evidence.
    findings: Vec<(Signal, Finding)>,
    /// Where the boundary that was just reported lies.
    reported: Option<u64>,
}

impl Default for AutoState {
    fn default() -> Self {
        AutoState {
            reader: Reader::default(),
            rows: VecDeque::new(),
            first_index: None,
            samples: 0,
            waiting: 0,
            looks: 0,
            over: 0,
            peak: 0.0,
            since_peak: 0,
            bar: 1.0,
            findings: Vec::new(),
            reported: None,
        }
    }
}

/// Buffers that hold nothing from one row to the next.
#[derive(Default)]
struct Scratch {
    inputs: Vec<f32>,
    shares: Vec<f32>,
    block: Vec<f32>,
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
    pub fn only(signal: Signal, config: AutoConfig) -> Result<Self> {
        Self::named(signal.name(), AutoConfig { signals: vec![signal], new_classes: false, ..config })
    }

    fn named(name: &'static str, config: AutoConfig) -> Result<Self> {
        if !(0.1..=10.0).contains(&config.sensitivity) {
            return Err(
                Error::user("auto.sensitivity must lie between 0.1 and 10").with("sensitivity", config.sensitivity)
            );
        }
        if config.signals.iter().enumerate().any(|(number, signal)| config.signals[..number].contains(signal)) {
            return Err(Error::user("auto.signals names a signal twice"));
        }
        if config.signals.is_empty() && !config.new_classes {
            return Err(Error::user("auto has nothing to watch; name a signal or set new_classes"));
        }
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
                Signal::Rule | Signal::Calibration => seeding || state.samples < RULE_FROM,
                Signal::Residual => seeding || state.samples < RESIDUAL_FROM,
                Signal::Error => seeding,
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
        let is_input = |signal: &Signal| matches!(signal, Signal::Input | Signal::Activations);
        let dependent =
            self.config.signals.iter().zip(&self.shifts).any(|(s, shift)| is_input(s) && shift.is_dependent());
        let residual = self.config.signals.iter().position(|&signal| signal == Signal::Residual);
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
            let related = |signal: &Signal| matches!(signal, Signal::Rule | Signal::Calibration);
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
    fn place(&self, signal: Signal, scale: usize) -> Option<u64> {
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
        Needs { activations: self.config.signals.contains(&Signal::Activations) }
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

/// What is saved: everything but the random features, which come from their seed.
#[derive(Serialize, Deserialize)]
struct Saved {
    classes: Vec<u8>,
    sketch: SketchState,
    activations: SketchState,
    shifts: Vec<MeanShiftState>,
    state: AutoState,
}

impl Stateful for AutoDetector {
    fn save(&self) -> Result<Vec<u8>> {
        let saved = Saved {
            classes: self.classes.save()?,
            sketch: self.sketch.state().clone(),
            activations: self.activations.state().clone(),
            shifts: self.shifts.iter().map(|shift| shift.state().clone()).collect(),
            state: self.state.clone(),
        };
        state::encode(TAG, VERSION, &saved)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let saved: Saved = state::decode(TAG, VERSION, bytes)?;
        let parts = &saved.state;
        let sound = saved.sketch.is_sound()
            && saved.activations.is_sound()
            && saved.shifts.len() == self.shifts.len()
            && self.shifts.iter().zip(&saved.shifts).all(|(shift, state)| shift.fits(state))
            && parts.rows.len() <= KEPT_ROWS
            && parts.rows.iter().all(|row| row.is_sound(saved.sketch.width()))
            && parts.reader.is_sound(read_width(saved.sketch.width()))
            && parts.waiting < BLOCK_ROWS
            && parts.bar.is_finite()
            && parts.bar >= 1.0
            && parts.findings.iter().all(|(_, finding)| SCALES.contains(&finding.scale));
        if !sound {
            return Err(Error::user("the saved state of a detector is damaged").with("detector", self.name));
        }
        self.classes.restore(&saved.classes)?;
        self.sketch.set_state(saved.sketch);
        self.activations.set_state(saved.activations);
        for (shift, state) in self.shifts.iter_mut().zip(saved.shifts) {
            shift.set_state(state);
        }
        self.state = saved.state;
        Ok(())
    }
}
