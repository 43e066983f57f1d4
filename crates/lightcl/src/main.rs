//! The program `lightcl`: see `lightcl --help`.

use clap::Parser;
use lightcl::cli::{Cli, dispatch};
use std::process::ExitCode;

fn main() -> ExitCode {
    dispatch(&Cli::parse())
}
