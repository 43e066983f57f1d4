//! An executor of a cluster that learns.
//!
//!     cargo run -p lightcl-ballista-example --bin executor -- --scheduler-port 50050 --port 50051

use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::error::Result;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use clap::Parser;
use lightcl_ballista::{LogicalCodec, PhysicalCodec, config, scheduler_state};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

#[derive(Parser)]
#[command(about = "An executor of a Ballista cluster that trains learners")]
struct Arguments {
    /// Host of the scheduler.
    #[arg(long, default_value = "localhost")]
    scheduler_host: String,
    /// Port of the scheduler.
    #[arg(long, default_value_t = 50050)]
    scheduler_port: u16,
    /// Address to listen on; others reach this executor under it.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port that hands out results.
    #[arg(long, default_value_t = 50051)]
    port: u16,
    /// Folder for rows between stages. Default: a new one, removed at the end.
    #[arg(long)]
    work_dir: Option<PathBuf>,
    /// Tasks at once; each trains one learner at a time.
    #[arg(long, default_value_t = 2)]
    tasks: usize,
    /// Bytes that all tasks together may hold; sorts spill to disk beyond. Default: most of the machine's.
    #[arg(long)]
    memory_bytes: Option<u64>,
}

#[tokio::main]
async fn main() -> Result<()> {
    env_logger::init();
    let arguments = Arguments::parse();
    let temporary = TempDir::new()?;
    let work_dir = arguments.work_dir.unwrap_or_else(|| temporary.path().to_owned());
    let functions = scheduler_state(config())?;
    let settings = ExecutorProcessConfig {
        bind_host: arguments.host.clone(),
        external_host: Some(arguments.host),
        port: arguments.port,
        scheduler_host: arguments.scheduler_host,
        scheduler_port: arguments.scheduler_port,
        scheduler_connect_timeout_seconds: 30,
        task_scheduling_policy: TaskSchedulingPolicy::PullStaged,
        vcores: arguments.tasks.max(1),
        work_dir: Some(work_dir.display().to_string()),
        memory_pool_size: arguments.memory_bytes,
        override_function_registry: Some(Arc::new((&functions).into())),
        override_config_producer: Some(Arc::new(config)),
        override_logical_codec: Some(Arc::new(LogicalCodec::default())),
        override_physical_codec: Some(Arc::new(PhysicalCodec::default())),
        ..ExecutorProcessConfig::default()
    };
    println!("executor on {}:{}", settings.bind_host, settings.port);
    start_executor_process(Arc::new(settings)).await
}
