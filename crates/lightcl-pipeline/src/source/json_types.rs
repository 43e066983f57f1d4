//! Types of JSON values: found by looking at rows, and checked when rows are read.

use arrow_schema::{DataType, Field};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the values of one field have been so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    integers: u64,
    numbers: u64,
    texts: u64,
    booleans: u64,
    lists: u64,
    objects: u64,
    items: Option<Box<Seen>>,
    fields: BTreeMap<String, Seen>,
}

impl Seen {
    pub fn take_in(&mut self, value: &Value) {
        match value {
            Value::Null => {}
            Value::Bool(_) => self.booleans += 1,
            Value::Number(number) if number.is_i64() => self.integers += 1,
            Value::Number(_) => self.numbers += 1,
            Value::String(_) => self.texts += 1,
            Value::Array(items) => {
                self.lists += 1;
                let seen = self.items.get_or_insert_with(Box::default);
                items.iter().for_each(|item| seen.take_in(item));
            }
            Value::Object(object) => {
                self.objects += 1;
                for (name, value) in object {
                    match self.fields.get_mut(name) {
                        Some(seen) => seen.take_in(value),
                        None => self.fields.entry(name.clone()).or_default().take_in(value),
                    }
                }
            }
        }
    }

    /// The fields of the objects seen, in the order of the alphabet. `all_seen` says that no further row can come.
    pub fn fields(&self, all_seen: bool) -> Vec<Field> {
        self.fields.iter().map(|(name, seen)| Field::new(name, seen.data_type(all_seen), true)).collect()
    }

    /// The type of the more frequent values; numbers, text, booleans, lists and objects in this order when it is a tie.
    fn data_type(&self, all_seen: bool) -> DataType {
        let kinds = [self.integers + self.numbers, self.texts, self.booleans, self.lists, self.objects];
        let most = kinds.into_iter().max().unwrap_or(0);
        if most == 0 {
            return if all_seen { DataType::Null } else { DataType::Utf8 };
        }
        match kinds.iter().position(|count| *count == most) {
            Some(0) if self.numbers == 0 => DataType::Int64,
            Some(0) => DataType::Float64,
            Some(1) => DataType::Utf8,
            Some(2) => DataType::Boolean,
            Some(3) => {
                let items = self.items.as_ref().map_or(DataType::Null, |items| items.data_type(all_seen));
                DataType::List(Arc::new(Field::new_list_field(items, true)))
            }
            _ => DataType::Struct(self.fields(all_seen).into()),
        }
    }
}

/// Checks that a value fits a type; the error says where it does not: `: column 'a.b': found .., expected ..`.
pub(super) fn check(value: &Value, data_type: &DataType, path: &mut String) -> Result<(), String> {
    let expected = match (value, data_type) {
        (Value::Null, _)
        | (Value::Bool(_), DataType::Boolean)
        | (Value::Number(_), DataType::Float64)
        | (Value::String(_), DataType::Utf8) => return Ok(()),
        (Value::Number(number), DataType::Int64) if number.is_i64() => return Ok(()),
        (Value::Array(items), DataType::List(item)) => {
            let length = path.len();
            for (place, value) in items.iter().enumerate() {
                // The path is written only when it is needed: lists are long.
                if check(value, item.data_type(), &mut String::new()).is_err() {
                    path.push_str(&format!("[{place}]"));
                    check(value, item.data_type(), path)?;
                    path.truncate(length);
                }
            }
            return Ok(());
        }
        (Value::Object(object), DataType::Struct(fields)) => {
            let length = path.len();
            for field in fields {
                let Some(value) = object.get(field.name()) else { continue };
                if length > 0 {
                    path.push('.');
                }
                path.push_str(field.name());
                check(value, field.data_type(), path)?;
                path.truncate(length);
            }
            return Ok(());
        }
        (_, DataType::Boolean) => "true or false",
        (_, DataType::Float64) => "a number",
        (_, DataType::Int64) => "a whole number",
        (_, DataType::Utf8) => "text",
        (_, DataType::List(_)) => "a list",
        (_, DataType::Struct(_)) => "an object",
        _ => "null, as in all rows before",
    };
    let found = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => {
            let short: String = text.chars().take(60).collect();
            format!("the text '{short}{}'", if short.len() < text.len() { ".." } else { "" })
        }
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    let place = if path.is_empty() { ": ".to_owned() } else { format!(": column '{path}': ") };
    Err(format!("{place}found {found}, expected {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn types(rows: &[Value], all_seen: bool) -> Vec<(String, DataType)> {
        let mut seen = Seen::default();
        rows.iter().for_each(|row| seen.take_in(row));
        seen.fields(all_seen).iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
    }

    #[test]
    fn the_more_frequent_type_wins_and_numbers_widen() {
        let rows = [json!({"b": 1, "a": "x", "n": null}), json!({"b": 2.5, "a": 7}), json!({"b": "no", "a": "y"})];
        let found = types(&rows, true);
        assert_eq!(found[0], ("a".to_owned(), DataType::Utf8));
        assert_eq!(found[1], ("b".to_owned(), DataType::Float64));
        assert_eq!(found[2], ("n".to_owned(), DataType::Null));
        assert_eq!(types(&rows, false)[2].1, DataType::Utf8);
        assert_eq!(types(&[json!({"v": [1, 2]})], true)[0].1, DataType::new_list(DataType::Int64, true));
    }

    #[test]
    fn misfits_are_named_by_path() {
        let rows = [json!({"o": {"v": [1.5]}})];
        let row_type = DataType::Struct(
            types(&rows, true).into_iter().map(|(name, data_type)| Field::new(name, data_type, true)).collect(),
        );
        let said = |row: Value| check(&row, &row_type, &mut String::new());
        assert_eq!(said(json!({"o": {"v": [1, null]}, "else": 1})), Ok(()));
        assert_eq!(
            said(json!({"o": {"v": [1, "x"]}})).unwrap_err(),
            ": column 'o.v[1]': found the text 'x', expected a number"
        );
        assert_eq!(said(json!([1])).unwrap_err(), ": found a list, expected an object");
        assert!(check(&json!(1.5), &DataType::Int64, &mut String::new()).unwrap_err().contains("whole number"));
    }
}
