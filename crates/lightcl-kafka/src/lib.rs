//! Kafka in, Kafka out, exactly once.
//!
//! A [`job`] consumes labelled samples as a member of a consumer group, runs one operator a unit (a partition, a key or
//! all of it) and publishes predictions, boundaries, stability reports, snapshots and dead letters in one transaction with
//! the input offsets. State stands in a compacted topic. `docs/kafka.md` explains the guarantees and their limits.

pub mod claims;
mod client;
mod compacted;
pub mod config;
mod control;
mod ends;
pub mod follower;
pub mod format;
mod group;
pub mod health;
pub mod job;
mod kafka_store;
mod lag;
mod learners;
mod native;
mod outbox;
pub mod parts;
mod predictions;
mod producer;
pub mod reading;
pub mod records;
mod refusals;
mod replay;
pub mod retire;
mod router;
pub mod serving;
mod sink_store;
pub mod snapshot_topic;
mod start;
pub mod store;
pub mod topics;
pub mod unit_names;
mod unit_record;
mod units;
mod worker;
pub mod writing;

pub use config::{Connection, SecretSource};
pub use health::Health;
pub use job::{Finished, Job, Target};
pub use learners::{OperatorFactory, Parking};
pub use outbox::{OutRecord, TopicPartition};
pub use producer::Failure;
pub use unit_record::Step;
pub use worker::{FormatOpener, Observer, UnitReport};
