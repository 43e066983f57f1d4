//! What the end-to-end tests share: running the program as a user would, from the top of the repository.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test program uses its own part of it")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The top of the repository: pipelines name their data relative to it.
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The program, started at the top of the repository.
pub fn lightcl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lightcl"));
    command.current_dir(top());
    command
}

/// `lightcl run PIPELINE --out OUT --json` with extra arguments.
pub fn run_command(pipeline: impl AsRef<Path>, out: &Path, extra: &[&str]) -> Command {
    let mut command = lightcl();
    command.arg("run").arg(pipeline.as_ref()).arg("--out").arg(out).arg("--json").arg("--quiet").args(extra);
    command
}

/// Runs to the end and gives the summary, the last line on standard output.
pub fn run(pipeline: impl AsRef<Path>, out: &Path, extra: &[&str]) -> Value {
    let output = run_command(pipeline, out, extra).output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    summary(&output)
}

/// The summary of a run that ended well.
pub fn summary(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_else(|| panic!("no summary: {}", shown(output)));
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error} in {last}"))
}

/// Everything a program said, for messages of failed tests.
pub fn shown(output: &Output) -> String {
    format!(
        "{}\n--- stdout\n{}--- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A number of a summary.
pub fn number(summary: &Value, key: &str) -> f64 {
    summary[key].as_f64().unwrap_or_else(|| panic!("no number {key} in {summary}"))
}

/// Mean and standard deviation.
pub fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0).max(1.0);
    (mean, variance.sqrt())
}

/// Small seeded numbers for tests that need some (SplitMix64).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
