//! Statements that are given up, fail, or meet each other.

use crate::common::{
    COLUMNS, ELEC2, PIPELINE, POINTS, create, error, market, number, points, run, session, sql, state_of, straight,
    unbounded,
};
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use futures::future::{self, Either};
use lightcl_datafusion::{LearnExt, LearnOptions, Options, register};
use lightcl_pipeline::sink::latest_checkpoint;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Waits until nothing trains, for a second at most.
async fn idle(context: &SessionContext) {
    let started = Instant::now();
    while number(context, "SELECT count(*) FROM lightcl.models WHERE training").await > 0 {
        assert!(started.elapsed() < Duration::from_secs(1), "it did not end within a second");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn position(folder: &Path, partition: &str) -> u64 {
    latest_checkpoint(folder).unwrap().map_or(0, |checkpoint| checkpoint.header.positions.next(partition))
}

#[test]
fn an_insert_that_is_dropped_and_repeated_ends_with_the_bytes_of_a_straight_run() {
    let folder = tempfile::tempdir().unwrap();
    let (expected, rows) = straight(PIPELINE, &folder.path().join("program"), &[]);
    run(async {
        let place = folder.path().join("learner");
        let context = market(4).await;
        create(&context, "learner", &place, PIPELINE, &format!(", 'lightcl.partition' '{ELEC2}'")).await;
        let statement = format!("INSERT INTO learner SELECT {COLUMNS} FROM elec2 ORDER BY event_time");
        let mut learnt = 0;
        for _ in 0..2 {
            let mut stream = context.sql(&statement).await.unwrap().execute_stream().await.unwrap();
            let far_enough = Box::pin(async {
                while number(&context, "SELECT samples FROM lightcl.models").await < learnt + 5000 {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            });
            match future::select(stream.next(), far_enough).await {
                Either::Left(_) => panic!("it was through before it could be given up"),
                Either::Right(_) => {}
            }
            drop(stream);
            idle(&context).await;
            let now = position(&place, ELEC2);
            assert!(now > learnt && now < rows, "{now} after {learnt}");
            learnt = now;
        }
        assert_eq!(number(&context, &statement).await, rows - learnt);
        assert_eq!(state_of(&place), expected);
    });
}

#[test]
fn a_pass_that_is_dropped_and_repeated_ends_with_the_bytes_of_a_straight_run() {
    let folder = tempfile::tempdir().unwrap();
    let (expected, rows) = straight(PIPELINE, &folder.path().join("program"), &[]);
    run(async {
        let place = folder.path().join("learner");
        let context = market(4).await;
        let options = LearnOptions::new(PIPELINE).at(&place).partition(ELEC2);
        let frame = context.table("elec2").await.unwrap().learn(options).unwrap();
        let mut stream = frame.clone().execute_stream().await.unwrap();
        let mut seen = 0;
        while seen < 5000 {
            seen += stream.next().await.unwrap().unwrap().num_rows();
        }
        drop(stream);
        // No wait: a statement that follows waits for the one that was given up.
        let batches = frame.collect().await.unwrap();
        assert_eq!(batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>(), rows);
        assert_eq!(state_of(&place), expected);
    });
}

#[test]
fn of_two_statements_that_train_one_learner_the_second_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let context = session(2);
        let sender = unbounded(&context, "stream", 1).remove(0);
        context.register_batch("points", points(0..100, None)).unwrap();
        create(&context, "learner", folder.path(), POINTS, ", 'lightcl.partition' 'points'").await;
        let first = context.clone();
        let first =
            tokio::spawn(async move { number(&first, "INSERT INTO learner SELECT x, y, label FROM stream").await });
        sender.send(Ok(points(0..64, None))).await.unwrap();
        while number(&context, "SELECT count(*) FROM lightcl.models WHERE training").await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let again = "INSERT INTO learner SELECT x, y, label FROM points";
        let message = error(&context, again).await;
        assert!(message.contains("another statement is training the learner learner"), "{message}");
        // Another session, as another process, meets the lock on the folder.
        let other = session(2);
        other.register_batch("points", points(0..100, None)).unwrap();
        create(&other, "learner", folder.path(), POINTS, ", 'lightcl.partition' 'points'").await;
        let message = error(&other, again).await;
        assert!(message.contains("another run is writing into"), "{message}");
        drop(sender);
        assert_eq!(first.await.unwrap(), 64);
        assert_eq!(number(&context, again).await, 36);
    });
}

#[test]
fn a_small_memory_pool_gives_a_resources_error() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        // Room for the rows but not for the learner, and for neither.
        for (bytes, name) in [(200_000, "learner"), (1000, "rows")] {
            let pool = Arc::new(GreedyMemoryPool::new(bytes));
            let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().unwrap();
            let context = SessionContext::new_with_config_rt(SessionConfig::new().with_target_partitions(1), runtime);
            register(&context, Options::default()).unwrap();
            context.register_batch("points", points(0..2000, None)).unwrap();
            let wide = POINTS.replace("[8, 8]", "[256, 256]");
            let place = folder.path().join(name);
            create(&context, "learner", &place, &wide, "").await;
            let insert = "INSERT INTO learner SELECT x, y, label FROM points";
            let failure = sql(&context, insert).await.unwrap_err();
            assert!(matches!(failure.find_root(), DataFusionError::ResourcesExhausted(_)), "{bytes}: {failure}");
            let options = LearnOptions::new(&wide).at(folder.path().join(format!("{name}-pass")));
            let frame = context.table("points").await.unwrap().learn(options).unwrap();
            let failure = frame.collect().await.unwrap_err();
            assert!(matches!(failure.find_root(), DataFusionError::ResourcesExhausted(_)), "{bytes}: {failure}");
            idle(&context).await;
            assert_eq!(context.runtime_env().memory_pool.reserved(), 0);
        }
    });
}

#[test]
fn what_came_before_an_input_broke_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let context = session(2);
        let options = ", 'lightcl.partition' 'points'";
        let broken = || Err(DataFusionError::Execution("the wire was cut".to_owned()));
        let place = folder.path().join("insert");
        create(&context, "learner", &place, POINTS, options).await;
        let sender = unbounded(&context, "stream", 1).remove(0);
        sender.send(Ok(points(0..70, None))).await.unwrap();
        sender.send(broken()).await.unwrap();
        let message = error(&context, "INSERT INTO learner SELECT x, y, label FROM stream").await;
        assert!(message.contains("the wire was cut"), "{message}");
        assert_eq!(position(&place, "points"), 70);

        let place = folder.path().join("pass");
        let sender = unbounded(&context, "cut", 1).remove(0);
        sender.send(Ok(points(0..70, None))).await.unwrap();
        sender.send(broken()).await.unwrap();
        let options = LearnOptions::new(POINTS).at(&place).partition("points");
        let frame = context.table("cut").await.unwrap().learn(options).unwrap();
        let message = frame.collect().await.unwrap_err().to_string();
        assert!(message.contains("the wire was cut"), "{message}");
        idle(&context).await;
        assert_eq!(position(&place, "points"), 70);
    });
}

#[test]
fn a_limit_on_an_unbounded_input_ends_the_query_and_the_next_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let context = session(2);
        let feed = |name: &'static str| {
            let sender = unbounded(&context, name, 1).remove(0);
            tokio::spawn(async move {
                let mut first = 0;
                while sender.send(Ok(points(first..first + 50, None))).await.is_ok() {
                    first += 50;
                }
            })
        };
        let options = || LearnOptions::new(POINTS).at(folder.path()).partition("points");
        feed("first");
        let frame = context.table("first").await.unwrap().learn(options()).unwrap().limit(0, Some(120)).unwrap();
        let rows: usize = frame.collect().await.unwrap().iter().map(arrow_array::RecordBatch::num_rows).sum();
        assert_eq!(rows, 120);
        idle(&context).await;
        let learnt = position(folder.path(), "points");
        assert!(learnt >= 120, "{learnt}");
        feed("second");
        let frame = context.table("second").await.unwrap().learn(options()).unwrap().limit(0, Some(1000)).unwrap();
        frame.collect().await.unwrap();
        idle(&context).await;
        assert!(position(folder.path(), "points") > learnt);
    });
}
