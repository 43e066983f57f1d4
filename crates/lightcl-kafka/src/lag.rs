//! How far behind a job is, in records and in seconds, asked for on a thread of its own: an answer may take a while.

use crate::compacted::CompactedReader;
use crate::config::Connection;
use crate::control::Standing;
use crate::outbox::TopicPartition;
use crossbeam_channel::{Sender, bounded};
use lightcl_core::Result;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An assigned partition, and up to where it is committed: what was read ahead of that still has to be learnt. None while
/// its state is on its way.
pub type Place = (TopicPartition, Option<Standing>);

/// Reports lag as metrics.
pub struct LagReporter(Sender<Vec<Place>>);

impl LagReporter {
    /// Starts the thread; it ends with the reporter.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn start(connection: &Connection, patience: Duration) -> Result<Self> {
        let reader = CompactedReader::new(connection, patience)?;
        let (sender, receiver) = bounded::<Vec<Place>>(1);
        std::thread::spawn(move || {
            let mut known = BTreeSet::new();
            for places in receiver {
                let here: BTreeSet<String> = places.iter().map(|(partition, _)| partition.to_string()).collect();
                // The lag of partitions that were given away is another instance's.
                known.difference(&here).for_each(|partition| set(partition, 0.0, 0.0));
                known = here;
                for (partition, standing) in places {
                    if let Some(standing) = standing {
                        report(&reader, &partition, standing);
                    }
                }
            }
        });
        Ok(LagReporter(sender))
    }

    /// Reports where partitions stand; left out while the last report is still going on.
    pub fn report(&self, places: Vec<Place>) {
        let _ = self.0.try_send(places);
    }
}

fn report(reader: &CompactedReader, partition: &TopicPartition, Standing { next, timestamp_ms }: Standing) {
    // Against the last stable offset: what lies in open transactions cannot be read yet.
    let Ok(end) = reader.stable_end(&partition.topic, partition.partition) else { return };
    let records = (end.max(0) as u64).saturating_sub(next);
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
