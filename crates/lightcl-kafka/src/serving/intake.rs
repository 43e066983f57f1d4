//! The consumer of rows to score: where partitions start, and what happens when they go.

use super::outputs::Outputs;
use crate::client::{CALL_TIMEOUT, Context, client_config, client_context, kafka_error};
use crate::config::{OrElse, SourceConfig, Start};
use crate::follower::is_passing;
use crate::group::partitions_of;
use crate::native;
use crate::outbox::TopicPartition;
use crate::records::RecordBlock;
use lightcl_core::{Error, Result};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use rdkafka::{Message, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What the consumer's callbacks share with the loop.
pub(super) struct Shared {
    context: Context,
    start: Start,
    outputs: Arc<Outputs>,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    /// For each partition the offset behind the last record whose outputs were handed to the producer.
    done: BTreeMap<TopicPartition, i64>,
    /// Partitions that were given away since the loop looked last.
    gone: Vec<TopicPartition>,
    /// Whether the group has given partitions, if none.
    is_member: bool,
    /// An error that a callback met.
    failed: Option<Error>,
}

/// The consumer, and records that wait to be scored.
pub(super) struct Intake {
    consumer: BaseConsumer<Shared>,
    topics: Vec<String>,
    subscribed: bool,
    /// Records by partition.
    pub waiting: BTreeMap<TopicPartition, RecordBlock>,
    /// Partitions that went to another member: what is known of their records is of no use any longer.
    pub left: Vec<TopicPartition>,
}

impl Intake {
    pub(super) fn new(source: &SourceConfig, group: &str, outputs: Arc<Outputs>) -> Result<Self> {
        let mut config = client_config(&source.connection)?;
        let reset = match source.start {
            Start::Committed(OrElse::Earliest) => "earliest",
            Start::Committed(OrElse::Latest) => "latest",
            // Never jump silently.
            _ => "error",
        };
        config
            .set("group.id", group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("isolation.level", "read_committed")
            .set("check.crcs", "true")
            .set("auto.offset.reset", reset);
        if let Some(instance) = &source.instance {
            config.set("group.instance.id", instance);
        }
        let context = Context::of(&source.connection);
        let shared = Shared { context, start: source.start.clone(), outputs, progress: Mutex::default() };
        let consumer =
            config.create_with_context(shared).map_err(|error| kafka_error("cannot consume rows to score", error))?;
        let topics = source.topics.subscription();
        Ok(Intake { consumer, topics, subscribed: false, waiting: BTreeMap::new(), left: Vec::new() })
    }

    /// Joins the group, if it is not a member.
    pub(super) fn join(&mut self) -> Result<()> {
        if !self.subscribed {
            let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
            self.consumer.subscribe(&topics).map_err(|error| kafka_error("cannot join the group", error))?;
            self.subscribed = true;
        }
        Ok(())
    }

    /// Whether the group has said which partitions are ours.
    pub(super) fn has_joined(&self) -> bool {
        self.subscribed && self.consumer.context().progress().is_member
    }

    /// Leaves the group, if it is a member.
    pub(super) fn leave(&mut self) {
        if std::mem::take(&mut self.subscribed) {
            self.consumer.unsubscribe();
            self.consumer.context().progress().is_member = false;
        }
    }

    /// Takes records in until there are `most` or `time` is over.
    pub(super) fn gather(&mut self, most: usize, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        for _ in 0..most {
            let Intake { consumer, waiting, .. } = self;
            match consumer.poll(until.saturating_duration_since(Instant::now())) {
                Some(Ok(message)) => {
                    let partition = TopicPartition { topic: message.topic().into(), partition: message.partition() };
                    let block = waiting
                        .entry(partition)
                        .or_insert_with(|| RecordBlock::new(message.topic(), message.partition()));
                    native::push(block, &message);
                }
                Some(Err(error)) if is_unavailable_topic(&error) || is_passing(&error) => {}
                Some(Err(error)) => return Err(cannot_consume(error)),
                None => {}
            }
            self.forget_gone()?;
            if Instant::now() >= until {
                break;
            }
        }
        Ok(())
    }

    /// Records of partitions that went to another member are its own to score.
    fn forget_gone(&mut self) -> Result<()> {
        let mut progress = self.consumer.context().progress();
        for partition in std::mem::take(&mut progress.gone) {
            self.waiting.remove(&partition);
            self.left.push(partition);
        }
        progress.failed.take().map_or(Ok(()), Err)
    }

    /// Takes note that everything of a partition below an offset has its outputs with the producer.
    pub(super) fn done(&self, partition: TopicPartition, next: i64) {
        self.consumer.context().progress().done.insert(partition, next);
    }

    /// Commits what is done; the outputs must have been flushed. Gives an error that passes, if there was one.
    pub(super) fn commit(&self) -> Option<Error> {
        let done = self.consumer.context().progress().done.clone();
        match commit(&self.consumer, &done) {
            Ok(()) => {
                // Unless more was done meanwhile.
                self.consumer
                    .context()
                    .progress()
                    .done
                    .retain(|partition, next| done.get(partition).is_none_or(|committed| committed != next));
                None
            }
            // The next commit does it.
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::RebalanceInProgress) => None,
            Err(error) => Some(kafka_error("cannot commit offsets", error)),
        }
    }

    /// Stops fetching while something outside does not answer; waiting records stay.
    pub(super) fn pause(&self) -> Result<()> {
        let assigned = self.consumer.assignment();
        assigned.and_then(|all| self.consumer.pause(&all)).map_err(|error| kafka_error("cannot pause", error))
    }

    /// Goes on fetching.
    pub(super) fn resume(&self) -> Result<()> {
        let assigned = self.consumer.assignment();
        assigned.and_then(|all| self.consumer.resume(&all)).map_err(|error| kafka_error("cannot resume", error))
    }
}

impl Shared {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where each of the given partitions starts.
    fn starts(&self, consumer: &BaseConsumer<Self>, given: &TopicPartitionList) -> KafkaResult<TopicPartitionList> {
        let committed = consumer.committed_offsets(given.clone(), CALL_TIMEOUT)?;
        let mut timed = TopicPartitionList::new();
        let mut starts = TopicPartitionList::new();
        for element in committed.elements() {
            let (topic, partition) = (element.topic(), element.partition());
            let start = match (element.offset(), &self.start) {
                (Offset::Offset(offset), _) => Offset::Offset(offset),
                (_, Start::Committed(OrElse::Latest)) => Offset::End,
                (_, Start::Committed(_)) => Offset::Beginning,
                (_, Start::Offsets(offsets)) => {
                    offsets.get(&(topic.to_owned(), partition)).map_or(Offset::Beginning, |&at| Offset::Offset(at))
                }
                (_, &Start::Timestamp(time)) => {
                    timed.add_partition_offset(topic, partition, Offset::Offset(time))?;
                    continue;
                }
            };
            starts.add_partition_offset(topic, partition, start)?;
        }
        if timed.count() > 0 {
            for element in consumer.offsets_for_times(timed, CALL_TIMEOUT)?.elements() {
                starts.add_partition_offset(element.topic(), element.partition(), element.offset())?;
            }
        }
        Ok(starts)
    }

    fn given(&self, consumer: &BaseConsumer<Self>, given: &TopicPartitionList) {
        self.progress().is_member = true;
        let assigned = self.starts(consumer, given).and_then(|starts| consumer.incremental_assign(&starts));
        if let Err(error) = assigned {
            self.progress().failed = Some(kafka_error("cannot find where to start", error));
        }
    }

    fn taken(&self, consumer: &BaseConsumer<Self>, taken: &TopicPartitionList) {
        let gone: Vec<TopicPartition> = partitions_of(taken);
        let mut done = {
            let mut progress = self.progress();
            progress.gone.extend(gone.iter().cloned());
            std::mem::take(&mut progress.done)
        };
        // Those that stay are committed at their time.
        let stay: BTreeMap<_, _> = done.extract_if(.., |partition, _| !gone.contains(partition)).collect();
        self.progress().done.extend(stay);
        // What does not get there in time is scored again by the next owner.
        if !consumer.assignment_lost() && !done.is_empty() && self.outputs.flush(Duration::from_secs(5)).is_ok() {
            let _ = commit(consumer, &done);
        }
        if let Err(error) = consumer.incremental_unassign(taken) {
            self.progress().failed = Some(kafka_error("cannot give partitions away", error));
        }
    }
}

client_context!(Shared);

impl ConsumerContext for Shared {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.given(consumer, list),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => self.taken(consumer, list),
            other => {
                let error = KafkaError::Rebalance(other.into());
                self.progress().failed = Some(kafka_error("cannot share partitions", error));
            }
        }
    }
}

fn commit(consumer: &BaseConsumer<Shared>, done: &BTreeMap<TopicPartition, i64>) -> KafkaResult<()> {
    if done.is_empty() {
        return Ok(());
    }
    let mut list = TopicPartitionList::new();
    for (TopicPartition { topic, partition }, next) in done {
        list.add_partition_offset(topic, *partition, Offset::Offset(*next))?;
    }
    native::commit(consumer.client(), &list, CALL_TIMEOUT)
}

/// A topic that is not there yet may be made later.
fn is_unavailable_topic(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicOrPartition)
    )
}

fn cannot_consume(error: KafkaError) -> Error {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => Error::user(
            "the records at the committed offset are gone; set source.or_else to \"earliest\" or \"latest\", or reset the \
             group's offsets",
        )
        .caused_by(error),
        _ => kafka_error("cannot consume rows to score", error),
    }
}
