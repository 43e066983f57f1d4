//! Pipelines over files and what runs them: the pipeline file, the sources and the output folder, the driver that runs an
//! operator between the two, and snapshots as models that score. The command-line program and the adapter of DataFusion are
//! layers over this.

pub mod assembly;
pub mod config;
pub mod driver;
pub mod merge;
pub mod meters;
pub mod model;
pub mod sink;
pub mod source;
