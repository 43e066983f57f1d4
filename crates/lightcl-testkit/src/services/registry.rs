use super::script::Script;

/// A schema registry with Confluent's API. It holds its schemas in memory: a restarted one knows none. To keep clients
/// from a registry that forgets nothing, pause it, or put a [`super::Proxy`] in between.
///
/// Its methods panic when the registry does not do what they ask.
#[derive(Debug)]
pub struct Registry(Script);

impl Registry {
    /// Starts a registry with options of `tests/kafka/registry` and waits until it answers.
    #[track_caller]
    pub fn start(options: &[&str]) -> Self {
        Self(Script::start("registry", options))
    }

    /// The address that clients are given.
    #[track_caller]
    pub fn url(&self) -> String {
        self.0.said("ready")
    }

    /// Ends the registry and what it knows; its port stays its own.
    #[track_caller]
    pub fn stop(&self) {
        self.0.obey("stop", "stopped");
    }

    /// Starts the registry again at the same address, empty. One that still runs is stopped first.
    #[track_caller]
    pub fn restart(&self) {
        self.stop();
        self.0.obey("start", "ready");
    }

    /// The registry takes connections but answers none (`SIGSTOP`).
    #[track_caller]
    pub fn pause(&self) {
        self.0.obey("pause", "paused");
    }

    /// A paused registry goes on.
    #[track_caller]
    pub fn resume(&self) {
        self.0.obey("resume", "resumed");
    }
}
