//! What the sink writes fits the schemas in `schemas/`.
//!
//! The two checkers below know the part of JSON Schema and Avro that our schemas use and refuse everything else. Crates that
//! know all of it would switch on features in shared dependencies and so make tests build everything a second time.

use super::test_outputs::{boundary, letter, outputs, prediction, report, snapshot};
use super::{BOUNDARIES, DEAD_LETTERS, FolderOptions, FolderSink, MANIFEST, PREDICTIONS, SNAPSHOT_FOLDER, STABILITY};
use crate::config::settings::PredictionFormat;
use lightcl_core::{Commit, Output, Positions, RejectReason, Samples, Sink};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn schemas() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas")
}

fn read(name: &str) -> Value {
    serde_json::from_slice(&fs::read(schemas().join(name)).unwrap()).unwrap()
}

/// Checks a value against a JSON Schema; gives the first place that does not fit.
fn fits_json_schema(schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{place}: {what}: {value}"));
    let number = |limit: &Value, holds: fn(f64, f64) -> bool| {
        value.as_f64().is_none_or(|value| holds(value, limit.as_f64().unwrap()))
    };
    for (keyword, rule) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "$schema" | "$id" | "title" | "description" => {}
            "const" if value != rule => return wrong("not the constant"),
            "enum" if !rule.as_array().unwrap().contains(value) => return wrong("not one of the list"),
            "const" | "enum" => {}
            "type" => {
                let is = |name: &str| match name {
                    "null" => value.is_null(),
                    "string" => value.is_string(),
                    "number" => value.is_number(),
                    "integer" => value.is_u64() || value.is_i64(),
                    "array" => value.is_array(),
                    "boolean" => value.is_boolean(),
                    "object" => value.is_object(),
                    other => panic!("no such type: {other}"),
                };
                let fits = match rule {
                    Value::Array(names) => names.iter().any(|name| is(name.as_str().unwrap())),
                    name => is(name.as_str().unwrap()),
                };
                if !fits {
                    return wrong(&format!("not of type {rule}"));
                }
            }
            "minimum" if !number(rule, |value, limit| value >= limit) => return wrong("too small"),
            "maximum" if !number(rule, |value, limit| value <= limit) => return wrong("too large"),
            "minimum" | "maximum" => {}
            "minItems" => {
                if value.as_array().is_some_and(|items| (items.len() as u64) < rule.as_u64().unwrap()) {
                    return wrong("too few items");
                }
            }
            "pattern" => {
                assert_eq!(rule, "^[0-9a-f]{64}$", "another pattern needs another check");
                let is_hash = |text: &str| text.len() == 64 && text.bytes().all(|b| b"0123456789abcdef".contains(&b));
                if !value.as_str().is_none_or(is_hash) {
                    return wrong("no hash");
                }
            }
            "required" => {
                for name in rule.as_array().unwrap() {
                    if value.as_object().is_some_and(|object| !object.contains_key(name.as_str().unwrap())) {
                        return wrong(&format!("lacks {name}"));
                    }
                }
            }
            "properties" => {
                for (name, inner) in value.as_object().into_iter().flatten() {
                    if let Some(schema) = rule.get(name) {
                        fits_json_schema(schema, inner, &format!("{place}.{name}"))?;
                    }
                }
            }
            "additionalProperties" => {
                let known = schema["properties"].as_object();
                for (name, inner) in value.as_object().into_iter().flatten() {
                    if known.is_some_and(|known| known.contains_key(name)) {
                        continue;
                    }
                    match rule {
                        Value::Bool(false) => return wrong(&format!("has {name}")),
                        schema => fits_json_schema(schema, inner, &format!("{place}.{name}"))?,
                    }
                }
            }
            "anyOf" => {
                let fits = |schema: &&Value| fits_json_schema(schema, value, place).is_ok();
                if !rule.as_array().unwrap().iter().any(|schema| fits(&schema)) {
                    return wrong("none of the forms");
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    fits_json_schema(rule, item, &format!("{place}[{index}]"))?;
                }
            }
            other => panic!("the checker does not know {other}"),
        }
    }
    Ok(())
}

/// Checks a JSON value against an Avro schema; `names` holds the types defined so far.
fn fits_avro(schema: &Value, value: &Value, place: &str, names: &mut BTreeMap<String, Value>) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{place}: not {what}: {value}"));
    match schema {
        Value::Array(union) => {
            let branches: Vec<_> = union.iter().map(|one| fits_avro(one, value, place, names)).collect();
            if branches.iter().any(Result::is_ok) { Ok(()) } else { branches.into_iter().last().unwrap() }
        }
        Value::String(name) => match name.as_str() {
            "null" if value.is_null() => Ok(()),
            "string" if value.is_string() => Ok(()),
            "boolean" if value.is_boolean() => Ok(()),
            "int" if value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()) => Ok(()),
            "long" if value.is_i64() => Ok(()),
            "float" | "double" if value.is_number() => Ok(()),
            "null" | "string" | "boolean" | "int" | "long" | "float" | "double" => wrong(name),
            defined => {
                let schema = names.get(defined).unwrap_or_else(|| panic!("{defined} is not defined")).clone();
                fits_avro(&schema, value, place, names)
            }
        },
        Value::Object(definition) => {
            let name = definition.get("name").and_then(Value::as_str);
            if let Some(name) = name {
                names.insert(name.to_owned(), schema.clone());
            }
            match definition["type"].as_str().unwrap() {
                "record" => {
                    let Some(object) = value.as_object() else { return wrong("a record") };
                    let fields = definition["fields"].as_array().unwrap();
                    for field in fields {
                        let name = field["name"].as_str().unwrap();
                        assert!(!field["doc"].as_str().unwrap().is_empty());
                        let Some(inner) = object.get(name) else {
                            // In JSON an optional list may be left out, and so may what only Kafka knows.
                            let of_kafka = (name.starts_with("source_") || name == "unit")
                                && field.get("default") == Some(&Value::Null);
                            if of_kafka || field.get("default") == Some(&json!([])) {
                                continue;
                            }
                            return Err(format!("{place}: lacks {name}"));
                        };
                        fits_avro(&field["type"], inner, &format!("{place}.{name}"), names)?;
                    }
                    match object.keys().find(|key| fields.iter().all(|field| field["name"] != **key)) {
                        Some(key) => Err(format!("{place}: has {key}")),
                        None => Ok(()),
                    }
                }
                "enum" if definition["symbols"].as_array().unwrap().contains(value) => Ok(()),
                "enum" => wrong("one of the symbols"),
                "array" => {
                    let Some(items) = value.as_array() else { return wrong("an array") };
                    let mut items = items.iter();
                    items.try_for_each(|item| fits_avro(&definition["items"], item, place, names))
                }
                "map" => {
                    let Some(object) = value.as_object() else { return wrong("a map") };
                    let mut values = object.values();
                    values.try_for_each(|inner| fits_avro(&definition["values"], inner, place, names))
                }
                primitive => fits_avro(&primitive.into(), value, place, names),
            }
        }
        _ => panic!("no Avro schema: {schema}"),
    }
}

fn both_fit(name: &str, value: &Value) -> Result<(), String> {
    fits_json_schema(&read(&format!("{name}.schema.json")), value, name)?;
    let mut value = value.clone();
    if name == "snapshot" {
        // What depends on the learner is JSON text in Avro.
        for key in ["learner", "encoder"] {
            value[key] = value[key].to_string().into();
        }
    }
    fits_avro(&read(&format!("{name}.avsc")), &value, name, &mut BTreeMap::new())
}

/// Every message in a folder, with the name of its schema.
fn written(outputs: &[Output]) -> Vec<(&'static str, Value)> {
    let place = tempfile::tempdir().unwrap();
    let options = FolderOptions { predictions: PredictionFormat::Jsonl, ..FolderOptions::default() };
    let mut sink = FolderSink::open(place.path(), options).unwrap();
    sink.recover().unwrap();
    sink.write(outputs).unwrap();
    sink.commit(&Commit { epoch: 1, positions: Positions::default(), state: Vec::new() }).unwrap();
    let mut found = Vec::new();
    let files = [
        (BOUNDARIES, "boundary"),
        (STABILITY, "stability"),
        (DEAD_LETTERS, "dead-letter"),
        (PREDICTIONS, "prediction"),
    ];
    for (file, schema) in files {
        for line in fs::read_to_string(place.path().join(file)).unwrap_or_default().lines() {
            found.push((schema, serde_json::from_str(line).unwrap()));
        }
    }
    for entry in fs::read_dir(place.path().join(SNAPSHOT_FOLDER)).into_iter().flatten() {
        if let Ok(text) = fs::read(entry.unwrap().path().join(MANIFEST)) {
            found.push(("snapshot", serde_json::from_slice(&text).unwrap()));
        }
    }
    found
}

#[test]
fn everything_that_is_written_fits_both_schemas() {
    let mut all = outputs(1);
    all.extend([prediction(0), boundary(5), report(6), snapshot(2), snapshot(3)]);
    for reason in [
        RejectReason::Unreadable,
        RejectReason::NonFiniteFeature,
        RejectReason::NullFeature,
        RejectReason::WrongLength,
        RejectReason::ImageUndecodable,
        RejectReason::ImageSize,
        RejectReason::NullLabel,
        RejectReason::LabelType,
        RejectReason::LabelOutOfRange,
        RejectReason::TooManyClasses,
        RejectReason::BadWeight,
        RejectReason::Diverged,
    ] {
        let Output::Rejected(mut rejected) = letter(3) else { panic!("a dead letter") };
        rejected.reason = reason;
        rejected.column = Some("x".to_owned());
        all.push(Output::Rejected(rejected));
    }
    let found = written(&all);
    assert_eq!(found.len(), all.len());
    for (schema, value) in found {
        both_fit(schema, &value).unwrap();
    }
    let mut samples = Samples::from_rows(&[2], &[(vec![0.5, -1.0], 0), (vec![1.0, 2.0], 1)]);
    samples.meta[0].id = Some("first".to_owned());
    samples.meta[0].event_time = Some(-5);
    both_fit("sample", &serde_json::to_value(samples).unwrap()).unwrap();
}

#[test]
fn every_field_is_in_both_schemas_and_missing_or_added_ones_are_refused() {
    for (schema, value) in written(&outputs(1)) {
        let object: Map<String, Value> = value.as_object().unwrap().clone();
        for key in object.keys() {
            let mut less = object.clone();
            less.remove(key);
            let less = Value::Object(less);
            fits_json_schema(&read(&format!("{schema}.schema.json")), &less, schema).unwrap_err();
            fits_avro(&read(&format!("{schema}.avsc")), &less, schema, &mut BTreeMap::new()).unwrap_err();
        }
        let mut more = object.clone();
        more.insert("surprise".to_owned(), json!(1));
        let more = Value::Object(more);
        fits_json_schema(&read(&format!("{schema}.schema.json")), &more, schema).unwrap_err();
        fits_avro(&read(&format!("{schema}.avsc")), &more, schema, &mut BTreeMap::new()).unwrap_err();
    }
}

#[test]
fn on_kafka_messages_name_the_record_they_come_from() {
    for (schema, mut value) in written(&outputs(1)) {
        // A dead letter is the record itself there, and says it in headers; a manifest has positions.
        if matches!(schema, "dead-letter" | "snapshot") {
            continue;
        }
        value["unit"] = json!("samples-3");
        if schema != "stability" {
            value["source_topic"] = json!("samples");
            value["source_partition"] = json!(3);
            value["source_offset"] = json!(5_000_000_000_u64);
        }
        both_fit(schema, &value).unwrap();
        if schema == "prediction" {
            // There the three fields stand for the position.
            value.as_object_mut().unwrap().remove("position");
            fits_json_schema(&read("prediction.schema.json"), &value, schema).unwrap();
            value.as_object_mut().unwrap().remove("source_offset");
            fits_json_schema(&read("prediction.schema.json"), &value, schema).unwrap_err();
        }
        value["unit"] = json!(3);
        both_fit(schema, &value).unwrap_err();
    }
}

#[test]
fn what_is_wrong_is_refused() {
    let found: BTreeMap<_, _> = written(&outputs(1)).into_iter().collect();
    for (schema, pointer, wrong) in [
        ("prediction", "/index", json!(-1)),
        ("prediction", "/probability", json!(1.5)),
        ("prediction", "/position/offset", json!("3")),
        ("boundary", "/format", json!(2)),
        ("boundary", "/evidence", json!([])),
        ("boundary", "/recurring", json!(1)),
        ("stability", "/task_incremental/after", json!(["x"])),
        ("dead-letter", "/reason", json!("bad mood")),
        ("stability", "/task_incremental/rows/0", json!(["x"])),
        ("stability", "/layers/0/channels", json!(null)),
        ("snapshot", "/blobs/0/sha256", json!("abc")),
        ("snapshot", "/positions", json!({ "a": -1 })),
    ] {
        let mut value = found[schema].clone();
        *value.pointer_mut(pointer).unwrap() = wrong;
        both_fit(schema, &value).unwrap_err();
    }
}
