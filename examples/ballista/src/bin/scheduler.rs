//! The scheduler of a cluster that learns.
//!
//!     cargo run -p lightcl-ballista-example --bin scheduler -- --port 50050

use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::error::{BallistaError, Result};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::start_server;
use clap::Parser;
use lightcl_ballista::{LogicalCodec, PhysicalCodec, config, scheduler_state};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Stack of a thread that plans: plans are trees, walked by recursion.
const STACK_BYTES: usize = 32 << 20;

#[derive(Parser)]
#[command(about = "The scheduler of a Ballista cluster that trains learners")]
struct Arguments {
    /// Address to listen on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Port to listen on.
    #[arg(long, default_value_t = 50050)]
    port: u16,
    /// Seconds without a word from an executor after which its tasks are given to others; a busy one speaks every five.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(10..))]
    executor_timeout: u64,
}

fn main() -> Result<()> {
    env_logger::init();
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES).build()?;
    runtime.block_on(serve(&arguments))
}

async fn serve(arguments: &Arguments) -> Result<()> {
    let settings = SchedulerConfig {
        bind_host: arguments.host.to_string(),
        bind_port: arguments.port,
        // Executors ask for work. Where a scheduler of 55.0.0 hands it out it counts the tasks that it cancels when an executor
        // is lost as running for ever, and the others never get any more.
        scheduling_policy: TaskSchedulingPolicy::PullStaged,
        executor_timeout_seconds: arguments.executor_timeout,
        expire_dead_executor_interval_seconds: arguments.executor_timeout.div_ceil(4).max(1),
        override_logical_codec: Some(Arc::new(LogicalCodec::default())),
        override_physical_codec: Some(Arc::new(PhysicalCodec::default())),
        ..SchedulerConfig::default()
    };
    let settings = settings
        .with_override_config_producer(Arc::new(config))
        .with_override_session_builder(Arc::new(scheduler_state));
    settings.validate()?;
    let cluster = BallistaCluster::new_from_config(&settings).await?;
    let address = SocketAddr::new(arguments.host, arguments.port);
    println!("scheduler on {address}");
    start_server(cluster, address, Arc::new(settings)).await.map_err(|error| {
        BallistaError::General(format!("the scheduler on {address} has ended: {error}; is the port taken?"))
    })
}
