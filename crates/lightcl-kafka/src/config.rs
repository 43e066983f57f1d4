//! What a job needs to know; the program makes it from `[source]` and `[sink]`.

use crate::format::FormatConfig;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// How to reach the brokers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Connection {
    /// `host:port`, several with commas.
    pub brokers: String,
    /// Further properties of librdkafka, by name. Secrets have no place here.
    pub properties: BTreeMap<String, String>,
    /// Properties whose values are read when a client is made, and never shown.
    pub secrets: BTreeMap<String, SecretSource>,
    /// A file with a token for SASL OAUTHBEARER (a JWT), read anew before the token expires.
    pub oauth_token_file: Option<PathBuf>,
}

/// Where a secret stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In an environment variable.
    Environment(String),
    /// In a file; white space at its end does not count.
    File(PathBuf),
}

/// What is consumed, and from where on.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceConfig {
    /// How to reach the brokers.
    pub connection: Connection,
    /// Topics by name, or one pattern.
    pub topics: Topics,
    /// The consumer group.
    pub group: String,
    /// Name of this member for static membership (`group.instance.id`).
    pub instance: Option<String>,
    /// Where to start.
    pub start: Start,
    /// Whether to stop cleanly at the offsets that were the ends when the job started.
    pub until_end: bool,
    /// How records become rows.
    pub format: FormatConfig,
    /// Rows that have waited this long are scored and learnt without a full window; none: they wait.
    pub max_wait: Option<Duration>,
}

/// Which topics are consumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topics {
    /// These.
    Names(Vec<String>),
    /// All whose whole name matches this regular expression, also those made later.
    Pattern(String),
}

impl Topics {
    /// What to subscribe to, as the client takes it: a pattern begins with `^`, and matches whole names.
    pub(crate) fn subscription(&self) -> Vec<String> {
        match self {
            Topics::Names(names) => names.clone(),
            Topics::Pattern(pattern) => {
                vec![format!("^({})$", pattern.trim_start_matches('^').trim_end_matches('$'))]
            }
        }
    }
}

/// Where consuming starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// At the group's committed offsets; where there are none, or the rows there are gone, as the second says.
    Committed(OrElse),
    /// As [`Start::Committed`], and where nothing is committed at the first record of at least this time, in milliseconds
    /// since 1970-01-01 UTC.
    Timestamp(i64),
    /// As [`Start::Committed`], and where nothing is committed at these offsets, by topic and partition.
    Offsets(BTreeMap<(String, i32), i64>),
}

/// What to do where there is no committed offset, or its records are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OrElse {
    /// Stop the partition and say so; one that nothing was ever committed for starts at its first record.
    #[default]
    Error,
    /// Go on at the first record there is.
    Earliest,
    /// Go on behind the last record there is.
    Latest,
}

/// Which rows share a learner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// One learner a partition.
    #[default]
    Partition,
    /// One learner a record key; at most so many in memory a partition, the others parked in the state topic.
    Key {
        /// Most learners in memory, for each partition.
        most_learners: usize,
    },
    /// One learner for all partitions; one instance only.
    Global,
}

/// What becomes of outputs.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkConfig {
    /// How to reach the brokers.
    pub connection: Connection,
    /// How outputs are delivered.
    pub delivery: Delivery,
    /// Topics of the outputs; one without a topic is not published.
    pub topics: OutputTopics,
    /// How predictions are written.
    pub prediction_format: ValueFormat,
    /// Where the schema of predictions is registered; Avro needs it.
    pub registry: Option<RegistryAddress>,
    /// Prefix of `transactional.id`; topic and partition follow.
    pub transactional_prefix: String,
    /// Time between two commits.
    pub commit: Duration,
    /// Most bytes of outputs that wait for a commit; more of them bring it forward.
    pub commit_bytes: usize,
    /// Largest payload of one record of state or of a snapshot; larger ones are cut into chunks.
    pub chunk_bytes: usize,
    /// Where larger payloads stand as objects, and the topics only name them.
    pub claim_check: Option<ClaimCheck>,
}

/// Where payloads stand that are too big for a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimCheck {
    /// A folder (`file:///var/lib/lightcl/claims`, or a path), or a bucket (`s3://`, `gs://`, `az://`).
    pub store: String,
    /// Payloads of more bytes than these.
    pub above_bytes: usize,
}

/// A schema registry with Confluent's interface.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryAddress {
    /// Its base address.
    pub address: String,
    /// User name and password.
    pub auth: Option<(String, SecretSource)>,
}

impl std::fmt::Debug for RegistryAddress {
    /// All but the password that the address may hold.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let address = crate::format::without_user_info(&self.address);
        f.debug_struct("RegistryAddress").field("address", &address).field("auth", &self.auth).finish()
    }
}

/// How outputs are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    /// Outputs, state and input offsets in one transaction.
    #[default]
    ExactlyOnce,
    /// Outputs first, then offsets: after a crash some outputs come twice.
    AtLeastOnce,
}

/// How the value of a prediction is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ValueFormat {
    /// A JSON object.
    #[default]
    Json,
    /// An Arrow IPC stream, many predictions a record.
    Arrow,
    /// Avro behind the frame of the schema registry.
    Avro,
}

/// Topics of the outputs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutputTopics {
    /// Predictions.
    pub predictions: Option<String>,
    /// Stability reports.
    pub stability: Option<String>,
    /// Boundary events.
    pub boundaries: Option<String>,
    /// Models (compacted).
    pub snapshots: Option<String>,
    /// Rows that could not be used.
    pub dead_letters: Option<String>,
    /// State (compacted).
    pub state: Option<String>,
}

/// When state is saved beside the end of each task, a clean stop and a partition given away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointConfig {
    /// Rows between checkpoints; 0 = none by count.
    pub every_samples: u64,
    /// Time between checkpoints; none = none by time.
    pub every: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_to_match_whole_names_in_all_its_alternatives() {
        let subscription = |pattern: &str| Topics::Pattern(pattern.to_owned()).subscription();
        assert_eq!(subscription("shop|bank"), ["^(shop|bank)$"]);
        assert_eq!(subscription("^shop-.*$"), ["^(shop-.*)$"]);
    }
}
