//! How far behind reading is, in records and in seconds, asked for on a thread of its own: an answer may take a while.

use crate::compacted::CompactedReader;
use crate::config::Connection;
use crate::outbox::TopicPartition;
use crossbeam_channel::{Sender, bounded};
use lightcl_core::Result;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where reading stands in a partition.
pub struct Reading {
    /// Which.
    pub partition: TopicPartition,
    /// The offset to be read next; none while it is assigned and not read.
    pub next: Option<u64>,
    /// Milliseconds since 1970 at which the last record read was made.
    pub timestamp_ms: Option<i64>,
}

/// Reports lag as metrics.
pub struct LagReporter(Sender<Vec<Reading>>);

impl LagReporter {
    /// Starts the thread; it ends with the reporter.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn start(connection: &Connection, patience: Duration) -> Result<Self> {
        let reader = CompactedReader::new(connection, patience)?;
        let (sender, receiver) = bounded::<Vec<Reading>>(1);
        std::thread::spawn(move || {
            let mut known = BTreeSet::new();
            for readings in receiver {
                let here: BTreeSet<String> = readings.iter().map(|reading| reading.partition.to_string()).collect();
                // The lag of partitions that were given away is another instance's.
                known.difference(&here).for_each(|partition| set(partition, 0.0, 0.0));
                known = here;
                for reading in readings {
                    report(&reader, &reading);
                }
            }
        });
        Ok(LagReporter(sender))
    }

    /// Reports where reading stands; left out while the last report is still going on.
    pub fn report(&self, readings: Vec<Reading>) {
        let _ = self.0.try_send(readings);
    }
}

fn report(reader: &CompactedReader, Reading { partition, next, timestamp_ms }: &Reading) {
    let Some(next) = next else { return };
    // Against the last stable offset: what lies in open transactions cannot be read yet.
    let Ok(end) = reader.stable_end(&partition.topic, partition.partition) else { return };
    let records = (end.max(0) as u64).saturating_sub(*next);
    let seconds = match timestamp_ms {
        Some(made) if records > 0 => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as i64);
            (now - made).max(0) as f64 / 1e3
        }
        _ => 0.0,
    };
    set(&partition.to_string(), records as f64, seconds);
}

fn set(partition: &str, records: f64, seconds: f64) {
    metrics::gauge!("lightcl_kafka_lag_records", "partition" => partition.to_owned()).set(records);
    metrics::gauge!("lightcl_kafka_lag_seconds", "partition" => partition.to_owned()).set(seconds);
}
