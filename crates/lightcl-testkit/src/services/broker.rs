use super::{script::Script, tool};
use std::path::PathBuf;
use std::sync::OnceLock;

/// One Kafka broker.
///
/// Its methods panic when the broker does not do what they ask.
#[derive(Debug)]
pub struct Broker(Script);

impl Broker {
    /// Starts a broker with options of `tests/kafka/broker` and waits until it answers.
    #[track_caller]
    pub fn start(options: &[&str]) -> Self {
        Self(Script::start("broker", options))
    }

    /// The broker that all tests of this process share, without options; it ends with the process.
    #[track_caller]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[]))
    }

    /// Where clients connect: what the broker advertises.
    #[track_caller]
    pub fn bootstrap(&self) -> String {
        self.0.said("ready")
    }

    /// A listener without security, which no ACL binds and no proxy is in front of.
    #[track_caller]
    pub fn admin(&self) -> String {
        self.0.said("admin")
    }

    /// The folder with data, log and, according to the security, `ca.pem`, `client.pem`, `client.key`, `other-ca.pem`,
    /// `client.properties` and `admin.properties`.
    #[track_caller]
    pub fn folder(&self) -> PathBuf {
        self.0.said("dir").into()
    }

    /// The process id of the broker since its latest start.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.0.said("pids").parse().expect("a process id")
    }

    /// Creates a topic, with settings such as `cleanup.policy=compact`.
    #[track_caller]
    pub fn create_topic(&self, name: &str, partitions: u32, settings: &[&str]) {
        create_topic(&self.admin(), name, partitions, settings);
    }

    /// Stops the broker in good order; it keeps its port and its data.
    #[track_caller]
    pub fn stop(&self) {
        self.0.obey("stop", "stopped");
    }

    /// Ends the broker with `kill -9`; it keeps its port and its data.
    #[track_caller]
    pub fn kill_hard(&self) {
        self.0.obey("kill", "killed");
    }

    /// Starts the broker again, where it was and with what it had, and waits until it answers. One that still runs is
    /// stopped first.
    #[track_caller]
    pub fn restart(&self) {
        self.stop();
        self.0.obey("start", "ready");
    }

    /// The broker falls silent with its connections open (`SIGSTOP`).
    #[track_caller]
    pub fn pause(&self) {
        self.0.obey("pause", "paused");
    }

    /// A paused broker goes on.
    #[track_caller]
    pub fn resume(&self) {
        self.0.obey("resume", "resumed");
    }
}

#[track_caller]
pub(super) fn create_topic(bootstrap: &str, name: &str, partitions: u32, settings: &[&str]) {
    let partitions = partitions.to_string();
    let mut args = vec!["--bootstrap-server", bootstrap, "--create", "--topic", name, "--partitions", &partitions];
    for setting in settings {
        args.extend(["--config", setting]);
    }
    let output = tool("TopicCommand", &args);
    assert!(output.status.success(), "no topic {name}: {}", String::from_utf8_lossy(&output.stdout));
}
