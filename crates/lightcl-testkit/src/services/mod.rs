//! Real services for tests: Kafka brokers, a schema registry, and a proxy that fails on demand. The scripts of
//! `tests/kafka` run them; what they run on must have been fetched (`tests/kafka/fetch all`). They end with the value
//! that stands for them, and with the process that started them however that ends, so one may also be kept in a static.
//!
//! ```no_run
//! use lightcl_testkit::services::{self, Broker};
//!
//! if services::ready_or_skipped() {
//!     let broker = Broker::start(&["--set", "message.max.bytes=2000000"]);
//!     broker.create_topic("t", 2, &["cleanup.policy=compact"]);
//!     println!("{}", broker.bootstrap());
//!     broker.kill_hard();
//!     broker.restart();
//! }
//! ```

mod broker;
mod cluster;
mod http;
mod proxy;
mod registry;
mod script;

pub use broker::Broker;
pub use cluster::Cluster;
pub use proxy::Proxy;
pub use registry::Registry;

use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// Whether the services can run here; if not, what is missing.
pub fn available() -> Result<(), String> {
    static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
    let look = || {
        let check = script::command("fetch").args(["--check", "broker", "registry", "proxy"]).output();
        match check {
            Ok(check) if check.status.success() => Ok(()),
            Ok(check) => Err(String::from_utf8_lossy(&check.stderr).trim().to_owned()),
            Err(error) => Err(format!("tests/kafka/fetch does not run: {error}")),
        }
    };
    FOUND.get_or_init(look).clone()
}

/// Whether a test that needs the services can go on; if not, prints why. Where `LIGHTCL_KAFKA_REQUIRED` is set, as on
/// machines that must run these tests, panics instead.
#[track_caller]
pub fn ready_or_skipped() -> bool {
    let Err(missing) = available() else { return true };
    assert!(std::env::var_os("LIGHTCL_KAFKA_REQUIRED").is_none(), "{missing}");
    println!("skipped: {missing}");
    false
}

/// Runs one of Kafka's own programs by the name of its class, with nothing on its standard input.
pub fn tool(class: &str, args: &[&str]) -> Output {
    tool_with_input(class, args, "")
}

/// Like [`tool`], with `input` on its standard input.
pub fn tool_with_input(class: &str, args: &[&str], input: &str) -> Output {
    let mut command: Command = script::command("tool");
    command.arg(class).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("tests/kafka/tool runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    // On a thread of its own, so that neither side waits for the other; a tool may end without reading all.
    std::thread::scope(|threads| {
        threads.spawn(move || {
            let _ = stdin.write_all(input.as_bytes());
        });
        child.wait_with_output().expect("the tool ends")
    })
}

/// A port of the loopback interface that nothing listens on, from below the range of outgoing connections: none of those
/// takes it while what listens there is down. For a broker whose address a proxy must know beforehand.
pub fn free_port() -> u16 {
    loop {
        let port = 20_000 + (RandomState::new().hash_one(0) % 12_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
