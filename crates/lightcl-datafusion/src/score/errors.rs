//! Errors of models as errors of queries.

use datafusion::error::DataFusionError;
use lightcl_core::{Error, ErrorKind};

/// An error that is found while a query is planned.
pub(super) fn planning(error: Error) -> DataFusionError {
    match error.kind() {
        ErrorKind::User => DataFusionError::Plan(in_full(&error)),
        ErrorKind::External | ErrorKind::Internal => DataFusionError::External(Box::new(error)),
    }
}

/// An error that is found while a query runs.
pub(super) fn running(error: Error) -> DataFusionError {
    match error.kind() {
        ErrorKind::User => DataFusionError::Execution(in_full(&error)),
        ErrorKind::External | ErrorKind::Internal => DataFusionError::External(Box::new(error)),
    }
}

/// An error with its causes, in one line.
fn in_full(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_of_users_are_told_in_full_and_others_keep_their_kind() {
        let error = Error::user("no such column").with("column", "x").caused_by("disk on fire");
        assert_eq!(planning(error).to_string(), "Error during planning: no such column (column: x): disk on fire");
        let DataFusionError::External(inner) = running(Error::external("the disk is gone")) else { panic!("kind") };
        assert_eq!(inner.downcast_ref::<Error>().map(Error::kind), Some(ErrorKind::External));
    }
}
