//! Golden files of SQL: `tests/sql/*.slt`, each in a session of its own.
//!
//! `LIGHTCL_UPDATE_SQL=1 cargo test -p lightcl-datafusion --test sql` writes what comes out into the files; look at the
//! difference before it is committed. `WORK` in a file stands for the folder of the models.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod golden;
mod page;
mod scoring_support;

use datafusion::prelude::SessionConfig;
use scoring_support::Workshop;
use std::fs;
use std::path::{Path, PathBuf};

fn golden_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sql");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|file| file.extension().is_some_and(|end| end == "slt")).collect();
    files.sort();
    files
}

/// The first line in which two texts differ, with what should stand there.
fn difference(expected: &str, found: &str) -> String {
    let mut lines = expected.lines().zip(found.lines()).enumerate();
    match lines.find(|(_, (expected, found))| expected != found) {
        Some((number, (expected, found))) => format!("line {}: expected\n  {expected}\nfound\n  {found}", number + 1),
        None => "one ends before the other".to_owned(),
    }
}

#[tokio::test]
async fn statements_give_what_the_golden_files_say() {
    let update = std::env::var_os("LIGHTCL_UPDATE_SQL").is_some_and(|value| !value.is_empty());
    let workshop = Workshop::new();
    let work = workshop.path("").to_str().unwrap().trim_end_matches('/').to_owned();
    let files = golden_files();
    assert!(!files.is_empty());
    let mut failures = Vec::new();
    for file in files {
        // One partition, so that rows come in the order of the file.
        let config = SessionConfig::new().with_target_partitions(1).with_information_schema(true);
        let session = workshop.session(config).await;
        let expected = fs::read_to_string(&file).unwrap();
        let placed = |sql: &str| sql.replace("WORK", &work);
        let found = golden::run(&session, &expected, placed, |line: &str| line.replace(&work, "WORK")).await;
        if update {
            fs::write(&file, &found).unwrap();
        } else if found != expected {
            failures.push(format!("{}: {}", file.display(), difference(&expected, &found)));
        }
    }
    assert!(failures.is_empty(), "{}\nLIGHTCL_UPDATE_SQL=1 writes the files anew", failures.join("\n"));
}
