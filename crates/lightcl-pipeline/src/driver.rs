//! The driver: source, operator and sink threads over bounded channels.
//!
//! The channels are the back-pressure: a slow learner lets the source wait, a slow sink lets the operator wait, and
//! memory stays flat. Commits happen between two slices of rows; which rows they fall on changes nothing in the state.

use crate::meters;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use lightcl_core::{Commit, Error, Output, PositionedBatch, Positions, Result, Sink, Source, Stateful};
use lightcl_kafka::Health;
use lightcl_stream::Operator;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Batches that may wait between source and operator, and messages between operator and sink.
const CHANNEL_CAPACITY: usize = 4;

/// When state is saved beside the end of each task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointPolicy {
    /// Rows between checkpoints; 0 = none by count.
    pub every_samples: u64,
    /// Time between checkpoints; none = none by time.
    pub every: Option<Duration>,
}

/// What a run is made of.
pub struct Run {
    /// Where rows come from.
    pub source: Box<dyn Source>,
    /// What learns from them.
    pub operator: Operator,
    /// Where outputs and state go.
    pub sink: Box<dyn Sink>,
    /// When state is saved.
    pub checkpoints: CheckpointPolicy,
    /// Rows between two looks at the stop flag; commits fall on multiples of it.
    pub slice_rows: usize,
    /// Set it to stop cleanly: the slice in hand is finished and committed.
    pub stop: Arc<AtomicBool>,
    /// Told when the run is ready and that it goes on.
    pub health: Arc<Health>,
}

/// How a run ended.
pub struct Finished {
    /// The operator in its last state.
    pub operator: Operator,
    /// Whether the stop flag ended it before the input did.
    pub stopped: bool,
    /// Rows read by this process (a resumed run reads the rest only).
    pub rows_read: u64,
    /// Rows that an earlier process had read.
    pub resumed_at: u64,
    /// Time spent reading, learning and writing.
    pub elapsed: Duration,
}

/// What to show while a run is going.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Rows read so far, by earlier processes too.
    pub samples: u64,
    /// Rows in the whole input, where that is known.
    pub total: Option<u64>,
    /// The task that is being learnt.
    pub task: u32,
    /// Prequential accuracy over the last rows.
    pub accuracy: Option<f64>,
}

enum ToSink {
    Outputs(Vec<Output>),
    Commit(Commit),
}

impl Run {
    /// Resumes from the sink's last commit, if there is one, and runs to the end of the input or to the stop flag.
    /// `show` is called after every slice, and with each output that is not a prediction.
    ///
    /// # Errors
    /// What source, operator or sink return; everything committed before that stands.
    pub fn drive(self, show: &mut dyn FnMut(&Progress, &[Output])) -> Result<Finished> {
        let Run { mut source, mut operator, mut sink, checkpoints, slice_rows, stop, health } = self;
        let recovered = sink.recover()?;
        let mut epoch = 0;
        if let Some(commit) = recovered {
            operator.restore(&commit.state)?;
            source.seek(&commit.positions)?;
            epoch = commit.epoch;
        }
        health.set_ready(true);
        let total = source.total_rows();
        let resumed_at = operator.samples();
        let started = Instant::now();

        let (batches_out, batches_in) = bounded::<Result<PositionedBatch>>(CHANNEL_CAPACITY);
        let (to_sink, from_operator) = bounded::<ToSink>(CHANNEL_CAPACITY);
        let (acks_out, acks_in) = unbounded::<Positions>();
        let reader_stop = Arc::clone(&stop);
        let result = thread::scope(|scope| {
            scope.spawn(move || read(source.as_mut(), &batches_out, &acks_in, &reader_stop));
            let writer = scope.spawn(move || write(sink.as_mut(), &from_operator, &acks_out));
            let outcome = Loop {
                operator: &mut operator,
                to_sink,
                checkpoints,
                epoch,
                total,
                slice_rows: slice_rows.max(1),
                stop: &stop,
                health: &health,
            }
            .run(batches_in, show);
            // The loop has let go of both channels: reader and writer end. A writer's error is the cause of the
            // loop's, which only saw a closed channel.
            let written = writer.join().unwrap_or_else(|_| Err(Error::internal("the sink thread died")));
            written.and(outcome)
        });
        let stopped = result?;
        Ok(Finished {
            stopped,
            rows_read: operator.samples() - resumed_at,
            resumed_at,
            elapsed: started.elapsed(),
            operator,
        })
    }
}

fn read(
    source: &mut dyn Source,
    batches: &Sender<Result<PositionedBatch>>,
    acks: &Receiver<Positions>,
    stop: &AtomicBool,
) {
    while !stop.load(Ordering::Relaxed) {
        for positions in acks.try_iter() {
            if let Err(error) = source.ack(&positions) {
                let _ = batches.send(Err(error));
                return;
            }
        }
        let next = match source.next() {
            Ok(Some(batch)) => Ok(batch),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let failed = next.is_err();
        // A closed channel means that the operator has stopped; it knows why.
        if batches.send(next).is_err() || failed {
            return;
        }
    }
}

fn write(sink: &mut dyn Sink, messages: &Receiver<ToSink>, acks: &Sender<Positions>) -> Result<()> {
    for message in messages {
        match message {
            ToSink::Outputs(outputs) => sink.write(&outputs)?,
            ToSink::Commit(commit) => {
                let started = Instant::now();
                sink.commit(&commit)?;
                meters::committed(commit.state.len(), started.elapsed());
                // A reader that is gone needs no acknowledgement.
                let _ = acks.send(commit.positions);
            }
        }
    }
    Ok(())
}

struct Loop<'a> {
    operator: &'a mut Operator,
    to_sink: Sender<ToSink>,
    checkpoints: CheckpointPolicy,
    epoch: u64,
    total: Option<u64>,
    slice_rows: usize,
    stop: &'a AtomicBool,
    health: &'a Health,
}

impl Loop<'_> {
    /// Gives whether the stop flag ended it.
    fn run(
        mut self,
        batches: Receiver<Result<PositionedBatch>>,
        show: &mut dyn FnMut(&Progress, &[Output]),
    ) -> Result<bool> {
        let mut committed_at = self.operator.samples();
        let mut committed = Instant::now();
        for batch in batches {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    // The input broke here; what was learnt before that is kept.
                    self.commit()?;
                    return Err(error);
                }
            };
            for slice in slices(&batch, self.slice_rows) {
                let started = Instant::now();
                let outputs = self.operator.push(&slice)?;
                meters::pushed(Some(self.operator), slice.batch.num_rows(), &outputs, started.elapsed());
                self.health.progress();
                let task_ended = outputs.iter().any(|output| matches!(output, Output::Boundary(_)));
                show(&self.progress(), &outputs);
                self.send(ToSink::Outputs(outputs))?;
                let stopping = self.stop.load(Ordering::Relaxed);
                let rows = self.operator.samples() - committed_at;
                let CheckpointPolicy { every_samples, every } = self.checkpoints;
                if stopping
                    || task_ended
                    || (every_samples > 0 && rows >= every_samples)
                    || every.is_some_and(|every| committed.elapsed() >= every)
                {
                    self.commit()?;
                    (committed_at, committed) = (self.operator.samples(), Instant::now());
                }
                if stopping {
                    return Ok(true);
                }
            }
        }
        if self.stop.load(Ordering::Relaxed) {
            // The reader may have seen the flag before a slice did.
            self.commit()?;
            return Ok(true);
        }
        let outputs = self.operator.finish()?;
        if !outputs.is_empty() || self.epoch == 0 || self.operator.samples() > committed_at {
            meters::pushed(Some(self.operator), 0, &outputs, Duration::ZERO);
            show(&self.progress(), &outputs);
            self.send(ToSink::Outputs(outputs))?;
            self.commit()?;
        }
        Ok(false)
    }

    fn progress(&self) -> Progress {
        Progress {
            samples: self.operator.samples(),
            total: self.total,
            task: self.operator.current_task(),
            accuracy: self.operator.prequential().report().window_accuracy,
        }
    }

    fn commit(&mut self) -> Result<()> {
        self.epoch += 1;
        let state = self.operator.save()?;
        let positions = self.operator.positions().clone();
        self.send(ToSink::Commit(Commit { epoch: self.epoch, positions, state }))
    }

    fn send(&self, message: ToSink) -> Result<()> {
        self.to_sink.send(message).map_err(|_| Error::internal("the sink stopped taking outputs"))
    }
}

/// Cuts a batch into slices of at most `rows` rows that end on multiples of `rows` in their partition, so that a
/// resumed run looks at its stop flag and commits at the same places.
fn slices(batch: &PositionedBatch, rows: usize) -> impl Iterator<Item = PositionedBatch> {
    let total = batch.batch.num_rows();
    let mut start = 0;
    std::iter::from_fn(move || {
        if start >= total {
            return None;
        }
        let into = (batch.offset_of(start) % rows as u64) as usize;
        let end = total.min(start + rows - into);
        let slice = batch.slice(start, end);
        start = end;
        Some(slice)
    })
}
