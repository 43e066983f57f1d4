//! Settings of the detector `mmd`.

use lightcl_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// What the rows are compared by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MmdSignal {
    /// The inputs.
    #[default]
    Input,
    /// The outputs of the learner's frozen prefix; nothing is seen before it is frozen.
    Activations,
}

impl MmdSignal {
    /// The name in settings.
    pub fn name(self) -> &'static str {
        match self {
            MmdSignal::Input => "input",
            MmdSignal::Activations => "activations",
        }
    }
}

/// Settings of [`MmdDetector`](super::MmdDetector).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MmdConfig {
    /// What the rows are compared by.
    pub signal: MmdSignal,
    /// Rows of the reference window: the first of a task.
    pub reference_samples: usize,
    /// Rows of the recent window; a multiple of `stride_samples`.
    pub recent_samples: usize,
    /// A test is made every so many rows.
    pub stride_samples: usize,
    /// Random frequencies of the kernel, each a cosine and a sine.
    pub frequencies: usize,
    /// Permutations of the pooled rows that the threshold is taken from.
    pub permutations: usize,
    /// The chance that one test of rows that do not depend on each other exceeds the threshold where nothing changes.
    pub level: f64,
    /// Tests in a row that must exceed the threshold.
    pub confirm_tests: u32,
    /// Seed of frequencies and permutations.
    pub seed: u64,
}

impl Default for MmdConfig {
    fn default() -> Self {
        MmdConfig {
            signal: MmdSignal::Input,
            reference_samples: 512,
            recent_samples: 128,
            stride_samples: 16,
            frequencies: 32,
            permutations: 200,
            level: 1e-6,
            confirm_tests: 2,
            seed: 0,
        }
    }
}

impl MmdConfig {
    pub(super) fn validate(&self) -> Result<()> {
        within("reference_samples", self.reference_samples, 16..=10_000)?;
        within("recent_samples", self.recent_samples, 8..=10_000)?;
        within("stride_samples", self.stride_samples, 1..=10_000)?;
        within("frequencies", self.frequencies, 1..=1024)?;
        within("permutations", self.permutations, 20..=10_000)?;
        within("confirm_tests", self.confirm_tests as usize, 1..=1000)?;
        if !self.recent_samples.is_multiple_of(self.stride_samples) {
            return Err(Error::user("mmd.recent_samples must be a multiple of mmd.stride_samples")
                .with("recent_samples", self.recent_samples)
                .with("stride_samples", self.stride_samples));
        }
        if !(1e-12..=0.1).contains(&self.level) {
            return Err(Error::user("mmd.level must lie between 1e-12 and 0.1").with("level", self.level));
        }
        Ok(())
    }
}

fn within(name: &'static str, value: usize, range: RangeInclusive<usize>) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    let (least, most) = range.into_inner();
    Err(Error::user(format!("mmd.{name} must lie between {least} and {most}")).with(name, value))
}
