//! Why one row cannot be used.

use lightcl_core::RejectReason;

/// The reason, the column and a sentence for the dead letter of one row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem {
    pub reason: RejectReason,
    pub column: Option<String>,
    pub message: String,
}

impl Problem {
    pub fn new(reason: RejectReason, column: &str, message: impl Into<String>) -> Self {
        Problem { reason, column: Some(column.to_owned()), message: message.into() }
    }
}

/// `[3, 32, 32]` as `3x32x32`.
pub(crate) fn shown_shape(shape: &[usize]) -> String {
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x")
}
