//! From settings to what a Kafka job takes.

use super::settings::{self, Property, Secret, Settings, SourceType, Timestamp};
use chrono::DateTime;
use lightcl_core::{Error, Result};
use lightcl_kafka::config::{
    CheckpointConfig, ClaimCheck, Connection, Delivery, OrElse, OutputTopics, RegistryAddress, Scope, SecretSource,
    SinkConfig, SourceConfig, Start, Topics, ValueFormat,
};
use lightcl_kafka::format::{CsvFormat, FormatConfig, FormatKind, Tombstones};
use std::collections::BTreeMap;
use std::time::Duration;

/// The secret that belongs to the schema registry and not to the client.
const REGISTRY_PASSWORD: &str = "registry.password";

impl Settings {
    /// Whether the source is Kafka.
    pub fn is_kafka(&self) -> bool {
        self.source.kind == SourceType::Kafka
    }

    /// Every column that `[sample]` names, once each.
    pub fn sample_columns(&self) -> Vec<String> {
        let settings::Sample { features, label, task, weight, event_time, id, standardize: _, max_classes: _ } =
            &self.sample;
        let others = [Some(label), task.as_ref(), weight.as_ref(), event_time.as_ref(), id.as_ref()];
        let all =
            features.iter().map(settings::Feature::column).chain(others.into_iter().flatten().map(String::as_str));
        let mut columns: Vec<String> = Vec::new();
        for column in all {
            if !columns.iter().any(|known| known == column) {
                columns.push(column.to_owned());
            }
        }
        columns
    }

    /// What is consumed; none where the source is files.
    ///
    /// # Errors
    /// Never for settings that were checked.
    pub fn kafka_source(&self) -> Result<Option<SourceConfig>> {
        if !self.is_kafka() {
            return Ok(None);
        }
        let source = &self.source;
        let start = match source.start {
            settings::Start::Committed => Start::Committed(source.or_else.into()),
            settings::Start::Earliest => Start::Committed(OrElse::Earliest),
            settings::Start::Latest => Start::Committed(OrElse::Latest),
            settings::Start::Timestamp => {
                let time = source.timestamp.as_ref().ok_or_else(|| Error::internal("a start without its time"))?;
                Start::Timestamp(timestamp_ms(time)?)
            }
            settings::Start::Offsets => Start::Offsets(
                source
                    .offsets
                    .iter()
                    .map(|(name, offset)| Some((partition_of(name)?, i64::try_from(*offset).ok()?)))
                    .collect::<Option<_>>()
                    .ok_or_else(|| Error::internal("an offset of no partition"))?,
            ),
        };
        let topics = match (&source.topics, &source.pattern) {
            (Some(names), _) => Topics::Names(names.clone()),
            (None, Some(pattern)) => Topics::Pattern(pattern.clone()),
            (None, None) => return Err(Error::internal("a source without topics")),
        };
        let brokers = source.brokers.clone().unwrap_or_default();
        Ok(Some(SourceConfig {
            connection: connection(brokers, &source.client, &source.secrets, source.oauth_token_file.as_ref()),
            topics,
            group: source.group.clone().unwrap_or_default(),
            instance: source.instance.clone(),
            start,
            until_end: source.until_end,
            max_wait: (source.max_wait_ms > 0).then(|| Duration::from_millis(source.max_wait_ms)),
            format: self.kafka_format(),
        }))
    }

    fn kafka_format(&self) -> FormatConfig {
        let source = &self.source;
        let settings::Csv { delimiter, quote, has_header: _, columns } = &source.csv;
        // They were checked to be ASCII.
        let ascii = |character: char| u8::try_from(character).unwrap_or(b',');
        let sample = &self.sample;
        let names = [Some(&sample.label), sample.id.as_ref(), sample.task.as_ref(), sample.event_time.as_ref()];
        let categories = sample.features.iter().filter(|feature| feature.is_category());
        let categories = categories.map(|feature| feature.column().to_owned());
        FormatConfig {
            kind: match source.format {
                settings::Format::Json => FormatKind::Json,
                settings::Format::Avro => FormatKind::Avro,
                settings::Format::Arrow => FormatKind::Arrow,
                settings::Format::Csv => FormatKind::Csv,
                settings::Format::Tensor => FormatKind::Tensor,
                settings::Format::CloudEvents => FormatKind::CloudEvents,
            },
            columns: self.sample_columns(),
            exact: names.into_iter().flatten().cloned().chain(categories).collect(),
            types: source.types.clone(),
            tombstones: match source.tombstones {
                settings::Tombstones::DeadLetter => Tombstones::DeadLetter,
                settings::Tombstones::Skip => Tombstones::Skip,
            },
            registry: source.registry.clone(),
            registry_auth: self.registry_auth(),
            csv: CsvFormat { delimiter: ascii(*delimiter), quote: ascii(*quote), columns: columns.clone() },
            most_value_bytes: source.most_value_bytes,
        }
    }

    fn registry_auth(&self) -> Option<(String, SecretSource)> {
        let password = self.source.secrets.get(REGISTRY_PASSWORD).map(SecretSource::from);
        self.source.registry_user.clone().zip(password)
    }

    /// Where outputs go; none where that is the output folder.
    pub fn kafka_sink(&self) -> Option<SinkConfig> {
        let sink = self.sink.as_ref().filter(|_| self.is_kafka())?;
        let none = (BTreeMap::new(), BTreeMap::new());
        let (client, secrets) = (sink.client.as_ref().unwrap_or(&none.0), sink.secrets.as_ref().unwrap_or(&none.1));
        let brokers = sink.brokers.clone().unwrap_or_default();
        let settings::SinkTopics { predictions, stability, boundaries, snapshots, dead_letters, state } =
            sink.topics.clone();
        Some(SinkConfig {
            connection: connection(brokers, client, secrets, sink.oauth_token_file.as_ref()),
            delivery: match sink.delivery {
                settings::Delivery::ExactlyOnce => Delivery::ExactlyOnce,
                settings::Delivery::AtLeastOnce => Delivery::AtLeastOnce,
            },
            topics: OutputTopics { predictions, stability, boundaries, snapshots, dead_letters, state },
            prediction_format: match sink.prediction_format {
                settings::ValueFormat::Json => ValueFormat::Json,
                settings::ValueFormat::Arrow => ValueFormat::Arrow,
                settings::ValueFormat::Avro => ValueFormat::Avro,
            },
            registry: self
                .source
                .registry
                .clone()
                .map(|address| RegistryAddress { address, auth: self.registry_auth() }),
            transactional_prefix: sink.transactional_prefix.clone().unwrap_or_default(),
            commit: Duration::from_millis(sink.commit_ms),
            commit_bytes: sink.commit_bytes,
            chunk_bytes: sink.chunk_bytes,
            claim_check: sink.claim_check.as_ref().map(|settings::ClaimCheck { store, above_bytes }| ClaimCheck {
                store: store.clone(),
                above_bytes: *above_bytes,
            }),
        })
    }

    /// Which rows share a learner.
    pub fn kafka_scope(&self) -> Scope {
        match self.learner.scope {
            settings::Scope::Partition => Scope::Partition,
            settings::Scope::Key => Scope::Key { most_learners: self.learner.most_learners },
            settings::Scope::Global => Scope::Global,
        }
    }

    /// When a job saves state.
    pub fn kafka_checkpoints(&self) -> CheckpointConfig {
        let settings::Checkpoint { every_samples, every_seconds, keep: _ } = self.checkpoint;
        CheckpointConfig { every_samples, every: (every_seconds > 0).then(|| Duration::from_secs(every_seconds)) }
    }
}

impl From<settings::CommittedElse> for OrElse {
    fn from(or_else: settings::CommittedElse) -> Self {
        match or_else {
            settings::CommittedElse::Error => OrElse::Error,
            settings::CommittedElse::Earliest => OrElse::Earliest,
            settings::CommittedElse::Latest => OrElse::Latest,
        }
    }
}

impl From<&Secret> for SecretSource {
    fn from(secret: &Secret) -> Self {
        match (&secret.env, &secret.file) {
            (Some(name), _) => SecretSource::Environment(name.clone()),
            (None, file) => SecretSource::File(file.clone().unwrap_or_default().into()),
        }
    }
}

fn connection(
    brokers: String,
    client: &BTreeMap<String, Property>,
    secrets: &BTreeMap<String, Secret>,
    oauth_token_file: Option<&String>,
) -> Connection {
    let mut properties = BTreeMap::new();
    add_properties("", client, &mut properties);
    let secrets = secrets.iter().filter(|(name, _)| *name != REGISTRY_PASSWORD);
    Connection {
        brokers,
        properties,
        secrets: secrets.map(|(name, secret)| (name.clone(), secret.into())).collect(),
        oauth_token_file: oauth_token_file.map(Into::into),
    }
}

fn add_properties(above: &str, client: &BTreeMap<String, Property>, properties: &mut BTreeMap<String, String>) {
    for (name, value) in client {
        let name = format!("{above}{name}");
        let text = match value {
            Property::Text(text) => text.clone(),
            Property::Flag(flag) => flag.to_string(),
            Property::Whole(number) => number.to_string(),
            Property::Number(number) => number.to_string(),
            Property::Nested(inner) => {
                add_properties(&format!("{name}."), inner, properties);
                continue;
            }
        };
        properties.insert(name, text);
    }
}

/// Topic and number of a partition from `topic-number`.
pub(super) fn partition_of(name: &str) -> Option<(String, i32)> {
    let (topic, number) = name.rsplit_once('-')?;
    let number = number.parse().ok().filter(|number| *number >= 0)?;
    (!topic.is_empty()).then(|| (topic.to_owned(), number))
}

/// A time in milliseconds since 1970.
pub(super) fn timestamp_ms(timestamp: &Timestamp) -> Result<i64> {
    match timestamp {
        Timestamp::Milliseconds(milliseconds) => Ok(*milliseconds),
        Timestamp::Text(text) => match DateTime::parse_from_rfc3339(text) {
            Ok(time) => Ok(time.timestamp_millis()),
            Err(_) => Err(Error::user(format!(
                "source.timestamp must be a time such as \"2026-01-31T08:00:00Z\", or milliseconds since 1970, not \"{text}\""
            ))),
        },
    }
}
