//! A client of schema registries with Confluent's interface.

use super::schemas::{Names, inline};
use crate::config::SecretSource;
use arrow_cast::base64::{BASE64_STANDARD, Engine};
use lightcl_core::{Error, Result};
use serde_json::Value;
use std::collections::HashSet;
use std::fmt::{self, Write};
use std::time::Duration;
use ureq::Agent;

/// The longest answer that is read.
const MOST_ANSWER_BYTES: u64 = 16 << 20;

/// The most schemas that one schema may refer to, directly or by way of others.
const MOST_REFERENCES: usize = 256;

const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(20);

/// How a value names the schema it was written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum SchemaId {
    Id(u32),
    Guid([u8; 16]),
}

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchemaId::Id(id) => write!(f, "{id}"),
            SchemaId::Guid(guid) => f.write_str(&super::casting::uuid(guid)),
        }
    }
}

/// What a registry says of a schema.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The schema, with all that it refers to in its place.
    Schema(Value),
    /// A sentence that says why there is none; asking again may give one.
    Missing(String),
    /// A sentence that says why values of it cannot be read, whenever they come.
    Unusable(String),
}

/// A schema registry.
pub(crate) struct Registry {
    /// Without user info and without a slash at the end.
    base: String,
    auth: Option<Auth>,
    agent: Agent,
}

enum Auth {
    /// User name and password from the address.
    Given(String),
    User(String, SecretSource),
}

/// A status, and the body where it is JSON.
struct Response {
    status: u16,
    body: Option<Value>,
}

impl Registry {
    /// # Errors
    /// When the address is none of http or https.
    pub fn new(address: &str, auth: Option<&(String, SecretSource)>) -> Result<Self> {
        let (base, user_info) = without_user_info(address);
        if !base.starts_with("http://") && !base.starts_with("https://") {
            return Err(Error::user("the address of the schema registry must begin with http:// or https://")
                .with("registry", base));
        }
        let auth = match (auth, user_info) {
            (Some((user, secret)), _) => Some(Auth::User(user.clone(), secret.clone())),
            (None, Some(user_info)) => Some(Auth::Given(percent_decoded(user_info))),
            (None, None) => None,
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(ANSWER))
            .user_agent("lightcl")
            .build();
        Ok(Registry { base, auth, agent: config.into() })
    }

    /// Asks for a schema.
    ///
    /// # Errors
    /// When the registry does not answer as registries do; retryable where it may do so later.
    pub fn schema(&self, id: SchemaId) -> Result<Answer> {
        let path = match id {
            SchemaId::Id(number) => format!("/schemas/ids/{number}"),
            SchemaId::Guid(_) => format!("/schemas/guids/{id}"),
        };
        let response = self.get(&path)?;
        let knows = response.body.as_ref().is_some_and(|body| body.get("error_code").is_some());
        match (response.status, id) {
            (200, _) => {}
            (404, _) if knows => return Ok(Answer::Missing(format!("the schema registry has no schema {id}"))),
            (404 | 405, SchemaId::Guid(_)) => {
                let message =
                    format!("the schema registry does not find schemas by GUID, as that of the value is ({id})");
                return Ok(Answer::Missing(message));
            }
            _ => return Err(self.unexpected(&path, response.status)),
        }
        let body = response.body.ok_or_else(|| self.unexpected(&path, response.status))?;
        if let Some(kind) = body.get("schemaType").and_then(Value::as_str).filter(|kind| *kind != "AVRO") {
            return Ok(Answer::Unusable(format!("schema {id} is not of Avro but of {kind}")));
        }
        let Some(mut schema) = body.get("schema").and_then(Value::as_str).and_then(parsed) else {
            return Ok(Answer::Unusable(format!("the schema registry gives no valid schema {id}")));
        };
        let mut names = Names::new();
        if let Some(missing) = self.references(&body, &mut names, &mut HashSet::new())? {
            return Ok(Answer::Missing(format!("schema {id} cannot be used: {missing}")));
        }
        inline(&mut schema, &mut names);
        Ok(Answer::Schema(schema))
    }

    /// Gathers all that a schema refers to. What is returned says what is not there.
    fn references(&self, body: &Value, names: &mut Names, seen: &mut HashSet<String>) -> Result<Option<String>> {
        for reference in body.get("references").and_then(Value::as_array).into_iter().flatten() {
            let part = |key: &str| reference.get(key).and_then(Value::as_str);
            let version = reference.get("version").and_then(Value::as_i64);
            let (Some(name), Some(subject), Some(version)) = (part("name"), part("subject"), version) else {
                return Ok(Some("the registry gives a reference without name, subject or version".to_owned()));
            };
            let path = format!("/subjects/{}/versions/{version}", percent_encoded(subject));
            if !seen.insert(path.clone()) {
                continue;
            }
            if seen.len() > MOST_REFERENCES {
                return Ok(Some(format!("it refers to more than {MOST_REFERENCES} others")));
            }
            let response = self.get(&path)?;
            let body = match (response.status, response.body) {
                (200, Some(body)) => body,
                (404, Some(_)) => return Ok(Some(format!("it refers to '{name}', which the schema registry lacks"))),
                (status, _) => return Err(self.unexpected(&path, status)),
            };
            let Some(schema) = body.get("schema").and_then(Value::as_str).and_then(parsed) else {
                return Ok(Some(format!("it refers to '{name}', which is no valid schema")));
            };
            names.insert(name.to_owned(), schema);
            if let Some(missing) = self.references(&body, names, seen)? {
                return Ok(Some(missing));
            }
        }
        Ok(None)
    }

    /// Registers a schema of Avro under a subject, and gives its number; that of a schema that is there is the same again.
    /// Where registering is not allowed, the schema may have been registered by somebody who may.
    ///
    /// # Errors
    /// When the registry does not take it; retryable where it may do so later.
    pub fn register(&self, subject: &str, schema: &str) -> Result<u32> {
        let subject_path = format!("/subjects/{}", percent_encoded(subject));
        let path = format!("{subject_path}/versions");
        let body = serde_json::json!({ "schema": schema }).to_string();
        let mut response = self.call(&path, Some(&body))?;
        let refused = response.status;
        if matches!(refused, 401 | 403 | 405) {
            response = self.call(&subject_path, Some(&body))?;
        }
        let said = |response: &Response| {
            let message = response.body.as_ref().and_then(|body| body.get("message")).and_then(Value::as_str);
            message.unwrap_or("nothing").to_owned()
        };
        let id = response.body.as_ref().and_then(|body| body.get("id")).and_then(Value::as_u64);
        match (response.status, id.and_then(|id| u32::try_from(id).ok())) {
            (200, Some(id)) => Ok(id),
            (409 | 422, _) => Err(Error::user(
                "the schema registry does not take the schema of predictions; give the topic another name, or the subject \
                 another compatibility",
            )
            .with("subject", subject)
            .with("it says", said(&response))),
            (404, _) if matches!(refused, 401 | 403 | 405) => Err(Error::user(
                "this user may not register schemas, and that of predictions is not registered",
            )
            .with("subject", subject)),
            (status, _) => Err(self.unexpected(&path, status)),
        }
    }

    fn get(&self, path: &str) -> Result<Response> {
        self.call(path, None)
    }

    /// Asks, or with a body tells.
    fn call(&self, path: &str, body: Option<&str>) -> Result<Response> {
        let url = format!("{}{path}", self.base);
        let authorization = match &self.auth {
            None => None,
            Some(auth) => {
                let pair = match auth {
                    Auth::Given(pair) => pair.clone(),
                    Auth::User(user, source) => format!("{user}:{}", source.read()?),
                };
                Some(format!("Basic {}", BASE64_STANDARD.encode(pair)))
            }
        };
        let mut headers = vec![("Accept", "application/vnd.schemaregistry.v1+json, application/json")];
        headers.extend(authorization.iter().map(|pair| ("Authorization", pair.as_str())));
        let answer = match body {
            None => {
                headers.iter().fold(self.agent.get(url), |request, (name, value)| request.header(*name, *value)).call()
            }
            Some(body) => {
                headers.push(("Content-Type", "application/vnd.schemaregistry.v1+json"));
                let request = self.agent.post(url);
                headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send(body)
            }
        };
        let answer = answer.and_then(|mut response| {
            let text = response.body_mut().with_config().limit(MOST_ANSWER_BYTES).read_to_vec()?;
            Ok(Response { status: response.status().as_u16(), body: serde_json::from_slice(&text).ok() })
        });
        answer.map_err(|error| {
            let lasting = matches!(error, ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::InvalidProxyUrl);
            let said =
                Error::external("the schema registry does not answer").with("url", format!("{}{path}", self.base));
            let said = said.with("why", &error);
            if lasting { said } else { said.retryable() }
        })
    }

    fn unexpected(&self, path: &str, status: u16) -> Error {
        let error = match status {
            401 | 403 => Error::external("the schema registry refuses these credentials, or lacks them"),
            404 => {
                Error::user("this is no address of a schema registry; add its path (Apicurio's is /apis/ccompat/v7)")
            }
            408 | 429 | 500.. => Error::external("the schema registry has a fault of its own").retryable(),
            _ => Error::external("the schema registry gives an answer that is not understood"),
        };
        error.with("url", format!("{}{path}", self.base)).with("status", status)
    }
}

fn parsed(text: &str) -> Option<Value> {
    // A schema of a primitive type may stand there without quotes around its name.
    serde_json::from_str(text).ok().filter(|schema: &Value| !schema.is_number() && !schema.is_null())
}

/// The address without user name and password, and these.
pub(super) fn without_user_info(address: &str) -> (String, Option<&str>) {
    let address = address.trim().trim_end_matches('/');
    let Some((scheme, rest)) = address.split_once("://") else { return (address.to_owned(), None) };
    let authority = rest.find('/').unwrap_or(rest.len());
    match rest[..authority].rfind('@') {
        Some(at) => (format!("{scheme}://{}", &rest[at + 1..]), Some(&rest[..at])),
        None => (address.to_owned(), None),
    }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let byte = match tail {
            [high, low, ..] if *first == b'%' => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                digit(high).zip(digit(low)).map(|(high, low)| (high * 16 + low) as u8)
            }
            _ => None,
        };
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_info_is_taken_out_of_addresses() {
        let (base, user_info) = without_user_info("https://me:p%40ss@host:8081/apis/");
        assert_eq!((base.as_str(), user_info), ("https://host:8081/apis", Some("me:p%40ss")));
        assert_eq!(percent_decoded("me:p%40s%"), "me:p@s%");
        assert_eq!(without_user_info("http://host/a@b").1, None);
        assert_eq!(percent_encoded("a/b c"), "a%2Fb%20c");
        assert!(Registry::new("host:8081", None).is_err());
    }
}
