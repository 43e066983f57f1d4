//! Membership in the consumer group: which partitions are ours, and what the group has committed.

use crate::client::{CALL_TIMEOUT, Context, client_context, kafka_error};
use crate::native;
use crate::outbox::TopicPartition;
use lightcl_core::{Error, Result};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use std::sync::{Arc, OnceLock, Weak};

/// What happens to partitions, told on the thread that polls.
pub trait Assignments: Send + Sync {
    /// These partitions are ours from now on. They are paused: reading begins when their state is there.
    fn assigned(&self, partitions: &[TopicPartition]);

    /// These partitions go to others when this returns; with `lost`, they may have gone already.
    fn revoked(&self, partitions: &[TopicPartition], lost: bool);

    /// Assigning failed.
    fn failed(&self, error: Error);
}

/// The context of the consumer.
pub struct GroupContext {
    context: Context,
    assignments: Arc<dyn Assignments>,
}

impl GroupContext {
    /// What it has in common with other clients.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// A context that tells `assignments`.
    pub fn new(context: Context, assignments: Arc<dyn Assignments>) -> Self {
        GroupContext { context, assignments }
    }
}

client_context!(GroupContext);

impl ConsumerContext for GroupContext {
    /// The crate's own version of this swallows errors of assigning.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions = partitions_of(list);
        if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let assigned = at_first_offsets(consumer, list).and_then(|()| consumer.incremental_assign(list));
            let paused = assigned.and_then(|()| consumer.pause(list));
            match paused {
                Ok(()) => self.assignments.assigned(&partitions),
                Err(error) => self.assignments.failed(kafka_error("cannot take over partitions", error)),
            }
        } else {
            self.assignments.revoked(&partitions, consumer.assignment_lost());
            if let Err(error) = consumer.incremental_unassign(list) {
                self.assignments.failed(kafka_error("cannot give partitions away", error));
            }
        }
    }
}

/// Sets each partition to its first record. The place does not matter yet: each partition is paused until its state is there,
/// and then sought. But it has to be a number. A place by name ("the end") is a question to the broker, and the answer may
/// come after that seek: the client then goes where the answer says, past records that nobody has read.
fn at_first_offsets(consumer: &BaseConsumer<GroupContext>, list: &mut TopicPartitionList) -> Result<(), KafkaError> {
    let mut answers = true;
    for TopicPartition { topic, partition } in partitions_of(list) {
        let first = answers.then(|| consumer.fetch_watermarks(&topic, partition, CALL_TIMEOUT)).and_then(Result::ok);
        // Without an answer any number does: that the offset is not there shows, and the seek mends it.
        answers = first.is_some();
        list.set_partition_offset(&topic, partition, Offset::Offset(first.map_or(0, |(low, _)| low)))?;
    }
    Ok(())
}

/// The partitions of a list, in order.
pub fn partitions_of(list: &TopicPartitionList) -> Vec<TopicPartition> {
    let mut partitions: Vec<TopicPartition> = list
        .elements()
        .iter()
        .map(|element| TopicPartition { topic: element.topic().into(), partition: element.partition() })
        .collect();
    partitions.sort_unstable();
    partitions
}

/// The group as workers see it. The consumer itself belongs to the thread that polls.
#[derive(Clone, Default)]
pub struct Group(Arc<OnceLock<Weak<BaseConsumer<GroupContext>>>>);

impl Group {
    /// Says which consumer it is about; once.
    pub fn set(&self, consumer: &Arc<BaseConsumer<GroupContext>>) {
        let _ = self.0.set(Arc::downgrade(consumer));
    }

    fn consumer(&self) -> Result<Arc<BaseConsumer<GroupContext>>> {
        self.0.get().and_then(Weak::upgrade).ok_or_else(|| Error::external("the consumer has been closed").retryable())
    }

    /// The fence: what to commit offsets with. None while this instance is not a member of the group; to commit without
    /// a generation would be to commit without a fence.
    pub fn metadata(&self) -> Option<ConsumerGroupMetadata> {
        let consumer = self.consumer().ok()?;
        let before = native::generation(consumer.client());
        let metadata = consumer.group_metadata()?;
        // What was taken between two looks at the same generation is of that generation.
        (before >= 0 && native::generation(consumer.client()) == before).then_some(metadata)
    }

    /// Committed offsets; none for partitions without. Waits for transactions that are still to be decided.
    ///
    /// # Errors
    /// When the group cannot be asked (retryable).
    pub fn committed(&self, partitions: &[TopicPartition]) -> Result<Vec<Option<i64>>> {
        let consumer = self.consumer()?;
        let mut list = TopicPartitionList::new();
        for TopicPartition { topic, partition } in partitions {
            list.add_partition(topic, *partition);
        }
        let failed = |error| {
            let allowed = !matches!(error, KafkaError::OffsetFetch(RDKafkaErrorCode::GroupAuthorizationFailed));
            let error = kafka_error("cannot ask for the committed offsets", error);
            if allowed { error.retryable() } else { error }
        };
        let found = consumer.committed_offsets(list, CALL_TIMEOUT).map_err(failed)?;
        partitions
            .iter()
            .map(|TopicPartition { topic, partition }| {
                let Some(element) = found.find_partition(topic, *partition) else { return Ok(None) };
                element.error().map_err(failed)?;
                Ok(match element.offset() {
                    Offset::Offset(offset) => Some(offset),
                    _ => None,
                })
            })
            .collect()
    }

    /// Commits offsets without a transaction.
    ///
    /// # Errors
    /// When the group does not take them in time.
    pub fn commit(&self, offsets: &TopicPartitionList) -> Result<()> {
        native::commit(self.consumer()?.client(), offsets, CALL_TIMEOUT).map_err(|error| {
            let code = error.rdkafka_error_code();
            let error = kafka_error("cannot commit offsets", error);
            match code {
                Some(RDKafkaErrorCode::GroupAuthorizationFailed | RDKafkaErrorCode::TopicAuthorizationFailed) => error,
                _ => error.retryable(),
            }
        })
    }

    /// The first offset of at least a time, in milliseconds since 1970; the end where there is none.
    ///
    /// # Errors
    /// When the brokers cannot be asked (retryable).
    pub fn offset_at(&self, partition: &TopicPartition, timestamp_ms: i64) -> Result<Option<i64>> {
        let failed = |error| kafka_error("cannot ask for the offset at a time", error).retryable();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(timestamp_ms))
            .map_err(failed)?;
        let found = self.consumer()?.offsets_for_times(list, CALL_TIMEOUT).map_err(failed)?;
        let element = found.find_partition(&partition.topic, partition.partition);
        Ok(match element.map(|element| element.offset()) {
            Some(Offset::Offset(offset)) => Some(offset),
            _ => None,
        })
    }
}
