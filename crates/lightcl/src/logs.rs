//! What the program says while it runs, on standard error: as text for people, or one JSON object a line for machines.
//!
//! All of it goes through the `log` facade, which librdkafka speaks too. `LIGHTCL_LOG` sets how much is said.

use chrono::{SecondsFormat, Utc};
use clap::ValueEnum;
use log::kv::{Key, Value as LogValue, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};
use serde_json::{Map, Value};
use std::io::Write;
use std::sync::OnceLock;

/// Environment variable that says how much is logged: off, error, warn, info, debug or trace.
pub const LEVEL_VARIABLE: &str = "LIGHTCL_LOG";

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line: time, level, message, fields.
    Json,
}

struct Logger {
    format: LogFormat,
    /// What is said of our own.
    own: LevelFilter,
    /// What is said of libraries: they are only heard when something is wrong, or when more is asked for.
    others: LevelFilter,
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Takes over what is logged in this process. Only the first call counts.
///
/// # Errors
/// A sentence, when `level` is no level.
pub fn install(format: LogFormat, level: Option<&str>) -> Result<(), String> {
    let own = match level.map(str::trim).filter(|level| !level.is_empty()) {
        None => LevelFilter::Info,
        Some(level) => level.parse().map_err(|_| {
            format!("{LEVEL_VARIABLE} must be one of off, error, warn, info, debug, trace, not {level:?}")
        })?,
    };
    let others = if own > LevelFilter::Info { own } else { own.min(LevelFilter::Warn) };
    let logger = LOGGER.get_or_init(|| Logger { format, own, others });
    if log::set_logger(logger).is_ok() {
        log::set_max_level(own);
    }
    Ok(())
}

/// Says nothing but warnings and errors from now on.
pub fn only_warnings() {
    log::set_max_level(log::max_level().min(LevelFilter::Warn));
}

/// Whether lines are JSON.
pub fn is_json() -> bool {
    LOGGER.get().is_some_and(|logger| logger.format == LogFormat::Json)
}

/// One line of JSON.
pub(crate) fn json_line(level: Level, message: &str, fields: Map<String, Value>) -> String {
    // By hand, so that a reader of the raw lines finds the time first.
    let time = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
    let level = level.as_str().to_lowercase();
    let (message, fields) = (Value::from(message), Value::from(fields));
    format!("{{\"time\":\"{time}\",\"level\":\"{level}\",\"message\":{message},\"fields\":{fields}}}\n")
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let of_ours = metadata.target().starts_with("lightcl");
        metadata.level() <= if of_ours { self.own } else { self.others }
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut fields = Fields(Map::new());
        // The visitor never fails.
        let _ = record.key_values().visit(&mut fields);
        let message = record.args().to_string();
        let of_ours = record.target().starts_with("lightcl");
        let line = match self.format {
            LogFormat::Json => {
                if !of_ours {
                    fields.0.insert("source".to_owned(), record.target().into());
                }
                json_line(record.level(), &message, fields.0)
            }
            LogFormat::Text => {
                let level = match record.level() {
                    Level::Error => "error: ",
                    Level::Warn => "warning: ",
                    Level::Info => "",
                    Level::Debug => "debug: ",
                    Level::Trace => "trace: ",
                };
                let source = if of_ours { String::new() } else { format!("{}: ", record.target()) };
                format!("{level}{source}{message}\n")
            }
        };
        // With standard error gone there is nobody to tell. One write a line, so that lines of threads do not mix.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

struct Fields(Map<String, Value>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: LogValue<'kvs>) -> Result<(), log::kv::Error> {
        let json = match (value.to_bool(), value.to_u64(), value.to_i64(), value.to_f64()) {
            (Some(flag), ..) => Value::from(flag),
            (_, Some(number), ..) => Value::from(number),
            (_, _, Some(number), _) => Value::from(number),
            (_, _, _, Some(number)) => Value::from(number),
            _ => Value::from(value.to_string()),
        };
        self.0.insert(key.to_string(), json);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_heard_when_something_is_wrong() {
        let logger = |own, others| Logger { format: LogFormat::Text, own, others };
        let enabled =
            |logger: &Logger, target, level| logger.enabled(&Metadata::builder().target(target).level(level).build());
        let usual = logger(LevelFilter::Info, LevelFilter::Warn);
        assert!(enabled(&usual, "lightcl::cli", Level::Info) && !enabled(&usual, "librdkafka", Level::Info));
        assert!(enabled(&usual, "librdkafka", Level::Warn));
        let debug = logger(LevelFilter::Debug, LevelFilter::Debug);
        assert!(enabled(&debug, "librdkafka", Level::Debug));
    }

    #[test]
    fn a_line_of_json_has_time_level_message_and_fields() {
        let mut fields = Map::new();
        fields.insert("samples".to_owned(), Value::from(3));
        let line: Value = serde_json::from_str(&json_line(Level::Warn, "a \"quoted\"\nline", fields)).unwrap();
        assert_eq!((line["level"].as_str(), line["message"].as_str()), (Some("warn"), Some("a \"quoted\"\nline")));
        assert_eq!(line["fields"]["samples"], 3);
        assert!(line["time"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn a_level_that_is_none_is_refused() {
        assert!(install(LogFormat::Text, Some("loud")).unwrap_err().contains("LIGHTCL_LOG must be one of"));
    }
}
