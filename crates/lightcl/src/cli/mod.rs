//! The command-line program: one file a command.

mod args;
mod bench;
mod check;
mod completions;
mod follow;
mod inspect;
mod kafka;
mod man;
mod merge;
mod run;
mod score;
mod sql;
mod tensors;

pub use args::{
    BenchArgs, CheckArgs, Cli, Command, CompletionsArgs, InputType, InspectArgs, KafkaArgs, KafkaCommand, ManArgs,
    MergeArgs, RetireArgs, RollBack, RunArgs, ScoreArgs, ScoreFormat, Suite, TopicsArgs,
};
pub use sql::{SqlArgs, SqlFormat};

pub(crate) use run::refuse_another_configuration;

use crate::logs;
use lightcl_core::{Error, ErrorKind, Result};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// Does what the command line says; a failure is printed to standard error and becomes the exit code.
pub fn dispatch(cli: &Cli) -> ExitCode {
    let level = std::env::var(logs::LEVEL_VARIABLE).ok();
    let installed = logs::install(cli.log, level.as_deref()).map_err(Error::user);
    let result = installed.and_then(|()| match &cli.command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Score(args) => score::run(args),
        Command::Sql(args) => sql::run(args),
        Command::Merge(args) => merge::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
        Command::Kafka(args) => kafka::run(args),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // With standard error gone there is nobody to tell.
            let _ = io::stderr().write_all(described(&error).as_bytes());
            ExitCode::from(exit_code(error.kind()))
        }
    }
}

/// An error as it is written to standard error.
fn described(error: &Error) -> String {
    if logs::is_json() { describe_as_json(error) } else { describe(error) }
}

/// The exit code that an error of a kind ends the program with.
fn exit_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::User => 2,
        ErrorKind::External | ErrorKind::Internal => 1,
    }
}

/// An error for people: the message, what it is about, and what caused it.
fn describe(error: &Error) -> String {
    let mut text = format!("error: {}\n", error.message());
    // Writing to a String cannot fail.
    for (key, value) in error.context() {
        let _ = writeln!(text, "  {key}: {value}");
    }
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let _ = writeln!(text, "  caused by: {inner}");
        cause = inner.source();
    }
    if error.kind() == ErrorKind::Internal {
        text.push_str("  this is a mistake in lightcl; please report it\n");
    }
    text
}

/// An error for machines.
fn describe_as_json(error: &Error) -> String {
    let mut fields: serde_json::Map<String, serde_json::Value> =
        error.context().iter().map(|(key, value)| ((*key).to_owned(), value.as_str().into())).collect();
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    fields.insert("caused_by".to_owned(), causes.map(|cause| cause.to_string()).collect());
    fields.insert("exit_code".to_owned(), exit_code(error.kind()).into());
    logs::json_line(log::Level::Error, error.message(), fields)
}

/// Writes to standard output.
///
/// # Errors
/// When standard output cannot be written; `lightcl inspect .. | head` ends quietly.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).map_err(cannot_print)
}

fn cannot_print(error: io::Error) -> Error {
    Error::external("cannot write to standard output").caused_by(error)
}

/// Whether the reader of our standard output has gone, which is no failure.
fn is_closed_pipe(error: &Error) -> bool {
    std::iter::successors(std::error::Error::source(error), |cause| cause.source())
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_shown_with_context_and_every_cause() {
        let inner = Error::external("inner").caused_by(io::Error::other("disk on fire"));
        let error = Error::user("no such column").with("column", "x").caused_by(inner);
        assert_eq!(
            describe(&error),
            "error: no such column\n  column: x\n  caused by: inner\n  caused by: disk on fire\n"
        );
        assert!(describe(&Error::internal("x")).contains("please report"));
    }

    #[test]
    fn kinds_have_their_exit_codes() {
        assert_eq!([ErrorKind::User, ErrorKind::External, ErrorKind::Internal].map(exit_code), [2, 1, 1]);
    }
}
