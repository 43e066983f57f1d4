//! What keys of `[source]`, `[learner]` and `[sink]` may hold together when the source is Kafka.

use super::conflicts::{is_given, place};
use super::convert_kafka::{partition_of, timestamp_ms};
use super::document::Node;
use super::faults::Faults;
use super::names::nearest;
use super::settings::{CommittedElse, Delivery, Format, Scope, Settings, Sink, SourceType, Start, ValueFormat};
use lightcl_kafka::claims::check_address;
use std::collections::BTreeSet;

/// Fills in the defaults that depend on other keys, and spells short forms out.
pub(super) fn resolve(settings: &mut Settings, said: &Node, faults: &mut Faults) {
    let source = &mut settings.source;
    let short = match source.start {
        Start::Earliest => Some(CommittedElse::Earliest),
        Start::Latest => Some(CommittedElse::Latest),
        _ => None,
    };
    if let Some(or_else) = short {
        if is_given(said, "source.or_else") && source.or_else != or_else {
            let message = "source.start already says what comes in place of committed offsets, and source.or_else says \
                           otherwise; leave one out";
            faults.add(&place(said, "source.or_else"), message);
        }
        (source.start, source.or_else) = (Start::Committed, or_else);
    }
    if !source.csv.columns.is_empty() && !is_given(said, "source.csv.has_header") {
        source.csv.has_header = false;
    }
    if let Some(sink) = &mut settings.sink {
        if sink.brokers.is_none() {
            sink.brokers = source.brokers.clone();
        }
        sink.client.get_or_insert_with(|| source.client.clone());
        sink.secrets.get_or_insert_with(|| source.secrets.clone());
        if sink.oauth_token_file.is_none() {
            sink.oauth_token_file = source.oauth_token_file.clone();
        }
        let group = source.group.as_deref().unwrap_or_default();
        sink.transactional_prefix.get_or_insert_with(|| format!("lightcl-{group}"));
    }
}

/// Finds settings that contradict each other.
pub(super) fn check(settings: &Settings, said: &Node, faults: &mut Faults) {
    if settings.source.kind != SourceType::Kafka {
        return;
    }
    consumed(settings, said, faults);
    start(settings, said, faults);
    format(settings, said, faults);
    learners(settings, said, faults);
    if let Some(sink) = &settings.sink {
        published(settings, sink, said, faults);
    }
}

fn topic_fault(name: &str) -> Option<&'static str> {
    if name.starts_with('^') {
        return Some("is a regular expression; write it as source.pattern");
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_legal = name.chars().all(legal) && name != "." && name != "..";
    (!is_legal).then_some("is no name of a topic: letters, digits, '.', '_' and '-' are")
}

fn consumed(settings: &Settings, said: &Node, faults: &mut Faults) {
    for (index, topic) in settings.source.topics.iter().flatten().enumerate() {
        if let Some(fault) = topic_fault(topic) {
            faults.add(&place(said, &format!("source.topics.{index}")), format!("'{topic}' {fault}"));
        }
    }
}

fn start(settings: &Settings, said: &Node, faults: &mut Faults) {
    let source = &settings.source;
    let mut fault = |key: &str, message: String| faults.add(&place(said, key), message);
    match (source.start, &source.timestamp) {
        (Start::Timestamp, None) => {
            fault("source.start", "source.start = \"timestamp\" needs the time: set source.timestamp".into());
        }
        (Start::Timestamp, Some(timestamp)) => {
            if let Err(error) = timestamp_ms(timestamp) {
                fault("source.timestamp", error.message().to_owned());
            }
        }
        (_, Some(_)) => fault("source.timestamp", "source.timestamp is for source.start = \"timestamp\"".into()),
        (_, None) => {}
    }
    match (source.start, source.offsets.is_empty()) {
        (Start::Offsets, true) => {
            fault(
                "source.start",
                "source.start = \"offsets\" needs source.offsets, such as { \"samples-0\" = 120 }".into(),
            );
        }
        (Start::Offsets, false) => {
            for (name, offset) in &source.offsets {
                let known = |topic: &str| source.topics.as_ref().is_none_or(|topics| topics.iter().any(|t| t == topic));
                let message = match partition_of(name) {
                    None => format!("source.offsets names '{name}'; a partition is its topic, '-' and its number"),
                    Some((topic, _)) if !known(&topic) => {
                        format!("source.offsets names '{name}', but '{topic}' is not among source.topics")
                    }
                    Some(_) if i64::try_from(*offset).is_err() => {
                        format!("source.offsets: no partition has {offset} records")
                    }
                    Some(_) => continue,
                };
                fault("source.offsets", message);
            }
        }
        (_, false) => fault("source.offsets", "source.offsets is for source.start = \"offsets\"".into()),
        (_, true) => {}
    }
    if source.start != Start::Committed && is_given(said, "source.or_else") {
        let message =
            "source.or_else is for source.start = \"committed\": a time or offsets are given here for the same case";
        fault("source.or_else", message.into());
    }
}

fn format(settings: &Settings, said: &Node, faults: &mut Faults) {
    let source = &settings.source;
    let mut fault = |key: &str, message: String| faults.add(&place(said, key), message);
    if source.format == Format::Avro && source.registry.is_none() {
        let message =
            "avro needs the address of the schema registry: set source.registry, such as \"http://127.0.0.1:8081\"";
        fault("source.format", message.into());
    }
    match &source.registry {
        Some(address) if !address.starts_with("http://") && !address.starts_with("https://") => {
            fault("source.registry", "source.registry must begin with http:// or https://".into());
        }
        Some(address)
            if address.split("//").nth(1).is_some_and(|rest| rest.split('/').next().unwrap_or("").contains('@')) =>
        {
            let message = "source.registry must not hold a user or a password: set source.registry_user and the secret \
                           \"registry.password\" in [source.secrets]";
            // Not where it stands, so that the line with the password is not shown.
            fault("source.secrets", message.into());
        }
        _ => {}
    }
    let password = source.secrets.contains_key("registry.password");
    if password != source.registry_user.is_some() {
        let (key, lacks) = match password {
            true => ("source.secrets", "source.registry_user"),
            false => ("source.registry_user", "the secret \"registry.password\" in [source.secrets]"),
        };
        fault(key, format!("a user of the schema registry needs a name and a password: {lacks} is missing"));
    }
    if source.registry_user.is_some() && source.registry.is_none() {
        fault("source.registry_user", "source.registry_user needs source.registry".into());
    }
    if source.format != Format::Csv && is_given(said, "source.csv") {
        fault("source.csv", "source.csv is for source.format = \"csv\"".into());
    } else if source.format == Format::Csv && source.csv.has_header != source.csv.columns.is_empty() {
        let message = match source.csv.has_header {
            true => "records with a header name their columns themselves: leave source.csv.columns or has_header out",
            false => "records without a header need the names of their columns: set source.csv.columns",
        };
        fault("source.csv", message.into());
    }
    let columns: BTreeSet<String> = settings.sample_columns().into_iter().collect();
    for name in source.types.keys().filter(|name| !columns.contains(*name)) {
        let hint = nearest(name, columns.iter().map(String::as_str)).map(|near| format!("; did you mean '{near}'?"));
        let message =
            format!("source.types names '{name}', which is no column of [sample]{}", hint.unwrap_or_default());
        fault("source.types", message);
    }
}

fn learners(settings: &Settings, said: &Node, faults: &mut Faults) {
    let learner = &settings.learner;
    let state = settings.sink.as_ref().and_then(|sink| sink.topics.state.as_ref());
    if learner.scope == Scope::Key && state.is_none() {
        let message = "learner.scope = \"key\" parks learners in the state topic: set sink.topics.state";
        faults.add(&place(said, "learner.scope"), message);
    }
    if learner.scope != Scope::Key && is_given(said, "learner.most_learners") {
        faults.add(&place(said, "learner.most_learners"), "learner.most_learners is for learner.scope = \"key\"");
    }
}

fn published(settings: &Settings, sink: &Sink, said: &Node, faults: &mut Faults) {
    let source = &settings.source;
    if sink.delivery == Delivery::ExactlyOnce && sink.topics.state.is_none() {
        let message = "exactly_once keeps the state in a topic: set sink.topics.state, such as \"lightcl-state\", or \
                       sink.delivery = \"at_least_once\"";
        faults.add(&place(said, "sink"), message);
    } else if sink.topics.each().iter().all(|(_, topic)| topic.is_none()) {
        faults.add(&place(said, "sink"), "[sink.topics] names no topic, so nothing would be published");
    }
    if sink.delivery == Delivery::ExactlyOnce && sink.brokers != source.brokers {
        let message = "exactly_once commits the source's offsets with the sink's transaction, which takes one cluster: leave \
                       sink.brokers out, or set sink.delivery = \"at_least_once\"";
        faults.add(&place(said, "sink.brokers"), message);
    }
    if is_given(said, "sink.secrets") && sink.secrets.iter().flatten().any(|(name, _)| name == "registry.password") {
        faults.add(&place(said, "sink.secrets"), "registry.password stands in [source.secrets], for source and sink");
    }
    if sink.prediction_format == ValueFormat::Avro && source.registry.is_none() {
        let message =
            "avro needs the address of the schema registry: set source.registry, such as \"http://127.0.0.1:8081\"";
        faults.add(&place(said, "sink.prediction_format"), message);
    }
    if let Some(claims) = &sink.claim_check {
        if let Err(error) = check_address(&claims.store) {
            faults.add(&place(said, "sink.claim_check.store"), error.message());
        }
        if sink.topics.state.is_none() && sink.topics.snapshots.is_none() {
            let message = "sink.claim_check is for states and snapshots, and neither has a topic: set sink.topics.state or \
                           sink.topics.snapshots, or leave it out";
            faults.add(&place(said, "sink.claim_check"), message);
        }
    }
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (output, topic) in sink.topics.each() {
        let Some(topic) = topic else { continue };
        let path = format!("sink.topics.{output}");
        if let Some(fault) = topic_fault(topic) {
            let fault = if topic.starts_with('^') { "is no name of a topic" } else { fault };
            faults.add(&place(said, &path), format!("'{topic}' {fault}"));
        }
        if let Some((other, _)) = seen.iter().find(|(_, other)| *other == topic) {
            let message = format!("{path} is also sink.topics.{other}; each output needs a topic of its own");
            faults.add(&place(said, &path), message);
        }
        if source.topics.iter().flatten().any(|consumed| consumed == topic) {
            let message = format!("{path} is also consumed: the job would read what it writes, without end");
            faults.add(&place(said, &path), message);
        }
        seen.push((output, topic));
    }
}

/// Settings that were given but do nothing, or that may surprise.
pub(super) fn notes(settings: &Settings, said: &Node, notes: &mut Vec<String>) {
    if settings.source.kind != SourceType::Kafka {
        return;
    }
    if settings.sink.is_some() {
        for path in ["predictions", "output"] {
            if is_given(said, path) {
                notes.push(format!("{path} is not used: [sink] says where outputs go"));
            }
        }
    }
    let registers = settings.sink.as_ref().is_some_and(|sink| sink.prediction_format == ValueFormat::Avro);
    if settings.source.registry.is_some() && settings.source.format != Format::Avro && !registers {
        notes.push("source.registry is not used: neither source.format nor sink.prediction_format is avro".to_owned());
    }
    if settings.learner.scope == Scope::Global {
        notes.push(
            "learner.scope is global: a second instance of the group is refused, and waits for nothing".to_owned(),
        );
    }
}
