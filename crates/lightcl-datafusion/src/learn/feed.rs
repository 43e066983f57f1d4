//! Batches on their way from the query to the learner's thread: bounded, accounted for, and never waited for on a worker of
//! the runtime.

use super::errors;
use super::positions::{Places, split};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use crossbeam_channel::{Receiver, Sender, unbounded};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::physical_plan::metrics::Count;
use futures::StreamExt;
use lightcl_core::{PositionedBatch, Positions, Source};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Batches that may wait for the learner.
const CAPACITY: usize = 4;

/// A batch, with the memory it takes and the place in the queue that it holds until it is taken.
pub(super) struct Rows {
    /// The rows.
    pub batch: RecordBatch,
    /// The memory; held for as long as the rows are.
    pub memory: MemoryReservation,
    _place: OwnedSemaphorePermit,
}

/// What the learner is told.
pub(super) enum Fed {
    /// More rows.
    Rows(Rows),
    /// There are no more.
    End,
    /// The query cannot give more.
    Failed(DataFusionError),
}

/// The query's end. Dropped without [`Feeder::end`] it means that the query was given up.
pub(super) struct Feeder {
    sender: Sender<Fed>,
    places: Arc<Semaphore>,
    memory: MemoryReservation,
}

/// Both ends.
pub(super) fn channel(learner: &str, pool: &Arc<dyn MemoryPool>) -> (Feeder, Receiver<Fed>) {
    // The places bound what waits: the channel itself never makes anybody wait.
    let (sender, receiver) = unbounded();
    let memory = MemoryConsumer::new(format!("rows for the learner {learner}")).register(pool);
    (Feeder { sender, places: Arc::new(Semaphore::new(CAPACITY)), memory }, receiver)
}

impl Feeder {
    /// Hands rows over once there is room. Gives whether the learner still takes any.
    ///
    /// # Errors
    /// When the memory pool has no room for them.
    pub async fn send(&self, batch: RecordBatch) -> Result<bool> {
        if batch.num_rows() == 0 {
            return Ok(true);
        }
        // A learner that is gone has let go of all places.
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return Ok(false) };
        let memory = self.memory.new_empty();
        memory.try_grow(batch.get_array_memory_size())?;
        Ok(self.sender.send(Fed::Rows(Rows { batch, memory, _place: place })).is_ok())
    }

    /// Says that there are no more rows, or why there can be none.
    pub fn end(self, how: Result<()>) {
        let last = match how {
            Ok(()) => Fed::End,
            Err(error) => Fed::Failed(error),
        };
        // Whoever is gone knows why.
        let _ = self.sender.send(last);
    }
}

/// Hands all rows over. An error of the input also goes to the learner, which keeps what came before.
///
/// # Errors
/// When the input fails, or the memory pool has no room for its rows.
pub(super) async fn feed_all(data: SendableRecordBatchStream, feeder: Feeder) -> Result<()> {
    match hand_over(data, &feeder).await {
        Ok(()) => {
            feeder.end(Ok(()));
            Ok(())
        }
        Err(error) => {
            let error = Arc::new(error);
            feeder.end(Err(DataFusionError::Shared(Arc::clone(&error))));
            Err(DataFusionError::Shared(error))
        }
    }
}

/// As [`feed_all`], but to a learner that keeps nothing of an input that fails: for it the query is given up. The error is the
/// input's own, as whoever tries again where a machine is gone wants to see it.
///
/// # Errors
/// When the input fails, or the memory pool has no room for its rows.
pub(super) async fn feed_or_give_up(data: SendableRecordBatchStream, feeder: Feeder) -> Result<()> {
    hand_over(data, &feeder).await?;
    feeder.end(Ok(()));
    Ok(())
}

async fn hand_over(mut data: SendableRecordBatchStream, feeder: &Feeder) -> Result<()> {
    while let Some(batch) = data.next().await {
        if !feeder.send(batch?).await? {
            // The learner says why.
            break;
        }
    }
    Ok(())
}

/// The learner's end as a source of the driver: rows that were learnt from before are left out.
pub(super) struct FedSource {
    schema: SchemaRef,
    rows: Receiver<Fed>,
    places: Places,
    /// What was learnt from before.
    learnt: Positions,
    /// Rows of the last batch that are still to be given.
    waiting: VecDeque<PositionedBatch>,
    stop: Arc<AtomicBool>,
    skipped: Count,
}

impl FedSource {
    /// Sets `stop` when the query is given up.
    pub fn new(schema: SchemaRef, rows: Receiver<Fed>, places: Places, stop: Arc<AtomicBool>, skipped: Count) -> Self {
        FedSource { schema, rows, places, learnt: Positions::default(), waiting: VecDeque::new(), stop, skipped }
    }
}

impl Source for FedSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn seek(&mut self, positions: &Positions) -> lightcl_core::Result<()> {
        self.learnt = positions.clone();
        Ok(())
    }

    fn next(&mut self) -> lightcl_core::Result<Option<PositionedBatch>> {
        loop {
            if let Some(next) = self.waiting.pop_front() {
                return Ok(Some(next));
            }
            match self.rows.recv() {
                Ok(Fed::Rows(rows)) => {
                    for placed in self.places.place(&rows.batch)? {
                        let (known, new) = split(&placed, &self.learnt);
                        self.skipped.add(known.map_or(0, |known| known.batch.num_rows()));
                        self.waiting.extend(new);
                    }
                }
                Ok(Fed::End) => return Ok(None),
                Ok(Fed::Failed(error)) => return Err(errors::from_engine("the query failed", error)),
                Err(_) => {
                    self.stop.store(true, Ordering::Relaxed);
                    return Ok(None);
                }
            }
        }
    }
}
