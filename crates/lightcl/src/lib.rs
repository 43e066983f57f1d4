//! Continual learning inside a data stream: file sources, and the driver that runs an operator between a source and a
//! sink.

pub mod driver;
pub mod meters;
pub mod source;
