//! The encoder on good and bad rows: every bad-input case ends in the dead letters with column, finding and expectation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use arrow_array::builder::{FixedSizeListBuilder, Float32Builder, ListBuilder, UInt8Builder};
use arrow_array::types::{Float16Type, Float32Type, Int8Type, Int32Type, UInt8Type};
use arrow_array::*;
use arrow_schema::{DataType, Field, Schema};
use lightcl_core::*;
use lightcl_stream::encode::*;
use std::collections::HashMap;
use std::sync::Arc;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

fn positioned(batch: &RecordBatch) -> PositionedBatch {
    PositionedBatch {
        batch: batch.clone(),
        partition: Arc::from("rows.arrow"),
        offsets: RowOffsets::From(40),
        faults: Vec::new(),
    }
}

fn labels(count: usize) -> ArrayRef {
    Arc::new((0..count).map(|row| Some(row as i64 % 2)).collect::<Int64Array>())
}

fn encode(encoder: &mut Encoder, batch: &PositionedBatch) -> (Samples, Vec<Rejected>) {
    let (mut samples, mut rejected) = (Samples::default(), Vec::new());
    encoder.encode(batch, 0..batch.batch.num_rows(), 100, &mut samples, &mut rejected).unwrap();
    assert_eq!(samples.len() + rejected.len(), batch.batch.num_rows());
    (samples, rejected)
}

fn encode_new(config: EncoderConfig, batch: &RecordBatch) -> (Encoder, Samples, Vec<Rejected>) {
    let mut encoder = Encoder::new(config, &batch.schema()).unwrap();
    let (samples, rejected) = encode(&mut encoder, &positioned(batch));
    (encoder, samples, rejected)
}

/// Index, reason, column and message of each dead letter.
fn reasons(rejected: &[Rejected]) -> Vec<(u64, RejectReason, &str)> {
    rejected.iter().map(|letter| (letter.index, letter.reason, letter.message.as_str())).collect()
}

fn feature(column: &str, kind: FeatureKind) -> FeatureConfig {
    FeatureConfig { kind, ..FeatureConfig::auto(column) }
}

fn error(config: EncoderConfig, schema: &Schema) -> String {
    let error = Encoder::new(config, schema).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::User);
    error.to_string()
}

#[test]
fn numbers_of_every_type_become_f32() {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("i8", Arc::new(Int8Array::from(vec![-3]))),
        ("u8", Arc::new(UInt8Array::from(vec![200]))),
        ("u64", Arc::new(UInt64Array::from(vec![1 << 40]))),
        ("f16", Arc::new(Float16Array::from(vec![half::f16::from_f32(0.5)]))),
        ("f64", Arc::new(Float64Array::from(vec![2.25]))),
        ("bool", Arc::new(BooleanArray::from(vec![true]))),
        ("decimal", Arc::new(Decimal128Array::from(vec![1250]).with_precision_and_scale(9, 3).unwrap())),
        ("label", labels(1)),
    ];
    let config = EncoderConfig::new(["i8", "u8", "u64", "f16", "f64", "bool", "decimal"], "label");
    let (encoder, samples, _) = encode_new(config, &batch(columns));
    assert_eq!(encoder.shape(), Some(&[7][..]));
    assert_eq!(samples.row(0), [-3.0, 200.0, (1_u64 << 40) as f32, 0.5, 2.25, 1.0, 1.25]);
}

#[test]
fn bad_numbers_are_rejected_with_column_finding_and_position() {
    let rows = vec![Some(1.0), Some(f64::NAN), Some(f64::NEG_INFINITY), Some(1e300), None, Some(2.0)];
    let table = batch(vec![("x", Arc::new(Float64Array::from(rows))), ("label", labels(6))]);
    let (_, samples, rejected) = encode_new(EncoderConfig::new(["x"], "label"), &table);
    assert_eq!(samples.features, [1.0, 2.0]);
    assert_eq!(samples.meta[1].index, 105);
    assert_eq!(samples.meta[1].position, Position { partition: Arc::from("rows.arrow"), offset: 45 });
    assert_eq!(
        reasons(&rejected),
        [
            (101, RejectReason::NonFiniteFeature, "column 'x': found NaN, expected a finite number"),
            (102, RejectReason::NonFiniteFeature, "column 'x': found -inf, expected a finite number"),
            (
                103,
                RejectReason::NonFiniteFeature,
                "column 'x': found 1e300, which is beyond the range of 32-bit floating point"
            ),
            (104, RejectReason::NullFeature, "column 'x': found null, expected a number"),
        ]
    );
    assert_eq!(rejected[0].column.as_deref(), Some("x"));
    assert_eq!(rejected[0].position.offset, 41);
    assert_eq!(rejected[0].payload, r#"{"x": "NaN", "label": 1}"#);
}

#[test]
fn lists_of_the_wrong_length_or_with_nulls_are_rejected() {
    let rows = vec![
        Some(vec![Some(1.0), Some(2.0)]),
        Some(vec![Some(1.0)]),
        Some(vec![Some(1.0), None]),
        None,
        Some(vec![Some(f32::INFINITY), Some(0.0)]),
        Some(vec![]),
        Some(vec![Some(3.0), Some(4.0)]),
    ];
    let list = ListArray::from_iter_primitive::<Float32Type, _, _>(rows);
    let table = batch(vec![("v", Arc::new(list)), ("label", labels(7))]);
    let mut encoder = Encoder::new(EncoderConfig::new(["v"], "label"), &table.schema()).unwrap();
    assert_eq!(encoder.shape(), None, "the first good row fixes the length");
    let (samples, rejected) = encode(&mut encoder, &positioned(&table));
    assert_eq!((samples.shape.clone(), samples.len()), (vec![2], 2));
    assert_eq!(
        reasons(&rejected),
        [
            (101, RejectReason::WrongLength, "column 'v': found a list of 1, expected 2"),
            (102, RejectReason::NullFeature, "column 'v': found null at place 1 of the list, expected a number"),
            (103, RejectReason::NullFeature, "column 'v': found null, expected a list"),
            (
                104,
                RejectReason::NonFiniteFeature,
                "column 'v': place 0 of the list: found inf, expected a finite number"
            ),
            (105, RejectReason::WrongLength, "column 'v': found an empty list, expected numbers"),
        ]
    );
}

#[test]
fn a_rejected_row_does_not_fix_the_length_nor_make_a_class_or_category() {
    let rows = vec![Some(vec![Some(1.0), Some(2.0), None]), Some(vec![Some(1.0); 3]), Some(vec![Some(1.0); 2])];
    let table = batch(vec![
        ("v", Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(rows))),
        ("c", Arc::new(StringArray::from(vec!["first", "second", "third"]))),
        ("label", Arc::new(StringArray::from(vec![Some("a"), None, Some("c")]))),
    ]);
    let (encoder, samples, rejected) = encode_new(EncoderConfig::new(["v", "c"], "label"), &table);
    assert_eq!(
        rejected.iter().map(|letter| letter.reason).collect::<Vec<_>>(),
        [RejectReason::NullFeature, RejectReason::NullLabel]
    );
    assert_eq!((encoder.class_count(), encoder.class_label(0).as_deref()), (1, Some("c")));
    assert_eq!(samples.shape, [34]);
    assert_eq!(samples.row(0)[..4], [1.0, 1.0, 1.0, 0.0], "'third' has the first slot");
}

#[test]
fn tensors_keep_their_shape_alone_and_are_flat_beside_others() {
    let mut builder = FixedSizeListBuilder::new(FixedSizeListBuilder::new(UInt8Builder::new(), 3), 2);
    builder.values().values().append_slice(&[0, 51, 102, 153, 204, 255]);
    builder.values().append(true);
    builder.values().append(true);
    builder.append(true);
    let nested: ArrayRef = Arc::new(builder.finish());
    let table = batch(vec![("image", nested), ("x", Arc::new(Int8Array::from(vec![7]))), ("label", labels(1))]);
    let (encoder, samples, _) = encode_new(EncoderConfig::new(["image"], "label"), &table);
    assert_eq!(encoder.shape(), Some(&[1, 2, 3][..]), "a matrix is an image of one channel");
    assert_eq!(samples.row(0), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
    let (encoder, samples, _) = encode_new(EncoderConfig::new(["x", "image"], "label"), &table);
    assert_eq!(encoder.shape(), Some(&[7][..]));
    assert_eq!(samples.row(0), [7.0, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
}

fn tensor_table(metadata: &str, list: ArrayRef) -> RecordBatch {
    let field = Field::new("t", list.data_type().clone(), true).with_metadata(HashMap::from([
        ("ARROW:extension:name".to_owned(), "arrow.fixed_shape_tensor".to_owned()),
        ("ARROW:extension:metadata".to_owned(), metadata.to_owned()),
    ]));
    let label = labels(list.len());
    let schema = Schema::new(vec![field, Field::new("label", DataType::Int64, true)]);
    RecordBatch::try_new(Arc::new(schema), vec![list, label]).unwrap()
}

#[test]
fn fixed_shape_tensors_are_read_as_their_metadata_says() {
    let list: ArrayRef =
        Arc::new(FixedSizeListArray::from_iter_primitive::<UInt8Type, _, _>([Some((0..6).map(Some))], 6));
    let config = EncoderConfig::new(["t"], "label");
    let (encoder, _, _) = encode_new(config.clone(), &tensor_table(r#"{"shape":[3,1,2]}"#, list.clone()));
    assert_eq!(encoder.shape(), Some(&[3, 1, 2][..]));
    // Stored as height x width x channels, meant as channels x height x width.
    let turned = tensor_table(r#"{"shape":[1,2,3],"permutation":[2,0,1]}"#, list.clone());
    let (encoder, samples, _) = encode_new(config.clone(), &turned);
    assert_eq!(encoder.shape(), Some(&[3, 1, 2][..]));
    assert_eq!(samples.row(0).iter().map(|v| (v * 255.0).round()).collect::<Vec<_>>(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert!(error(config, &tensor_table(r#"{"shape":[2,2]}"#, list).schema()).contains("'t' cannot be used"));
}

#[test]
fn a_configured_shape_is_that_of_flat_lists() {
    let rows = vec![Some(vec![Some(1.0); 6]), Some(vec![Some(1.0); 5])];
    let table = batch(vec![
        (
            "v",
            Arc::new(ListArray::from_iter_primitive::<Float16Type, _, _>(rows.into_iter().map(|row| {
                row.map(|row| row.into_iter().map(|v: Option<f32>| v.map(half::f16::from_f32)).collect::<Vec<_>>())
            }))),
        ),
        ("label", labels(2)),
    ]);
    let mut config = EncoderConfig::new(["v"], "label");
    config.features[0].shape = Some(vec![3, 1, 2]);
    let (encoder, samples, rejected) = encode_new(config.clone(), &table);
    assert_eq!((encoder.shape(), samples.shape.clone()), (Some(&[3, 1, 2][..]), vec![3, 1, 2]));
    assert_eq!(rejected[0].message, "column 'v': found a list of 5, expected 3x1x2");
    config.features[0].shape = Some(vec![0]);
    assert!(error(config, &table.schema()).contains("shape"));
}

fn image_table(images: Vec<Option<&[u8]>>) -> RecordBatch {
    let label = labels(images.len());
    batch(vec![("image", Arc::new(BinaryArray::from(images))), ("label", label)])
}

const COLOUR: &[u8] = include_bytes!("data/colour.jpg");
const GREY: &[u8] = include_bytes!("data/grey.jpg");
const PALETTE: &[u8] = include_bytes!("data/palette.png");

fn pixel(row: &[f32], channel: usize, y: usize, x: usize) -> f32 {
    row[(channel * 12 + y) * 16 + x] * 255.0
}

#[test]
fn jpeg_and_png_images_become_planes() {
    let more: [&[u8]; 2] = [include_bytes!("data/colour-420.jpg"), include_bytes!("data/progressive.jpg")];
    let table = image_table(vec![Some(COLOUR), Some(PALETTE), Some(more[0]), Some(more[1]), Some(GREY)]);
    let (encoder, samples, rejected) = encode_new(EncoderConfig::new(["image"], "label"), &table);
    assert_eq!(rejected, []);
    assert_eq!(encoder.shape(), Some(&[3, 12, 16][..]));
    for row in 0..4 {
        let slack = if row == 0 { 6.0 } else { 30.0 };
        for (y, x) in [(0, 0), (5, 7), (11, 15)] {
            let wanted = [x as f32 * 15.0, y as f32 * 20.0, 255.0 - (x + y) as f32 * 8.0];
            for (channel, wanted) in wanted.into_iter().enumerate() {
                let found = pixel(samples.row(row), channel, y, x);
                assert!((found - wanted).abs() <= slack, "image {row} at {channel} {y} {x}: {found} {wanted}");
            }
        }
    }
    let grey = samples.row(4);
    assert_eq!(grey[..192], grey[192..384], "a grey image in a stream of colour images has three equal planes");
    let (encoder, ..) = encode_new(EncoderConfig::new(["image"], "label"), &image_table(vec![Some(GREY)]));
    assert_eq!(encoder.shape(), Some(&[1, 12, 16][..]));
}

#[test]
fn images_that_do_not_decode_or_have_another_size_are_rejected() {
    let small = {
        let mut bytes = Vec::new();
        let mut writer = png::Encoder::new(&mut bytes, 4, 4);
        writer.set_color(png::ColorType::Rgb);
        writer.write_header().unwrap().write_image_data(&[9; 48]).unwrap();
        bytes
    };
    let images: Vec<Option<&[u8]>> =
        vec![Some(b"no image"), Some(COLOUR), Some(&COLOUR[..COLOUR.len() - 60]), Some(&small), None, Some(b"")];
    let (_, samples, rejected) = encode_new(EncoderConfig::new(["image"], "label"), &image_table(images));
    assert_eq!(samples.len(), 1);
    assert_eq!(
        rejected.iter().map(|letter| letter.reason).collect::<Vec<_>>(),
        [
            RejectReason::ImageUndecodable,
            RejectReason::ImageUndecodable,
            RejectReason::ImageSize,
            RejectReason::NullFeature,
            RejectReason::ImageUndecodable
        ]
    );
    assert!(rejected[0].message.contains("8 bytes that do not decode"), "{}", rejected[0].message);
    assert!(rejected[2].message.contains("3x4x4 (channels x height x width), expected 3x12x16"));
    assert!(rejected[0].payload.contains("6e6f20696d616765"), "{}", rejected[0].payload);
}

#[test]
fn mutated_images_never_panic() {
    let whole = [COLOUR, GREY, PALETTE, include_bytes!("data/progressive.jpg"), include_bytes!("data/cmyk.jpg")];
    let mut seed = 7_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    };
    let mut images = Vec::new();
    for original in whole {
        for _ in 0..400 {
            let mut bytes = original.to_vec();
            for _ in 0..1 + next() % 4 {
                let at = next() % bytes.len();
                bytes[at] = next() as u8;
            }
            bytes.truncate(bytes.len() - if next() % 3 == 0 { next() % bytes.len() } else { 0 });
            images.push(bytes);
        }
    }
    let table = image_table(images.iter().map(|bytes| Some(bytes.as_slice())).collect());
    let (_, samples, rejected) = encode_new(EncoderConfig::new(["image"], "label"), &table);
    assert!(!samples.is_empty() && !rejected.is_empty());
    assert!(samples.features.iter().all(|v| (0.0..=1.0).contains(v)));
}

#[test]
fn one_hot_slots_go_by_first_appearance_and_the_last_is_for_the_rest() {
    let dictionary: DictionaryArray<Int8Type> =
        vec![Some("b"), Some("a"), Some("b"), Some("c"), None, Some("d")].into_iter().collect();
    let table = batch(vec![("c", Arc::new(dictionary)), ("label", labels(6))]);
    let kind = FeatureKind::Category { encoding: CategoryEncoding::OneHot, size: 3 };
    let config = EncoderConfig { features: vec![feature("c", kind)], ..EncoderConfig::new(["c"], "label") };
    let (encoder, samples, rejected) = encode_new(config, &table);
    let slots: Vec<usize> =
        (0..samples.len()).map(|row| samples.row(row).iter().position(|&v| v == 1.0).unwrap()).collect();
    assert_eq!(slots, [0, 1, 0, 2, 2]);
    assert_eq!(reasons(&rejected), [(104, RejectReason::NullFeature, "column 'c': found null, expected a category")]);
    // Frozen, a value never seen goes to the last slot, and whole numbers are the same category as their text.
    let other = batch(vec![("c", Arc::new(StringArray::from(vec!["z", "a"])))]);
    let frozen = encoder.encode_frozen(&positioned(&other), 0..2, 0).unwrap();
    assert_eq!(frozen.samples.features, [0.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
    assert_eq!(frozen.labels, [None, None]);
}

#[test]
fn hashed_categories_of_whole_numbers_and_booleans_are_stable() {
    let hash = |column: &str| feature(column, FeatureKind::Category { encoding: CategoryEncoding::Hash, size: 8 });
    let table = batch(vec![
        ("n", Arc::new(UInt64Array::from(vec![0, u64::MAX]))),
        ("b", Arc::new(BooleanArray::from(vec![true, false]))),
        ("label", labels(2)),
    ]);
    let config = EncoderConfig { features: vec![hash("n"), hash("b")], ..EncoderConfig::new(["n"], "label") };
    let (encoder, samples, _) = encode_new(config, &table);
    assert_eq!(samples.shape, [16]);
    assert_eq!(samples.features.iter().sum::<f32>(), 4.0);
    // FNV-1a("0") = af63ad4c86019caf, modulo 8 = 7.
    assert_eq!(samples.row(0)[7], 1.0);
    assert_eq!(encoder.describe().unwrap()["features"][0]["categories"], serde_json::json!([]));
}

#[test]
fn labels_of_every_kind_become_classes_by_first_appearance() {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int8Array::from(vec![5, -1, 5])),
        Arc::new(UInt64Array::from(vec![5, 1, 5])),
        Arc::new(StringViewArray::from(vec!["x", "y", "x"])),
        Arc::new(LargeStringArray::from(vec!["x", "y", "x"])),
        Arc::new(BooleanArray::from(vec![true, false, true])),
        Arc::new(vec!["x", "y", "x"].into_iter().collect::<DictionaryArray<Int32Type>>()),
    ];
    for column in columns {
        let shown = format!("{:?}", column.data_type());
        let table = batch(vec![("x", Arc::new(Float32Array::from(vec![0.0; 3]))), ("label", column)]);
        let (encoder, samples, _) = encode_new(EncoderConfig::new(["x"], "label"), &table);
        assert_eq!((samples.labels, encoder.class_count()), (vec![0, 1, 0], 2), "{shown}");
    }
}

#[test]
fn bad_labels_are_rejected() {
    let rows = vec![Some(1), None, Some(9_999_999_999), Some(-9_999_999_999), Some(2), Some(3), Some(1)];
    let table =
        batch(vec![("x", Arc::new(Float32Array::from(vec![0.0; 7]))), ("label", Arc::new(Int64Array::from(rows)))]);
    let config = EncoderConfig { max_classes: 2, ..EncoderConfig::new(["x"], "label") };
    let (encoder, samples, rejected) = encode_new(config, &table);
    assert_eq!((samples.labels, encoder.class_count()), (vec![0, 1, 0], 2));
    assert_eq!(
        reasons(&rejected),
        [
            (101, RejectReason::NullLabel, "column 'label': found null, expected a label"),
            (
                102,
                RejectReason::LabelOutOfRange,
                "column 'label': found 9999999999, expected a whole number of 32 bits"
            ),
            (
                103,
                RejectReason::LabelOutOfRange,
                "column 'label': found -9999999999, expected a whole number of 32 bits"
            ),
            (
                105,
                RejectReason::TooManyClasses,
                "column 'label': found the new label '3', but there are 2 classes already (max_classes)"
            ),
        ]
    );
}

#[test]
fn a_label_of_another_type_than_before_a_restart_is_rejected() {
    let x: ArrayRef = Arc::new(Float32Array::from(vec![0.0]));
    let config = EncoderConfig::new(["x"], "label");
    let numbers = batch(vec![("x", x.clone()), ("label", labels(1))]);
    let (encoder, ..) = encode_new(config.clone(), &numbers);
    let words = batch(vec![("x", x), ("label", Arc::new(StringArray::from(vec!["0"])))]);
    let mut resumed = Encoder::new(config, &words.schema()).unwrap();
    resumed.restore(&encoder.save().unwrap()).unwrap();
    let (_, rejected) = encode(&mut resumed, &positioned(&words));
    assert_eq!(rejected[0].reason, RejectReason::LabelType);
    assert_eq!(rejected[0].message, "column 'label': found text '0', expected a whole number like the labels before");
}

#[test]
fn optional_columns_fill_weight_task_time_and_id() {
    let table = batch(vec![
        ("x", Arc::new(Float32Array::from(vec![0.0; 4]))),
        ("label", labels(4)),
        ("w", Arc::new(Float64Array::from(vec![Some(0.5), None, Some(-1.0), Some(f64::NAN)]))),
        ("task", Arc::new(Int32Array::from(vec![Some(3), None, None, None]))),
        ("at", Arc::new(TimestampMillisecondArray::from(vec![Some(7), None, None, None]).with_timezone("UTC"))),
        ("id", Arc::new(StringArray::from(vec![Some("a"), None, None, None]))),
    ]);
    let config = EncoderConfig {
        weight: Some("w".into()),
        task: Some("task".into()),
        event_time: Some("at".into()),
        id: Some("id".into()),
        ..EncoderConfig::new(["x"], "label")
    };
    let (_, samples, rejected) = encode_new(config.clone(), &table);
    let meta = &samples.meta[0];
    assert_eq!(samples.weights, [0.5]);
    assert_eq!((meta.task_key.as_deref(), meta.id.as_deref(), meta.event_time), (Some("3"), Some("a"), Some(7000)));
    assert!(rejected.iter().all(|letter| letter.reason == RejectReason::BadWeight));
    assert_eq!(rejected[1].message, "column 'w': found -1, expected a weight of at least 0");
    let without = EncoderConfig { weight: None, ..config };
    let (_, samples, _) = encode_new(without, &table);
    assert_eq!(samples.weights, [1.0; 4]);
    assert_eq!((&samples.meta[1].task_key, &samples.meta[1].id, samples.meta[1].event_time), (&None, &None, None));
}

#[test]
fn rows_that_the_source_could_not_read_keep_its_message_and_text() {
    let table = batch(vec![("x", Arc::new(Float32Array::from(vec![Some(1.0), None, None]))), ("label", labels(3))]);
    let mut rows = positioned(&table);
    rows.faults = vec![
        RowFault { row: 1, message: "line 7: no number".into(), payload: Some("1,abc".into()) },
        RowFault { row: 2, message: "line 8: no number".into(), payload: None },
    ];
    let mut encoder = Encoder::new(EncoderConfig::new(["x"], "label"), &table.schema()).unwrap();
    let (samples, rejected) = encode(&mut encoder, &rows);
    assert_eq!(samples.len(), 1);
    assert_eq!(reasons(&rejected)[0], (101, RejectReason::Unreadable, "line 7: no number"));
    assert_eq!((rejected[0].payload.as_str(), rejected[0].column.clone()), ("1,abc", None));
    assert_eq!(rejected[1].payload, r#"{"x": null, "label": 0}"#);
}

#[test]
fn the_first_feature_at_fault_decides_and_features_come_before_the_label() {
    let table = batch(vec![
        ("a", Arc::new(Float32Array::from(vec![None, Some(0.0), Some(0.0)]))),
        ("b", Arc::new(Float32Array::from(vec![f32::NAN, f32::NAN, 0.0]))),
        ("label", Arc::new(Int64Array::from(vec![None::<i64>, None, None]))),
        ("w", Arc::new(Float32Array::from(vec![-1.0; 3]))),
    ]);
    let config = EncoderConfig { weight: Some("w".into()), ..EncoderConfig::new(["b", "a"], "label") };
    let (_, _, rejected) = encode_new(config, &table);
    let columns: Vec<_> = rejected.iter().map(|letter| letter.column.as_deref().unwrap()).collect();
    assert_eq!(columns, ["b", "b", "label"]);
}

#[test]
fn empty_batches_and_batches_of_bad_rows_change_nothing() {
    let table = batch(vec![("v", Arc::new(Float32Array::from(vec![f32::NAN; 3]))), ("label", labels(3))]);
    let config = EncoderConfig { standardize: true, ..EncoderConfig::new(["v"], "label") };
    let mut encoder = Encoder::new(config, &table.schema()).unwrap();
    let before = encoder.save().unwrap();
    let (samples, rejected) = encode(&mut encoder, &positioned(&table.slice(0, 0)));
    assert!(samples.is_empty() && rejected.is_empty());
    let (samples, rejected) = encode(&mut encoder, &positioned(&table));
    assert_eq!((samples.len(), rejected.len()), (0, 3));
    assert_eq!(encoder.save().unwrap(), before);
}

#[test]
fn an_input_without_columns_or_with_nothing_but_nulls_is_no_error() {
    let config = EncoderConfig::new(["x", "y"], "label");
    assert!(Encoder::new(config.clone(), &Schema::empty()).is_ok());
    let table = batch(vec![
        ("x", Arc::new(NullArray::new(2))),
        ("y", Arc::new(NullArray::new(2))),
        ("label", Arc::new(NullArray::new(2))),
    ]);
    let (encoder, samples, rejected) = encode_new(config.clone(), &table);
    assert_eq!((samples.len(), rejected.len()), (0, 2));
    // Later the same columns have values.
    let full = batch(vec![
        ("x", Arc::new(Float32Array::from(vec![1.0]))),
        ("y", Arc::new(StringArray::from(vec!["a"]))),
        ("label", labels(1)),
    ]);
    let mut resumed = Encoder::new(config, &full.schema()).unwrap();
    resumed.restore(&encoder.save().unwrap()).unwrap();
    assert_eq!(encode(&mut resumed, &positioned(&full)).0.shape, [33]);
}

#[test]
fn missing_columns_name_the_nearest_and_list_all() {
    let schema = Schema::new(vec![
        Field::new("x", DataType::Float32, true),
        Field::new("temperature", DataType::Float32, true),
        Field::new("label", DataType::Int64, true),
    ]);
    let said = error(EncoderConfig::new(["temprature"], "label"), &schema);
    assert!(said.contains("no feature column 'temprature'; did you mean 'temperature'?"), "{said}");
    assert!(said.contains("columns: x, temperature, label"), "{said}");
    let said = error(EncoderConfig::new(["x"], "Lable"), &schema);
    assert!(said.contains("no label column 'Lable'; did you mean 'label'?"), "{said}");
    let config = EncoderConfig { event_time: Some("time".into()), ..EncoderConfig::new(["x"], "label") };
    assert!(error(config, &schema).contains("no event time column 'time'"));
}

#[test]
fn types_that_cannot_be_used_are_refused_at_the_start() {
    let list = |item| DataType::new_list(item, true);
    for (data_type, kind, expected) in [
        (DataType::Utf8, FeatureKind::Image, "binary values"),
        (DataType::Utf8, FeatureKind::Numeric, "numbers"),
        (DataType::Float32, FeatureKind::Tensor, "lists of numbers"),
        (list(DataType::Utf8), FeatureKind::Auto, "not numbers"),
        (DataType::Timestamp(arrow_schema::TimeUnit::Second, None), FeatureKind::Auto, "expected numbers"),
        (
            DataType::Float32,
            FeatureKind::Category { encoding: CategoryEncoding::Hash, size: 4 },
            "text, whole numbers or booleans",
        ),
    ] {
        let schema =
            Schema::new(vec![Field::new("f", data_type.clone(), true), Field::new("label", DataType::Int64, true)]);
        let config = EncoderConfig { features: vec![feature("f", kind)], ..EncoderConfig::new(["f"], "label") };
        let said = error(config, &schema);
        assert!(said.contains("'f' cannot be used") && said.contains(expected), "{data_type}: {said}");
    }
    for data_type in [DataType::Float64, DataType::Binary, list(DataType::Int64), DataType::Decimal128(5, 0)] {
        let schema =
            Schema::new(vec![Field::new("x", DataType::Float32, true), Field::new("label", data_type.clone(), true)]);
        let said = error(EncoderConfig::new(["x"], "label"), &schema);
        assert!(said.contains("label column 'label' cannot be used"), "{data_type}: {said}");
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let schema =
        Schema::new(vec![Field::new("x", DataType::Float32, true), Field::new("label", DataType::Int64, true)]);
    let none: [&str; 0] = [];
    assert!(error(EncoderConfig::new(none, "label"), &schema).contains("no feature column"));
    assert!(error(EncoderConfig::new(["x", "x"], "label"), &schema).contains("twice"));
    assert!(error(EncoderConfig::new(["label"], "label"), &schema).contains("also a feature"));
    let config = EncoderConfig { max_classes: 0, ..EncoderConfig::new(["x"], "label") };
    assert!(error(config, &schema).contains("max_classes"));
    let kind = FeatureKind::Category { encoding: CategoryEncoding::OneHot, size: usize::MAX };
    let config = EncoderConfig { features: vec![feature("x", kind)], ..EncoderConfig::new(["x"], "label") };
    assert!(error(config, &schema).contains("size"));
}

#[test]
fn frozen_rows_need_no_label_and_change_nothing() {
    let table = batch(vec![
        ("x", Arc::new(Float32Array::from(vec![1.0, 3.0]))),
        ("label", Arc::new(StringArray::from(vec!["a", "b"]))),
    ]);
    let config = EncoderConfig { standardize: true, ..EncoderConfig::new(["x"], "label") };
    let (encoder, ..) = encode_new(config, &table);
    let before = encoder.save().unwrap();
    // Other column order, another number type, labels that are new, missing or known, one bad feature.
    let held_out = batch(vec![
        ("label", Arc::new(StringArray::from(vec![Some("b"), Some("zebra"), None, Some("a")]))),
        ("x", Arc::new(Float64Array::from(vec![2.0, 3.0, 1.0, f64::NAN]))),
    ]);
    let frozen = encoder.encode_frozen(&positioned(&held_out), 0..4, 0).unwrap();
    assert_eq!(frozen.samples.features, [0.0, 1.0, -1.0]);
    assert_eq!(frozen.labels, [Some(1), None, None]);
    assert_eq!(frozen.label_texts, [Some("b".to_owned()), Some("zebra".to_owned()), None]);
    assert_eq!(frozen.rejected[0].reason, RejectReason::NonFiniteFeature);
    let unlabelled = batch(vec![("x", Arc::new(Float32Array::from(vec![2.0])))]);
    assert_eq!(encoder.encode_frozen(&positioned(&unlabelled), 0..1, 0).unwrap().samples.len(), 1);
    assert_eq!(encoder.save().unwrap(), before);
}

#[test]
fn frozen_rows_before_any_row_was_learnt_take_the_shape_of_the_first() {
    let mut builder = ListBuilder::new(Float32Builder::new());
    builder.append_value([Some(1.0), Some(2.0)]);
    builder.append_value([Some(1.0)]);
    let table = batch(vec![("v", Arc::new(builder.finish())), ("label", labels(2))]);
    let encoder = Encoder::new(EncoderConfig::new(["v"], "label"), &table.schema()).unwrap();
    let frozen = encoder.encode_frozen(&positioned(&table), 0..2, 0).unwrap();
    assert_eq!((frozen.samples.shape, frozen.rejected.len(), encoder.shape()), (vec![2], 1, None));
}

#[test]
fn a_description_scores_like_the_encoder_it_came_from() {
    let table = batch(vec![
        ("x", Arc::new(Float64Array::from(vec![0.1, 0.7, -3.3, 1e9 / 3.0]))),
        ("c", Arc::new(StringArray::from(vec!["p", "q", "p", "r"]))),
        ("v", Arc::new(ListArray::from_iter_primitive::<UInt8Type, _, _>(vec![Some(vec![Some(9_u8), Some(250)]); 4]))),
        ("label", Arc::new(BooleanArray::from(vec![true, false, true, true]))),
    ]);
    let config = EncoderConfig { standardize: true, ..EncoderConfig::new(["x", "c", "v"], "label") };
    let (encoder, ..) = encode_new(config, &table);
    let description = encoder.describe().unwrap();
    assert_eq!(description["labels"]["names"], serde_json::json!(["true", "false"]));
    let text = serde_json::to_string(&description).unwrap();
    let mut twin = Encoder::from_description(&serde_json::from_str(&text).unwrap()).unwrap();
    assert_eq!((twin.shape(), twin.class_label(1)), (encoder.shape(), Some("false".to_owned())));
    let rows = positioned(&table);
    let wanted = encoder.encode_frozen(&rows, 0..4, 0).unwrap();
    let unbound = twin.encode_frozen(&rows, 0..4, 0).unwrap();
    twin.bind(&table.schema()).unwrap();
    let bound = twin.encode_frozen(&rows, 0..4, 0).unwrap();
    assert_eq!(unbound, bound);
    assert_eq!(bound.labels, wanted.labels);
    for (found, wanted) in bound.samples.features.iter().zip(&wanted.samples.features) {
        assert!((found - wanted).abs() <= 1e-6 * wanted.abs().max(1.0));
    }
    let narrow = batch(vec![("x", Arc::new(Float32Array::from(vec![0.0])))]);
    assert!(twin.bind(&narrow.schema()).unwrap_err().to_string().contains("no feature column 'c'"));
}

#[test]
fn standardisation_leaves_categories_alone_and_never_sees_the_future() {
    let x = [3.0, 5.0, -4.0];
    let table = batch(vec![
        ("c", Arc::new(StringArray::from(vec!["p", "q", "p"]))),
        ("x", Arc::new(Float64Array::from(x.to_vec()))),
        ("label", labels(3)),
    ]);
    let kind = FeatureKind::Category { encoding: CategoryEncoding::OneHot, size: 2 };
    let config = EncoderConfig {
        features: vec![feature("c", kind), feature("x", FeatureKind::Auto)],
        standardize: true,
        ..EncoderConfig::new(["x"], "label")
    };
    let (_, samples, _) = encode_new(config, &table);
    assert_eq!(samples.row(0), [1.0, 0.0, 0.0]);
    assert_eq!(samples.row(1), [0.0, 1.0, 1.0]);
    let mean = x.iter().sum::<f64>() / 3.0;
    let deviation = (x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 3.0).sqrt();
    assert!((f64::from(samples.row(2)[2]) - (x[2] - mean) / deviation).abs() < 1e-6);
}

#[test]
fn learning_needs_a_label_column() {
    let table = batch(vec![("x", Arc::new(Float32Array::from(vec![0.0])))]);
    let config = EncoderConfig { label: None, ..EncoderConfig::new(["x"], "label") };
    let mut encoder = Encoder::new(config, &table.schema()).unwrap();
    assert_eq!(encoder.encode_frozen(&positioned(&table), 0..1, 0).unwrap().samples.len(), 1);
    let error = encoder.encode(&positioned(&table), 0..1, 0, &mut Samples::default(), &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::User);
}
