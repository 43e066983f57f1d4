//! Predictions as Avro behind the frame of the schema registry: a zero byte, the number of the schema, the body.

use crate::outbox::TopicPartition;
use lightcl_core::Prediction;

/// The schema. Its fields are those of the JSON value, in this order, under the names of `schemas/prediction.avsc`.
pub const SCHEMA: &str = r#"{"type": "record", "name": "Prediction", "namespace": "lightcl.v1",
"doc": "The score of one row, taken before the row was learnt from.", "fields": [
{"name": "source_topic", "type": "string"},
{"name": "source_partition", "type": "int"},
{"name": "source_offset", "type": "long"},
{"name": "unit", "type": "string"},
{"name": "index", "type": "long"},
{"name": "id", "type": ["null", "string"], "default": null},
{"name": "label", "type": ["null", "string"], "default": null},
{"name": "predicted", "type": ["null", "string"], "default": null},
{"name": "probability", "type": ["null", "float"], "default": null},
{"name": "task", "type": "long"},
{"name": "model_version", "type": "long"}]}"#;

/// A prediction as a value.
pub fn encode(schema_id: u32, unit: &str, source: &TopicPartition, prediction: &Prediction) -> Vec<u8> {
    let Prediction { index, position, id, label, predicted, probability, task, model_version } = prediction;
    let mut value = Vec::with_capacity(64 + source.topic.len() + unit.len());
    value.push(0);
    value.extend_from_slice(&schema_id.to_be_bytes());
    text(&mut value, &source.topic);
    long(&mut value, i64::from(source.partition));
    // Counts of rows and offsets stay far below 2^63.
    long(&mut value, position.offset as i64);
    text(&mut value, unit);
    long(&mut value, *index as i64);
    for part in [id, label, predicted] {
        optional(&mut value, part.as_deref(), text);
    }
    optional(&mut value, *probability, |value, number| value.extend_from_slice(&number.to_le_bytes()));
    long(&mut value, i64::from(*task));
    long(&mut value, *model_version as i64);
    value
}

/// A whole number: the sign in the last bit, then seven bits a byte, the lowest first.
fn long(value: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    while rest > 0x7f {
        value.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    value.push(rest as u8);
}

fn text(value: &mut Vec<u8>, text: &str) {
    long(value, text.len() as i64);
    value.extend_from_slice(text.as_bytes());
}

/// A union of null and something else: the number of the branch comes first.
fn optional<T>(value: &mut Vec<u8>, part: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
    long(value, i64::from(part.is_some()));
    if let Some(part) = part {
        write(value, part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apache_avro::types::Value;
    use apache_avro::{Schema, from_avro_datum};
    use lightcl_core::Position;

    fn prediction(number: u64) -> Prediction {
        let long_text = "é".repeat(number as usize * 50 % 300);
        let text = |bit: u64| (number >> bit & 1 == 1).then(|| format!("{long_text}{bit}"));
        Prediction {
            index: number * 1_000_003 * number,
            position: Position { partition: "t-3".into(), offset: number << (number % 60) },
            id: text(0),
            label: text(1),
            predicted: text(2),
            probability: text(1).map(|_| number as f32 / 16.0),
            task: u32::MAX - number as u32,
            model_version: number << 40,
        }
    }

    #[test]
    fn others_read_every_field() {
        let schema = Schema::parse_str(SCHEMA).unwrap();
        let source = TopicPartition { topic: "topic".into(), partition: i32::MAX };
        for number in 0..16 {
            let prediction = prediction(number);
            let value = encode(0x0102_0304, "topic-3/key", &source, &prediction);
            assert_eq!(value[..5], [0, 1, 2, 3, 4]);
            let mut body = &value[5..];
            let Value::Record(fields) = from_avro_datum(&schema, &mut body, None).unwrap() else { panic!("a record") };
            assert!(body.is_empty());
            let optional = |value: Option<Value>| match value {
                None => Value::Union(0, Box::new(Value::Null)),
                Some(value) => Value::Union(1, Box::new(value)),
            };
            let text = |text: &Option<String>| optional(text.clone().map(Value::String));
            let expected = [
                ("source_topic", Value::String("topic".into())),
                ("source_partition", Value::Int(i32::MAX)),
                ("source_offset", Value::Long(prediction.position.offset as i64)),
                ("unit", Value::String("topic-3/key".into())),
                ("index", Value::Long(prediction.index as i64)),
                ("id", text(&prediction.id)),
                ("label", text(&prediction.label)),
                ("predicted", text(&prediction.predicted)),
                ("probability", optional(prediction.probability.map(Value::Float))),
                ("task", Value::Long(i64::from(prediction.task))),
                ("model_version", Value::Long(prediction.model_version as i64)),
            ];
            assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value)));
        }
    }

    /// The file describes what stands in files and on Kafka; here is what Kafka has of it.
    #[test]
    fn the_schema_file_has_the_same_names() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/prediction.avsc");
        let file: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let ours: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
        assert_eq!((&ours["name"], &ours["namespace"]), (&file["name"], &file["namespace"]));
        let fields = |schema: &serde_json::Value| schema["fields"].as_array().unwrap().clone();
        let mut described = fields(&file);
        described.retain(|field| field["name"] != "position");
        assert_eq!(described.len(), fields(&ours).len());
        for field in fields(&ours) {
            let described = described.iter().find(|described| described["name"] == field["name"]).unwrap();
            let is_covered = described["type"] == field["type"]
                || described["type"].as_array().is_some_and(|union| union.contains(&field["type"]));
            assert!(is_covered, "{field} and {described}");
        }
    }
}
