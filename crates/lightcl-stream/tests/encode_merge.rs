//! Encoders that learnt from disjoint rows, joined.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use arrow_array::*;
use arrow_schema::{DataType, Field, Schema};
use lightcl_core::*;
use lightcl_stream::encode::*;
use std::sync::Arc;

#[test]
fn encoders_are_joined_by_label_where_rows_become_the_same_numbers() {
    let rows = |colours: &[&str], kinds: &[&str]| {
        let schema =
            Schema::new(vec![Field::new("colour", DataType::Utf8, false), Field::new("kind", DataType::Utf8, false)]);
        let columns: Vec<ArrayRef> =
            vec![Arc::new(StringArray::from(colours.to_vec())), Arc::new(StringArray::from(kinds.to_vec()))];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    };
    let learnt = |colours: &[&str], kinds: &[&str], standardize: bool| {
        let config = EncoderConfig { standardize, max_classes: 4, ..EncoderConfig::new(["colour"], "kind") };
        let batch = rows(colours, kinds);
        let mut encoder = Encoder::new(config, &batch.schema()).unwrap();
        let count = batch.num_rows();
        let batch =
            PositionedBatch { batch, partition: Arc::from("rows"), offsets: RowOffsets::From(0), faults: Vec::new() };
        encoder.encode(&batch, 0..count, 0, &mut Samples::default(), &mut Vec::new()).unwrap();
        encoder
    };
    let mut encoder = learnt(&["red", "blue"], &["nut", "bolt"], false);
    // One more colour than ours, and classes in another order.
    let classes = encoder.merge(&learnt(&["red", "blue", "green"], &["cog", "bolt", "nut"], false)).unwrap();
    assert_eq!((classes.as_slice(), encoder.class_label(2).as_deref()), (&[2, 1, 0][..], Some("cog")));
    let before = encoder.describe().unwrap();
    for (other, said) in [
        (learnt(&["blue", "red"], &["nut", "bolt"], false), "hash"),
        (learnt(&["red", "blue"], &["nut", "bolt"], true), "sample.standardize"),
        (learnt(&["red", "blue"], &["axle", "gear"], false), "max_classes"),
    ] {
        let error = encoder.merge(&other).unwrap_err();
        assert!(error.message().contains(said), "{error}");
        assert_eq!(encoder.describe().unwrap(), before);
    }
    let mut again = Encoder::unbound(encoder.config().clone());
    again.restore(&encoder.save().unwrap()).unwrap();
    assert_eq!(again.describe().unwrap(), before);
}
