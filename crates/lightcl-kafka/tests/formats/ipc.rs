//! Arrow IPC streams.

use crate::support::{Record, block, check, config, faults, outcome, shown, type_of};
use arrow_array::builder::{FixedSizeListBuilder, Float32Builder};
use arrow_array::{
    ArrayRef, DictionaryArray, FixedSizeListArray, Float64Array, Int32Array, Int64Array, NullArray, RecordBatch,
    StringArray, UInt8Array, types::Int32Type,
};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::{DataType, Field, Schema};
use lightcl_kafka::format::{self, FormatConfig, FormatKind, Rows};
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;

fn ipc(columns: &[&str]) -> FormatConfig {
    config(FormatKind::Arrow, columns)
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

fn written(batches: &[RecordBatch], compression: Option<CompressionType>) -> Vec<u8> {
    let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batches[0].schema(), options).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

fn numbers(values: &[i32]) -> RecordBatch {
    let texts: StringArray = values.iter().map(|value| Some(value.to_string())).collect();
    batch(vec![("x", Arc::new(Int32Array::from(values.to_vec()))), ("name", Arc::new(texts))])
}

fn read(config: &FormatConfig, values: &[Vec<u8>]) -> Rows {
    let records: Vec<Record> = values.iter().map(Record::new).collect();
    let block = block(&records);
    let rows = format::open(config).unwrap().read(&block).unwrap();
    check(&rows, &block);
    rows
}

#[test]
fn a_record_gives_the_rows_of_all_its_batches() {
    let values = [
        written(&[numbers(&[1, 2]), numbers(&[]), numbers(&[3])], None),
        written(&[numbers(&[4])], Some(CompressionType::ZSTD)),
        written(&[numbers(&[])], None),
        written(&[numbers(&[5, 6])], Some(CompressionType::LZ4_FRAME)),
    ];
    let rows = read(&ipc(&["name", "x", "kafka.offset"]), &values);
    assert_eq!(rows.records, [0, 0, 0, 1, 2, 3, 3]);
    assert_eq!(shown(&rows, "x"), ["1", "2", "3", "4", "-", "5", "6"]);
    assert_eq!(shown(&rows, "kafka.offset"), ["0", "0", "0", "1", "-", "3", "3"]);
    assert_eq!(faults(&rows), [(4, "not a valid Arrow IPC stream: it has no rows")]);
}

#[test]
fn the_first_type_stays_and_others_are_fitted() {
    let first = batch(vec![("x", Arc::new(Float64Array::from(vec![0.5])) as ArrayRef)]);
    let whole = batch(vec![("x", Arc::new(Int64Array::from(vec![Some(7), None])) as ArrayRef)]);
    let text = batch(vec![("x", Arc::new(StringArray::from(vec!["8"])) as ArrayRef)]);
    let none = batch(vec![("y", Arc::new(StringArray::from(vec!["8"])) as ArrayRef)]);
    let values = [&first, &whole, &text, &none].map(|batch| written(std::slice::from_ref(batch), None));
    let rows = read(&ipc(&["x"]), &values);
    assert_eq!(shown(&rows, "x"), ["0.5", "7.0", "-", "-", "-"]);
    assert_eq!(faults(&rows), [(3, "column 'x': found '8' of type Utf8, expected a number")]);
}

#[test]
fn dictionaries_are_text() {
    let dictionary: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("b")].into_iter().collect();
    let values = [written(&[batch(vec![("k", Arc::new(dictionary))])], None)];
    let rows = read(&ipc(&["k"]), &values);
    assert_eq!((shown(&rows, "k"), type_of(&rows, "k")), (vec!["a".into(), "-".into(), "b".into()], "Utf8".into()));
}

fn tensor(shape: &str, values: &[f32]) -> Vec<u8> {
    let mut builder = FixedSizeListBuilder::new(Float32Builder::new(), values.len() as i32);
    builder.values().append_slice(values);
    builder.append(true);
    let list: FixedSizeListArray = builder.finish();
    let metadata = HashMap::from([
        ("ARROW:extension:name".to_owned(), "arrow.fixed_shape_tensor".to_owned()),
        ("ARROW:extension:metadata".to_owned(), shape.to_owned()),
    ]);
    let list: ArrayRef = Arc::new(list);
    let field = Field::new("t", list.data_type().clone(), true).with_metadata(metadata);
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![list]).unwrap();
    written(&[batch], None)
}

#[test]
fn tensors_keep_their_shape_also_in_the_state() {
    let config = ipc(&["t"]);
    let first = Record::new(tensor(r#"{"shape":[1,2]}"#, &[1.0, 2.0]));
    let other = Record::new(tensor(r#"{"shape":[2,1]}"#, &[1.0, 2.0]));
    let longer = Record::new(tensor(r#"{"shape":[1,3]}"#, &[1.0, 2.0, 3.0]));
    let mut reader = format::open(&config).unwrap();
    reader.read(&block(std::slice::from_ref(&first))).unwrap();
    let state = reader.save().unwrap();
    let mut reader = format::open(&config).unwrap();
    reader.restore(&state).unwrap();
    let rows = reader.read(&block(&[other, first, longer])).unwrap();
    let schema = rows.batch.schema();
    assert_eq!(schema.field(0).extension_type_name(), Some("arrow.fixed_shape_tensor"));
    assert_eq!(schema.field(0).data_type(), &DataType::new_fixed_size_list(DataType::Float32, 2, true));
    assert_eq!(shown(&rows, "t"), ["-", "[1.0, 2.0]", "-"]);
    assert_eq!(rows.faults.len(), 2);
    assert!(rows.faults[0].message.contains("found a tensor of"), "{:?}", rows.faults);
}

#[test]
fn what_is_no_stream_is_a_fault() {
    let good = written(&[numbers(&[1])], None);
    let values: Vec<Vec<u8>> = vec![
        vec![0, 0x1b, 0, 0x48],
        vec![],
        vec![0xff; 4],
        b"ARROW1\0\0".to_vec(),
        [good.as_slice(), &[0]].concat(),
        good[..good.len() - 20].to_vec(),
        good.clone(),
    ];
    let rows = read(&ipc(&["x"]), &values);
    assert_eq!(rows.faults.iter().map(|fault| fault.row).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    assert!(rows.faults[3].message.contains("format of streams"));
    // A stream without an end of its own is whole.
    let rows = read(&ipc(&["x"]), &[good[..good.len() - 8].to_vec()]);
    assert_eq!(faults(&rows), []);
    let rows = read(&ipc(&["n"]), &[written(&[batch(vec![("n", Arc::new(NullArray::new(1 << 30)))])], None)]);
    assert_eq!(rows.faults.len(), 1, "any number of rows without content");
}

#[test]
fn lengths_that_are_claimed_take_no_memory() {
    let zeros: ArrayRef = Arc::new(UInt8Array::from(vec![0; 4_000]));
    let good = written(&[batch(vec![("x", zeros)])], Some(CompressionType::ZSTD));
    let length = 4_000_i64.to_le_bytes();
    let at = good.windows(8).rposition(|window| window == length).unwrap();
    let mut claims = good.clone();
    claims[at..at + 8].copy_from_slice(&(1_i64 << 45).to_le_bytes());
    let rows = read(&ipc(&["x"]), &[claims, good]);
    assert_eq!(rows.records.len(), 4_001);
    assert!(rows.faults[0].message.contains("absurd size"), "{:?}", rows.faults);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn how_records_are_cut_into_blocks_does_not_matter(
        values in prop::collection::vec((prop::collection::vec(any::<i32>(), 0..3), 0_usize..4, any::<bool>()), 0..12),
        cuts in prop::collection::vec((0_usize..12, any::<bool>()), 0..4),
    ) {
        let records: Vec<Record> = values.into_iter().map(|(numbers_, kind, cut)| {
            let wide: ArrayRef = Arc::new(Float64Array::from_iter_values(numbers_.iter().map(|value| f64::from(*value) / 2.0)));
            let value = match kind {
                0 => written(&[numbers(&numbers_)], None),
                1 => written(&[batch(vec![("x", wide)])], None),
                2 => written(&[batch(vec![("x", Arc::new(NullArray::new(numbers_.len())) as ArrayRef)])], None),
                _ => written(&[batch(vec![("name", Arc::new(Int32Array::from(numbers_)) as ArrayRef)])], None),
            };
            Record::new(if cut { &value[..value.len() / 2] } else { &value })
        }).collect();
        let mut cuts: Vec<(usize, bool)> = cuts.into_iter().map(|(at, restore)| (at.min(records.len()), restore)).collect();
        cuts.sort_unstable();
        let config = ipc(&["x", "name"]);
        prop_assert_eq!(outcome(&config, &records, &[]), outcome(&config, &records, &cuts));
    }

    #[test]
    fn damaged_streams_give_rows_or_faults(
        compressed in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<Option<prop::sample::Index>>(),
        random in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let dictionary: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("b")].into_iter().collect();
        let batch = batch(vec![
            ("x", Arc::new(Int32Array::from(vec![Some(1), None, Some(3)])) as ArrayRef),
            ("name", Arc::new(StringArray::from(vec![Some("é"), None, Some("z")]))),
            ("k", Arc::new(dictionary)),
        ]);
        let mut value = written(&[batch], compressed.then_some(CompressionType::ZSTD));
        for (at, byte) in changes {
            let at = at.index(value.len());
            value[at] = byte;
        }
        if let Some(at) = cut {
            value.truncate(at.index(value.len()));
        }
        read(&ipc(&["x", "name", "k"]), &[value, random]);
    }
}
