//! Continual learning inside a data stream: configuration, sources, the output folder, and the driver that runs an
//! operator between them; the command-line program is a thin layer over this.

pub mod assembly;
mod bench;
pub mod cli;
pub mod config;
pub mod driver;
pub mod http;
mod kafka_run;
pub mod logs;
pub mod meters;
pub mod sink;
pub mod source;
