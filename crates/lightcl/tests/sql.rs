//! `lightcl sql` from outside: what it prints, how it ends, and that it can be stopped.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::tempdir;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn lightcl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lightcl"));
    command.current_dir(top()).stdin(Stdio::null());
    command
}

fn sql(arguments: &[&str]) -> Output {
    lightcl().arg("sql").args(arguments).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs the shell over some text.
fn piped(text: &str) -> Output {
    let mut shell = lightcl();
    let mut shell =
        shell.arg("sql").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    shell.wait_with_output().unwrap()
}

#[test]
fn statements_print_their_rows_in_the_format_asked_for() {
    let output = sql(&["-c", "SELECT 1 AS a, 'x' AS b UNION ALL SELECT 2, NULL ORDER BY a"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(out(&output), "+---+---+\n| a | b |\n+---+---+\n| 1 | x |\n| 2 |   |\n+---+---+\n");
    let output = sql(&["--format", "csv", "-c", "SELECT 1 AS a, [1, 2] AS b"]);
    assert_eq!(out(&output), "a,b\n1,\"[1, 2]\"\n", "{}", err(&output));
    let output = sql(&["--format", "json", "-c", "SELECT 1 AS a, [1, 2] AS b; SELECT 'y' AS c"]);
    assert_eq!(out(&output), "{\"a\":1,\"b\":[1,2]}\n{\"c\":\"y\"}\n", "{}", err(&output));
    let nothing = "SELECT 1 AS a WHERE false";
    assert_eq!(out(&sql(&["-c", nothing])), "+---+\n| a |\n+---+\n+---+\n");
    assert_eq!(out(&sql(&["--format", "csv", "-c", nothing])), "a\n");
    assert_eq!(out(&sql(&["--format", "json", "-c", nothing])), "");
}

#[test]
fn commands_and_files_share_one_session_and_come_in_order() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("more.sql");
    fs::write(&file, "-- what was made before\nINSERT INTO t VALUES (2);\nSELECT sum(n) AS n FROM t;\n").unwrap();
    let file = file.to_str().unwrap();
    let output =
        sql(&["-f", file, "-c", "CREATE TABLE t (n INT)", "--command", "INSERT INTO t VALUES (40)", "--format", "csv"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(out(&output), "count\n1\ncount\n1\nn\n42\n");
}

#[test]
fn the_first_mistake_ends_commands_with_the_exit_code_of_its_kind() {
    for (statement, code, said) in [
        ("SELEC 1", 2, "sql parser error"),
        ("SELECT a", 2, "a"),
        ("SELECT * FROM nowhere", 2, "nowhere"),
        ("SELECT lightcl_predict('nobody', 1)", 2, "there is no model 'nobody'"),
        ("SELECT arrow_cast('x', 'Int32') + n FROM (VALUES (1)) AS t(n)", 1, "Cannot cast"),
        ("SELECT 1; SELEC 2", 2, "sql parser error"),
    ] {
        let output = sql(&["-c", statement, "-c", "SELECT 'never' AS never"]);
        assert_eq!(output.status.code(), Some(code), "{statement}: {}", err(&output));
        assert!(err(&output).starts_with("error: ") && err(&output).contains(said), "{statement}: {}", err(&output));
        assert_eq!(out(&output), "", "{statement}");
    }
    for (arguments, said) in [
        (&["-f", "no/such/file.sql"][..], "cannot read a file of statements"),
        (&["--model", "shop", "-c", "SELECT 1"], "NAME=PATH"),
        (&["--format", "xml"], "possible values"),
    ] {
        let output = sql(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(err(&output).contains(said), "{arguments:?}: {}", err(&output));
    }
}

#[test]
fn a_mistake_in_the_shell_ends_nothing_but_its_statement() {
    let output = piped(
        "SELECT 'a;b' AS a;\nSELECT\n  b;\n-- SELECT 0;\nSELECT 'c' -- ;\n AS c; SELECT 4 AS d;\nSELECT 'last' AS e",
    );
    let text = out(&output);
    for (value, is_there) in [("a;b", true), ("| c |", true), ("| 4 |", true), ("last", true), ("| 0 |", false)] {
        assert_eq!(text.contains(value), is_there, "{value}: {text}");
    }
    assert_eq!(output.status.code(), Some(2), "what was wrong is told at the end too");
    assert!(err(&output).contains("'b'") || err(&output).contains("b."), "{}", err(&output));
    assert_eq!(piped("SELECT 1;\nexit\nSELECT nothing;\n").status.code(), Some(0));
    assert_eq!(piped("").status.code(), Some(0));
    assert_eq!(piped("  -- nothing\n").status.code(), Some(0));
}

#[test]
fn models_of_runs_predict_by_name_and_by_path() {
    let folder = tempdir().unwrap();
    let rows: String =
        (0..400).map(|row| format!("{},{},{}\n", [-2, 2][row % 2], row % 7, ["low", "high"][row % 2])).collect();
    let data = folder.path().join("rows.csv");
    fs::write(&data, format!("x,y,label\n{rows}")).unwrap();
    let pipeline = folder.path().join("shop.toml");
    fs::write(
        &pipeline,
        format!(
            "[source]\ntype = \"csv\"\npath = {data:?}\n[sample]\nfeatures = [\"x\", \"y\"]\nlabel = \"label\"\n\
             [learner]\nhidden = [16]\nfrozen = 0\npasses = 5\nlearning_rate = 0.05\nhead = \"network\"\n"
        ),
    )
    .unwrap();
    let model = folder.path().join("out");
    let run = lightcl().args(["run", "--quiet", "--out"]).args([&model, &pipeline]).output().unwrap();
    assert_eq!(run.status.code(), Some(0), "{}", err(&run));
    let model = model.to_str().unwrap();
    let statement = format!(
        "CREATE EXTERNAL TABLE rows STORED AS CSV LOCATION '{}' OPTIONS ('format.has_header' 'true'); \
         SELECT label, lightcl_predict('shop', x, y) AS predicted, lightcl_predict('{model}', x, y) AS again, count(*) AS rows \
         FROM rows GROUP BY ALL ORDER BY label",
        data.display()
    );
    let named = format!("shop={model}");
    let output = sql(&["--format", "csv", "--model", &named, "-c", &statement]);
    assert_eq!(out(&output), "label,predicted,again,rows\nhigh,high,high,200\nlow,low,low,200\n", "{}", err(&output));
}

fn interrupt(child: &Child, signal: &str) {
    let status = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn an_interrupt_cancels_the_statement_at_once_and_ends_with_130() {
    for signal in ["-INT", "-TERM"] {
        let mut command = lightcl();
        command.args(["sql", "--format", "csv", "-c", "SELECT 'begun' AS a"]);
        command.args(["-c", "SELECT sum(value % 7) FROM generate_series(1, 4000000000000)"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        for expected in ["a\n", "begun\n"] {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            assert_eq!(line, expected);
        }
        // Wherever in the second statement this finds it.
        std::thread::sleep(Duration::from_millis(300));
        let asked = Instant::now();
        interrupt(&child, signal);
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(130), "{signal}");
        assert!(asked.elapsed() < Duration::from_secs(5), "{signal}: {:?}", asked.elapsed());
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "{signal}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut command = lightcl();
    command.args(["sql", "--format", "csv", "-c", "SELECT value FROM generate_series(1, 3000000)"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "value\n");
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), err(&output).as_str()), (Some(0), ""));
}

#[test]
fn settings_of_the_engine_come_from_the_environment() {
    let show = "SELECT value FROM information_schema.df_settings WHERE name = 'datafusion.execution.batch_size'";
    let mut command = lightcl();
    let output =
        command.env("DATAFUSION_EXECUTION_BATCH_SIZE", "123").args(["sql", "--format", "csv", "-c", show]).output();
    assert_eq!(out(&output.unwrap()), "value\n123\n");
}

/// The blocks of a page that follow each other: language and text.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut lines = page.lines();
    let mut blocks = Vec::new();
    while let Some(language) = lines.find_map(|line| line.strip_prefix("```")) {
        let text = lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
        blocks.push((language.to_owned(), text));
    }
    blocks
}

#[test]
fn the_commands_of_the_documentation_print_what_the_page_says() {
    let page = fs::read_to_string(top().join("docs/datafusion.md")).unwrap();
    let blocks = blocks(&page);
    let folder = tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_lightcl")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let mut compared = 0;
    for (number, (language, text)) in blocks.iter().enumerate() {
        match language.as_str() {
            "toml" => fs::write(folder.path().join("parts.toml"), text).unwrap(),
            "shell" => {
                let output = Command::new("bash")
                    .args(["-c", text])
                    .env("PATH", &path)
                    .current_dir(folder.path())
                    .output()
                    .unwrap();
                let expected = blocks.get(number + 1).filter(|(language, _)| language == "text");
                assert_eq!(out(&output), expected.map_or("", |(_, text)| text), "{text}{}", err(&output));
                compared += usize::from(expected.is_some());
            }
            _ => {}
        }
    }
    assert!(compared >= 3, "the page has blocks to compare");
}

#[test]
fn an_insert_that_is_killed_goes_on_from_its_last_commit_and_ends_with_the_same_state() {
    let folder = tempdir().unwrap();
    let statements = |name: &str| {
        format!(
            "CREATE EXTERNAL TABLE learner STORED AS LIGHTCL LOCATION '{}' OPTIONS ('lightcl.pipeline' 'pipelines/elec2.toml', \
             'lightcl.partition' 'elec2', 'lightcl.set.learner.passes' '4', 'lightcl.set.checkpoint.every_samples' '500'); \
             INSERT INTO learner SELECT * FROM 'examples/data/elec2.parquet'; \
             SELECT state_sha256 FROM lightcl.models",
            folder.path().join(name).display()
        )
    };
    let run = |name: &str| {
        let output = sql(&["--format", "json", "-c", &statements(name)]);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        out(&output).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let straight = run("straight");
    let checkpoints = folder.path().join("killed/checkpoints");
    let mut killed = lightcl();
    let mut killed = killed.args(["sql", "-c", &statements("killed")]).stdout(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while fs::read_dir(&checkpoints).map_or(0, Iterator::count) < 2 {
        assert!(began.elapsed() < Duration::from_secs(60), "it committed nothing");
        std::thread::sleep(Duration::from_millis(5));
    }
    killed.kill().unwrap();
    assert!(!killed.wait().unwrap().success(), "it was over before it was killed");
    let resumed = run("killed");
    let count = |lines: &[String]| lines[0].trim_matches(|c: char| !c.is_ascii_digit()).parse::<u64>().unwrap();
    assert!(count(&resumed) > 0 && count(&resumed) < count(&straight), "{resumed:?} and {straight:?}");
    assert_eq!(resumed[1], straight[1], "the states differ");
}
