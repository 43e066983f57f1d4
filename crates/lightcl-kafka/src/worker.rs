//! One unit at work on a thread of its own: restore, silent replay, then read, learn and commit.

use crate::compacted::CompactedReader;
use crate::config::{CheckpointConfig, SourceConfig};
use crate::control::{Control, Wish};
use crate::format::{Format, Rows};
use crate::group::Group;
use crate::health::Health;
use crate::learners::{Learners, OperatorFactory, Parking};
use crate::outbox::TopicPartition;
use crate::producer::Failure;
use crate::records::RecordBlock;
use crate::replay::Replay;
use crate::start::{FirstLook, Known, Place, place};
use crate::store::{Pressure, Saved, Store};
use crate::unit_names;
use arrow_schema::{DataType, Field, Schema};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use lightcl_core::{Error, Output, PositionedBatch, Positions, Result, RowOffsets};
use lightcl_stream::{Operator, Summary};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest time between two looks at what is wished.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Opens a reader of records.
pub type FormatOpener = dyn Fn() -> Result<Box<dyn Format>> + Send + Sync;

/// Makes the store of a worker.
pub type StoreFor = dyn Fn(&Worker) -> Result<Box<dyn Store>> + Send + Sync;

/// What a worker is told.
pub enum ToWorker {
    /// Records of one of its partitions, in order.
    Records(RecordBlock),
    /// All its partitions have been read to their ends, and that is all.
    End,
}

/// What a worker tells.
pub enum FromWorker {
    /// Its state is there: read these partitions from these offsets on.
    Start {
        /// Who: the number of the worker.
        worker: u64,
        /// Partition and first offset.
        places: Vec<(TopicPartition, u64)>,
    },
    /// It has ended.
    Ended {
        /// Who: the number of the worker.
        worker: u64,
        /// How.
        how: Ended,
    },
}

/// How a worker ended.
pub enum Ended {
    /// As wished, committed or not.
    Wished(Option<Box<UnitReport>>),
    /// All its input was read.
    Finished(Box<UnitReport>),
    /// Somebody else has taken over, or the group has moved on.
    Displaced(Error),
    /// It cannot go on.
    Failed(Error),
}

/// What a unit has to show at its end.
#[derive(Debug, Clone)]
pub struct UnitReport {
    /// The unit.
    pub unit: String,
    /// Figures of its operator; none where every key has its own.
    pub summary: Option<Summary>,
    /// Rows that this worker read, replayed ones left out.
    pub rows: u64,
    /// Input positions that are committed.
    pub positions: Positions,
}

/// Looks on while a job runs.
pub trait Observer: Send + Sync {
    /// Rows were taken in, and this came of them. There is no one operator where every key has its own.
    fn pushed(&self, learner: &str, operator: Option<&Operator>, rows: usize, outputs: &[Output], elapsed: Duration);

    /// A commit was made; `state_bytes` is 0 where it holds no state.
    fn committed(&self, unit: &str, output_bytes: usize, state_bytes: usize, elapsed: Duration);
}

/// What all workers of a job share.
pub struct WorkerConfig {
    /// The source.
    pub source: SourceConfig,
    /// Opens a reader of records.
    pub open_format: Box<FormatOpener>,
    /// Makes operators.
    pub make_operator: Arc<OperatorFactory>,
    /// Most learners of a unit; none for one.
    pub most_keyed: Option<usize>,
    /// When state is saved.
    pub checkpoints: CheckpointConfig,
    /// Whether every commit saves the state: inputs that cannot be read again.
    pub always_save: bool,
    /// Time between two commits.
    pub commit: Duration,
    /// Longest wait for what does not move.
    pub patience: Duration,
    /// What topics were like at first.
    pub first_look: FirstLook,
    /// Who looks on.
    pub observer: Arc<dyn Observer>,
    /// Where it is said that all is well.
    pub health: Arc<Health>,
}

/// A unit at work.
pub struct Worker {
    /// Its number in this process; a unit that is begun again has another.
    pub number: u64,
    /// Name of the unit.
    pub unit: Arc<str>,
    /// What it reads.
    pub partitions: Vec<TopicPartition>,
    /// What all have in common.
    pub config: Arc<WorkerConfig>,
    /// The group.
    pub group: Group,
    /// What is wished.
    pub control: Arc<Control>,
    /// Records.
    pub inbox: Receiver<ToWorker>,
    /// To the thread that polls.
    pub tell: Sender<FromWorker>,
}

/// Why a worker stops before its end.
enum Stop {
    Abandoned,
    Displaced(Error),
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Failed(error)
    }
}

/// Where each partition begins.
type Places = Vec<(TopicPartition, Place)>;

/// Parts that live from the restore on.
struct Live<'a> {
    worker: &'a Worker,
    store: Box<dyn Store>,
    learners: Learners,
    format: Box<dyn Format>,
    positions: Positions,
    committed: Positions,
    committed_at: Instant,
    /// Rows and time since the state was saved.
    unsaved_rows: u64,
    saved_at: Instant,
    /// Whether a task ended since the state was saved.
    must_save: bool,
    rows: u64,
    /// Whether there are outputs that no commit took, which may come without further records.
    unsent: bool,
    /// Since when rows wait for their window.
    waiting_since: Option<Instant>,
    last_partition: Option<Arc<str>>,
    /// When the last records read were made, in milliseconds since 1970, by partition.
    made: BTreeMap<Arc<str>, i64>,
}

/// Tells how far a unit is restored: reading the state is the first half, the silent replay the second.
pub fn set_restored(unit: &str, share: f64) {
    metrics::gauge!("lightcl_kafka_restore_progress", "unit" => unit.to_owned()).set(share);
}

impl Worker {
    /// Works until its end; tells how that came.
    pub fn run(self, make_store: &StoreFor) {
        // A thread that died would leave its partitions to nobody, and nobody would say so.
        let how = match catch_unwind(AssertUnwindSafe(|| self.work(make_store))) {
            Ok(Ok(how)) => how,
            Ok(Err(Stop::Abandoned)) => Ended::Wished(None),
            Ok(Err(Stop::Displaced(error))) => Ended::Displaced(error),
            Ok(Err(Stop::Failed(error))) => Ended::Failed(error),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
                Ended::Failed(Error::internal("a worker has panicked, and committed nothing of it").with("panic", text))
            }
        };
        // Nobody listens any more when the job has ended.
        let _ = self.tell.send(FromWorker::Ended { worker: self.number, how });
    }

    fn work(&self, make_store: &StoreFor) -> Result<Ended, Stop> {
        let store = self.patiently("looking at the output topics", || make_store(self))?;
        let (mut live, places, mut replay) = self.restore(store)?;
        let places = places.into_iter().map(|(partition, place)| (partition, place.from)).collect();
        let _ = self.tell.send(FromWorker::Start { worker: self.number, places });
        loop {
            match self.control.wish() {
                Wish::Abandon => return Err(Stop::Abandoned),
                Wish::Drain => {
                    if replay.is_done() {
                        live.commit(true)?;
                    }
                    return Ok(Ended::Wished(Some(Box::new(live.report()?))));
                }
                Wish::Run => {}
            }
            live.replay(&mut replay)?;
            match self.inbox.recv_timeout(LOOK_EVERY) {
                Ok(ToWorker::Records(block)) if replay.is_done() => live.take(&block, false)?,
                Ok(ToWorker::Records(block)) => replay.add(block),
                Ok(ToWorker::End) => {
                    live.replay(&mut replay)?;
                    if !replay.is_done() {
                        return Err(Stop::Failed(replay.incomplete(&self.unit)));
                    }
                    live.finish()?;
                    return Ok(Ended::Finished(Box::new(live.report()?)));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Stop::Abandoned),
            }
            if replay.is_done() {
                self.control.catch_up();
                live.close_window_when_late()?;
                live.commit_when_due()?;
            }
            self.config.health.progress();
        }
    }

    /// Calls again while an error may go away by itself and nothing else is wished.
    fn patiently<T>(&self, what: &str, mut call: impl FnMut() -> Result<T>) -> Result<T, Stop> {
        let mut wait = Duration::from_millis(100);
        loop {
            match call() {
                Ok(value) => return Ok(value),
                Err(_) if self.control.is_ending() => return Err(Stop::Abandoned),
                Err(error) if error.is_retryable() => {
                    log::warn!("{}: {what}: {error}; trying again", self.unit);
                    let until = Instant::now() + wait;
                    while Instant::now() < until && !self.control.is_ending() {
                        std::thread::sleep(LOOK_EVERY);
                    }
                    wait = (wait * 2).min(Duration::from_secs(5));
                }
                Err(error) => return Err(Stop::Failed(error)),
            }
        }
    }

    fn restore(&self, mut store: Box<dyn Store>) -> Result<(Live<'_>, Places, Replay), Stop> {
        let started = Instant::now();
        set_restored(&self.unit, 0.0);
        let cancelled = || self.control.is_ending();
        let recovered = self.patiently("restoring", || store.recover(&cancelled))?;
        let format = &self.config.source.format;
        let fields: Vec<Field> = format.columns.iter().map(|column| Field::new(column, DataType::Null, true)).collect();
        let make = Arc::clone(&self.config.make_operator);
        let mut learners = Learners::new(&self.unit, make, Schema::new(fields), self.config.most_keyed)?;
        let mut reader = (self.config.open_format)()?;
        if let Some(state) = &recovered.state {
            learners.restore(state)?;
        }
        if let Some(columns) = &recovered.columns {
            reader.restore(columns)?;
        }
        let ends = CompactedReader::new(&self.config.source.connection, self.config.patience)?;
        let (mut positions, mut committed) = (recovered.positions.clone(), recovered.committed.clone());
        let mut places = Vec::with_capacity(self.partitions.len());
        // Where a learner begins, or goes on past rows that are gone, does not follow from offsets: it is written down at
        // once. A replay would not know, and one that was killed before its first rows would begin elsewhere.
        let mut must_save = false;
        for partition in &self.partitions {
            let name = partition.name();
            let known = Known {
                state: recovered.found.then(|| recovered.positions.0.get(&*name).copied()).flatten(),
                committed: recovered.committed.0.get(&*name).copied(),
            };
            let found = self.patiently("finding where to begin", || {
                place(&self.config.source, partition, known, &self.config.first_look, &ends, &self.group)
            })?;
            must_save |= known.state.is_none() || known.committed.is_none_or(|known| known < found.committed);
            positions.advance(&name, found.from);
            committed.advance(&name, found.committed);
            places.push((partition.clone(), found));
        }
        let replay = Replay::new(&recovered.steps, &positions, &committed);
        let ours: Vec<_> = places.iter().map(|(partition, place)| format!("{partition}@{}", place.committed)).collect();
        log::info!(
            "{}: restored in {:.1} s; going on at {}{}",
            self.unit,
            started.elapsed().as_secs_f64(),
            ours.join(", "),
            if replay.is_done() { "" } else { " after a silent replay" }
        );
        metrics::histogram!("lightcl_restore_seconds").record(started.elapsed());
        set_restored(&self.unit, if replay.is_done() { 1.0 } else { 0.5 });
        let mut live = Live {
            worker: self,
            store,
            learners,
            format: reader,
            positions,
            committed,
            committed_at: Instant::now(),
            unsaved_rows: 0,
            saved_at: Instant::now(),
            must_save,
            rows: 0,
            unsent: false,
            waiting_since: None,
            last_partition: self.partitions.first().map(TopicPartition::name),
            made: BTreeMap::new(),
        };
        self.control.set_committed(&live.committed, &live.made);
        live.look_who_waits(0);
        Ok((live, places, replay))
    }
}

/// What to do when nothing can be committed.
fn not_committed(failure: Failure) -> Stop {
    match failure {
        Failure::NotMember(error) | Failure::Fenced(error) => Stop::Displaced(error),
        Failure::Refused(error) => Stop::Failed(error),
        Failure::Again(_) | Failure::Unknown(_) => Stop::Abandoned,
    }
}

impl Live<'_> {
    /// Takes replayed records as they were taken before, then what came with them as new.
    fn replay(&mut self, replay: &mut Replay) -> Result<(), Stop> {
        if replay.is_done() {
            return Ok(());
        }
        while let Some(step) = replay.next(&mut self.positions) {
            match step {
                crate::replay::Next::Records(block) => self.take(&block, true)?,
                crate::replay::Next::CloseWindow => {
                    let outputs = self.learners.close_windows(self.store.as_mut())?;
                    self.emit(outputs, 0, true, None, Duration::ZERO)?;
                }
            }
            set_restored(&self.worker.unit, 0.5 + replay.progress(&self.positions) / 2.0);
            if self.worker.control.is_ending() {
                return Ok(());
            }
            if self.store.pressure() == Pressure::Commit {
                // Parked states alone: they may stand behind what is committed with them, and are held until then.
                self.store.commit(&self.committed, None).map_err(not_committed)?;
            }
            self.worker.config.health.progress();
        }
        for block in replay.rest() {
            self.take(&block, false)?;
        }
        self.look_who_waits(0);
        if replay.is_done() {
            set_restored(&self.worker.unit, 1.0);
        }
        Ok(())
    }

    /// Takes records in; those of a replay give no output.
    fn take(&mut self, block: &RecordBlock, out: bool) -> Result<(), Stop> {
        let started = Instant::now();
        let (worker, format) = (self.worker, &mut self.format);
        let Rows { batch, records, faults, skipped } = worker.patiently("reading records", || format.read(block))?;
        let partition = TopicPartition { topic: Arc::clone(block.topic()), partition: block.partition() }.name();
        let offset = |record: usize| block.record(record).offset.max(0) as u64;
        let last = block.len().checked_sub(1);
        let next = last.map_or(0, |last| offset(last) + 1);
        let offsets: Arc<[u64]> = records.iter().map(|&record| offset(record)).collect();
        let rows = offsets.len();
        let keys: Vec<String> = if self.learners.is_keyed() {
            records.iter().map(|&record| unit_names::of_key(block.record(record).key)).collect()
        } else {
            Vec::new()
        };
        let batch = PositionedBatch {
            batch,
            partition: Arc::clone(&partition),
            offsets: RowOffsets::Listed { offsets, next },
            faults,
        };
        let outputs = self.learners.push(&batch, &keys, self.store.as_mut())?;
        self.positions.advance(&partition, next);
        self.emit(outputs, rows, out, Some(block), started.elapsed())?;
        metrics::counter!("lightcl_tombstones_skipped_total").increment(skipped);
        if !out {
            self.store.took(&partition, next, false);
            self.rows += rows as u64;
        }
        self.unsaved_rows += rows as u64;
        if let Some(made) = last.and_then(|last| block.record(last).timestamp_ms) {
            self.made.insert(Arc::clone(&partition), made);
        }
        self.last_partition = Some(partition);
        self.look_who_waits(rows);
        Ok(())
    }

    /// Takes note since when rows wait; `rows` came just now.
    fn look_who_waits(&mut self, rows: usize) {
        if self.worker.config.source.max_wait.is_none() {
            return;
        }
        self.waiting_since = match self.learners.waiting_rows(self.store.as_mut()) {
            0 => None,
            waiting if waiting <= rows => Some(Instant::now()),
            _ => self.waiting_since.or_else(|| Some(Instant::now())),
        };
    }

    fn emit(
        &mut self,
        outputs: Vec<(Arc<str>, Vec<Output>)>,
        rows: usize,
        out: bool,
        block: Option<&RecordBlock>,
        elapsed: Duration,
    ) -> Result<()> {
        let none = RecordBlock::new("", 0);
        for (number, (learner, outputs)) in outputs.into_iter().enumerate() {
            if !out {
                let observer = &self.worker.config.observer;
                // Rows and time are those of all learners together, and told once.
                let (rows, elapsed) = if number == 0 { (rows, elapsed) } else { (0, Duration::ZERO) };
                observer.pushed(&learner, self.learners.only(), rows, &outputs, elapsed);
            }
            for output in outputs {
                self.must_save |= !out && matches!(output, Output::Boundary(_));
                self.unsent |= !out;
                self.store.add(&learner, output, block.unwrap_or(&none), out)?;
            }
        }
        Ok(())
    }

    /// Closes the open window when its rows have waited for too long.
    fn close_window_when_late(&mut self) -> Result<(), Stop> {
        let Some(most) = self.worker.config.source.max_wait else { return Ok(()) };
        if self.waiting_since.is_none_or(|since| since.elapsed() < most) {
            return Ok(());
        }
        self.waiting_since = None;
        if self.learners.is_keyed() {
            // Which windows were open depends on who was parked when: the states go along, so that no replay has to know.
            return self.each_learner(Learners::close_windows);
        }
        let started = Instant::now();
        let outputs = self.learners.close_windows(self.store.as_mut())?;
        self.emit(outputs, 0, false, None, started.elapsed())?;
        if let Some(partition) = &self.last_partition {
            self.store.took(partition, self.positions.next(partition), true);
        }
        // The rows may have been saved while they waited: what they taught has not.
        self.unsaved_rows = self.unsaved_rows.max(1);
        Ok(())
    }

    /// Does something with the learner of each key, and saves: some of them a time, since what they give is held.
    fn each_learner(
        &mut self,
        work: impl Fn(&mut Learners, &mut dyn Parking) -> Result<Vec<(Arc<str>, Vec<Output>)>>,
    ) -> Result<(), Stop> {
        loop {
            let started = Instant::now();
            let outputs = work(&mut self.learners, self.store.as_mut())?;
            if outputs.is_empty() {
                return Ok(());
            }
            self.emit(outputs, 0, false, None, started.elapsed())?;
            self.must_save = true;
            self.commit(true)?;
            self.worker.config.health.progress();
        }
    }

    fn commit_when_due(&mut self) -> Result<(), Stop> {
        let config = &self.worker.config;
        let CheckpointConfig { every_samples, every } = config.checkpoints;
        let pressure = self.store.pressure();
        let save = self.must_save
            || pressure == Pressure::Checkpoint
            || (every_samples > 0 && self.unsaved_rows >= every_samples)
            || (self.unsaved_rows > 0 && every.is_some_and(|every| self.saved_at.elapsed() >= every));
        if save || pressure > Pressure::None || self.committed_at.elapsed() >= config.commit {
            self.commit(save || config.always_save)?;
        }
        Ok(())
    }

    /// Commits what there is, with the state where `save` asks for it.
    fn commit(&mut self, save: bool) -> Result<(), Stop> {
        let save = save && (self.unsaved_rows > 0 || self.must_save);
        let nothing_new = self.positions == self.committed && !self.unsent;
        if nothing_new && !save && self.store.pressure() == Pressure::None {
            self.committed_at = Instant::now();
            return Ok(());
        }
        let started = Instant::now();
        let saved = if save {
            let state = self.learners.save(self.store.as_mut())?;
            Some(Saved { state, columns: self.format.save()? })
        } else {
            None
        };
        let committed = self.store.commit(&self.positions, saved).map_err(not_committed)?;
        log::debug!(
            "{}: commit {:?}{} in {:?}",
            self.worker.unit,
            self.positions.0,
            if save { " with state" } else { "" },
            started.elapsed()
        );
        self.committed = self.positions.clone();
        self.worker.control.set_committed(&self.committed, &self.made);
        (self.committed_at, self.unsent) = (Instant::now(), false);
        if save {
            (self.unsaved_rows, self.must_save, self.saved_at) = (0, false, Instant::now());
        }
        let observer = &self.worker.config.observer;
        observer.committed(&self.worker.unit, committed.output_bytes, committed.state_bytes, started.elapsed());
        Ok(())
    }

    /// All input was read: the last rows are learnt, the last figures taken, and all is saved.
    fn finish(&mut self) -> Result<(), Stop> {
        if self.learners.is_keyed() {
            self.each_learner(Learners::finish)?;
            return self.commit(true);
        }
        let started = Instant::now();
        let outputs = self.learners.finish(self.store.as_mut())?;
        if outputs.iter().any(|(_, outputs)| !outputs.is_empty()) {
            self.must_save = true;
        }
        self.emit(outputs, 0, false, None, started.elapsed())?;
        self.commit(true)
    }

    fn report(&self) -> Result<UnitReport> {
        Ok(UnitReport {
            unit: self.worker.unit.to_string(),
            summary: self.learners.only().map(Operator::summary).transpose()?,
            rows: self.rows,
            positions: self.committed.clone(),
        })
    }
}
