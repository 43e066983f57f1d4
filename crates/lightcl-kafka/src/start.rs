//! Where reading a partition begins: never by a silent jump.

use crate::compacted::CompactedReader;
use crate::config::{OrElse, SourceConfig, Start};
use crate::group::Group;
use crate::outbox::TopicPartition;
use lightcl_core::{Error, Result};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Where to read a partition from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The first offset to read.
    pub from: u64,
    /// Up to here outputs are out.
    pub committed: u64,
}

/// What is known of a partition before reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Known {
    /// Where its state stands.
    pub state: Option<u64>,
    /// Up to where outputs are out.
    pub committed: Option<u64>,
}

/// What was known of topics when they were first looked at, before this process had committed anything: whether the group
/// had read any of it, and how many partitions there were.
#[derive(Debug, Default)]
pub struct FirstLook(Mutex<BTreeMap<Arc<str>, (bool, i32)>>);

impl FirstLook {
    /// Whether a partition for which nothing was committed came later than the group: it is then read from its first record
    /// even by a job that starts at the end.
    fn came_later(&self, partition: &TopicPartition, reader: &CompactedReader, group: &Group) -> Result<bool> {
        let mut topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (was_read, count) = match topics.get(&partition.topic) {
            Some(&known) => known,
            None => {
                let count = reader.partitions(&partition.topic)?;
                let all: Vec<_> = (0..count)
                    .map(|number| TopicPartition { topic: Arc::clone(&partition.topic), partition: number })
                    .collect();
                let known = (group.committed(&all)?.iter().any(Option::is_some), count);
                topics.insert(Arc::clone(&partition.topic), known);
                known
            }
        };
        Ok(was_read || partition.partition >= count)
    }
}

/// Decides where to begin.
///
/// # Errors
/// When rows are gone that were to be read (the error says the ways out), or the brokers cannot be asked (retryable).
pub fn place(
    config: &SourceConfig,
    partition: &TopicPartition,
    known: Known,
    first_look: &FirstLook,
    reader: &CompactedReader,
    group: &Group,
) -> Result<Place> {
    let (low, end) = reader.ends(&partition.topic, partition.partition)?;
    let (low, end) = (low.max(0) as u64, end.max(0) as u64);
    let or_else = or_else(&config.start);
    let Some(committed) = known.committed else {
        let from = first(config, partition, (low, end), first_look, reader, group)?;
        return Ok(Place { from, committed: from });
    };
    if committed > end {
        // Other rows stand at the offsets that were learnt from: whatever comes next does not follow them.
        return Err(Error::user(
            "the topic ends before the committed offset: it was deleted and made again, or cut off. Start over with \
             --fresh, or give the new topic another name",
        )
        .with("partition", partition)
        .with("committed offset", committed)
        .with("first offset", low)
        .with("end", end));
    }
    if committed < low {
        let found = "rows behind the committed offset were deleted before they were read (retention, or DeleteRecords)";
        let from = match or_else {
            OrElse::Error => {
                return Err(out_of_range(found, partition, low, end).with("committed offset", committed));
            }
            OrElse::Earliest => low,
            OrElse::Latest => end,
        };
        log::warn!("{partition}: {found}; going on at {from} instead of {committed}, as source.or_else says");
        metrics::counter!("lightcl_lost_records_total", "partition" => partition.to_string())
            .increment(from.saturating_sub(committed));
        return Ok(Place { from, committed: from });
    }
    let state = known.state.unwrap_or(committed).min(committed);
    if state < low && state < committed {
        let found = "rows between the last saved state and the committed offset were deleted, so that the state cannot be \
                     brought forward";
        if or_else == OrElse::Error {
            return Err(out_of_range(found, partition, low, end)
                .with("offset of the state", state)
                .with("committed offset", committed));
        }
        log::warn!("{partition}: {found}; {state} to {low} will never have been learnt, as source.or_else allows");
        metrics::counter!("lightcl_lost_records_total", "partition" => partition.to_string())
            .increment(low.min(committed).saturating_sub(state));
        return Ok(Place { from: low.min(committed), committed });
    }
    Ok(Place { from: state, committed })
}

/// What is done where rows are gone.
fn or_else(start: &Start) -> OrElse {
    match start {
        Start::Committed(or_else) => *or_else,
        Start::Timestamp(_) | Start::Offsets(_) => OrElse::Error,
    }
}

/// Rows that are gone, with the ways out.
fn out_of_range(found: &str, partition: &TopicPartition, low: u64, end: u64) -> Error {
    Error::user(format!(
        "{found}. Start over with --fresh, move the group's offsets with kafka-consumer-groups.sh --reset-offsets and \
         start over, or let the job go on past what is gone with source.or_else = \"earliest\" or \"latest\""
    ))
    .with("partition", partition)
    .with("first offset", low)
    .with("end", end)
}

/// Where to begin a partition for which nothing was ever committed.
fn first(
    config: &SourceConfig,
    partition: &TopicPartition,
    (low, end): (u64, u64),
    first_look: &FirstLook,
    reader: &CompactedReader,
    group: &Group,
) -> Result<u64> {
    match &config.start {
        Start::Committed(OrElse::Error | OrElse::Earliest) => Ok(low),
        Start::Committed(OrElse::Latest) => {
            Ok(if first_look.came_later(partition, reader, group)? { low } else { end })
        }
        Start::Timestamp(timestamp) => {
            Ok(group.offset_at(partition, *timestamp)?.map_or(end, |offset| offset.max(0) as u64))
        }
        Start::Offsets(offsets) => match offsets.get(&(partition.topic.to_string(), partition.partition)) {
            None => Ok(low),
            Some(&offset) if offset >= low as i64 && offset <= end as i64 => Ok(offset as u64),
            Some(offset) => Err(Error::user("source.offsets names an offset that the partition does not have")
                .with("partition", partition)
                .with("offset", offset)
                .with("first offset", low)
                .with("end", end)),
        },
    }
}
