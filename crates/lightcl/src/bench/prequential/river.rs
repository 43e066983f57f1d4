//! River's adaptive random forest on the same rows, by a script in Python.

use super::data::Source;
use crate::bench::streams::Stream;
use lightcl_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::Command;

/// The script, from the folder that the program runs in.
const SCRIPT: &str = "tests/river_forest.py";

/// What the script prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct River {
    pub accuracy: f64,
    pub rows: u64,
    /// Of scoring and learning; reading the file and making rows of it is not counted.
    pub rows_per_second: f64,
}

/// Runs the script over the rows and columns of a stream.
///
/// # Errors
/// When it cannot be started, fails, or prints something else.
pub(super) fn run(python: &Path, source: &Source, stream: &Stream) -> Result<River> {
    let features: Vec<&str> = stream.encoder.features.iter().map(|feature| feature.column.as_str()).collect();
    let output = Command::new(python)
        .arg(SCRIPT)
        .arg(&source.path)
        .args(["--features", &features.join(","), "--rows", &stream.len().to_string()])
        .output()
        .map_err(|error| {
            Error::user("--river: cannot run this Python").with("python", python.display()).caused_by(error)
        })?;
    if !output.status.success() {
        return Err(Error::user("--river: tests/river_forest.py failed; run lightcl from the top of the repository, with a Python that has river and pyarrow")
            .with("python", python.display())
            .with("stderr", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let river: River = serde_json::from_slice(&output.stdout)
        .map_err(|error| Error::external("tests/river_forest.py printed something else than JSON").caused_by(error))?;
    if river.rows != stream.len() {
        return Err(Error::internal("river saw another number of rows")
            .with("ours", stream.len())
            .with("river", river.rows));
    }
    Ok(river)
}
