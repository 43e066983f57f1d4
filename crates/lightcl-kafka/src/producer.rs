//! A producer that delivers a batch of records together with input offsets: in one transaction, or at least once.

use crate::client::{Context, client_config, client_context, give_token, is_transient, kafka_error, set_default};
use crate::config::Connection;
use crate::outbox::OutRecord;
use crate::refusals::{forbidden, is_forbidden};
use lightcl_core::{Error, Result};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, TopicPartitionList};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long one call of a transaction may take. All of them block; none runs on the thread that polls the consumer.
const TRANSACTION_CALL: Duration = Duration::from_secs(30);
/// How long an open transaction of a dead producer may hold up readers.
const TRANSACTION_TIMEOUT_MS: &str = "60000";

/// Why a delivery failed, and so what may be done next.
#[derive(Debug)]
pub enum Failure {
    /// The transaction was aborted; the same may be delivered again.
    Again(Error),
    /// The transaction was aborted since the group has moved on: deliver again only as a member of its new generation.
    NotMember(Error),
    /// Whether it was committed is not known. The producer is gone: open it again and look at the committed offsets.
    Unknown(Error),
    /// Another producer has taken over this transactional id.
    Fenced(Error),
    /// It will fail again.
    Refused(Error),
}

impl Failure {
    /// What happened.
    pub fn into_error(self) -> Error {
        match self {
            Failure::Again(error)
            | Failure::NotMember(error)
            | Failure::Unknown(error)
            | Failure::Fenced(error)
            | Failure::Refused(error) => error,
        }
    }
}

/// Collects what became of records.
#[derive(Default)]
pub struct DeliveryContext {
    context: Context,
    failed: Mutex<Option<(String, RDKafkaErrorCode)>>,
    offsets: Mutex<Vec<(usize, i32, i64)>>,
}

client_context!(DeliveryContext);

impl ProducerContext for DeliveryContext {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, token: usize) {
        match result {
            Ok(message) if token > 0 => {
                let mut offsets = self.offsets.lock().unwrap_or_else(PoisonError::into_inner);
                offsets.push((token, message.partition(), message.offset()));
            }
            Ok(_) => {}
            Err((error, message)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                // Records purged by an abort say nothing of the cause.
                if !matches!(code, RDKafkaErrorCode::PurgeInflight | RDKafkaErrorCode::PurgeQueue) {
                    let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                    failed.get_or_insert((message.topic().to_owned(), code));
                }
            }
        }
    }
}

/// A producer; made when it is first needed, and made anew after what leaves it in doubt.
pub struct Deliverer {
    connection: Connection,
    /// None for at-least-once delivery.
    transactional_id: Option<String>,
    producer: Option<BaseProducer<DeliveryContext>>,
}

impl Deliverer {
    /// A producer with this transactional id, or without transactions.
    pub fn new(connection: Connection, transactional_id: Option<String>) -> Self {
        Deliverer { connection, transactional_id, producer: None }
    }

    /// Makes the producer, unless there is one. Ends what an earlier producer of the same id left open.
    ///
    /// # Errors
    /// When the client cannot be made, or no broker answers (retryable).
    pub fn open(&mut self) -> Result<()> {
        if self.producer.is_some() {
            return Ok(());
        }
        let mut config: ClientConfig = client_config(&self.connection)?;
        set_default(&mut config, "compression.type", "lz4");
        set_default(&mut config, "linger.ms", "5");
        set_default(&mut config, "transaction.timeout.ms", TRANSACTION_TIMEOUT_MS);
        // Larger than what outputs are cut to: the topic's own limit is then the one that counts.
        set_default(&mut config, "message.max.bytes", "8388608");
        set_default(&mut config, "queue.buffering.max.kbytes", "65536");
        config.set("enable.idempotence", "true").set("acks", "all");
        if let Some(id) = &self.transactional_id {
            config.set("transactional.id", id);
        } else {
            config.remove("transaction.timeout.ms");
        }
        let context = DeliveryContext { context: Context::of(&self.connection), ..DeliveryContext::default() };
        let producer: BaseProducer<DeliveryContext> = config
            .create_with_context(context)
            .map_err(|error| kafka_error("cannot make a producer; see [sink]", error))?;
        give_token(producer.client(), &self.connection)?;
        if self.transactional_id.is_some() {
            producer.init_transactions(TRANSACTION_CALL).map_err(|error| {
                if let (Some(code), Some(id)) = (error.rdkafka_error_code(), &self.transactional_id)
                    && is_forbidden(code)
                {
                    return forbidden("Write", "transactional id", id);
                }
                let retryable = matches!(&error, KafkaError::Transaction(inner)
                    if !inner.is_fatal() || is_transient(inner.code()));
                let error = kafka_error("cannot begin to use transactions", error);
                if retryable { error.retryable() } else { error }
            })?;
        }
        self.producer = Some(producer);
        Ok(())
    }

    /// Delivers records and, with a transaction, input offsets as one unit. Gives the place of each record with a token:
    /// token, partition, offset.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn deliver(
        &mut self,
        records: &[OutRecord],
        offsets: &TopicPartitionList,
        group: Option<&ConsumerGroupMetadata>,
    ) -> Result<Vec<(usize, i32, i64)>, Failure> {
        self.open()
            .map_err(|error| if error.is_retryable() { Failure::Unknown(error) } else { Failure::Refused(error) })?;
        let Some(producer) = &self.producer else {
            return Err(Failure::Refused(Error::internal("there is no producer")));
        };
        clear(producer);
        let result = match (&self.transactional_id, group) {
            (Some(_), Some(group)) => {
                let began = Instant::now();
                let result = transaction(producer, records, offsets, group);
                measure(&result, began.elapsed());
                result
            }
            (Some(_), None) => Err(Failure::NotMember(Error::external("this instance is not a member of its group"))),
            (None, _) => plain(producer, records),
        };
        if matches!(result, Err(Failure::Unknown(_) | Failure::Fenced(_))) {
            self.producer = None;
        }
        result
    }
}

/// Records how a transaction ended and how long it took.
fn measure<T>(result: &Result<T, Failure>, elapsed: Duration) {
    let outcome = match result {
        Ok(_) => "committed",
        Err(Failure::Again(_) | Failure::NotMember(_) | Failure::Refused(_)) => "aborted",
        Err(Failure::Fenced(_)) => "fenced",
        Err(Failure::Unknown(_)) => "unknown",
    };
    metrics::counter!("lightcl_kafka_transactions_total", "outcome" => outcome).increment(1);
    metrics::histogram!("lightcl_kafka_transaction_seconds", "outcome" => outcome).record(elapsed);
}

fn clear(producer: &BaseProducer<DeliveryContext>) {
    let context = producer.client().context();
    *context.failed.lock().unwrap_or_else(PoisonError::into_inner) = None;
    context.offsets.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

fn placed(producer: &BaseProducer<DeliveryContext>) -> Vec<(usize, i32, i64)> {
    let mut offsets = producer.client().context().offsets.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut *offsets)
}

fn transaction(
    producer: &BaseProducer<DeliveryContext>,
    records: &[OutRecord],
    offsets: &TopicPartitionList,
    group: &ConsumerGroupMetadata,
) -> Result<Vec<(usize, i32, i64)>, Failure> {
    step("begin a transaction", || producer.begin_transaction()).map_err(|error| classify(producer, records, error))?;
    if let Err(failure) = enqueue(producer, records) {
        return Err(aborted(producer, failure));
    }
    step("add the input offsets to the transaction", || {
        producer.send_offsets_to_transaction(offsets, group, TRANSACTION_CALL)
    })
    .map_err(|error| classify(producer, records, error))?;
    wait_for_acknowledgements(producer);
    // Committing flushes first, so that a record that fails shows here too.
    step("commit the transaction", || producer.commit_transaction(TRANSACTION_CALL))
        .map_err(|error| classify(producer, records, error))?;
    Ok(placed(producer))
}

fn plain(producer: &BaseProducer<DeliveryContext>, records: &[OutRecord]) -> Result<Vec<(usize, i32, i64)>, Failure> {
    enqueue(producer, records)?;
    wait_for_acknowledgements(producer);
    producer.flush(TRANSACTION_CALL).map_err(|error| Failure::Again(kafka_error("cannot deliver outputs", error)))?;
    match first_failed(producer) {
        None => Ok(placed(producer)),
        Some(error) if error.is_retryable() => Err(Failure::Again(error)),
        Some(error) => Err(Failure::Refused(error)),
    }
}

/// Waits until nothing is on its way. The client's own flush looks only ten times a second.
fn wait_for_acknowledgements(producer: &BaseProducer<DeliveryContext>) {
    let deadline = Instant::now() + TRANSACTION_CALL;
    while producer.in_flight_count() > 0 && Instant::now() < deadline {
        producer.poll(Duration::from_millis(1));
    }
}

/// Hands records to the client, waiting while its queue is full.
fn enqueue(producer: &BaseProducer<DeliveryContext>, records: &[OutRecord]) -> Result<(), Failure> {
    let deadline = Instant::now() + TRANSACTION_CALL;
    for record in records {
        let mut headers = (!record.headers.is_empty()).then(|| {
            let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
            for (name, value) in &record.headers {
                headers = headers.insert(Header { key: name, value: value.as_deref() });
            }
            headers
        });
        loop {
            let mut out: BaseRecord<'_, [u8], [u8], usize> = BaseRecord::with_opaque_to(&record.topic, record.token);
            out.partition = record.partition;
            out.key = record.key.as_deref();
            out.payload = record.value.as_deref();
            out.headers = headers.take();
            match producer.send(out) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    headers = back.headers;
                    if Instant::now() > deadline {
                        return Err(Failure::Again(Error::external("the brokers do not take outputs").retryable()));
                    }
                    producer.poll(Duration::from_millis(50));
                }
                Err((error, _)) => {
                    let too_large = error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge);
                    let retryable = error.rdkafka_error_code().is_some_and(is_transient);
                    let error = kafka_error("an output cannot be produced", error).with("topic", &record.topic);
                    let error = if too_large { too_large_for(&record.topic) } else { error };
                    return Err(if retryable { Failure::Again(error) } else { Failure::Refused(error) });
                }
            }
        }
    }
    producer.poll(Duration::ZERO);
    Ok(())
}

fn too_large_for(topic: &str) -> Error {
    Error::user(
        "an output is larger than its topic takes; lower sink.chunk_bytes or raise the topic's max.message.bytes",
    )
    .with("topic", topic)
}

/// The first record that failed, as an error.
fn first_failed(producer: &BaseProducer<DeliveryContext>) -> Option<Error> {
    let failed = producer.client().context().failed.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (topic, code) = failed?;
    Some(match code {
        RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize => too_large_for(&topic),
        RDKafkaErrorCode::UnknownTopic
        | RDKafkaErrorCode::UnknownTopicOrPartition
        | RDKafkaErrorCode::UnknownPartition => {
            Error::user("there is no such output topic; make it, for one with 'lightcl kafka topics PIPELINE --create'")
                .with("topic", topic)
        }
        RDKafkaErrorCode::TopicAuthorizationFailed => forbidden("Write", "output topic", topic),
        code => {
            let error = Error::external("an output was not delivered").with("topic", topic).with("kafka", code);
            if is_transient(code) { error.retryable() } else { error }
        }
    })
}

/// Calls until it does not say that the same call may be made again.
fn step(
    what: &'static str,
    call: impl Fn() -> rdkafka::error::KafkaResult<()>,
) -> Result<(), (&'static str, KafkaError)> {
    let deadline = Instant::now() + TRANSACTION_CALL;
    loop {
        match call() {
            Ok(()) => return Ok(()),
            Err(KafkaError::Transaction(inner))
                if inner.is_retriable() && !inner.is_fatal() && Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(error) => return Err((what, error)),
        }
    }
}

/// What an error of a call leaves behind. Anything not known to be harmless leaves the outcome unknown.
fn classify(
    producer: &BaseProducer<DeliveryContext>,
    records: &[OutRecord],
    (what, error): (&'static str, KafkaError),
) -> Failure {
    use RDKafkaErrorCode::{
        Fenced, FencedInstanceId, GroupAuthorizationFailed, IllegalGeneration, InvalidProducerEpoch,
        InvalidProducerIdMapping, ProducerFenced, RebalanceInProgress, TopicAuthorizationFailed,
        TransactionalIdAuthorizationFailed, UnknownMemberId, UnknownProducerId,
    };
    let (code, fatal, abort) = match &error {
        KafkaError::Transaction(inner) => (inner.code(), inner.is_fatal(), inner.txn_requires_abort()),
        other => (other.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail), false, false),
    };
    let cause = first_failed(producer);
    let error = kafka_error(format!("cannot {what}"), error);
    if matches!(code, Fenced | ProducerFenced | InvalidProducerEpoch) {
        return Failure::Fenced(error);
    }
    if fatal {
        let now_fenced = producer
            .client()
            .fatal_error()
            .is_some_and(|(code, _)| matches!(code, Fenced | ProducerFenced | InvalidProducerEpoch));
        return if now_fenced { Failure::Fenced(error) } else { Failure::Unknown(error) };
    }
    // The brokers forget producers that were idle for long. Of the requests that meet this, the client takes only some as a
    // reason to ask for a new id when it aborts; with the answer to another first, every later try would fail alike.
    if !abort || matches!(code, InvalidProducerIdMapping | UnknownProducerId) {
        return Failure::Unknown(error);
    }
    let failure = match code {
        IllegalGeneration | UnknownMemberId | RebalanceInProgress | FencedInstanceId => Failure::NotMember(error),
        GroupAuthorizationFailed | TransactionalIdAuthorizationFailed => Failure::Refused(error),
        // The client says which topic in its log only.
        TopicAuthorizationFailed => {
            let mut topics: Vec<&str> = records.iter().map(|record| &*record.topic).collect();
            topics.sort_unstable();
            topics.dedup();
            Failure::Refused(forbidden("Write", "output topics", topics.join(", ")))
        }
        _ => match cause {
            Some(cause) if !cause.is_retryable() => Failure::Refused(cause),
            Some(cause) => Failure::Again(cause),
            None => Failure::Again(error),
        },
    };
    aborted(producer, failure)
}

/// Aborts, and gives the failure that led here, or a worse one when aborting fails too.
fn aborted(producer: &BaseProducer<DeliveryContext>, failure: Failure) -> Failure {
    let abort = || {
        // It waits until all that was on its way has been told, which only polling does.
        let is_over = AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    producer.poll(Duration::from_millis(10));
                }
            });
            let result = producer.abort_transaction(TRANSACTION_CALL);
            is_over.store(true, Ordering::Release);
            result
        })
    };
    match step("abort the transaction", abort) {
        Ok(()) => failure,
        Err((what, error)) => {
            log::warn!("cannot {what} after: {}", failure.into_error());
            let code = error.rdkafka_error_code();
            let error = kafka_error(format!("cannot {what}"), error);
            if matches!(code, Some(RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced)) {
                Failure::Fenced(error)
            } else {
                Failure::Unknown(error)
            }
        }
    }
}

#[cfg(test)]
mod tests;
