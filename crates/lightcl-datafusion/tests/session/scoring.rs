//! Functions that score: what they give, which version of a model they use, and what they refuse.

use crate::scoring_support::{Workshop, column, query, refused};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Float32Type, Schema};
use datafusion::error::DataFusionError;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use lightcl_core::{PositionedBatch, RowOffsets};
use lightcl_pipeline::model::{Model, NetworkPart};
use lightcl_pipeline::sink::read_snapshot;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

fn one_partition() -> SessionConfig {
    SessionConfig::new().with_target_partitions(1)
}

fn model(folder: &Path) -> Model {
    Model::from_snapshot(&read_snapshot(&folder.join("snapshots/v000001")).unwrap()).unwrap()
}

/// The newest snapshot of one output folder becomes that of another, under a higher number.
fn publish(from: &Path, to: &Path, version: u64) {
    let (from, to) = (from.join("snapshots"), to.join("snapshots"));
    for blob in fs::read_dir(from.join("blobs")).unwrap() {
        let blob = blob.unwrap();
        fs::copy(blob.path(), to.join("blobs").join(blob.file_name())).unwrap();
    }
    let staged = to.join(".staged");
    fs::create_dir(&staged).unwrap();
    fs::copy(from.join("v000001/manifest.json"), staged.join("manifest.json")).unwrap();
    fs::rename(staged, to.join(format!("v{version:06}"))).unwrap();
}

#[tokio::test]
async fn labels_and_probabilities_are_those_of_the_model_itself() {
    let workshop = Workshop::with(&["parts", "mixed"]);
    let context = workshop.session(one_partition()).await;
    for (name, features) in [("parts", "x, y, colour"), ("mixed", "x, y")] {
        let rows = query(&context, "SELECT x, y, colour, label FROM parts").await;
        let own = model(&workshop.path(name));
        let mut expected = Vec::new();
        for batch in &rows {
            let (batch, partition) = (batch.clone(), Arc::from("rows"));
            let rows = PositionedBatch { batch, partition, offsets: RowOffsets::From(0), faults: Vec::new() };
            expected.extend(own.score(&rows, 0).unwrap().map(|row| row.unwrap()));
        }
        let sql = format!(
            "SELECT lightcl_predict('{name}', {features}) AS l, lightcl_proba('{name}', {features}) AS p FROM parts"
        );
        let found = query(&context, &sql).await;
        let mut row = 0;
        for batch in &found {
            let (labels, lists) = (batch.column(0).as_string::<i32>(), batch.column(1).as_list::<i32>());
            for (label, list) in labels.iter().zip(lists.iter()) {
                let list = list.unwrap();
                let best = list.as_primitive::<Float32Type>().values().iter().copied().fold(0.0, f32::max);
                assert_eq!(label, expected[row].predicted.as_deref(), "{name} {row}");
                assert_eq!(Some(best), expected[row].probability, "{name} {row}");
                row += 1;
            }
        }
        assert_eq!(row, 600);
    }
}

#[tokio::test]
async fn every_form_of_the_features_gives_the_same() {
    let workshop = Workshop::with(&["points"]);
    let context = workshop.session(one_partition()).await;
    let proba = async |features: &str| {
        column(&context, &format!("SELECT lightcl_proba('points', {features}) FROM parts")).await
    };
    let expected = proba("x::float, y::float").await;
    assert_eq!(expected.len(), 600);
    for features in [
        "x, y",
        "[x, y]",
        "arrow_cast([x, y], 'LargeList(Float64)')",
        "arrow_cast([x, y], 'FixedSizeList(2, Float32)')",
        "x, arrow_cast(y, 'Float32')",
    ] {
        assert_eq!(proba(features).await, expected, "{features}");
    }
}

/// A column of images of 2 x 2 that says so, stored upright or turned.
fn tensors(permutation: &str) -> RecordBatch {
    let rows = [Some([0.75, 0.25, 0.75, 0.25]), None, Some([0.25, 0.75, 0.25, 0.75])];
    let lists = rows.map(|row| row.map(|row| row.map(Some)));
    let lists = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(lists, 4);
    let metadata = HashMap::from([
        ("ARROW:extension:name".to_owned(), "arrow.fixed_shape_tensor".to_owned()),
        ("ARROW:extension:metadata".to_owned(), format!("{{\"shape\":[4]{permutation}}}")),
    ]);
    let field = Field::new("image", lists.data_type().clone(), true).with_metadata(metadata);
    RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::new(lists) as ArrayRef]).unwrap()
}

#[tokio::test]
async fn tensors_keep_what_their_type_says_on_the_way_to_the_model() {
    let workshop = Workshop::with(&["pixels"]);
    let context = workshop.session(one_partition()).await;
    context.register_batch("images", tensors("")).unwrap();
    let sql = "SELECT lightcl_predict('pixels', image) FROM images";
    assert_eq!(column(&context, sql).await, ["bolt", "null", "nut"]);
    context.register_batch("broken", tensors(",\"permutation\":[1]")).unwrap();
    let error = refused(&context, "SELECT lightcl_predict('pixels', image) FROM broken").await;
    assert!(error.contains("permutation does not name every dimension once"), "{error}");
}

#[tokio::test]
async fn activations_are_those_of_the_network_and_null_rows_are_null() {
    let workshop = Workshop::with(&["points"]);
    let context = workshop.session(one_partition()).await;
    let own = model(&workshop.path("points"));
    let rows = query(&context, "SELECT x, y FROM parts").await;
    for (function, part, width) in
        [("lightcl_embed", NetworkPart::Prefix, 16), ("lightcl_embed_suffix", NetworkPart::Suffix, 8)]
    {
        let sql = format!("SELECT {function}('points', x, CASE WHEN number = 3 THEN NULL ELSE y END) AS e FROM parts");
        let found = query(&context, &sql).await;
        let item = Arc::new(Field::new_list_field(DataType::Float32, true));
        assert_eq!(found[0].schema().field(0).data_type(), &DataType::FixedSizeList(item, width));
        let encoded = own.encoder.encode_features(&rows[0]).unwrap();
        let expected = own.activations(part, &encoded).unwrap().values;
        let lists = found[0].column(0).as_fixed_size_list();
        assert!(lists.is_null(3) && lists.is_valid(2) && lists.is_valid(4));
        for row in [0, 2, 4, 599] {
            let values = lists.value(row);
            let values = values.as_primitive::<Float32Type>().values();
            let expected = &expected[row * width as usize..][..width as usize];
            // Rows behind the null stand elsewhere in their chunk, where a product may round otherwise.
            assert!(
                values.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs().max(1.0)),
                "{function} {row}"
            );
        }
    }
}

#[tokio::test]
async fn the_next_query_takes_a_newer_snapshot_and_one_that_runs_does_not() {
    let workshop = Workshop::with(&["points"]);
    // Learnt the other way round: what was a bolt is a nut.
    let turned = crate::scoring_support::rows()
        .replace("\"bolt\"", "\"?\"")
        .replace("\"nut\"", "\"bolt\"")
        .replace("\"?\"", "\"nut\"");
    fs::write(workshop.path("turned.jsonl"), turned).unwrap();
    let pipeline = format!(
        "[source]\ntype = \"jsonl\"\npath = {:?}\n[sample]\nfeatures = [\"x\", \"y\"]\nlabel = \"label\"\nstandardize = true\n\
         [learner]\nhidden = [16, 8]\nfrozen = 1\npasses = 4\nlearning_rate = 0.05\nwindow_samples = 64\nhead = \"network\"\n",
        workshop.path("turned.jsonl")
    );
    crate::scoring_support::train(&pipeline, &workshop.path("turned"));
    let context = workshop.session(one_partition().with_batch_size(64)).await;
    let sql = "SELECT lightcl_predict('points', x, y) = label FROM parts";
    let frame = context.sql(sql).await.unwrap();
    assert!(column(&context, sql).await.iter().all(|right| right == "true"));

    let mut stream = frame.clone().execute_stream().await.unwrap();
    let first = stream.next().await.unwrap().unwrap();
    assert!(first.num_rows() < 600, "the query is not over with its first batch");
    publish(&workshop.path("turned"), &workshop.path("points"), 2);
    let mut rows = first.num_rows();
    while let Some(batch) = stream.next().await {
        let batch = batch.unwrap();
        assert_eq!(batch.column(0).as_boolean().true_count(), batch.num_rows(), "one version inside a query");
        rows += batch.num_rows();
    }
    assert_eq!(rows, 600);
    assert!(column(&context, sql).await.iter().all(|right| right == "false"), "the next query takes the newer version");
    let again = frame.collect().await.unwrap();
    assert!(again.iter().all(|batch| batch.column(0).as_boolean().true_count() == 0), "a frame that is run again too");
    let first_version =
        format!("SELECT lightcl_predict('{}', x, y) = label FROM parts", workshop.text("points/snapshots/v000001"));
    assert!(column(&context, &first_version).await.iter().all(|right| right == "true"), "a snapshot by its path stays");
}

#[tokio::test]
async fn a_damaged_snapshot_is_a_planning_error_and_its_predecessor_is_not_taken_for_it() {
    let workshop = Workshop::with(&["points"]);
    let context = workshop.session(one_partition()).await;
    let sql = "SELECT lightcl_predict('points', x, y) FROM parts";
    assert_eq!(column(&context, sql).await.len(), 600);
    let broken = workshop.path("points/snapshots/v000002");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("manifest.json"), "{\"format\": 1").unwrap();
    assert!(refused(&context, sql).await.contains("is no manifest of a snapshot"));
    fs::remove_dir_all(&broken).unwrap();
    assert_eq!(column(&context, sql).await.len(), 600);
    let blobs = workshop.path("points/snapshots/blobs");
    let blob = fs::read_dir(blobs).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&blob).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&blob, bytes).unwrap();
    // A model that is loaded stays; who reads it anew sees the damage.
    assert_eq!(column(&context, sql).await.len(), 600);
    let other = workshop.session(one_partition()).await;
    let error = refused(&other, sql).await;
    assert!(error.starts_with("Error during planning: ") && error.contains("damaged"), "{error}");
    assert!(error.contains("model: points") && error.contains("function: lightcl_predict"), "{error}");
}

#[tokio::test]
async fn mistakes_are_planning_errors_that_name_what_is_wrong() {
    let workshop = Workshop::with(&["points", "parts"]);
    let context = workshop.session(one_partition()).await;
    for (call, said) in [
        ("lightcl_predict('point', x, y)", "there is no model 'point'"),
        ("lightcl_predict('point', x, y)", "did you mean 'points'?"),
        ("lightcl_predict(label, x, y)", "must be constant text"),
        ("lightcl_predict('points', x)", "the model has 2 features, but 1 was given"),
        ("lightcl_predict('points', x, y, number)", "but 3 were given"),
        ("lightcl_predict('points', x, colour)", "the feature column 'y' cannot be used"),
        ("lightcl_predict('parts', [x, y, x])", "'colour' is no plain number; give each feature by itself"),
        ("lightcl_embed('points', x, pixels)", "the feature column 'y' cannot be used"),
    ] {
        let sql = format!("SELECT {call} FROM parts");
        let error = context.sql(&sql).await.unwrap_err();
        assert!(matches!(error.find_root(), DataFusionError::Plan(_)), "{sql}: {error:?}");
        assert!(error.to_string().contains(said), "{sql}: {error}");
    }
}

#[tokio::test]
async fn scores_do_not_depend_on_partitions() {
    let workshop = Workshop::with(&["mixed"]);
    let sql = "SELECT number, lightcl_predict('mixed', x, y) AS l FROM parts ORDER BY number";
    let mut results = Vec::new();
    for partitions in [1, 4] {
        let config = SessionConfig::new().with_target_partitions(partitions).with_batch_size(50);
        let context = workshop.session(config).await;
        results.push(column(&context, &format!("SELECT l FROM ({sql})")).await);
    }
    assert_eq!(results[0].len(), 600);
    assert_eq!(results[0], results[1]);
}

#[tokio::test]
async fn expressions_outside_of_a_query_take_the_newest_snapshot() {
    let workshop = Workshop::with(&["points"]);
    let context = workshop.session(one_partition()).await;
    let rows = query(&context, "SELECT x, y, label FROM parts").await;
    let schema = datafusion::common::DFSchema::try_from(rows[0].schema()).unwrap();
    let expression = context.parse_sql_expr("lightcl_predict('points', x, y) = label", &schema).unwrap();
    let expression = context.create_physical_expr(expression, &schema).unwrap();
    let right = expression.evaluate(&rows[0]).unwrap().into_array(600).unwrap();
    assert_eq!(right.as_boolean().true_count(), 600);
}

#[tokio::test]
async fn a_session_says_what_the_functions_are() {
    let workshop = Workshop::with(&[]);
    let config = one_partition().with_information_schema(true);
    let context: SessionContext = workshop.session(config).await;
    let names = column(
        &context,
        "SELECT DISTINCT routine_name FROM information_schema.routines WHERE routine_name LIKE 'lightcl_%' ORDER BY 1",
    )
    .await;
    let learning = ["lightcl_learn", "lightcl_learn_by_key"];
    let scoring = ["lightcl_classes", "lightcl_embed", "lightcl_embed_suffix", "lightcl_predict", "lightcl_proba"];
    let mut expected = [&learning[..], &scoring[..]].concat();
    expected.sort_unstable();
    assert_eq!(names, expected);
}
