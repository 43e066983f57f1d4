//! `lightcl kafka topics` against real brokers: what it makes and finds, and whom it is let in as.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use lightcl_testkit::services::{self, Broker};
use std::fs;
use std::path::Path;
use std::process::Command;

/// An unsigned token of the user admin that is good until 2100.
const TOKEN: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiIsImlhdCI6MTcwMDAwMDAwMCwiZXhwIjo0MTAyNDQ0ODAwfQ.";

/// Exit code, standard output and standard error of `lightcl kafka topics` with `source` in `[source]`.
fn topics(folder: &Path, broker: &Broker, source: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let path = folder.join("pipeline.toml");
    let text = format!(
        "[source]\ntype = \"kafka\"\nbrokers = {:?}\ntopics = [\"samples\"]\ngroup = \"shop\"\n{source}[sample]\n\
         features = [\"x\"]\nlabel = \"y\"\n[sink]\ntype = \"kafka\"\n[sink.topics]\nstate = \"state\"\npredictions = \"predictions\"\n",
        broker.bootstrap()
    );
    fs::write(&path, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_lightcl"));
    command.args(["kafka", "topics", path.to_str().unwrap()]).args(arguments);
    let output = command.env("LIGHTCL_TEST_PASSWORD", "admin-secret").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn missing_topics_are_made_and_wrong_ones_are_told() {
    if !services::ready_or_skipped() {
        return;
    }
    let broker = Broker::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| topics(folder.path(), &broker, "", arguments);
    let (code, _, said) = run(&[]);
    assert!(code == Some(2) && said.contains("there is no input topic 'samples'"), "{said}");
    broker.create_topic("samples", 3, &[]);
    let (code, shown, _) = run(&[]);
    assert!(
        code == Some(0) && shown.matches("is missing; --create would make it: 3 partitions").count() == 2,
        "{shown}"
    );
    let (code, _, said) = run(&["--create", "--replication", "3"]);
    assert!(code == Some(2) && said.contains("fewer brokers than copies"), "{said}");
    let (code, shown, said) = run(&["--create"]);
    assert!(code == Some(0) && shown.matches("made: 3 partitions").count() == 2, "{shown}{said}");
    let (code, shown, _) = run(&[]);
    assert!(code == Some(0) && shown.matches("is there, 3 partitions, all is well").count() == 2, "{shown}");
    broker.create_topic("bad-state", 1, &["max.message.bytes=100000"]);
    broker.create_topic("bad-predictions", 1, &["cleanup.policy=compact"]);
    let other = ["--set", "sink.topics.state=bad-state", "--set", "sink.topics.predictions=bad-predictions"];
    let (_, shown, _) = run(&other);
    for said in [
        "fewer than the 3 of the input",
        "cleanup.policy is delete: old state would be deleted by age",
        "max.message.bytes is 100000: chunks of state would not fit",
        "cleanup.policy is compact: records with the same key would be lost",
        "--entity-name bad-state --add-config cleanup.policy=compact,max.message.bytes=1048588",
    ] {
        assert!(shown.contains(said), "{said}: {shown}");
    }
}

#[test]
fn users_are_let_in_by_certificate_password_and_token_and_told_why_when_not() {
    if !services::ready_or_skipped() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, format!("{TOKEN}\n")).unwrap();
    let password = "[source.secrets]\nsasl.password = { env = \"LIGHTCL_TEST_PASSWORD\" }\n";
    for (kind, mechanism, acls) in [
        ("sasl_scram+ssl", "SCRAM-SHA-512", true),
        ("sasl_plain", "PLAIN", false),
        ("sasl_oauth", "OAUTHBEARER", false),
        ("mtls", "", false),
    ] {
        let mut options = vec!["--security", kind];
        if acls {
            options.push("--acls");
        }
        let broker = Broker::start(&options);
        let certificates = broker.folder();
        let file = |name: &str| certificates.join(name).display().to_string();
        let client = |user: &str| match kind {
            "mtls" => format!(
                "[source.client]\nsecurity.protocol = \"SSL\"\nssl.ca.location = {:?}\nssl.certificate.location = {:?}\n\
                 ssl.key.location = {:?}\n",
                file("ca.pem"),
                file("client.pem"),
                file("client.key")
            ),
            "sasl_oauth" => format!(
                "oauth_token_file = {token:?}\n[source.client]\nsecurity.protocol = \"SASL_PLAINTEXT\"\n\
                 sasl.mechanism = \"OAUTHBEARER\"\n"
            ),
            "sasl_plain" => format!(
                "[source.client]\nsecurity.protocol = \"SASL_PLAINTEXT\"\nsasl.mechanism = \"PLAIN\"\n\
                 sasl.username = \"{user}\"\n{password}"
            ),
            _ => format!(
                "[source.client]\nsecurity.protocol = \"SASL_SSL\"\nsasl.mechanism = \"{mechanism}\"\nssl.ca.location = {:?}\n\
                 sasl.username = \"{user}\"\n{password}",
                file("ca.pem")
            ),
        };
        let create = ["--create", "--partitions", "2"];
        let (code, shown, said) = topics(folder.path(), &broker, &client("admin"), &create);
        assert!(code == Some(0) && shown.matches("made: 2 partitions").count() == 2, "{kind}: {shown}{said}");
        if kind.starts_with("sasl_scram") {
            // The password is admin's; alice has another.
            let (code, _, said) = topics(folder.path(), &broker, &client("alice"), &create);
            assert!(code == Some(1) && said.contains("no broker answers"), "{kind}: {said}");
            assert!(said.to_lowercase().contains("authentication failed"), "{kind}: {said}");
            assert!(!said.contains("admin-secret"), "{kind}: {said}");
            let alice = client("alice").replace("LIGHTCL_TEST_PASSWORD", "LIGHTCL_TEST_ALICE");
            let secret = folder.path().join("alice");
            fs::write(&secret, "alice-secret").unwrap();
            let alice = alice.replace("{ env = \"LIGHTCL_TEST_ALICE\" }", &format!("{{ file = {secret:?} }}"));
            let (code, _, said) = topics(folder.path(), &broker, &alice, &create);
            assert!(code == Some(2) && said.contains("it takes the ACL Describe on it"), "{kind}: {said}");
        }
    }
}
