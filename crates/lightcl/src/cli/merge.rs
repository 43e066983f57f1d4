//! `lightcl merge`: what runs over disjoint rows know, in one.

use super::{MergeArgs, print};
use lightcl_core::Result;
use lightcl_pipeline::merge::merge;

/// Joins runs into one folder.
///
/// # Errors
/// As [`merge`].
pub fn run(args: &MergeArgs) -> Result<()> {
    let merged = merge(&args.runs, &args.output)?;
    print(&format!(
        "{} runs joined: {} samples, {} classes\nsnapshot {}\n",
        args.runs.len(),
        merged.samples,
        merged.classes,
        merged.snapshot.display()
    ))
}
