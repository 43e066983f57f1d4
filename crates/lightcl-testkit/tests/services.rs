//! The test bench for Kafka does what tests rely on. Skipped, with the reason, where it cannot run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use lightcl_testkit::services::{self, Broker, Cluster, Proxy, Registry, free_port, tool, tool_with_input};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

fn produce(bootstrap: &str, config: &Path, value: &str) -> bool {
    // The tool reports a record that it could not deliver, but ends with success.
    let config = config.to_str().unwrap();
    let args = ["--bootstrap-server", bootstrap, "--topic", "t", "--command-config", config];
    // A Java program takes seconds to get going where others run beside it.
    let times = ["--max-block-ms", "30000", "--command-property", "delivery.timeout.ms=40000"];
    let output = tool_with_input("ConsoleProducer", &[&args[..], &times[..]].concat(), value);
    output.status.success() && !String::from_utf8_lossy(&output.stderr).contains("ERROR")
}

/// The first `count` values of topic `t`, or as many as come in time.
fn consume(bootstrap: &str, config: &Path, count: usize) -> Vec<String> {
    let (count, config) = (count.to_string(), config.to_str().unwrap());
    let args = ["--bootstrap-server", bootstrap, "--topic", "t", "--from-beginning", "--command-config", config];
    let output = tool("ConsoleConsumer", &[&args[..], &["--max-messages", &count, "--timeout-ms", "20000"]].concat());
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// Whether a process still does anything; one that only waits for its parent to notice its end does not.
fn runs(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_broker_keeps_its_records_over_every_kind_of_end() {
    if !services::ready_or_skipped() {
        return;
    }
    let broker = Broker::start(&["--security", "sasl_scram+ssl", "--acls"]);
    let (address, alice) = (broker.bootstrap(), broker.folder().join("client.properties"));
    broker.create_topic("t", 1, &["retention.ms=-1"]);
    assert!(!produce(&address, &alice, "forbidden"));
    let admin = broker.admin();
    let right = ["--add", "--allow-principal", "User:alice", "--operation", "All", "--topic", "t", "--group", "*"];
    assert!(tool("AclCommand", &[&["--bootstrap-server", &admin][..], &right].concat()).status.success());
    assert!(produce(&address, &alice, "first"));
    let before = broker.pid();
    broker.kill_hard();
    assert!(!runs(before));
    broker.restart();
    assert!(broker.pid() != before && broker.bootstrap() == address);
    assert!(produce(&address, &alice, "second"));
    broker.restart();
    assert_eq!(consume(&address, &alice, 2), ["first", "second"]);

    let (folder, pid) = (broker.folder(), broker.pid());
    assert!(folder.exists() && runs(pid));
    drop(broker);
    assert!(!folder.exists() && !runs(pid));
}

#[test]
fn a_broker_ends_with_the_process_that_started_it() {
    if !services::ready_or_skipped() {
        return;
    }
    // Kills itself as soon as the broker answers.
    let program = r#"
        coproc broker { exec "$0"; }
        while read -r line <&"${broker[0]}"; do
            echo "$line"
            [[ $line != ready* ]] || kill -KILL $$
        done"#;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/kafka/broker");
    let output = Command::new("bash").args(["-c", program]).arg(&script).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let value = |word: &str| said.lines().find_map(|line| line.strip_prefix(word)).map(str::trim).unwrap();
    let (folder, pid) = (Path::new(value("dir ")), value("pids ").parse().unwrap());
    let stopped = Instant::now();
    while runs(pid) || folder.exists() {
        assert!(stopped.elapsed() < Duration::from_secs(20), "process {pid} or {} is left", folder.display());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_cluster_works_without_one_of_its_nodes() {
    if !services::ready_or_skipped() {
        return;
    }
    let cluster = Cluster::start(&[]);
    let nothing = Path::new("/dev/null");
    cluster.create_topic("t", 1, &[]);
    assert!(produce(&cluster.bootstrap(), nothing, "with it"));
    assert_eq!(consume(&cluster.bootstrap(), nothing, 1), ["with it"]);
    cluster.kill_hard(2);
    assert!(produce(&cluster.bootstrap(), nothing, "without it"));
    assert_eq!(consume(&cluster.bootstrap(), nothing, 2), ["with it", "without it"]);
    cluster.restart(2);
}

#[test]
fn a_proxy_cuts_slows_and_restores() {
    if !services::ready_or_skipped() {
        return;
    }
    let proxy = Proxy::start();
    let upstream = format!("127.0.0.1:{}", free_port());
    let address = proxy.forward("broker", &upstream);
    let (_, port) = upstream.split_once(':').unwrap();
    let broker = Broker::start(&["--port", port, "--advertise", &address]);
    assert_eq!(broker.bootstrap(), address);
    broker.create_topic("t", 1, &[]);
    let nothing = Path::new("/dev/null");
    assert!(produce(&address, nothing, "before"));
    proxy.cut("broker");
    TcpStream::connect(&address).unwrap_err();
    assert!(!produce(&address, nothing, "lost"));
    proxy.restore("broker");
    proxy.slow("broker", 100);
    assert!(produce(&address, nothing, "after"));
    assert_eq!(consume(&address, nothing, 2), ["before", "after"]);
}

#[test]
fn a_registry_comes_back_at_its_address_and_hangs_behind_a_proxy() {
    if !services::ready_or_skipped() {
        return;
    }
    let registry = Registry::start(&[]);
    let (url, proxy) = (registry.url(), Proxy::start());
    let (host, path) = url.trim_start_matches("http://").split_once('/').unwrap();
    let behind = proxy.forward("registry", host);
    let subjects = |address: &str, patience: u64| {
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(Duration::from_millis(patience))).unwrap();
        write!(stream, "GET /{path}/subjects HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok().map(|_| answer.ends_with("[]"))
    };
    assert_eq!(subjects(host, 5000), Some(true));
    registry.stop();
    assert_eq!(subjects(host, 5000), None);
    registry.restart();
    assert_eq!(registry.url(), url);
    assert_eq!(subjects(&behind, 5000), Some(true));

    let began = Instant::now();
    proxy.slow("registry", 300);
    proxy.slow("registry", 200);
    assert_eq!(subjects(&behind, 5000), Some(true));
    assert!(began.elapsed() >= Duration::from_millis(200));
    proxy.hang("registry");
    assert_eq!(subjects(&behind, 500), None);
    proxy.restore("registry");
    assert_eq!(subjects(&behind, 5000), Some(true));
    registry.pause();
    assert_eq!(subjects(host, 500), None);
    registry.resume();
    assert_eq!(subjects(host, 5000), Some(true));
}
