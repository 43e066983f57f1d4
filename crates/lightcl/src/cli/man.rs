//! `lightcl man`.

use super::{Cli, ManArgs};
use clap::CommandFactory;
use clap_mangen::Man;
use lightcl_core::{Error, Result};
use std::fs;

/// Prints the program's manual page, or writes those of all commands into a folder.
///
/// # Errors
/// When a page cannot be written.
pub fn run(args: &ManArgs) -> Result<()> {
    let failed = |error| Error::external("cannot write a manual page").caused_by(error);
    let Some(folder) = &args.dir else {
        let mut page = Vec::new();
        Man::new(Cli::command()).render(&mut page).map_err(failed)?;
        return super::print(&String::from_utf8_lossy(&page));
    };
    fs::create_dir_all(folder).map_err(failed).map_err(|error| error.with("folder", folder.display()))?;
    clap_mangen::generate_to(Cli::command(), folder)
        .map_err(failed)
        .map_err(|error| error.with("folder", folder.display()))
}
