//! Records on their way from the consumer to the workers, one queue a partition: what a worker cannot take yet waits, and
//! its partition is paused.

use crate::native;
use crate::outbox::TopicPartition;
use crate::records::{NewRecord, RecordBlock};
use crate::worker::ToWorker;
use crossbeam_channel::{Sender, TrySendError};
use rdkafka::message::{BorrowedMessage, Message};
use std::collections::VecDeque;

/// Records in a block, at most.
const BLOCK_RECORDS: usize = 1024;
/// Bytes in a block, about.
const BLOCK_BYTES: usize = 1 << 20;
/// Blocks that may wait beside those in the worker's channel before the partition is paused.
const WAITING_BLOCKS: usize = 2;

/// The queue of one partition.
pub struct Queue {
    /// Which.
    pub partition: TopicPartition,
    block: RecordBlock,
    waiting: VecDeque<RecordBlock>,
    /// The offset to be read next; none until its worker says where to begin.
    pub next: Option<u64>,
    /// Milliseconds since 1970 at which the last record was made.
    pub timestamp_ms: Option<i64>,
    /// Whether it is paused since its worker is behind.
    pub is_paused: bool,
    /// Whether all up to the wished end was read.
    pub has_ended: bool,
}

impl Queue {
    /// A queue that takes nothing before [`Queue::next`] is set.
    pub fn new(partition: TopicPartition) -> Self {
        Queue {
            block: RecordBlock::new(partition.topic.clone(), partition.partition),
            partition,
            waiting: VecDeque::new(),
            next: None,
            timestamp_ms: None,
            is_paused: false,
            has_ended: false,
        }
    }

    /// Copies a message in. One that lies before the wished place is a leftover of an earlier one, and dropped.
    pub fn push(&mut self, message: &BorrowedMessage<'_>) {
        let Some(next) = self.next else { return };
        let offset = message.offset();
        if (offset as u64) < next {
            return;
        }
        let timestamp_ms = message.timestamp().to_millis();
        native::with_headers(message, |headers| {
            self.block.push(NewRecord { offset, timestamp_ms, key: message.key(), value: message.payload(), headers });
        });
        self.next = Some(offset as u64 + 1);
        self.timestamp_ms = timestamp_ms;
        if self.block.len() >= BLOCK_RECORDS || self.block.bytes() >= BLOCK_BYTES {
            self.close_block();
        }
    }

    fn close_block(&mut self) {
        if !self.block.is_empty() {
            let empty = RecordBlock::new(self.partition.topic.clone(), self.partition.partition);
            self.waiting.push_back(std::mem::replace(&mut self.block, empty));
        }
    }

    /// Hands on what the worker takes.
    pub fn hand_on(&mut self, worker: &Sender<ToWorker>) {
        self.close_block();
        while let Some(block) = self.waiting.pop_front() {
            match worker.try_send(ToWorker::Records(block)) {
                Ok(()) => {}
                Err(TrySendError::Full(ToWorker::Records(block))) => {
                    self.waiting.push_front(block);
                    return;
                }
                // A worker that has ended takes nothing; what becomes of its partitions is decided elsewhere.
                Err(_) => {
                    self.waiting.clear();
                    return;
                }
            }
        }
    }

    /// Whether its partition should be paused.
    pub fn is_behind(&self) -> bool {
        self.waiting.len() >= WAITING_BLOCKS
    }

    /// Whether nothing waits here.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.block.is_empty()
    }

    /// Takes records from this offset on.
    pub fn begin(&mut self, from: u64) {
        self.waiting.clear();
        self.block = RecordBlock::new(self.partition.topic.clone(), self.partition.partition);
        (self.next, self.has_ended) = (Some(from), false);
    }
}
