//! Records of every format to rows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod avro;
mod columns;
mod csv;
mod json;
mod registry;
mod support;
