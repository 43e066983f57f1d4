//! What scoring writes: predictions and dead letters.

use super::Scored;
use super::models::Loaded;
use crate::client::{Context, client_config, client_context, kafka_error};
use crate::config::SinkConfig;
use crate::outbox::{TopicPartition, dead_letter};
use crate::records::Record;
use lightcl_core::{Error, Rejected, Result};
use metrics::counter;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The producer of predictions and dead letters.
pub(super) struct Outputs {
    producer: ThreadedProducer<Deliveries>,
    predictions: String,
    dead_letters: Option<Arc<str>>,
    /// Longest value of a dead letter.
    most_value_bytes: usize,
}

/// Remembers the first record that did not arrive.
struct Deliveries {
    context: Context,
    failed: Mutex<Option<(String, KafkaError)>>,
}

client_context!(Deliveries);

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            use rdkafka::Message;
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.get_or_insert_with(|| (message.topic().to_owned(), error.clone()));
        }
    }
}

/// A prediction as it stands in a record: as those of the learner, and which model made it.
#[derive(Serialize)]
struct PredictionRecord<'a> {
    source_topic: &'a str,
    source_partition: i32,
    source_offset: i64,
    /// What the row belongs to.
    unit: &'a str,
    index: u64,
    id: Option<&'a str>,
    label: Option<&'a str>,
    predicted: Option<&'a str>,
    probability: Option<f32>,
    task: u32,
    model_version: u64,
    /// What the model learnt from: the row's own unit, or another where that has no model.
    model_unit: &'a str,
}

impl Outputs {
    pub(super) fn new(sink: &SinkConfig) -> Result<Self> {
        let predictions = sink
            .topics
            .predictions
            .clone()
            .ok_or_else(|| Error::user("there is no topic for predictions; name it as sink.topics.predictions"))?;
        let connection = &sink.connection;
        let mut config = client_config(connection)?;
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "5")
            // Brokers that are away are waited for: nothing is lost, and offsets are not committed meanwhile.
            .set("message.timeout.ms", "0");
        let producer = config
            .create_with_context(Deliveries { context: Context::of(connection), failed: Mutex::default() })
            .map_err(|error| kafka_error("cannot write predictions", error))?;
        let dead_letters = sink.topics.dead_letters.as_deref().map(Arc::from);
        Ok(Outputs { producer, predictions, dead_letters, most_value_bytes: sink.chunk_bytes })
    }

    /// Whether rows that cannot be scored have a place to go.
    pub(super) fn has_dead_letters(&self) -> bool {
        self.dead_letters.is_some()
    }

    /// Writes the prediction of a row under its record's key.
    pub(super) fn prediction<M>(
        &self,
        source: &TopicPartition,
        record: &Record<'_>,
        unit: &str,
        row: &Scored,
        index: u64,
        loaded: &Loaded<M>,
    ) -> Result<()> {
        let value = PredictionRecord {
            source_topic: &source.topic,
            source_partition: source.partition,
            source_offset: record.offset,
            unit,
            index,
            id: row.id.as_deref(),
            label: row.label.as_deref(),
            predicted: row.predicted.as_deref(),
            probability: row.probability,
            task: loaded.task,
            model_version: loaded.version,
            model_unit: &loaded.unit,
        };
        let value = serde_json::to_vec(&value)
            .map_err(|error| Error::internal("a prediction has no JSON form").caused_by(error))?;
        counter!("lightcl_predictions_total").increment(1);
        self.send(&self.predictions, record.key, Some(&value), None)
    }

    /// Writes a record that could not be scored as it came, with where it stood and why.
    pub(super) fn dead_letter(&self, source: &TopicPartition, record: &Record<'_>, letter: &Rejected) -> Result<()> {
        let Some(topic) = &self.dead_letters else { return Ok(()) };
        let letter =
            dead_letter(Arc::clone(topic), None, &source.name(), source, letter, Some(*record), self.most_value_bytes);
        let headers = letter
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: value.as_deref() }));
        self.send(&letter.topic, letter.key.as_deref(), letter.value.as_deref(), Some(headers))
    }

    /// Hands a record to the producer; waits while its queue is full.
    fn send(&self, topic: &str, key: Option<&[u8]>, value: Option<&[u8]>, headers: Option<OwnedHeaders>) -> Result<()> {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic);
        record.key = key;
        record.payload = value;
        record.headers = headers;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((error, back)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                    self.check()?;
                    record = back;
                    // What stands in the queue goes out, and makes room.
                    let _ = self.producer.flush(Duration::from_millis(100));
                }
                Err((error, _)) => return Err(cannot_write(topic, error)),
            }
        }
    }

    /// Waits until everything has arrived.
    ///
    /// # Errors
    /// When a record cannot arrive, or, retryable, when the time is over.
    pub(super) fn flush(&self, timeout: Duration) -> Result<()> {
        let flushed = self.producer.flush(timeout);
        self.check()?;
        match flushed {
            Ok(()) => Ok(()),
            Err(error) => Err(cannot_write(&self.predictions, error).retryable()),
        }
    }

    fn check(&self) -> Result<()> {
        let failed = self.producer.context().failed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        failed.map_or(Ok(()), |(topic, error)| Err(cannot_write(&topic, error)))
    }
}

fn cannot_write(topic: &str, error: KafkaError) -> Error {
    kafka_error("cannot write what was scored", error).with("topic", topic)
}
