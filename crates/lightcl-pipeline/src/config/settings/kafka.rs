//! What `[source]` and `[sink]` hold for Kafka.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How the values of records are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A JSON object.
    #[default]
    Json,
    /// Avro behind the schema registry's frame.
    Avro,
    /// An Arrow IPC stream of one or more rows.
    Arrow,
    /// Lines of comma-separated values.
    Csv,
    /// The bytes of a tensor; its type and shape stand in headers.
    Tensor,
    /// CloudEvents 1.0, binary or structured.
    #[serde(rename = "cloudevents")]
    CloudEvents,
}

/// Where to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// At the offsets that the group has committed; where there are none, as or_else says.
    #[default]
    Committed,
    /// Short for committed with or_else = "earliest".
    Earliest,
    /// Short for committed with or_else = "latest".
    Latest,
    /// Where nothing is committed, at the time in source.timestamp.
    Timestamp,
    /// Where nothing is committed, at source.offsets.
    Offsets,
}

/// What to do where nothing is committed, or the records there are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommittedElse {
    /// Stop the partition and say so; one that is new to the group starts at its first record.
    #[default]
    Error,
    /// Go on at the first record there is.
    Earliest,
    /// Go on behind the last record there is.
    Latest,
}

/// What becomes of records without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tombstones {
    /// They are dead letters.
    #[default]
    DeadLetter,
    /// They are counted and passed over.
    Skip,
}

/// A time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Timestamp {
    /// RFC 3339: 2026-01-31T08:00:00Z.
    Text(#[schemars(length(min = 1))] String),
    /// Milliseconds since 1970-01-01 UTC.
    Milliseconds(i64),
}

/// The value of a property of librdkafka.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Property {
    /// Text.
    Text(String),
    /// true or false.
    Flag(bool),
    /// A whole number.
    Whole(i64),
    /// A number.
    Number(f64),
    /// More properties whose names go on: client.ssl.ca.location = ".." without quotes is a table in a table.
    Nested(BTreeMap<String, Property>),
}

/// Where a secret is read from: one of the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    /// Name of an environment variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub env: Option<String>,
    /// A file; white space at its end does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub file: Option<String>,
}

/// Where outputs go instead of the output folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sink {
    /// What kind of sink.
    #[serde(rename = "type")]
    pub kind: SinkType,
    /// How outputs are delivered.
    #[serde(default)]
    pub delivery: Delivery,
    /// Brokers to begin with: host:port, several with commas. Default: those of the source; exactly_once needs the same cluster.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub brokers: Option<String>,
    /// How predictions are written.
    #[serde(default)]
    pub prediction_format: ValueFormat,
    /// What transactional.id begins with; topic and partition follow. Two jobs must not share it. Default: lightcl- and the
    /// source's group.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub transactional_prefix: Option<String>,
    /// Time between two commits, in milliseconds.
    #[serde(default = "default_commit_ms")]
    #[schemars(range(min = 1, max = 600_000))]
    pub commit_ms: u64,
    /// Most bytes of outputs that wait for a commit; more of them bring it forward.
    #[serde(default = "default_commit_bytes")]
    #[schemars(range(min = 1, max = 1_073_741_824))]
    pub commit_bytes: usize,
    /// Largest payload of one record of state or of a snapshot, in bytes; larger ones are cut into chunks.
    #[serde(default = "default_chunk_bytes")]
    #[schemars(range(min = 1024, max = 67_108_864))]
    pub chunk_bytes: usize,
    /// A file with a token (JWT) for SASL OAUTHBEARER. Default: that of the source.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub oauth_token_file: Option<String>,
    /// The topic of each output; one without a topic is not published.
    #[serde(default)]
    pub topics: SinkTopics,
    /// Further properties of librdkafka by name. Default: those of the source.
    #[serde(default)]
    pub client: Option<BTreeMap<String, Property>>,
    /// Properties whose values are secret, by name, and where each is read. Default: those of the source.
    #[serde(default)]
    pub secrets: Option<BTreeMap<String, Secret>>,
    /// Payloads too big for topics stand as objects.
    #[serde(default)]
    pub claim_check: Option<ClaimCheck>,
}

/// Where payloads stand that are too big for topics: states and weights. Topics then only name them. Followers need it too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimCheck {
    /// A folder that every instance sees (file:///var/lib/lightcl/claims, or a path), or a bucket (s3://, gs://, az://).
    #[schemars(length(min = 1))]
    pub store: String,
    /// Payloads of more bytes than these go there; smaller ones stand in the topic, in chunks.
    #[serde(default = "default_above_bytes")]
    #[schemars(range(min = 1024, max = 1_073_741_824))]
    pub above_bytes: usize,
}

fn default_above_bytes() -> usize {
    4 << 20
}

fn default_commit_ms() -> u64 {
    1000
}

fn default_commit_bytes() -> usize {
    16 << 20
}

fn default_chunk_bytes() -> usize {
    512 << 10
}

/// What kind of sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SinkType {
    /// Topics of Apache Kafka.
    Kafka,
}

/// How outputs are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// Outputs, state and input offsets in one transaction.
    #[default]
    ExactlyOnce,
    /// Outputs first, then offsets: after a crash some outputs come twice.
    AtLeastOnce,
}

/// How the value of a prediction is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ValueFormat {
    /// A JSON object.
    #[default]
    Json,
    /// An Arrow IPC stream, many predictions a record.
    Arrow,
    /// Avro behind the frame of the schema registry at source.registry, where the schema is registered.
    Avro,
}

/// The topic of each output.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SinkTopics {
    /// Predictions, one a row.
    #[schemars(length(min = 1, max = 249))]
    pub predictions: Option<String>,
    /// Stability reports.
    #[schemars(length(min = 1, max = 249))]
    pub stability: Option<String>,
    /// Task boundaries.
    #[schemars(length(min = 1, max = 249))]
    pub boundaries: Option<String>,
    /// Models (compacted).
    #[schemars(length(min = 1, max = 249))]
    pub snapshots: Option<String>,
    /// Rows that could not be used, as they came.
    #[schemars(length(min = 1, max = 249))]
    pub dead_letters: Option<String>,
    /// State (compacted); exactly_once needs it.
    #[schemars(length(min = 1, max = 249))]
    pub state: Option<String>,
}

impl SinkTopics {
    /// Every output with its topic, where it has one.
    pub fn each(&self) -> [(&'static str, Option<&str>); 6] {
        [
            ("predictions", self.predictions.as_deref()),
            ("stability", self.stability.as_deref()),
            ("boundaries", self.boundaries.as_deref()),
            ("snapshots", self.snapshots.as_deref()),
            ("dead_letters", self.dead_letters.as_deref()),
            ("state", self.state.as_deref()),
        ]
    }
}
