//! Learners on a cluster: real schedulers and executors, in this process and as programs of their own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod kafka;
mod programs;
mod standalone;
mod support;
