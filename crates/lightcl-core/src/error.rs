//! The one error type of the project.

use std::fmt;

/// Who has to act on an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The user's configuration, input or command is wrong; running again unchanged fails again.
    User,
    /// Something outside the program failed: a disk, a broker, a file system.
    External,
    /// A promise inside the program was broken; please report it.
    Internal,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ErrorKind::User => "user",
            ErrorKind::External => "external",
            ErrorKind::Internal => "internal",
        })
    }
}

/// An error with a kind, a message that says what to do, and key/value context.
///
/// ```
/// use lightcl_core::{Error, ErrorKind};
///
/// let error = Error::user("no such column; nearest is 'label'").with("column", "lable");
/// assert_eq!(error.kind(), ErrorKind::User);
/// assert_eq!(error.to_string(), "no such column; nearest is 'label' (column: lable)");
/// ```
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    retryable: bool,
}

/// The result type used throughout the project.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of the given kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Box::new(Inner { kind, message: message.into(), context: Vec::new(), source: None, retryable: false }))
    }

    /// A mistake in configuration, input or usage.
    pub fn user(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::User, message)
    }

    /// A failure of something outside the program.
    pub fn external(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::External, message)
    }

    /// A broken promise inside the program.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Adds one piece of context: which file, which column, which row.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Keeps the error that caused this one.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Marks the error as worth trying again unchanged.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.0.retryable = true;
        self
    }

    /// Who has to act.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The message without context and cause.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The context, in the order it was added.
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }

    /// Whether trying again unchanged may succeed.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        for (position, (key, value)) in self.0.context.iter().enumerate() {
            let open = if position == 0 { " (" } else { ", " };
            write!(f, "{open}{key}: {value}")?;
        }
        if !self.0.context.is_empty() {
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source.as_ref() as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_shows_message_then_context_in_order() {
        let error = Error::external("cannot write").with("file", "a").with("bytes", 3);
        assert_eq!(error.to_string(), "cannot write (file: a, bytes: 3)");
    }

    #[test]
    fn source_is_kept_and_retry_is_off_by_default() {
        let error = Error::internal("x").caused_by("inner");
        assert_eq!(std::error::Error::source(&error).map(ToString::to_string), Some("inner".to_owned()));
        assert!(!error.is_retryable());
        assert!(error.retryable().is_retryable());
    }
}
