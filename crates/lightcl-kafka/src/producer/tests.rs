use super::*;
use lightcl_testkit::services::{self, Broker};
use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};

/// A member of a group that reads a topic.
fn member(broker: &Broker, topic: &str) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap()).set("group.id", topic).set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().unwrap();
    consumer.subscribe(&[topic]).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while consumer.assignment().unwrap().count() == 0 {
        assert!(Instant::now() < deadline, "no partition was assigned");
        let _ = consumer.poll(Duration::from_millis(100));
    }
    consumer
}

#[test]
fn a_producer_that_the_brokers_forgot_is_made_anew_though_only_the_request_for_offsets_meets_it() {
    if !services::ready_or_skipped() {
        return;
    }
    let expire = |setting: &'static str| ["--set", setting];
    let broker = Broker::start(
        &[
            expire("transactional.id.expiration.ms=1000"),
            expire("transaction.remove.expired.transaction.cleanup.interval.ms=200"),
        ]
        .concat(),
    );
    broker.create_topic("forgotten", 1, &[]);
    let consumer = member(&broker, "forgotten");
    let connection = Connection { brokers: broker.bootstrap(), ..Connection::default() };
    let mut deliverer = Deliverer::new(connection, Some("forgotten-0".into()));
    let mut deliver = |offset: i64| {
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset("forgotten", 0, Offset::Offset(offset)).unwrap();
        // Without records no other request can meet it first.
        deliverer.deliver(&[], &offsets, consumer.group_metadata().as_ref())
    };
    for offset in [1, 2] {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut failures = Vec::new();
        while let Err(failure) = deliver(offset) {
            assert!(Instant::now() < deadline, "{failures:?}");
            assert!(matches!(failure, Failure::Unknown(_)), "{failure:?}");
            failures.push(failure);
        }
        assert_eq!(!failures.is_empty(), offset > 1, "{failures:?}");
        std::thread::sleep(Duration::from_secs(3));
    }
}
