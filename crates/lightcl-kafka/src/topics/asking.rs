//! Clients that ask brokers about topics.

use crate::client::{Context, client_config, give_token, kafka_error};
use crate::config::Connection;
use lightcl_core::{Error, Result};
use rdkafka::admin::AdminClient;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{self, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

/// How long a broker may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// Looks for topics with a consumer, since only that tells what brokers say against a user while it waits for them.
pub(super) struct Lookout<'a> {
    consumer: BaseConsumer<Context>,
    connection: &'a Connection,
}

impl<'a> Lookout<'a> {
    pub fn new(connection: &'a Connection) -> Result<Self> {
        let consumer = client_config(connection)?
            .create_with_context(Context::of(connection))
            .map_err(|error| kafka_error("cannot look at topics", error))?;
        Ok(Lookout { consumer, connection })
    }

    /// Partitions of a topic, where there is such a topic.
    pub fn partitions_of(&self, topic: &str) -> Result<Option<i32>> {
        let done = AtomicBool::new(false);
        let metadata = thread::scope(|scope| {
            // Logs and tokens are served by whoever polls.
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    self.consumer.poll(Duration::from_millis(50));
                }
            });
            let metadata = self.consumer.fetch_metadata(Some(topic), PATIENCE);
            done.store(true, Ordering::Relaxed);
            metadata
        });
        let to = self.connection;
        let metadata = metadata.map_err(|error| unreachable(&error, to))?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else { return Ok(None) };
        match found.error().map(RDKafkaErrorCode::from) {
            None => Ok(Some(i32::try_from(found.partitions().len()).unwrap_or(i32::MAX))),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Ok(None),
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                let message = format!("not allowed to describe the topic '{topic}'; it takes the ACL Describe on it");
                Err(Error::user(message).with("brokers", &to.brokers))
            }
            Some(code) => {
                let error = Error::external(format!("cannot look at the topic '{topic}'"));
                Err(error.with("brokers", &to.brokers).caused_by(code))
            }
        }
    }
}

fn unreachable(error: &KafkaError, to: &Connection) -> Error {
    Error::external(
        "no broker answers; is the address right, and do security.protocol and the secrets fit the listener?",
    )
    .with("brokers", &to.brokers)
    .caused_by(error.clone())
    .retryable()
}

/// Makes topics and reads their settings.
pub(super) type Admin = AdminClient<Context>;

/// A client for that.
pub(super) fn admin(connection: &Connection) -> Result<Admin> {
    let admin: Admin = client_config(connection)?
        .create_with_context(Context::of(connection))
        .map_err(|error| kafka_error("cannot look at topics", error))?;
    give_token(admin.inner(), connection)?;
    Ok(admin)
}

/// Waits for a future on this thread: the client answers on threads of its own, so no runtime is needed.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = task::Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
