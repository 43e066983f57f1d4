//! `lightcl bench`.

use super::{BenchArgs, RollBack, Suite, print};
use crate::bench::{self, Plan, Rule, patterns, prequential};
use lightcl_core::{Error, Result};
use serde_json::Value;

/// Runs a suite: a table for each stream as soon as it is done and one over all, or one JSON object at the end.
///
/// # Errors
/// When a name is wrong, a file that is there cannot be read, or a run fails.
pub fn run(arguments: &BenchArgs) -> Result<()> {
    if let Some(folder) = arguments.data.as_deref().filter(|folder| !folder.is_dir()) {
        return Err(Error::user("--data is no folder").with("path", folder.display()));
    }
    refuse_what_is_for_another_suite(arguments)?;
    let seeds = arguments.seeds.unwrap_or(if arguments.quick { 1 } else { 3 });
    let mut show = |text: &str| if arguments.json { Ok(()) } else { print(text) };
    let report = match arguments.suite {
        Suite::Boundaries => bench::boundaries(&boundaries(arguments, seeds), &mut show)?,
        Suite::Patterns => {
            let plan = patterns::Plan {
                seeds,
                streams: arguments.streams.clone(),
                methods: arguments.methods.clone(),
                data: arguments.data.clone(),
                quick: arguments.quick,
                analytic: settings(arguments)?,
            };
            patterns::compare(&plan, &mut show)?
        }
        Suite::Streams => {
            let plan = prequential::Plan {
                seeds,
                streams: arguments.streams.clone(),
                methods: arguments.methods.clone(),
                data: arguments.data.clone(),
                quick: arguments.quick,
                river: arguments.river.clone(),
                analytic: settings(arguments)?,
            };
            prequential::compare(&plan, &mut show)?
        }
    };
    if arguments.json { print(&format!("{report}\n")) } else { Ok(()) }
}

fn boundaries(arguments: &BenchArgs, seeds: u64) -> Plan {
    Plan {
        seeds,
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
    }
}

/// An option that the suite does not look at is a mistake, not a wish.
fn refuse_what_is_for_another_suite(arguments: &BenchArgs) -> Result<()> {
    let (heads, tables) = (arguments.suite != Suite::Boundaries, arguments.suite == Suite::Streams);
    for (given, allowed, option) in [
        (!arguments.detectors.is_empty(), !heads, "--detectors"),
        (!arguments.methods.is_empty(), heads, "--methods"),
        (arguments.analytic.is_some(), heads, "--analytic"),
        (arguments.river.is_some(), tables, "--river"),
    ] {
        if given && !allowed {
            return Err(
                Error::user("this suite does not take the option; see lightcl bench --help").with("option", option)
            );
        }
    }
    Ok(())
}

fn settings(arguments: &BenchArgs) -> Result<Option<Value>> {
    let parse = |text: &String| {
        serde_json::from_str::<Value>(text).ok().filter(Value::is_object).ok_or_else(|| {
            Error::user("--analytic takes a JSON object with settings of [learner.analytic]").with("found", text)
        })
    };
    arguments.analytic.as_ref().map(parse).transpose()
}
