//! Everything that a session on which the crate is registered does. One program: the engine is linked once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod by_key;
mod common;
mod encoding;
mod faults;
mod golden;
mod golden_files;
mod kafka_learning;
mod kafka_table;
mod learning;
mod page;
mod pass_through;
mod scoring;
mod scoring_support;
mod system_tables;
