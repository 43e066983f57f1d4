//! The program of `docs/datafusion.md` is the one in this folder, and prints what the page says. (The page's commands are run by
//! the tests of the program `lightcl`.)

use crate::scoring_support::train;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

mod program {
    include!("main.rs");

    pub fn start() -> Result<()> {
        main()
    }
}

const FOLDER: &str = "LIGHTCL_TEST_PAGE";

fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}");
    let mut lines = page.lines();
    let mut blocks = Vec::new();
    while lines.any(|line| line == fence) {
        blocks.push(lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect());
    }
    blocks
}

fn page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/datafusion.md")).unwrap()
}

#[test]
fn the_program_in_the_documentation_prints_what_the_page_says() {
    assert_eq!(
        blocks(&page(), "rust"),
        [include_str!("main.rs")],
        "tests/session/page/main.rs is the program of the page"
    );
    let folder = tempfile::tempdir().unwrap();
    let rows = (1..=2000_u32).map(|value| {
        let (odd, more, heavier) = (f64::from(value % 2), f64::from(value * 7 % 11), f64::from(value * 5 % 13));
        let kind = if value % 2 == 0 { "bolt" } else { "nut" };
        (kind, 3.0 - 2.0 * odd + more * 0.08, 1.0 + odd + heavier * 0.05)
    });
    let text = rows.fold("kind,length,weight\n".to_owned(), |mut text, (kind, length, weight)| {
        writeln!(text, "{kind},{length:.2},{weight:.2}").unwrap();
        text
    });
    let csv = folder.path().join("parts.csv");
    std::fs::write(&csv, text).unwrap();
    let pipelines = blocks(&page(), "toml");
    let pipeline = pipelines[0].replace("parts.csv", csv.to_str().unwrap());
    train(&pipeline, &folder.path().join("out/parts"));
    // A process of its own: what a program prints cannot be seen from inside.
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "page::the_program_runs_where_it_is_told_to", "--nocapture", "--test-threads=1"]);
    let output = child.current_dir(folder.path()).env(FOLDER, folder.path()).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    let texts = blocks(&page(), "text");
    let expected = texts.last().unwrap();
    assert!(out.contains(expected), "expected\n{expected}\nfound\n{out}");
}

/// What the test above starts; by itself it has nothing to do.
#[test]
fn the_program_runs_where_it_is_told_to() {
    if std::env::var_os(FOLDER).is_some() {
        println!();
        program::start().unwrap();
    }
}
