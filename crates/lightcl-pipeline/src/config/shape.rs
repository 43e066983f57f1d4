//! What the schema of the pipeline file says about one value.

use serde_json::{Map, Value};

/// A JSON Schema with the definitions that it refers to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape<'a> {
    root: &'a Value,
    schema: &'a Value,
}

impl<'a> Shape<'a> {
    /// The schema of the whole file.
    pub fn root(schema: &'a Value) -> Self {
        Shape { root: schema, schema }
    }

    fn at(self, schema: &'a Value) -> Self {
        Shape { schema, ..self }
    }

    /// The forms a value may take, references followed; null, which TOML does not have, left out.
    pub fn forms(self) -> Vec<Shape<'a>> {
        let mut forms = Vec::new();
        self.collect_forms(&mut forms);
        forms
    }

    fn collect_forms(self, forms: &mut Vec<Shape<'a>>) {
        if let Some(name) = self.text("$ref") {
            // References that we write ourselves all have this form.
            let target = name.strip_prefix("#/$defs/").and_then(|name| self.root.get("$defs")?.get(name));
            if let Some(target) = target {
                self.at(target).collect_forms(forms);
            }
            return;
        }
        match self.schema.get("anyOf").or_else(|| self.schema.get("oneOf")).and_then(Value::as_array) {
            Some(several) => several.iter().for_each(|one| self.at(one).collect_forms(forms)),
            None if self.text("type") == Some("null") => {}
            None => forms.push(self),
        }
    }

    /// The JSON type of one form.
    pub fn json_type(self) -> Option<&'a str> {
        match self.schema.get("type")? {
            Value::Array(types) => types.iter().filter_map(Value::as_str).find(|name| *name != "null"),
            one => one.as_str(),
        }
    }

    /// The texts that one form allows, when it lists them.
    pub fn choices(self) -> Option<Vec<&'a str>> {
        if let Some(one) = self.text("const") {
            return Some(vec![one]);
        }
        let listed = self.schema.get("enum")?.as_array()?;
        Some(listed.iter().filter_map(Value::as_str).collect())
    }

    /// The keys of a table and what they hold.
    pub fn properties(self) -> Option<&'a Map<String, Value>> {
        self.schema.get("properties")?.as_object()
    }

    /// What a key of a table holds.
    pub fn property(self, key: &str) -> Option<Shape<'a>> {
        self.properties()?.get(key).map(|schema| self.at(schema))
    }

    /// What every key that is not listed holds, where any key may stand.
    pub fn any_property(self) -> Option<Shape<'a>> {
        self.schema.get("additionalProperties").filter(|schema| schema.is_object()).map(|schema| self.at(schema))
    }

    /// Keys that must be there.
    pub fn required(self) -> impl Iterator<Item = &'a str> {
        self.schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }

    /// What each item of a list holds.
    pub fn items(self) -> Option<Shape<'a>> {
        self.schema.get("items").map(|schema| self.at(schema))
    }

    /// Whether items of a list must differ.
    pub fn has_unique_items(self) -> bool {
        self.schema.get("uniqueItems").and_then(Value::as_bool).unwrap_or(false)
    }

    /// A numeric limit by its name.
    pub fn limit(self, name: &str) -> Option<f64> {
        self.schema.get(name)?.as_f64()
    }

    fn text(self, name: &str) -> Option<&'a str> {
        self.schema.get(name)?.as_str()
    }

    /// What the value means, in a sentence or more.
    pub fn description(self) -> Option<&'a str> {
        self.text("description").or_else(|| {
            let name = self.text("$ref")?.strip_prefix("#/$defs/")?;
            self.root.get("$defs")?.get(name)?.get("description")?.as_str()
        })
    }

    /// Paths of all keys with the given name, `learner.memory.samples` for `samples`.
    pub fn paths_to(self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        self.collect_paths(name, &mut Vec::new(), &mut found);
        found
    }

    fn collect_paths(self, name: &str, above: &mut Vec<&'a str>, found: &mut Vec<String>) {
        for form in self.forms() {
            for (key, schema) in form.properties().into_iter().flatten() {
                above.push(key);
                if key == name {
                    found.push(above.join("."));
                }
                form.at(schema).collect_paths(name, above, found);
                above.pop();
            }
        }
    }
}
