//! Removes retired models from compacted topics.

use crate::claims::{ClaimStore, Claims};
use crate::client::{CALL_TIMEOUT, Context, client_config, give_token, kafka_error};
use crate::config::{ClaimCheck, Connection};
use crate::follower::{ends, is_passing, pass};
use crate::outbox::OutRecord;
use crate::parts;
use crate::producer::{Deliverer, Failure};
use lightcl_core::{Error, Result};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a topic may give nothing before its end.
const STALL: Duration = Duration::from_secs(30);

/// Which model is retired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retired {
    /// Its name.
    pub model_id: String,
    /// The unit; all when there is none.
    pub unit: Option<String>,
}

impl Retired {
    /// Whether a key is one of its records: the first segments are those of its prefix.
    pub fn has(&self, key: &str) -> bool {
        let is_below =
            |names: &[&str]| key.strip_prefix(&parts::prefix(names)).is_some_and(|rest| rest.starts_with('/'));
        let model_id = self.model_id.as_str();
        match self.unit.as_deref() {
            None => is_below(&[model_id]),
            // The learner of a key has segments of its own in the state topic.
            Some(unit) => {
                let learner = unit.split_once('/');
                is_below(&[model_id, unit]) || learner.is_some_and(|(unit, key)| is_below(&[model_id, unit, key]))
            }
        }
    }
}

/// Writes a tombstone for every record of a model in a compacted topic whose keys begin with model and unit, each into the
/// partition where the record stands, manifests first. Gives how many there were. No job may learn the model any longer.
///
/// # Errors
/// When the topic cannot be read or written.
pub fn retire(connection: &Connection, topic: &str, retired: &Retired) -> Result<u64> {
    let keys = keys_of(connection, topic, retired)?;
    if keys.is_empty() {
        return Ok(0);
    }
    // A reader must not look for chunks that are gone.
    let names_chunks = |key: &str| ["/manifest", "/unit", "/parked"].iter().any(|end| key.ends_with(end));
    let (manifests, others): (Vec<_>, Vec<_>) = keys.into_iter().partition(|(key, _)| names_chunks(key));
    let topic: Arc<str> = topic.into();
    let records: Vec<OutRecord> = manifests
        .into_iter()
        .chain(others)
        .map(|(key, partition)| OutRecord {
            topic: Arc::clone(&topic),
            partition: Some(partition),
            key: Some(key.into_bytes()),
            value: None,
            headers: Vec::new(),
            token: 0,
        })
        .collect();
    let delivered = Deliverer::new(connection.clone(), None).deliver(&records, &TopicPartitionList::new(), None);
    delivered.map_err(Failure::into_error)?;
    Ok(records.len() as u64)
}

/// Removes the objects of a model that a topic names, once [`retire`] has removed what names them. Gives how many there were.
///
/// # Errors
/// When the store cannot be used.
pub fn retire_objects(config: &ClaimCheck, topic: &str, retired: &Retired) -> Result<usize> {
    let claims = Claims::new(&Arc::new(ClaimStore::open(config)?), topic);
    let model_id = retired.model_id.as_str();
    let Some(unit) = retired.unit.as_deref() else { return claims.retire(&parts::prefix(&[model_id])) };
    let of_learner = match unit.split_once('/') {
        Some((unit, key)) => claims.retire(&parts::prefix(&[model_id, unit, key]))?,
        None => 0,
    };
    Ok(of_learner + claims.retire(&parts::prefix(&[model_id, unit]))?)
}

/// Keys of a model that have a value, with the partition of each.
fn keys_of(connection: &Connection, topic: &str, retired: &Retired) -> Result<BTreeMap<String, i32>> {
    let failed = |error| kafka_error("cannot read the topic", error).with("topic", topic);
    let mut config = client_config(connection)?;
    config.remove("group.instance.id");
    config
        .set("group.id", "lightcl-retire")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "earliest");
    let consumer: BaseConsumer<Context> = config.create_with_context(Context::of(connection)).map_err(failed)?;
    give_token(consumer.client(), connection)?;
    let metadata = consumer.fetch_metadata(Some(topic), CALL_TIMEOUT).map_err(failed)?;
    let partitions: BTreeSet<i32> = metadata
        .topics()
        .iter()
        .filter(|found| found.name() == topic)
        .flat_map(|found| found.partitions())
        .map(|partition| partition.id())
        .collect();
    if partitions.is_empty() {
        return Err(Error::user("there is no such topic").with("topic", topic));
    }
    let mut list = TopicPartitionList::new();
    for &partition in &partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning).map_err(failed)?;
    }
    consumer.assign(&list).map_err(failed)?;
    let mut left = ends(&consumer, topic, &partitions)?;
    let mut keys = BTreeMap::new();
    let mut heard = Instant::now();
    while !left.is_empty() {
        match consumer.poll(Duration::from_secs(1)) {
            Some(Ok(message)) => {
                heard = Instant::now();
                let key = message.key().and_then(|key| str::from_utf8(key).ok()).filter(|key| retired.has(key));
                match (key, message.payload()) {
                    (Some(key), Some(_)) => {
                        keys.insert(key.to_owned(), message.partition());
                    }
                    (Some(key), None) => {
                        keys.remove(key);
                    }
                    (None, _) => {}
                }
                pass(&mut left, message.partition(), message.offset());
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                heard = Instant::now();
                left.remove(&partition);
            }
            Some(Err(error)) if !is_passing(&error) => return Err(failed(error)),
            _ if heard.elapsed() > STALL => {
                return Err(Error::external("the brokers do not answer").with("topic", topic).retryable());
            }
            _ => {}
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_of_the_model_are_its_own() {
        let all = Retired { model_id: "shop".into(), unit: None };
        let one = Retired { unit: Some("samples-1".into()), ..all.clone() };
        let key = Retired { unit: Some("samples-1/a/b".into()), ..all.clone() };
        for (name, of_all, of_one, of_key) in [
            ("shop/samples-1/manifest", true, true, false),
            ("shop/samples-1/suffix/a/0", true, true, false),
            ("shop/samples-1%2Fa%2Fb/manifest", true, false, true),
            ("shop/samples-1/a%2Fb/parked", true, true, true),
            ("shop/samples-10/manifest", true, false, false),
            ("shop2/samples-1/manifest", false, false, false),
            ("shop", false, false, false),
        ] {
            assert_eq!((all.has(name), one.has(name), key.has(name)), (of_all, of_one, of_key), "{name}");
        }
    }
}
