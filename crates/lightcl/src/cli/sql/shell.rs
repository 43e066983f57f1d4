//! Runs statements, one after the other.

use super::errors::of_statement;
use super::input::{Interrupt, Interrupts, lines};
use super::rows::Rows;
use super::statements::Ends;
use crate::cli::{SqlArgs, SqlFormat, print};
use futures::StreamExt;
use lightcl_core::{Error, Result};
use lightcl_datafusion::datafusion::error::DataFusionError;
use lightcl_datafusion::datafusion::physical_plan::{ExecutionPlanProperties, execute_stream};
use lightcl_datafusion::datafusion::prelude::{SessionConfig, SessionContext};
use lightcl_datafusion::datafusion::sql::parser::{DFParserBuilder, Statement};
use lightcl_datafusion::datafusion::sql::sqlparser::dialect::dialect_from_str;
use lightcl_datafusion::{Options, register};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

/// Exit code of a program that was interrupted.
const INTERRUPTED: i32 = 130;
/// Rows of an input without end wait at most so long for others to fill their table.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// How a series of statements ended.
enum End {
    Done(Result<()>),
    Interrupted(Interrupt),
}

/// Runs the statements that are given, or those of standard input.
pub(super) fn run(args: &SqlArgs) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::external("cannot start threads").caused_by(error))?;
    let end = runtime.block_on(session(args));
    // Standard input may be waited for on a thread of its own, which nothing can wake.
    runtime.shutdown_background();
    match end? {
        End::Done(result) => result,
        End::Interrupted(_) => std::process::exit(INTERRUPTED),
    }
}

async fn session(args: &SqlArgs) -> Result<End> {
    let config = SessionConfig::from_env().map_err(|error| of_statement(&error))?.with_information_schema(true);
    // Files are tables by their names: FROM 'rows.csv'.
    let context = SessionContext::new_with_config(config).enable_url_table();
    register(&context, Options { models: models(&args.model)? }).map_err(|error| of_statement(&error))?;
    let mut shell = Shell { context, format: args.format, interrupts: Interrupts::new()? };
    if args.command.is_empty() && args.file.is_empty() {
        return shell.converse().await;
    }
    let mut texts = args.command.clone();
    for file in &args.file {
        let text = fs::read_to_string(file).map_err(|error| {
            Error::user("cannot read a file of statements").with("file", file.display()).caused_by(error)
        })?;
        texts.push(text);
    }
    for text in texts {
        match shell.run(&text).await {
            End::Done(Ok(())) => {}
            end => return Ok(end),
        }
    }
    Ok(End::Done(Ok(())))
}

/// Models that the command line names.
fn models(named: &[String]) -> Result<BTreeMap<String, PathBuf>> {
    let pair = |named: &String| match named.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok((name.to_owned(), PathBuf::from(path))),
        _ => Err(Error::user("a model is named as NAME=PATH").with("found", named)),
    };
    named.iter().map(pair).collect()
}

struct Shell {
    context: SessionContext,
    format: SqlFormat,
    interrupts: Interrupts,
}

impl Shell {
    /// Runs statements from standard input as they become complete. A mistake does not end it; where nobody sits before it, the
    /// first mistake is what it ends with.
    async fn converse(&mut self) -> Result<End> {
        let is_terminal = io::stdin().is_terminal();
        let mut lines = lines();
        let (mut text, mut ends) = (String::new(), Ends::default());
        let mut first_mistake = None;
        loop {
            if is_terminal {
                print(if text.is_empty() { "lightcl> " } else { "    ...> " })?;
            }
            let line = tokio::select! {
                line = lines.recv() => line.transpose()?,
                interrupt = self.interrupts.next() => match interrupt {
                    Interrupt::Statement if is_terminal => {
                        (text, ends) = (String::new(), Ends::default());
                        print("\n")?;
                        continue;
                    }
                    other => return Ok(End::Interrupted(other)),
                },
            };
            let is_end = line.is_none();
            let line = line.unwrap_or_default();
            if ends.is_blank() && matches!(line.trim().trim_end_matches(';'), "exit" | "quit" | "\\q") {
                break;
            }
            ends.look_at(&line);
            text.push_str(&line);
            text.push('\n');
            if ends.is_complete() || is_end && !ends.is_blank() {
                ends = Ends::default();
                match self.run(&std::mem::take(&mut text)).await {
                    End::Done(Ok(())) => {}
                    End::Done(Err(error)) if crate::cli::is_closed_pipe(&error) => return Err(error),
                    End::Done(Err(error)) => {
                        say(&error);
                        first_mistake = first_mistake.or(Some(error.kind()));
                    }
                    End::Interrupted(Interrupt::Statement) if is_terminal => say(&Error::user("interrupted")),
                    interrupted => return Ok(interrupted),
                }
            }
            if is_end {
                break;
            }
        }
        let told = |kind| Error::new(kind, "a statement could not be run; what was wrong is said above");
        Ok(End::Done(match first_mistake.filter(|_| !is_terminal) {
            Some(kind) => Err(told(kind)),
            None => Ok(()),
        }))
    }

    /// Runs all statements of a text; none of them when one is no SQL.
    async fn run(&mut self, text: &str) -> End {
        let statements = match self.parsed(text) {
            Ok(statements) => statements,
            Err(error) => return End::Done(Err(of_statement(&error))),
        };
        for statement in statements {
            // A task of its own, so that an interrupt is heard while it computes. Whoever is aborted is dropped when he next
            // waits, and so are the streams in his hands: that is how DataFusion is cancelled.
            let mut task = tokio::spawn(execute(self.context.clone(), statement, self.format));
            let result = tokio::select! {
                result = &mut task => result,
                interrupt = self.interrupts.next() => {
                    task.abort();
                    let _ = task.await;
                    return End::Interrupted(interrupt);
                }
            };
            let result = result.map_err(|error| Error::internal("a statement broke off").caused_by(error));
            if let Err(error) = result.and_then(|result| result) {
                return End::Done(Err(error));
            }
        }
        End::Done(Ok(()))
    }

    fn parsed(&self, text: &str) -> Result<Vec<Statement>, DataFusionError> {
        let state = self.context.state();
        let settings = &state.config_options().sql_parser;
        let dialect = dialect_from_str(settings.dialect)
            .ok_or_else(|| DataFusionError::Configuration(format!("there is no dialect {}", settings.dialect)))?;
        let builder = DFParserBuilder::new(text).with_dialect(dialect.as_ref());
        let mut parser = builder.with_recursion_limit(settings.recursion_limit.get()).build()?;
        Ok(parser.parse_statements()?.into())
    }
}

async fn execute(context: SessionContext, statement: Statement, format: SqlFormat) -> Result<()> {
    let refused = |error: DataFusionError| of_statement(&error);
    let plan = context.state().statement_to_plan(statement).await.map_err(refused)?;
    let frame = context.execute_logical_plan(plan).await.map_err(refused)?;
    let task = frame.task_ctx();
    let plan = frame.create_physical_plan().await.map_err(refused)?;
    let is_endless = plan.boundedness().is_unbounded();
    let mut stream = execute_stream(plan, task.into()).map_err(refused)?;
    let mut rows = Rows::new(format, stream.schema());
    loop {
        let next = if is_endless {
            match tokio::time::timeout(LONGEST_WAIT, stream.next()).await {
                Ok(next) => next,
                Err(_) => {
                    rows.flush()?;
                    continue;
                }
            }
        } else {
            stream.next().await
        };
        match next {
            Some(batch) => rows.write(batch.map_err(refused)?)?,
            None => return rows.finish(),
        }
    }
}

/// Says what was wrong with a statement; the shell goes on.
fn say(error: &Error) {
    // With standard error gone there is nobody to tell.
    let _ = io::stderr().write_all(crate::cli::described(error).as_bytes());
}
