//! Continual learning inside a data stream: configuration, file sources, and the driver that runs an operator between a source and a
//! sink.

pub mod config;
pub mod driver;
pub mod meters;
pub mod source;
