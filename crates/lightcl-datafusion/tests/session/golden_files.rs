//! Golden files of SQL: `tests/sql/*.slt` and, against a broker, `tests/sql/kafka/*.slt`, each in a session of its own.
//!
//! `LIGHTCL_UPDATE_SQL=1 cargo test -p lightcl-datafusion --test session` writes what comes out into the files; look at the
//! difference before it is committed. `WORK` in a file stands for the folder of the models, `BROKER` for the broker's address.

use crate::scoring_support::Workshop;
use datafusion::prelude::SessionConfig;
use lightcl_testkit::services::{self, Broker};
use std::fs;
use std::path::{Path, PathBuf};

fn golden_files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|file| file.extension().is_some_and(|end| end == "slt")).collect();
    files.sort();
    assert!(!files.is_empty());
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

/// Runs the files of a folder; `names` are words that stand for places of this machine.
async fn check(folder: &str, workshop: &Workshop, names: &[(&str, String)]) {
    let update = std::env::var_os("LIGHTCL_UPDATE_SQL").is_some_and(|value| !value.is_empty());
    let mut failures = Vec::new();
    for file in golden_files(folder) {
        // One partition, so that rows come in the order of the file.
        let config = SessionConfig::new().with_target_partitions(1).with_information_schema(true);
        let session = workshop.session(config).await;
        let expected = fs::read_to_string(&file).unwrap();
        let placed = |sql: &str| names.iter().fold(sql.to_owned(), |sql, (name, place)| sql.replace(name, place));
        let placeless =
            |line: &str| names.iter().fold(line.to_owned(), |line, (name, place)| line.replace(place, name));
        let found = crate::golden::run(&session, &expected, placed, placeless).await;
        if update {
            fs::write(&file, &found).unwrap();
        } else if found != expected {
            failures.push(format!("{}: {}", file.display(), difference(&expected, &found)));
        }
    }
    assert!(failures.is_empty(), "{}\nLIGHTCL_UPDATE_SQL=1 writes the files anew", failures.join("\n"));
}

#[tokio::test]
async fn statements_give_what_the_golden_files_say() {
    let workshop = Workshop::new();
    let work = workshop.path("").to_str().unwrap().trim_end_matches('/').to_owned();
    check("sql", &workshop, &[("WORK", work)]).await;
}

#[tokio::test]
async fn statements_about_topics_give_what_their_golden_files_say() {
    if !services::ready_or_skipped() {
        return;
    }
    let broker = Broker::shared();
    broker.create_topic("golden", 2, &[]);
    check("sql/kafka", &Workshop::with(&[]), &[("BROKER", broker.bootstrap())]).await;
}
