//! The units of this instance: which partitions they read, and the workers they have.

use crate::config::{Scope, Topics};
use crate::control::{Control, Wish};
use crate::group::{Assignments, Group, GroupContext};
use crate::job::pause;
use crate::lag::Place;
use crate::outbox::TopicPartition;
use crate::router::{Queue, most_waiting};
use crate::unit_names::GLOBAL;
use crate::worker::{Ended, FromWorker, StoreFor, ToWorker, UnitReport, Worker, WorkerConfig};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use lightcl_core::{Error, Result};
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::{BorrowedMessage, Message};
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Blocks of records in a worker's channel.
const CHANNEL_BLOCKS: usize = 4;
/// Time before a unit that was displaced begins again; long enough for the group to notice a member that is gone.
const RESTART_AFTER: Duration = Duration::from_secs(3);
/// So many displacements in [`DISPLACED_WITHIN`] are no coincidence.
const MOST_DISPLACEMENTS: usize = 5;
const DISPLACED_WITHIN: Duration = Duration::from_secs(600);
/// How long a new instance waits for all partitions, and one that had them for having them back.
const ALL_WITHIN: Duration = Duration::from_secs(15);
const BACK_WITHIN: Duration = Duration::from_secs(90);

/// What the polling thread is to do.
pub enum Command {
    /// Read from these offsets on.
    Read(Vec<(TopicPartition, u64)>),
    /// Read no more for now.
    Pause(Vec<TopicPartition>),
}

/// The units; the polling thread and the callbacks on it are the only users.
pub struct Units {
    scope: Scope,
    config: Arc<WorkerConfig>,
    group: Group,
    make_store: Arc<StoreFor>,
    tell: Sender<FromWorker>,
    told: Receiver<FromWorker>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    units: Vec<Unit>,
    queues: Vec<Queue>,
    /// Number of the next worker.
    workers: u64,
    was_assigned: bool,
    /// An error of a callback, for the polling thread.
    error: Option<Error>,
    failed: Vec<(String, Error)>,
    reports: Vec<UnitReport>,
    /// Since when not all partitions are here, and whether they ever were.
    incomplete_since: Option<Instant>,
    was_complete: bool,
}

struct Unit {
    name: Arc<str>,
    partitions: Vec<TopicPartition>,
    worker: u64,
    control: Arc<Control>,
    sender: Sender<ToWorker>,
    thread: Option<JoinHandle<()>>,
    phase: Phase,
    displaced: VecDeque<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Restoring,
    Running,
    /// All was read; the worker is told.
    Ending,
    Finished,
    Displaced(Instant),
    Failed,
}

impl Units {
    /// No units yet.
    pub fn new(scope: Scope, config: Arc<WorkerConfig>, group: Group, make_store: Arc<StoreFor>) -> Self {
        let (tell, told) = unbounded();
        Units { scope, config, group, make_store, tell, told, inner: Mutex::new(Inner::default()) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker for a unit, on a thread of its own.
    fn spawn(&self, inner: &mut Inner, name: &Arc<str>, partitions: &[TopicPartition]) -> Unit {
        let (sender, inbox) = bounded(CHANNEL_BLOCKS);
        let control = Arc::new(Control::default());
        inner.workers += 1;
        let worker = Worker {
            number: inner.workers,
            unit: Arc::clone(name),
            partitions: partitions.to_vec(),
            config: Arc::clone(&self.config),
            group: self.group.clone(),
            control: Arc::clone(&control),
            inbox,
            tell: self.tell.clone(),
        };
        let make_store = Arc::clone(&self.make_store);
        let thread = std::thread::Builder::new().name(name.to_string()).spawn(move || worker.run(make_store.as_ref()));
        let thread = match thread {
            Ok(thread) => Some(thread),
            Err(error) => {
                inner.error.get_or_insert(Error::external("cannot start a thread").caused_by(error));
                None
            }
        };
        self.config.health.clear_unit(name);
        Unit {
            name: Arc::clone(name),
            partitions: partitions.to_vec(),
            worker: inner.workers,
            control,
            sender,
            thread,
            phase: Phase::Restoring,
            displaced: VecDeque::new(),
        }
    }

    /// Copies a message to the queue of its partition.
    pub fn route(&self, message: &BorrowedMessage<'_>) {
        let mut inner = self.inner();
        let found = inner.queues.iter_mut().find(|queue| {
            queue.partition.partition == message.partition() && *queue.partition.topic == *message.topic()
        });
        if let Some(queue) = found {
            queue.push(message);
        }
    }

    /// Hands records on to the workers; pauses partitions whose workers are behind, and gives those whose workers are not any
    /// more, with the offset to go on from.
    ///
    /// # Errors
    /// What a callback met, or when the client does not pause.
    pub fn hand_on(&self, consumer: &BaseConsumer<GroupContext>) -> Result<Vec<(TopicPartition, u64)>> {
        let mut inner = self.inner();
        let Inner { units, queues, error, .. } = &mut *inner;
        if let Some(error) = error.take() {
            return Err(error);
        }
        let (mut paused, mut resumed) = (Vec::new(), Vec::new());
        let most_waiting = most_waiting(queues.len());
        for queue in queues.iter_mut().filter(|queue| queue.next.is_some()) {
            let Some(unit) = units.iter().find(|unit| unit.partitions.contains(&queue.partition)) else { continue };
            queue.hand_on(&unit.sender);
            let is_behind = queue.is_behind(most_waiting);
            if queue.is_paused != is_behind {
                queue.is_paused = is_behind;
                match queue.next {
                    Some(next) if !is_behind => resumed.push((queue.partition.clone(), next)),
                    _ => paused.push(queue.partition.clone()),
                }
            }
        }
        drop(inner);
        if !paused.is_empty() || !resumed.is_empty() {
            let resumed: Vec<_> = resumed.iter().map(|(partition, _)| partition.clone()).collect();
            log::debug!("workers behind: {}; not any more: {}", names(&paused), names(&resumed));
        }
        if !paused.is_empty() {
            metrics::counter!("lightcl_kafka_pauses_total").increment(paused.len() as u64);
            pause(consumer, paused.iter())?;
        }
        Ok(resumed)
    }

    /// What workers have told, as far as the consumer has to do something.
    pub fn news(&self) -> Result<Vec<Command>> {
        let mut commands = Vec::new();
        for news in self.told.try_iter() {
            let mut inner = self.inner();
            let Inner { units, queues, failed, reports, .. } = &mut *inner;
            let number = match &news {
                FromWorker::Start { worker, .. } | FromWorker::Ended { worker, .. } => *worker,
            };
            let Some(unit) = units.iter_mut().find(|unit| unit.worker == number) else {
                // Its partitions are gone; what it had to show still counts.
                if let FromWorker::Ended { how: Ended::Wished(Some(report)) | Ended::Finished(report), .. } = news {
                    reports.push(*report);
                }
                continue;
            };
            match news {
                FromWorker::Start { places, .. } => {
                    unit.phase = Phase::Running;
                    commands.push(Command::Read(places));
                }
                FromWorker::Ended { how, .. } => {
                    for queue in queues.iter_mut().filter(|queue| unit.partitions.contains(&queue.partition)) {
                        queue.next = None;
                    }
                    if unit.phase != Phase::Ending {
                        commands.push(Command::Pause(unit.partitions.clone()));
                    }
                    match how {
                        Ended::Wished(None) if unit.control.wish() == Wish::Run => {
                            unit.phase = Phase::Displaced(Instant::now());
                        }
                        Ended::Wished(report) => reports.extend(report.map(|report| *report)),
                        Ended::Finished(report) => {
                            reports.push(*report);
                            unit.phase = Phase::Finished;
                        }
                        Ended::Displaced(error) => match unit.displaced_by(&error) {
                            None => log::warn!("{}: {error}; beginning again from what is committed", unit.name),
                            Some(error) => self.fail(unit, failed, error),
                        },
                        Ended::Failed(error) => self.fail(unit, failed, error),
                    }
                }
            }
        }
        Ok(commands)
    }

    fn fail(&self, unit: &mut Unit, failed: &mut Vec<(String, Error)>, error: Error) {
        log::error!("{} stops: {error}{}", unit.name, causes(&error));
        metrics::counter!("lightcl_kafka_stopped_units_total").increment(1);
        self.config.health.stop_unit(&unit.name, error.message());
        unit.phase = Phase::Failed;
        failed.push((unit.name.to_string(), error));
    }

    /// Begins the unit that reads a partition again, from what is committed: its records are gone, and what is to be done
    /// is decided where a unit begins.
    pub fn begin_again(&self, partition: &TopicPartition) {
        let mut inner = self.inner();
        let is_its = |unit: &Unit| unit.partitions.contains(partition) && unit.phase == Phase::Running;
        let Some(index) = inner.units.iter().position(is_its) else { return };
        let unit = inner.units.swap_remove(index);
        let (name, partitions, displaced) = (Arc::clone(&unit.name), unit.partitions.clone(), unit.displaced.clone());
        inner
            .queues
            .iter_mut()
            .filter(|queue| partitions.contains(&queue.partition))
            .for_each(|queue| queue.next = None);
        drop(inner);
        end(vec![unit], Wish::Drain);
        let mut inner = self.inner();
        let unit = self.spawn(&mut inner, &name, &partitions);
        inner.units.push(Unit { displaced, ..unit });
    }

    /// Records of these partitions count from these offsets on.
    pub fn begin(&self, places: &[(TopicPartition, u64)]) {
        let mut inner = self.inner();
        for queue in &mut inner.queues {
            if let Some((_, from)) = places.iter().find(|(partition, _)| *partition == queue.partition) {
                queue.begin(*from);
                queue.is_paused = false;
            }
        }
    }

    /// Begins displaced units again, when their time has come.
    pub fn restart_displaced(&self) {
        let mut inner = self.inner();
        for index in 0..inner.units.len() {
            let unit = &inner.units[index];
            if let Phase::Displaced(at) = unit.phase
                && at.elapsed() >= RESTART_AFTER
                // Not as long as this instance is no member: somebody else may have the partitions by now.
                && self.group.metadata().is_some()
            {
                let (name, partitions) = (Arc::clone(&unit.name), unit.partitions.clone());
                let displaced = unit.displaced.clone();
                let unit = self.spawn(&mut inner, &name, &partitions);
                inner.units[index] = Unit { displaced, ..unit };
            }
        }
    }

    /// With one learner for all partitions: begins it when all are here, and gives up when they do not come.
    ///
    /// # Errors
    /// When another instance has some of them.
    pub fn require_all_partitions(&self, consumer: &BaseConsumer<GroupContext>, topics: &Topics) -> Result<()> {
        if self.scope != Scope::Global {
            return Ok(());
        }
        let mut inner = self.inner();
        // Before it is a member, others may just not have heard yet of one that is gone.
        if !inner.units.is_empty() || self.group.metadata().is_none() {
            return Ok(());
        }
        let here: Vec<TopicPartition> = inner.queues.iter().map(|queue| queue.partition.clone()).collect();
        let names: BTreeSet<Arc<str>> = match topics {
            Topics::Names(names) => names.iter().map(|name| name.as_str().into()).collect(),
            Topics::Pattern(_) => here.iter().map(|partition| Arc::clone(&partition.topic)).collect(),
        };
        let mut expected = 0;
        for name in &names {
            expected += match crate::compacted::partition_count(consumer, name) {
                Ok(count) => count as usize,
                Err(error) if error.is_retryable() => {
                    log::warn!("{error}; trying again");
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
        }
        if !here.is_empty() && here.len() == expected {
            (inner.incomplete_since, inner.was_complete) = (None, true);
            let mut partitions = here;
            partitions.sort_unstable();
            let unit = self.spawn(&mut inner, &GLOBAL.into(), &partitions);
            inner.units.push(unit);
            return Ok(());
        }
        let since = *inner.incomplete_since.get_or_insert_with(Instant::now);
        let patience = if inner.was_complete { BACK_WITHIN } else { ALL_WITHIN };
        if since.elapsed() < patience {
            return Ok(());
        }
        Err(Error::user(
            "learner.scope = \"global\" means one learner that reads all partitions in one order, so one instance: another \
             member of the group has some of them. Stop the other instance, use another group, or choose \
             scope = \"partition\" or \"key\"",
        )
        .with("partitions here", here.len())
        .with("partitions in all", expected))
    }

    /// Partitions that are being read, and the offset to be read next.
    pub fn reading(&self) -> Vec<(TopicPartition, u64)> {
        self.inner().queues.iter().filter_map(|queue| Some((queue.partition.clone(), queue.next?))).collect()
    }

    /// All partitions that are assigned, and up to where they are committed.
    pub fn places(&self) -> Vec<Place> {
        let inner = self.inner();
        let place = |queue: &Queue| {
            let unit = inner.units.iter().find(|unit| unit.partitions.contains(&queue.partition));
            (queue.partition.clone(), unit.and_then(|unit| unit.control.committed(&queue.partition.name())))
        };
        inner.queues.iter().map(place).collect()
    }

    /// Partitions that were not read to their ends, and where reading stands.
    pub fn not_ended(&self) -> Vec<(TopicPartition, u64)> {
        let inner = self.inner();
        let open = inner.queues.iter().filter(|queue| !queue.has_ended && queue.is_empty());
        open.filter_map(|queue| Some((queue.partition.clone(), queue.next?))).collect()
    }

    /// A partition was read to its end.
    pub fn ended(&self, partition: &TopicPartition) {
        log::debug!("{partition} was read to its end");
        let mut inner = self.inner();
        if let Some(queue) = inner.queues.iter_mut().find(|queue| queue.partition == *partition) {
            queue.has_ended = true;
        }
    }

    /// Tells units all of whose partitions were read to their ends, as far as their channels have room.
    pub fn tell_ends(&self) {
        let mut inner = self.inner();
        let Inner { units, queues, .. } = &mut *inner;
        for unit in units.iter_mut().filter(|unit| unit.phase == Phase::Running) {
            let mut ours = queues.iter().filter(|queue| unit.partitions.contains(&queue.partition));
            if ours.all(|queue| queue.has_ended && queue.is_empty()) && unit.sender.try_send(ToWorker::End).is_ok() {
                unit.phase = Phase::Ending;
            }
        }
    }

    /// Whether there were units, and all have read their input or failed.
    pub fn all_finished(&self) -> bool {
        let inner = self.inner();
        !inner.units.is_empty() && inner.units.iter().all(|unit| matches!(unit.phase, Phase::Finished | Phase::Failed))
    }

    /// Whether there were units, and none can go on.
    pub fn all_failed(&self) -> bool {
        let inner = self.inner();
        !inner.units.is_empty() && inner.units.iter().all(|unit| unit.phase == Phase::Failed)
    }

    /// Whether partitions were assigned and their states are there and brought forward.
    pub fn is_ready(&self) -> bool {
        let inner = self.inner();
        inner.was_assigned
            && inner.units.iter().all(|unit| match unit.phase {
                Phase::Restoring | Phase::Displaced(_) => false,
                Phase::Running | Phase::Ending => unit.control.has_caught_up(),
                Phase::Finished | Phase::Failed => true,
            })
    }

    /// Whether no unit learns now: nothing is assigned, or states are being restored (which watches itself).
    pub fn nobody_learns(&self) -> bool {
        self.inner().units.iter().all(|unit| !matches!(unit.phase, Phase::Running | Phase::Ending))
    }

    /// Lets all units commit and end.
    pub fn end_all(&self) {
        let mut inner = self.inner();
        let units = std::mem::take(&mut inner.units);
        drop(inner);
        end(units, Wish::Drain);
        // What they had to show.
        let _ = self.news();
    }

    /// What units had to show, and those that failed.
    pub fn reports(&self) -> (Vec<UnitReport>, Vec<(String, Error)>) {
        let mut inner = self.inner();
        let mut reports = std::mem::take(&mut inner.reports);
        // Of a unit that was here more than once, the last; rows of all of them.
        let mut units: Vec<UnitReport> = Vec::new();
        for report in reports.drain(..) {
            match units.iter_mut().find(|unit| unit.unit == report.unit) {
                Some(unit) => *unit = UnitReport { rows: unit.rows + report.rows, ..report },
                None => units.push(report),
            }
        }
        units.sort_unstable_by(|left, right| left.unit.cmp(&right.unit));
        (units, std::mem::take(&mut inner.failed))
    }
}

impl Unit {
    /// Takes note that somebody else took over; an error when that happens again and again.
    fn displaced_by(&mut self, error: &Error) -> Option<Error> {
        let now = Instant::now();
        self.displaced.retain(|at| at.elapsed() < DISPLACED_WITHIN);
        self.displaced.push_back(now);
        self.phase = Phase::Displaced(now);
        metrics::counter!("lightcl_kafka_displacements_total").increment(1);
        (self.displaced.len() >= MOST_DISPLACEMENTS).then(|| {
            Error::user(
                "another producer takes over this unit's transactional id again and again: two jobs have the same \
                 sink.transactional_prefix. Give each job one of its own",
            )
            .with("unit", &self.name)
            .with("last", error)
        })
    }
}

/// Wishes that units end, and waits for it.
fn end(units: Vec<Unit>, wish: Wish) {
    for unit in &units {
        unit.control.set(wish);
    }
    for unit in units {
        if let Some(thread) = unit.thread
            && thread.join().is_err()
        {
            log::error!("{}: its thread died", unit.name);
        }
    }
}

fn names(partitions: &[TopicPartition]) -> String {
    if partitions.is_empty() {
        return "none".to_owned();
    }
    partitions.iter().map(TopicPartition::to_string).collect::<Vec<_>>().join(", ")
}

fn causes(error: &Error) -> String {
    let mut text = String::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

impl Assignments for Units {
    fn assigned(&self, partitions: &[TopicPartition]) {
        metrics::counter!("lightcl_kafka_rebalances_total").increment(1);
        log::info!("assigned: {}", names(partitions));
        let mut inner = self.inner();
        inner.was_assigned = true;
        for partition in partitions {
            inner.queues.push(Queue::new(partition.clone()));
        }
        match self.scope {
            Scope::Global => {
                // Its learner begins when all partitions are here; one that has fewer ends.
                if !partitions.is_empty() {
                    let units = std::mem::take(&mut inner.units);
                    inner.queues.iter_mut().for_each(|queue| queue.next = None);
                    drop(inner);
                    end(units, Wish::Drain);
                }
            }
            Scope::Partition | Scope::Key { .. } => {
                for partition in partitions {
                    let unit = self.spawn(&mut inner, &partition.name(), std::slice::from_ref(partition));
                    inner.units.push(unit);
                }
            }
        }
    }

    fn revoked(&self, partitions: &[TopicPartition], lost: bool) {
        if !partitions.is_empty() {
            log::info!("{}: {}", if lost { "lost" } else { "given away" }, names(partitions));
        }
        let mut inner = self.inner();
        let (gone, kept): (Vec<Unit>, Vec<Unit>) = std::mem::take(&mut inner.units)
            .into_iter()
            .partition(|unit| unit.partitions.iter().any(|partition| partitions.contains(partition)));
        inner.units = kept;
        inner.queues.retain(|queue| !partitions.contains(&queue.partition));
        drop(inner);
        // Learners are gone before this returns: nobody else may have the partitions while they are at work.
        end(gone, if lost { Wish::Abandon } else { Wish::Drain });
    }

    fn failed(&self, error: Error) {
        self.inner().error.get_or_insert(error);
    }
}
