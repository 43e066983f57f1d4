//! Figures and health over HTTP while a real run goes on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Status and body of an answer.
fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// A run over standard input that listens on a port of the system's choice; its pipeline lies in `folder`.
fn start(folder: &std::path::Path) -> (Child, SocketAddr) {
    let pipeline = folder.join("shop.toml");
    let text = "[source]\ntype = \"csv\"\npath = \"-\"\ninfer_rows = 4\nbatch_rows = 32\n[sample]\nfeatures = [\"x\"]\n\
                label = \"label\"\n[learner]\nhidden = [4, 4]\nfrozen = 1\nwindow_samples = 32\n[metrics]\n\
                listen = \"127.0.0.1:0\"\n";
    fs::write(&pipeline, text).unwrap();
    let mut run = Command::new(env!("CARGO_BIN_EXE_lightcl"))
        .args(["--log", "json", "run", pipeline.to_str().unwrap(), "--out", folder.join("out").to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(run.stderr.take().unwrap()).lines();
    let first: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let address = first["fields"]["address"].as_str().unwrap_or_else(|| panic!("{first}")).parse().unwrap();
    // Whoever writes to standard error must not be held up.
    thread::spawn(move || lines.for_each(drop));
    (run, address)
}

#[test]
fn a_run_tells_its_figures_and_its_health() {
    let folder = tempfile::tempdir().unwrap();
    let (mut run, address) = start(folder.path());
    // Nothing has come yet: it lives, and is not ready.
    assert_eq!(get(address, "/healthz"), (200, "live\n".to_owned()));
    assert_eq!(get(address, "/readyz").0, 503);
    let mut input = run.stdin.take().unwrap();
    writeln!(input, "x,label").unwrap();
    for row in 0..200 {
        writeln!(input, "{},{}", row % 7, row % 2).unwrap();
    }
    input.flush().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let figures = loop {
        let figures = get(address, "/metrics").1;
        if figures.contains("lightcl_samples_total 1") || Instant::now() > deadline {
            break figures;
        }
        thread::sleep(Duration::from_millis(20));
    };
    for figure in [
        "# HELP lightcl_samples_total Rows read, rejected ones included",
        "# TYPE lightcl_push_seconds histogram",
        "lightcl_push_seconds_bucket{le=\"0.0005\"}",
        "lightcl_task 0",
    ] {
        assert!(figures.contains(figure), "{figure}: {figures}");
    }
    assert_eq!(get(address, "/readyz"), (200, "ready\n".to_owned()));
    assert_eq!(get(address, "/healthz").0, 200);
    assert_eq!((get(address, "/").0, get(address, "/other").0), (200, 404));
    // A client that says nothing does not keep the run from its end.
    let _silent = TcpStream::connect(address).unwrap();
    drop(input);
    let output = run.wait_with_output().unwrap();
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("samples                200"));
    assert!(TcpStream::connect(address).is_err(), "the port is free again");
}

#[test]
fn a_port_in_use_is_an_error_of_the_user() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pipeline = folder.path().join("shop.toml");
    let text = "[source]\ntype = \"csv\"\npath = \"-\"\n[sample]\nfeatures = [\"x\"]\nlabel = \"y\"\n";
    fs::write(&pipeline, text).unwrap();
    let run = |listen: &str| {
        let listen = format!("metrics.listen={listen}");
        let out = folder.path().join("out");
        let arguments = ["run", pipeline.to_str().unwrap(), "--out", out.to_str().unwrap(), "--set", &listen];
        let output = Command::new(env!("CARGO_BIN_EXE_lightcl")).args(arguments).stdin(Stdio::null()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = run(&taken.local_addr().unwrap().to_string());
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("cannot listen on metrics.listen") && said.contains("another program listens there"),
        "{said}"
    );
    let (code, said) = run("203.0.113.7:9184");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("is it an address of this machine?"), "{said}");
}
