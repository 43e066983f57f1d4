//! What scoring writes: predictions and dead letters.

use super::Scored;
use crate::config::{Connection, OutputTopics};
use crate::follower::{client_config, kafka_error};
use crate::records::{Record, RecordBlock};
use lightcl_core::{Error, Prediction, Result};
use metrics::counter;
use rdkafka::client::ClientContext;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use serde::Serialize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The producer of predictions and dead letters.
pub(super) struct Outputs {
    producer: ThreadedProducer<Deliveries>,
    predictions: String,
    dead_letters: Option<String>,
}

/// Remembers the first record that did not arrive.
#[derive(Default)]
struct Deliveries(Mutex<Option<(String, KafkaError)>>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            use rdkafka::Message;
            let mut failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            failed.get_or_insert_with(|| (message.topic().to_owned(), error.clone()));
        }
    }
}

/// A prediction as it stands in a record (schema: `schemas/prediction.schema.json`, and where the row came from).
#[derive(Serialize)]
struct PredictionRecord<'a> {
    #[serde(flatten)]
    prediction: &'a Prediction,
    source_topic: &'a str,
    source_partition: i32,
    source_offset: i64,
    model_unit: &'a str,
}

impl Outputs {
    pub(super) fn new(connection: &Connection, topics: &OutputTopics) -> Result<Self> {
        let predictions = topics
            .predictions
            .clone()
            .ok_or_else(|| Error::user("there is no topic for predictions; name it as sink.topics.predictions"))?;
        let mut config = client_config(connection)?;
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "5")
            // Brokers that are away are waited for: nothing is lost, and offsets are not committed meanwhile.
            .set("message.timeout.ms", "0")
            .set("allow.auto.create.topics", "false");
        let producer = config
            .create_with_context(Deliveries::default())
            .map_err(|error| kafka_error("write predictions", error))?;
        Ok(Outputs { producer, predictions, dead_letters: topics.dead_letters.clone() })
    }

    /// Whether rows that cannot be scored have a place to go.
    pub(super) fn has_dead_letters(&self) -> bool {
        self.dead_letters.is_some()
    }

    /// Writes the prediction of a row under its record's key.
    pub(super) fn prediction(
        &self,
        block: &RecordBlock,
        record: &Record<'_>,
        prediction: &Prediction,
        unit: &str,
    ) -> Result<()> {
        let value = PredictionRecord {
            prediction,
            source_topic: block.topic(),
            source_partition: block.partition(),
            source_offset: record.offset,
            model_unit: unit,
        };
        let value = serde_json::to_vec(&value)
            .map_err(|error| Error::internal("a prediction has no JSON form").caused_by(error))?;
        counter!("lightcl_predictions_total").increment(1);
        self.send(&self.predictions, record.key, Some(&value), None)
    }

    /// Writes a record that could not be scored as it came, with where it stood and why.
    pub(super) fn dead_letter(&self, block: &RecordBlock, record: &Record<'_>, row: &Scored) -> Result<()> {
        let Some(topic) = &self.dead_letters else { return Ok(()) };
        let (reason, message) = row.problem.as_ref().map_or(("", ""), |(reason, message)| (*reason, message.as_str()));
        let headers = |left_out: Option<usize>| {
            let mut headers = OwnedHeaders::new();
            for header in record.headers() {
                if let Ok(key) = str::from_utf8(header.name) {
                    headers = headers.insert(Header { key, value: header.value });
                }
            }
            let mut add = |key: &str, value: Option<&str>| {
                headers = std::mem::take(&mut headers).insert(Header { key, value });
            };
            add("source_topic", Some(block.topic()));
            add("source_partition", Some(&block.partition().to_string()));
            add("source_offset", Some(&record.offset.to_string()));
            add("source_timestamp", record.timestamp_ms.map(|time| time.to_string()).as_deref());
            add("reason", Some(reason));
            add("message", Some(message));
            if let Some(bytes) = left_out {
                add("left_out_bytes", Some(&bytes.to_string()));
            }
            headers
        };
        match self.send(topic, record.key, record.value, Some(headers(None))) {
            // Where the record is says enough to find it.
            Err(error) if is_too_large(&error) => {
                self.send(topic, record.key, None, Some(headers(record.value.map(<[u8]>::len))))
            }
            sent => sent,
        }
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
        let failed = self.producer.context().0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        failed.map_or(Ok(()), |(topic, error)| Err(cannot_write(&topic, error)))
    }
}

fn cannot_write(topic: &str, error: KafkaError) -> Error {
    kafka_error("write what was scored", error).with("topic", topic)
}

fn is_too_large(error: &Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<KafkaError>());
    cause.and_then(KafkaError::rdkafka_error_code) == Some(RDKafkaErrorCode::MessageSizeTooLarge)
}
