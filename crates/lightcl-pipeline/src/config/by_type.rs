//! What the type of the source asks of the keys around it, looked at before values are: which keys it needs, which it does
//! not have, and how properties of the client are written.

use super::document::{Content, Entry, Node, Origin};
use super::faults::Faults;
use super::secrets::{instead_of, is_secret};
use super::settings::{OF_FILES, OF_KAFKA};
use serde_json::Value;
use std::collections::BTreeMap;

/// Brings `[source]` and `[sink]` into their one form and finds keys that do not go with the type of the source.
pub(super) fn settle(said: &mut Node, faults: &mut Faults) {
    for section in ["source", "sink"] {
        for (table, is_leaf) in [("client", never as fn(&Node) -> bool), ("secrets", is_secret_table)] {
            if let Some(node) = find_mut(said, &[section, table]) {
                flatten(node, is_leaf, &format!("{section}.{table}"), faults);
            }
        }
        if let Some(Content::Table(client)) = find_mut(said, &[section, "client"]).map(|node| &mut node.content) {
            open_properties(client, section, faults);
        }
        if let Some(Content::Table(secrets)) = find_mut(said, &[section, "secrets"]).map(|node| &mut node.content) {
            secret_properties(secrets, section, faults);
        }
    }
    let kind = said.find(&["source", "type"]).and_then(Node::content_text).map(str::to_owned);
    let source = said.find(&["source"]);
    let Some((kind, Node { content: Content::Table(source), origin, .. })) = kind.zip(source) else { return };
    match kind.as_str() {
        "kafka" => of_kafka(source, origin, said, faults),
        "arrow" | "parquet" | "csv" | "jsonl" => of_files(&kind, source, origin, said, faults),
        _ => {}
    }
}

fn of_kafka(source: &BTreeMap<String, Entry>, origin: &Origin, said: &Node, faults: &mut Faults) {
    for path in OF_FILES {
        if let Some(entry) = path.strip_prefix("source.").and_then(|key| source.get(key)) {
            let instead = match path {
                "source.path" => "a Kafka source is named by brokers, topics and group",
                "source.infer_rows" => "types that are not found out rightly can be given in source.types",
                _ => "the client fetches what there is",
            };
            faults.add(&entry.key_origin, format!("{path} is for files; {instead}"));
        }
    }
    for (key, example) in [("brokers", "brokers = \"127.0.0.1:9092\""), ("group", "group = \"shop\"")] {
        if !source.contains_key(key) {
            faults.add(origin, format!("[source] lacks the key '{key}', such as {example}"));
        }
    }
    match (source.contains_key("topics"), source.get("pattern")) {
        (false, None) => {
            faults.add(origin, "[source] lacks the key 'topics', such as topics = [\"samples\"], or 'pattern'")
        }
        (true, Some(pattern)) => {
            faults
                .add(&pattern.key_origin, "source.topics and source.pattern both say what is consumed; leave one out");
        }
        _ => {}
    }
    if let Some(evaluate) = said.find(&["evaluate"])
        && evaluate.find(&["type"]).is_none()
    {
        let message = "[evaluate] lacks the key 'type': held-out samples are read from files, and the source is none";
        faults.add(&evaluate.origin, message);
    }
}

fn of_files(kind: &str, source: &BTreeMap<String, Entry>, origin: &Origin, said: &Node, faults: &mut Faults) {
    if !source.contains_key("path") {
        faults.add(origin, "[source] lacks the key 'path'");
    }
    for path in OF_KAFKA {
        if let Some(entry) = path.strip_prefix("source.").and_then(|key| source.get(key)) {
            let why = match path {
                "source.until_end" => "; a source of files ends by itself",
                "source.format" => "; source.type says how files are encoded",
                _ => "",
            };
            let message = format!("{path} is for type = \"kafka\", and this source is {kind}{why}");
            faults.add(&entry.key_origin, message);
        }
    }
    let elsewhere = [
        (
            &["source", "csv", "columns"][..],
            "files name their columns in the first line, or they are column_1, column_2, ..",
        ),
        (&["learner", "scope"], "one learner reads all rows of files"),
        (&["learner", "most_learners"], "one learner reads all rows of files"),
        (&["sink"], "what is learnt from files goes to the output folder, [output]"),
    ];
    for (path, why) in elsewhere {
        if let Some(node) = said.find(path) {
            let message = format!("{} needs source.type = \"kafka\": {why}", path.join("."));
            faults.add(&node.origin, message);
        }
    }
}

fn find_mut<'a>(node: &'a mut Node, path: &[&str]) -> Option<&'a mut Node> {
    let Some((first, rest)) = path.split_first() else { return Some(node) };
    match &mut node.content {
        Content::Table(table) => find_mut(&mut table.get_mut(*first)?.node, rest),
        _ => None,
    }
}

fn never(_: &Node) -> bool {
    false
}

/// Whether a table says where a secret is, and not how the name of a property goes on.
fn is_secret_table(node: &Node) -> bool {
    match &node.content {
        Content::Table(entries) => {
            entries.is_empty() || entries.values().any(|entry| !matches!(entry.node.content, Content::Table(_)))
        }
        _ => true,
    }
}

/// Names with dots, however they were written: `a.b = 1` without quotes is a table in a table. What the command line and
/// the environment say comes over the file in each form.
fn flatten(node: &mut Node, is_leaf: fn(&Node) -> bool, path: &str, faults: &mut Faults) {
    let Content::Table(entries) = &mut node.content else { return };
    let mut flat = BTreeMap::new();
    let mut waiting: Vec<(String, Entry)> = std::mem::take(entries).into_iter().rev().collect();
    while let Some((name, mut entry)) = waiting.pop() {
        if !is_leaf(&entry.node)
            && let Content::Table(inner) = &mut entry.node.content
        {
            waiting.extend(std::mem::take(inner).into_iter().map(|(key, inner)| (format!("{name}.{key}"), inner)));
            continue;
        }
        if let (Content::Scalar(value), Some(text)) = (&mut entry.node.content, &entry.node.text) {
            // An override is meant as it was written.
            let written = value.as_str().unwrap_or(text.trim()).to_owned();
            *value = Value::from(written);
        }
        match flat.get(&name) {
            None => drop(flat.insert(name, entry)),
            Some(other) => {
                let in_file = |entry: &Entry| matches!(entry.node.origin, Origin::File { .. });
                if in_file(other) && in_file(&entry) {
                    faults.add(&entry.key_origin, format!("{path} names {name} twice"));
                }
                if entry.node.origin > other.node.origin {
                    flat.insert(name, entry);
                }
            }
        }
    }
    *entries = flat;
}

/// Refuses properties whose values are secret, and those that the job sets. They are taken out, so that nothing shows their
/// values later.
fn open_properties(client: &mut BTreeMap<String, Entry>, section: &str, faults: &mut Faults) {
    client.retain(|name, entry| {
        let message = if name.contains("jaas") {
            format!(
                "{section}.client: {name} is a property of the Java client; set \"sasl.username\" there and \"sasl.password\" in \
                 [{section}.secrets]"
            )
        } else if is_secret(name) {
            format!(
                "{section}.client: {name} is secret and must not stand in the pipeline; write [{section}.secrets] and under it \
                 \"{name}\" = {{ env = \"NAME\" }}, or {{ file = \"path\" }}"
            )
        } else if let Some(instead) = instead_of(name) {
            format!("{section}.client: {name} cannot be set here: {instead}")
        } else {
            return true;
        };
        faults.add(&entry.key_origin, message);
        false
    });
}

/// Refuses secrets that are given and not named.
fn secret_properties(secrets: &mut BTreeMap<String, Entry>, section: &str, faults: &mut Faults) {
    secrets.retain(|name, entry| {
        let given = |key: &str| entry.node.find(&[key]).is_some();
        let message = if let Some(instead) = instead_of(name) {
            format!("{section}.secrets: {name} cannot be set here: {instead}")
        } else {
            let how = format!("write \"{name}\" = {{ env = \"NAME\" }}, or {{ file = \"path\" }}");
            match &entry.node.content {
                Content::Table(_) if given("env") && given("file") => {
                    format!("{section}.secrets: {name} is read from env or from file, not from both")
                }
                Content::Table(entries)
                    if entries.keys().all(|key| key == "env" || key == "file") && !entries.is_empty() =>
                {
                    return true;
                }
                Content::Table(_) => {
                    format!("{section}.secrets: {name} must say where the secret is, and no more: {how}")
                }
                _ => format!("{section}.secrets: {name} must not hold the secret itself; {how}"),
            }
        };
        faults.add(&entry.key_origin, message);
        false
    });
}
