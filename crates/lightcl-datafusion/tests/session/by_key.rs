//! A learner for each key.

use crate::common::{POINTS, error, plan, points, run, session, sql, state_of, unbounded};
use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::compute::take_record_batch;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use lightcl_datafusion::{KeyedOptions, LearnByKeyExt, Options, register};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const KEYS: [Option<&str>; 5] = [Some("Ann"), Some("Bob/é"), None, Some(""), Some("Dora")];
const ROWS: u64 = 3000;

/// Points with a key and a time, in no order, in so many partitions.
fn register_samples(context: &SessionContext, partitions: usize) {
    let batch = points(0..ROWS, None);
    let keys: StringArray = (0..ROWS as usize).map(|row| KEYS[(row * 7 / 3) % KEYS.len()]).collect();
    let times = Int64Array::from_iter_values(0..ROWS as i64);
    let mut columns: Vec<(&str, ArrayRef)> = vec![("k", Arc::new(keys)), ("t", Arc::new(times))];
    columns.extend(["x", "y", "label"].map(|name| (name, Arc::clone(batch.column_by_name(name).unwrap()))));
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mixed: Int64Array = (0..ROWS as i64).map(|row| row * 1009 % ROWS as i64).collect();
    let batch = take_record_batch(&batch, &mixed).unwrap();
    let rows = ROWS as usize / partitions;
    let parts = (0..partitions).map(|part| vec![batch.slice(part * rows, rows)]).collect();
    context.register_table("samples", Arc::new(MemTable::try_new(batch.schema(), parts).unwrap())).unwrap();
}

fn samples(partitions: usize) -> SessionContext {
    let context = session(partitions);
    register_samples(&context, partitions);
    context
}

fn call(folder: &Path, more: &str) -> String {
    let folder = folder.display();
    format!(
        "lightcl_learn_by_key('samples', '{POINTS}', 'key', 'k', 'order', 't', 'location', '{folder}', 'range', 'all' {more})"
    )
}

/// What came of each learner: rows, and the hash of its state.
async fn train(context: &SessionContext, folder: &Path, more: &str) -> BTreeMap<Option<String>, (u64, Option<String>)> {
    let call = call(folder, more);
    let batches = sql(context, &format!("SELECT key, rows, state_sha256 FROM {call}")).await.unwrap();
    let mut found = BTreeMap::new();
    for batch in batches {
        let text = |column: usize, row: usize| {
            let column = batch.column(column).as_string::<i32>();
            (!arrow_array::Array::is_null(column, row)).then(|| column.value(row).to_owned())
        };
        for row in 0..batch.num_rows() {
            let rows = batch.column(1).as_primitive::<UInt64Type>().value(row);
            assert!(found.insert(text(0, row), (rows, text(2, row))).is_none(), "a key came twice");
        }
    }
    found
}

#[test]
fn learners_do_not_depend_on_partitions_and_are_those_of_inserts() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let one = train(&samples(1), &folder.path().join("one"), "").await;
        assert_eq!(
            one.keys().map(Option::as_deref).collect::<Vec<_>>(),
            [None, Some(""), Some("Ann"), Some("Bob/é"), Some("Dora")]
        );
        assert!(one[&None].1.is_none() && one.values().map(|(rows, _)| rows).sum::<u64>() == ROWS);
        let four = train(&samples(4), &folder.path().join("four"), "").await;
        assert_eq!(one, four);

        let context = samples(4);
        let insert = folder.path().join("insert");
        let statement = format!(
            "CREATE EXTERNAL TABLE ann (k VARCHAR, t BIGINT, x DOUBLE, y DOUBLE, label VARCHAR) STORED AS LIGHTCL LOCATION '{}' \
             OPTIONS ('lightcl.pipeline' '{POINTS}', 'lightcl.partition' 'all')",
            insert.display()
        );
        sql(&context, &statement).await.unwrap();
        sql(&context, "INSERT INTO ann SELECT * FROM samples WHERE k = 'Ann' ORDER BY t").await.unwrap();
        assert_eq!(one[&Some("Ann".to_owned())].1, Some(state_of(&insert)));
    });
}

#[test]
fn a_second_run_trains_nothing_and_gives_the_same() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let context = samples(2);
        let first = train(&context, folder.path(), "").await;
        let written = |key: &str| {
            let summary = folder.path().join("backfill/all").join(key).join("summary.json");
            std::fs::metadata(summary).unwrap().modified().unwrap()
        };
        let before = (written("Ann"), written("Bob%2F%C3%A9"), written("%"));
        assert_eq!(train(&context, folder.path(), "").await, first);
        assert_eq!((written("Ann"), written("Bob%2F%C3%A9"), written("%")), before);
        let shown = plan(&context, &format!("EXPLAIN ANALYZE SELECT * FROM {}", call(folder.path(), ""))).await;
        assert!(shown.contains("LearnByKeyExec: key=k, order=[t]") && shown.contains("skipped_rows=2.4"), "{shown}");
        // Under another name it is trained anew, and learns the same.
        let again = train(&context, folder.path(), ", 'job', 'again'").await;
        assert_eq!(again, first);
    });
}

#[test]
fn what_is_interrupted_goes_on_where_it_was() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let whole = train(&samples(1), &folder.path().join("whole"), "").await;
        let options = KeyedOptions::new(POINTS, "k", folder.path().join("cut")).order("t").range("all");
        let frame = samples(1).table("samples").await.unwrap().learn_by_key(options).unwrap();
        let mut rows = frame.execute_stream().await.unwrap();
        rows.next().await.unwrap().unwrap();
        rows.next().await.unwrap().unwrap();
        drop(rows);
        let done = || std::fs::read_dir(folder.path().join("cut/backfill/all")).map_or(0, Iterator::count);
        assert!((1..4).contains(&done()), "{}", done());
        assert_eq!(train(&samples(3), &folder.path().join("cut"), "").await, whole);
        assert_eq!(done(), 4);
    });
}

#[test]
fn mistakes_are_told_before_anything_is_trained() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let context = samples(2);
        let told = async |arguments: &str| {
            error(&context, &format!("SELECT * FROM lightcl_learn_by_key('samples', '{POINTS}', {arguments})")).await
        };
        let out = folder.path().join("out");
        let place = format!("'location', '{}'", out.display());
        assert!(told(&format!("'key', 'k', {place}")).await.contains("needs the option 'order'"));
        assert!(told(&format!("'key', 'kk', 'order', 't', {place}")).await.contains("there are k, t, x, y, label"));
        assert!(told(&format!("'key', 'x', 'order', 't', {place}")).await.contains("has the type Float64"));
        assert!(told(&format!("'key', 'k', 'order', 't', 'job', 'a/b', {place}")).await.contains("option 'job'"));
        assert!(
            told(&format!("'key', 'k', 'order', 't', {place}, 'set.learner.nothing', '1'")).await.contains("nothing")
        );
        let tied = told(&format!("'key', 'k', 'order', 'label', {place}")).await;
        assert!(tied.contains("stand at one place in the order"), "{tied}");
        unbounded(&context, "endless", 1);
        let statement =
            format!("SELECT * FROM lightcl_learn_by_key('endless', '{POINTS}', 'key', 'label', 'order', 'x', {place})");
        let endless = error(&context, &statement).await;
        assert!(endless.contains("reads its input to the end"), "{endless}");
        let results = out.join("backfill");
        assert!(!results.exists() || std::fs::read_dir(results.join(".attempts")).unwrap().count() == 0);
    });
}

#[test]
fn other_rows_and_another_pipeline_under_the_same_name_are_refused() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        train(&samples(2), folder.path(), "").await;
        let context = session(2);
        register_samples(&context, 2);
        sql(&context, "CREATE VIEW fewer AS SELECT * FROM samples WHERE t > 10").await.unwrap();
        let statement = format!("SELECT * FROM {}", call(folder.path(), ""));
        let fewer = error(&context, &statement.replace("'samples'", "'fewer'")).await;
        assert!(fewer.contains("was trained on other rows") && fewer.contains("rows now"), "{fewer}");
        let other =
            error(&context, &format!("SELECT * FROM {}", call(folder.path(), ", 'set.learner.seed', '9'"))).await;
        assert!(other.contains("made with another pipeline") && other.contains("name the job anew"), "{other}");
        std::fs::write(folder.path().join("backfill/all/Ann/summary.json"), "{").unwrap();
        let damaged = error(&context, &statement).await;
        assert!(damaged.contains("summary of a learner is damaged"), "{damaged}");
    });
}

#[test]
fn a_pool_that_is_too_small_is_an_error_and_leaves_nothing_half_done() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let runtime =
            RuntimeEnvBuilder::new().with_memory_pool(Arc::new(GreedyMemoryPool::new(200_000))).build_arc().unwrap();
        let context = SessionContext::new_with_config_rt(SessionConfig::new().with_target_partitions(1), runtime);
        register(&context, Options::default()).unwrap();
        register_samples(&context, 1);
        let failed = sql(&context, &format!("SELECT * FROM {}", call(folder.path(), ""))).await.unwrap_err();
        assert!(matches!(failed.find_root(), DataFusionError::ResourcesExhausted(_)), "{failed}");
        let results = folder.path().join("backfill/all");
        assert!(!results.exists() || std::fs::read_dir(results).unwrap().count() == 0);
    });
}
