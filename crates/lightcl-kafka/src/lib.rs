//! Kafka in, Kafka out, exactly once.
//!
//! A [`job`] consumes labelled samples as a member of a consumer group, runs one operator a unit (a partition, a key or
//! all of it) and publishes predictions, boundaries, stability reports, snapshots and dead letters in one transaction with
//! the input offsets. State stands in a compacted topic. `docs/kafka.md` explains the guarantees and their limits.

pub mod config;
pub mod format;
pub mod health;
pub mod records;
pub mod topics;

pub use config::{Connection, SecretSource};
pub use health::Health;
