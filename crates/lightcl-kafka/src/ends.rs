//! The ends that partitions had when a job began, for jobs that stop there.

use crate::compacted::{CompactedReader, partition_count};
use crate::config::{SourceConfig, Topics};
use crate::group::GroupContext;
use crate::outbox::TopicPartition;
use lightcl_core::Result;
use rdkafka::consumer::BaseConsumer;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Time between two looks at whether anything lies between what was read and the end.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Ends by partition.
pub struct Ends<'a> {
    reader: &'a CompactedReader,
    ends: BTreeMap<TopicPartition, u64>,
    /// When a partition was last looked at, and where reading stood then.
    looked: BTreeMap<TopicPartition, (Instant, u64)>,
}

impl<'a> Ends<'a> {
    /// The ends of the topics that are named, now; those of topics found by a pattern when a partition is first seen.
    ///
    /// # Errors
    /// When the brokers cannot be asked.
    pub fn new(
        source: &SourceConfig,
        consumer: &BaseConsumer<GroupContext>,
        reader: &'a CompactedReader,
    ) -> Result<Self> {
        let mut ends = Ends { reader, ends: BTreeMap::new(), looked: BTreeMap::new() };
        if let Topics::Names(names) = &source.topics {
            for name in names {
                for partition in 0..partition_count(consumer, name)? {
                    ends.of(&TopicPartition { topic: name.as_str().into(), partition })?;
                }
            }
        }
        Ok(ends)
    }

    fn of(&mut self, partition: &TopicPartition) -> Result<u64> {
        if let Some(end) = self.ends.get(partition) {
            return Ok(*end);
        }
        let (_, end) = self.reader.ends(&partition.topic, partition.partition)?;
        let end = end.max(0) as u64;
        self.ends.insert(partition.clone(), end);
        Ok(end)
    }

    /// Whether a partition was read to its end. The last offsets may hold no record (markers of transactions), which only
    /// looking shows.
    ///
    /// # Errors
    /// When the brokers cannot be asked.
    pub fn is_read(&mut self, partition: &TopicPartition, next: u64) -> Result<bool> {
        let end = self.of(partition)?;
        if next >= end {
            return Ok(true);
        }
        match self.looked.get(partition) {
            Some((at, stood)) if at.elapsed() >= LOOK_EVERY && *stood == next => {
                self.looked.insert(partition.clone(), (Instant::now(), next));
                self.reader.is_empty_between(&partition.topic, partition.partition, next, end)
            }
            Some((_, stood)) if *stood == next => Ok(false),
            _ => {
                self.looked.insert(partition.clone(), (Instant::now(), next));
                Ok(false)
            }
        }
    }
}
