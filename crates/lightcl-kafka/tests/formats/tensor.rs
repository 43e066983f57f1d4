//! Tensors as bytes, with headers.

use crate::support::{Record, block, check, config, faults, outcome, shown, type_of};
use lightcl_kafka::format::{self, FormatConfig, FormatKind, Rows};
use proptest::prelude::*;

fn tensors(columns: &[&str]) -> FormatConfig {
    let mut config = config(FormatKind::Tensor, columns);
    config.exact = vec!["label".to_owned()];
    config
}

fn floats(values: &[f32]) -> Record {
    Record::new(values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
}

fn read(config: &FormatConfig, records: &[Record]) -> Rows {
    let block = block(records);
    let rows = format::open(config).unwrap().read(&block).unwrap();
    check(&rows, &block);
    rows
}

#[test]
fn headers_say_what_bytes_are() {
    let records = [
        floats(&[1.0, 2.0, 3.0, 4.0]).header("shape", "2,2").header("label", "3"),
        floats(&[1.0, 2.0, 3.0, 4.0]).header("shape", "4,1").header("label", "4"),
        floats(&[1.0, 2.0, 3.0]).header("label", "5"),
        Record::new([1, 2, 3, 4]).header("dtype", "u8").header("shape", "(2, 2)").header("label", "6"),
        floats(&[5.0, 6.0, 7.0, 8.0]).header("shape", "2,2").header("label", "x"),
        floats(&[5.0, 6.0, 7.0, 8.0]).header("shape", "2,2").header("label", b"\xff"),
        floats(&[5.0]).header("dtype", "complex"),
        floats(&[5.0]).header("shape", "2"),
        floats(&[5.0]).header("dtype", "f64"),
        Record::new([]),
        floats(&[5.0, 6.0, 7.0, 8.0]).header("shape", "2,2").header(b"\xff\xfe", "x").header("weight", "0.5"),
    ];
    let rows = read(&tensors(&["tensor", "label", "weight"]), &records);
    assert_eq!(type_of(&rows, "tensor"), "FixedSizeList(4 x Float32)");
    assert_eq!(rows.batch.schema().field(0).extension_type_metadata(), Some(r#"{"shape":[2, 2]}"#));
    let expected = ["[1.0, 2.0, 3.0, 4.0]", "-", "-", "[1.0, 2.0, 3.0, 4.0]"];
    assert_eq!(shown(&rows, "tensor")[..4], expected);
    assert_eq!(shown(&rows, "label"), ["3", "-", "-", "6", "-", "-", "-", "-", "-", "-", "-"]);
    assert_eq!(shown(&rows, "weight")[10], "0.5");
    let bad: Vec<usize> = rows.faults.iter().map(|fault| fault.row).collect();
    assert_eq!(bad, [1, 2, 4, 5, 6, 7, 8, 9]);
    assert!(
        rows.faults[4].message.starts_with("header 'dtype': found 'complex', expected one of f16"),
        "{:?}",
        faults(&rows)
    );
    assert_eq!(rows.faults[5].message, "the value has 1 numbers, its shape 2");
}

#[test]
fn a_given_type_allows_tensors_of_any_length() {
    let mut config = tensors(&["tensor"]);
    config.types.insert("tensor".into(), "list<float32>".into());
    let rows =
        read(&config, &[floats(&[1.0]), Record::new([7, 0, 8, 0]).header("dtype", "i16"), floats(&[2.0, 3.0, 4.0])]);
    assert_eq!((shown(&rows, "tensor")[1].as_str(), faults(&rows)), ("[7.0, 8.0]", vec![]));
    let rows = read(&tensors(&["label"]), &[floats(&[1.0]).header("label", "1"), Record::new([1])]);
    assert_eq!((shown(&rows, "label"), rows.faults.len()), (vec!["1".to_owned(), "-".to_owned()], 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn how_records_are_cut_into_blocks_does_not_matter(
        values in prop::collection::vec((
            prop::collection::vec(any::<u8>(), 0..17),
            "(f32|f64|u8|f16|bf16|i64|x)",
            "(4|2,2|1|0|,|)",
            "(1|2\\.5|a|)",
        ), 0..16),
        cuts in prop::collection::vec((0_usize..16, any::<bool>()), 0..4),
    ) {
        let records: Vec<Record> = values.into_iter().map(|(bytes, kind, shape, label)| {
            let record = Record::new(bytes).header("dtype", kind).header("label", &label).header("weight", &label);
            if shape.is_empty() { record } else { record.header("shape", shape) }
        }).collect();
        let mut cuts: Vec<(usize, bool)> = cuts.into_iter().map(|(at, restore)| (at.min(records.len()), restore)).collect();
        cuts.sort_unstable();
        let config = tensors(&["tensor", "label", "weight", "dtype"]);
        prop_assert_eq!(outcome(&config, &records, &[]), outcome(&config, &records, &cuts));
    }
}
