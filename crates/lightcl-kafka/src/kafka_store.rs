//! A unit's outputs, state and positions in Kafka: one transaction a commit.

use crate::claims::{ClaimStore, Claims, Dropped, Placing, fetch};
use crate::compacted::{Compacted, CompactedReader, Keep};
use crate::config::{Delivery, SinkConfig, ValueFormat};
use crate::control::{Control, Wish};
use crate::group::Group;
use crate::learners::{Left, Parking};
use crate::outbox::{OutRecord, Outbox, TopicPartition, offsets};
use crate::parts::{Keyed, PartEntry, Slots, chunk_key, prefix};
use crate::predictions::PredictionSchema;
use crate::producer::{Deliverer, Failure};
use crate::records::RecordBlock;
use crate::snapshot_topic::{placed_records, snapshot_prefix};
use crate::store::{Committed, Pressure, Recovered, Saved, Store};
use crate::unit_record::{CheckpointRecord, MOST_STEPS, UnitRecord};
use crate::worker::set_restored;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lightcl_core::{Error, Output, Positions, Result};
use rdkafka::TopicPartitionList;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

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

/// Where the state of a key stands.
#[derive(Debug, Clone, PartialEq)]
struct Parked {
    record: ParkedRecord,
    /// Offsets of its chunks.
    offsets: Vec<i64>,
}

/// What the state topic says of the state of a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ParkedRecord {
    format: u32,
    key: String,
    entry: PartEntry,
    slots: Slots,
    snapshot_slots: Slots,
    left: Left,
    /// The process in which the learners of the unit began. One that is started with --fresh leaves those parked before alone,
    /// and so must every one after it.
    begun: u64,
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

    fn key_prefix(&self, key: &str) -> String {
        prefix(&[&self.config.model_id, &self.unit, key])
    }

    fn unit_key(&self) -> String {
        format!("{}/unit", self.prefix())
    }

    /// A record for the state topic, when there is one.
    fn state_record(&self, Keyed { key, value }: Keyed, token: usize) -> Option<OutRecord> {
        let topic = self.config.sink.topics.state.as_deref()?;
        Some(OutRecord {
            topic: topic.into(),
            partition: Some(self.state_partition),
            key: Some(key.into_bytes()),
            value,
            headers: Vec::new(),
            token,
        })
    }

    fn reader(&mut self) -> Result<&CompactedReader> {
        if self.reader.is_none() {
            self.reader = Some(CompactedReader::new(&self.config.sink.connection, self.config.patience)?);
        }
        self.reader.as_ref().ok_or_else(|| Error::internal("a reader that was just made is gone"))
    }

    /// Reads what the state topic holds of this unit.
    fn read_state(&mut self, cancelled: &dyn Fn() -> bool) -> Result<Compacted> {
        let Some(topic) = self.config.sink.topics.state.clone() else { return Ok(Compacted::default()) };
        let (partition, prefix) = (self.state_partition, format!("{}/", self.prefix()));
        let keep = |key: &str| match key.strip_prefix(&prefix) {
            // Of keys only places are held: their states would not fit into memory together.
            Some(rest) if rest.matches('/').count() >= 3 => Keep::Place,
            Some(_) => Keep::Value,
            None => Keep::Nothing,
        };
        // Reading is one half of a restore, taking rows again the other.
        let unit = self.unit.clone();
        self.reader()?.read(&topic, partition, cancelled, &|share| set_restored(&unit, share / 2.0), &keep)
    }

    /// Takes in the unit's record, the places of the keys' states, and the unit's state.
    fn take_in(&mut self, found: Compacted) -> Result<Recovered> {
        let Some(record) = found.keys.get(&self.unit_key()).and_then(|latest| latest.value.as_ref()) else {
            return Ok(Recovered::default());
        };
        let record = UnitRecord::from_bytes(record)?;
        if self.config.fresh && record.run != self.config.run {
            // What is in force stays whole until something newer is.
            self.record.state_slots = record.state_slots;
            self.record.snapshot_slots = record.snapshot_slots;
            return Ok(Recovered::default());
        }
        if record.config_sha256 != self.config.config_sha256 {
            return Err(Error::user(
                "the state was written by another configuration; go back to it, give the model another name or the job \
                 another group, or start a new learner with --fresh",
            )
            .with("unit", &self.unit)
            .with("config_sha256 of the state", &record.config_sha256)
            .with("of this job", &self.config.config_sha256));
        }
        let mut recovered = Recovered {
            found: true,
            committed: record.committed.clone(),
            steps: record.steps.clone(),
            ..Recovered::default()
        };
        if let Some(CheckpointRecord { positions, state, columns }) = &record.checkpoint {
            recovered.positions = positions.clone();
            let columns = BASE64.decode(columns).map_err(|error| {
                Error::user("the unit's record cannot be read; start a new learner with --fresh").caused_by(error)
            })?;
            recovered.columns = Some(columns);
            if let Some(entry) = state {
                let mut chunk = |key: &str| found.keys.get(key).and_then(|latest| latest.value.clone());
                recovered.state = Some(fetch(self.state_claims.as_ref(), &self.prefix(), STATE, entry, &mut chunk)?);
            }
        }
        for (key, latest) in &found.keys {
            if let Some(value) = latest.value.as_ref().filter(|_| key.ends_with("/parked")) {
                self.take_in_key(value, &found, record.begun)?;
            }
        }
        self.record = UnitRecord { run: self.config.run, ..record };
        Ok(recovered)
    }

    fn take_in_key(&mut self, value: &[u8], found: &Compacted, begun: u64) -> Result<()> {
        let record: ParkedRecord = serde_json::from_slice(value).map_err(|error| {
            Error::user("the record of a parked learner cannot be read; start new learners with --fresh")
                .caused_by(error)
        })?;
        if record.begun != begun {
            return Ok(());
        }
        let prefix = self.key_prefix(&record.key);
        let offsets = (0..record.entry.chunks)
            .map(|number| {
                let key = chunk_key(&prefix, STATE, record.entry.slot, number);
                found.keys.get(&key).map(|latest| latest.offset).ok_or_else(|| {
                    Error::external("a part of a parked learner is gone from the state topic").with("key", key)
                })
            })
            .collect::<Result<Vec<_>>>()?;
        self.parked.insert(record.key.clone(), Parked { record, offsets });
        Ok(())
    }

    /// Removes objects that were written for commits that never came to be.
    fn sweep(&self) {
        let swept = |claims: &Option<Claims>, prefix: &str, slots: Vec<&Slots>| {
            let Some(claims) = claims else { return };
            match claims.sweep(prefix, slots.into_iter().flat_map(Slots::objects)) {
                Ok(0) => {}
                Ok(count) => log::info!("{}: {count} objects of commits that never came to be are removed", self.unit),
                Err(error) => log::warn!("{}: objects that nobody names stay: {error}", self.unit),
            }
        };
        let parked = self.parked.values().map(|parked| &parked.record.slots);
        swept(&self.state_claims, &self.prefix(), parked.chain([&self.record.state_slots]).collect());
        let snapshots = snapshot_prefix(&self.config.model_id, &self.unit);
        // Before this run's first snapshot, the one of a run before is in force.
        if self.record.snapshot_slots.has(&snapshots) {
            swept(&self.snapshot_claims, &snapshots, vec![&self.record.snapshot_slots]);
        }
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

impl Parking for KafkaStore {
    fn load(&mut self, key: &str) -> Result<Option<(Vec<u8>, Left)>> {
        self.write_parked(Some(key))?;
        let Some(Parked { record, offsets }) = self.parked.get(key).cloned() else { return Ok(None) };
        self.snapshot_slots.insert(key.to_owned(), record.snapshot_slots.clone());
        if let Some(state) = self.unsettled.get(key) {
            return Ok(Some((state.clone(), record.left)));
        }
        let Some(topic) = self.config.sink.topics.state.clone() else { return Ok(None) };
        let (partition, started) = (self.state_partition, Instant::now());
        let values = if offsets.is_empty() { Vec::new() } else { self.reader()?.fetch(&topic, partition, &offsets)? };
        let again = again(&self.control, &self.unit);
        let state = loop {
            let mut values = values.iter().cloned();
            let mut chunk = |_: &str| values.next();
            let prefix = self.key_prefix(key);
            match fetch(self.state_claims.as_ref(), &prefix, STATE, &record.entry, &mut chunk) {
                Err(error) if error.is_retryable() && again(&error) => {}
                result => break result?,
            }
        };
        log::trace!("{}: loaded the learner of {key} in {:?}", self.unit, started.elapsed());
        Ok(Some((state, record.left)))
    }

    fn with_left(&self, wanted: &dyn Fn(Left) -> bool) -> Vec<String> {
        let written = self.parked.iter().filter(|(key, _)| !self.waiting.contains_key(*key));
        let written = written.map(|(key, parked)| (key, parked.record.left));
        let all = self.waiting.iter().map(|(key, (_, left))| (key, *left)).chain(written);
        let mut keys: Vec<String> = all.filter(|(_, left)| wanted(*left)).map(|(key, _)| key.clone()).collect();
        keys.sort_unstable();
        keys
    }

    fn park(&mut self, key: &str, state: Vec<u8>, left: Left) -> Result<()> {
        // What it gave before it was parked may come behind, and with it slots that belong to this state.
        self.waiting_bytes += state.len();
        if let Some((before, _)) = self.waiting.insert(key.to_owned(), (state, left)) {
            self.waiting_bytes -= before.len();
        }
        Ok(())
    }
}

impl KafkaStore {
    /// Hands over what was parked and waits for the outputs that came with it: that of one key, or of all.
    fn write_parked(&mut self, key: Option<&str>) -> Result<()> {
        let keys = match key {
            Some(key) => vec![key.to_owned()],
            None => self.waiting.keys().cloned().collect(),
        };
        for key in keys {
            if let Some((state, left)) = self.waiting.remove(&key) {
                self.waiting_bytes -= state.len();
                self.write_state(&key, state, left)?;
            }
        }
        Ok(())
    }

    fn write_state(&mut self, key: &str, state: Vec<u8>, left: Left) -> Result<()> {
        let prefix = self.key_prefix(key);
        let mut slots = self.parked.get(key).map(|parked| parked.record.slots.clone()).unwrap_or_default();
        let again = again(&self.control, &self.unit);
        let mut placing = Placing {
            chunk_bytes: self.config.sink.chunk_bytes,
            claims: self.state_claims.as_ref(),
            dropped: std::mem::take(&mut self.dropped),
            again: Some(&again),
            ..Placing::default()
        };
        let placed = placing.put(&mut slots, &prefix, STATE, &state);
        self.dropped = placing.dropped;
        let (chunks, entry) = placed?;
        let snapshot_slots = self.snapshot_slots.get(key).cloned().unwrap_or_default();
        let begun = self.record.begun;
        let record = ParkedRecord { format: 1, key: key.to_owned(), entry, slots, snapshot_slots, left, begun };
        let mut offsets = self.parked.get(key).map(|parked| parked.offsets.clone()).unwrap_or_default();
        if !chunks.is_empty() || record.entry.uri.is_some() {
            offsets = vec![-1; record.entry.chunks as usize];
        }
        for (number, chunk) in chunks.into_iter().enumerate() {
            let token = if chunk.value.is_some() {
                self.tokens.push((key.to_owned(), number));
                self.tokens.len()
            } else {
                0
            };
            if let Some(record) = self.state_record(chunk, token) {
                self.outbox.push(record);
            }
        }
        let value = serde_json::to_vec(&record)
            .map_err(|error| Error::internal("the record of a parked learner has no JSON form").caused_by(error))?;
        if let Some(record) = self.state_record(Keyed { key: format!("{prefix}/parked"), value: Some(value) }, 0) {
            self.outbox.push(record);
        }
        self.parked.insert(key.to_owned(), Parked { record, offsets });
        self.unsettled.insert(key.to_owned(), state);
        Ok(())
    }
}

impl Store for KafkaStore {
    fn recover(&mut self, cancelled: &dyn Fn() -> bool) -> Result<Recovered> {
        self.parked.clear();
        self.unsettled.clear();
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.snapshot_slots.clear();
        self.record = UnitRecord::new(&self.unit, &self.config.config_sha256, self.config.run);
        // First of all: what another process left open under this id is ended now, and its producer is shut out.
        self.deliverer.open()?;
        let found = self.read_state(cancelled)?;
        let (low, end) = (found.low, found.end);
        let mut recovered = self.take_in(found)?;
        let committed = self.group.committed(&self.partitions)?;
        if self.config.fresh && !recovered.found {
            return Ok(recovered);
        }
        if !recovered.found {
            let told = self.partitions.iter().zip(&committed).find_map(|(source, offset)| Some((source, (*offset)?)));
            if let Some((source, offset)) = told {
                return Err(state_lost(
                    "the group has committed offsets, but the state topic holds no state of this unit",
                    &self.config.sink.topics.state,
                )
                .with("partition", source)
                .with("committed offset", offset)
                .with("unit", &self.unit));
            }
            if low > 0 && end == low {
                return Err(state_lost(
                    "the state topic is empty, but had records once: they were deleted",
                    &self.config.sink.topics.state,
                )
                .with("first offset", low)
                .with("unit", &self.unit));
            }
        }
        for (source, offset) in self.partitions.clone().iter().zip(committed) {
            let known = recovered.committed.0.get(&*source.name()).copied();
            match (known, offset) {
                (Some(known), Some(offset)) if known as i64 != offset => {
                    // Without transactions the offsets may be behind: outputs and state were out before them.
                    if self.config.sink.delivery == Delivery::AtLeastOnce && offset < known as i64 {
                        continue;
                    }
                    return Err(Error::user(
                        "the group's committed offset is not the one that the state was committed with: somebody moved \
                         it, or another job has the same state topic and model. Set it back, give each job its own, or \
                         start a new learner with --fresh",
                    )
                    .with("partition", source)
                    .with("committed offset", offset)
                    .with("offset of the state", known));
                }
                (Some(known), None) => {
                    log::warn!(
                        "{source}: the group has forgotten its offset; going on at {known}, where the state stands"
                    );
                }
                (None, Some(offset)) if recovered.found => {
                    // A partition that was committed by somebody else: a unit of several partitions that grew.
                    recovered.committed.advance(&source.name(), offset as u64);
                }
                _ => {}
            }
        }
        if self.parked.is_empty() {
            // Clients hold memory and threads; only keys that come back are read later.
            self.reader = None;
        }
        if recovered.found {
            self.sweep();
        }
        Ok(recovered)
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
        for Keyed { key, value } in records {
            self.outbox.push(OutRecord {
                topic: topic.as_str().into(),
                partition: Some(self.snapshot_partition),
                key: Some(key.into_bytes()),
                value,
                headers: Vec::new(),
                token: 0,
            });
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

    /// Takes note of where chunks of parked states stand. Where that was not told, the state stays here.
    fn settle(&mut self, placed: Vec<(usize, i32, i64)>) {
        for (token, _, offset) in placed {
            if let Some((key, number)) = token.checked_sub(1).and_then(|index| self.tokens.get(index))
                && let Some(parked) = self.parked.get_mut(key)
                && let Some(place) = parked.offsets.get_mut(*number)
            {
                *place = offset;
            }
        }
        self.tokens.clear();
        let parked = &self.parked;
        self.unsettled
            .retain(|key, _| parked.get(key).is_some_and(|parked| parked.offsets.iter().any(|offset| *offset < 0)));
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

fn state_lost(what: &str, topic: &Option<String>) -> Error {
    Error::user(format!(
        "{what}. Put the state back, use another group, or start a new learner with --fresh; a state topic needs \
         cleanup.policy=compact"
    ))
    .with("state topic", topic.as_deref().unwrap_or("none"))
}
