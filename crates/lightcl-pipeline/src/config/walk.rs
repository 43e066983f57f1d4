//! Checks every value of a pipeline against the schema of the file, and finds all mistakes at once.

use super::document::{Content, Entry, Node, Origin};
use super::faults::Faults;
use super::names::nearest;
use super::shape::Shape;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The whole tree as JSON, with what was found wrong with it; a wrong value is left out.
pub(super) fn walk(schema: &Value, root: &Node) -> (Value, Faults) {
    let root_shape = Shape::root(schema);
    let mut walker = Walker { root: root_shape, faults: Faults::default() };
    let value = walker.value(root_shape, root, &mut Vec::new()).unwrap_or_default();
    (value, walker.faults)
}

struct Walker<'a> {
    root: Shape<'a>,
    faults: Faults,
}

impl<'a> Walker<'a> {
    fn value(&mut self, shape: Shape<'a>, node: &Node, path: &mut Vec<String>) -> Option<Value> {
        let forms = shape.forms();
        let choices: Vec<&str> = forms.iter().filter_map(|form| form.choices()).flatten().collect();
        let free = || forms.iter().filter(|form| form.choices().is_none()).filter_map(|form| form.json_type());
        if !choices.is_empty() && !free().any(|name| node.is(name)) {
            return self.choice(&choices, &free().map(type_in_words).collect::<Vec<_>>(), node, path);
        }
        let node = &as_text(&forms, node);
        let fits = |form: &&Shape<'_>| form.json_type().is_none_or(|name| node.is(name));
        let Some(form) = forms.iter().find(fits) else {
            let expected: Vec<&str> = forms.iter().filter_map(|form| form.json_type()).map(type_in_words).collect();
            let mut message = format!("{} must be {}, not {}", path.join("."), expected.join(" or "), node.kind());
            if expected.contains(&type_in_words("array")) && node.is("string") {
                message.push_str(&format!("; write [{}]", node.kind().trim_start_matches("the text ")));
            }
            self.faults.add(&node.origin, message);
            return None;
        };
        match &node.content {
            Content::Table(entries) => self.table(*form, node, entries, path),
            Content::List(nodes) => self.list(*form, node, nodes, path),
            Content::Scalar(value) => self.scalar(*form, node, value, path),
            Content::Other(_) => None,
        }
    }

    /// One of some texts; `others` are the types of value that might stand there too.
    fn choice(&mut self, choices: &[&str], others: &[&str], node: &Node, path: &[String]) -> Option<Value> {
        let path = path.join(".");
        let texts = || choices.iter().map(|choice| format!("\"{choice}\"")).collect::<Vec<_>>().join(", ");
        let listed = || match others {
            [] => texts(),
            others => format!("{} or {}", texts(), others.join(" or ")),
        };
        let text = node.content_text();
        match text {
            Some(text) if choices.contains(&text) => return Some(Value::from(text)),
            Some(text) => {
                let hint = match nearest(text, choices.iter().copied()) {
                    Some(near) => format!("; did you mean \"{near}\"? There are {}", listed()),
                    None if choices.len() == 1 => format!("; the only choice is {}", listed()),
                    None => format!("; there are {}", listed()),
                };
                self.faults.add(&node.origin, format!("{path} cannot be \"{text}\"{hint}"));
            }
            None => self.faults.add(&node.origin, format!("{path} must be one of {}, not {}", listed(), node.kind())),
        }
        None
    }

    fn table(
        &mut self,
        form: Shape<'a>,
        node: &Node,
        entries: &BTreeMap<String, Entry>,
        path: &mut Vec<String>,
    ) -> Option<Value> {
        let mut object = Map::new();
        for (key, entry) in entries {
            let Some(inner) = form.property(key).or_else(|| form.any_property()) else {
                self.unknown_key(form, key, &entry.key_origin, path);
                continue;
            };
            path.push(key.clone());
            if let Some(value) = self.value(inner, &entry.node, path) {
                object.insert(key.clone(), value);
            }
            path.pop();
        }
        for key in form.required() {
            if !entries.contains_key(key) {
                let is_table = form
                    .property(key)
                    .is_some_and(|inner| inner.forms().first().is_some_and(|form| form.json_type() == Some("object")));
                let message = match (path.is_empty(), is_table) {
                    (true, true) => format!("the section [{key}] is missing"),
                    (true, false) => format!("the key '{key}' is missing"),
                    _ => format!("{} lacks the key '{key}'", section(path)),
                };
                // The document as a whole has no line of its own.
                let origin = if path.is_empty() { &Origin::Default } else { &node.origin };
                self.faults.add(origin, message);
            }
        }
        Some(Value::Object(object))
    }

    fn unknown_key(&mut self, form: Shape<'a>, key: &str, origin: &Origin, path: &[String]) {
        let siblings: Vec<&str> = form.properties().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let place = if path.is_empty() { "at the top".to_owned() } else { format!("in {}", section(path)) };
        let mut message = format!("unknown key '{key}' {place}; ");
        if let Some(near) = nearest(key, siblings.iter().copied()) {
            message.push_str(&format!("did you mean '{near}'?"));
        } else if let elsewhere = self.root.paths_to(key)
            && !elsewhere.is_empty()
        {
            message.push_str(&format!("there is {}", elsewhere.join(", ")));
        } else {
            message.push_str(&format!("there are {}", siblings.join(", ")));
        }
        self.faults.add(origin, message);
    }

    fn list(&mut self, form: Shape<'a>, node: &Node, nodes: &[Node], path: &mut Vec<String>) -> Option<Value> {
        let mut values: Vec<Value> = Vec::new();
        for (index, item) in nodes.iter().enumerate() {
            let Some(shape) = form.items() else { continue };
            path.push(index.to_string());
            if let Some(value) = self.value(shape, item, path) {
                if form.has_unique_items() && values.contains(&value) {
                    let list = path[..path.len() - 1].join(".");
                    self.faults.add(&item.origin, format!("{list} names {value} twice"));
                }
                values.push(value);
            }
            path.pop();
        }
        let path = path.join(".");
        let count = nodes.len() as f64;
        if let Some(least) = form.limit("minItems").filter(|least| count < *least) {
            self.faults.add(&node.origin, format!("{path} must have at least {least} entry"));
        }
        if let Some(most) = form.limit("maxItems").filter(|most| count > *most) {
            self.faults.add(&node.origin, format!("{path} may have at most {most} entries, not {count}"));
        }
        Some(Value::Array(values))
    }

    fn scalar(&mut self, form: Shape<'a>, node: &Node, value: &Value, path: &[String]) -> Option<Value> {
        let path = path.join(".");
        if let Some(text) = value.as_str() {
            let length = text.chars().count() as f64;
            let least = form.limit("minLength");
            let most = form.limit("maxLength");
            if least.is_some_and(|least| length < least) || most.is_some_and(|most| length > most) {
                let wanted = match (least, most) {
                    (Some(least), Some(most)) if least == most => format!("have {least} character"),
                    (_, Some(most)) if length > 0.0 => format!("have at most {most} characters"),
                    _ => "not be empty".to_owned(),
                };
                self.faults.add(&node.origin, format!("{path} must {wanted}"));
                return None;
            }
        }
        if let Some(number) = value.as_f64()
            && let Some(range) = range_in_words(form, number)
        {
            self.faults.add(&node.origin, format!("{path} must be {range}, not {value}"));
            return None;
        }
        Some(value.clone())
    }
}

/// The range of a form in words, when `number` is not in it.
fn range_in_words(form: Shape<'_>, number: f64) -> Option<String> {
    let least = form.limit("minimum");
    let most = form.limit("maximum");
    let above = form.limit("exclusiveMinimum");
    let below = form.limit("exclusiveMaximum");
    let holds = least.is_none_or(|least| number >= least)
        && most.is_none_or(|most| number <= most)
        && above.is_none_or(|above| number > above)
        && below.is_none_or(|below| number < below);
    if holds {
        return None;
    }
    let mut parts = Vec::new();
    parts.extend(least.map(|least| format!("at least {least}")));
    parts.extend(above.map(|above| format!("above {above}")));
    parts.extend(most.map(|most| format!("at most {most}")));
    parts.extend(below.map(|below| format!("below {below}")));
    Some(parts.join(" and "))
}

/// An override that reads as a number or a boolean but stands where only text may stand was meant as text.
fn as_text(forms: &[Shape<'_>], node: &Node) -> Node {
    let only_text = forms.iter().all(|form| form.json_type() == Some("string"));
    match &node.text {
        Some(text) if only_text && !node.is("string") => {
            Node { content: Content::Scalar(Value::from(text.trim())), ..node.clone() }
        }
        _ => node.clone(),
    }
}

fn type_in_words(json_type: &str) -> &'static str {
    match json_type {
        "string" => "text in quotes",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        _ => "a table",
    }
}

/// A table by its header; an entry of a list by its path.
fn section(path: &[String]) -> String {
    let path = path.join(".");
    if path.split('.').any(|part| part.parse::<usize>().is_ok()) { path } else { format!("[{path}]") }
}
