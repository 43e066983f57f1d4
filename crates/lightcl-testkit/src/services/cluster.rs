use super::{broker::create_topic, script::Script};

/// Three Kafka brokers: topics have three copies, of which two must be there for a write to be acknowledged. Nodes are
/// numbered from 1.
///
/// Its methods panic when the cluster does not do what they ask.
#[derive(Debug)]
pub struct Cluster(Script);

impl Cluster {
    /// Starts a cluster with options of `tests/kafka/cluster` and waits until all nodes answer.
    #[track_caller]
    pub fn start(options: &[&str]) -> Self {
        Self(Script::start("cluster", options))
    }

    /// Where clients connect: all three addresses.
    #[track_caller]
    pub fn bootstrap(&self) -> String {
        self.0.said("ready")
    }

    /// Creates a topic, with settings such as `cleanup.policy=compact`.
    #[track_caller]
    pub fn create_topic(&self, name: &str, partitions: u32, settings: &[&str]) {
        create_topic(&self.0.said("admin"), name, partitions, settings);
    }

    /// Stops a node in good order; it keeps its port and its data.
    #[track_caller]
    pub fn stop(&self, node: usize) {
        self.0.obey(&format!("stop node{node}"), "stopped");
    }

    /// Ends a node with `kill -9`; it keeps its port and its data.
    #[track_caller]
    pub fn kill_hard(&self, node: usize) {
        self.0.obey(&format!("kill node{node}"), "killed");
    }

    /// Starts a node again, where it was and with what it had, and waits until it answers. One that still runs is
    /// stopped first.
    #[track_caller]
    pub fn restart(&self, node: usize) {
        self.stop(node);
        self.0.obey(&format!("start node{node}"), "ready");
    }

    /// A node falls silent with its connections open (`SIGSTOP`).
    #[track_caller]
    pub fn pause(&self, node: usize) {
        self.0.obey(&format!("pause node{node}"), "paused");
    }

    /// A paused node goes on.
    #[track_caller]
    pub fn resume(&self, node: usize) {
        self.0.obey(&format!("resume node{node}"), "resumed");
    }
}
