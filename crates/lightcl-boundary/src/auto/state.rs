//! What `auto` knows, saved and restored.

use super::mean_shift::{Finding, MeanShiftState, SCALES};
use super::reader::Reader;
use super::row::{Row, read_width};
use super::sketch::SketchState;
use super::{AutoDetector, AutoSignal, BLOCK_ROWS, KEPT_ROWS};
use lightcl_core::{Error, Result, Stateful, state};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const TAG: &str = "boundary.auto";
const VERSION: u16 = 2;

/// What changes from row to row, beside the sums of each signal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct AutoState {
    pub reader: Reader,
    /// The last rows of the task, oldest first.
    pub rows: VecDeque<Row>,
    pub first_index: Option<u64>,
    /// Rows of the task, those before the reset that belong to it included.
    pub samples: u64,
    /// Rows since the last look, and looks in the whole stream.
    pub waiting: usize,
    pub looks: u64,
    /// Looks in a row with a sign, clear ones doubly.
    pub over: u32,
    /// The largest effect among those signs, and looks since.
    pub peak: f64,
    pub since_peak: u32,
    /// What strengths are divided by where rows depend on each other.
    pub bar: f64,
    /// What the last look found, for the evidence.
    pub findings: Vec<(AutoSignal, Finding)>,
    /// Where the boundary that was just reported lies.
    pub reported: Option<u64>,
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
