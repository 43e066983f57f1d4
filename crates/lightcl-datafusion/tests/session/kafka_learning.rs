//! Learning from topics, against a real broker: an endless stream, stopped and gone on with.

use crate::common::{error, number, points, run, session, sql, texts, unbounded};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Float64Array, RecordBatch};
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use lightcl_datafusion::{LearnExt, LearnOptions};
use lightcl_testkit::services::{self, Broker};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const COLUMNS: &str = r#""kafka.partition" INT, "kafka.offset" BIGINT, x DOUBLE, y DOUBLE, label VARCHAR, sent BIGINT"#;

const PIPELINE: &str = r#"
[sample]
features = ["x", "y"]
label = "label"
[learner]
backbone = "mlp"
hidden = [8, 8]
frozen = 1
window_samples = 32
head = "network"
"#;

/// The topic as a table to read from for ever, and as one to read to its end and to write to.
async fn topic(context: &SessionContext, broker: &Broker, name: &str) {
    for (kind, table) in [("UNBOUNDED", "live"), ("", "rows")] {
        let statement = format!(
            "CREATE {kind} EXTERNAL TABLE {table} ({COLUMNS}) STORED AS KAFKA LOCATION 'kafka://{}/{name}'",
            broker.bootstrap()
        );
        sql(context, &statement).await.unwrap();
    }
}

async fn learner(context: &SessionContext, place: &Path) {
    let statement = format!(
        "CREATE EXTERNAL TABLE learner ({COLUMNS}) STORED AS LIGHTCL LOCATION '{}' OPTIONS ('lightcl.pipeline' '{PIPELINE}', \
         'lightcl.partition' 'samples', 'lightcl.partition_column' 'kafka.partition', 'lightcl.offset' 'kafka.offset', \
         'lightcl.order' 'arrival', 'lightcl.set.checkpoint.every_samples' '50')",
        place.display()
    );
    sql(context, &statement).await.unwrap();
}

/// Writes so many rows into both partitions by turns.
async fn write(context: &SessionContext, rows: std::ops::Range<usize>) {
    let values: Vec<String> = rows
        .map(|row| {
            let (x, y) = ((row * 7 % 11) as f64 - 5.0, (row * 5 % 13) as f64 - 6.0);
            let label = if x + y > 0.0 { "above" } else { "below" };
            format!("({}, {x}, {y}, '{label}', 0)", row % 2)
        })
        .collect();
    let columns = r#""kafka.partition", x, y, label, sent"#;
    let statement = format!("INSERT INTO rows ({columns}) VALUES {}", values.join(", "));
    assert_eq!(number(context, &statement).await, values.len() as u64);
}

/// Waits until the learner has so many rows.
async fn until_samples(context: &SessionContext, rows: u64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let samples = &texts(context, "SELECT samples FROM lightcl.models WHERE name = 'learner'").await[0];
        if samples.as_deref() == Some(rows.to_string().as_str()) {
            return;
        }
        assert!(Instant::now() < deadline, "{samples:?} of {rows}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn an_endless_insert_learns_each_record_once_however_often_it_is_stopped() {
    if !services::ready_or_skipped() {
        return;
    }
    let broker = Broker::shared();
    broker.create_topic("sql-endless", 2, &[]);
    let folder = tempfile::tempdir().unwrap();
    run(async {
        for (round, rows) in [0..300, 300..510, 510..530].into_iter().enumerate() {
            // A session of its own each time, as after the end of a process.
            let context = session(2);
            topic(&context, broker, "sql-endless").await;
            learner(&context, folder.path()).await;
            let insert = "INSERT INTO learner SELECT * FROM live";
            let inserting = tokio::spawn({
                let context = context.clone();
                async move { sql(&context, insert).await.map(|_| ()) }
            });
            let all = rows.end as u64;
            write(&context, rows).await;
            until_samples(&context, all).await;
            let asked = Instant::now();
            inserting.abort();
            assert!(inserting.await.unwrap_err().is_cancelled());
            // The next one waits until this one has let go; then all is committed.
            let training = "SELECT count(*) FROM lightcl.models WHERE training";
            while number(&context, training).await > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
            let positions = texts(&context, "SELECT positions FROM lightcl.models").await;
            let half = all / 2;
            let expected = format!("{{\"samples-0\":{half},\"samples-1\":{half}}}");
            assert_eq!(positions, [Some(expected)], "round {round}");
        }
        let context = session(2);
        topic(&context, broker, "sql-endless").await;
        let plain = folder.path().join("plain");
        let statement = format!(
            "CREATE EXTERNAL TABLE learner ({COLUMNS}) STORED AS LIGHTCL LOCATION '{}' \
             OPTIONS ('lightcl.pipeline' '{PIPELINE}')",
            plain.display()
        );
        sql(&context, &statement).await.unwrap();
        let message = error(&context, "INSERT INTO learner SELECT * FROM live").await;
        assert!(message.contains("partition"), "{message}");
    });
}

#[test]
fn rows_of_a_topic_pass_through_within_a_second() {
    if !services::ready_or_skipped() {
        return;
    }
    let broker = Broker::shared();
    broker.create_topic("sql-pass", 2, &[]);
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let context = session(2);
        topic(&context, broker, "sql-pass").await;
        let options = LearnOptions::new(PIPELINE).at(folder.path()).named("learner").partition("samples");
        let options = options.partition_column("kafka.partition").offset("kafka.offset").any_order();
        let mut passing = context.table("live").await.unwrap().learn(options).unwrap().execute_stream().await.unwrap();
        // One statement writes a hundred rows a second; each carries the time at which it was given to it.
        let ticks = unbounded(&context, "ticks", 1).remove(0);
        let begun = Instant::now();
        let milliseconds = move || begun.elapsed().as_millis() as i64;
        let giving = tokio::spawn(async move {
            let mut beats = tokio::time::interval(Duration::from_millis(100));
            for first in (0..500).step_by(10) {
                beats.tick().await;
                let times = Float64Array::from(vec![milliseconds() as f64 / 1000.0; 10]);
                let points = points(first..first + 10, None);
                let columns = vec![Arc::new(times) as ArrayRef, points.column(1).clone(), points.column(2).clone()];
                ticks.send(Ok(RecordBatch::try_new(points.schema(), columns).unwrap())).await.unwrap();
            }
        });
        let writing = tokio::spawn({
            let context = context.clone();
            let insert = r#"INSERT INTO rows ("kafka.partition", x, y, label, sent)
                SELECT CAST(y > 0 AS INT), x, y, label, CAST(round(x * 1000) AS BIGINT) FROM ticks"#;
            async move { number(&context, insert).await }
        });
        let mut waits = Vec::new();
        while waits.len() < 500 {
            let batch = tokio::time::timeout(Duration::from_secs(20), passing.next()).await.expect("rows come");
            let batch = batch.unwrap().unwrap();
            let sent = batch.column_by_name("sent").unwrap().as_primitive::<Int64Type>();
            waits.extend(sent.values().iter().map(|sent| milliseconds() - sent));
            assert!(batch.column_by_name("lightcl_predicted").is_some());
        }
        giving.await.unwrap();
        assert_eq!(writing.await.unwrap(), 500);
        waits.sort_unstable();
        println!("milliseconds from sent to predicted: median {}, most {}", waits[250], waits[499]);
        // The first rows wait for the writer's first connection.
        assert!(waits[474] < 1000, "{waits:?}");
        let asked = Instant::now();
        drop(passing);
        while number(&context, "SELECT count(*) FROM lightcl.models WHERE training").await > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        let positions = texts(&context, "SELECT positions FROM lightcl.models").await;
        let positions: BTreeMap<String, u64> = serde_json::from_str(positions[0].as_ref().unwrap()).unwrap();
        assert_eq!((positions.len(), positions.values().sum::<u64>()), (2, 500), "{positions:?}");
    });
}
