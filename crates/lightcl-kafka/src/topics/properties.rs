//! Whether the client knows the properties that a user gives.

use crate::config::Connection;
use lightcl_core::{Error, Result};
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

/// Whether the client knows all properties and takes their values. Secrets are not read; of them only names are checked.
///
/// # Errors
/// With the first property that is refused.
pub fn check_properties(connection: &Connection) -> Result<()> {
    let check = |name: &str, value: &str| {
        let mut config = ClientConfig::new();
        match config.set(name, value).create_native_config() {
            Err(KafkaError::ClientConfig(result, why, name, _)) => Err((result, why, name)),
            _ => Ok(()),
        }
    };
    for (name, value) in &connection.properties {
        check(name, value).map_err(|(result, why, name)| refused(&name, result, Some(&why)))?;
    }
    for name in connection.secrets.keys() {
        if let Err((result @ RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _, name)) = check(name, "x") {
            return Err(refused(&name, result, None));
        }
    }
    Ok(())
}

fn refused(name: &str, result: RDKafkaConfRes, why: Option<&str>) -> Error {
    match (result, why) {
        (RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _) => Error::user(format!(
            "the Kafka client has no property '{name}'; those of librdkafka are meant, which differ from Java's"
        )),
        (_, Some(why)) => Error::user(format!("the Kafka client does not take its property '{name}' as given: {why}")),
        (_, None) => Error::user(format!("the Kafka client does not take its property '{name}' as given")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SecretSource;

    #[test]
    fn properties_are_checked_without_a_broker_and_without_their_secrets() {
        let with = |name: &str, value: &str| {
            let properties = [(name.to_owned(), value.to_owned())].into();
            check_properties(&Connection { properties, ..Connection::default() })
                .err()
                .map(|error| error.message().to_owned())
        };
        assert_eq!(with("security.protocol", "SSL"), None);
        assert!(with("security.protocl", "SSL").unwrap().contains("no property 'security.protocl'"));
        assert!(with("linger.ms", "soon").unwrap().contains("does not take its property 'linger.ms'"));
        let secrets = |name: &str| {
            let secrets = [(name.to_owned(), SecretSource::Environment("NOT_THERE".to_owned()))].into();
            check_properties(&Connection { secrets, ..Connection::default() })
        };
        assert!(secrets("sasl.password").is_ok());
        assert!(secrets("ssl.truststore.password").is_err());
    }
}
