//! Features that SQL scores are encoded to the bytes that training would have used.

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, FixedSizeListArray, Float32Array, Float64Array, Int8Array, Int64Array,
    LargeListArray, ListArray, NullArray, RecordBatch, StringArray, UInt8Array,
};
use datafusion::arrow::datatypes::{Field, Float32Type, Float64Type, Int64Type, UInt8Type};
use lightcl_core::{PositionedBatch, RowOffsets, Samples};
use lightcl_stream::encode::{Encoder, EncoderConfig, FeatureRows};
use std::sync::Arc;

const ROWS: usize = 700;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

fn positioned(batch: &RecordBatch) -> PositionedBatch {
    let (batch, partition) = (batch.clone(), Arc::from("rows"));
    PositionedBatch { batch, partition, offsets: RowOffsets::From(0), faults: Vec::new() }
}

/// Numbers of every sort, some null, not finite or too large.
fn numbers() -> RecordBatch {
    let every = |step: usize| (0..ROWS).map(move |row| (row % step != 7).then_some(row));
    let wild = |row: usize| match row % 97 {
        13 => f64::NAN,
        14 => f64::NEG_INFINITY,
        15 => 1e300,
        _ => row as f64 / 7.0 - 20.0,
    };
    batch(vec![
        ("f32", Arc::new(every(53).map(|row| row.map(|row| (row as f32).sin())).collect::<Float32Array>())),
        ("f64", Arc::new((0..ROWS).map(|row| Some(wild(row))).collect::<Float64Array>())),
        ("i8", Arc::new((0..ROWS).map(|row| Some((row % 200) as i8)).collect::<Int8Array>())),
        ("u8", Arc::new((0..ROWS).map(|row| Some((row % 256) as u8)).collect::<UInt8Array>())),
        ("i64", Arc::new(every(211).map(|row| row.map(|row| row as i64 * 1_000_003)).collect::<Int64Array>())),
        ("bool", Arc::new(every(301).map(|row| row.map(|row| row % 3 == 0)).collect::<BooleanArray>())),
        (
            "decimal",
            Arc::new(
                (0..ROWS)
                    .map(|row| Some(row as i128 - 300))
                    .collect::<Decimal128Array>()
                    .with_precision_and_scale(9, 2)
                    .unwrap(),
            ),
        ),
        ("label", Arc::new((0..ROWS).map(|row| Some(row as i64 % 3)).collect::<Int64Array>())),
    ])
}

const NUMBERS: [&str; 7] = ["f32", "f64", "i8", "u8", "i64", "bool", "decimal"];

fn taught(features: &[&str], standardize: bool, rows: &RecordBatch) -> Encoder {
    let config = EncoderConfig { standardize, ..EncoderConfig::new(features.iter().copied(), "label") };
    let mut encoder = Encoder::new(config, &rows.schema()).unwrap();
    let (mut samples, mut rejected) = (Samples::default(), Vec::new());
    encoder.encode(&positioned(rows), 0..rows.num_rows() / 2, 0, &mut samples, &mut rejected).unwrap();
    encoder
}

/// What the encoder gives row by row.
fn expected(encoder: &Encoder, rows: &RecordBatch) -> FeatureRows {
    let frozen = encoder.encode_frozen(&positioned(rows), 0..rows.num_rows(), 0).unwrap();
    let mut usable = vec![true; rows.num_rows()];
    frozen.rejected.iter().for_each(|letter| usable[letter.index as usize] = false);
    FeatureRows { shape: frozen.samples.shape, features: frozen.samples.features, usable }
}

#[test]
fn columns_of_numbers_give_the_bytes_of_the_row_by_row_path() {
    let rows = numbers();
    for standardize in [false, true] {
        let encoder = taught(&NUMBERS, standardize, &rows);
        for slice in [rows.clone(), rows.slice(255, 259), rows.slice(13, 1), rows.slice(0, 0)] {
            let found = encoder.encode_features(&slice).unwrap();
            assert_eq!(found, expected(&encoder, &slice), "{standardize}");
            assert_eq!(found.features.len(), found.usable_count() * NUMBERS.len());
        }
        let found = encoder.encode_features(&rows).unwrap();
        assert!(found.usable.iter().any(|usable| !usable) && found.usable.iter().any(|&usable| usable));
    }
}

#[test]
fn columns_that_are_null_throughout_make_no_row_usable() {
    let encoder = taught(&["f32", "i64"], true, &numbers());
    let nothing: ArrayRef = Arc::new(NullArray::new(3));
    let some: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let found = encoder.encode_features(&batch(vec![("f32", nothing), ("i64", some)])).unwrap();
    assert_eq!((found.usable, found.features.len()), (vec![false; 3], 0));
}

#[test]
fn categories_and_tensors_give_the_bytes_of_the_row_by_row_path() {
    let colours: Vec<Option<String>> = (0..ROWS).map(|row| (row % 31 != 4).then(|| format!("c{}", row % 40))).collect();
    let tensors =
        (0..ROWS).map(|row| (row % 29 != 5).then(|| (0..4).map(|place| Some((row + place) as u8)).collect::<Vec<_>>()));
    let tensors = FixedSizeListArray::from_iter_primitive::<UInt8Type, _, _>(tensors, 4);
    let mut columns =
        vec![("colour", Arc::new(StringArray::from(colours)) as ArrayRef), ("tensor", Arc::new(tensors) as ArrayRef)];
    let rows = numbers();
    columns.extend(["f64", "label"].map(|name| (name, Arc::clone(rows.column_by_name(name).unwrap()))));
    let rows = batch(columns);
    for features in [&["colour", "tensor", "f64"][..], &["tensor"]] {
        let encoder = taught(features, true, &rows);
        assert_eq!(encoder.encode_features(&rows).unwrap(), expected(&encoder, &rows));
        assert_eq!(encoder.encode_features(&rows.slice(300, 77)).unwrap(), expected(&encoder, &rows.slice(300, 77)));
    }
}

#[test]
fn numbers_in_one_list_give_the_bytes_of_columns() {
    let rows = numbers();
    let encoder = taught(&["f64", "i8", "u8"], true, &rows);
    let value = |row: usize, name: &str| {
        let column = datafusion::arrow::compute::cast(
            rows.column_by_name(name).unwrap(),
            &datafusion::arrow::datatypes::DataType::Float64,
        )
        .unwrap();
        column.as_any().downcast_ref::<Float64Array>().unwrap().value(row)
    };
    let lists: Vec<Option<Vec<Option<f64>>>> =
        (0..ROWS).map(|row| Some(["f64", "i8", "u8"].map(|name| Some(value(row, name))).to_vec())).collect();
    let expected = expected(&encoder, &rows);
    let check = |lists: ArrayRef| {
        let field = Field::new("all", lists.data_type().clone(), true);
        assert_eq!(encoder.encode_packed(&field, lists.as_ref()).unwrap(), expected, "{}", lists.data_type());
        let part = encoder.encode_packed(&field, lists.slice(90, 30).as_ref()).unwrap();
        assert_eq!(part, encoder.encode_features(&rows.slice(90, 30)).unwrap(), "{}", lists.data_type());
    };
    check(Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(lists.clone())));
    check(Arc::new(LargeListArray::from_iter_primitive::<Float64Type, _, _>(lists.clone())));
    check(Arc::new(FixedSizeListArray::from_iter_primitive::<Float64Type, _, _>(lists, 3)));
}

#[test]
fn lists_that_are_null_short_or_hold_nulls_are_not_usable_and_bytes_are_plain_numbers() {
    let encoder = taught(&["i8", "u8"], false, &numbers());
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([
        Some(vec![Some(1), Some(255)]),
        None,
        Some(vec![Some(1)]),
        Some(vec![Some(1), None]),
        Some(vec![Some(1), Some(2), Some(3)]),
        Some(vec![Some(-1), Some(0)]),
    ]);
    let field = Field::new("all", datafusion::arrow::array::Array::data_type(&lists).clone(), true);
    let found = encoder.encode_packed(&field, &lists).unwrap();
    assert_eq!(found.usable, [true, false, false, false, false, true]);
    assert_eq!(found.features, [1.0, 255.0, -1.0, 0.0]);
    let bytes = FixedSizeListArray::from_iter_primitive::<UInt8Type, _, _>([Some([Some(51), Some(255)])], 2);
    let field = Field::new("all", datafusion::arrow::array::Array::data_type(&bytes).clone(), true);
    assert_eq!(encoder.encode_packed(&field, &bytes).unwrap().features, [51.0, 255.0]);
}

#[test]
fn lists_that_cannot_hold_the_features_are_refused_with_the_reason() {
    let rows = numbers();
    let encoder = taught(&["f64", "i8"], false, &rows);
    let three = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>([Some([Some(0.0); 3])], 3);
    let refused = |field: &Field| encoder.check_packed(field).unwrap_err().to_string();
    let three = Field::new("v", datafusion::arrow::array::Array::data_type(&three).clone(), true);
    assert!(refused(&three).contains("its lists have 3 numbers, but there are 2 features"), "{}", refused(&three));
    let text = Field::new_list("v", Field::new_list_field(datafusion::arrow::datatypes::DataType::Utf8, true), true);
    assert!(refused(&text).contains("expected lists of 2 numbers"), "{}", refused(&text));
}
