//! `lightcl bench`.

use super::{BenchArgs, RollBack, Suite, print};
use crate::bench::{self, Plan, Rule};
use lightcl_core::Result;

/// Runs a suite: a table for each stream as soon as it is done and one over all, or one JSON object at the end.
///
/// # Errors
/// When a name is wrong, a file that is there cannot be read, or a run fails.
pub fn run(arguments: &BenchArgs) -> Result<()> {
    let Suite::Boundaries = arguments.suite;
    let plan = Plan {
        seeds: arguments.seeds.unwrap_or(if arguments.quick { 1 } else { 3 }),
        streams: arguments.streams.clone(),
        detectors: arguments.detectors.clone(),
        data: arguments.data.clone(),
        quick: arguments.quick,
        rollback: match arguments.rollback {
            RollBack::On => vec![true],
            RollBack::Off => vec![false],
            RollBack::Both => vec![true, false],
        },
        rule: Rule { max_delay: arguments.max_delay, max_offset: arguments.max_offset },
    };
    let report = bench::boundaries(&plan, &mut |text| if arguments.json { Ok(()) } else { print(text) })?;
    if arguments.json { print(&format!("{report}\n")) } else { Ok(()) }
}
