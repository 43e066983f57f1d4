//! Jobs on brokers that want to know whom they talk to: with TLS, certificates, passwords and tokens, with no more rights than
//! `docs/kafka.md` lists, and with what is refused. Secrets are looked for wherever they could have got to.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "common/mod.rs"]
mod common;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use common::account::{Account, Sent, check_committed, job, send};
use common::admin::create_topics;
use common::jobs::{Stream, format_config};
use common::logs::logs;
use common::read_all;
use lightcl_core::Error;
use lightcl_kafka::config::Topics;
use lightcl_kafka::{Connection, Job, SecretSource, Target};
use lightcl_stream::encode::EncoderConfig;
use lightcl_testkit::services::{self, Broker};
use rdkafka::ClientConfig;
use rdkafka::Message;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Rows of each job.
const ROWS: usize = 40;

/// No job that is refused may take longer to say so.
const SOON: Duration = Duration::from_secs(40);

/// How to reach a broker with these properties.
fn connection(broker: &Broker, properties: &[(&str, &str)]) -> Connection {
    let mut connection = Connection { brokers: broker.bootstrap(), ..Connection::default() };
    connection.properties.insert("session.timeout.ms".into(), "6000".into());
    connection.properties.extend(properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    connection
}

fn with_password(mut connection: Connection, folder: &Path, user: &str, password: &str) -> Connection {
    let file = folder.join(format!("{user}-{}", password.len()));
    fs::write(&file, format!("{password}\n")).unwrap();
    connection.properties.insert("sasl.username".into(), user.into());
    connection.secrets.insert("sasl.password".into(), SecretSource::File(file));
    connection
}

/// The job of a stream, through this connection.
fn job_through(stream: &Stream, source: &Connection, sink: &Connection) -> Job {
    let mut job = job(stream, format_config(), EncoderConfig::new(["x", "y"], "label"));
    job.source.connection = source.clone();
    let Target::Kafka(target) = &mut job.target else { panic!("it writes to Kafka") };
    target.connection = sink.clone();
    target.connection.properties.remove("session.timeout.ms");
    job
}

fn stream(broker: &Broker, name: &str) -> Stream {
    let stream = Stream::create(broker, name, 1);
    let producer = ClientConfig::new().set("bootstrap.servers", broker.admin()).create().unwrap();
    let mut rows: Vec<Sent> = (0..ROWS).map(Sent::row).collect();
    rows[7].value = Some(b"{".to_vec());
    send(&producer, name, 0, &rows);
    stream
}

/// Runs a job, and accounts for its records.
fn run(broker: &Broker, stream: &Stream, connection: &Connection) {
    let finished = job_through(stream, connection, connection).run().unwrap();
    assert!(finished.failed.is_empty(), "{finished:?}");
    check_committed(broker, stream);
    Account::of(broker, stream).check_once(&[7]);
}

/// Runs a job that is to be refused, and gives what it says.
fn refused(job: Job) -> String {
    let since = Instant::now();
    let error: Error = job.run().expect_err("nobody lets it in");
    assert!(since.elapsed() < SOON, "{:?}: {error}", since.elapsed());
    let mut text = format!("{error} {error:?}");
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// A secret is in no line that was logged, in nothing that the job shows of itself, and in no record of its topics.
fn check_secret(broker: &Broker, stream: &Stream, connection: &Connection, secret: &str) {
    assert_eq!(logs().find(secret), Vec::<String>::new());
    assert!(logs().len() > 0);
    let job = job_through(stream, connection, connection);
    let Target::Kafka(sink) = &job.target else { panic!("it writes to Kafka") };
    let shown = format!("{:?} {sink:?} {connection:?}", job.source);
    assert!(!shown.contains(secret), "{shown}");
    for output in ["state", "predictions", "dead", "stability", "snapshots", "boundaries"] {
        for message in read_all(broker, &stream.topic(output), stream.partitions) {
            for bytes in [message.key(), message.payload()].into_iter().flatten() {
                let found = bytes.windows(secret.len()).any(|bytes| bytes == secret.as_bytes());
                assert!(!found, "{output}: {:?}", String::from_utf8_lossy(bytes));
            }
        }
    }
}

fn file(broker: &Broker, name: &str) -> String {
    broker.folder().join(name).display().to_string()
}

#[test]
fn tls_by_the_authority_that_is_named() {
    if !services::ready_or_skipped() {
        return;
    }
    logs();
    let broker = Broker::start(&["--security", "ssl"]);
    let stream = stream(&broker, "tls");
    let through = |authority: &str| {
        connection(&broker, &[("security.protocol", "SSL"), ("ssl.ca.location", &file(&broker, authority))])
    };
    run(&broker, &stream, &through("ca.pem"));
    let other = through("other-ca.pem");
    let said = refused(job_through(&stream, &other, &other));
    assert!(said.contains("certificate verify failed") && said.contains("ssl."), "{said}");
    // Without TLS the broker is silent; that is all a client can know.
    let plain = connection(&broker, &[]);
    let said = refused(job_through(&stream, &plain, &plain));
    assert!(said.contains("security.protocol"), "{said}");
}

#[test]
fn mutual_tls_by_a_certificate() {
    if !services::ready_or_skipped() {
        return;
    }
    logs();
    let broker = Broker::start(&["--security", "mtls"]);
    let stream = stream(&broker, "mutual");
    let authority = file(&broker, "ca.pem");
    let nobody = connection(&broker, &[("security.protocol", "SSL"), ("ssl.ca.location", &authority)]);
    let mut alice = nobody.clone();
    alice.properties.insert("ssl.certificate.location".into(), file(&broker, "client.pem"));
    alice.properties.insert("ssl.key.location".into(), file(&broker, "client.key"));
    run(&broker, &stream, &alice);
    let said = refused(job_through(&stream, &nobody, &nobody));
    assert!(said.contains("ssl."), "{said}");
}

#[test]
fn passwords_let_in_and_wrong_ones_are_told_soon_and_never_shown() {
    if !services::ready_or_skipped() {
        return;
    }
    logs();
    let folder = tempfile::tempdir().unwrap();
    for (kind, protocol, mechanism) in
        [("sasl_plain", "SASL_PLAINTEXT", "PLAIN"), ("sasl_scram+ssl", "SASL_SSL", "SCRAM-SHA-512")]
    {
        let broker = Broker::start(&["--security", kind]);
        let stream = stream(&broker, &mechanism.to_lowercase());
        let mut anybody = connection(&broker, &[("security.protocol", protocol), ("sasl.mechanism", mechanism)]);
        // The client says all that it can.
        anybody.properties.insert("debug".into(), "all".into());
        if protocol == "SASL_SSL" {
            anybody.properties.insert("ssl.ca.location".into(), file(&broker, "ca.pem"));
        }
        let alice = with_password(anybody.clone(), folder.path(), "alice", "alice-secret");
        run(&broker, &stream, &alice);
        let wrong = with_password(anybody, folder.path(), "alice", "hunter2-is-not-it");
        // Nothing else may be known of the other one: first the source is refused, then the sink.
        for (source, sink) in [(&wrong, &wrong), (&alice, &wrong)] {
            let said = refused(job_through(&stream, source, sink));
            assert!(said.to_lowercase().contains("authentication"), "{said}");
            assert!(said.contains("sasl."), "{said}");
            assert!(!said.contains("hunter2") && !said.contains("alice-secret"), "{said}");
        }
        // With a pattern no topic is asked for by name.
        let mut job = job_through(&stream, &wrong, &alice);
        job.source.topics = Topics::Pattern("plain.*".into());
        assert!(refused(job).to_lowercase().contains("authentication"));
        check_secret(&broker, &stream, &alice, "alice-secret");
        check_secret(&broker, &stream, &wrong, "hunter2");
    }
}

/// An unsigned token of a user, as a file.
fn token(folder: &Path, user: &str) -> (PathBuf, String) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = format!("{{\"sub\":\"{user}\",\"iat\":{now},\"exp\":{}}}", now + 3600);
    let token = format!("{}.{}.", BASE64.encode(r#"{"alg":"none"}"#), BASE64.encode(claims));
    let file = folder.join(user);
    fs::write(&file, &token).unwrap();
    (file, token)
}

/// Rights, and who lacks which: all others have it.
const RIGHTS: &[(&str, &[&str])] = &[
    ("no-input", &["--operation", "Read", "--topic", "rights"]),
    ("no-output", &["--operation", "Write", "--topic", "rights.predictions"]),
    ("no-letters", &["--operation", "Write", "--topic", "rights.dead"]),
    (
        "",
        &[
            "--operation",
            "Write",
            "--topic",
            "rights.stability",
            "--topic",
            "rights.boundaries",
            "--topic",
            "rights.snapshots",
        ],
    ),
    ("no-state-write", &["--operation", "Write", "--topic", "rights.state"]),
    ("no-state-read", &["--operation", "Read", "--topic", "rights.state"]),
    ("no-group", &["--operation", "Read", "--group", "rights-", "--resource-pattern-type", "prefixed"]),
    ("no-id", &["--operation", "Write", "--transactional-id", "rights-", "--resource-pattern-type", "prefixed"]),
];

#[test]
fn tokens_and_the_rights_that_are_listed_suffice_and_each_that_lacks_is_named() {
    if !services::ready_or_skipped() {
        return;
    }
    logs();
    let broker = Broker::start(&["--security", "sasl_oauth", "--acls"]);
    let folder = tempfile::tempdir().unwrap();
    let stream = stream(&broker, "rights");
    create_topics(&broker.admin(), &[("rights-other", 1, &[])]);
    let users: Vec<&str> = RIGHTS.iter().map(|(user, _)| *user).filter(|user| !user.is_empty()).collect();
    std::thread::scope(|threads| {
        for (without, right) in RIGHTS {
            let admin = broker.admin();
            let mut arguments = vec!["--bootstrap-server".to_owned(), admin, "--add".to_owned()];
            for user in users.iter().filter(|user| *user != without).chain([&"alice"]) {
                arguments.extend(["--allow-principal".to_owned(), format!("User:{user}")]);
            }
            arguments.extend(right.iter().map(|part| (*part).to_owned()));
            threads.spawn(move || {
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                let output = services::tool("AclCommand", &arguments);
                assert!(output.status.success(), "{output:?}");
            });
        }
    });
    let job_of = |user: &str| {
        let (file, token) = token(folder.path(), user);
        let mut connection = connection(
            &broker,
            &[
                ("security.protocol", "SASL_PLAINTEXT"),
                ("sasl.mechanism", "OAUTHBEARER"),
                ("debug", "security,protocol"),
            ],
        );
        connection.oauth_token_file = Some(file);
        let mut job = job_through(&stream, &connection, &connection);
        job.source.group = format!("rights-{user}");
        job.model_id = user.to_owned();
        if let Target::Kafka(sink) = &mut job.target {
            sink.transactional_prefix = format!("rights-{user}");
        }
        (job, connection, token)
    };
    let (mut job, connection, token) = job_of("alice");
    job.source.group = "rights-group".into();
    let finished = job.run().unwrap();
    assert!(finished.failed.is_empty(), "{finished:?}");
    check_committed(&broker, &stream);
    Account::of(&broker, &stream).check_once(&[7]);
    check_secret(&broker, &stream, &connection, &token);

    let said: Vec<(&str, String)> = std::thread::scope(|threads| {
        let jobs: Vec<_> = users.iter().map(|user| (*user, threads.spawn(|| refused(job_of(user).0)))).collect();
        jobs.into_iter().map(|(user, job)| (user, job.join().unwrap_or_else(|_| "it was not refused".into()))).collect()
    });
    for (user, said) in &said {
        println!("{user}: {said}");
    }
    let parts: &[(&str, &[&str])] = &[
        ("no-input", &["rights", "Read"]),
        ("no-output", &["rights.predictions", "Write"]),
        ("no-letters", &["rights.dead", "Write"]),
        ("no-state-write", &["rights.state", "Write"]),
        ("no-state-read", &["rights.state", "Read"]),
        ("no-group", &["rights-no-group", "Read"]),
        ("no-id", &["rights-no-id", "Write"]),
    ];
    for (user, parts) in parts {
        let (_, said) = said.iter().find(|(known, _)| known == user).unwrap();
        for part in *parts {
            assert!(said.contains(part), "{user}: {said}");
        }
        assert!(said.contains("docs/kafka.md"), "{user}: {said}");
    }
    // What was refused has left nothing behind.
    Account::of(&broker, &stream).check_once(&[7]);
}
