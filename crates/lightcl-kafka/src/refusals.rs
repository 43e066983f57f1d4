//! What brokers say against a client: wrong credentials do not become right by waiting, and a right that lacks is named.

use crate::client::{CALL_TIMEOUT, Context, kafka_error};
use crate::group::GroupContext;
use lightcl_core::{Error, Result};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time after which it is looked whether the client is let in at all.
const LOOK_AFTER: Duration = Duration::from_secs(2);
/// Time for a client to tell what it was told.
const LISTEN: Duration = Duration::from_millis(100);

/// The latest thing that brokers said against a client.
#[derive(Debug, Clone, Default)]
pub struct Told(Arc<Mutex<Option<Refusal>>>);

/// What brokers said, and when.
#[derive(Debug, Clone)]
struct Refusal {
    at: Instant,
    /// Whether it is about who the client is, or who the broker is.
    lasting: bool,
    reason: String,
}

impl Told {
    /// Takes note of an error that is about no call in particular.
    pub fn hear(&self, error: &KafkaError, reason: &str) {
        use RDKafkaErrorCode::{
            AllBrokersDown, Authentication, IllegalSASLState, SSL, SaslAuthenticationFailed, UnsupportedSASLMechanism,
        };
        let Some(code) = error.rdkafka_error_code() else { return };
        // It only follows from others.
        if code == AllBrokersDown {
            return;
        }
        let lasting = matches!(
            code,
            Authentication | IllegalSASLState | SSL | SaslAuthenticationFailed | UnsupportedSASLMechanism
        );
        let refusal = Refusal { at: Instant::now(), lasting, reason: reason.to_owned() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
    }

    fn since(&self, start: Instant) -> Option<Refusal> {
        let latest = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        latest.filter(|refusal| refusal.at >= start)
    }
}

/// Contexts of clients that remember what they were told.
pub trait Tells {
    /// What was told.
    fn told(&self) -> &Told;
}

impl Tells for Context {
    fn told(&self) -> &Told {
        &self.told
    }
}

impl Tells for GroupContext {
    fn told(&self) -> &Told {
        self.context().told()
    }
}

/// Asks about a topic, or all. Where brokers do not let the client in, that is soon said.
///
/// # Errors
/// When no broker answers (retryable), or they do not let the client in.
pub fn metadata<C: ConsumerContext + Tells>(consumer: &BaseConsumer<C>, topic: Option<&str>) -> Result<Metadata> {
    let start = Instant::now();
    match consumer.fetch_metadata(topic, LOOK_AFTER) {
        Ok(metadata) => return Ok(metadata),
        Err(error) => {
            let error = unanswered(consumer, start, error);
            if !error.is_retryable() {
                return Err(error);
            }
        }
    }
    consumer.fetch_metadata(topic, CALL_TIMEOUT).map_err(|error| unanswered(consumer, start, error))
}

/// An error of a call, begun at `start`, that no broker answered.
fn unanswered<C: ConsumerContext + Tells>(consumer: &BaseConsumer<C>, start: Instant, error: KafkaError) -> Error {
    // What it was told it tells by being polled, which would take messages away from a client that has some.
    if consumer.assignment().is_ok_and(|list| list.count() == 0) {
        let until = Instant::now() + LISTEN;
        while Instant::now() < until {
            consumer.poll(LISTEN / 10);
        }
    }
    match consumer.context().told().since(start) {
        Some(Refusal { lasting: true, reason, .. }) => Error::user(
            "the brokers do not let this user in, or are not the ones that they should be; look at security.protocol and at \
             what begins with sasl. and ssl. in [source.client] and [source.secrets], or in those of [sink]",
        )
        .with("reason", reason),
        refusal => {
            let wrapped = kafka_error(
                "no broker answers; is the address right, and does security.protocol fit the listener, with what begins \
                 with sasl. and ssl. as it needs them?",
                error,
            );
            let wrapped = match refusal {
                Some(Refusal { reason, .. }) => wrapped.with("reason", reason),
                None => wrapped,
            };
            wrapped.retryable()
        }
    }
}

/// Whether an error says that a right lacks, which trying again does not give.
pub fn is_forbidden(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{
        ClusterAuthorizationFailed, GroupAuthorizationFailed, TopicAuthorizationFailed,
        TransactionalIdAuthorizationFailed,
    };
    matches!(
        code,
        ClusterAuthorizationFailed
            | GroupAuthorizationFailed
            | TopicAuthorizationFailed
            | TransactionalIdAuthorizationFailed
    )
}

/// This user lacks a right: which, on what.
pub fn forbidden(right: &str, kind: &'static str, name: impl std::fmt::Display) -> Error {
    Error::user(format!(
        "the brokers refuse this user: it takes the ACL {right} on the {kind}; docs/kafka.md lists the rights that are needed"
    ))
    .with(kind, name)
}
