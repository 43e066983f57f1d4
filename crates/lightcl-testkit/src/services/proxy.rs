use super::{free_port, http, script::Script};
use serde_json::{Value, json};

/// Stands between clients and services, and fails on demand. Each way through it has a name.
///
/// A client of Kafka goes where the broker says, so the broker must advertise the proxy:
///
/// ```no_run
/// use lightcl_testkit::services::{Broker, Proxy, free_port};
///
/// let (proxy, port) = (Proxy::start(), free_port().to_string());
/// let address = proxy.forward("broker", &format!("127.0.0.1:{port}"));
/// let broker = Broker::start(&["--port", &port, "--advertise", &address]);
/// proxy.cut("broker");
/// ```
///
/// Its methods panic when the proxy does not do what they ask.
#[derive(Debug)]
pub struct Proxy(Script);

impl Proxy {
    /// Starts the proxy and waits until it answers.
    #[track_caller]
    pub fn start() -> Self {
        Self(Script::start("proxy", &[]))
    }

    /// The address of its own API.
    #[track_caller]
    pub fn url(&self) -> String {
        self.0.said("ready")
    }

    /// Opens a way to `upstream` (`host:port`), which need not be there yet; gives the address to connect to instead.
    #[track_caller]
    pub fn forward(&self, name: &str, upstream: &str) -> String {
        let address = format!("127.0.0.1:{}", free_port());
        let way = json!({ "name": name, "listen": address, "upstream": upstream, "enabled": true });
        self.ask("POST", "/proxies", &way);
        address
    }

    /// Closes all connections of that way and refuses new ones.
    #[track_caller]
    pub fn cut(&self, name: &str) {
        self.ask("POST", &format!("/proxies/{name}"), &json!({ "enabled": false }));
    }

    /// Connections of that way stay, and new ones are taken, but nothing comes through in either direction.
    #[track_caller]
    pub fn hang(&self, name: &str) {
        for direction in ["upstream", "downstream"] {
            self.toxic(name, direction, "timeout", &json!({ "timeout": 0 }));
        }
    }

    /// Each answer of that way comes `latency_ms` later; a further call changes by how much.
    #[track_caller]
    pub fn slow(&self, name: &str, latency_ms: u64) {
        let attributes = json!({ "latency": latency_ms });
        let path = format!("/proxies/{name}/toxics/latency-downstream");
        if self.try_ask("POST", &path, &json!({ "attributes": attributes })).is_err() {
            self.toxic(name, "downstream", "latency", &attributes);
        }
    }

    /// Undoes what [`Proxy::cut`], [`Proxy::hang`] and [`Proxy::slow`] did to that way. Connections that hung are
    /// closed: what got lost in them would be missed.
    #[track_caller]
    pub fn restore(&self, name: &str) {
        let path = format!("/proxies/{name}");
        let toxics = self.ask("GET", &format!("{path}/toxics"), &Value::Null);
        for toxic in toxics.as_array().into_iter().flatten() {
            let toxic = toxic["name"].as_str().unwrap_or_default();
            self.ask("DELETE", &format!("{path}/toxics/{toxic}"), &Value::Null);
        }
        self.ask("POST", &path, &json!({ "enabled": true }));
    }

    #[track_caller]
    fn toxic(&self, name: &str, stream: &str, kind: &str, attributes: &Value) {
        let toxic = json!({
            "name": format!("{kind}-{stream}"), "type": kind, "stream": stream, "attributes": attributes
        });
        self.ask("POST", &format!("/proxies/{name}/toxics"), &toxic);
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        self.try_ask(method, path, body).unwrap_or_else(|error| panic!("the proxy refuses: {error}"))
    }

    fn try_ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = http::request(self.url().trim_start_matches("http://"), method, path, &body)?;
        // Some answers are empty.
        Ok(serde_json::from_str(&answer).unwrap_or(Value::Null))
    }
}
