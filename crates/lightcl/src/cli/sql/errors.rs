//! Errors of DataFusion as those of the program.

use lightcl_core::{Error, ErrorKind};
use lightcl_datafusion::datafusion::error::DataFusionError;

/// An error of a statement, told by its root: what was wrong with the statement is the user's to put right, what failed while it
/// ran is not.
pub(super) fn of_statement(error: &DataFusionError) -> Error {
    let root = error.find_root();
    let (kind, message) = match root {
        DataFusionError::SQL(inner, _) => (ErrorKind::User, inner.to_string()),
        DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
            Some(own) => return copied(own),
            None => (ErrorKind::External, inner.to_string()),
        },
        DataFusionError::Plan(message) | DataFusionError::Configuration(message) => (ErrorKind::User, message.clone()),
        DataFusionError::NotImplemented(_) | DataFusionError::SchemaError(..) => {
            (ErrorKind::User, root.strip_backtrace())
        }
        other => (ErrorKind::External, other.strip_backtrace()),
    };
    let message = message.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or_default().to_owned();
    Error::new(kind, message)
}

/// An error like the one that cannot be taken out of its wrapping.
fn copied(error: &Error) -> Error {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        message.push_str(": ");
        message.push_str(&inner.to_string());
        cause = inner.source();
    }
    Error::new(error.kind(), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_decides_the_kind_and_the_message() {
        let error = DataFusionError::Plan("no such column".to_owned()).context("type_coercion").context("optimizer");
        let error = of_statement(&error);
        assert_eq!((error.kind(), error.message()), (ErrorKind::User, "no such column"));
        let error = of_statement(&DataFusionError::Execution("divided by zero".to_owned()));
        assert_eq!((error.kind(), error.message()), (ErrorKind::External, "Execution error: divided by zero"));
        let own = Error::external("the disk is gone").with("file", "a").caused_by("fire");
        let error = of_statement(&DataFusionError::External(Box::new(own)).context("scan"));
        assert_eq!((error.kind(), error.message()), (ErrorKind::External, "the disk is gone (file: a): fire"));
    }
}
