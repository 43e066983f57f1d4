//! `lightcl completions`.

use super::{Cli, CompletionsArgs};
use clap::CommandFactory;
use lightcl_core::Result;

/// Prints the completion script of a shell.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(args: &CompletionsArgs) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lightcl", &mut script);
    super::print(&String::from_utf8_lossy(&script))
}
