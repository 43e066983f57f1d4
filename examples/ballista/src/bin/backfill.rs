//! A client of a cluster that learns: runs statements, and joins the learners of a job into one model where it is asked to.
//!
//!     cargo run -p lightcl-ballista-example --bin backfill -- --scheduler http://localhost:50050 -c "SELECT .."

use clap::Parser;
use datafusion::common::exec_datafusion_err;
use datafusion::error::{DataFusionError, Result};
use lightcl_ballista::{client, config};
use lightcl_datafusion::Options;
use lightcl_pipeline::merge::merge;
use std::path::PathBuf;

#[derive(Parser)]
#[command(about = "Runs statements on a Ballista cluster that trains learners")]
struct Arguments {
    /// Where the scheduler listens.
    #[arg(long, default_value = "http://localhost:50050")]
    scheduler: String,
    /// A statement; several are run in order, and the result of each is printed.
    #[arg(short = 'c', long = "command", required = true)]
    commands: Vec<String>,
    /// Partitions that rows are spread over by key.
    #[arg(long, default_value_t = 16)]
    partitions: usize,
    /// The folder of a job's range, LOCATION/JOB/RANGE, all of whose learners are joined afterwards.
    #[arg(long, requires = "merge_to")]
    merge_from: Option<PathBuf>,
    /// The folder that the joined model goes to.
    #[arg(long, requires = "merge_from")]
    merge_to: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    env_logger::init();
    let arguments = Arguments::parse();
    let config = config().with_target_partitions(arguments.partitions);
    let context = client(&arguments.scheduler, config, Options::default())?;
    for command in &arguments.commands {
        context.sql(command).await?.show().await?;
    }
    let (Some(from), Some(to)) = (arguments.merge_from, arguments.merge_to) else { return Ok(()) };
    let mut learners = Vec::new();
    for entry in std::fs::read_dir(&from)? {
        learners.push(entry?.path());
    }
    // The order decides whose network and positions the joined model has.
    learners.sort();
    let merged = merge(&learners, &to).map_err(|error| exec_datafusion_err!("{error}"))?;
    println!("{} learners joined: {} rows, snapshot {}", learners.len(), merged.samples, merged.snapshot.display());
    Ok::<(), DataFusionError>(())
}
