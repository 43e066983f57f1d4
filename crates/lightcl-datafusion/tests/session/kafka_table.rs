//! Topics as tables, against a real broker.

use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use lightcl_datafusion::{Options, register};
use lightcl_testkit::services::{self, Broker};
use std::time::{Duration, Instant};

fn session() -> SessionContext {
    let context = SessionContext::new();
    register(&context, Options::default()).unwrap();
    context
}

async fn run(context: &SessionContext, sql: &str) -> String {
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    pretty_format_batches(&batches).unwrap().to_string()
}

async fn error(context: &SessionContext, sql: &str) -> String {
    match context.sql(sql).await {
        Err(error) => error.to_string(),
        Ok(frame) => frame.collect().await.unwrap_err().to_string(),
    }
}

async fn create(context: &SessionContext, broker: &Broker, kind: &str, name: &str, topic: &str, options: &str) {
    let columns = r#""kafka.key" VARCHAR, "kafka.partition" INT, "kafka.offset" BIGINT, x DOUBLE, label BIGINT"#;
    let location = format!("kafka://{}/{topic}", broker.bootstrap());
    let sql =
        format!("CREATE {kind} EXTERNAL TABLE {name} ({columns}) STORED AS KAFKA LOCATION '{location}' {options}");
    run(context, &sql).await;
}

const INSERT: &str = r#"INSERT INTO samples ("kafka.key", "kafka.partition", x, label)
    VALUES ('a', 1, 0.5, 3), ('b', 0, 1.5, 4), (NULL, 1, 2.5, NULL)"#;

#[tokio::test]
async fn rows_that_are_inserted_are_read_back_with_what_stands_beside_the_value() {
    if !services::ready_or_skipped() {
        return;
    }
    let broker = Broker::shared();
    broker.create_topic("sql-back", 2, &[]);
    let context = session();
    create(&context, broker, "", "samples", "sql-back", "").await;
    assert_eq!(run(&context, "SELECT count(*) AS n FROM samples").await, "+---+\n| n |\n+---+\n| 0 |\n+---+");
    let counted = run(&context, INSERT).await;
    assert!(counted.contains("| 3     |"), "{counted}");
    let rows = run(&context, r#"SELECT * FROM samples ORDER BY "kafka.partition", "kafka.offset""#).await;
    let expected = "\
+-----------+-----------------+--------------+-----+-------+
| kafka.key | kafka.partition | kafka.offset | x   | label |
+-----------+-----------------+--------------+-----+-------+
| b         | 0               | 0            | 1.5 | 4     |
| a         | 1               | 0            | 0.5 | 3     |
|           | 1               | 1            | 2.5 |       |
+-----------+-----------------+--------------+-----+-------+";
    assert_eq!(rows, expected);
    // The same topic from another place.
    create(&context, broker, "", "later", "sql-back", "OPTIONS ('kafka.offsets' '1:1', 'kafka.start' 'latest')").await;
    assert!(run(&context, "SELECT x FROM later").await.contains("2.5"));
    assert!(run(&context, "SELECT count(*) AS n FROM later").await.contains("| 1 |"));
    // Of one partition a part.
    create(&context, broker, "", "part", "sql-back", "OPTIONS ('kafka.until' '1:1,0:0')").await;
    assert!(run(&context, "SELECT count(*) AS n, max(x) AS x FROM part").await.contains("| 1 | 0.5 |"));
    create(&context, broker, "", "beyond", "sql-back", "OPTIONS ('kafka.until' '1:7')").await;
    let beyond = error(&context, "SELECT x FROM beyond").await;
    assert!(beyond.contains("stop at one that is there") && beyond.contains("end: 2"), "{beyond}");
}

#[tokio::test]
async fn rows_of_arrow_are_written_and_read_back() {
    if !services::ready_or_skipped() {
        return;
    }
    let broker = Broker::shared();
    broker.create_topic("sql-arrow", 1, &[]);
    let context = session();
    let location = format!("kafka://{}/sql-arrow", broker.bootstrap());
    let sql = format!(
        "CREATE EXTERNAL TABLE samples (name VARCHAR, x FLOAT) STORED AS KAFKA LOCATION '{location}' \
         OPTIONS ('kafka.format' 'arrow')"
    );
    run(&context, &sql).await;
    run(&context, "INSERT INTO samples SELECT 'n' || value, value FROM generate_series(1, 5000)").await;
    let found = run(&context, "SELECT count(*) AS n, sum(x) AS s, max(name) AS m FROM samples").await;
    assert!(found.contains("| 5000 | 12502500.0 | n999 |"), "{found}");
}

#[tokio::test]
async fn an_unbounded_table_goes_on_with_what_comes_and_ends_when_the_query_does() {
    if !services::ready_or_skipped() {
        return;
    }
    let broker = Broker::shared();
    broker.create_topic("sql-live", 2, &[]);
    let context = session();
    create(&context, broker, "UNBOUNDED", "live", "sql-live", "").await;
    create(&context, broker, "", "samples", "sql-live", "").await;
    let mut rows = context.sql("SELECT x FROM live").await.unwrap().execute_stream().await.unwrap();
    for _ in 0..3 {
        run(&context, INSERT).await;
        let inserted = Instant::now();
        let mut found = 0;
        while found < 3 {
            let next = tokio::time::timeout(Duration::from_secs(10), rows.next()).await.expect("rows come");
            found += next.unwrap().unwrap().num_rows();
        }
        assert_eq!(found, 3);
        println!("rows came {:?} after they were written", inserted.elapsed());
    }
    // A limit ends an endless query.
    let limited = run(&context, "SELECT x FROM live LIMIT 4");
    let limited = tokio::time::timeout(Duration::from_secs(20), limited).await.expect("it ends");
    assert_eq!(limited.lines().count(), 4 + 4, "{limited}");
    // What would have to see the end is refused, not run for ever.
    let refused = error(&context, "SELECT x FROM live ORDER BY x").await;
    assert!(refused.contains("unbounded") || refused.contains("infinite"), "{refused}");
}

#[tokio::test]
async fn a_record_that_cannot_be_read_fails_the_query_or_is_left_out() {
    if !services::ready_or_skipped() {
        return;
    }
    let broker = Broker::shared();
    broker.create_topic("sql-bad", 1, &[]);
    let context = session();
    let location = format!("kafka://{}/sql-bad", broker.bootstrap());
    let table = |name: &str, kind: &str, options: &str| {
        format!("CREATE EXTERNAL TABLE {name} (x {kind}) STORED AS KAFKA LOCATION '{location}' {options}")
    };
    run(&context, &table("texts", "VARCHAR", "")).await;
    run(&context, &table("strict", "DOUBLE", "")).await;
    for statement in ["strict VALUES (1.5)", "texts VALUES ('many')", "strict VALUES (2.5)"] {
        run(&context, &format!("INSERT INTO {statement}")).await;
    }
    let message = error(&context, "SELECT * FROM strict").await;
    assert!(message.contains("kafka.bad_records") && message.contains("offset"), "{message}");
    assert!(message.contains("many"), "{message}");
    run(&context, &table("lenient", "DOUBLE", "OPTIONS ('kafka.bad_records' 'skip')")).await;
    let found = run(&context, "SELECT count(*) AS n, sum(x) AS s FROM lenient").await;
    assert!(found.contains("| 2 | 4.0 |"), "{found}");
}

#[tokio::test]
async fn mistakes_in_a_statement_are_told_with_it() {
    if !services::ready_or_skipped() {
        return;
    }
    let broker = Broker::shared();
    broker.create_topic("sql-wrong", 1, &[]);
    let context = session();
    let make = |columns: &str, topic: &str, options: &str| {
        let location = format!("kafka://{}/{topic}", broker.bootstrap());
        format!("CREATE EXTERNAL TABLE wrong {columns} STORED AS KAFKA LOCATION '{location}' {options}")
    };
    let message = error(&context, &make("(x DOUBLE)", "no-such-topic", "")).await;
    assert!(message.contains("there is no such topic"), "{message}");
    let message = error(&context, &make("", "sql-wrong", "")).await;
    assert!(message.contains("names its columns"), "{message}");
    let message = error(&context, &make("(x DOUBLE)", "sql-wrong", "OPTIONS ('kafka.formt' 'json')")).await;
    assert!(message.contains("kafka.format"), "{message}");
    let message = error(&context, &make(r#"("kafka.ofset" BIGINT)"#, "sql-wrong", "")).await;
    assert!(message.contains("kafka.offset"), "{message}");
    run(&context, &make("(x DOUBLE)", "sql-wrong", "OPTIONS ('kafka.format' 'csv')")).await;
    let message = error(&context, "INSERT INTO wrong VALUES (1.0)").await;
    assert!(message.contains("only read"), "{message}");
}
