//! Avro schemas as JSON: what they refer to, and where in them a column stands.

use serde_json::{Map, Value};
use std::collections::HashMap;

/// Schemas by their full names.
pub(super) type Names = HashMap<String, Value>;

const PRIMITIVE: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];

/// Puts the schemas that a schema refers to where they are named first.
pub(super) fn inline(schema: &mut Value, names: &mut Names) {
    if !names.is_empty() {
        visit(schema, "", names);
    }
}

fn visit(schema: &mut Value, namespace: &str, names: &mut Names) {
    match schema {
        Value::String(name) => {
            if PRIMITIVE.contains(&name.as_str()) {
                return;
            }
            let full =
                if name.contains('.') || namespace.is_empty() { name.clone() } else { format!("{namespace}.{name}") };
            let Some((full, mut found)) = names.remove_entry(&full).or_else(|| names.remove_entry(name.as_str()))
            else {
                return;
            };
            // Its name must not be taken for one in the namespace around it.
            if let Value::Object(parts) = &mut found
                && !parts.contains_key("namespace")
                && !parts.get("name").and_then(Value::as_str).is_some_and(|name| name.contains('.'))
            {
                let namespace = full.rsplit_once('.').map_or("", |(namespace, _)| namespace);
                parts.insert("namespace".to_owned(), Value::from(namespace));
            }
            visit(&mut found, "", names);
            *schema = found;
        }
        Value::Array(branches) => branches.iter_mut().for_each(|branch| visit(branch, namespace, names)),
        Value::Object(parts) => visit_object(parts, namespace, names),
        _ => {}
    }
}

fn visit_object(parts: &mut Map<String, Value>, namespace: &str, names: &mut Names) {
    let own = match (parts.get("name").and_then(Value::as_str), parts.get("namespace").and_then(Value::as_str)) {
        (Some(name), _) if name.contains('.') => name.rsplit_once('.').map(|(namespace, _)| namespace.to_owned()),
        (_, Some(namespace)) => Some(namespace.to_owned()),
        _ => None,
    };
    let namespace = own.as_deref().unwrap_or(namespace);
    match parts.get("type").and_then(Value::as_str) {
        Some("record" | "error") => {
            for field in parts.get_mut("fields").and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(field) = field.get_mut("type") {
                    visit(field, namespace, names);
                }
            }
        }
        Some("enum" | "fixed") => {}
        Some("array") => parts.get_mut("items").into_iter().for_each(|items| visit(items, namespace, names)),
        Some("map") => parts.get_mut("values").into_iter().for_each(|values| visit(values, namespace, names)),
        _ => parts.get_mut("type").into_iter().for_each(|inner| visit(inner, namespace, names)),
    }
}

/// For each name the field of a record that is called so, or was once; an error says why it is no record.
pub(super) fn places<'a>(schema: &Value, columns: impl Iterator<Item = &'a str>) -> Result<Vec<Option<usize>>, String> {
    let is_record = schema.get("type").and_then(Value::as_str) == Some("record");
    let fields = schema.get("fields").and_then(Value::as_array).filter(|_| is_record);
    let fields = fields.ok_or("its values are no records")?;
    let has_name = |field: &Value, name: &str| field.get("name").and_then(Value::as_str) == Some(name);
    let had_name = |field: &Value, name: &str| {
        let aliases = field.get("aliases").and_then(Value::as_array);
        aliases.is_some_and(|aliases| aliases.iter().any(|alias| alias.as_str() == Some(name)))
    };
    let place = |name: &str| {
        let named = fields.iter().position(|field| has_name(field, name));
        named.or_else(|| fields.iter().position(|field| had_name(field, name)))
    };
    Ok(columns.map(place).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_stand_where_they_are_named_first() {
        let mut names = Names::new();
        names.insert("a.Inner".into(), json!({"type": "enum", "name": "Inner", "symbols": ["x"]}));
        names.insert(
            "b.Outer".into(),
            json!({"type": "record", "name": "b.Outer", "fields": [{"name": "i", "type": ["null", "a.Inner"]}]}),
        );
        let mut schema = json!({"type": "record", "name": "S", "namespace": "b", "fields": [
            {"name": "o", "type": {"type": "array", "items": "Outer"}},
            {"name": "p", "type": "a.Inner"},
            {"name": "q", "type": "string"}]});
        inline(&mut schema, &mut names);
        let outer = &schema["fields"][0]["type"]["items"];
        assert_eq!(outer["name"], "b.Outer");
        assert_eq!(outer["fields"][0]["type"][1]["namespace"], "a");
        assert_eq!(schema["fields"][1]["type"], "a.Inner");
        assert_eq!(places(&schema, ["q", "x"].into_iter()), Ok(vec![Some(2), None]));
        assert!(places(&json!("string"), ["q"].into_iter()).is_err());
    }

    #[test]
    fn schemas_that_name_themselves_end() {
        let mut names = Names::new();
        let list = json!({"type": "record", "name": "L", "fields": [{"name": "next", "type": ["null", "L"]}]});
        names.insert("L".into(), list);
        let mut schema = json!({"type": "array", "items": "L"});
        inline(&mut schema, &mut names);
        assert_eq!(schema["items"]["fields"][0]["type"][1], "L");
    }
}
