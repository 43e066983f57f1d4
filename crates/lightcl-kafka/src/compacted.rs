//! Reading a compacted topic: the latest value of each key, up to the end that it had when reading began.

use crate::client::{CALL_TIMEOUT, Context, client_config, give_token, kafka_error};
use crate::config::Connection;
use crate::refusals::{Tells, forbidden, is_forbidden, metadata};
use lightcl_core::{Error, Result};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Time between two looks at whether a transaction in the way has ended.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Time between two messages that say what is waited for.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// The latest record of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latest {
    /// Where it stands.
    pub offset: i64,
    /// Its value, where it was asked to be kept.
    pub value: Option<Vec<u8>>,
}

/// What a partition of a compacted topic holds.
#[derive(Debug, Default)]
pub struct Compacted {
    /// The latest record of each key that was asked for; keys whose last record is a tombstone are not in it.
    pub keys: HashMap<String, Latest>,
    /// Its first offset.
    pub low: i64,
    /// Its end when reading began.
    pub end: i64,
}

/// What to do with the records of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Not ours.
    Nothing,
    /// Remember where it stands.
    Place,
    /// Keep its value.
    Value,
}

/// Asks for the ends of a partition.
type AskEnds<'a> = dyn Fn(&BaseConsumer<Context>) -> Result<(i64, i64)> + 'a;

/// A reader of compacted topics.
pub struct CompactedReader {
    committed: BaseConsumer<Context>,
    uncommitted: BaseConsumer<Context>,
    /// Longest wait without any progress.
    patience: Duration,
}

impl CompactedReader {
    /// A reader that gives up after `patience` without progress.
    ///
    /// # Errors
    /// When the clients cannot be made.
    pub fn new(connection: &Connection, patience: Duration) -> Result<Self> {
        let client = |isolation: &str| -> Result<BaseConsumer<Context>> {
            let mut config = client_config(connection)?;
            // A group id only keeps the client content: nothing is subscribed to and nothing committed.
            config.remove("group.instance.id");
            let consumer: BaseConsumer<Context> = config
                .set("group.id", "lightcl-state-reader")
                .set("isolation.level", isolation)
                .set("enable.auto.commit", "false")
                .set("enable.partition.eof", "true")
                .set("auto.offset.reset", "error")
                .set("check.crcs", "true")
                // What is asked for is there. A request that waits at the end of the topic keeps the next one waiting, which is
                // half a second for each parked learner.
                .set("fetch.wait.max.ms", "5")
                .set("queued.max.messages.kbytes", "16384")
                .create_with_context(Context::without_group(connection))
                .map_err(|error| kafka_error("cannot make a consumer of the state", error))?;
            give_token(consumer.client(), connection)?;
            Ok(consumer)
        };
        Ok(CompactedReader { committed: client("read_committed")?, uncommitted: client("read_uncommitted")?, patience })
    }

    /// Reads a partition to the end that it has now, transactions that are still open included: what is committed below
    /// that end, however late, is in what is given. `progress` hears what share has been read.
    ///
    /// # Errors
    /// When there is no such partition, no broker answers (retryable), nothing moves for too long, or `cancelled`.
    pub fn read(
        &self,
        topic: &str,
        partition: i32,
        cancelled: &dyn Fn() -> bool,
        progress: &dyn Fn(f64),
        keep: &dyn Fn(&str) -> Keep,
    ) -> Result<Compacted> {
        let ask = |consumer: &BaseConsumer<Context>| {
            ready(consumer)
                .fetch_watermarks(topic, partition, CALL_TIMEOUT)
                .map_err(|error| in_topic("cannot ask for the ends of a topic", error, topic, partition))
        };
        // The end that a reader of uncommitted records sees counts open transactions, the other one does not.
        let (low, end) = ask(&self.uncommitted)?;
        let mut found = Compacted { low, end, ..Compacted::default() };
        if end <= low {
            return Ok(found);
        }
        self.wait_for_transactions(topic, partition, end, cancelled, &ask)?;
        let mut assignment = TopicPartitionList::new();
        assignment
            .add_partition_offset(topic, partition, Offset::Offset(low))
            .and_then(|()| self.committed.assign(&assignment))
            .map_err(|error| in_topic("cannot read the state", error, topic, partition))?;
        let mut moved = Instant::now();
        let result = loop {
            if cancelled() {
                break Err(Error::external("stopped while the state was being read").retryable());
            }
            match self.committed.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    moved = Instant::now();
                    progress((message.offset() - low) as f64 / (end - low) as f64);
                    take_in(&mut found, &message, keep);
                    // Of a topic that never rests the client may never tell that its end was reached.
                    if message.offset() + 1 >= end {
                        break Ok(());
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => break Ok(()),
                Some(Err(error)) if is_lasting(&error) => {
                    break Err(in_topic("cannot read the state", error, topic, partition));
                }
                Some(Err(_)) | None if moved.elapsed() > self.patience => {
                    break Err(Error::external("reading the state makes no progress; are the brokers well?")
                        .with("topic", topic)
                        .with("partition", partition)
                        .retryable());
                }
                Some(Err(_)) | None => {}
            }
        };
        // A failure here would only keep an assignment that nobody reads.
        let _ = self.committed.unassign();
        result.map(|()| found)
    }

    /// Waits until no open transaction lies below `end`.
    fn wait_for_transactions(
        &self,
        topic: &str,
        partition: i32,
        end: i64,
        cancelled: &dyn Fn() -> bool,
        ask: &AskEnds<'_>,
    ) -> Result<()> {
        let (mut stable, mut moved, mut said) = (0, Instant::now(), Instant::now());
        loop {
            let (_, now) = ask(&self.committed)?;
            if now >= end {
                return Ok(());
            }
            if cancelled() {
                return Err(Error::external("stopped while the state was being read").retryable());
            }
            if now > stable {
                (stable, moved) = (now, Instant::now());
            }
            if moved.elapsed() > self.patience {
                return Err(Error::external(
                    "an open transaction lies in the state topic and does not end; find and abort it with \
                     kafka-transactions.sh find-hanging and abort, or wait for its time-out and start again",
                )
                .with("topic", topic)
                .with("partition", partition)
                .with("stable up to", now)
                .with("end", end));
            }
            if said.elapsed() > SAY_EVERY {
                said = Instant::now();
                log::info!("{topic}-{partition}: waiting for an open transaction ({now} of {end} are stable)");
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Reads the records at the given offsets, in ascending order.
    ///
    /// # Errors
    /// When a record is not there any more, or no broker answers (retryable).
    pub fn fetch(&self, topic: &str, partition: i32, offsets: &[i64]) -> Result<Vec<Vec<u8>>> {
        let failed = |error| in_topic("cannot read a part of the state", error, topic, partition);
        let mut values = Vec::with_capacity(offsets.len());
        for &offset in offsets {
            let mut assignment = TopicPartitionList::new();
            assignment
                .add_partition_offset(topic, partition, Offset::Offset(offset))
                .and_then(|()| self.committed.assign(&assignment))
                .map_err(failed)?;
            let deadline = Instant::now() + CALL_TIMEOUT;
            let value = loop {
                match self.committed.poll(Duration::from_millis(100)) {
                    Some(Ok(message)) if message.offset() == offset => break message.payload().map(<[u8]>::to_vec),
                    Some(Ok(_)) | Some(Err(KafkaError::PartitionEOF(_))) => break None,
                    Some(Err(error)) if is_lasting(&error) => return Err(failed(error)),
                    Some(Err(_)) | None if Instant::now() > deadline => {
                        return Err(Error::external("a part of the state cannot be read in time")
                            .with("topic", topic)
                            .with("partition", partition)
                            .retryable());
                    }
                    Some(Err(_)) | None => {}
                }
            };
            values.push(value.ok_or_else(|| {
                Error::external("a part of the state is gone from its topic; is its cleanup.policy compact?")
                    .with("topic", topic)
                    .with("partition", partition)
                    .with("offset", offset)
            })?);
        }
        let _ = self.committed.unassign();
        Ok(values)
    }

    /// Whether no committed record lies between two offsets, and none will.
    ///
    /// # Errors
    /// When the brokers cannot be asked (retryable).
    pub fn is_empty_between(&self, topic: &str, partition: i32, from: u64, to: u64) -> Result<bool> {
        if self.stable_end(topic, partition)? < i64::try_from(to).unwrap_or(i64::MAX) {
            return Ok(false);
        }
        let failed = |error| in_topic("cannot look for records", error, topic, partition);
        let mut assignment = TopicPartitionList::new();
        assignment
            .add_partition_offset(topic, partition, Offset::Offset(i64::try_from(from).unwrap_or(i64::MAX)))
            .and_then(|()| self.committed.assign(&assignment))
            .map_err(failed)?;
        let deadline = Instant::now() + CALL_TIMEOUT;
        let found = loop {
            match self.committed.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => break Ok(message.offset() as u64 >= to),
                Some(Err(KafkaError::PartitionEOF(_))) => break Ok(true),
                Some(Err(error)) if is_lasting(&error) => break Err(failed(error)),
                Some(Err(_)) | None if Instant::now() > deadline => break Ok(false),
                Some(Err(_)) | None => {}
            }
        };
        let _ = self.committed.unassign();
        found
    }

    /// Partitions of a topic.
    ///
    /// # Errors
    /// When there is no such topic, or no broker answers (retryable).
    pub fn partitions(&self, topic: &str) -> Result<i32> {
        partition_count(ready(&self.uncommitted), topic)
    }

    /// First and last offset of a partition of any topic, open transactions included.
    ///
    /// # Errors
    /// When there is no such partition, or no broker answers (retryable).
    pub fn ends(&self, topic: &str, partition: i32) -> Result<(i64, i64)> {
        ready(&self.uncommitted)
            .fetch_watermarks(topic, partition, CALL_TIMEOUT)
            .map_err(|error| in_topic("cannot ask for the ends of a topic", error, topic, partition))
    }

    /// The end of what is committed in a partition: the last stable offset.
    ///
    /// # Errors
    /// As [`CompactedReader::ends`].
    pub fn stable_end(&self, topic: &str, partition: i32) -> Result<i64> {
        ready(&self.committed)
            .fetch_watermarks(topic, partition, CALL_TIMEOUT)
            .map(|(_, stable)| stable)
            .map_err(|error| in_topic("cannot ask for the ends of a topic", error, topic, partition))
    }
}

/// A client that may not have been used for long: it is served first, since that is how it gets a new token.
fn ready(consumer: &BaseConsumer<Context>) -> &BaseConsumer<Context> {
    // With nothing assigned only events come, and they are dealt with by polling.
    if consumer.assignment().is_ok_and(|list| list.count() == 0) {
        while consumer.poll(Duration::ZERO).is_some() {}
    }
    consumer
}

/// Partitions of a topic.
///
/// # Errors
/// When there is no such topic, or no broker answers (retryable).
pub fn partition_count<C: rdkafka::consumer::ConsumerContext + Tells>(
    consumer: &BaseConsumer<C>,
    topic: &str,
) -> Result<i32> {
    let metadata = metadata(consumer, Some(topic)).map_err(|error| error.with("topic", topic))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    match found {
        Some(found) if found.error().is_none() && !found.partitions().is_empty() => {
            Ok(i32::try_from(found.partitions().len()).unwrap_or(i32::MAX))
        }
        Some(found) if found.error().is_some_and(|error| is_forbidden(error.into())) => {
            Err(forbidden("Describe (which Read and Write include)", "topic", topic))
        }
        _ => Err(Error::user("there is no such topic; make it, for one with 'lightcl kafka topics PIPELINE --create'")
            .with("topic", topic)),
    }
}

fn take_in(found: &mut Compacted, message: &rdkafka::message::BorrowedMessage<'_>, keep: &dyn Fn(&str) -> Keep) {
    // Keys that are no text are not ours.
    let Some(key) = message.key().and_then(|key| std::str::from_utf8(key).ok()) else { return };
    let how = keep(key);
    if how == Keep::Nothing {
        return;
    }
    match message.payload() {
        None => {
            found.keys.remove(key);
        }
        Some(value) => {
            let value = (how == Keep::Value).then(|| value.to_vec());
            found.keys.insert(key.to_owned(), Latest { offset: message.offset(), value });
        }
    }
}

/// Whether waiting does not help.
fn is_lasting(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        AutoOffsetReset, OffsetOutOfRange, TopicAuthorizationFailed, UnknownPartition, UnknownTopic,
        UnknownTopicOrPartition,
    };
    error.rdkafka_error_code().is_some_and(|code| {
        matches!(
            code,
            AutoOffsetReset
                | OffsetOutOfRange
                | TopicAuthorizationFailed
                | UnknownPartition
                | UnknownTopic
                | UnknownTopicOrPartition
        )
    })
}

fn in_topic(what: &str, error: KafkaError, topic: &str, partition: i32) -> Error {
    if error.rdkafka_error_code().is_some_and(is_forbidden) {
        return forbidden("Read", "topic", topic);
    }
    let lasting = is_lasting(&error);
    let error = kafka_error(what, error).with("topic", topic).with("partition", partition);
    if lasting { error } else { error.retryable() }
}
