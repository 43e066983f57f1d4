//! Avro behind a schema registry's frame. Bodies are written by another implementation.

use crate::registry::FakeRegistry;
use crate::support::{Record, block, check, config, faults, outcome, shown, type_of};
use apache_avro::types::Value as Avro;
use apache_avro::{Schema, to_avro_datum};
use lightcl_kafka::SecretSource;
use lightcl_kafka::format::{self, FormatConfig, FormatKind, Rows};
use proptest::prelude::*;
use serde_json::json;

const POINT: &str = r#"{"type": "record", "name": "Point", "namespace": "a.b", "fields": [
    {"name": "x", "type": "double"},
    {"name": "v", "type": {"type": "array", "items": "float"}},
    {"name": "label", "type": ["null", "int"], "default": null},
    {"name": "note", "type": "string"}]}"#;

fn avro(registry: &FakeRegistry, columns: &[&str]) -> FormatConfig {
    let mut config = config(FormatKind::Avro, columns);
    config.registry = Some(registry.address.clone());
    config
}

fn framed(id: u32, body: &[u8]) -> Record {
    Record::new([&[0], id.to_be_bytes().as_slice(), body].concat())
}

fn body(schema: &str, fields: Vec<(&str, Avro)>) -> Vec<u8> {
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    to_avro_datum(&Schema::parse_str(schema).unwrap(), Avro::Record(fields)).unwrap()
}

fn maybe(value: Option<Avro>) -> Avro {
    match value {
        Some(value) => Avro::Union(1, Box::new(value)),
        None => Avro::Union(0, Box::new(Avro::Null)),
    }
}

fn point(x: f64, label: Option<i32>) -> Vec<u8> {
    let list = Avro::Array(vec![Avro::Float(x as f32), Avro::Float(0.5)]);
    let label = maybe(label.map(Avro::Int));
    body(POINT, vec![("x", Avro::Double(x)), ("v", list), ("label", label), ("note", Avro::String("é".into()))])
}

fn read(config: &FormatConfig, records: &[Record]) -> Rows {
    let block = block(records);
    let rows = format::open(config).unwrap().read(&block).unwrap();
    check(&rows, &block);
    rows
}

#[test]
fn values_are_read_with_the_schema_of_their_writer() {
    let registry = FakeRegistry::start();
    registry.schema(7, POINT);
    // Renamed, lost, gained, and other numbers.
    let next = r#"{"type": "record", "name": "Point", "fields": [
        {"name": "gained", "type": {"type": "map", "values": "long"}},
        {"name": "abscissa", "aliases": ["x"], "type": "int"},
        {"name": "label", "type": "long"},
        {"name": "v", "type": {"type": "array", "items": "double"}}]}"#;
    registry.schema(8, next);
    let second = body(
        next,
        vec![
            ("gained", Avro::Map([("k".to_owned(), Avro::Long(1))].into())),
            ("abscissa", Avro::Int(4)),
            ("label", Avro::Long(1 << 40)),
            ("v", Avro::Array(vec![Avro::Double(9.0)])),
        ],
    );
    let records = [framed(7, &point(1.5, Some(3))), framed(8, &second), framed(7, &point(2.5, None))];
    let rows = read(&avro(&registry, &["x", "v", "label", "note"]), &records);
    assert_eq!(shown(&rows, "x"), ["1.5", "-", "2.5"]);
    assert_eq!(faults(&rows), [(1, "column 'label': found '1099511627776' of type Int64, expected a whole number")]);
    let rows = read(&avro(&registry, &["x", "v", "note"]), &records);
    assert_eq!(shown(&rows, "x"), ["1.5", "4.0", "2.5"]);
    assert_eq!(shown(&rows, "v"), ["[1.5, 0.5]", "[9.0]", "[2.5, 0.5]"]);
    assert_eq!(shown(&rows, "note"), ["é", "-", "é"]);
    assert_eq!((type_of(&rows, "v"), faults(&rows)), ("List(Float32)".to_owned(), vec![]));
    assert_eq!(registry.requests.lock().unwrap().len(), 4, "each reader asks for each schema once");
    assert_eq!(read(&avro(&registry, &["nothing"]), &records).batch.num_rows(), 3);
}

#[test]
fn types_of_all_kinds_are_columns() {
    let schema = json!({"type": "record", "name": "All", "fields": [
        {"name": "image", "type": "bytes"},
        {"name": "fixed", "type": {"type": "fixed", "name": "F", "size": 2}},
        {"name": "kind", "type": {"type": "enum", "name": "E", "symbols": ["cat", "dog"]}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "flag", "type": ["boolean", "null"]},
        {"name": "either", "type": ["null", "int", "double"]},
        {"name": "mixed", "type": ["null", "int", "string"]},
        {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "rows", "type": {"type": "array", "items": {"type": "array", "items": "int"}}},
        {"name": "inner", "type": {"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]}}]})
    .to_string();
    let registry = FakeRegistry::start();
    registry.schema(1, &schema);
    let uuid = "936da01f-9abd-4d9d-80c7-02af85c822a8";
    let row = |kind: u32, either: Avro| {
        let fields = vec![
            ("image", Avro::Bytes(vec![0xff, 0xd8])),
            ("fixed", Avro::Fixed(2, vec![1, 2])),
            ("kind", Avro::Enum(kind, if kind == 0 { "cat" } else { "dog" }.into())),
            ("at", Avro::TimestampMillis(1_577_836_800_000)),
            ("flag", Avro::Union(0, Box::new(Avro::Boolean(true)))),
            ("either", either),
            ("mixed", Avro::Union(2, Box::new(Avro::String("x".into())))),
            ("id", Avro::Uuid(uuid.parse().unwrap())),
            ("rows", Avro::Array(vec![Avro::Array(vec![Avro::Int(1), Avro::Int(2)])])),
            ("inner", Avro::Record(vec![("a".into(), Avro::Int(1))])),
        ];
        framed(1, &body(&schema, fields))
    };
    let records = [
        row(0, Avro::Union(1, Box::new(Avro::Int(7)))),
        row(1, Avro::Union(2, Box::new(Avro::Double(0.5)))),
        row(1, Avro::Union(0, Box::new(Avro::Null))),
    ];
    let names = ["image", "fixed", "kind", "at", "flag", "either", "id", "rows"];
    let rows = read(&avro(&registry, &names), &records);
    assert_eq!(faults(&rows), []);
    let types: Vec<String> = names.iter().map(|name| type_of(&rows, name)).collect();
    let time = "Timestamp(ms, \"+00:00\")";
    assert_eq!(types, ["Binary", "Binary", "Utf8", time, "Boolean", "Float64", "Utf8", "List(List(Int32))"]);
    assert_eq!(shown(&rows, "kind"), ["cat", "dog", "dog"]);
    assert_eq!(shown(&rows, "either"), ["7.0", "0.5", "-"]);
    assert_eq!(shown(&rows, "id")[0], uuid);
    let all = read(&avro(&registry, &[&names[..], &["mixed", "inner"]].concat()), &records);
    assert_eq!(all.faults.len(), 3);
    assert!(all.faults[0].message.contains("column 'inner': found"), "{:?}", all.faults);
}

#[test]
fn damaged_values_are_faults_of_their_rows_alone() {
    let registry = FakeRegistry::start();
    registry.schema(1, POINT);
    let good = |x: f64| framed(1, &point(x, Some(1)));
    let whole = point(9.0, None);
    let records = [
        good(1.0),
        framed(1, &[]),
        framed(1, &whole[..whole.len() - 1]),
        good(2.0),
        framed(1, &[whole.as_slice(), &[0]].concat()),
        // What follows the body looks like the beginning of another value, or is one.
        framed(1, &[whole.as_slice(), &[0, 0, 0, 0, 1]].concat()),
        framed(1, &[whole.as_slice(), &[0, 0, 0, 0, 1], whole.as_slice()].concat()),
        good(3.0),
        Record::new([2, 0, 0, 0, 1]),
        Record::new([0, 0, 0]),
        Record::new([]),
        Record::tombstone(),
        framed(1, &{
            // Text that is no UTF-8 is found only when all is read.
            let mut body = whole.clone();
            let last = body.len() - 1;
            body[last] = 0xff;
            body
        }),
        good(4.0),
    ];
    let rows = read(&avro(&registry, &["x", "note"]), &records);
    let bad: Vec<usize> = rows.faults.iter().map(|fault| fault.row).collect();
    assert_eq!(bad, [1, 2, 4, 5, 6, 8, 9, 10, 11, 12], "{:?}", faults(&rows));
    assert_eq!(rows.faults[0].message, "the value ends within its body");
    assert_eq!(rows.faults[3].message, "the value has more bytes than its schema says");
    assert!(rows.faults[9].payload.as_deref().unwrap().starts_with("0x0000000001"));
    assert_eq!([0, 3, 7, 13].map(|row| shown(&rows, "x")[row].clone()), ["1.0", "2.0", "3.0", "4.0"]);
    // A body may end with these bytes and be whole.
    let schema = r#"{"type": "record", "name": "B", "fields": [{"name": "b", "type": "bytes"}]}"#;
    registry.schema(2, schema);
    let value = framed(2, &body(schema, vec![("b", Avro::Bytes(vec![0, 0, 0, 0, 2]))]));
    let rows = read(&avro(&registry, &["b"]), &[value.clone(), value]);
    assert_eq!((shown(&rows, "b"), faults(&rows)), (vec!["0000000002".to_owned(); 2], vec![]));
}

#[test]
fn schemas_that_are_not_there_or_of_no_use_are_faults() {
    let registry = FakeRegistry::start();
    registry.schema(1, POINT);
    registry.schema(2, "\"string\"");
    registry.schema(3, "{");
    registry.answer("/schemas/ids/4", 200, r#"{"schemaType": "PROTOBUF", "schema": "syntax = \"proto3\";"}"#);
    let guid = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    let by_guid = "/schemas/guids/00010203-0405-0607-0809-0a0b0c0d0e0f";
    let guid_record = Record::new([&[1], guid.as_slice(), &point(5.0, None)].concat());
    registry.answer(by_guid, 404, "no such page");
    let config = avro(&registry, &["x"]);
    let good = framed(1, &point(1.0, None));
    let records = [
        good.clone(),
        framed(9, &[]),
        framed(2, &[2, 97]),
        framed(3, &[]),
        framed(4, &[]),
        guid_record.clone(),
        Record::new([1, 2, 3]),
        good,
    ];
    let mut reader = format::open(&config).unwrap();
    let rows = reader.read(&block(&records)).unwrap();
    assert_eq!(
        faults(&rows),
        [
            (1, "the schema registry has no schema 9"),
            (2, "schema 2 cannot be read: its values are no records"),
            (3, "the schema registry gives no valid schema 3"),
            (4, "schema 4 is not of Avro but of PROTOBUF"),
            (
                5,
                "the schema registry does not find schemas by GUID, as that of the value is \
                 (00010203-0405-0607-0809-0a0b0c0d0e0f)"
            ),
            (6, "the value ends within its frame"),
        ]
    );
    // What was not there may come.
    registry.schema(9, POINT);
    registry.answer(by_guid, 200, json!({ "schema": POINT }).to_string());
    let rows = reader.read(&block(&[framed(9, &point(2.0, None)), guid_record])).unwrap();
    assert_eq!((shown(&rows, "x"), faults(&rows)), (vec!["2.0".to_owned(), "5.0".to_owned()], vec![]));
}

#[test]
fn a_registry_that_does_not_answer_stops_reading_until_it_does() {
    let registry = FakeRegistry::start();
    registry.schema(1, POINT);
    registry.answer("/schemas/ids/2", 503, "");
    let mut config = avro(&registry, &["x"]);
    config.registry = Some(registry.address.replace("http://", "http://me:se%3Acret@"));
    let mut reader = format::open(&config).unwrap();
    let block = block(&[framed(1, &point(1.0, None)), framed(2, &point(2.0, None))]);
    let before = reader.save().unwrap();
    let error = reader.read(&block).unwrap_err();
    assert!(error.is_retryable() && error.kind() == lightcl_core::ErrorKind::External, "{error}");
    assert!(error.to_string().contains(&format!("{}/schemas/ids/2", registry.address)), "{error}");
    assert!(!format!("{error} {error:?} {config:?}").contains("cret"));
    assert_eq!(reader.save().unwrap(), before);
    registry.schema(2, POINT);
    assert_eq!(shown(&reader.read(&block).unwrap(), "x"), ["1.0", "2.0"]);
    // me:se:cret
    assert_eq!(registry.requests.lock().unwrap()[0].1.as_deref(), Some("Basic bWU6c2U6Y3JldA=="));

    registry.answer("/schemas/ids/3", 401, "");
    registry.answer("/schemas/ids/4", 404, "<html>no such page</html>");
    let third = crate::support::block(&[framed(3, &[])]);
    let error = reader.read(&third).unwrap_err();
    assert!(!error.is_retryable() && error.to_string().contains("credentials"), "{error}");
    let error = reader.read(&crate::support::block(&[framed(4, &[])])).unwrap_err();
    assert!(error.to_string().contains("no address of a schema registry"), "{error}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "pw\n").unwrap();
    config.registry = Some("http://127.0.0.1:1".into());
    config.registry_auth = Some(("you".into(), SecretSource::File(file)));
    let error = format::open(&config).unwrap().read(&block).unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("http://127.0.0.1:1/schemas/ids/1"), "{error}");
    config.registry = Some(registry.address.clone());
    format::open(&config).unwrap().read(&block).unwrap();
    assert_eq!(registry.requests.lock().unwrap().last().unwrap().1.as_deref(), Some("Basic eW91OnB3"));
    config.registry = None;
    assert!(format::open(&config).is_err());
}

#[test]
fn schemas_may_refer_to_others() {
    let registry = FakeRegistry::start();
    let outer = r#"{"type": "record", "name": "Outer", "namespace": "a", "fields": [
        {"name": "kind", "type": "b.Kind"}, {"name": "again", "type": ["null", "b.Kind"]}, {"name": "x", "type": "Num"}]}"#;
    let kind = r#"{"type": "enum", "name": "Kind", "namespace": "b", "symbols": ["p", "q"]}"#;
    let number = r#"{"type": "fixed", "name": "Num", "namespace": "a", "size": 1}"#;
    registry.answer(
        "/schemas/ids/1",
        200,
        json!({"schema": outer, "references": [
            {"name": "b.Kind", "subject": "kinds/b", "version": 3}, {"name": "a.Num", "subject": "num", "version": 1}]})
        .to_string(),
    );
    registry.answer("/subjects/kinds%2Fb/versions/3", 200, json!({ "schema": kind }).to_string());
    let record = framed(1, &[0, 2, 2, 9]);
    let rows = read(&avro(&registry, &["kind", "again", "x"]), std::slice::from_ref(&record));
    assert_eq!(faults(&rows), [(0, "schema 1 cannot be used: it refers to 'a.Num', which the schema registry lacks")]);
    registry.answer("/subjects/num/versions/1", 200, json!({ "schema": number }).to_string());
    let rows = read(&avro(&registry, &["kind", "again", "x"]), &[record]);
    assert_eq!(faults(&rows), []);
    assert_eq!((shown(&rows, "kind"), shown(&rows, "again")), (vec!["p".to_owned()], vec!["q".to_owned()]));
}

#[derive(Debug, Clone)]
enum Change {
    None,
    Cut,
    Byte(u8),
    More(u8),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => Just(Change::None),
        1 => Just(Change::Cut),
        2 => any::<u8>().prop_map(Change::Byte),
        1 => any::<u8>().prop_map(Change::More),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn how_records_are_cut_into_blocks_does_not_matter(
        values in prop::collection::vec(
            (0_u32..4, any::<i16>(), any::<Option<i32>>(), change(), any::<prop::sample::Index>()), 0..20),
        cuts in prop::collection::vec((0_usize..20, any::<bool>()), 0..5),
    ) {
        use std::sync::LazyLock;
        const OTHER: &str = r#"{"type": "record", "name": "O", "fields": [
            {"name": "label", "type": ["null", "string", "long"]},
            {"name": "v", "type": {"type": "array", "items": ["null", "int"]}},
            {"name": "x", "type": ["null", "float"]}]}"#;
        static REGISTRY: LazyLock<FakeRegistry> = LazyLock::new(|| {
            let registry = FakeRegistry::start();
            registry.schema(1, POINT);
            registry.schema(2, OTHER);
            registry
        });
        let records: Vec<Record> = values.into_iter().map(|(kind, x, label, change, at)| {
            let mut record = match kind {
                0 => return Record::tombstone(),
                1 => framed(1, &point(f64::from(x), label)),
                2 => framed(2, &body(OTHER, vec![
                    ("label", maybe(label.map(|label| Avro::String(label.to_string())))),
                    ("v", Avro::Array(vec![maybe(label.map(Avro::Int)); usize::from(x.unsigned_abs() % 3)])),
                    ("x", maybe(Some(Avro::Float(f32::from(x))))),
                ])),
                _ => framed(3, &[]),
            };
            let value = record.value.as_mut().unwrap();
            let at = at.index(value.len());
            match change {
                Change::None => {}
                Change::Cut => value.truncate(at),
                // Not in the frame: other numbers would be asked for.
                Change::Byte(byte) => {
                    if let Some(place) = value.get_mut(at.max(5)) {
                        *place = byte;
                    }
                }
                Change::More(byte) => value.push(byte),
            }
            record
        }).collect();
        let mut cuts: Vec<(usize, bool)> = cuts.into_iter().map(|(at, restore)| (at.min(records.len()), restore)).collect();
        cuts.sort_unstable();
        let config = avro(&REGISTRY, &["x", "v", "label", "note"]);
        prop_assert_eq!(outcome(&config, &records, &[]), outcome(&config, &records, &cuts));
    }
}
