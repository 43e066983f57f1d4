//! Test-then-train over rows that pass through.

use crate::common::{
    ELEC2, PIPELINE, POINTS, error, market, number, plan, points, run, session, sql, state_of, straight, unbounded,
};
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, UInt32Type, UInt64Type};
use datafusion::prelude::{SessionContext, col, lit};
use futures::StreamExt;
use lightcl_core::Prediction;
use lightcl_datafusion::{LearnExt, LearnOptions};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const ROWS: u64 = 3000;

/// Points whose labels turn round half way.
fn register_points(context: &SessionContext) {
    context.register_batch("points", points(0..ROWS, Some(ROWS / 2))).unwrap();
}

fn options(place: &Path) -> LearnOptions {
    LearnOptions::new(POINTS).at(place).partition("points").named("learner")
}

/// The SQL form of the same.
fn function(place: &Path) -> String {
    format!(
        "lightcl_learn('points', '{POINTS}', 'location', '{}', 'partition', 'points', 'name', 'learner')",
        place.display()
    )
}

fn rows(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// What is learnt from all points when nothing is above.
async fn whole(place: &Path) -> String {
    let context = session(2);
    register_points(&context);
    let frame = context.table("points").await.unwrap().learn(options(place)).unwrap();
    assert_eq!(rows(&frame.collect().await.unwrap()) as u64, ROWS);
    state_of(place)
}

#[test]
fn rows_pass_in_order_with_what_the_program_predicts_and_it_learns_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (program, place) = (folder.path().join("program"), folder.path().join("sql"));
    let (expected, count) = straight(PIPELINE, &program, &["predictions.format=jsonl"]);
    let lines = std::fs::read_to_string(program.join("predictions.jsonl")).unwrap();
    let mut predictions = lines.lines().map(|line| serde_json::from_str::<Prediction>(line).unwrap());
    run(async {
        let context = market(4).await;
        let options = LearnOptions::new(PIPELINE).at(&place).partition(ELEC2);
        let frame = context.table("elec2").await.unwrap().learn(options).unwrap();
        let batches = frame.collect().await.unwrap();
        assert_eq!(rows(&batches) as u64, count);
        for batch in &batches {
            let (predicted, score) = (batch.column_by_name("lightcl_predicted"), batch.column_by_name("lightcl_score"));
            let (predicted, score) =
                (predicted.unwrap().as_string::<i32>(), score.unwrap().as_primitive::<Float32Type>());
            let task = batch.column_by_name("lightcl_task").unwrap().as_primitive::<UInt32Type>();
            let version = batch.column_by_name("lightcl_model_version").unwrap().as_primitive::<UInt64Type>();
            for row in 0..batch.num_rows() {
                let expected = predictions.next().expect("one a row");
                assert_eq!(predicted.iter().nth(row).flatten(), expected.predicted.as_deref());
                assert_eq!(score.iter().nth(row).flatten(), expected.probability);
                assert_eq!((task.value(row), version.value(row)), (expected.task, expected.model_version));
            }
        }
        assert!(predictions.next().is_none());
    });
    assert_eq!(state_of(&place), expected);
}

#[test]
fn limits_filters_sorts_and_projections_above_change_nothing_in_what_is_learnt() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let all = whole(&folder.path().join("whole")).await;
        let cases = [
            ("SELECT * FROM {} LIMIT 10", 10),
            ("SELECT x FROM {} LIMIT 10 OFFSET 5", 10),
            ("SELECT * FROM {} WHERE x > 0.5 AND lightcl_task = 0", 0),
            ("SELECT * FROM {} WHERE x > 2.0", 0),
            ("SELECT * FROM {} WHERE x > 0.5 LIMIT 3", 3),
            ("SELECT label FROM (SELECT * FROM {} LIMIT 20) WHERE abs(x) >= 0.0 LIMIT 3 OFFSET 2", 3),
            ("SELECT * FROM {} ORDER BY y DESC LIMIT 7", 7),
            ("SELECT * FROM {} ORDER BY x", ROWS as usize),
            ("SELECT count(*) FROM {}", 1),
            ("SELECT lightcl_boundary, count(*) FROM {} GROUP BY 1", 0),
            (
                "SELECT label FROM {} l JOIN (SELECT DISTINCT label AS other FROM points) o ON l.label = o.other LIMIT 4",
                4,
            ),
        ];
        for (number, (query, count)) in cases.into_iter().enumerate() {
            let place = folder.path().join(number.to_string());
            let context = session(4);
            register_points(&context);
            let batches = sql(&context, &query.replace("{}", &function(&place))).await.unwrap();
            assert!(count == 0 || rows(&batches) == count, "{query}: {}", rows(&batches));
            assert_eq!(state_of(&place), all, "{query}");
        }
    });
}

#[test]
fn a_sort_below_decides_the_order_and_one_above_does_not() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let learnt = |name: &str, sorted: bool, above: bool| {
            let place = folder.path().join(name);
            async move {
                let context = session(4);
                register_points(&context);
                let mut frame = context.table("points").await.unwrap();
                if sorted {
                    frame = frame.sort(vec![col("x").sort(true, true)]).unwrap();
                }
                frame = frame.learn(options(&place)).unwrap();
                if above {
                    frame = frame.sort(vec![col("y").sort(true, true)]).unwrap();
                }
                let batches = frame.collect().await.unwrap();
                let first = batches[0].column(usize::from(above)).as_primitive::<Float64Type>().values().to_vec();
                assert!(!(sorted || above) || first.is_sorted(), "{first:?}");
                state_of(&place)
            }
        };
        let sorted = learnt("sorted", true, false).await;
        assert_eq!(learnt("both", true, true).await, sorted);
        assert_ne!(learnt("above", false, true).await, sorted);
    });
}

#[test]
fn rows_that_were_learnt_from_are_only_scored() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let state = whole(folder.path()).await;
        let context = session(2);
        register_points(&context);
        let query = format!("SELECT * FROM {}", function(folder.path()));
        let batches = sql(&context, &query).await.unwrap();
        assert_eq!((rows(&batches) as u64, state_of(folder.path())), (ROWS, state));
        // The model as it is now has learnt the last rule.
        let right = format!("SELECT count(*) FROM {} WHERE lightcl_predicted = label", function(folder.path()));
        let right = number(&context, &right).await;
        assert!((ROWS / 4..ROWS * 3 / 4).contains(&right), "{right}");
        let shown = plan(&context, &format!("EXPLAIN ANALYZE {query}")).await;
        assert!(shown.contains("skipped_rows=3.00 K") && shown.contains("taken_rows=0"), "{shown}");
    });
}

#[test]
fn boundaries_are_flagged_and_rejected_rows_pass_with_nulls() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let context = session(2);
        register_points(&context);
        sql(&context, "CREATE VIEW holes AS SELECT CASE WHEN x > 0.9 THEN NULL ELSE x END AS x, y, label FROM points")
            .await
            .unwrap();
        let source = function(folder.path()).replacen("'points'", "'holes'", 1);
        sql(&context, &format!("CREATE TABLE kept AS SELECT * FROM {source}")).await.unwrap();
        assert_eq!(number(&context, "SELECT count(*) FROM kept").await, ROWS);
        let bad = number(&context, "SELECT count(*) FROM kept WHERE x IS NULL").await;
        let nulls = "SELECT count(*) FROM kept WHERE lightcl_task IS NULL AND lightcl_boundary IS NULL AND x IS NULL";
        assert_eq!(number(&context, nulls).await, bad);
        assert_eq!(number(&context, "SELECT count(*) FROM lightcl.dead_letters").await, bad);
        let flags = number(&context, "SELECT count(*) FROM kept WHERE lightcl_boundary").await;
        let events = number(&context, "SELECT count(*) FROM lightcl.boundaries WHERE model = 'learner'").await;
        assert_eq!(flags, events);
        assert!(flags > 0);
    });
}

#[test]
fn nothing_is_kept_without_a_location_and_every_run_begins_anew() {
    run(async {
        let context = session(2);
        register_points(&context);
        let frame = context.table("points").await.unwrap().learn(LearnOptions::new(POINTS).named("free")).unwrap();
        let first = frame.clone().collect().await.unwrap();
        let hash = "SELECT state_sha256 FROM lightcl.models WHERE name = 'free' AND location IS NULL";
        let state = crate::common::texts(&context, hash).await;
        assert!(state[0].is_some());
        assert_eq!(frame.collect().await.unwrap(), first);
        assert_eq!(crate::common::texts(&context, hash).await, state);
    });
}

#[test]
fn plans_show_the_learner() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let context = session(4);
        register_points(&context);
        let frame = context.table("points").await.unwrap().filter(col("x").gt(lit(0.0))).unwrap();
        let frame = frame.learn(options(folder.path())).unwrap().filter(col("y").gt(lit(0.0))).unwrap();
        let shown = frame.explain(false, false).unwrap().collect().await.unwrap();
        let shown = datafusion::arrow::util::pretty::pretty_format_batches(&shown).unwrap().to_string();
        for expected in
            ["Learn: pipeline=(text), name=learner, location=", "LearnExec: learner=learner, location=", "InOrderExec"]
        {
            assert!(shown.contains(expected), "{expected}\n{shown}");
        }
        let learn = shown.find("LearnExec").unwrap();
        assert!(shown.rfind("FilterExec").unwrap() > learn && shown.find("FilterExec").unwrap() < learn, "{shown}");
        assert!(!folder.path().join("checkpoints").exists());
    });
}

#[test]
fn what_is_wrong_is_said() {
    run(async {
        let context = session(2);
        register_points(&context);
        let cases = [
            ("lightcl_learn('points')".to_owned(), "a table and a pipeline are needed"),
            (format!("lightcl_learn('pints', '{POINTS}')"), "there is no table 'pints'; there are points"),
            (format!("lightcl_learn('points', '{POINTS}', 'location')"), "the option 'location' has no value"),
            (format!("lightcl_learn('points', '{POINTS}', 'loction', 'x')"), "did you mean 'location'?"),
            (format!("lightcl_learn('points', '{POINTS}', 'max_wait_ms', 'x')"), "a whole number of milliseconds"),
            (format!("lightcl_learn(points, '{POINTS}')"), "all arguments are texts"),
            (format!("lightcl_learn('points', '{}')", POINTS.replace("\"y\"]", "\"z\"]")), "no feature column 'z'"),
        ];
        for (call, expected) in cases {
            let message = error(&context, &format!("SELECT * FROM {call}")).await;
            assert!(message.contains(expected), "{message}");
        }
        let bare = SessionContext::new();
        register_points(&bare);
        let frame = bare.table("points").await.unwrap().learn(LearnOptions::new(POINTS)).unwrap();
        assert!(frame.collect().await.is_err());
    });
}

#[test]
fn rows_of_a_slow_stream_come_within_a_second_and_a_query_that_is_dropped_commits_within_one() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let context = session(2);
        let sender = unbounded(&context, "stream", 1).remove(0);
        let frame = context.table("stream").await.unwrap().learn(options(folder.path())).unwrap();
        let mut stream = frame.execute_stream().await.unwrap();
        // 100 rows a second; windows and batches have 32.
        let sent = Arc::new(Mutex::new(Vec::new()));
        let times = Arc::clone(&sent);
        let feeding = tokio::spawn(async move {
            for row in 0..400 {
                times.lock().unwrap().push(Instant::now());
                if sender.send(Ok(points(row..row + 1, None))).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let (mut seen, mut longest) = (0, Duration::ZERO);
        while seen < 150 {
            let batch = stream.next().await.unwrap().unwrap();
            longest = longest.max(sent.lock().unwrap()[seen].elapsed());
            seen += batch.num_rows();
        }
        assert!(longest < Duration::from_secs(1), "{longest:?}");
        drop(stream);
        let dropped = Instant::now();
        while number(&context, "SELECT count(*) FROM lightcl.models WHERE name = 'learner' AND training").await > 0 {
            assert!(dropped.elapsed() < Duration::from_secs(1));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        feeding.abort();
        let committed = lightcl_pipeline::sink::latest_checkpoint(folder.path()).unwrap().unwrap();
        assert!(committed.header.positions.next("points") >= seen as u64);
    });
}
