//! `[source]`: where samples come from.

use super::kafka::{CommittedElse, Format, Property, Secret, Start, Timestamp, Tombstones};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

/// Where samples come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "if" = json!({ "properties": { "type": { "const": "kafka" } } }),
    "then" = json!({ "required": ["brokers", "group"] }),
    "else" = json!({ "required": ["path"] })
))]
pub struct Source {
    /// How the input is encoded, or kafka for topics.
    #[serde(rename = "type")]
    pub kind: SourceType,
    /// A file, a glob, a folder (its files in name order), or "-" for standard input. Files only.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub path: Option<String>,
    /// Rows read at a time. Decides memory and speed, not what is learnt. Files only.
    #[serde(default = "default_batch_rows")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub batch_rows: usize,
    /// Rows of CSV and JSON lines looked at to find the columns and their types. Files only.
    #[serde(default = "default_infer_rows")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub infer_rows: usize,
    /// Brokers to begin with: host:port, several with commas. Kafka only, as are all keys below but csv.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub brokers: Option<String>,
    /// The topics that are consumed.
    #[serde(default)]
    #[schemars(length(min = 1), inner(length(min = 1, max = 249)), extend("uniqueItems" = true))]
    pub topics: Option<Vec<String>>,
    /// A regular expression instead of topics: all topics whose whole name matches it, also those made later.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub pattern: Option<String>,
    /// The consumer group: instances of one group share the partitions, and positions are committed under its name.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub group: Option<String>,
    /// A name of this instance alone (group.instance.id): it may go away for less than the session time-out and find its
    /// partitions where it left them. Default: none, partitions move at once.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub instance: Option<String>,
    /// How the values of records are encoded.
    #[serde(default)]
    pub format: Format,
    /// Where to start. What the group has committed always comes first.
    #[serde(default)]
    pub start: Start,
    /// With start = "timestamp": from the first record of at least this time, in RFC 3339 (2026-01-31T08:00:00Z) or in
    /// milliseconds since 1970.
    #[serde(default)]
    pub timestamp: Option<Timestamp>,
    /// With start = "offsets": the first offset of each partition, such as { "samples-0" = 120 }; others start at their first
    /// record.
    #[serde(default)]
    pub offsets: BTreeMap<String, u64>,
    /// Where nothing is committed, or the records there are gone: error stops that partition and says so (one that is new to the
    /// group starts at its first record).
    #[serde(default)]
    pub or_else: CommittedElse,
    /// Whether to stop cleanly at the offsets that were the ends when the job started, as run --until-end does.
    #[serde(default)]
    pub until_end: bool,
    /// Longest time that a row waits for its window to fill, in milliseconds; a longer one closes the window early and leaves
    /// that cut in the committed record. 0 for ever.
    #[serde(default)]
    #[schemars(range(max = 86_400_000))]
    pub max_wait_ms: u64,
    /// Address of a schema registry with Confluent's interface, for Avro: http://127.0.0.1:8081.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub registry: Option<String>,
    /// The user at the schema registry; the password is the secret registry.password.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub registry_user: Option<String>,
    /// Types of columns as Arrow names them: `{ price = "float64", tags = "list<utf8>" }`. Default: found out from the first records.
    #[serde(default)]
    pub types: BTreeMap<String, String>,
    /// What becomes of records without a value.
    #[serde(default)]
    pub tombstones: Tombstones,
    /// Longest value in bytes; a longer one goes to the dead letters.
    #[serde(default = "default_most_value_bytes")]
    #[schemars(range(min = 1, max = 1_073_741_824))]
    pub most_value_bytes: usize,
    /// A file with a token (JWT) for SASL OAUTHBEARER, read anew before the token expires.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub oauth_token_file: Option<String>,
    /// How CSV is written. Files and Kafka.
    #[serde(default)]
    pub csv: Csv,
    /// Further properties of librdkafka by name, such as "security.protocol" = "SSL". Secrets stand in source.secrets.
    #[serde(default)]
    pub client: BTreeMap<String, Property>,
    /// Properties whose values are secret, by name, and where each is read: "sasl.password" = { env = "KAFKA_PASSWORD" }.
    #[serde(default)]
    pub secrets: BTreeMap<String, Secret>,
}

fn default_batch_rows() -> usize {
    1024
}

fn default_infer_rows() -> usize {
    1000
}

fn default_most_value_bytes() -> usize {
    16 << 20
}

/// What kind of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceType {
    /// Arrow IPC, the file or the stream format.
    Arrow,
    /// Parquet.
    Parquet,
    /// Comma-separated values.
    Csv,
    /// One JSON object a line.
    Jsonl,
    /// Topics of Apache Kafka.
    Kafka,
}

impl SourceType {
    /// The kind of file; none for Kafka.
    pub fn file(self) -> Option<FileType> {
        match self {
            SourceType::Arrow => Some(FileType::Arrow),
            SourceType::Parquet => Some(FileType::Parquet),
            SourceType::Csv => Some(FileType::Csv),
            SourceType::Jsonl => Some(FileType::Jsonl),
            SourceType::Kafka => None,
        }
    }
}

/// How a file is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileType {
    /// Arrow IPC, the file or the stream format.
    Arrow,
    /// Parquet.
    Parquet,
    /// Comma-separated values.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// How CSV is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Csv {
    /// What stands between two cells: one ASCII character.
    pub delimiter: char,
    /// What cells with delimiters or line breaks are enclosed in: one ASCII character.
    pub quote: char,
    /// Whether the first line (of a file, or of each record) names the columns; in a file without it they are column_1,
    /// column_2, .. Default: true, and false where columns are given.
    pub has_header: bool,
    /// Names of the columns in order, for records without a header. Kafka only.
    #[schemars(inner(length(min = 1)), extend("uniqueItems" = true))]
    pub columns: Vec<String>,
}

impl Default for Csv {
    fn default() -> Self {
        Csv { delimiter: ',', quote: '"', has_header: true, columns: Vec::new() }
    }
}
