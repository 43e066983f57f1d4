//! What holds of the encoder for any rows: cutting them into calls changes nothing, a restored encoder goes on as the
//! saved one would, and broken bytes are errors.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use arrow_array::*;
use lightcl_core::*;
use lightcl_stream::encode::*;
use proptest::prelude::*;
use std::sync::Arc;

#[derive(Debug, Clone)]
struct Row {
    x: Option<f64>,
    list: Option<Vec<Option<f32>>>,
    category: Option<u8>,
    label: Option<i64>,
    weight: f32,
}

fn row() -> impl Strategy<Value = Row> {
    let number = prop_oneof![8 => (-1e3..1e3_f64).boxed(), 1 => Just(f64::NAN).boxed(), 1 => Just(1e30).boxed()];
    let place = prop_oneof![20 => (-2.0..2.0_f32).prop_map(Some).boxed(), 1 => Just(None).boxed()];
    let list = prop_oneof![
        8 => prop::collection::vec(place.clone(), 3).boxed(),
        1 => prop::collection::vec(place, 0..5).boxed()
    ];
    let weight = prop_oneof![9 => Just(1.0_f32).boxed(), 1 => Just(-1.0).boxed()];
    (
        prop::option::weighted(0.95, number),
        prop::option::weighted(0.95, list),
        prop::option::weighted(0.95, 0..6_u8),
        prop::option::weighted(0.95, prop_oneof![9 => (0..5_i64).boxed(), 1 => Just(1 << 40).boxed()]),
        weight,
    )
        .prop_map(|(x, list, category, label, weight)| Row { x, list, category, label, weight })
}

fn batch(rows: &[Row]) -> PositionedBatch {
    let mut lists = builder::ListBuilder::new(builder::Float32Builder::new());
    for row in rows {
        match &row.list {
            Some(list) => lists.append_value(list.iter().copied()),
            None => lists.append_null(),
        }
    }
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("x", Arc::new(rows.iter().map(|row| row.x).collect::<Float64Array>())),
        ("list", Arc::new(lists.finish())),
        ("category", Arc::new(rows.iter().map(|row| row.category.map(|c| c.to_string())).collect::<StringArray>())),
        ("label", Arc::new(rows.iter().map(|row| row.label).collect::<Int64Array>())),
        ("weight", Arc::new(rows.iter().map(|row| Some(row.weight)).collect::<Float32Array>())),
    ];
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
            .unwrap();
    let faults = if rows.len() > 5 { vec![RowFault { row: 5, message: "bad".into(), payload: None }] } else { vec![] };
    PositionedBatch { batch, partition: Arc::from("p"), offsets: RowOffsets::From(7), faults }
}

fn encoder(batch: &PositionedBatch) -> Encoder {
    let category = FeatureKind::Category { encoding: CategoryEncoding::OneHot, size: 4 };
    let config = EncoderConfig {
        features: vec![
            FeatureConfig::auto("x"),
            FeatureConfig { kind: category, ..FeatureConfig::auto("category") },
            FeatureConfig::auto("list"),
        ],
        weight: Some("weight".into()),
        standardize: true,
        max_classes: 4,
        ..EncoderConfig::new(["x"], "label")
    };
    Encoder::new(config, &batch.batch.schema()).unwrap()
}

/// Encodes all rows in pieces of the given sizes, in turn.
fn in_pieces(encoder: &mut Encoder, batch: &PositionedBatch, from: usize, sizes: &[usize]) -> (Samples, Vec<Rejected>) {
    let (mut samples, mut rejected) = (Samples::default(), Vec::new());
    let (mut start, total) = (from, batch.batch.num_rows());
    for size in sizes.iter().cycle() {
        if start >= total {
            break;
        }
        let end = (start + size).min(total);
        encoder.encode(batch, start..end, 1000 + start as u64, &mut samples, &mut rejected).unwrap();
        start = end;
    }
    (samples, rejected)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn how_rows_are_cut_into_calls_does_not_matter(
        rows in prop::collection::vec(row(), 0..60),
        sizes in prop::collection::vec(1..40_usize, 1..5),
    ) {
        let batch = batch(&rows);
        let (mut whole, mut cut) = (encoder(&batch), encoder(&batch));
        let expected = in_pieces(&mut whole, &batch, 0, &[usize::MAX >> 1]);
        prop_assert_eq!(expected.0.len() + expected.1.len(), rows.len());
        prop_assert_eq!(&in_pieces(&mut cut, &batch, 0, &sizes), &expected);
        prop_assert_eq!(cut.save().unwrap(), whole.save().unwrap());
        prop_assert!(expected.0.features.iter().all(|value| value.is_finite()));
    }

    #[test]
    fn a_restored_encoder_goes_on_as_the_saved_one(rows in prop::collection::vec(row(), 1..60), cut in 0..60_usize) {
        let batch = batch(&rows);
        let cut = cut.min(rows.len());
        let mut straight = encoder(&batch);
        in_pieces(&mut straight, &PositionedBatch { batch: batch.batch.slice(0, cut), ..batch.clone() }, 0, &[9]);
        let mut resumed = encoder(&batch);
        resumed.restore(&straight.save().unwrap()).unwrap();
        prop_assert_eq!(resumed.shape(), straight.shape());
        prop_assert_eq!(in_pieces(&mut resumed, &batch, cut, &[5]), in_pieces(&mut straight, &batch, cut, &[7]));
        prop_assert_eq!(resumed.save().unwrap(), straight.save().unwrap());
        let twin = Encoder::from_description(&straight.describe().unwrap()).unwrap();
        let rows = 0..batch.batch.num_rows();
        prop_assert_eq!(
            twin.encode_frozen(&batch, rows.clone(), 0).unwrap(),
            straight.encode_frozen(&batch, rows, 0).unwrap()
        );
    }

    #[test]
    fn broken_state_is_an_error_and_leaves_the_encoder_as_it_was(
        rows in prop::collection::vec(row(), 1..30),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let batch = batch(&rows);
        let mut source = encoder(&batch);
        in_pieces(&mut source, &batch, 0, &[9]);
        let mut bytes = source.save().unwrap();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        let mut target = encoder(&batch);
        let before = target.save().unwrap();
        if target.restore(&bytes).is_err() {
            prop_assert_eq!(target.save().unwrap(), before);
        } else {
            // What was believed can be worked with.
            in_pieces(&mut target, &batch, 0, &[9]);
        }
    }

    #[test]
    fn broken_descriptions_are_errors(
        rows in prop::collection::vec(row(), 1..30),
        at in any::<prop::sample::Index>(),
        byte in prop::sample::select(b"0123456789-.eE\"[]{},:ntabx".to_vec()),
    ) {
        let batch = batch(&rows);
        let mut source = encoder(&batch);
        in_pieces(&mut source, &batch, 0, &[9]);
        let mut bytes = source.describe().unwrap().to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(value) = serde_json::from_slice(&bytes)
            && let Ok(encoder) = Encoder::from_description(&value)
        {
            let _ = encoder.encode_frozen(&batch, 0..batch.batch.num_rows(), 0);
        }
    }
}
