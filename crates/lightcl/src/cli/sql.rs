//! `lightcl sql`: statements of DataFusion with everything of lightcl registered.
//!
//! The command is there in every build, with the same options; only with the feature `datafusion` does it do its work.

mod args;
#[cfg(feature = "datafusion")]
mod errors;
#[cfg(feature = "datafusion")]
mod input;
#[cfg(feature = "datafusion")]
mod rows;
#[cfg(feature = "datafusion")]
mod shell;
#[cfg(feature = "datafusion")]
mod statements;

pub use args::{SqlArgs, SqlFormat};

#[cfg(any(test, not(feature = "datafusion")))]
use lightcl_core::Error;
use lightcl_core::Result;

/// Runs the statements that are given, or those of standard input.
///
/// # Errors
/// When a statement is wrong or fails, a file cannot be read, or this program was built without DataFusion.
pub fn run(args: &SqlArgs) -> Result<()> {
    #[cfg(feature = "datafusion")]
    return shell::run(args);
    #[cfg(not(feature = "datafusion"))]
    {
        let _ = args;
        Err(without_datafusion())
    }
}

#[cfg(any(test, not(feature = "datafusion")))]
fn without_datafusion() -> Error {
    Error::user(
        "this program was built without DataFusion, which SQL needs; build it with the feature: cargo install --path \
         crates/lightcl --features datafusion",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_without_datafusion_says_how_to_get_it() {
        assert!(without_datafusion().to_string().contains("--features datafusion"));
    }
}
