//! The topics that a job writes to: what they should be, whether they are, and how they are made.

use crate::config::{Connection, SinkConfig, SourceConfig, Topics};
use lightcl_core::{Error, Result};
use rdkafka::admin::{AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::BTreeMap;

mod asking;
mod properties;

pub use properties::check_properties;

use asking::{Admin, Lookout, PATIENCE, admin, block_on};

/// What a record takes beside its payload: key, headers, and the batch around it.
const RECORD_OVERHEAD: usize = 64 << 10;

/// What brokers take without being told.
const USUAL_MESSAGE_BYTES: usize = 1_048_588;

/// What was asked for on the command line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TopicOptions {
    /// Whether topics that are not there are made.
    pub create: bool,
    /// Partitions of the topics made; none = as many as the input has.
    pub partitions: Option<i32>,
    /// Copies of each partition; none = what the brokers make without being told.
    pub replication: Option<i32>,
}

/// What a topic should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPlan {
    /// The output: `state`, `predictions`, ..
    pub output: &'static str,
    /// The topic's name.
    pub name: String,
    /// Partitions.
    pub partitions: i32,
    /// Settings by name.
    pub settings: BTreeMap<&'static str, String>,
}

/// What became of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicReport {
    /// What it should be.
    pub plan: TopicPlan,
    /// What it is.
    pub state: TopicState,
    /// What is wrong with it, a sentence each.
    pub faults: Vec<String>,
}

/// Whether a topic is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicState {
    /// It was there.
    There {
        /// Its partitions.
        partitions: i32,
    },
    /// It was made.
    Made,
    /// It is not there.
    Missing,
}

/// Looks at the topics of a job's outputs, and makes those that are missing when asked to.
///
/// # Errors
/// When no broker answers, the input topics are not there, or a topic cannot be made.
pub fn topics(source: &SourceConfig, sink: &SinkConfig, options: TopicOptions) -> Result<Vec<TopicReport>> {
    let input = input_partitions(source, options.partitions)?;
    let lookout = Lookout::new(&sink.connection)?;
    let admin = admin(&sink.connection)?;
    let mut reports = Vec::new();
    for plan in plans(sink, input, options) {
        let there = lookout.partitions_of(&plan.name)?;
        let (state, faults) = match there {
            Some(partitions) => (TopicState::There { partitions }, faults(&admin, &plan, partitions, input)?),
            None if options.create => (create(&admin, &plan, options.replication)?, Vec::new()),
            None => (TopicState::Missing, Vec::new()),
        };
        reports.push(TopicReport { plan, state, faults });
    }
    Ok(reports)
}

/// What the topics of all outputs should be.
fn plans(sink: &SinkConfig, input: i32, options: TopicOptions) -> Vec<TopicPlan> {
    let topics = &sink.topics;
    let compacted = |output: &str| matches!(output, "state" | "snapshots");
    let all = [
        ("state", &topics.state),
        ("snapshots", &topics.snapshots),
        ("predictions", &topics.predictions),
        ("stability", &topics.stability),
        ("boundaries", &topics.boundaries),
        ("dead_letters", &topics.dead_letters),
    ];
    let named = all.into_iter().filter_map(|(output, topic)| Some((output, topic.clone()?)));
    named
        .map(|(output, name)| {
            let mut settings = BTreeMap::new();
            if compacted(output) {
                let largest = USUAL_MESSAGE_BYTES.max(sink.chunk_bytes + RECORD_OVERHEAD);
                settings.insert("cleanup.policy", "compact".to_owned());
                settings.insert("max.message.bytes", largest.to_string());
                // State is written over and over; what it replaces should go soon, or a restore reads all of it.
                settings.insert("min.cleanable.dirty.ratio", "0.1".to_owned());
                settings.insert("max.compaction.lag.ms", "3600000".to_owned());
                // The newest segment is never compacted.
                settings.insert("segment.ms", "600000".to_owned());
                settings.insert("segment.bytes", (256 << 20).to_string());
            } else {
                settings.insert("cleanup.policy", "delete".to_owned());
            }
            if options.replication.is_some_and(|copies| copies >= 3) {
                settings.insert("min.insync.replicas", "2".to_owned());
            }
            let partitions = if output == "state" { input } else { options.partitions.unwrap_or(input) };
            TopicPlan { output, name, partitions, settings }
        })
        .collect()
}

/// The most partitions that one of the input topics has.
fn input_partitions(source: &SourceConfig, given: Option<i32>) -> Result<i32> {
    let Topics::Names(names) = &source.topics else {
        let message = "with source.pattern the number of partitions of the input is not known; give --partitions, as many as the \
                       largest input topic has";
        return given.ok_or_else(|| Error::user(message));
    };
    let lookout = Lookout::new(&source.connection)?;
    let mut most = 0;
    for name in names {
        match lookout.partitions_of(name)? {
            Some(partitions) => most = most.max(partitions),
            None if given.is_some() => most = most.max(given.unwrap_or(0)),
            None => {
                let message = format!(
                    "there is no input topic '{name}', so the number of partitions is not known; make it first, or give --partitions"
                );
                return Err(Error::user(message).with("brokers", &source.connection.brokers));
            }
        }
    }
    Ok(most)
}

/// The settings of a topic; none where this user may not see them.
fn settings_of(admin: &Admin, topic: &str) -> Result<Option<ConfigResource>> {
    let failed = || Error::external(format!("cannot read the settings of '{topic}'"));
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    let answers = block_on(admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options))
        .map_err(|error| failed().caused_by(error))?;
    match answers.into_iter().next() {
        Some(Ok(settings)) => Ok(Some(settings)),
        Some(Err(RDKafkaErrorCode::TopicAuthorizationFailed)) | None => Ok(None),
        Some(Err(code)) => Err(failed().caused_by(code)),
    }
}

/// Whether records of a topic go away when others with their keys come; none where this user may not see its settings.
///
/// # Errors
/// When no broker answers.
pub fn is_compacted(connection: &Connection, topic: &str) -> Result<Option<bool>> {
    let settings = settings_of(&admin(connection)?, topic)?;
    let policy = |settings: ConfigResource| settings.get("cleanup.policy")?.value.clone();
    Ok(settings.map(|settings| policy(settings).is_some_and(|policy| policy.contains("compact"))))
}

fn faults(admin: &Admin, plan: &TopicPlan, partitions: i32, input: i32) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    if plan.output == "state" && partitions < input {
        faults.push(format!(
            "it has {partitions} partitions, fewer than the {input} of the input: a restore reads more than its own"
        ));
    }
    let Some(settings) = settings_of(admin, &plan.name)? else {
        faults.push("its settings are not shown to this user; that takes the ACL DescribeConfigs".to_owned());
        return Ok(faults);
    };
    let value = |name: &str| settings.get(name).and_then(|entry| entry.value.clone());
    let mut change = Vec::new();
    let policy = value("cleanup.policy").unwrap_or_default();
    if plan.settings.get("cleanup.policy").is_some_and(|wanted| wanted == "compact") {
        if policy != "compact" {
            faults.push(format!("cleanup.policy is {policy}: old state would be deleted by age"));
            change.push("cleanup.policy=compact".to_owned());
        }
    } else if policy.contains("compact") {
        faults.push(format!("cleanup.policy is {policy}: records with the same key would be lost"));
        change.push("cleanup.policy=delete".to_owned());
    }
    let number = |text: &str| text.parse::<u64>().ok();
    if let Some(wanted) = plan.settings.get("max.message.bytes")
        && let (Some(least), Some(is)) = (number(wanted), value("max.message.bytes").as_deref().and_then(number))
        && is < least
    {
        faults.push(format!("max.message.bytes is {is}: chunks of state would not fit"));
        change.push(format!("max.message.bytes={wanted}"));
    }
    if !change.is_empty() {
        faults.push(format!(
            "mend it with: kafka-configs.sh --alter --entity-type topics --entity-name {} --add-config {}",
            plan.name,
            change.join(",")
        ));
    }
    Ok(faults)
}

fn create(admin: &Admin, plan: &TopicPlan, replication: Option<i32>) -> Result<TopicState> {
    // -1: as the brokers are set up.
    let copies = TopicReplication::Fixed(replication.unwrap_or(-1));
    let mut topic = NewTopic::new(&plan.name, plan.partitions, copies);
    for (name, value) in &plan.settings {
        topic = topic.set(name, value);
    }
    let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
    let failed = |error: KafkaError| Error::external(format!("cannot make the topic '{}'", plan.name)).caused_by(error);
    let answers = block_on(admin.create_topics([&topic], &options)).map_err(failed)?;
    match answers.into_iter().next() {
        Some(Ok(_)) => Ok(TopicState::Made),
        // Another instance was faster.
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(TopicState::There { partitions: plan.partitions }),
        Some(Err((_, code))) => {
            let hint = match code {
                RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed => {
                    "; it takes the ACL Create on the topic or the cluster"
                }
                RDKafkaErrorCode::InvalidReplicationFactor => {
                    "; there are fewer brokers than copies, give --replication"
                }
                _ => "",
            };
            Err(Error::user(format!("cannot make the topic '{}'{hint}", plan.name)).caused_by(code))
        }
        None => Err(Error::external(format!("no answer about the topic '{}'", plan.name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Connection, Delivery, OutputTopics, ValueFormat};
    use std::time::Duration;

    fn sink(chunk_bytes: usize) -> SinkConfig {
        let topic = |name: &str| Some(name.to_owned());
        SinkConfig {
            connection: Connection::default(),
            delivery: Delivery::ExactlyOnce,
            topics: OutputTopics { state: topic("s"), predictions: topic("p"), ..OutputTopics::default() },
            prediction_format: ValueFormat::Json,
            registry: None,
            transactional_prefix: "x".to_owned(),
            commit: Duration::from_secs(1),
            commit_bytes: 1,
            chunk_bytes,
            claim_check: None,
        }
    }

    #[test]
    fn state_is_compacted_and_has_the_partitions_of_the_input() {
        let options = TopicOptions { partitions: Some(2), replication: Some(3), ..TopicOptions::default() };
        let plans = plans(&sink(4 << 20), 6, options);
        let all: Vec<_> = plans.iter().map(|plan| (plan.output, plan.partitions)).collect();
        assert_eq!(all, [("state", 6), ("predictions", 2)]);
        assert_eq!(plans[0].settings["cleanup.policy"], "compact");
        assert_eq!(plans[0].settings["max.message.bytes"], ((4 << 20) + RECORD_OVERHEAD).to_string());
        assert_eq!(plans[1].settings["cleanup.policy"], "delete");
        assert_eq!(plans[1].settings["min.insync.replicas"], "2");
    }
}
