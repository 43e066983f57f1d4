//! The pipeline file of a Kafka job: defaults, what is refused, and that secrets are never shown.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use lightcl_core::ErrorKind;
use lightcl_kafka::config::{
    CheckpointConfig, ClaimCheck, Connection, Delivery, OrElse, OutputTopics, RegistryAddress, Scope, SecretSource,
    SinkConfig, SourceConfig, Start, Topics, ValueFormat,
};
use lightcl_kafka::format::{CsvFormat, FormatConfig, FormatKind, Tombstones};
use lightcl_pipeline::config::{Explained, Overrides, Pipeline};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

const SOURCE: &str =
    "[source]\ntype = \"kafka\"\nbrokers = \"127.0.0.1:9092\"\ntopics = [\"samples\"]\ngroup = \"shop\"\n";
const SAMPLE: &str = "[sample]\nfeatures = [\"x\", \"y\"]\nlabel = \"z\"\nid = \"name\"\n";
const SINK: &str = "[sink]\ntype = \"kafka\"\n[sink.topics]\nstate = \"state\"\npredictions = \"predictions\"\n";
const FILES: &str = "[source]\ntype = \"csv\"\npath = \"a.csv\"\n[sample]\nfeatures = [\"x\"]\nlabel = \"z\"\n";

/// A pipeline with more keys in `[source]`, and more sections; its first five lines are those of [`SOURCE`].
fn text(source: &str, more: &str) -> String {
    format!("{SOURCE}{source}{SAMPLE}{more}")
}

fn set(arguments: &[&str]) -> Overrides {
    Overrides { set: arguments.iter().map(|&argument| argument.to_owned()).collect(), ..Overrides::default() }
}

fn parse_with(source: &str, more: &str, overrides: &Overrides) -> Pipeline {
    Pipeline::parse(&text(source, more), "shop.toml", overrides).unwrap_or_else(|error| panic!("{error}"))
}

fn parse(source: &str, more: &str) -> Pipeline {
    parse_with(source, more, &Overrides::default())
}

fn mistake_in(text: &str, overrides: &Overrides) -> String {
    let error = Pipeline::parse(text, "shop.toml", overrides).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::User, "{error}");
    error.message().to_owned()
}

fn mistake(source: &str, more: &str) -> String {
    mistake_in(&text(source, more), &Overrides::default())
}

fn source(pipeline: &Pipeline) -> SourceConfig {
    pipeline.settings().kafka_source().unwrap().unwrap()
}

#[test]
fn a_short_pipeline_is_completed() {
    let pipeline = parse("", SINK);
    let settings = pipeline.settings();
    let connection = Connection { brokers: "127.0.0.1:9092".to_owned(), ..Connection::default() };
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(
        source(&pipeline),
        SourceConfig {
            connection: connection.clone(),
            topics: Topics::Names(names(&["samples"])),
            group: "shop".to_owned(),
            instance: None,
            start: Start::Committed(OrElse::Error),
            until_end: false,
            max_wait: None,
            format: FormatConfig {
                kind: FormatKind::Json,
                columns: names(&["x", "y", "z", "name"]),
                exact: names(&["z", "name"]),
                types: BTreeMap::new(),
                tombstones: Tombstones::DeadLetter,
                registry: None,
                registry_auth: None,
                csv: CsvFormat { delimiter: b',', quote: b'"', columns: Vec::new() },
                most_value_bytes: 16 << 20,
            },
        }
    );
    assert_eq!(
        settings.kafka_sink(),
        Some(SinkConfig {
            connection,
            delivery: Delivery::ExactlyOnce,
            topics: OutputTopics {
                predictions: Some("predictions".to_owned()),
                state: Some("state".to_owned()),
                ..OutputTopics::default()
            },
            prediction_format: ValueFormat::Json,
            registry: None,
            transactional_prefix: "lightcl-shop".to_owned(),
            commit: Duration::from_secs(1),
            commit_bytes: 16 << 20,
            chunk_bytes: 512 << 10,
            claim_check: None,
        })
    );
    assert_eq!(settings.kafka_scope(), Scope::Partition);
    let checkpoints = CheckpointConfig { every_samples: 10_000, every: Some(Duration::from_secs(60)) };
    assert_eq!(settings.kafka_checkpoints(), checkpoints);
    assert!(pipeline.operator_config().unwrap().emit_predictions);
    assert!(settings.source_config().is_none() && settings.metrics.listen.is_none());
    assert!(pipeline.notes().is_empty(), "{:?}", pipeline.notes());
    // Without [sink]: the output folder, and what [predictions] says.
    let pipeline = parse("", "");
    assert!(pipeline.settings().kafka_sink().is_none() && !pipeline.operator_config().unwrap().emit_predictions);
}

#[test]
fn every_key_reaches_the_job() {
    let more = "[learner]\nscope = \"key\"\nmost_learners = 7\n[sink]\ntype = \"kafka\"\ndelivery = \"at_least_once\"\n\
                brokers = \"b:1\"\nprediction_format = \"arrow\"\ntransactional_prefix = \"p\"\ncommit_ms = 20\n\
                commit_bytes = 9\nchunk_bytes = 2048\n[sink.topics]\nstate = \"s\"\n[sink.client]\nlinger.ms = 5\n\
                [sink.claim_check]\nstore = \"file:///claims\"\nabove_bytes = 2000\n\
                [evaluate]\npath = \"held-out.csv\"\ntype = \"csv\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n";
    let own = "instance = \"a\"\nformat = \"csv\"\nstart = \"offsets\"\noffsets = { \"samples-0\" = 120, samples-11 = 0 }\n\
               until_end = true\nmax_wait_ms = 250\nregistry = \"http://r:8081\"\nregistry_user = \"me\"\n\
               types = { x = \"float32\" }\ntombstones = \"skip\"\nmost_value_bytes = 5\noauth_token_file = \"token\"\n\
               [source.csv]\ndelimiter = \";\"\nquote = \"'\"\ncolumns = [\"x\", \"y\", \"z\", \"name\"]\n\
               [source.client]\nsecurity.protocol = \"SASL_SSL\"\n\"fetch.wait.max.ms\" = 7\nsocket.keepalive.enable = true\n\
               [source.secrets]\nsasl.password = { env = \"PASSWORD\" }\n\"ssl.key.pem\" = { file = \"key.pem\" }\n\
               registry.password = { env = \"REGISTRY\" }\n";
    let pipeline = parse(own, more);
    let source = source(&pipeline);
    let offsets = [(("samples".to_owned(), 0), 120), (("samples".to_owned(), 11), 0)].into();
    assert_eq!((source.start, source.instance.as_deref()), (Start::Offsets(offsets), Some("a")));
    assert_eq!((source.until_end, source.max_wait), (true, Some(Duration::from_millis(250))));
    let format = source.format;
    assert_eq!((format.kind, format.tombstones, format.most_value_bytes), (FormatKind::Csv, Tombstones::Skip, 5));
    assert_eq!((format.csv.delimiter, format.csv.quote, format.csv.columns.len()), (b';', b'\'', 4));
    assert_eq!(format.registry.as_deref(), Some("http://r:8081"));
    let password = SecretSource::Environment("REGISTRY".to_owned());
    assert_eq!(format.registry_auth, Some(("me".to_owned(), password)));
    assert_eq!(format.types["x"], "float32");
    let connection = source.connection;
    let properties: Vec<_> = connection.properties.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(properties, ["fetch.wait.max.ms=7", "security.protocol=SASL_SSL", "socket.keepalive.enable=true"]);
    let secrets = [
        ("sasl.password".to_owned(), SecretSource::Environment("PASSWORD".to_owned())),
        ("ssl.key.pem".to_owned(), SecretSource::File("key.pem".into())),
    ];
    assert_eq!(connection.secrets, BTreeMap::from(secrets.clone()));
    assert_eq!(connection.oauth_token_file.as_deref(), Some(std::path::Path::new("token")));
    let sink = pipeline.settings().kafka_sink().unwrap();
    assert_eq!(sink.claim_check, Some(ClaimCheck { store: "file:///claims".to_owned(), above_bytes: 2000 }));
    let password = SecretSource::Environment("REGISTRY".to_owned());
    let registry = RegistryAddress { address: "http://r:8081".to_owned(), auth: Some(("me".to_owned(), password)) };
    assert_eq!(sink.registry, Some(registry));
    assert_eq!((sink.delivery, sink.prediction_format), (Delivery::AtLeastOnce, ValueFormat::Arrow));
    assert_eq!((sink.commit, sink.commit_bytes, sink.chunk_bytes), (Duration::from_millis(20), 9, 2048));
    // What the sink does not say is as the source says.
    assert_eq!((sink.connection.brokers.as_str(), sink.connection.properties["linger.ms"].as_str()), ("b:1", "5"));
    assert_eq!((sink.connection.properties.len(), &sink.connection.secrets), (1, &BTreeMap::from(secrets)));
    assert_eq!(pipeline.settings().kafka_scope(), Scope::Key { most_learners: 7 });
    assert!(!pipeline.operator_config().unwrap().emit_predictions, "predictions have no topic");
    let held_out = pipeline.settings().evaluation_config().unwrap();
    assert_eq!((held_out.path.as_str(), held_out.csv.has_header), ("held-out.csv", true));
}

#[test]
fn names_times_and_categories_are_read_as_they_are_written() {
    let text = format!(
        "{SOURCE}[sample]\nfeatures = [\"x\", {{ column = \"shop\", as = \"category\" }}, \"z\"]\nlabel = \"kafka.key\"\n\
         task = \"season\"\nevent_time = \"at\"\nid = \"at\"\nweight = \"w\"\n"
    );
    let pipeline = Pipeline::parse(&text, "p.toml", &Overrides::default()).unwrap();
    let format = source(&pipeline).format;
    assert_eq!(format.columns, ["x", "shop", "z", "kafka.key", "season", "w", "at"]);
    assert_eq!(format.exact, ["kafka.key", "at", "season", "at", "shop"]);
}

#[test]
fn starts_have_short_forms() {
    let start = |own: &str| source(&parse(own, "")).start;
    assert_eq!(start("start = \"earliest\"\n"), Start::Committed(OrElse::Earliest));
    assert_eq!(start("start = \"latest\"\n"), Start::Committed(OrElse::Latest));
    assert_eq!(start("or_else = \"latest\"\n"), Start::Committed(OrElse::Latest));
    let at = |time: &str| start(&format!("start = \"timestamp\"\ntimestamp = {time}\n"));
    assert_eq!(at("1700000000000"), Start::Timestamp(1_700_000_000_000));
    assert_eq!(at("\"2023-11-14T22:13:20Z\""), Start::Timestamp(1_700_000_000_000));
    assert_eq!(at("\"2023-11-15T00:13:20.5+02:00\""), Start::Timestamp(1_700_000_000_500));
    let pattern = text("pattern = \"samples-.*\"\n", "").replace("topics = [\"samples\"]\n", "");
    let pipeline = Pipeline::parse(&pattern, "p.toml", &Overrides::default()).unwrap();
    assert_eq!(source(&pipeline).topics, Topics::Pattern("samples-.*".to_owned()));
}

#[test]
fn mistakes_in_the_source_point_at_the_key() {
    for (own, more, place, said) in [
        ("path = \"x\"\n", "", "6:1", "source.path is for files; a Kafka source is named by brokers, topics and group"),
        ("infer_rows = 5\n", "", "6:1", "source.infer_rows is for files; types that are not found out rightly"),
        ("batch_rows = 5\n", "", "6:1", "source.batch_rows is for files"),
        ("pattern = \"x\"\n", "", "6:1", "source.topics and source.pattern both say what is consumed"),
        ("topic = \"x\"\n", "", "6:1", "unknown key 'topic' in [source]; did you mean 'topics'?"),
        ("start = \"timestamp\"\n", "", "6:9", "needs the time: set source.timestamp"),
        ("timestamp = 5\n", "", "6:13", "source.timestamp is for source.start = \"timestamp\""),
        (
            "start = \"timestamp\"\ntimestamp = \"noon\"\n",
            "",
            "7:13",
            "must be a time such as \"2026-01-31T08:00:00Z\"",
        ),
        ("start = \"offsets\"\n", "", "6:9", "needs source.offsets, such as"),
        ("offsets = { samples-0 = 1 }\n", "", "6:11", "source.offsets is for source.start = \"offsets\""),
        (
            "start = \"offsets\"\noffsets = { samples = 1 }\n",
            "",
            "7:11",
            "a partition is its topic, '-' and its number",
        ),
        ("start = \"offsets\"\noffsets = { other-0 = 1 }\n", "", "7:11", "'other' is not among source.topics"),
        ("start = \"offsets\"\noffsets = { samples-0 = -1 }\n", "", "7:25", "must be at least 0, not -1"),
        ("start = \"earliest\"\nor_else = \"latest\"\n", "", "7:11", "leave one out"),
        ("start = \"timestamp\"\ntimestamp = 1\nor_else = \"latest\"\n", "", "8:11", "or_else is for source.start"),
        ("start = \"beginning\"\n", "", "6:9", "source.start cannot be \"beginning\"; there are \"committed\""),
        ("format = \"avro\"\n", "", "6:10", "avro needs the address of the schema registry: set source.registry"),
        (
            "format = \"protobuf\"\n",
            "",
            "6:10",
            "there are \"json\", \"avro\", \"arrow\", \"csv\", \"tensor\", \"cloudevents\"",
        ),
        ("registry = \"r:8081\"\n", "", "6:12", "must begin with http:// or https://"),
        (
            "registry = \"http://r\"\nregistry_user = \"u\"\n",
            "",
            "7:17",
            "the secret \"registry.password\" in [source.secrets]",
        ),
        ("types = { w = \"utf8\" }\n", "", "6:9", "source.types names 'w', which is no column of [sample]"),
        ("[source.csv]\ndelimiter = \";\"\n", "", "6:1", "source.csv is for source.format = \"csv\""),
        ("format = \"csv\"\n[source.csv]\nhas_header = false\n", "", "7:1", "set source.csv.columns"),
        (
            "format = \"csv\"\n[source.csv]\nhas_header = true\ncolumns = [\"x\"]\n",
            "",
            "7:1",
            "leave source.csv.columns or",
        ),
        ("most_value_bytes = 0\n", "", "6:20", "must be at least 1"),
        ("", "[learner]\nmost_learners = 5\n", "11:17", "most_learners is for learner.scope = \"key\""),
        ("", "[learner]\nscope = \"key\"\n", "11:9", "parks learners in the state topic: set sink.topics.state"),
        ("", "[learner]\nscope = \"topic\"\n", "11:9", "there are \"partition\", \"key\", \"global\""),
        ("", "[evaluate]\npath = \"a.csv\"\n", "10:1", "[evaluate] lacks the key 'type'"),
        ("", "[metrics]\nlisten = \"9184\"\n", "11:10", "metrics.listen must be an address and a port"),
        ("", "[metrics]\nlisten = \":9184\"\n", "11:10", "such as \"127.0.0.1:9184\""),
    ] {
        let message = mistake(own, more);
        assert!(
            message.starts_with(&format!("shop.toml:{place}: ")) && message.contains(said),
            "{own}{more}: {message}"
        );
    }
    let lacks = |line: &str| mistake_in(&text("", "").replace(line, ""), &Overrides::default());
    assert!(lacks("brokers = \"127.0.0.1:9092\"\n").contains("[source] lacks the key 'brokers', such as"));
    assert!(lacks("topics = [\"samples\"]\n").contains("[source] lacks the key 'topics'"));
    assert!(lacks("group = \"shop\"\n").contains("[source] lacks the key 'group'"));
    let topics = |topics: &str| mistake_in(&text("", "").replace("[\"samples\"]", topics), &Overrides::default());
    assert!(topics("[\"^samples-.*\"]").contains("is a regular expression; write it as source.pattern"));
    assert!(topics("[\"a b\"]").contains("is no name of a topic"));
    assert!(topics("[\"a\", \"a\"]").contains("source.topics names \"a\" twice"));
    assert!(topics("[]").contains("source.topics must have at least 1 entry"));
}

#[test]
fn mistakes_in_the_sink_point_at_the_key() {
    let with = |sink: &str| format!("[sink]\ntype = \"kafka\"\n{sink}");
    for (sink, place, said) in [
        ("", "10:1", "exactly_once keeps the state in a topic: set sink.topics.state"),
        ("delivery = \"at_least_once\"\n", "10:1", "[sink.topics] names no topic, so nothing would be published"),
        ("delivery = \"at_most_once\"\n", "12:12", "did you mean \"at_least_once\"?"),
        (
            "brokers = \"b:1\"\n[sink.topics]\nstate = \"s\"\n",
            "12:11",
            "which takes one cluster: leave sink.brokers out",
        ),
        ("prediction_format = \"parquet\"\n", "12:21", "there are \"json\", \"arrow\""),
        ("[sink.topics]\nstate = \"s\"\nsnapshots = \"s\"\n", "13:9", "is also sink.topics.snapshots"),
        ("[sink.topics]\nstate = \"samples\"\n", "13:9", "is also consumed: the job would read what it writes"),
        ("[sink.topics]\nstate = \"s t\"\n", "13:9", "is no name of a topic"),
        ("[sink.topics]\nstatus = \"s\"\n", "13:1", "unknown key 'status' in [sink.topics]; did you mean 'state'?"),
        (
            "prediction_format = \"avro\"\n[sink.topics]\nstate = \"s\"\n",
            "12:21",
            "avro needs the address of the schema registry: set source.registry",
        ),
        ("[sink.claim_check]\nabove_bytes = 4096\n", "12:1", "[sink.claim_check] lacks the key 'store'"),
        ("[sink.claim_check]\nstore = \"ftp://h/x\"\n", "13:9", "begins with ftp://, which is not known"),
        (
            "delivery = \"at_least_once\"\n[sink.topics]\npredictions = \"p\"\n[sink.claim_check]\nstore = \"claims\"\n",
            "15:1",
            "sink.claim_check is for states and snapshots, and neither has a topic",
        ),
        ("chunk_bytes = 10\n", "12:15", "sink.chunk_bytes must be at least 1024"),
    ] {
        let message = mistake("", &with(sink));
        assert!(message.contains(&format!("shop.toml:{place}: ")) && message.contains(said), "{sink}: {message}");
    }
}

#[test]
fn keys_of_kafka_are_refused_for_files() {
    let with = |source: &str, more: &str| FILES.replace("[sample]", &format!("{source}[sample]")) + more;
    for (source, more, said) in [
        ("brokers = \"b\"\n", "", "4:1: source.brokers is for type = \"kafka\", and this source is csv"),
        ("group = \"b\"\n", "", "4:1: source.group is for type = \"kafka\""),
        ("format = \"json\"\n", "", "source.type says how files are encoded"),
        ("until_end = true\n", "", "a source of files ends by itself"),
        ("[source.client]\nlinger.ms = 5\n", "", "4:9: source.client is for type = \"kafka\""),
        ("[source.csv]\ncolumns = [\"x\"]\n", "", "source.csv.columns needs source.type = \"kafka\""),
        (
            "",
            "[learner]\nscope = \"global\"\n",
            "learner.scope needs source.type = \"kafka\": one learner reads all rows",
        ),
        ("", "[learner]\nmost_learners = 4\n", "learner.most_learners needs source.type = \"kafka\""),
        ("", SINK, "7:1: sink needs source.type = \"kafka\": what is learnt from files goes to the output folder"),
    ] {
        let message = mistake_in(&with(source, more), &Overrides::default());
        assert!(message.contains(said), "{source}{more}: {message}");
    }
    let overrides = Overrides { until_end: true, ..Overrides::default() };
    let message = mistake_in(FILES, &overrides);
    assert!(message.starts_with("--until-end: source.until_end is for type = \"kafka\""), "{message}");
    let pipeline = Pipeline::parse(&text("", ""), "p.toml", &overrides).unwrap();
    assert!(source(&pipeline).until_end);
    assert_eq!(pipeline.origin_in_words("source.until_end"), "--until-end");
}

#[test]
fn properties_that_the_job_needs_are_refused_with_what_to_do() {
    for (property, said) in [
        ("bootstrap.servers", "set brokers instead"),
        ("group.id", "set source.group instead"),
        ("group.instance.id", "set source.instance instead"),
        ("auto.offset.reset", "set source.start and source.or_else instead"),
        ("enable.auto.commit", "the job commits offsets together with what it made of the records"),
        ("isolation.level", "reads committed records only"),
        ("partition.assignment.strategy", "only cooperative-sticky allows"),
        ("group.protocol", "only cooperative-sticky allows"),
        ("transactional.id", "set sink.transactional_prefix instead"),
        ("enable.idempotence", "sink.delivery decides it"),
        ("allow.auto.create.topics", "lightcl kafka topics --create"),
        ("check.crcs", "the job needs it as it is"),
        ("rebalance_cb", "only programs can set it"),
    ] {
        for line in [format!("\"{property}\" = \"x\"\n"), format!("{property} = \"x\"\n")] {
            let message = mistake(&format!("[source.client]\n{line}"), "");
            let start = format!("source.client: {property} cannot be set here: ");
            assert!(message.contains(&start) && message.contains(said), "{property}: {message}");
        }
    }
    let message = mistake("[source.client]\ncompression.type = [\"zstd\"]\n", "");
    assert!(message.starts_with("shop.toml:7:20: source.client.compression.type must be text in quotes"), "{message}");
    let message = mistake("[source.client]\nlinger.ms = 1\n\"linger.ms\" = 2\n", "");
    assert!(message.contains("source.client names linger.ms twice"), "{message}");
}

#[test]
fn properties_come_from_the_environment_and_the_command_line_as_written() {
    let environment = vec![
        ("LIGHTCL__SOURCE__CLIENT__CLIENT__ID".to_owned(), "007".to_owned()),
        ("LIGHTCL__SOURCE__CLIENT__LINGER__MS".to_owned(), "3".to_owned()),
        ("LIGHTCL__SOURCE__SECRETS__SASL__PASSWORD__ENV".to_owned(), "PASSWORD".to_owned()),
    ];
    let overrides = Overrides { environment, ..set(&["source.client.linger.ms=4", "sink.topics.state=other"]) };
    let pipeline = parse_with("[source.client]\n\"linger.ms\" = 1\nclient.id = \"file\"\n", SINK, &overrides);
    let connection = source(&pipeline).connection;
    assert_eq!(connection.properties["client.id"], "007");
    assert_eq!(connection.properties["linger.ms"], "4");
    assert_eq!(connection.secrets["sasl.password"], SecretSource::Environment("PASSWORD".to_owned()));
    assert_eq!(pipeline.settings().kafka_sink().unwrap().topics.state.as_deref(), Some("other"));
}

#[test]
fn secrets_are_refused_wherever_they_stand_and_never_shown() {
    let hidden = "hunter2";
    for (own, more) in [
        ("[source.client]\nsasl.password = \"hunter2\"\n", ""),
        ("[source.client]\n\"sasl.password\" = \"hunter2\"\n", ""),
        ("[source.client]\n\"ssl.key.password\" = \"hunter2\"\n", ""),
        ("[source.client]\n\"ssl.key.pem\" = \"\"\"\n-----BEGIN\nhunter2\n\"\"\"\n", ""),
        ("[source.client]\n\"ssl.key.pem\" = \"\"\"\n-----BEGIN\nhunter2 \\q\n\"\"\"\n", ""),
        ("[source.client]\nssl.keystore.password = \"hunter2\"\n", ""),
        ("[source.client]\nsasl.oauthbearer.client.secret = \"hunter2\"\n", ""),
        ("[source.client]\nsasl.jaas.config = \"Login password=hunter2;\"\n", ""),
        ("client = { \"sasl.password\" = \"hunter2\", bogus = [1] }\n", ""),
        ("[source.client]\nsasl.password = hunter2\n", ""),
        ("[source.secrets]\nsasl.password = \"hunter2\"\n", ""),
        ("[source.secrets]\nsasl.password = { value = \"hunter2\" }\n", ""),
        ("[source.secrets]\nsasl.password = { env = \"A\", value = \"hunter2\" }\n", ""),
        ("[source.secrets]\nsasl.password = [\"hunter2\"]\n", ""),
        ("[source.secrets]\nother = { env = \"A\", x = \"hunter2\" }\n", ""),
        ("password = \"hunter2\"\n", ""),
        ("registry = \"http://me:hunter2@r:8081\"\n", ""),
        ("", "[sink]\ntype = \"kafka\"\n[sink.topics]\nstate = \"s\"\n[sink.client]\nsasl.password = \"hunter2\"\n"),
    ] {
        let message = mistake(own, more);
        assert!(!message.contains(hidden), "{own}{more}: {message}");
    }
    for argument in [
        "source.client.sasl.password=hunter2",
        "source.client.\"sasl.password\"=\"hunter2\"",
        "source.client.sasl.password=\"hunter2",
        "source.secrets.sasl.password=hunter2",
        "source.secrets.sasl.password={ value = \"hunter2\" }",
        "source.password=hunter2",
    ] {
        let message = mistake_in(&text("", ""), &set(&[argument]));
        assert!(!message.contains(hidden) && message.contains("--set source."), "{argument}: {message}");
    }
    let environment = vec![("LIGHTCL__SOURCE__CLIENT__SASL__PASSWORD".to_owned(), hidden.to_owned())];
    let message = mistake_in(&text("", ""), &Overrides { environment, ..Overrides::default() });
    assert!(message.contains("write [source.secrets]") && !message.contains(hidden), "{message}");
    let message = mistake("[source.client]\nsasl.password = \"hunter2\"\n", "");
    assert_eq!(
        message,
        "shop.toml:7:6: source.client: sasl.password is secret and must not stand in the pipeline; write [source.secrets] and \
         under it \"sasl.password\" = { env = \"NAME\" }, or { file = \"path\" }"
    );
    let message = mistake("[source.secrets]\nsasl.password = { env = \"A\", file = \"b\" }\n", "");
    assert!(message.contains("is read from env or from file, not from both"), "{message}");
    let message = mistake("[source.secrets]\n\"group.id\" = { env = \"A\" }\n", "");
    assert!(message.contains("set source.group instead"), "{message}");
}

#[test]
fn the_explanation_shows_where_secrets_are_and_leaves_out_what_kafka_does_not_have() {
    let own =
        "[source.client]\nsecurity.protocol = \"SASL_SSL\"\n[source.secrets]\nsasl.password = { env = \"PASSWORD\" }\n";
    let keys = |pipeline: &Pipeline| -> BTreeMap<String, Value> {
        let lines = pipeline.explain().unwrap();
        let keys = lines.into_iter().map(|line| match line {
            Explained::Key { path, value, .. } => (path, value.unwrap_or_default()),
            Explained::Section { path, set, .. } => (path, Value::from(set)),
        });
        keys.collect()
    };
    let of_kafka = keys(&parse(own, SINK));
    assert_eq!(of_kafka["source.secrets"], serde_json::json!({ "sasl.password": { "env": "PASSWORD" } }));
    assert_eq!(of_kafka["sink.secrets"], of_kafka["source.secrets"]);
    assert_eq!(of_kafka["source.client"], serde_json::json!({ "security.protocol": "SASL_SSL" }));
    assert_eq!(of_kafka["sink.transactional_prefix"], "lightcl-shop");
    assert_eq!((&of_kafka["learner.scope"], &of_kafka["sink.topics.state"]), (&"partition".into(), &"state".into()));
    for absent in ["source.path", "source.batch_rows", "source.infer_rows", "source.csv", "learner.most_learners"] {
        assert!(!of_kafka.contains_key(absent), "{absent}");
    }
    let of_files = keys(&Pipeline::parse(FILES, "shop.toml", &Overrides::default()).unwrap());
    for absent in ["source.brokers", "source.client", "source.csv.columns", "learner.scope", "sink"] {
        assert!(!of_files.contains_key(absent), "{absent}");
    }
    assert!(of_files.contains_key("source.path") && of_files.contains_key("metrics.listen"));
}

#[test]
fn the_effective_settings_are_a_pipeline_that_means_the_same() {
    let own = "start = \"earliest\"\n[source.client]\nsecurity.protocol = \"SSL\"\n[source.secrets]\na.b = { file = \"x\" }\n";
    let pipeline = parse(own, SINK);
    let mut effective = pipeline.effective().unwrap();
    fn without_nulls(value: &mut Value) {
        if let Value::Object(object) = value {
            object.retain(|_, inner| !inner.is_null());
            object.values_mut().for_each(without_nulls);
        }
    }
    without_nulls(&mut effective);
    let text = toml::to_string(&effective).unwrap();
    let again =
        Pipeline::parse(&text, "other.toml", &Overrides::default()).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(again.settings(), pipeline.settings());
}

#[test]
fn the_hash_covers_how_records_become_rows_and_who_shares_a_learner() {
    let hash = |arguments: &[&str]| parse_with("", SINK, &set(arguments)).config_sha256().unwrap();
    let base = hash(&[]);
    for same in [
        "source.brokers=other:9092",
        "source.topics=[\"samples\", \"more\"]",
        "source.group=other",
        "source.instance=a",
        "source.start=earliest",
        "source.until_end=true",
        "source.max_wait_ms=5",
        "source.registry=http://r",
        "source.most_value_bytes=5",
        "source.client.client.id=a",
        "source.secrets.sasl.password={ env = \"A\" }",
        "sink.topics.state=other",
        "sink.topics.snapshots=other",
        "sink.commit_ms=5",
        "sink.chunk_bytes=2048",
        "sink.claim_check.store=claims",
        "metrics.listen=127.0.0.1:1",
        "learner.scope=partition",
    ] {
        assert_eq!(hash(&[same]), base, "{same}");
    }
    for other in [
        &["source.format=arrow"][..],
        &["source.types={ x = \"float32\" }"],
        &["source.tombstones=skip"],
        &["learner.scope=global"],
        &["learner.scope=key"],
        &["learner.seed=1"],
    ] {
        assert_ne!(hash(other), base, "{other:?}");
    }
    let key = |most: &str| hash(&["learner.scope=key", &format!("learner.most_learners={most}")]);
    assert_eq!(key("5"), key("6"));
    // What is new for Kafka changes nothing for files: their hash is that of earlier versions.
    let files = Pipeline::parse(FILES, "shop.toml", &Overrides::default()).unwrap().learning_part().unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(keys(&files["source"]), "csv infer_rows path type");
    assert_eq!(keys(&files["source"]["csv"]), "delimiter has_header quote");
    assert!(files["learner"].get("scope").is_none());
}

#[test]
fn what_does_nothing_is_noted() {
    let notes = |own: &str, more: &str| parse(own, more).notes().join("\n");
    assert!(notes("registry = \"http://r\"\n", "").contains("source.registry is not used: neither source.format"));
    let sink = format!("[output]\ndir = \"x\"\n[predictions]\nformat = \"jsonl\"\n{SINK}");
    let said = notes("", &sink);
    assert!(said.contains("predictions is not used") && said.contains("output is not used"), "{said}");
}
