//! What changed between two configurations.

use serde_json::Value;
use std::collections::BTreeMap;

/// One line for each key whose value differs: `learner.seed: 0 -> 3`. Lists are compared as a whole.
///
/// ```
/// use serde_json::json;
///
/// let old = json!({ "learner": { "seed": 0, "hidden": [4, 4] } });
/// let new = json!({ "learner": { "seed": 3, "hidden": [4, 4], "sparse": true } });
/// let lines = lightcl_pipeline::config::difference(&old, &new);
/// assert_eq!(lines, ["learner.seed: 0 -> 3", "learner.sparse: (not set) -> true"]);
/// ```
pub fn difference(old: &Value, new: &Value) -> Vec<String> {
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    flatten(old, &mut String::new(), &mut before);
    flatten(new, &mut String::new(), &mut after);
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let shown = |value: Option<&&Value>| value.map_or_else(|| "(not set)".to_owned(), ToString::to_string);
    keys.into_iter()
        .filter(|key| before.get(*key) != after.get(*key))
        .map(|key| format!("{key}: {} -> {}", shown(before.get(key)), shown(after.get(key))))
        .collect()
}

fn flatten<'a>(value: &'a Value, path: &mut String, leaves: &mut BTreeMap<String, &'a Value>) {
    match value {
        Value::Object(object) => {
            for (key, inner) in object {
                let length = path.len();
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
                flatten(inner, path, leaves);
                path.truncate(length);
            }
        }
        Value::Null => {}
        leaf => {
            leaves.insert(path.clone(), leaf);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_absent_key_and_null_are_the_same() {
        let (old, new) = (json!({ "evaluate": null, "a": { "b": "x" } }), json!({ "a": { "b": "x", "c": null } }));
        assert!(difference(&old, &new).is_empty());
    }

    #[test]
    fn lists_and_texts_are_shown_as_json() {
        let (old, new) = (json!({ "detect": ["a"], "path": "x" }), json!({ "detect": ["a", "b"], "path": "y" }));
        assert_eq!(difference(&old, &new), ["detect: [\"a\"] -> [\"a\",\"b\"]", "path: \"x\" -> \"y\""]);
    }
}
