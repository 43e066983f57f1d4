//! Outputs as records: which topic, which partition, which key, value and headers.

use crate::config::{OutputTopics, ValueFormat};
use crate::predictions::PredictionWriter;
use crate::records::{Record, RecordBlock};
use lightcl_core::{Error, Output, Position, Positions, Rejected, Result};
use rdkafka::{Offset, TopicPartitionList};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A record that waits to be produced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutRecord {
    /// Where to.
    pub topic: Arc<str>,
    /// Which partition; none lets the key decide.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; none for a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// A number by which its offset is asked for later; 0 for none.
    pub token: usize,
}

impl OutRecord {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let headers: usize =
            self.headers.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len)).sum();
        size_of::<OutRecord>()
            + headers
            + self.key.as_ref().map_or(0, Vec::len)
            + self.value.as_ref().map_or(0, Vec::len)
    }
}

/// A partition of an input topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
}

impl TopicPartition {
    /// The name under which positions, states and models know it: `topic-3`.
    pub fn name(&self) -> Arc<str> {
        format!("{}-{}", self.topic, self.partition).into()
    }
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Positions as offsets to commit.
///
/// # Errors
/// When an offset is beyond what Kafka can count.
pub fn offsets(partitions: &[TopicPartition], positions: &Positions) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for source in partitions {
        // Nothing was read yet of a partition without a position.
        let Some(&next) = positions.0.get(&*source.name()) else { continue };
        let offset = i64::try_from(next).map_err(|_| Error::internal("an offset beyond what Kafka can count"))?;
        list.add_partition_offset(&source.topic, source.partition, Offset::Offset(offset))
            .map_err(|error| Error::internal("an offset cannot be committed").caused_by(error))?;
    }
    Ok(list)
}

/// Turns outputs into records, which wait until they are committed.
pub struct Outbox {
    topics: OutputTopics,
    /// Partitions of each output topic.
    counts: BTreeMap<String, i32>,
    /// Input partitions by the names that positions give them.
    sources: BTreeMap<Arc<str>, TopicPartition>,
    predictions: PredictionWriter,
    /// Longest value of a dead letter.
    most_value_bytes: usize,
    waiting: Vec<OutRecord>,
    bytes: usize,
}

/// Where an output came from, as messages name it.
#[derive(Serialize)]
struct Source<'a> {
    source_topic: &'a str,
    source_partition: i32,
    source_offset: u64,
}

/// A message of JSON: where it came from, which learner, and the output itself.
#[derive(Serialize)]
struct Message<'a, T> {
    #[serde(flatten)]
    source: Option<Source<'a>>,
    unit: &'a str,
    #[serde(flatten)]
    output: &'a T,
}

impl Outbox {
    /// An outbox for the outputs of some input partitions; `counts` says how many partitions each output topic has, and with
    /// the format of predictions stands the number of their schema, where they need one.
    pub fn new(
        topics: OutputTopics,
        counts: BTreeMap<String, i32>,
        sources: &[TopicPartition],
        (format, schema_id): (ValueFormat, Option<u32>),
        most_value_bytes: usize,
    ) -> Result<Self> {
        Ok(Outbox {
            most_value_bytes,
            topics,
            counts,
            sources: sources.iter().map(|source| (source.name(), source.clone())).collect(),
            predictions: PredictionWriter::new(format, schema_id)?,
            waiting: Vec::new(),
            bytes: 0,
        })
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes + self.predictions.bytes()
    }

    /// Takes all that waits.
    pub fn take(&mut self) -> Result<Vec<OutRecord>> {
        self.finish_predictions()?;
        self.bytes = 0;
        Ok(std::mem::take(&mut self.waiting))
    }

    /// Adds a record as it is.
    pub fn push(&mut self, record: OutRecord) {
        self.bytes += record.bytes();
        self.waiting.push(record);
    }

    /// Adds an output of a learner other than a snapshot, whose parts have keys of their own. `block` holds the records that
    /// are being read, for dead letters.
    pub fn add(&mut self, unit: &str, output: Output, block: &RecordBlock) -> Result<()> {
        match output {
            Output::Prediction(prediction) => {
                if let Some(topic) = self.topics.predictions.clone() {
                    let source = self.source(&prediction.position)?;
                    let partition = self.partition_like(&topic, source.partition);
                    if let Some(value) = self.predictions.add(unit, &source, &prediction, partition)? {
                        self.send(&topic, partition, prediction.id.map(String::into_bytes), value);
                    }
                }
            }
            Output::Boundary(event) => {
                if let Some(topic) = self.topics.boundaries.clone() {
                    let source = self.source(&event.position)?;
                    let value = message(unit, Some((&source, event.position.offset)), &event)?;
                    let partition = self.partition_like(&topic, source.partition);
                    self.send(&topic, partition, Some(unit.as_bytes().to_vec()), value);
                }
            }
            Output::Stability(report) => {
                if let Some(topic) = self.topics.stability.clone() {
                    let value = message(unit, None, report.as_ref())?;
                    let partition = self.first_source().and_then(|partition| self.partition_like(&topic, partition));
                    self.send(&topic, partition, Some(unit.as_bytes().to_vec()), value);
                }
            }
            Output::Snapshot(_) => return Err(Error::internal("a snapshot is not one record")),
            Output::Rejected(letter) => {
                if let Some(topic) = self.topics.dead_letters.clone() {
                    let source = self.source(&letter.position)?;
                    let partition = self.partition_like(&topic, source.partition);
                    let record = find(block, &source, letter.position.offset);
                    let limit = self.most_value_bytes;
                    self.push(dead_letter(topic.into(), partition, unit, &source, &letter, record, limit));
                }
            }
        }
        Ok(())
    }

    fn finish_predictions(&mut self) -> Result<()> {
        let Some(topic) = self.topics.predictions.clone() else { return Ok(()) };
        for (partition, value) in self.predictions.finish()? {
            self.send(&topic, partition, None, value);
        }
        Ok(())
    }

    fn send(&mut self, topic: &str, partition: Option<i32>, key: Option<Vec<u8>>, value: Vec<u8>) {
        self.push(OutRecord { topic: topic.into(), partition, key, value: Some(value), headers: Vec::new(), token: 0 });
    }

    fn source(&self, position: &Position) -> Result<TopicPartition> {
        self.sources.get(&position.partition).cloned().ok_or_else(|| {
            Error::internal("an output names a partition that is not read").with("partition", &position.partition)
        })
    }

    fn first_source(&self) -> Option<i32> {
        self.sources.values().next().map(|source| source.partition)
    }

    /// The partition of an output topic that belongs to an input partition, so that outputs keep the order of inputs.
    fn partition_like(&self, topic: &str, source: i32) -> Option<i32> {
        self.counts.get(topic).filter(|count| **count > 0).map(|count| source % count)
    }
}

/// An output as JSON, with where it came from.
fn message<T: Serialize>(unit: &str, source: Option<(&TopicPartition, u64)>, output: &T) -> Result<Vec<u8>> {
    let source = source.map(|(source, offset)| Source {
        source_topic: &source.topic,
        source_partition: source.partition,
        source_offset: offset,
    });
    serde_json::to_vec(&Message { source, unit, output })
        .map_err(|error| Error::internal("an output has no JSON form").caused_by(error))
}

/// The record at an offset, when the block holds it.
fn find<'a>(block: &'a RecordBlock, source: &TopicPartition, offset: u64) -> Option<Record<'a>> {
    if *block.topic() != source.topic || block.partition() != source.partition {
        return None;
    }
    block.find(i64::try_from(offset).ok()?)
}

/// A dead letter: the record as it came, or what the learner saw of it where that is gone, and headers that say why. A value
/// longer than `limit` is cut off there, and a header says how long it is.
pub fn dead_letter(
    topic: Arc<str>,
    partition: Option<i32>,
    unit: &str,
    source: &TopicPartition,
    letter: &Rejected,
    record: Option<Record<'_>>,
    limit: usize,
) -> OutRecord {
    let mut headers: Vec<(String, Option<Vec<u8>>)> = Vec::new();
    let (key, mut value) = match &record {
        Some(record) => {
            // A header whose name is no text cannot be written by the client; its name is then shown in another form.
            headers.extend(record.headers().map(|header| {
                let name = String::from_utf8_lossy(header.name).replace('\0', "\u{fffd}");
                (name, header.value.map(<[u8]>::to_vec))
            }));
            (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec))
        }
        None => (None, Some(letter.payload.clone().into_bytes())),
    };
    let mut add = |name: &str, value: String| headers.push((name.to_owned(), Some(value.into_bytes())));
    add("source_topic", source.topic.to_string());
    add("source_partition", source.partition.to_string());
    add("source_offset", letter.position.offset.to_string());
    if let Some(timestamp) = record.and_then(|record| record.timestamp_ms) {
        add("source_timestamp", timestamp.to_string());
    }
    add("reason", letter.reason.as_str().to_owned());
    add("message", letter.message.clone());
    if let Some(column) = &letter.column {
        add("column", column.clone());
    }
    add("index", letter.index.to_string());
    add("unit", unit.to_owned());
    // The value is the record's own, or the row as JSON where the record has been let go.
    add("value", if record.is_some() { "record" } else { "row" }.to_owned());
    if let Some(value) = value.as_mut().filter(|value| value.len() > limit) {
        add("value_bytes", value.len().to_string());
        value.truncate(limit);
    }
    OutRecord { topic, partition, key, value, headers, token: 0 }
}
