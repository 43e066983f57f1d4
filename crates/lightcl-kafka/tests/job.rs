//! Jobs against a real broker: what is committed is what a sequential run gives.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "common/mod.rs"]
mod common;

use common::jobs::{Stream, check, produce};
use common::producer;
use lightcl_testkit::services::{self, Broker};

#[test]
fn a_job_gives_each_output_once_and_the_state_of_a_sequential_run() {
    if !services::ready_or_skipped() {
        return;
    }
    let _ = env_logger::builder().is_test(true).format_timestamp_millis().try_init();
    let broker = Broker::shared();
    let stream = Stream::create(broker, "once", 3);
    produce(&producer(broker, &[]), &stream, 0, 5000, 5000);
    let finished = stream.job().run().unwrap();
    assert!(!finished.stopped && finished.failed.is_empty());
    check(broker, &stream, &finished);
}
