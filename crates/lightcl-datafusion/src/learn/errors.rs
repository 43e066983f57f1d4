//! Errors of learners as errors of queries.

use datafusion::error::DataFusionError;
use lightcl_core::Error;

/// The error of a query that a learner's error stands for: its causes are said with it, and one that came from the engine
/// stays of its kind.
pub(super) fn failed(error: Error) -> DataFusionError {
    match cause(&error).map(DataFusionError::find_root) {
        Some(DataFusionError::ResourcesExhausted(text)) => DataFusionError::ResourcesExhausted(text.clone()),
        _ => DataFusionError::External(Box::new(with_causes(error))),
    }
}

/// As [`failed`], for what is found while a query is planned.
pub(super) fn refused(error: &Error) -> DataFusionError {
    DataFusionError::Plan(in_words(error))
}

/// A learner's error that came from the engine.
pub(super) fn from_engine(message: &str, error: DataFusionError) -> Error {
    Error::external(message).caused_by(error)
}

fn cause(error: &Error) -> Option<&DataFusionError> {
    std::error::Error::source(error)?.downcast_ref::<DataFusionError>()
}

/// The error with its causes in its message: what shows errors of queries shows no causes.
fn with_causes(error: Error) -> Error {
    if std::error::Error::source(&error).is_none() {
        return error;
    }
    let text = in_words(&error);
    let mended = Error::new(error.kind(), text).caused_by(error.to_string());
    if error.is_retryable() { mended.retryable() } else { mended }
}

fn in_words(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_of_memory_stays_one_and_causes_are_said() {
        let error = from_engine("no room", DataFusionError::ResourcesExhausted("pool".to_owned()));
        assert!(matches!(failed(error), DataFusionError::ResourcesExhausted(_)));
        let error = Error::external("cannot write").caused_by("the disk is full");
        assert!(failed(error).to_string().contains("cannot write: the disk is full"));
        let error = Error::user("no such column").with("column", "x");
        assert!(refused(&error).to_string().ends_with("no such column (column: x)"));
    }
}
