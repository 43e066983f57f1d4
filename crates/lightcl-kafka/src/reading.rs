//! Topics read as tables: partition by partition, without a group, without commits.

use crate::client::{CALL_TIMEOUT, Context, client_config, give_token, kafka_error, set_default};
use crate::compacted;
use crate::config::Connection;
use crate::follower::is_passing;
use crate::format::{self, Format, FormatConfig};
use crate::native;
use crate::records::RecordBlock;
use lightcl_core::{Error, PositionedBatch, Result, RowOffsets};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Records read together, at most.
const BLOCK_RECORDS: usize = 1024;
/// Bytes read together, about.
const BLOCK_BYTES: usize = 1 << 20;

/// A topic, and how its records become rows.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    /// How to reach the brokers.
    pub connection: Connection,
    /// The topic.
    pub topic: String,
    /// How records become rows.
    pub format: FormatConfig,
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the first record that is there.
    Earliest,
    /// Behind the last one.
    Latest,
    /// At this offset.
    Offset(u64),
    /// At the first record of at least this time, in milliseconds since 1970.
    Timestamp(i64),
}

/// Where reading ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Nowhere: it waits for more.
    Never,
    /// At the end that the partition has when reading begins.
    End,
    /// Before this offset.
    Offset(u64),
}

/// What reading gave.
#[derive(Debug)]
pub enum Read {
    /// Rows, in the order of their records. Those that could not be read stand as nulls, and are listed as faults.
    Rows(PositionedBatch),
    /// Nothing came in time.
    Nothing,
    /// All was read that was to be.
    End,
}

/// Partitions of a topic.
///
/// # Errors
/// When there is no such topic, or no broker answers (retryable).
pub fn partition_count(connection: &Connection, topic: &str) -> Result<i32> {
    compacted::partition_count(&consumer(connection)?, topic)
}

/// One partition, read in order.
pub struct PartitionReader {
    consumer: BaseConsumer<Context>,
    format: Box<dyn Format>,
    topic: Arc<str>,
    partition: i32,
    name: Arc<str>,
    /// Where reading stops, if it does.
    end: Option<i64>,
    /// Records that wait: those whose format could not be read yet, for instance.
    block: RecordBlock,
    is_at_end: bool,
}

/// The offsets of a partition that would be read now.
///
/// # Errors
/// When there is no such partition or offset, reading would not end, or no broker answers (retryable).
pub fn range(config: &TopicConfig, partition: i32, start: Start, until: Until) -> Result<Range<u64>> {
    let consumer = consumer(&config.connection)?;
    let (first, end) = bounds(&consumer, &config.topic, partition, start, until)?;
    let end = end.ok_or_else(|| Error::user("reading without an end has no range").with("topic", &config.topic))?;
    let offset = |offset: i64| u64::try_from(offset).unwrap_or_default();
    Ok(offset(first)..offset(end))
}

/// The first offset to read, and the one to stop before.
fn bounds(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    partition: i32,
    start: Start,
    until: Until,
) -> Result<(i64, Option<i64>)> {
    let failed = |error| kafka_error("cannot read", error).with("topic", topic).with("partition", partition);
    let (low, end) = consumer.fetch_watermarks(topic, partition, CALL_TIMEOUT).map_err(failed)?;
    let existing = |offset: u64, advice: &str| {
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        if (low..=end).contains(&offset) {
            return Ok(offset);
        }
        Err(Error::user(format!("the partition has no such offset; {advice} at one that is there"))
            .with("topic", topic)
            .with("partition", partition)
            .with("offset", offset)
            .with("first offset", low)
            .with("end", end))
    };
    let first = match start {
        Start::Earliest => low,
        Start::Latest => end,
        Start::Offset(offset) => existing(offset, "begin")?,
        Start::Timestamp(milliseconds) => {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(topic, partition, Offset::Offset(milliseconds)).map_err(failed)?;
            let found = consumer.offsets_for_times(list, CALL_TIMEOUT).map_err(failed)?;
            match found.find_partition(topic, partition).map(|element| element.offset()) {
                Some(Offset::Offset(offset)) => offset,
                _ => end,
            }
        }
    };
    let end = match until {
        Until::Never => None,
        Until::End => Some(end),
        Until::Offset(offset) => Some(existing(offset, "stop")?),
    };
    Ok((first, end.map(|end| end.max(first))))
}

impl PartitionReader {
    /// Begins to read a partition.
    ///
    /// # Errors
    /// When there is no such partition or offset, a setting is wrong, or no broker answers (retryable).
    pub fn open(config: &TopicConfig, partition: i32, start: Start, until: Until) -> Result<Self> {
        let TopicConfig { connection, topic, format } = config;
        let consumer = consumer(connection)?;
        let failed = |error| kafka_error("cannot read", error).with("topic", topic).with("partition", partition);
        let (first, end) = bounds(&consumer, topic, partition, start, until)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(first))
            .and_then(|()| consumer.assign(&list))
            .map_err(failed)?;
        Ok(PartitionReader {
            consumer,
            format: format::open(format)?,
            block: RecordBlock::new(topic.as_str(), partition),
            topic: topic.as_str().into(),
            partition,
            name: format!("{topic}-{partition}").into(),
            end,
            is_at_end: end.is_some_and(|end| first >= end),
        })
    }

    /// The next rows; waits for the first of them for at most so long.
    ///
    /// # Errors
    /// When the partition cannot be read any further. A retryable error (a schema registry that does not answer) loses nothing:
    /// the next call tries the same records again.
    pub fn next(&mut self, wait: Duration) -> Result<Read> {
        if self.block.is_empty() {
            self.gather(wait)?;
        }
        if self.block.is_empty() {
            return Ok(if self.is_at_end { Read::End } else { Read::Nothing });
        }
        let rows = self.format.read(&self.block)?;
        let block = std::mem::replace(&mut self.block, RecordBlock::new(Arc::clone(&self.topic), self.partition));
        if rows.skipped > 0 {
            log::debug!("{}: {} tombstones passed over", self.name, rows.skipped);
        }
        let offset = |record: usize| block.record(record).offset.max(0) as u64;
        Ok(Read::Rows(PositionedBatch {
            batch: rows.batch,
            partition: Arc::clone(&self.name),
            offsets: RowOffsets::Listed {
                offsets: rows.records.iter().map(|&record| offset(record)).collect(),
                next: block.len().checked_sub(1).map_or(0, |last| offset(last) + 1),
            },
            faults: rows.faults,
        }))
    }

    /// Takes the records that are there; waits for the first.
    fn gather(&mut self, wait: Duration) -> Result<()> {
        let deadline = Instant::now() + wait;
        while !self.is_at_end && self.block.len() < BLOCK_RECORDS && self.block.bytes() < BLOCK_BYTES {
            let left =
                if self.block.is_empty() { deadline.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            match self.consumer.poll(left) {
                None => return Ok(()),
                Some(Ok(message)) => {
                    if self.end.is_some_and(|end| message.offset() >= end) {
                        self.is_at_end = true;
                    } else {
                        native::push(&mut self.block, &message);
                        self.is_at_end = self.end.is_some_and(|end| message.offset() + 1 >= end);
                    }
                }
                // Behind the last record may lie markers of transactions: the client says that nothing comes any more.
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    self.is_at_end = self.end.is_some();
                    if !self.is_at_end && self.block.is_empty() {
                        continue;
                    }
                    return Ok(());
                }
                Some(Err(error)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) => {
                    return Err(Error::user(
                        "records were deleted before they were read (retention, or DeleteRecords); begin at the earliest \
                         that are there",
                    )
                    .with("partition", &self.name)
                    .caused_by(error));
                }
                Some(Err(error)) if is_passing(&error) => log::debug!("{}: {error}", self.name),
                Some(Err(error)) => return Err(kafka_error("cannot read", error).with("partition", &self.name)),
            }
        }
        Ok(())
    }
}

fn consumer(connection: &Connection) -> Result<BaseConsumer<Context>> {
    let mut config = client_config(connection)?;
    config.remove("group.instance.id");
    set_default(&mut config, "isolation.level", "read_committed");
    set_default(&mut config, "check.crcs", "true");
    set_default(&mut config, "fetch.wait.max.ms", "100");
    set_default(&mut config, "queued.max.messages.kbytes", "8192");
    // A group id only keeps the client content: nothing is subscribed to and nothing committed.
    config
        .set("group.id", "lightcl-reader")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        // Never a silent jump.
        .set("auto.offset.reset", "error");
    let consumer: BaseConsumer<Context> = config
        .create_with_context(Context::without_group(connection))
        .map_err(|error| kafka_error("cannot make a consumer", error))?;
    give_token(consumer.client(), connection)?;
    Ok(consumer)
}
