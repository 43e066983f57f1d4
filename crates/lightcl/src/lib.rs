//! Continual learning inside a data stream: the command-line program, a thin layer over the crates below.
//!
//! Configuration, sources, the output folder and the driver come from `lightcl-pipeline` and are named here too.

mod bench;
pub mod cli;
pub mod http;
mod kafka_run;
pub mod logs;

pub use lightcl_pipeline::{assembly, config, driver, meters, sink, source};
