//! JSON objects.

use crate::support::{Record, block, check, config, faults, outcome, read, shown, type_of};
use lightcl_kafka::format::{self, FormatConfig, FormatKind, Tombstones};
use proptest::prelude::*;

fn json(columns: &[&str]) -> FormatConfig {
    let mut config = config(FormatKind::Json, columns);
    config.exact = vec!["label".to_owned(), "id".to_owned()];
    config
}

#[test]
fn first_values_say_what_columns_hold() {
    let rows = read(
        &json(&["x", "label", "name", "flag", "v", "m", "none"]),
        &[
            r#"{"x": 1, "label": 3, "name": "a", "flag": true, "v": [1, 2.5], "m": [[1], [2]], "else": {"x": 9}}"#,
            r#"{"x": 1.5, "label": 4, "name": "b", "flag": false, "v": [], "m": [[]]}"#,
        ],
    );
    let types: Vec<String> =
        ["x", "label", "name", "flag", "v", "m", "none"].iter().map(|name| type_of(&rows, name)).collect();
    assert_eq!(types, ["Float64", "Int64", "Utf8", "Boolean", "List(Float32)", "List(List(Float32))", "Null"]);
    assert_eq!(shown(&rows, "x"), ["1.0", "1.5"]);
    assert_eq!(shown(&rows, "label"), ["3", "4"]);
    assert_eq!(shown(&rows, "v"), ["[1.0, 2.5]", "[]"]);
    assert_eq!(faults(&rows), []);
}

#[test]
fn values_that_do_not_fit_are_faults_of_their_rows_alone() {
    let rows = read(
        &json(&["x", "label", "v"]),
        &[
            r#"{"x": 1, "label": 3, "v": [1]}"#,
            r#"{"x": "5", "label": 3, "v": [2]}"#,
            r#"{"x": "NaN", "label": 1.5, "v": [3]}"#,
            r#"{"x": 2, "label": 3.0, "v": [1, [2]]}"#,
            r#"{"x": {"a": 1}, "label": "b", "v": [1, "x"]}"#,
            r#"{"x": null, "label": null}"#,
            r#"{"x": 2, "label": 5, "v": [null]}"#,
        ],
    );
    assert_eq!(
        faults(&rows),
        [
            (1, "column 'x': found the text '5', expected a number"),
            (
                2,
                "column 'x': found the text 'NaN', expected a number; column 'label': found 1.5, expected a whole number"
            ),
            (3, "column 'label': found 3, expected a whole number; column 'v[1]': found a list, expected a number"),
            (
                4,
                "column 'x': found an object, expected a number; column 'label': found the text 'b', expected a whole \
                 number; column 'v[1]': found the text 'x', expected a number"
            ),
        ]
    );
    assert_eq!(shown(&rows, "x"), ["1.0", "-", "-", "-", "-", "-", "2.0"]);
    assert_eq!(shown(&rows, "label"), ["3", "-", "-", "-", "-", "-", "5"]);
    assert_eq!(rows.faults[0].payload.as_deref(), Some(r#"{"x": "5", "label": 3, "v": [2]}"#));
}

#[test]
fn what_is_no_object_is_a_fault() {
    let values = ["", "{", "[1]", "null", "{} {}", "{\"x\": 1,}", "{\"x\": 01}", "\u{feff}{}", "{\"x\": 1"];
    let rows = read(&json(&["x"]), &values);
    assert_eq!(rows.faults.len(), values.len(), "{:?}", faults(&rows));
    assert_eq!(type_of(&rows, "x"), "Null", "what cannot be read says nothing of columns");
    let deep = format!("{{\"x\": {}", "[".repeat(100_000));
    assert_eq!(read(&json(&["x"]), &[&deep, "{\"x\": 1}"]).faults.len(), 1);
}

#[test]
fn of_fields_of_one_name_the_last_counts() {
    let rows = read(&json(&["x"]), &[r#"{"x": "a", "x": 1}"#, r#"{"x": 2, "x": "b", "x": 3}"#, r#"{"x":1,"x":[]}"#]);
    assert_eq!(shown(&rows, "x"), ["1.0", "3.0", "-"]);
    assert_eq!(faults(&rows), [(2, "column 'x': found a list, expected a number")]);
}

#[test]
fn lists_without_items_say_nothing() {
    let rows = read(&json(&["v"]), &[r#"{"v": []}"#, r#"{"v": [null]}"#, r#"{"v": [["a"]]}"#, r#"{"v": [[], null]}"#]);
    assert_eq!(type_of(&rows, "v"), "List(List(Utf8))");
    assert_eq!(shown(&rows, "v"), ["-", "-", "[[a]]", "[[], -]"]);
}

#[test]
fn given_types_win() {
    let mut config = json(&["x", "when", "at", "image", "v"]);
    let types = [("x", "float32"), ("when", "timestamp"), ("at", "timestamp_ms"), ("image", "binary")];
    config.types = types.iter().map(|(name, given)| ((*name).to_owned(), (*given).to_owned())).collect();
    config.types.insert("v".into(), "fixed_size_list<uint8, 2>".into());
    let rows = read(
        &config,
        &[
            r#"{"x": 1.5, "when": "2020-01-01T00:00:00Z", "at": 1577836800000, "image": "/9j/", "v": [1, 255]}"#,
            r#"{"x": 2, "when": "soon", "image": "?", "v": [1, 256]}"#,
            r#"{"v": [1, 2, 3]}"#,
        ],
    );
    assert_eq!(shown(&rows, "when")[0], "2020-01-01T00:00:00Z");
    assert_eq!(shown(&rows, "at")[0], "2020-01-01T00:00:00");
    assert_eq!(shown(&rows, "image")[0], "ffd8ff");
    assert_eq!(type_of(&rows, "v"), "FixedSizeList(2 x UInt8)");
    assert_eq!(rows.faults.iter().map(|fault| fault.row).collect::<Vec<_>>(), [1, 2]);
    config.types.insert("x".into(), "number".into());
    assert!(format::open(&config).err().unwrap().to_string().contains("no such type 'number'"));
}

#[test]
fn tombstones_and_long_values_follow_the_policy() {
    let mut config = json(&["x"]);
    config.most_value_bytes = 20;
    let long = format!("{{\"x\": 1{}}}", " ".repeat(20));
    let records = [Record::new("{\"x\": 1}"), Record::tombstone(), Record::new(long), Record::new("{\"x\": 2}")];
    let rows = format::open(&config).unwrap().read(&block(&records)).unwrap();
    assert_eq!(rows.records, [0, 1, 2, 3]);
    assert!(rows.faults[0].message.contains("tombstone") && rows.faults[0].payload.is_none());
    assert!(rows.faults[1].message.contains("more than the 20"), "{:?}", rows.faults);
    config.tombstones = Tombstones::Skip;
    let rows = format::open(&config).unwrap().read(&block(&records)).unwrap();
    assert_eq!((rows.records, rows.skipped, rows.faults.len()), (vec![0, 2, 3], 1, 1));
}

#[test]
fn columns_are_always_all_there() {
    let rows = format::open(&json(&["b", "a", "b"])).unwrap().read(&block(&[])).unwrap();
    let names: Vec<String> = rows.batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["b", "a"]);
    assert_eq!(rows.batch.num_rows(), 0);
    let none = read(&json(&[]), &["{}", "{\"x\": 1}"]);
    assert_eq!((none.batch.num_rows(), none.batch.num_columns()), (2, 0));
}

/// Values of all kinds, many of which do not fit those before.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i16>().prop_map(|value| value.to_string()),
        any::<u64>().prop_map(|value| value.to_string()),
        any::<f32>().prop_filter("a number", |value| value.is_finite()).prop_map(|value| value.to_string()),
        "[a-c0-9]{0,3}".prop_map(|text| format!("\"{text}\"")),
        Just("{}".to_owned()),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop::collection::vec(inner, 0..3).prop_map(|items| format!("[{}]", items.join(",")))
    })
}

fn record() -> impl Strategy<Value = Record> {
    let fields = prop::collection::vec(("[xyl]", value()), 0..4).prop_map(|fields| {
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        Record::new(format!("{{{}}}", fields.join(",")))
    });
    let fields = fields.boxed();
    prop_oneof![
        12 => fields.clone(),
        1 => Just(Record::tombstone()),
        1 => prop::collection::vec(any::<u8>(), 0..12).prop_map(Record::new),
        // Damaged: cut, or one byte changed.
        2 => (fields, any::<prop::sample::Index>(), any::<u8>(), any::<bool>()).prop_map(|(record, at, byte, cut)| {
            let mut value = record.value.unwrap();
            let at = at.index(value.len());
            if cut { value.truncate(at) } else { value[at] = byte };
            Record::new(value)
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn how_records_are_cut_into_blocks_does_not_matter(
        records in prop::collection::vec(record(), 0..24),
        cuts in prop::collection::vec((0_usize..24, any::<bool>()), 0..6),
        skip in any::<bool>(),
    ) {
        let mut config = json(&["x", "y", "l"]);
        config.exact = vec!["l".to_owned()];
        config.tombstones = if skip { Tombstones::Skip } else { Tombstones::DeadLetter };
        let mut cuts: Vec<(usize, bool)> = cuts.into_iter().map(|(at, restore)| (at.min(records.len()), restore)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(outcome(&config, &records, &[]), outcome(&config, &records, &cuts));
    }

    #[test]
    fn any_bytes_give_a_row_or_a_fault(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8)) {
        let records: Vec<Record> = values.iter().map(Record::new).collect();
        let block = block(&records);
        let rows = format::open(&json(&["x"])).unwrap().read(&block).unwrap();
        check(&rows, &block);
        prop_assert_eq!(rows.records.len(), records.len());
    }
}
