//! The options of a Kafka table.

use datafusion::arrow::datatypes::Schema;
use lightcl_core::{Error, Result};
use lightcl_kafka::config::{Connection, SecretSource};
use lightcl_kafka::format::{CsvFormat, FormatConfig, FormatKind, Tombstones};
use lightcl_kafka::reading::{Start, TopicConfig, Until};
use lightcl_pipeline::config::is_secret;
use std::collections::BTreeMap;

/// The options, for messages about one that does not exist.
const KNOWN: &str = "kafka.format, kafka.start, kafka.offsets, kafka.until, kafka.bad_records, kafka.tombstones, kafka.registry, \
                     kafka.registry_user, kafka.registry_password, kafka.oauth_token_file, kafka.csv_columns, \
                     kafka.csv_delimiter, kafka.property.NAME and kafka.secret.NAME";

/// What becomes of a record that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadRecords {
    /// It fails the query.
    Fail,
    /// It is counted, logged and left out.
    Skip,
}

/// A Kafka table as its statement describes it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct KafkaOptions {
    /// The topic, and how its records become rows.
    pub topic: TopicConfig,
    /// Where reading begins, unless `offsets` says otherwise.
    pub start: Start,
    /// Where reading begins, by partition.
    pub offsets: BTreeMap<i32, u64>,
    /// The offsets before which reading stops, by partition. Others are read to the end that they have then.
    pub until: BTreeMap<i32, u64>,
    /// What becomes of records that cannot be read.
    pub bad_records: BadRecords,
}

impl KafkaOptions {
    /// Reads location and options.
    ///
    /// # Errors
    /// A user error that names the option and what it may be.
    pub fn new(location: &str, options: &BTreeMap<String, String>, schema: &Schema) -> Result<Self> {
        let (brokers, topic) = place(location)?;
        let mut read = KafkaOptions {
            topic: TopicConfig {
                connection: Connection { brokers, ..Connection::default() },
                topic,
                format: FormatConfig::default(),
            },
            start: Start::Earliest,
            offsets: BTreeMap::new(),
            until: BTreeMap::new(),
            bad_records: BadRecords::Fail,
        };
        let (mut user, mut password) = (None, None);
        // In order, so that of several mistakes the same one is told.
        for (key, value) in options {
            let wrong = |allowed: &str| {
                Error::user("an option of a Kafka table is out of range")
                    .with("option", key)
                    .with("value", value)
                    .with("allowed", allowed)
            };
            let TopicConfig { connection, format, .. } = &mut read.topic;
            // Keys arrive in lower case, and those without a dot with another prefix.
            let name = key.strip_prefix("kafka.").unwrap_or(key);
            match name {
                "format" => {
                    format.kind = kind(value).ok_or_else(|| wrong("json, avro, arrow, csv, tensor, cloudevents"))?
                }
                "start" => {
                    read.start = start(value)
                        .ok_or_else(|| wrong("earliest, latest, or timestamp=MILLISECONDS (since 1970-01-01 UTC)"))?;
                }
                "offsets" => {
                    read.offsets = offsets(value).ok_or_else(|| wrong("PARTITION:OFFSET, several with commas"))?
                }
                "until" => read.until = offsets(value).ok_or_else(|| wrong("PARTITION:OFFSET, several with commas"))?,
                "bad_records" => {
                    read.bad_records = match value.as_str() {
                        "fail" => BadRecords::Fail,
                        "skip" => BadRecords::Skip,
                        _ => return Err(wrong("fail, skip")),
                    }
                }
                "tombstones" => {
                    format.tombstones = match value.as_str() {
                        "bad" => Tombstones::DeadLetter,
                        "skip" => Tombstones::Skip,
                        _ => return Err(wrong("bad, skip")),
                    }
                }
                "registry" => format.registry = Some(value.clone()),
                "registry_user" => user = Some(value.clone()),
                "registry_password" => password = Some(secret(value).ok_or_else(|| secret_in_text(key))?),
                "oauth_token_file" => connection.oauth_token_file = Some(value.into()),
                "csv_columns" => {
                    format.csv.columns = value.split(',').map(|column| column.trim().to_owned()).collect();
                }
                "csv_delimiter" => match value.as_bytes() {
                    [delimiter] => format.csv = CsvFormat { delimiter: *delimiter, ..format.csv.clone() },
                    _ => return Err(wrong("one character")),
                },
                _ => {
                    if let Some(property) = name.strip_prefix("property.") {
                        if is_secret(property) {
                            return Err(secret_in_text(key));
                        }
                        connection.properties.insert(property.to_owned(), value.clone());
                    } else if let Some(property) = name.strip_prefix("secret.") {
                        let secret = secret(value).ok_or_else(|| secret_in_text(key))?;
                        connection.secrets.insert(property.to_owned(), secret);
                    } else {
                        return Err(Error::user("a Kafka table has no such option")
                            .with("option", key)
                            .with("known", KNOWN));
                    }
                }
            }
        }
        if let Some(user) = user {
            let password = password.ok_or_else(|| {
                Error::user("kafka.registry_user needs kafka.registry_password = 'env:NAME' or 'file:PATH'")
            })?;
            read.topic.format.registry_auth = Some((user, password));
        }
        read.topic.format = read.topic.format.with_schema(schema)?;
        Ok(read)
    }

    /// Where reading a partition begins.
    pub fn start_of(&self, partition: i32) -> Start {
        self.offsets.get(&partition).map_or(self.start, |&offset| Start::Offset(offset))
    }

    /// Where reading a partition of a bounded table ends.
    pub fn end_of(&self, partition: i32) -> Until {
        self.until.get(&partition).map_or(Until::End, |&offset| Until::Offset(offset))
    }
}

/// Brokers and topic of `kafka://host:port,host:port/topic`.
fn place(location: &str) -> Result<(String, String)> {
    let parts = location.strip_prefix("kafka://").and_then(|rest| rest.split_once('/'));
    match parts {
        Some((brokers, topic)) if !brokers.is_empty() && !topic.is_empty() && !topic.contains('/') => {
            Ok((brokers.to_owned(), topic.to_owned()))
        }
        _ => Err(Error::user("the location of a Kafka table is kafka://HOST:PORT/TOPIC, several brokers with commas")
            .with("location", location)),
    }
}

fn kind(value: &str) -> Option<FormatKind> {
    Some(match value {
        "json" => FormatKind::Json,
        "avro" => FormatKind::Avro,
        "arrow" => FormatKind::Arrow,
        "csv" => FormatKind::Csv,
        "tensor" => FormatKind::Tensor,
        "cloudevents" => FormatKind::CloudEvents,
        _ => return None,
    })
}

fn start(value: &str) -> Option<Start> {
    match value {
        "earliest" => Some(Start::Earliest),
        "latest" => Some(Start::Latest),
        _ => value.strip_prefix("timestamp=")?.trim().parse().ok().map(Start::Timestamp),
    }
}

fn offsets(value: &str) -> Option<BTreeMap<i32, u64>> {
    let pair = |pair: &str| {
        let (partition, offset) = pair.split_once(':')?;
        Some((partition.trim().parse().ok()?, offset.trim().parse().ok()?))
    };
    value.split(',').map(pair).collect()
}

fn secret(value: &str) -> Option<SecretSource> {
    match value.split_once(':')? {
        ("env", name) if !name.is_empty() => Some(SecretSource::Environment(name.to_owned())),
        ("file", path) if !path.is_empty() => Some(SecretSource::File(path.into())),
        _ => None,
    }
}

/// A secret does not belong in a statement, which ends up in logs and histories. The message is without it.
fn secret_in_text(key: &str) -> Error {
    Error::user(
        "a secret does not belong in a statement: give 'kafka.secret.NAME' (or kafka.registry_password) as 'env:VARIABLE' or \
         'file:PATH'",
    )
    .with("option", key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::datatypes::{DataType, Field};

    fn read(location: &str, options: &[(&str, &str)]) -> Result<KafkaOptions> {
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        KafkaOptions::new(location, &options, &Schema::new(vec![Field::new("x", DataType::Float32, true)]))
    }

    #[test]
    fn a_location_names_brokers_and_one_topic() {
        let options = read("kafka://a:1,b:2/samples", &[]).unwrap();
        assert_eq!((options.topic.connection.brokers.as_str(), options.topic.topic.as_str()), ("a:1,b:2", "samples"));
        for wrong in ["samples", "kafka://a:1", "kafka:///samples", "kafka://a:1/", "kafka://a:1/b/c"] {
            assert!(read(wrong, &[]).unwrap_err().to_string().contains("kafka://HOST:PORT/TOPIC"), "{wrong}");
        }
    }

    #[test]
    fn options_decide_format_start_and_what_becomes_of_bad_records() {
        let options = read(
            "kafka://a:1/t",
            &[
                ("kafka.format", "csv"),
                ("kafka.csv_columns", "x, y"),
                ("kafka.csv_delimiter", ";"),
                ("kafka.start", "timestamp=1700000000000"),
                ("kafka.offsets", "0:7, 2:9"),
                ("kafka.bad_records", "skip"),
                ("kafka.tombstones", "skip"),
            ],
        )
        .unwrap();
        assert_eq!(options.start_of(2), Start::Offset(9));
        assert_eq!(options.start_of(1), Start::Timestamp(1_700_000_000_000));
        assert_eq!(options.bad_records, BadRecords::Skip);
        let format = options.topic.format;
        assert_eq!((format.kind, format.csv.delimiter, format.tombstones), (FormatKind::Csv, b';', Tombstones::Skip));
        assert_eq!(format.csv.columns, ["x", "y"]);
        assert_eq!(format.types["x"], "float32");
    }

    #[test]
    fn a_secret_in_a_statement_is_refused_and_not_repeated() {
        for (key, value) in [
            ("kafka.property.sasl.password", "hunter2"),
            ("kafka.secret.sasl.password", "hunter2"),
            ("kafka.registry_password", "hunter2"),
        ] {
            let message = read("kafka://a:1/t", &[(key, value)]).unwrap_err().to_string();
            assert!(message.contains("env:VARIABLE") && !message.contains("hunter2"), "{message}");
        }
        let options = read("kafka://a:1/t", &[("kafka.secret.sasl.password", "env:KAFKA_PASSWORD")]).unwrap();
        assert_eq!(
            options.topic.connection.secrets["sasl.password"],
            SecretSource::Environment("KAFKA_PASSWORD".to_owned())
        );
    }

    #[test]
    fn an_unknown_option_and_a_value_out_of_range_say_what_there_is() {
        let message = |key: &str, value: &str| read("kafka://a:1/t", &[(key, value)]).unwrap_err().to_string();
        assert!(message("kafka.formt", "json").contains("kafka.format"));
        assert!(message("kafka.format", "xml").contains("cloudevents"));
        assert!(message("kafka.start", "yesterday").contains("earliest"));
        assert!(message("kafka.offsets", "0=1").contains("PARTITION:OFFSET"));
        assert!(message("kafka.registry_user", "me").contains("registry_password"));
    }
}
