//! Options of `lightcl sql`.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// `lightcl sql`.
#[derive(Debug, Args)]
#[command(
    after_help = "Without -c and -f, statements are read from standard input up to their ; and a mistake ends none but its own; \
                  exit, quit or \\q ends the shell. With -c and -f the first mistake ends the program. Ctrl-C cancels the \
                  statement. Settings of DataFusion come from SET or from the environment (DATAFUSION_EXECUTION_BATCH_SIZE=1024)."
)]
pub struct SqlArgs {
    /// Run these statements and end; may be given again.
    #[arg(short, long, value_name = "STATEMENTS")]
    pub command: Vec<String>,
    /// Run the statements of a file, after those of -c, and end; may be given again.
    #[arg(short, long, value_name = "FILE")]
    pub file: Vec<PathBuf>,
    /// How rows are shown.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub format: SqlFormat,
    /// Give a model a name to be called by: an output folder or a snapshot; may be given again.
    #[arg(long, value_name = "NAME=PATH")]
    pub model: Vec<String>,
}

/// How `sql` shows rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum SqlFormat {
    /// Tables for people.
    #[default]
    Table,
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    Json,
}
