//! A unit's outputs, state and positions in Kafka: one transaction a commit.

use crate::claims::{ClaimStore, Claims, Dropped, Placing};
use crate::compacted::CompactedReader;
use crate::config::{Delivery, SinkConfig, ValueFormat};
use crate::control::{Control, Wish};
use crate::group::Group;
use crate::learners::Left;
use crate::outbox::{OutRecord, Outbox, TopicPartition, offsets};
use crate::parts::{Keyed, Slots, prefix};
use crate::predictions::PredictionSchema;
use crate::producer::{Deliverer, Failure};
use crate::records::RecordBlock;
use crate::snapshot_topic::placed_records;
use crate::store::{Committed, Pressure, Recovered, Saved, Store};
use crate::unit_record::{CheckpointRecord, MOST_STEPS, UnitRecord};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lightcl_core::{Error, Output, Positions, Result};
use rdkafka::TopicPartitionList;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

mod parked;
mod recovery;

use parked::Parked;

/// Part under which a state is kept.
const STATE: &str = "state";
/// Wait before a store of claim checks that did not answer is asked again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What does not change while a job runs.
pub struct KafkaStoreConfig {
    /// The sink.
    pub sink: SinkConfig,
    /// Name of the model.
    pub model_id: String,
    /// Hash of the configuration that decides what is learnt.
    pub config_sha256: String,
    /// Number of this process.
    pub run: u64,
    /// Whether what earlier processes committed is left alone.
    pub fresh: bool,
    /// Longest wait for a state that cannot be read.
    pub patience: Duration,
    /// Where payloads too big for topics stand.
    pub claims: Option<Arc<ClaimStore>>,
    /// The schema of predictions.
    pub prediction_schema: PredictionSchema,
}

/// The store of one unit.
pub struct KafkaStore {
    config: Arc<KafkaStoreConfig>,
    unit: String,
    partitions: Vec<TopicPartition>,
    group: Group,
    deliverer: Deliverer,
    reader: Option<CompactedReader>,
    outbox: Outbox,
    record: UnitRecord,
    /// Partition of the state topic.
    state_partition: i32,
    snapshot_partition: i32,
    /// Where the states of keys stand; none for a store without keys.
    parked: HashMap<String, Parked>,
    /// States parked since the last look at them, with what their learners have left to do; their bytes.
    waiting: BTreeMap<String, (Vec<u8>, Left)>,
    waiting_bytes: usize,
    /// States parked since the last commit, still here.
    unsettled: HashMap<String, Vec<u8>>,
    /// Tokens of chunks whose place is asked for: key and number of the chunk.
    tokens: Vec<(String, usize)>,
    /// Slots of the snapshots of keys that were not parked since they were used.
    snapshot_slots: HashMap<String, Slots>,
    state_claims: Option<Claims>,
    snapshot_claims: Option<Claims>,
    /// Objects that nobody needs any longer after the next commit.
    dropped: Vec<Dropped>,
    control: Arc<Control>,
}

impl KafkaStore {
    /// The store of a unit that reads these partitions.
    ///
    /// # Errors
    /// When a topic is not there, or no broker answers (retryable).
    pub fn new(
        config: Arc<KafkaStoreConfig>,
        unit: &str,
        partitions: &[TopicPartition],
        group: Group,
        control: Arc<Control>,
    ) -> Result<Self> {
        let reader = CompactedReader::new(&config.sink.connection, config.patience)?;
        let topics = &config.sink.topics;
        let mut counts = BTreeMap::new();
        let all = [
            &topics.predictions,
            &topics.stability,
            &topics.boundaries,
            &topics.snapshots,
            &topics.dead_letters,
            &topics.state,
        ];
        for topic in all.into_iter().flatten().collect::<BTreeSet<_>>() {
            counts.insert(topic.clone(), reader.partitions(topic)?);
        }
        let first = partitions.first().map_or(0, |partition| partition.partition);
        let place = |topic: &Option<String>| {
            topic.as_ref().and_then(|topic| counts.get(topic)).map_or(0, |count| first % (*count).max(1))
        };
        let schema_id = match (config.sink.prediction_format, &topics.predictions) {
            (ValueFormat::Avro, Some(topic)) => {
                Some(config.prediction_schema.id(config.sink.registry.as_ref(), topic)?)
            }
            (ValueFormat::Avro, None) => Some(0),
            _ => None,
        };
        if let Some(store) = &config.claims {
            store.check()?;
        }
        let claims = |topic: &Option<String>| Some(Claims::new(config.claims.as_ref()?, topic.as_ref()?));
        let id = (config.sink.delivery == Delivery::ExactlyOnce)
            .then(|| format!("{}-{unit}", config.sink.transactional_prefix));
        Ok(KafkaStore {
            unit: unit.to_owned(),
            partitions: partitions.to_vec(),
            group,
            deliverer: Deliverer::new(config.sink.connection.clone(), id),
            reader: Some(reader),
            state_partition: place(&topics.state),
            snapshot_partition: place(&topics.snapshots),
            outbox: Outbox::new(
                topics.clone(),
                counts,
                partitions,
                (config.sink.prediction_format, schema_id),
                config.sink.chunk_bytes,
            )?,
            record: UnitRecord::new(unit, &config.config_sha256, config.run),
            parked: HashMap::new(),
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            unsettled: HashMap::new(),
            tokens: Vec::new(),
            snapshot_slots: HashMap::new(),
            state_claims: claims(&topics.state),
            snapshot_claims: claims(&topics.snapshots),
            dropped: Vec::new(),
            control,
            config,
        })
    }

    fn prefix(&self) -> String {
        prefix(&[&self.config.model_id, &self.unit])
    }

    fn unit_key(&self) -> String {
        format!("{}/unit", self.prefix())
    }

    /// A record for the state topic, when there is one.
    fn state_record(&self, keyed: Keyed, token: usize) -> Option<OutRecord> {
        let topic = self.config.sink.topics.state.as_deref()?;
        Some(keyed_record(topic, self.state_partition, keyed, token))
    }

    fn reader(&mut self) -> Result<&CompactedReader> {
        if self.reader.is_none() {
            self.reader = Some(CompactedReader::new(&self.config.sink.connection, self.config.patience)?);
        }
        self.reader.as_ref().ok_or_else(|| Error::internal("a reader that was just made is gone"))
    }

    /// After a failure of which the outcome is unknown: whether the group has these positions now.
    fn is_committed(&mut self, positions: &Positions, before: &Positions) -> Result<bool, Failure> {
        let unknown =
            |error: Error| if error.is_retryable() { Failure::Unknown(error) } else { Failure::Refused(error) };
        // Opening ends what was left open, one way or the other.
        self.deliverer.open().map_err(unknown)?;
        let committed = self.group.committed(&self.partitions).map_err(unknown)?;
        let is = |positions: &Positions| {
            self.partitions
                .iter()
                .zip(&committed)
                .all(|(source, committed)| positions.0.get(&*source.name()).map(|next| *next as i64) == *committed)
        };
        if is(positions) {
            return Ok(true);
        }
        if is(before) {
            return Ok(false);
        }
        Err(Failure::NotMember(
            Error::external("the committed offsets are neither those of this commit nor those before it")
                .with("unit", &self.unit),
        ))
    }
}

impl Store for KafkaStore {
    fn recover(&mut self, cancelled: &dyn Fn() -> bool) -> Result<Recovered> {
        self.read_back(cancelled)
    }

    fn add(&mut self, learner: &str, output: Output, block: &RecordBlock, out: bool) -> Result<()> {
        let snapshot = match output {
            Output::Snapshot(snapshot) => snapshot,
            _ if out => return Ok(()),
            output => return self.outbox.add(learner, output, block),
        };
        let Some(topic) = self.config.sink.topics.snapshots.clone() else { return Ok(()) };
        // The slots of the unit stand in its record, of this commit; those of a key with its state, of the last checkpoint.
        let slots = match key_of(&self.unit, learner) {
            None if out => return Ok(()),
            None => &mut self.record.snapshot_slots,
            Some(key) => self.snapshot_slots.entry(key.to_owned()).or_default(),
        };
        let again = again(&self.control, &self.unit);
        let mut placing = Placing {
            chunk_bytes: self.config.sink.chunk_bytes,
            claims: self.snapshot_claims.as_ref(),
            dry: out,
            dropped: std::mem::take(&mut self.dropped),
            again: Some(&again),
        };
        let records = placed_records(slots, learner, &snapshot, &mut placing);
        self.dropped = placing.dropped;
        let records = records?;
        if out {
            return Ok(());
        }
        for keyed in records {
            self.outbox.push(keyed_record(&topic, self.snapshot_partition, keyed, 0));
        }
        Ok(())
    }

    fn took(&mut self, partition: &str, next: u64, cut: bool) {
        if cut {
            self.record.closed_window(partition, next);
        } else if self.partitions.len() > 1 {
            // With one partition the order of rows follows from their offsets.
            self.record.took(partition, next);
        }
    }

    fn pressure(&self) -> Pressure {
        if self.record.steps.len() >= MOST_STEPS {
            Pressure::Checkpoint
        } else if self.outbox.bytes() + self.waiting_bytes >= self.config.sink.commit_bytes {
            Pressure::Commit
        } else {
            Pressure::None
        }
    }

    fn commit(&mut self, positions: &Positions, saved: Option<Saved>) -> Result<Committed, Failure> {
        let refused = Failure::Refused;
        self.write_parked(None).map_err(not_put)?;
        let output_bytes = self.outbox.bytes();
        let mut records = self.outbox.take().map_err(refused)?;
        let mut record = self.record.clone();
        let mut state_bytes = 0;
        let mut dropped = self.dropped.clone();
        if let Some(Saved { state, columns }) = saved {
            let again = again(&self.control, &self.unit);
            let entry = state.map(|state| {
                state_bytes = state.len();
                let mut placing = Placing {
                    chunk_bytes: self.config.sink.chunk_bytes,
                    claims: self.state_claims.as_ref(),
                    dropped: std::mem::take(&mut dropped),
                    again: Some(&again),
                    ..Placing::default()
                };
                let placed = placing.put(&mut record.state_slots, &self.prefix(), STATE, &state);
                dropped = placing.dropped;
                let (chunks, entry) = placed?;
                records.extend(chunks.into_iter().filter_map(|chunk| self.state_record(chunk, 0)));
                Ok(entry)
            });
            let entry = entry.transpose().map_err(not_put)?;
            record.checkpoint =
                Some(CheckpointRecord { positions: positions.clone(), state: entry, columns: BASE64.encode(columns) });
            record.steps.clear();
        }
        let before = std::mem::replace(&mut record.committed, positions.clone());
        record.commit += 1;
        let value = record.to_bytes().map_err(refused)?;
        records.extend(self.state_record(Keyed { key: self.unit_key(), value: Some(value) }, 0));
        let offsets = offsets(&self.partitions, positions).map_err(refused)?;
        // Without a transaction, state says that outputs are out: it goes behind them.
        let mut first = 0;
        if self.config.sink.delivery == Delivery::AtLeastOnce {
            let state = self.config.sink.topics.state.clone();
            let is_state = |record: &OutRecord| state.as_deref() == Some(&*record.topic);
            first = records.iter().filter(|record| !is_state(record)).count();
            records.sort_by_key(is_state);
        }

        let mut wait = Duration::from_millis(100);
        let placed = loop {
            let metadata = self.group.metadata();
            let delivered = match first {
                0 => Ok(Vec::new()),
                first => self.deliverer.deliver(&records[..first], &offsets, metadata.as_ref()),
            };
            let delivered =
                delivered.and_then(|_| self.deliverer.deliver(&records[first..], &offsets, metadata.as_ref()));
            let failure = match delivered {
                Ok(placed) => break placed,
                Err(Failure::Unknown(error)) => {
                    log::warn!("{}: {error}; looking whether it was committed", self.unit);
                    match self.is_committed(positions, &before) {
                        Ok(true) => break Vec::new(),
                        Ok(false) => Failure::Again(error),
                        Err(failure) => failure,
                    }
                }
                Err(failure) => failure,
            };
            match failure {
                Failure::Again(error) | Failure::Unknown(error) if self.control.wish() != Wish::Abandon => {
                    log::warn!("{}: {error}; trying again", self.unit);
                    std::thread::sleep(wait);
                    wait = (wait * 2).min(Duration::from_secs(5));
                }
                // While partitions are given away the group does not wait.
                Failure::NotMember(error) if self.control.wish() == Wish::Run => {
                    log::debug!("{}: {error}; waiting for the group", self.unit);
                    std::thread::sleep(Duration::from_millis(100));
                }
                failure => return Err(failure),
            }
        };
        self.settle(placed);
        self.record = record;
        self.count(&records);
        self.dropped.clear();
        for Dropped { topic, object: (prefix, part, sha256) } in dropped {
            let claims = [&self.state_claims, &self.snapshot_claims].into_iter().flatten();
            claims.filter(|claims| claims.topic() == topic).for_each(|claims| claims.remove(&prefix, &part, &sha256));
        }
        if self.config.sink.delivery == Delivery::AtLeastOnce {
            self.commit_offsets(&offsets)?;
        }
        Ok(Committed { output_bytes, state_bytes })
    }
}

impl KafkaStore {
    /// Counts the bytes of records that were committed.
    fn count(&self, records: &[OutRecord]) {
        let (mut state, mut outputs) = (0, 0);
        for record in records {
            let bytes = record.key.as_ref().map_or(0, Vec::len) + record.value.as_ref().map_or(0, Vec::len);
            let is_state = self.config.sink.topics.state.as_deref() == Some(&*record.topic);
            *(if is_state { &mut state } else { &mut outputs }) += bytes as u64;
        }
        metrics::counter!("lightcl_kafka_state_bytes_total").increment(state);
        metrics::counter!("lightcl_kafka_output_bytes_total").increment(outputs);
    }

    /// Commits offsets behind what was delivered without a transaction. The state says as much: offsets that stay behind it
    /// are no harm, so that nobody waits for them who is to end.
    fn commit_offsets(&mut self, offsets: &TopicPartitionList) -> Result<(), Failure> {
        loop {
            match self.group.commit(offsets) {
                Ok(()) => return Ok(()),
                Err(error) if !error.is_retryable() => return Err(Failure::Refused(error)),
                Err(error) if self.control.is_ending() => {
                    log::warn!("{}: {error}; the state in its topic is ahead of the group's offsets", self.unit);
                    return Ok(());
                }
                Err(error) => {
                    log::debug!("{}: {error}; trying again", self.unit);
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        }
    }
}

/// A record of a compacted topic, in the partition of its unit.
fn keyed_record(topic: &str, partition: i32, Keyed { key, value }: Keyed, token: usize) -> OutRecord {
    OutRecord {
        topic: topic.into(),
        partition: Some(partition),
        key: Some(key.into_bytes()),
        value,
        headers: Vec::new(),
        token,
    }
}

/// What a payload that could not be put in its place means for a commit.
fn not_put(error: Error) -> Failure {
    if error.is_retryable() { Failure::Again(error) } else { Failure::Refused(error) }
}

/// Waits before something outside is asked again, as long as nobody wishes that the work ends at once.
fn again<'a>(control: &'a Control, unit: &'a str) -> impl Fn(&Error) -> bool + 'a {
    move |error| {
        log::warn!("{unit}: {error}; trying again");
        let until = Instant::now() + AGAIN_AFTER;
        while control.wish() != Wish::Abandon && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        control.wish() != Wish::Abandon
    }
}

/// The key of a learner's name, where every key has its own.
fn key_of<'a>(unit: &str, learner: &'a str) -> Option<&'a str> {
    learner.strip_prefix(unit)?.strip_prefix('/')
}
