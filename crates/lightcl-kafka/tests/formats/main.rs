//! Records of every format to rows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod avro;
mod cloud_events;
mod columns;
mod csv;
mod ipc;
mod json;
mod registry;
mod support;
mod tensor;
