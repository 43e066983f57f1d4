//! The programs: a scheduler and two executors as processes, one of which is killed.

use crate::support::{KEYS, call, files, train_alone, write_samples};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A process that dies with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(program: &str, arguments: &[String], log: &Path) -> Process {
    let log = fs::File::create(log).unwrap();
    let mut command = Command::new(program);
    command.args(arguments).env("RUST_LOG", "info").stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    Process(command.spawn().unwrap())
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn wait_for(what: &str, most: Duration, mut is_there: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_there() {
        assert!(began.elapsed() < most, "{what} took more than {most:?}");
        sleep(Duration::from_millis(20));
    }
}

/// Learners that are done.
fn done(folder: &Path) -> usize {
    fs::read_dir(folder.join("j/all")).map_or(0, Iterator::count)
}

/// Learners that are being trained.
fn attempts(folder: &Path) -> usize {
    fs::read_dir(folder.join("j/.attempts")).map_or(0, Iterator::count)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_is_killed_on_the_way_changes_nothing_but_the_time() {
    let folder = tempfile::tempdir().unwrap();
    let (samples, spread, alone) =
        (folder.path().join("samples"), folder.path().join("spread"), folder.path().join("alone"));
    write_samples(&samples, 27_000, 3).await;
    let port = free_port();
    let log = |name: &str| folder.path().join(name);
    let scheduler = ["--port", &port.to_string(), "--executor-timeout", "10"].map(str::to_owned);
    let _scheduler = start(env!("CARGO_BIN_EXE_scheduler"), &scheduler, &log("scheduler.log"));
    wait_for("the scheduler", Duration::from_secs(30), || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let executor = |name: &str| {
        let [port, serve] = [port, free_port()].map(|port| port.to_string());
        let arguments = ["--scheduler-port", &port, "--port", &serve, "--tasks", "1"];
        start(env!("CARGO_BIN_EXE_executor"), &arguments.map(str::to_owned), &log(name))
    };
    let mut first = executor("first.log");
    let _second = executor("second.log");

    let statements = [
        format!("CREATE EXTERNAL TABLE samples STORED AS PARQUET LOCATION '{}/'", samples.display()),
        format!("SELECT DISTINCT key, rows, state_sha256 FROM {}", call(&spread, "j")),
    ];
    let merged = folder.path().join("merged");
    let mut arguments =
        vec!["--scheduler".to_owned(), format!("http://localhost:{port}"), "--partitions".to_owned(), "8".to_owned()];
    arguments.extend(statements.into_iter().flat_map(|statement| ["-c".to_owned(), statement]));
    arguments.extend(["--merge-from".to_owned(), spread.join("j/all").display().to_string()]);
    arguments.extend(["--merge-to".to_owned(), merged.display().to_string()]);
    let mut client = start(env!("CARGO_BIN_EXE_backfill"), &arguments, &log("client.log"));

    // In the middle: something is done, and both are at work.
    wait_for("the first learners", Duration::from_secs(120), || done(&spread) >= 2 && attempts(&spread) >= 2);
    first.0.kill().unwrap();
    first.0.wait().unwrap();
    let when_killed = done(&spread);
    assert!(when_killed < KEYS, "the job was over when the executor was killed");
    wait_for("the job", Duration::from_secs(240), || client.0.try_wait().unwrap().is_some());
    let said = fs::read_to_string(log("client.log")).unwrap();
    assert!(client.0.wait().unwrap().success(), "{said}");
    assert_eq!(said.matches("| 3000 |").count(), KEYS, "{said}");
    assert!(said.contains(&format!("{KEYS} learners joined: 27000 rows")), "{said}");
    println!("{when_killed} of {KEYS} learners were done when the executor was killed");

    let learners = train_alone(&samples, &alone, "j").await;
    assert_eq!(learners.len(), KEYS);
    assert!(files(&spread, "j") == files(&alone, "j"), "files differ");
}
