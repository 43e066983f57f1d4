//! A pipeline file as a tree of values that know where they came from.

use super::faults::{Fault, Faults};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The file: its bytes from `start` to before `end`.
    File {
        /// The first byte.
        start: usize,
        /// The byte after the last.
        end: usize,
    },
    /// An environment variable of this name.
    Environment(String),
    /// The command line: the option as it was given.
    CommandLine(String),
    /// Nothing was said.
    Default,
}

impl Origin {
    fn span(span: Range<usize>) -> Self {
        Origin::File { start: span.start, end: span.end }
    }
}

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub content: Content,
    pub origin: Origin,
    /// The text of an override, which may have been meant as text although it reads as something else.
    pub text: Option<String>,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    Table(BTreeMap<String, Entry>),
    List(Vec<Node>),
    /// Text, a number or a boolean.
    Scalar(Value),
    /// Something that no key of a pipeline takes, by name.
    Other(&'static str),
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub key_origin: Origin,
    pub node: Node,
}

impl Node {
    /// The node at a path of keys and list indices.
    pub fn find(&self, path: &[&str]) -> Option<&Node> {
        let Some((first, rest)) = path.split_first() else { return Some(self) };
        match &self.content {
            Content::Table(table) => table.get(*first)?.node.find(rest),
            Content::List(nodes) => nodes.get(first.parse::<usize>().ok()?)?.find(rest),
            Content::Scalar(_) | Content::Other(_) => None,
        }
    }

    /// Puts a node at a path of keys, making tables on the way.
    ///
    /// Gives the part of the path that is in the way when it is no table.
    pub fn set(&mut self, path: &[String], node: Node) -> Result<(), String> {
        let mut table = self;
        for (depth, key) in path.iter().enumerate() {
            let Content::Table(entries) = &mut table.content else { return Err(path[..depth].join(".")) };
            if depth + 1 == path.len() {
                let key_origin = node.origin.clone();
                entries.insert(key.clone(), Entry { key_origin, node });
                return Ok(());
            }
            table = &mut entries
                .entry(key.clone())
                .or_insert_with(|| Entry { key_origin: node.origin.clone(), node: Node::empty_table(&node.origin) })
                .node;
        }
        Ok(())
    }

    fn empty_table(origin: &Origin) -> Node {
        Node { content: Content::Table(BTreeMap::new()), origin: origin.clone(), text: None }
    }

    /// Whether the value is of a JSON Schema type.
    pub fn is(&self, json_type: &str) -> bool {
        match (&self.content, json_type) {
            (Content::Table(_), "object") | (Content::List(_), "array") => true,
            (Content::Scalar(Value::String(_)), "string") | (Content::Scalar(Value::Bool(_)), "boolean") => true,
            (Content::Scalar(Value::Number(number)), "integer") => number.is_i64() || number.is_u64(),
            (Content::Scalar(Value::Number(_)), "number") => true,
            _ => false,
        }
    }

    /// The value where it is text.
    pub fn content_text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(value) => value.as_str(),
            _ => None,
        }
    }

    /// What the value is, in words.
    pub fn kind(&self) -> String {
        match &self.content {
            Content::Table(_) => "a table".to_owned(),
            Content::List(_) => "a list".to_owned(),
            Content::Scalar(Value::String(text)) => format!("the text {text:?}"),
            Content::Scalar(value) => value.to_string(),
            Content::Other(kind) => (*kind).to_owned(),
        }
    }
}

/// Reads a file's text; mistakes of TOML itself are the faults.
pub(super) fn parse(text: &str) -> Result<Node, Faults> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let span = table.span();
        return Ok(Node { content: from_table(table.into_inner()), origin: Origin::span(span), text: None });
    }
    Err(Faults::from_iter(errors.iter().map(|error| {
        let span = error.span().unwrap_or(0..0);
        Fault::new(Origin::span(span), format!("not TOML: {}", error.message().replace('\n', ", ")))
    })))
}

/// Reads one TOML value.
pub(super) fn parse_value(text: &str, origin: &Origin) -> Option<Node> {
    // A value must not end early: `3 # and more` is no number.
    let document = format!("value = {text}");
    let table = DeTable::parse(&document).ok()?.into_inner();
    let mut entries = table.into_iter();
    let (value, None) = (entries.next()?.1, entries.next()) else { return None };
    if value.span().end != document.trim_end().len() {
        return None;
    }
    let mut node = from_value(value.into_inner(), 0..0);
    node.claim(origin);
    node.text = Some(text.to_owned());
    Some(node)
}

impl Node {
    /// Says of the whole tree that it came from `origin`.
    fn claim(&mut self, origin: &Origin) {
        self.origin = origin.clone();
        match &mut self.content {
            Content::Table(entries) => entries.values_mut().for_each(|entry| {
                entry.key_origin = origin.clone();
                entry.node.claim(origin);
            }),
            Content::List(nodes) => nodes.iter_mut().for_each(|node| node.claim(origin)),
            Content::Scalar(_) | Content::Other(_) => {}
        }
    }
}

/// Reads a dotted key as TOML does.
pub(super) fn parse_key(text: &str) -> Option<Vec<String>> {
    let document = format!("{text} = 0");
    let mut table = DeTable::parse(&document).ok()?.into_inner();
    let mut path = Vec::new();
    loop {
        let mut entries = table.into_iter();
        let ((key, value), None) = (entries.next()?, entries.next()) else { return None };
        path.push(key.into_inner().into_owned());
        match value.into_inner() {
            DeValue::Table(inner) => table = inner,
            DeValue::Integer(_) => return Some(path),
            _ => return None,
        }
    }
}

fn from_table(table: DeTable<'_>) -> Content {
    Content::Table(
        table
            .into_iter()
            .map(|(key, value)| {
                let span = value.span();
                let entry = Entry { key_origin: Origin::span(key.span()), node: from_value(value.into_inner(), span) };
                (key.into_inner().into_owned(), entry)
            })
            .collect(),
    )
}

fn from_value(value: DeValue<'_>, span: Range<usize>) -> Node {
    let content = match value {
        DeValue::String(text) => Content::Scalar(Value::String(text.into_owned())),
        DeValue::Boolean(flag) => Content::Scalar(Value::Bool(flag)),
        DeValue::Integer(integer) => {
            let (text, radix) = (integer.as_str(), integer.radix());
            match (i64::from_str_radix(text, radix), u64::from_str_radix(text, radix)) {
                (Ok(number), _) => Content::Scalar(number.into()),
                (_, Ok(number)) => Content::Scalar(number.into()),
                _ => Content::Other("a whole number beyond 64 bits"),
            }
        }
        DeValue::Float(float) => match float.as_str().parse::<f64>().ok().and_then(serde_json::Number::from_f64) {
            Some(number) => Content::Scalar(Value::Number(number)),
            None => Content::Other("a number that is not finite"),
        },
        DeValue::Datetime(_) => Content::Other("a date or time"),
        DeValue::Array(values) => Content::List(
            values
                .into_iter()
                .map(|value| {
                    let span = value.span();
                    from_value(value.into_inner(), span)
                })
                .collect(),
        ),
        DeValue::Table(table) => from_table(table),
    };
    Node { content, origin: Origin::span(span), text: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_know_their_place_in_the_file() {
        let text = "name = \"x\"\n[learner]\nhidden = [1, 2]\n";
        let root = parse(text).unwrap();
        let second = root.find(&["learner", "hidden", "1"]).unwrap();
        let Origin::File { start, end } = second.origin else { panic!("{second:?}") };
        assert_eq!(&text[start..end], "2");
        assert!(second.is("integer") && second.is("number") && !second.is("string"));
        assert!(root.find(&["learner", "hidden", "2"]).is_none());
    }

    #[test]
    fn mistakes_of_toml_are_all_reported() {
        let faults = parse("a = \nb = 1\nb = 2\n").unwrap_err();
        assert_eq!(faults.len(), 2, "{faults:?}");
    }

    #[test]
    fn a_key_is_read_as_toml_reads_it() {
        assert_eq!(parse_key("learner.seed").unwrap(), ["learner", "seed"]);
        assert_eq!(parse_key("learner.weight_names.\"lower.0\"").unwrap(), ["learner", "weight_names", "lower.0"]);
        assert!(parse_key("learner seed").is_none() && parse_key("").is_none() && parse_key("a = 1\nb").is_none());
    }

    #[test]
    fn only_one_whole_value_is_a_value() {
        let origin = Origin::Environment("X".to_owned());
        assert!(parse_value("3", &origin).unwrap().is("integer"));
        assert!(parse_value("[\"a\", \"b\"]", &origin).unwrap().is("array"));
        for text in ["", "adam", "3 # three", "3\nother = 4", "1.e", "[a"] {
            assert!(parse_value(text, &origin).is_none(), "{text}");
        }
    }

    #[test]
    fn setting_below_a_scalar_names_what_is_in_the_way() {
        let mut root = parse("[learner]\nseed = 1\n").unwrap();
        let origin = Origin::CommandLine("--set".to_owned());
        let value = || parse_value("3", &origin).unwrap();
        let path = |text: &str| parse_key(text).unwrap();
        assert_eq!(root.set(&path("learner.seed.x"), value()), Err("learner.seed".to_owned()));
        root.set(&path("learner.memory.samples"), value()).unwrap();
        assert!(root.find(&["learner", "memory", "samples"]).unwrap().is("integer"));
        assert!(root.find(&["learner", "seed"]).unwrap().is("integer"));
    }
}
