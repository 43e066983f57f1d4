//! Topics and groups, asked for and made without starting a Java program each time.

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// A topic to be made: name, partitions, and settings such as `cleanup.policy=compact`.
pub type Topic<'a> = (&'a str, i32, &'a [&'a str]);

/// Makes topics with one call, and waits until brokers tell of them.
pub fn create_topics(bootstrap: &str, topics: &[Topic<'_>]) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
    let wanted: Vec<NewTopic<'_>> = topics
        .iter()
        .map(|(name, partitions, settings)| {
            // As many copies as the brokers make without being told.
            let topic = NewTopic::new(name, *partitions, TopicReplication::Fixed(-1));
            settings
                .iter()
                .map(|setting| setting.split_once('=').unwrap())
                .fold(topic, |topic, (name, value)| topic.set(name, value))
        })
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
    for made in block_on(admin.create_topics(&wanted, &options)).unwrap() {
        made.unwrap();
    }
    let deadline = Instant::now() + PATIENCE;
    for (name, partitions, _) in topics {
        loop {
            let metadata = admin.inner().fetch_metadata(Some(name), PATIENCE).unwrap();
            let found = metadata.topics().iter().find(|topic| topic.name() == *name);
            let led = |topic: &rdkafka::metadata::MetadataTopic| {
                topic.partitions().iter().filter(|partition| partition.leader() >= 0).count()
            };
            if found.is_some_and(|topic| topic.error().is_none() && led(topic) == *partitions as usize) {
                break;
            }
            assert!(Instant::now() < deadline, "{name} was made and is not there");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Committed offsets of a group by partition; none where nothing is committed.
pub fn committed(bootstrap: &str, group: &str, topic: &str, partitions: i32) -> Vec<Option<i64>> {
    let consumer = consumer(bootstrap, group);
    let mut list = TopicPartitionList::new();
    list.add_partition_range(topic, 0, partitions - 1);
    let found = consumer.committed_offsets(list, PATIENCE).unwrap();
    let offset = |partition| match found.find_partition(topic, partition).unwrap().offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    };
    (0..partitions).map(offset).collect()
}

/// Ends of the partitions of a topic.
pub fn ends(bootstrap: &str, topic: &str, partitions: i32) -> Vec<i64> {
    let consumer = consumer(bootstrap, "reader");
    (0..partitions).map(|partition| consumer.fetch_watermarks(topic, partition, PATIENCE).unwrap().1).collect()
}

/// State of a group and ids of its members.
pub fn members(bootstrap: &str, group: &str) -> (String, Vec<String>) {
    let groups = consumer(bootstrap, "reader");
    let groups = groups.fetch_group_list(Some(group), PATIENCE).unwrap();
    let Some(found) = groups.groups().iter().find(|found| found.name() == group) else { return Default::default() };
    let mut members: Vec<String> = found.members().iter().map(|member| member.id().to_owned()).collect();
    members.sort_unstable();
    (found.state().to_owned(), members)
}

fn consumer(bootstrap: &str, group: &str) -> BaseConsumer {
    ClientConfig::new().set("bootstrap.servers", bootstrap).set("group.id", group).create().unwrap()
}

/// Waits for a future on this thread: the client answers on threads of its own.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
