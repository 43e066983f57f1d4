//! Commands and their options.

use super::sql::SqlArgs;
use crate::logs::LogFormat;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::path::PathBuf;

/// Continual learning inside a data stream.
///
/// Reads labelled samples one after the other, predicts each before it learns from it, notices by itself when a new task
/// begins, and keeps what it learnt before.
#[derive(Debug, Parser)]
#[command(name = "lightcl", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed at run time, 2 wrong usage or configuration, 130 interrupted.")]
pub struct Cli {
    /// How progress, warnings and errors are written to standard error; LIGHTCL_LOG=debug says more.
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t)]
    pub log: LogFormat,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a pipeline, or go on with one that was stopped.
    Run(RunArgs),
    /// Check a pipeline and explain every setting in force.
    Check(CheckArgs),
    /// Show what a snapshot or an output folder holds.
    Inspect(InspectArgs),
    /// Predict the labels of rows with a snapshot.
    Score(ScoreArgs),
    /// Learn, predict and query in SQL (feature datafusion).
    Sql(SqlArgs),
    /// Look after the topics of a Kafka job.
    Kafka(KafkaArgs),
    /// Join runs over disjoint rows into one that knows what all of them learnt.
    Merge(MergeArgs),
    /// Compare methods on streams whose truth is known.
    Bench(BenchArgs),
    /// Print the completion script of a shell.
    Completions(CompletionsArgs),
    /// Print the manual page, or write those of all commands into a folder.
    Man(ManArgs),
}

/// `lightcl run`.
#[derive(Debug, Args)]
#[command(
    after_help = "Run the same command again to go on after a stop of any kind. Progress goes to standard error, \
                        the summary last to standard output."
)]
pub struct RunArgs {
    /// The pipeline file (TOML).
    #[arg(value_name = "PIPELINE")]
    pub pipeline: PathBuf,
    /// Set one key, such as learner.seed=3; comes over the file and the environment (LIGHTCL__LEARNER__SEED=3).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// The output folder; short for --set output.dir=DIR.
    #[arg(long, value_name = "DIR")]
    pub out: Option<String>,
    /// Remove what earlier runs wrote into the output folder and start over.
    #[arg(long)]
    pub fresh: bool,
    /// Stop cleanly at the offsets that are the ends now (Kafka); short for --set source.until_end=true.
    #[arg(long)]
    pub until_end: bool,
    /// Print the summary as one JSON object.
    #[arg(long)]
    pub json: bool,
    /// Show no progress.
    #[arg(long, short)]
    pub quiet: bool,
}

/// `lightcl check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The pipeline file (TOML).
    #[arg(value_name = "PIPELINE")]
    pub pipeline: PathBuf,
    /// Set one key, as for run.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// `lightcl inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A snapshot (its folder or its manifest) or an output folder.
    #[arg(value_name = "SNAPSHOT_OR_DIR")]
    pub path: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `lightcl score`.
#[derive(Debug, Args)]
pub struct ScoreArgs {
    /// A snapshot: its folder or its manifest.
    #[arg(value_name = "SNAPSHOT", required_unless_present = "follow")]
    pub snapshot: Option<PathBuf>,
    /// Rows to score: a file, a glob, a folder, or - for standard input.
    #[arg(value_name = "INPUT", required_unless_present = "follow")]
    pub input: Option<String>,
    /// Score the events of a pipeline's Kafka source with the newest published snapshot, until it is stopped.
    #[arg(
        long,
        value_name = "PIPELINE",
        conflicts_with_all = ["snapshot", "input", "output", "kind", "format"]
    )]
    pub follow: Option<PathBuf>,
    /// With --follow: set one key of the pipeline, as for run.
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "follow")]
    pub set: Vec<String>,
    /// Where predictions go; standard output when it is left out.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// How the input is encoded; told by its name when it is left out.
    #[arg(long = "type", value_name = "TYPE", value_enum)]
    pub kind: Option<InputType>,
    /// How predictions are written; told by the output's name when it is left out, jsonl on standard output.
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub format: Option<ScoreFormat>,
}

/// How the input of `score` is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InputType {
    /// Arrow IPC, file or stream format.
    Arrow,
    /// Parquet.
    Parquet,
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// How `score` writes predictions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScoreFormat {
    /// One JSON object a line.
    Jsonl,
    /// Parquet.
    Parquet,
    /// Arrow IPC file.
    Arrow,
    /// Comma-separated values with a header.
    Csv,
}

/// `lightcl kafka`.
#[derive(Debug, Args)]
pub struct KafkaArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: KafkaCommand,
}

/// What `lightcl kafka` does.
#[derive(Debug, Subcommand)]
pub enum KafkaCommand {
    /// Show the topics that a job writes to and what is wrong with them, and make those that are missing.
    Topics(TopicsArgs),
    /// Remove a model that no job learns any longer from the snapshot topic, and its state from the state topic.
    Retire(RetireArgs),
}

/// `lightcl kafka topics`.
#[derive(Debug, Args)]
pub struct TopicsArgs {
    /// The pipeline file (TOML).
    #[arg(value_name = "PIPELINE")]
    pub pipeline: PathBuf,
    /// Set one key, as for run.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Make the topics that are missing.
    #[arg(long)]
    pub create: bool,
    /// Partitions of the topics that are made; as many as the input has when it is left out. The state topic has at least as
    /// many as the input.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub partitions: Option<i32>,
    /// Copies of each partition; as the brokers are set up when it is left out.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=100))]
    pub replication: Option<i32>,
}

/// `lightcl kafka retire`.
#[derive(Debug, Args)]
#[command(
    after_help = "Stop the job first: one that goes on would miss what is removed. Running it again does no harm."
)]
pub struct RetireArgs {
    /// The pipeline file (TOML).
    #[arg(value_name = "PIPELINE")]
    pub pipeline: PathBuf,
    /// Set one key, as for run.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// The model's name.
    #[arg(long, value_name = "ID")]
    pub model: String,
    /// Only what one unit has learnt, such as samples-3; all units when it is left out.
    #[arg(long, value_name = "UNIT")]
    pub unit: Option<String>,
    /// Remove the state too: a job that starts then begins anew.
    #[arg(long)]
    pub state: bool,
}

/// `lightcl merge`.
#[derive(Debug, Args)]
#[command(
    after_help = "Adds the sums that the analytic heads are solved from. They are exact: with analytic.forget = [1.0] and \
                  analytic.standardize = \"none\" the heads are those of one run over all rows, in whatever order. The \
                  network, tasks, figures and the position in the source are those of the first run. Rows that two runs \
                  have both learnt count twice."
)]
pub struct MergeArgs {
    /// Output folders of runs that came to their end.
    #[arg(value_name = "RUN", num_args = 2.., required = true)]
    pub runs: Vec<PathBuf>,
    /// The new output folder: a snapshot, and a checkpoint that can be merged again or gone on with.
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
}

/// `lightcl bench`.
#[derive(Debug, Args)]
#[command(
    after_help = "Streams whose files are not there are left out, with the reason. A wrong name of a stream or a \
                  detector lists those that there are; new_classes+error is both as one."
)]
pub struct BenchArgs {
    /// What is compared.
    #[arg(value_name = "SUITE", value_enum, default_value_t = Suite::Boundaries)]
    pub suite: Suite,
    /// Print one JSON object instead of tables.
    #[arg(long)]
    pub json: bool,
    /// Runs of each detector or head on each stream, with seeds 0, 1, ..; 3, or 1 with --quick, when it is left out.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: Option<u64>,
    /// Streams, all when it is left out.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub streams: Vec<String>,
    /// Detectors, all when it is left out (boundaries).
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub detectors: Vec<String>,
    /// Heads, all when it is left out (patterns, streams).
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub methods: Vec<String>,
    /// Settings of [learner.analytic] to try instead of the suite's own, as in {"width": 1000} (patterns, streams).
    #[arg(long, value_name = "JSON")]
    pub analytic: Option<String>,
    /// A Python that has river: its adaptive random forest runs beside ours on the same rows (streams).
    #[arg(long, value_name = "PYTHON")]
    pub river: Option<PathBuf>,
    /// A folder of data sets beside the examples of the repository.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Whether learnt windows are undone back to a boundary that was noticed late.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = RollBack::On)]
    pub rollback: RollBack,
    /// A change point counts as found when a boundary is noticed at most so many rows after it ..
    #[arg(long, value_name = "ROWS", default_value_t = 1000)]
    pub max_delay: u64,
    /// .. and placed at most so many rows from it.
    #[arg(long, value_name = "ROWS", default_value_t = 256)]
    pub max_offset: u64,
    /// Short streams: to see that everything works.
    #[arg(long)]
    pub quick: bool,
}

/// What `bench` compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Suite {
    /// Boundary detectors: what they find, miss and make up, how late, and what accuracy comes of it.
    Boundaries,
    /// Heads on streams of tasks: class- and task-incremental accuracy at the end of one pass.
    Patterns,
    /// Heads on tables: prequential accuracy and speed, beside river's adaptive random forest.
    Streams,
}

/// Whether `bench` runs with roll-back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RollBack {
    /// With it.
    On,
    /// Without it.
    Off,
    /// Once with it and once without.
    Both,
}

/// `lightcl completions`.
#[derive(Debug, Args)]
#[command(after_help = "For bash: lightcl completions bash > ~/.local/share/bash-completion/completions/lightcl")]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: Shell,
}

/// `lightcl man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Folder for the pages of all commands.
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
}
