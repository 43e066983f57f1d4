//! Columns beside values, states, and what faults show.

use crate::support::{Record, block, block_from, config, faults, shown, type_of};
use lightcl_kafka::format::{self, FormatConfig, FormatKind};

const BESIDE: [&str; 7] = [
    "kafka.key",
    "kafka.timestamp",
    "kafka.partition",
    "kafka.offset",
    "kafka.topic",
    "kafka.header.label",
    "kafka.header.weight",
];

fn beside() -> FormatConfig {
    let mut config = config(FormatKind::Json, &BESIDE);
    config.types.insert("kafka.header.weight".into(), "float64".into());
    config
}

#[test]
fn what_stands_beside_a_value_is_in_columns_too() {
    let mut first = Record::new("{}")
        .header("label", "cat")
        .header("weight", "0.5")
        .header(b"\xff\xfe", b"\xff")
        .header("label", "dog");
    first.key = Some(b"k1".to_vec());
    let second = Record::new("{}").header("weight", "heavy");
    let mut third = Record::new("{}");
    third.key = Some(vec![0xff]);
    let records = [first, second, third, Record::new("{}")];
    let rows = format::open(&beside()).unwrap().read(&block_from(40, &records)).unwrap();
    let first: Vec<String> = BESIDE.iter().map(|name| shown(&rows, name)[0].clone()).collect();
    assert_eq!(first, ["k1", "2023-11-14T22:13:20.040Z", "3", "40", "samples", "dog", "0.5"]);
    assert_eq!(shown(&rows, "kafka.offset"), ["40", "-", "-", "43"]);
    assert_eq!(type_of(&rows, "kafka.timestamp"), "Timestamp(µs, \"+00:00\")");
    assert_eq!(
        faults(&rows),
        [
            (1, "column 'kafka.header.weight': found 'heavy' of type Utf8, expected a number"),
            (2, "column 'kafka.key': found bytes that are no UTF-8, expected text"),
        ]
    );
    let mut bytes = config(FormatKind::Json, &["kafka.key"]);
    bytes.types.insert("kafka.key".into(), "binary".into());
    let rows = format::open(&bytes).unwrap().read(&block(&records)).unwrap();
    assert_eq!(shown(&rows, "kafka.key"), ["6b31", "-", "ff", "-"]);
    let none = format::open(&config(FormatKind::Json, &["x"])).unwrap().read(&block(&records)).unwrap();
    assert_eq!(faults(&none), [], "keys that are no text hurt only those that ask for them");
    assert!(format::open(&config(FormatKind::Json, &["kafka.keys"])).is_err());
}

#[test]
fn a_state_is_that_of_its_columns() {
    let config = config(FormatKind::Json, &["x", "v"]);
    let mut reader = format::open(&config).unwrap();
    let empty = reader.save().unwrap();
    reader.read(&block(&[Record::new(r#"{"x": "a", "v": [1]}"#)])).unwrap();
    let state = reader.save().unwrap();
    assert_ne!(empty, state);
    reader.restore(&empty).unwrap();
    assert_eq!(reader.save().unwrap(), empty);
    for end in 0..state.len() {
        assert!(reader.restore(&state[..end]).is_err());
    }
    assert_eq!(reader.save().unwrap(), empty, "a state that is damaged changes nothing");
    reader.restore(&state).unwrap();
    let rows = reader.read(&block(&[Record::new(r#"{"x": 1}"#)])).unwrap();
    assert_eq!(faults(&rows), [(0, "column 'x': found 1, expected text")]);
    assert_eq!(type_of(&rows, "v"), "List(Float32)");
}

#[test]
fn payloads_are_text_or_digits_and_never_long() {
    let records = [
        Record::new(b"\x00\x1b\x00\x48"),
        Record::new("é".repeat(100_000)),
        Record::new([b"{".as_slice(), &[0xff; 5_000]].concat()),
    ];
    let rows = format::open(&config(FormatKind::Json, &["x"])).unwrap().read(&block(&records)).unwrap();
    let payloads: Vec<&str> = rows.faults.iter().map(|fault| fault.payload.as_deref().unwrap()).collect();
    assert_eq!(payloads[0], "\u{0}\u{1b}\u{0}H");
    assert!(payloads[1].starts_with("ééé") && payloads[1].ends_with("é.. (200000 bytes)"));
    assert!(payloads[2].starts_with("0x7bffff") && payloads[2].ends_with(".. (5001 bytes)"));
    assert!(payloads.iter().all(|payload| payload.len() < 70_000));
}
