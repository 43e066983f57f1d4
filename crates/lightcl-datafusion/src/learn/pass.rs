//! The thread of the test-then-train operator: scores rows, passes them on, and learns.

use super::errors::failed;
use super::feed::{Fed, Rows};
use super::live::Live;
use super::meters::Meters;
use super::positions::{Places, slices, split};
use super::waiting::{Answer, Waiting, answered};
use super::watched::WatchedSink;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use datafusion::error::{DataFusionError, Result as QueryResult};
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::metrics::BaselineMetrics;
use lightcl_core::{Commit, Output, PositionedBatch, Positions, Result, Sink, Stateful};
use lightcl_pipeline::driver::CheckpointPolicy;
use lightcl_stream::{Operator, predict};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;

/// Longest time between two looks at whether rows wait too long, or nobody listens.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Time between two looks at how much memory the learner holds.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// Where rows go.
pub(super) struct Outlet {
    /// The query.
    pub rows: Sender<QueryResult<RecordBatch>>,
    /// How many are wanted; none for all.
    pub wanted: Option<usize>,
    /// Whether the input is learnt from to its end although no more rows are wanted: the last row that is wanted then comes
    /// when all is learnt.
    pub learns_on: bool,
    /// What EXPLAIN ANALYZE shows.
    pub metrics: BaselineMetrics,
    held: Option<RecordBatch>,
    sent: usize,
}

impl Outlet {
    pub fn new(
        rows: Sender<QueryResult<RecordBatch>>,
        wanted: Option<usize>,
        learns_on: bool,
        metrics: BaselineMetrics,
    ) -> Self {
        Outlet { rows, wanted, learns_on, metrics, held: None, sent: 0 }
    }

    /// Passes rows on. Gives whether any more are wanted, or are to be learnt from. The last row that is wanted is held back:
    /// whoever has it is done, and may begin another statement, while this one has not let go of the learner.
    fn send(&mut self, batch: RecordBatch) -> bool {
        let Some(wanted) = self.wanted else { return self.deliver(batch) };
        let left = wanted.saturating_sub(self.sent);
        if left == 0 {
            return self.learns_on && !self.rows.is_closed();
        }
        let batch = if batch.num_rows() > left { batch.slice(0, left) } else { batch };
        self.sent += batch.num_rows();
        if self.sent < wanted {
            return self.deliver(batch);
        }
        self.held = Some(batch);
        self.learns_on && !self.rows.is_closed()
    }

    fn deliver(&self, batch: RecordBatch) -> bool {
        self.metrics.record_output(batch.num_rows());
        self.rows.blocking_send(Ok(batch)).is_ok()
    }
}

/// One execution of the operator.
pub(super) struct Pass {
    pub operator: Operator,
    pub sink: WatchedSink,
    pub live: Arc<Live>,
    pub meters: Meters,
    pub checkpoints: CheckpointPolicy,
    /// Rows that are taken in at once.
    pub slice_rows: usize,
    pub places: Places,
    /// Longest time that a row waits for those scored with it; none for ever.
    pub max_wait: Option<Duration>,
    /// The columns of rows that go out.
    pub schema: SchemaRef,
    pub outlet: Outlet,
}

/// What changes while rows pass.
struct Passing {
    pass: Pass,
    /// What was learnt from before.
    learnt: Positions,
    waiting: Waiting,
    /// Whether nobody takes rows any more.
    closed: bool,
    epoch: u64,
    committed_samples: u64,
    committed_at: Instant,
    measured_at: Instant,
    must_commit: bool,
}

impl Pass {
    /// Passes rows on to the end of the input, or until nobody wants them; commits what was learnt. Gives the rows that are
    /// wanted last.
    ///
    /// # Errors
    /// Why it came to no end. What was committed before stands.
    pub fn run(self, input: &Receiver<Fed>) -> QueryResult<Option<RecordBatch>> {
        let mut passing = self.begin().map_err(failed)?;
        match passing.run(input).map_err(failed)? {
            Some(error) => Err(error),
            None => Ok(passing.last()),
        }
    }

    fn begin(mut self) -> Result<Passing> {
        let recovered = self.sink.recover()?;
        let mut epoch = 0;
        if let Some(commit) = recovered {
            self.operator.restore(&commit.state)?;
            epoch = commit.epoch;
        }
        let learnt = self.operator.positions().clone();
        let now = Instant::now();
        Ok(Passing {
            learnt,
            waiting: Waiting::new(Arc::clone(&self.schema)),
            closed: false,
            epoch,
            committed_samples: self.operator.samples(),
            committed_at: now,
            measured_at: now,
            must_commit: false,
            pass: self,
        })
    }
}

impl Passing {
    fn last(self) -> Option<RecordBatch> {
        let batch = self.pass.outlet.held?;
        self.pass.outlet.metrics.record_output(batch.num_rows());
        Some(batch)
    }

    /// Gives the input's own error.
    fn run(&mut self, input: &Receiver<Fed>) -> Result<Option<DataFusionError>> {
        self.measure()?;
        loop {
            match input.recv_timeout(LOOK_EVERY) {
                Ok(Fed::Rows(rows)) => self.take(rows)?,
                Ok(Fed::End) => {
                    self.finish()?;
                    return Ok(None);
                }
                Ok(Fed::Failed(error)) => {
                    self.commit()?;
                    return Ok(Some(error));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.closed = true,
            }
            if self.closed || self.pass.outlet.rows.is_closed() {
                // Nobody wants more: what was learnt is kept, and the next run goes on from there.
                self.commit()?;
                return Ok(None);
            }
            self.close_window_when_late()?;
            self.commit_when_due()?;
        }
    }

    fn take(&mut self, rows: Rows) -> Result<()> {
        let Rows { batch, memory, .. } = rows;
        let memory = Arc::new(memory);
        for placed in self.pass.places.place(&batch)? {
            self.take_from_one(&placed, &memory)?;
        }
        Ok(())
    }

    /// Takes rows of one partition.
    fn take_from_one(&mut self, placed: &PositionedBatch, memory: &Arc<MemoryReservation>) -> Result<()> {
        let (known, new) = split(placed, &self.learnt);
        if let Some(known) = known {
            self.pass.meters.skipped.add(known.batch.num_rows());
            let scored = self.score(&known)?;
            self.closed |= !self.pass.outlet.send(scored);
        }
        let Some(new) = new else { return Ok(()) };
        for slice in slices(&new, self.pass.slice_rows) {
            if self.closed {
                return Ok(());
            }
            let started = Instant::now();
            let pass = &mut self.pass;
            let first = pass.operator.samples();
            self.waiting.push(slice.batch.clone(), first, memory);
            let outputs = pass.operator.push(&slice)?;
            pass.meters.learning.add_elapsed(started);
            pass.meters.taken.add(slice.batch.num_rows());
            self.emit(&outputs)?;
            self.commit_when_due()?;
        }
        Ok(())
    }

    /// Passes on the rows that were answered, then writes what came of them.
    fn emit(&mut self, outputs: &[Output]) -> Result<()> {
        self.waiting.answer(outputs);
        for batch in self.waiting.ready(false)? {
            self.closed |= !self.pass.outlet.send(batch);
        }
        self.write(outputs)
    }

    fn write(&mut self, outputs: &[Output]) -> Result<()> {
        let pass = &mut self.pass;
        self.must_commit |= outputs.iter().any(|output| matches!(output, Output::Boundary(_)));
        {
            let mut seen = pass.live.lock();
            (seen.samples, seen.task) = (pass.operator.samples(), pass.operator.current_task());
            seen.accuracy = pass.operator.prequential().report().window_accuracy;
        }
        pass.sink.write(outputs)
    }

    /// Scores rows that were learnt from before, by the model as it is now.
    fn score(&self, rows: &PositionedBatch) -> Result<RecordBatch> {
        let pass = &self.pass;
        let count = rows.batch.num_rows();
        let version = pass.live.lock().version;
        let task = pass.operator.current_task();
        let Ok(learner) = pass.operator.learner() else {
            return answered(&pass.schema, &rows.batch, std::iter::repeat_n(Answer::default(), count));
        };
        let encoder = pass.operator.encoder();
        let frozen = encoder.encode_frozen(rows, 0..count, 0)?;
        let logits = learner.score(&frozen.samples)?;
        let mut bad = frozen.rejected.iter().map(|letter| letter.index).peekable();
        let mut good = 0;
        let answers = (0..count as u64).map(|row| {
            if bad.next_if_eq(&row).is_some() {
                return Answer::default();
            }
            let (class, score) = predict(&logits, good);
            good += 1;
            Answer {
                predicted: class.and_then(|class| encoder.class_label(class)),
                score,
                task: Some(task),
                boundary: Some(false),
                model_version: Some(version),
            }
        });
        answered(&pass.schema, &rows.batch, answers)
    }

    fn close_window_when_late(&mut self) -> Result<()> {
        let Some(most) = self.pass.max_wait else { return Ok(()) };
        if self.waiting.since().is_none_or(|since| since.elapsed() < most) {
            return Ok(());
        }
        let outputs = self.pass.operator.close_window()?;
        self.emit(&outputs)
    }

    fn commit_when_due(&mut self) -> Result<()> {
        if self.measured_at.elapsed() >= MEASURE_EVERY {
            self.measure()?;
        }
        let rows = self.pass.operator.samples() - self.committed_samples;
        let CheckpointPolicy { every_samples, every } = self.pass.checkpoints;
        if self.must_commit
            || (every_samples > 0 && rows >= every_samples)
            || (rows > 0 && every.is_some_and(|every| self.committed_at.elapsed() >= every))
        {
            self.commit()?;
        }
        Ok(())
    }

    fn measure(&mut self) -> Result<()> {
        self.measured_at = Instant::now();
        let held: u64 = self.pass.operator.bytes()?.iter().map(|part| part.bytes).sum();
        self.pass.sink.hold(usize::try_from(held).unwrap_or(usize::MAX))
    }

    fn commit(&mut self) -> Result<()> {
        let operator = &self.pass.operator;
        self.epoch += 1;
        let commit = Commit { epoch: self.epoch, positions: operator.positions().clone(), state: operator.save()? };
        self.committed_samples = operator.samples();
        self.committed_at = Instant::now();
        self.must_commit = false;
        self.pass.sink.commit(&commit)
    }

    /// The input has ended: the last rows are learnt, the last figures taken, and all is kept.
    fn finish(&mut self) -> Result<()> {
        let outputs = self.pass.operator.finish()?;
        let anything = !outputs.is_empty() || self.epoch == 0 || self.pass.operator.samples() > self.committed_samples;
        self.emit(&outputs)?;
        for batch in self.waiting.ready(true)? {
            self.closed |= !self.pass.outlet.send(batch);
        }
        if anything { self.commit() } else { Ok(()) }
    }
}
