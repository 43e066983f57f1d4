//! CloudEvents 1.0.

use crate::support::{Record, block, check, config, faults, outcome, shown, type_of};
use lightcl_kafka::format::{self, FormatConfig, FormatKind, Rows};
use proptest::prelude::*;

fn events(columns: &[&str]) -> FormatConfig {
    let mut config = config(FormatKind::CloudEvents, columns);
    config.exact = vec!["label".to_owned()];
    config
}

fn binary(value: &str) -> Record {
    Record::new(value).header("ce_specversion", "1.0").header("ce_id", "7").header("content-type", "application/json")
}

fn structured(value: &str) -> Record {
    Record::new(value).header("content-type", "application/cloudevents+json; charset=UTF-8")
}

fn read(config: &FormatConfig, records: &[Record]) -> Rows {
    let block = block(records);
    let rows = format::open(config).unwrap().read(&block).unwrap();
    check(&rows, &block);
    rows
}

#[test]
fn attributes_and_data_are_columns_in_both_modes() {
    let records = [
        binary(r#"{"x": 1.5, "label": 3}"#).header("ce_type", "sample").header("ce_myext", "12"),
        structured(
            r#"{"specversion": "1.0", "id": "8", "type": "sample", "source": "/s", "subject": null, "myext": 12,
                "time": "2020-01-01T00:00:00Z", "data": {"x": 2, "label": 4, "id": "not this"}}"#,
        ),
        structured(r#"{"data_base64": "eyJ4IjogM30=", "specversion": "1.0", "id": 9}"#),
        structured(r#"{"data": {"x": 4}, "datacontenttype": "text/JSON", "specversion": "1.0"}"#),
    ];
    let mut config = events(&["x", "label", "ce.id", "ce.type", "ce.time", "ce.myext", "ce.subject"]);
    config.types.insert("ce.time".into(), "timestamp".into());
    let rows = read(&config, &records);
    assert_eq!(faults(&rows), []);
    assert_eq!(shown(&rows, "x"), ["1.5", "2.0", "3.0", "4.0"]);
    assert_eq!(shown(&rows, "label"), ["3", "4", "-", "-"]);
    assert_eq!(
        (shown(&rows, "ce.id"), type_of(&rows, "ce.id")),
        (["7", "8", "9", "-"].map(str::to_owned).to_vec(), "Utf8".into())
    );
    assert_eq!(shown(&rows, "ce.time")[1], "2020-01-01T00:00:00Z");
    assert_eq!(shown(&rows, "ce.myext"), ["12", "12", "-", "-"]);
    assert_eq!(shown(&rows, "ce.subject"), ["-"; 4]);
}

#[test]
fn what_is_no_event_with_json_is_a_fault() {
    let records = [
        Record::new("{}"),
        binary("{}").header("content-type", "text/plain"),
        binary("[1]"),
        binary("{}").header("ce_specversion", "0.3"),
        binary("{}").header("ce_id", b"\xff"),
        structured(r#"{"specversion": "1.0"}"#),
        structured(r#"{"specversion": "1.0", "data": "text"}"#),
        structured(r#"{"specversion": "1.0", "data": "text", "datacontenttype": "application/xml"}"#),
        structured(r#"{"data": {}}"#),
        structured(r#"{"specversion": "1.0", "data_base64": "?"}"#),
        structured("[]"),
        structured(r#"{"specversion": "1.0", "data": {"x": "a"}"#),
        Record::new("[]").header("content-type", "application/cloudevents-batch+json"),
        Record::new("[]").header("Content-Type", "application/cloudevents+avro"),
        structured(r#"{"specversion": "1.0", "data": [[1], {"a": 2}]}"#),
        binary(r#"{"x": 1}"#).header(b"ce_\xff", "x").header("ce_", "y"),
    ];
    let rows = read(&events(&["x", "ce.id"]), &records);
    let messages: Vec<&str> = rows.faults.iter().map(|fault| fault.message.as_str()).collect();
    assert_eq!(messages.len(), 15, "{messages:?}");
    let parts = [
        "neither a header ce_specversion",
        "is 'text/plain', expected JSON",
        "not a valid JSON object",
        "found '0.3'",
        "attribute 'id'",
        "no data",
        "no JSON object",
        "'application/xml', expected JSON",
        "no specversion",
        "base64",
        "expected an object",
        "not a valid JSON object",
        "batches",
        "application/cloudevents+avro",
        "no JSON object",
    ];
    for (message, part) in messages.iter().zip(parts) {
        assert!(message.contains(part), "{message} / {part}");
    }
    assert_eq!(shown(&rows, "x")[15], "1.0", "what could not be read says nothing of columns");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn how_records_are_cut_into_blocks_does_not_matter(
        values in prop::collection::vec((
            "\\{(\"(x|specversion|data|id|data_base64)\":(1|\"1.0\"|\"e30=\"|null|\\{(\"x\":(1|\"a\"|\\[1\\]))?\\}|\\[2\\])){0,1}\
             (,\"(specversion|data)\":(\"1.0\"|\\{\"x\":[12]\\})){0,2}(\\}|)",
            any::<bool>(),
            any::<bool>(),
        ), 0..16),
        cuts in prop::collection::vec((0_usize..16, any::<bool>()), 0..4),
    ) {
        let records: Vec<Record> = values.iter().map(|(value, mode, label)| {
            let record = if *mode { binary(value) } else { structured(value) };
            if *label { record.header("ce_x", "1") } else { record }
        }).collect();
        let mut cuts: Vec<(usize, bool)> = cuts.into_iter().map(|(at, restore)| (at.min(records.len()), restore)).collect();
        cuts.sort_unstable();
        let config = events(&["x", "ce.id", "ce.x"]);
        prop_assert_eq!(outcome(&config, &records, &[]), outcome(&config, &records, &cuts));
    }
}
