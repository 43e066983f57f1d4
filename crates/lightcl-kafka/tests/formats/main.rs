//! Records of every format to rows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod columns;
mod csv;
mod json;
mod support;
