//! Records on their way from the consumer to the workers, one queue a partition: what a worker cannot take yet waits, and
//! its partition is paused.

use crate::native;
use crate::outbox::TopicPartition;
use crate::records::RecordBlock;
use crate::worker::ToWorker;
use crossbeam_channel::{Sender, TrySendError};
use rdkafka::message::{BorrowedMessage, Message};
use std::collections::VecDeque;

/// Records in a block, at most.
const BLOCK_RECORDS: usize = 1024;
/// Bytes in a block, about.
const BLOCK_BYTES: usize = 1 << 20;
/// Bytes of records that may wait for workers, over all partitions. Pausing is dear (what the client has read ahead is thrown
/// away), so that it begins late, and ends while there is still work.
const WAITING_BYTES: usize = 64 << 20;
/// Least and most of them a partition.
const PARTITION_BYTES: (usize, usize) = (1 << 20, 8 << 20);

/// Bytes that may wait for the worker of one of so many partitions.
pub fn most_waiting(partitions: usize) -> usize {
    (WAITING_BYTES / partitions.max(1)).clamp(PARTITION_BYTES.0, PARTITION_BYTES.1)
}

/// The queue of one partition.
pub struct Queue {
    /// Which.
    pub partition: TopicPartition,
    block: RecordBlock,
    waiting: VecDeque<RecordBlock>,
    waiting_bytes: usize,
    /// The offset to be read next; none until its worker says where to begin.
    pub next: Option<u64>,
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
            waiting_bytes: 0,
            next: None,
            is_paused: false,
            has_ended: false,
        }
    }

    /// Copies a message in. One that lies before the wished place is a leftover of an earlier one, and dropped.
    pub fn push(&mut self, message: &BorrowedMessage<'_>) {
        let Some(next) = self.next else { return };
        let offset = message.offset() as u64;
        if offset < next {
            return;
        }
        if offset > next {
            // A marker of a transaction, or what compaction has left.
            log::trace!("{}: no record from {next} to {offset}", self.partition);
        }
        native::push(&mut self.block, message);
        self.next = Some(offset + 1);
        if self.block.len() >= BLOCK_RECORDS || self.block.bytes() >= BLOCK_BYTES {
            self.close_block();
        }
    }

    fn close_block(&mut self) {
        if !self.block.is_empty() {
            let empty = RecordBlock::new(self.partition.topic.clone(), self.partition.partition);
            self.waiting_bytes += self.block.bytes();
            self.waiting.push_back(std::mem::replace(&mut self.block, empty));
        }
    }

    /// Hands on what the worker takes.
    pub fn hand_on(&mut self, worker: &Sender<ToWorker>) {
        self.close_block();
        while let Some(block) = self.waiting.pop_front() {
            let bytes = block.bytes();
            match worker.try_send(ToWorker::Records(block)) {
                Ok(()) => self.waiting_bytes -= bytes,
                Err(TrySendError::Full(ToWorker::Records(block))) => {
                    self.waiting.push_front(block);
                    return;
                }
                // A worker that has ended takes nothing; what becomes of its partitions is decided elsewhere.
                Err(_) => {
                    self.clear();
                    return;
                }
            }
        }
    }

    /// Whether its partition should be paused, or stay so.
    pub fn is_behind(&self, most_waiting: usize) -> bool {
        self.waiting_bytes > if self.is_paused { most_waiting / 2 } else { most_waiting }
    }

    fn clear(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
    }

    /// Whether nothing waits here.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.block.is_empty()
    }

    /// Takes records from this offset on.
    pub fn begin(&mut self, from: u64) {
        self.clear();
        self.block = RecordBlock::new(self.partition.topic.clone(), self.partition.partition);
        (self.next, self.has_ended) = (Some(from), false);
    }
}
