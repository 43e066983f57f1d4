//! A job: the consumer on its own thread, which is the one that calls [`Job::run`], and a worker for each unit.

use crate::claims::ClaimStore;
use crate::client::{CALL_TIMEOUT, Context, client_config, give_token, is_transient, kafka_error, set_default};
use crate::compacted::{CompactedReader, partition_count};
use crate::config::{CheckpointConfig, Scope, SinkConfig, SourceConfig, Topics};
use crate::ends::Ends;
use crate::group::{Assignments, Group, GroupContext};
use crate::health::Health;
use crate::kafka_store::{KafkaStore, KafkaStoreConfig};
use crate::lag::LagReporter;
use crate::learners::OperatorFactory;
use crate::outbox::TopicPartition;
use crate::predictions::PredictionSchema;
use crate::refusals::{forbidden, metadata};
use crate::sink_store::{SinkStore, no_parking};
use crate::start::FirstLook;
use crate::store::Store;
use crate::topics::is_compacted;
use crate::units::{Command, Units};
use crate::worker::{FormatOpener, Observer, StoreFor, UnitReport, Worker, WorkerConfig};
use lightcl_core::{Error, Result, Sink};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Longest wait for a message; also how long outputs of other threads may wait to be noticed.
const POLL: Duration = Duration::from_millis(20);
/// Messages taken before they are handed on.
const POLLED_TOGETHER: usize = 8192;
/// `max.poll.interval.ms` where the user does not say otherwise.
const MAX_POLL_INTERVAL_MS: u64 = 300_000;

/// Opens the sink of a unit.
pub type SinkFactory = dyn Fn(&str) -> Result<Box<dyn Sink>> + Send + Sync;

/// Where outputs and state go.
#[expect(clippy::large_enum_variant, reason = "there is one a job")]
pub enum Target {
    /// To Kafka.
    Kafka(SinkConfig),
    /// Elsewhere: one sink a unit, which holds positions and state too.
    Sinks(Arc<SinkFactory>),
}

/// A job that reads Kafka.
pub struct Job {
    /// What is read.
    pub source: SourceConfig,
    /// Where outputs and state go.
    pub target: Target,
    /// Which rows share a learner.
    pub scope: Scope,
    /// When state is saved.
    pub checkpoints: CheckpointConfig,
    /// Name of the model.
    pub model_id: String,
    /// Hash of the configuration that decides what is learnt.
    pub config_sha256: String,
    /// Whether to start new learners and leave what was committed alone.
    pub fresh: bool,
    /// Opens readers of records.
    pub open_format: Box<FormatOpener>,
    /// Makes operators.
    pub make_operator: Arc<OperatorFactory>,
    /// Set it to stop cleanly.
    pub stop: Arc<AtomicBool>,
    /// Where it is said that all is well.
    pub health: Arc<Health>,
    /// Who looks on.
    pub observer: Arc<dyn Observer>,
}

/// How a job ended.
#[derive(Debug)]
pub struct Finished {
    /// Whether the stop flag ended it.
    pub stopped: bool,
    /// What the units had to show that this process worked on at the end.
    pub units: Vec<UnitReport>,
    /// Units that could not go on, and why.
    pub failed: Vec<(String, Error)>,
}

impl Job {
    /// Reads until the input ends (with `until_end`), the stop flag is set, or nothing can go on any more. Calls from the
    /// group come on this thread.
    ///
    /// # Errors
    /// When the brokers refuse what is asked, or no unit can go on (the error is the first one's).
    pub fn run(self) -> Result<Finished> {
        let client = consumer_config(&self.source)?;
        let patience = Duration::from_millis(
            client.get("max.poll.interval.ms").and_then(|ms| ms.parse().ok()).unwrap_or(MAX_POLL_INTERVAL_MS) * 4 / 5,
        );
        let ends = CompactedReader::new(&self.source.connection, patience)?;
        let Job { source, target, scope, checkpoints, model_id, config_sha256, fresh, stop, health, observer, .. } =
            self;
        let group = Group::default();
        let run = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
        let commit = match &target {
            Target::Kafka(sink) => sink.commit,
            Target::Sinks(_) if matches!(scope, Scope::Key { .. }) => return Err(no_parking()),
            Target::Sinks(_) => Duration::from_secs(1),
        };
        let shared = Arc::new(WorkerConfig {
            source: source.clone(),
            open_format: self.open_format,
            make_operator: self.make_operator,
            most_keyed: match scope {
                Scope::Key { most_learners } => Some(most_learners),
                Scope::Partition | Scope::Global => None,
            },
            checkpoints,
            always_save: has_compacted_input(&source),
            commit,
            patience,
            first_look: FirstLook::default(),
            observer,
            health: Arc::clone(&health),
        });
        let make_store: Arc<StoreFor> = match target {
            Target::Kafka(sink) => {
                let claims = sink.claim_check.as_ref().map(ClaimStore::open).transpose()?.map(Arc::new);
                let config = Arc::new(KafkaStoreConfig {
                    sink,
                    model_id,
                    config_sha256,
                    run,
                    fresh,
                    patience,
                    claims,
                    prediction_schema: PredictionSchema::default(),
                });
                Arc::new(move |worker: &Worker| {
                    let store = KafkaStore::new(
                        Arc::clone(&config),
                        &worker.unit,
                        &worker.partitions,
                        worker.group.clone(),
                        Arc::clone(&worker.control),
                    )?;
                    Ok(Box::new(store) as Box<dyn Store>)
                })
            }
            Target::Sinks(make) => Arc::new(move |worker: &Worker| {
                let store = SinkStore::new(make(&worker.unit)?, &worker.partitions, worker.group.clone());
                Ok(Box::new(store) as Box<dyn Store>)
            }),
        };
        let units = Arc::new(Units::new(scope, shared, group.clone(), make_store));
        let context = GroupContext::new(Context::of(&source.connection), Arc::clone(&units) as Arc<dyn Assignments>);
        let consumer: BaseConsumer<GroupContext> = client
            .create_with_context(context)
            .map_err(|error| kafka_error("cannot make a consumer; see [source]", error))?;
        give_token(consumer.client(), &source.connection)?;
        let consumer = Arc::new(consumer);
        group.set(&consumer);
        subscribe(&consumer, &source.topics)?;
        let mut polling = Polling {
            until: None,
            look_at: None,
            lag_at: Instant::now(),
            lag: LagReporter::start(&source.connection, patience)?,
            source: &source,
            consumer: &consumer,
            units: &units,
            ends: &ends,
            health: &health,
        };
        let result = polling.run(&stop);
        // Whatever ended it: what is at work commits, and the group hears that we leave.
        units.end_all();
        polling.consumer.unsubscribe();
        let deadline = Instant::now() + CALL_TIMEOUT;
        while consumer.assignment().is_ok_and(|list| list.count() > 0) && Instant::now() < deadline {
            consumer.poll(POLL);
        }
        drop(consumer);
        health.set_ready(false);
        let (units, failed) = units.reports();
        let stopped = result?;
        if units.is_empty() {
            let count = failed.len();
            let mut failed = failed.into_iter();
            if let Some((unit, error)) = failed.next() {
                return Err(error.with("unit", unit).with("units that failed", count));
            }
            return Ok(Finished { stopped, units, failed: Vec::new() });
        }
        Ok(Finished { stopped, units, failed })
    }
}

/// Whether records that were learnt from may be gone when they are to be taken again: then every commit saves the state.
fn has_compacted_input(source: &SourceConfig) -> bool {
    let Topics::Names(names) = &source.topics else { return false };
    names.iter().any(|topic| match is_compacted(&source.connection, topic) {
        Ok(Some(true)) => {
            log::warn!(
                "'{topic}' is compacted: records with a key that comes again go away, so that the state is saved with every \
                 commit; a topic with cleanup.policy=delete is cheaper"
            );
            true
        }
        Ok(Some(false)) => false,
        Ok(None) => {
            log::info!("whether '{topic}' is compacted is not shown to this user (ACL DescribeConfigs); taken as not");
            false
        }
        Err(error) => {
            log::warn!("whether '{topic}' is compacted cannot be seen: {error}; taken as not");
            false
        }
    })
}

/// The properties of the consumer.
fn consumer_config(source: &SourceConfig) -> Result<ClientConfig> {
    let mut config = client_config(&source.connection)?;
    set_default(&mut config, "session.timeout.ms", "30000");
    // A member that is heard of less often than its session lasts is lost again and again.
    let session = config.get("session.timeout.ms").and_then(|ms| ms.parse::<u64>().ok()).unwrap_or(30_000);
    set_default(&mut config, "heartbeat.interval.ms", &(session / 3).clamp(1, 3000).to_string());
    set_default(&mut config, "max.poll.interval.ms", &MAX_POLL_INTERVAL_MS.to_string());
    set_default(&mut config, "check.crcs", "true");
    // New partitions and topics are noticed within this time.
    set_default(&mut config, "topic.metadata.refresh.interval.ms", "10000");
    // Small machines: what is read ahead counts a partition.
    set_default(&mut config, "queued.max.messages.kbytes", "8192");
    set_default(&mut config, "fetch.queue.backoff.ms", "20");
    set_default(&mut config, "fetch.wait.max.ms", "100");
    config
        .set("group.id", &source.group)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // Never a silent jump: an offset that is not there is an error, with the ways out.
        .set("auto.offset.reset", "error");
    if let Some(instance) = &source.instance {
        config.set("group.instance.id", instance);
    }
    Ok(config)
}

fn subscribe(consumer: &BaseConsumer<GroupContext>, topics: &Topics) -> Result<()> {
    match topics {
        Topics::Names(names) => {
            for name in names {
                // A topic that is not there would only show as silence.
                partition_count(consumer, name)?;
            }
        }
        // Nobody who is not let in would hear of it.
        Topics::Pattern(_) => drop(metadata(consumer, None)?),
    }
    let subscription = topics.subscription();
    consumer
        .subscribe(&subscription.iter().map(String::as_str).collect::<Vec<_>>())
        .map_err(|error| kafka_error("cannot subscribe", error))
}

/// What the polling thread holds.
struct Polling<'a> {
    source: &'a SourceConfig,
    consumer: &'a Arc<BaseConsumer<GroupContext>>,
    units: &'a Arc<Units>,
    ends: &'a CompactedReader,
    health: &'a Health,
    /// The ends to read up to.
    until: Option<Ends<'a>>,
    /// When to look again for offsets that are out of range.
    look_at: Option<Instant>,
    lag_at: Instant,
    lag: LagReporter,
}

impl Polling<'_> {
    /// Gives whether the stop flag ended it.
    fn run(&mut self, stop: &AtomicBool) -> Result<bool> {
        if self.source.until_end {
            self.until = Some(Ends::new(self.source, self.consumer, self.ends)?);
        }
        loop {
            if stop.load(Ordering::Relaxed) {
                return Ok(true);
            }
            self.poll()?;
            if self.look_at.is_some_and(|at| Instant::now() >= at) {
                self.find_out_of_range()?;
            }
            let caught_up = self.units.hand_on(self.consumer)?;
            self.resume(&caught_up)?;
            for command in self.units.news()? {
                self.obey(command)?;
            }
            self.units.restart_displaced();
            self.units.require_all_partitions(self.consumer, &self.source.topics)?;
            self.health.set_ready(self.units.is_ready());
            if self.units.nobody_learns() {
                // An instance without partitions is as healthy as one with them.
                self.health.progress();
            }
            if self.until.is_some() && self.tell_ends()? {
                return Ok(false);
            }
            if self.units.all_failed() {
                return Ok(false);
            }
            if self.lag_at.elapsed() > LAG_EVERY {
                self.lag_at = Instant::now();
                self.lag.report(self.units.places());
            }
        }
    }

    fn poll(&mut self) -> Result<()> {
        let mut wait = POLL;
        for _ in 0..POLLED_TOGETHER {
            match self.consumer.poll(std::mem::take(&mut wait)) {
                None => return Ok(()),
                Some(Ok(message)) => self.units.route(&message),
                Some(Err(error)) => self.take_error(error)?,
            }
        }
        Ok(())
    }

    /// Does what a worker asks for.
    fn obey(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Read(places) => {
                self.resume(&places)?;
                self.units.begin(&places);
                Ok(())
            }
            Command::Pause(partitions) => pause(self.consumer, partitions.iter()),
        }
    }

    /// Resumes partitions at the given offsets. Seeking wakes the thread that fetches; a partition that is only resumed may
    /// wait for a second until that thread looks again.
    fn resume(&self, places: &[(TopicPartition, u64)]) -> Result<()> {
        if places.is_empty() {
            return Ok(());
        }
        self.consumer
            .resume(&list(places.iter().map(|(partition, _)| partition)))
            .map_err(|error| kafka_error("cannot resume partitions", error))?;
        places.iter().try_for_each(|(partition, from)| {
            log::debug!("{partition}: reading from {from}");
            self.seek(partition, *from)
        })
    }

    fn seek(&self, partition: &TopicPartition, from: u64) -> Result<()> {
        let offset = Offset::Offset(i64::try_from(from).unwrap_or(i64::MAX));
        let deadline = Instant::now() + SEEK_WITHIN;
        loop {
            match self.consumer.seek(&partition.topic, partition.partition, offset, CALL_TIMEOUT) {
                Ok(()) => return Ok(()),
                // Just after an assignment the partition is not active yet.
                Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
                // Where reading ended in an error the client takes no seek any more.
                Err(_) => {
                    let mut place = list([partition].into_iter());
                    return self
                        .consumer
                        .incremental_unassign(&place)
                        .and_then(|()| place.set_all_offsets(offset))
                        .and_then(|()| self.consumer.incremental_assign(&place))
                        .map_err(|error| {
                            kafka_error("cannot go to where reading is to begin", error).with("partition", partition)
                        });
                }
            }
        }
    }

    fn take_error(&mut self, error: KafkaError) -> Result<()> {
        use RDKafkaErrorCode::{
            AutoOffsetReset, FencedInstanceId, GroupAuthorizationFailed, OffsetOutOfRange, SaslAuthenticationFailed,
            TopicAuthorizationFailed, UnsupportedSASLMechanism,
        };
        match error.rdkafka_error_code() {
            Some(AutoOffsetReset | OffsetOutOfRange) => return self.find_out_of_range(),
            Some(FencedInstanceId) => {
                return Err(Error::user(
                    "another member of the group has the same source.instance; give every instance a name of its own",
                )
                .with("group", &self.source.group)
                .with("instance", self.source.instance.as_deref().unwrap_or_default()));
            }
            Some(GroupAuthorizationFailed) => return Err(forbidden("Read", "group", &self.source.group)),
            Some(TopicAuthorizationFailed) => {
                let topics = match &self.source.topics {
                    Topics::Names(names) => names.join(", "),
                    Topics::Pattern(pattern) => pattern.clone(),
                };
                return Err(forbidden("Read", "input topic", topics));
            }
            Some(SaslAuthenticationFailed | UnsupportedSASLMechanism) => {
                return Err(kafka_error(
                    "the brokers do not let this user in; look at sasl. in [source.client]",
                    error,
                ));
            }
            Some(code) if is_transient(code) => log::debug!("consuming: {error}"),
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                return Err(kafka_error("the consumer cannot go on", error));
            }
            _ if matches!(error, KafkaError::PartitionEOF(_)) => {}
            _ => log::warn!("consuming: {error}"),
        }
        Ok(())
    }

    /// The client does not say which partition's offset is out of range, and reads no further there: all are looked at.
    fn find_out_of_range(&mut self) -> Result<()> {
        self.look_at = None;
        for (partition, next) in self.units.reading() {
            match self.ends.ends(&partition.topic, partition.partition) {
                // A leader that did not know all yet, or another partition's error.
                Ok((low, end)) if (low.max(0) as u64..=end.max(0) as u64).contains(&next) => {
                    self.seek(&partition, next)?
                }
                Ok((low, end)) => {
                    log::warn!("{partition}: offset {next} is not there any more (first {low}, end {end})");
                    self.units.begin_again(&partition);
                }
                Err(error) => {
                    log::warn!("{partition}: {error}; trying again");
                    self.look_at = Some(Instant::now() + LOOK_AGAIN);
                }
            }
        }
        Ok(())
    }

    /// Tells units whose partitions were all read to their ends; gives whether that is all.
    fn tell_ends(&mut self) -> Result<bool> {
        let Some(ends) = &mut self.until else { return Ok(false) };
        for (partition, next) in self.units.not_ended() {
            if ends.is_read(&partition, next)? {
                self.units.ended(&partition);
            }
        }
        self.units.tell_ends();
        Ok(self.units.all_finished())
    }
}

/// How long a seek may be refused: just after an assignment.
const SEEK_WITHIN: Duration = Duration::from_secs(2);
/// Time until brokers that did not say where a partition begins are asked again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Time between two reports of how far behind reading is.
const LAG_EVERY: Duration = Duration::from_secs(5);

/// Pauses partitions.
pub fn pause<'a>(
    consumer: &BaseConsumer<GroupContext>,
    partitions: impl Iterator<Item = &'a TopicPartition>,
) -> Result<()> {
    consumer.pause(&list(partitions)).map_err(|error| kafka_error("cannot pause partitions", error))
}

fn list<'a>(partitions: impl Iterator<Item = &'a TopicPartition>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for TopicPartition { topic, partition } in partitions {
        list.add_partition(topic, *partition);
    }
    list
}
