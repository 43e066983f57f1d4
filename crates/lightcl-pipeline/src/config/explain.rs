//! Every key in force: its value, where that came from, what it means.

use super::pipeline::Pipeline;
use super::settings::pipeline_schema;
use super::shape::Shape;
use lightcl_core::{Error, Result};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// One line of the explanation of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub enum Explained {
    /// A table begins: `source.csv`.
    Section {
        /// Its path.
        path: String,
        /// What it is for, in a sentence.
        description: String,
        /// Whether it is in force; an optional one that was not given is not.
        set: bool,
    },
    /// A key.
    Key {
        /// Its path.
        path: String,
        /// Its value; none where nothing is set.
        value: Option<Value>,
        /// Where the value came from.
        origin: String,
        /// What the key means, in a sentence.
        description: String,
    },
}

impl Pipeline {
    /// Explains every key, in the order of the sections. Sections of detectors that are not used are left out, since there
    /// are many and most pipelines use few, and so are keys that the type of the source does not have.
    ///
    /// # Errors
    /// As [`Pipeline::effective`].
    pub fn explain(&self) -> Result<Vec<Explained>> {
        let failed = |error| Error::internal("the settings have no JSON form").caused_by(error);
        let text = serde_json::to_string(&self.settings).map_err(failed)?;
        let ordered: Ordered = serde_json::from_str(&text).map_err(failed)?;
        let schema = pipeline_schema();
        let unused = self.settings.boundary.sections().filter(|section| section.used.is_empty());
        let unused = unused.map(|section| format!("boundary.{}", section.name));
        let unused: Vec<String> = unused.chain(self.settings.without_meaning().map(str::to_owned)).collect();
        let mut lines = Vec::new();
        self.explain_table(Shape::root(&schema), &ordered, "", &unused, &mut lines);
        Ok(lines)
    }

    fn explain_table(
        &self,
        shape: Shape<'_>,
        table: &Ordered,
        above: &str,
        leave_out: &[String],
        lines: &mut Vec<Explained>,
    ) {
        let Ordered::Table(entries) = table else { return };
        let Some(form) = shape.forms().into_iter().find(|form| form.properties().is_some()) else { return };
        let mut sections = Vec::new();
        for (key, value) in entries {
            let path = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
            if leave_out.contains(&path) {
                continue;
            }
            let Some(inner) = form.property(key) else { continue };
            let description = first_sentence(inner.description().unwrap_or_default());
            if inner.forms().iter().any(|form| form.properties().is_some() && form.json_type() == Some("object")) {
                sections.push((path, inner, value, description));
            } else {
                let origin = self.origin_in_words(&path);
                let value = Some(value.to_json()).filter(|value| !value.is_null());
                lines.push(Explained::Key { path, value, origin, description });
            }
        }
        // As in TOML, a table's own keys come before the tables in it.
        for (path, inner, value, description) in sections {
            let set = matches!(value, Ordered::Table(_));
            lines.push(Explained::Section { path: path.clone(), description, set });
            self.explain_table(inner, value, &path, leave_out, lines);
        }
    }
}

fn first_sentence(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.find(". ") {
        // A sentence that only names another default is worth its place.
        Some(end) => match line[end + 2..].strip_prefix("Default: ") {
            Some(_) => line,
            None => line[..=end].to_owned(),
        },
        None => line,
    }
}

/// A JSON value as one line of TOML.
///
/// ```
/// use lightcl_pipeline::config::toml_inline;
///
/// assert_eq!(toml_inline(&serde_json::json!({ "column": "x", "size": 3 })), r#"{ column = "x", size = 3 }"#);
/// assert_eq!(toml_inline(&serde_json::json!(["a", 1.0])), r#"["a", 1.0]"#);
/// ```
pub fn toml_inline(value: &Value) -> String {
    let joined = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::Object(object) if object.is_empty() => "{}".to_owned(),
        Value::Object(object) => {
            let parts = object.iter().map(|(key, value)| {
                let is_bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
                let key = if is_bare { key.clone() } else { Value::from(key.as_str()).to_string() };
                format!("{key} = {}", toml_inline(value))
            });
            format!("{{ {} }}", joined(parts.collect()))
        }
        Value::Array(values) => format!("[{}]", joined(values.iter().map(toml_inline).collect())),
        // JSON's escapes in text are TOML's too.
        scalar => scalar.to_string(),
    }
}

/// A JSON value whose tables keep the order they were written in.
enum Ordered {
    Table(Vec<(String, Ordered)>),
    List(Vec<Ordered>),
    Scalar(Value),
}

impl Ordered {
    fn to_json(&self) -> Value {
        match self {
            Ordered::Table(entries) => entries.iter().map(|(key, value)| (key.clone(), value.to_json())).collect(),
            Ordered::List(values) => values.iter().map(Ordered::to_json).collect(),
            Ordered::Scalar(value) => value.clone(),
        }
    }
}

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(OrderedVisitor)
    }
}

struct OrderedVisitor;

impl<'de> Visitor<'de> for OrderedVisitor {
    type Value = Ordered;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> std::result::Result<Ordered, E> {
        Ok(Ordered::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Ordered, E> {
        Ok(Ordered::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Ordered, E> {
        Ok(Ordered::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Ordered, E> {
        Ok(Ordered::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Ordered, E> {
        Ok(Ordered::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Ordered, E> {
        Ok(Ordered::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Ordered, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element()? {
            values.push(value);
        }
        Ok(Ordered::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> std::result::Result<Ordered, A::Error> {
        let mut table = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            table.push(entry);
        }
        Ok(Ordered::Table(table))
    }
}
