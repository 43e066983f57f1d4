//! Clients of librdkafka: their properties, secrets, logs and errors.

use crate::config::{Connection, SecretSource};
use crate::refusals::Told;
use lightcl_core::{Error, Result};
use log::Level;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a question to a broker may take before it is asked again or given up.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Least time for which a token without an expiry is believed.
const TOKEN_LIFETIME: Duration = Duration::from_secs(300);

impl SecretSource {
    /// The secret.
    ///
    /// # Errors
    /// When the variable is not set or the file cannot be read. The secret is in no message.
    pub fn read(&self) -> Result<String> {
        match self {
            SecretSource::Environment(name) => std::env::var(name).map_err(|_| {
                Error::user("the environment variable that holds a secret is not set, or not UTF-8")
                    .with("variable", name)
            }),
            SecretSource::File(path) => read_secret(path),
        }
    }
}

fn read_secret(path: &Path) -> Result<String> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim_end().to_owned()),
        Err(error) => Err(Error::user("the file that holds a secret cannot be read")
            .with("file", path.display())
            .caused_by(error)),
    }
}

/// The properties that every client has, with the connection's own above them and its secrets last.
///
/// # Errors
/// When a secret cannot be read.
pub fn client_config(connection: &Connection) -> Result<ClientConfig> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &connection.brokers).set("client.id", "lightcl");
    config.set("allow.auto.create.topics", "false");
    for (name, value) in &connection.properties {
        config.set(name, value);
    }
    for (name, secret) in &connection.secrets {
        config.set(name, secret.read()?);
    }
    Ok(config)
}

/// Sets a property that the user has not set.
pub fn set_default(config: &mut ClientConfig, name: &str, value: &str) {
    if config.get(name).is_none() {
        config.set(name, value);
    }
}

/// What a client does with logs, errors and tokens.
#[derive(Debug, Clone, Default)]
pub struct Context {
    oauth_token_file: Option<PathBuf>,
    /// What brokers said against it.
    pub told: Told,
    /// Whether its group is only there since a client needs to name one.
    has_no_group: bool,
}

impl Context {
    /// The context of clients of this connection.
    pub fn of(connection: &Connection) -> Self {
        Context { oauth_token_file: connection.oauth_token_file.clone(), ..Context::default() }
    }

    /// The same, for a client that takes no part in a group: that it may not use the one it names is no matter.
    pub fn without_group(connection: &Connection) -> Self {
        Context { has_no_group: true, ..Context::of(connection) }
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let level = match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                Level::Error
            }
            RDKafkaLogLevel::Warning => Level::Warn,
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => Level::Info,
            RDKafkaLogLevel::Debug => Level::Debug,
        };
        log::log!(target: "librdkafka", level, "{facility} {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        if self.has_no_group && error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed) {
            return;
        }
        self.told.hear(&error, reason);
        // What matters also comes back from the calls; this is what a broker that is away looks like.
        log::warn!(target: "librdkafka", "{error}: {reason}");
    }

    fn stats_raw(&self, _: &[u8]) {}

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        let file = self.oauth_token_file.as_ref().ok_or("no token file: name one as source.oauth_token_file")?;
        let token = read_secret(file)?;
        let claims = claims_of(&token).ok_or("the token file holds no JSON web token")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let expiry = claims["exp"].as_f64().map_or((now + TOKEN_LIFETIME).as_millis() as i64, |exp| (exp * 1e3) as i64);
        let principal_name = claims["sub"].as_str().unwrap_or_default().to_owned();
        Ok(OAuthToken { token, principal_name, lifetime_ms: expiry })
    }
}

impl ConsumerContext for Context {}

/// Lets a context that has a [`Context`] in its field `context` do with logs, errors and tokens what that does.
macro_rules! client_context {
    ($context:ty) => {
        impl rdkafka::client::ClientContext for $context {
            const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

            fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
                self.context.log(level, facility, message);
            }

            fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
                self.context.error(error, reason);
            }

            fn stats_raw(&self, _: &[u8]) {}

            fn generate_oauth_token(
                &self,
                config: Option<&str>,
            ) -> Result<rdkafka::client::OAuthToken, Box<dyn std::error::Error>> {
                self.context.generate_oauth_token(config)
            }
        }
    };
}
pub(crate) use client_context;

/// Gives a new client its first token, where it needs one: a client that is not polled cannot ask for it.
///
/// # Errors
/// When the token's file cannot be read, or holds none.
pub fn give_token<C: ClientContext>(client: &rdkafka::client::Client<C>, connection: &Connection) -> Result<()> {
    if connection.oauth_token_file.is_none() {
        return Ok(());
    }
    let token = Context::of(connection)
        .generate_oauth_token(None)
        .map_err(|error| Error::user("cannot read a token from oauth_token_file").caused_by(error.to_string()))?;
    crate::native::set_oauth_token(client, &token)
}

/// The claims of a JSON web token; its signature is the broker's business.
fn claims_of(token: &str) -> Option<serde_json::Value> {
    use base64::Engine;
    let payload = token.split('.').nth(1)?;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// An error of the client. A rejected property's value is left out: it may be a secret.
pub fn kafka_error(what: impl Into<String>, error: KafkaError) -> Error {
    match &error {
        KafkaError::ClientConfig(_, description, name, _) => {
            // The description repeats the value.
            let known = !description.contains("No such configuration property");
            let why = if known { "its value is refused" } else { "there is no such property" };
            Error::user(format!("{}: {why} by the Kafka client", what.into())).with("property", name)
        }
        KafkaError::ClientCreation(reason) => {
            Error::user(format!("{}: the Kafka client cannot be made", what.into())).with("reason", reason)
        }
        _ => {
            let retryable = error.rdkafka_error_code().is_some_and(is_transient);
            let wrapped = Error::external(what).with("kafka", &error);
            let wrapped = match error {
                // Its text is more than its code.
                KafkaError::Transaction(inner) => wrapped.with("reason", inner.string()),
                _ => wrapped,
            };
            if retryable { wrapped.retryable() } else { wrapped }
        }
    }
}

/// Whether an error goes away by itself.
pub fn is_transient(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{
        AllBrokersDown, BrokerNotAvailable, BrokerTransportFailure, CoordinatorLoadInProgress, CoordinatorNotAvailable,
        LeaderNotAvailable, NetworkException, NotCoordinator, NotEnoughReplicas, NotEnoughReplicasAfterAppend,
        NotLeaderForPartition, OperationTimedOut, QueueFull, RequestTimedOut, Retry, WaitingForCoordinator,
    };
    matches!(
        code,
        AllBrokersDown
            | BrokerNotAvailable
            | BrokerTransportFailure
            | CoordinatorLoadInProgress
            | CoordinatorNotAvailable
            | LeaderNotAvailable
            | NetworkException
            | NotCoordinator
            | NotEnoughReplicas
            | NotEnoughReplicasAfterAppend
            | NotLeaderForPartition
            | OperationTimedOut
            | QueueFull
            | RequestTimedOut
            | Retry
            | WaitingForCoordinator
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::consumer::BaseConsumer;

    #[test]
    fn a_refused_property_is_named_and_its_value_is_not() {
        let mut connection = Connection { brokers: "127.0.0.1:1".into(), ..Connection::default() };
        connection.properties.insert("session.timeout.ms".into(), "hunter2".into());
        let config = client_config(&connection).expect("no secret to read");
        let error = config.create::<BaseConsumer>().err().expect("no number");
        let error = kafka_error("cannot make a consumer", error);
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("session.timeout.ms") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_secret_that_is_not_there_is_an_error_that_names_its_place() {
        let error = SecretSource::Environment("LIGHTCL_NO_SUCH_SECRET".into()).read().expect_err("it is not set");
        assert!(error.to_string().contains("LIGHTCL_NO_SUCH_SECRET"));
    }

    #[test]
    fn claims_of_a_token_are_read_and_of_other_text_are_none() {
        let claims = claims_of("e30.eyJzdWIiOiJhbGljZSIsImV4cCI6MTB9.").expect("claims");
        assert_eq!((claims["sub"].as_str(), claims["exp"].as_i64()), (Some("alice"), Some(10)));
        assert!(claims_of("secret").is_none());
    }
}
