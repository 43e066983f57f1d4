//! Follows the snapshot topic: the newest whole model of each unit, verified, as soon as it is published.

mod shelf;
#[cfg(test)]
mod tests;

use crate::claims::Claims;
use crate::client::{CALL_TIMEOUT, Context, client_config, give_token, kafka_error};
use crate::config::Connection;
use lightcl_core::{Error, Result, Snapshot};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Message, Offset, TopicPartitionList};
use shelf::{Seen, Shelf};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Name that the client bears towards the brokers. Nothing is committed under it, and it is no member of a group.
const GROUP: &str = "lightcl-snapshot-follower";
/// Time between two looks for partitions that were added to the topic.
const PARTITIONS_EVERY: Duration = Duration::from_secs(30);
/// Most things that one poll gives.
const MOST_NEWS: usize = 64;
/// Time between two attempts to read objects from a store that does not answer.
const STORE_EVERY: Duration = Duration::from_secs(1);

/// Which models are followed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// The model; all when there is none.
    pub model_id: Option<String>,
    /// The unit (a partition, a key, all of it); all when there is none.
    pub unit: Option<String>,
}

impl Wanted {
    fn is(&self, model_id: &str, unit: &str) -> bool {
        self.model_id.as_deref().is_none_or(|wanted| wanted == model_id)
            && self.unit.as_deref().is_none_or(|wanted| wanted == unit)
    }
}

/// What a follower finds.
#[derive(Debug)]
pub enum Followed {
    /// A snapshot, whole and verified.
    Snapshot {
        /// What it learnt from.
        unit: String,
        /// When its manifest was published, in milliseconds since 1970-01-01 UTC, where the topic says so.
        published_ms: Option<i64>,
        /// The snapshot.
        snapshot: Box<Snapshot>,
    },
    /// A model that was given out before is gone from the topic.
    Retired {
        /// Name of the model.
        model_id: String,
        /// What it learnt from.
        unit: String,
    },
    /// What the topic holds is no whole snapshot; the one before stays good. Said once a manifest.
    Rejected {
        /// Name of the model.
        model_id: String,
        /// What it learnt from.
        unit: String,
        /// What is wrong with it.
        error: Error,
    },
}

/// Reads a snapshot topic from its first record on and goes on for ever.
pub struct Follower {
    consumer: BaseConsumer<Context>,
    topic: String,
    partitions: BTreeSet<i32>,
    /// Partitions that are read to their end, as it is now.
    at_end: BTreeSet<i32>,
    /// Where partitions ended when they were opened, for those that have not been read as far yet. Until there are none,
    /// only the last snapshots count, and they may still be in pieces.
    ahead: BTreeMap<i32, i64>,
    shelf: Shelf,
    looked: Instant,
    /// When the store of claim checks was asked last.
    asked: Instant,
}

impl Follower {
    /// Starts to read a topic.
    ///
    /// # Errors
    /// When the client cannot be made, or the brokers do not answer or do not know the topic.
    pub fn open(connection: &Connection, topic: &str, wanted: Wanted) -> Result<Self> {
        Self::open_with(connection, topic, wanted, None)
    }

    /// As [`Follower::open`], for weights that stand in objects.
    ///
    /// # Errors
    /// As [`Follower::open`].
    pub fn open_with(connection: &Connection, topic: &str, wanted: Wanted, claims: Option<Claims>) -> Result<Self> {
        let mut config = client_config(connection)?;
        config.remove("group.instance.id");
        config
            .set("group.id", GROUP)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .set("check.crcs", "true")
            // The topic is compacted: where its head moved, what is left is all there is.
            .set("auto.offset.reset", "earliest");
        let consumer: BaseConsumer<Context> = config
            .create_with_context(Context::of(connection))
            .map_err(|error| kafka_error("cannot follow the snapshots", error))?;
        give_token(consumer.client(), connection)?;
        let mut follower = Follower {
            consumer,
            topic: topic.to_owned(),
            partitions: BTreeSet::new(),
            at_end: BTreeSet::new(),
            ahead: BTreeMap::new(),
            shelf: Shelf::new(wanted, claims),
            looked: Instant::now(),
            asked: Instant::now(),
        };
        let found = follower.find_partitions(CALL_TIMEOUT)?;
        follower.ahead = ends(&follower.consumer, topic, &found)?;
        follower.assign(&found)?;
        Ok(follower)
    }

    /// Whether everything that was in the topic when it was opened has been seen.
    pub fn caught_up(&self) -> bool {
        self.ahead.is_empty()
    }

    /// Waits for something new, at most for `timeout`, and gives all that is at hand, in order. What was in the topic at
    /// first is given when all of it has been read, and of it only the newest snapshot of each unit.
    ///
    /// # Errors
    /// When the topic cannot be read any longer. Brokers that are away for a while are no error: what was given out stays
    /// good.
    pub fn poll(&mut self, timeout: Duration) -> Result<Vec<Followed>> {
        let until = Instant::now() + timeout;
        let mut news = Vec::new();
        loop {
            self.look_for_new_partitions()?;
            if self.ahead.is_empty() && self.shelf.waits_for_store() && self.asked.elapsed() >= STORE_EVERY {
                news.extend(self.shelf.take_news(true));
                self.asked = Instant::now();
            }
            let left = if news.is_empty() { until.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            match self.consumer.poll(left) {
                None if !news.is_empty() => return Ok(news),
                // The time is up, or the client did something for itself.
                None => {}
                Some(Ok(message)) => {
                    self.at_end.remove(&message.partition());
                    let seen = Seen {
                        partition: message.partition(),
                        offset: message.offset(),
                        timestamp_ms: message.timestamp().to_millis(),
                        key: message.key().unwrap_or_default(),
                        value: message.payload(),
                    };
                    // At once: what comes next may overwrite what this manifest names.
                    let is_news = self.shelf.see(seen);
                    let arrived = pass(&mut self.ahead, message.partition(), message.offset());
                    if arrived || (is_news && self.ahead.is_empty()) {
                        news.extend(self.shelf.take_news(false));
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.at_end.insert(partition);
                    self.ahead.remove(&partition);
                    if self.at_end.is_superset(&self.partitions) {
                        news.extend(self.shelf.take_news(true));
                    }
                }
                Some(Err(error)) if is_passing(&error) => {}
                Some(Err(error)) => {
                    return Err(kafka_error("cannot read the snapshots", error).with("topic", &self.topic));
                }
            }
            if news.len() >= MOST_NEWS || (news.is_empty() && Instant::now() >= until) {
                return Ok(news);
            }
        }
    }

    fn find_partitions(&self, timeout: Duration) -> Result<BTreeSet<i32>> {
        let failed = |error| kafka_error("cannot find the snapshot topic", error).with("topic", &self.topic);
        let metadata = self.consumer.fetch_metadata(Some(&self.topic), timeout).map_err(failed)?;
        let found = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        let partitions: BTreeSet<i32> =
            found.iter().flat_map(|topic| topic.partitions()).map(|partition| partition.id()).collect();
        if partitions.is_empty() {
            return Err(Error::user("there is no such snapshot topic").with("topic", &self.topic));
        }
        Ok(partitions)
    }

    /// Reads further partitions from their first record on.
    fn assign(&mut self, found: &BTreeSet<i32>) -> Result<()> {
        let mut list = TopicPartitionList::new();
        for &partition in found.difference(&self.partitions) {
            list.add_partition_offset(&self.topic, partition, Offset::Beginning)
                .map_err(|error| kafka_error("cannot read the snapshots", error))?;
        }
        if list.count() > 0 {
            self.consumer
                .incremental_assign(&list)
                .map_err(|error| kafka_error("cannot read the snapshots", error).with("topic", &self.topic))?;
            self.partitions.extend(found);
        }
        Ok(())
    }

    fn look_for_new_partitions(&mut self) -> Result<()> {
        if self.looked.elapsed() < PARTITIONS_EVERY {
            return Ok(());
        }
        self.looked = Instant::now();
        match self.find_partitions(Duration::from_secs(1)) {
            Ok(found) => self.assign(&found),
            // Brokers that do not answer now will do so later; a topic that is gone is noticed by reading it.
            Err(_) => Ok(()),
        }
    }
}

/// Where partitions end now; those without records are left out. The client says by itself when a partition is at its end,
/// but only where for a while nothing new comes.
pub(crate) fn ends(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    partitions: &BTreeSet<i32>,
) -> Result<BTreeMap<i32, i64>> {
    let mut ends = BTreeMap::new();
    for &partition in partitions {
        let (low, high) = consumer.fetch_watermarks(topic, partition, CALL_TIMEOUT).map_err(|error| {
            kafka_error("cannot find the end of a partition", error).with("topic", topic).with("partition", partition)
        })?;
        if high > low {
            ends.insert(partition, high);
        }
    }
    Ok(ends)
}

/// Takes note of a record that was read; gives whether it was the last that was ahead.
pub(crate) fn pass(ahead: &mut BTreeMap<i32, i64>, partition: i32, offset: i64) -> bool {
    if ahead.get(&partition).is_none_or(|&end| offset + 1 < end) {
        return false;
    }
    ahead.remove(&partition);
    ahead.is_empty()
}

/// Whether the client goes on by itself after an error.
pub(crate) fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    !matches!(
        error.rdkafka_error_code(),
        None | Some(
            Code::Fatal
                | Code::Authentication
                | Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::SaslAuthenticationFailed
                | Code::UnknownTopic
                | Code::UnknownPartition
                | Code::UnknownTopicOrPartition
                | Code::InvalidTopic
        )
    )
}
