//! What is logged while tests run, kept to be searched. `RUST_LOG` shows it too.

use log::{Level, LevelFilter, Log, Metadata, Record};
use std::sync::{Mutex, OnceLock, PoisonError};

/// All lines of this process so far.
pub struct Logs {
    lines: Mutex<Vec<(Level, String)>>,
    shown: env_logger::Logger,
}

/// Begins to keep lines, once a process.
pub fn logs() -> &'static Logs {
    static LOGS: OnceLock<Logs> = OnceLock::new();
    let logs = LOGS.get_or_init(|| Logs {
        lines: Mutex::default(),
        shown: env_logger::builder().is_test(true).format_timestamp_millis().build(),
    });
    if log::set_logger(logs).is_ok() {
        log::set_max_level(LevelFilter::Trace);
    }
    logs
}

impl Logs {
    /// Whether a line of at least this level holds all of these.
    pub fn tell(&self, level: Level, parts: &[&str]) -> bool {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().any(|(found, line)| *found <= level && parts.iter().all(|part| line.contains(part)))
    }

    /// The lines that hold a text, whatever their level.
    pub fn find(&self, text: &str) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|(_, line)| line.contains(text)).map(|(_, line)| line.clone()).collect()
    }

    /// The last lines of our own.
    pub fn last(&self, count: usize) -> Vec<String> {
        let mut lines = self.find("lightcl");
        lines.split_off(lines.len().saturating_sub(count))
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Log for Logs {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if self.shown.matches(record) {
            self.shown.log(record);
        }
        let line = format!("{} {}", record.target(), record.args());
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push((record.level(), line));
    }

    fn flush(&self) {}
}
