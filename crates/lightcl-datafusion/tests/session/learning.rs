//! Training by INSERT.

use crate::common::{
    COLUMNS, ELEC2, PIPELINE, POINTS, create, create_statement, error, market, number, plan, points, run, session, sql,
    state_of, straight, unbounded,
};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use lightcl_pipeline::sink::{SUMMARY, snapshot_versions};
use std::path::Path;
use std::sync::Arc;

/// Points in so many partitions of two batches each.
fn register_points(context: &SessionContext, name: &str, partitions: u64) {
    let part =
        |part: u64| vec![points(part * 200..part * 200 + 120, None), points(part * 200 + 120..(part + 1) * 200, None)];
    let parts: Vec<_> = (0..partitions).map(part).collect();
    context.register_table(name, Arc::new(MemTable::try_new(points(0..0, None).schema(), parts).unwrap())).unwrap();
}

#[test]
fn an_ordered_insert_gives_the_bytes_of_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let (expected, rows) = straight(PIPELINE, &folder.path().join("program"), &[]);
    run(async {
        let context = market(4).await;
        let place = folder.path().join("learner");
        create(&context, "learner", &place, PIPELINE, &format!(", 'lightcl.partition' '{ELEC2}'")).await;
        let statement = format!("INSERT INTO learner SELECT {COLUMNS} FROM elec2 ORDER BY event_time");
        assert_eq!(number(&context, &statement).await, rows);
        assert_eq!(state_of(&place), expected);
        assert!(place.join(SUMMARY).is_file());
        assert!(!snapshot_versions(&place.join("snapshots")).unwrap().is_empty());
        // The same once more has nothing new.
        assert_eq!(number(&context, &statement).await, 0);
        assert_eq!(state_of(&place), expected);
    });
}

#[test]
fn the_same_insert_trains_once_and_another_one_more() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let context = session(3);
        register_points(&context, "points", 1);
        create(&context, "learner", folder.path(), POINTS, "").await;
        let all = "INSERT INTO learner SELECT x, y, label FROM points";
        assert_eq!(number(&context, all).await, 200);
        let state = state_of(folder.path());
        assert_eq!(number(&context, all).await, 0);
        assert_eq!(state_of(folder.path()), state);
        assert_eq!(number(&context, "INSERT INTO learner SELECT x, y, label FROM points WHERE x > 0").await, 99);
        // Other values in a statement of the same shape are other rows.
        for values in ["(0.1, 0.2, 'above')", "(0.3, 0.4, 'above')"] {
            let statement = format!("INSERT INTO learner VALUES {values}");
            assert_eq!(number(&context, &statement).await, 1);
            assert_eq!(number(&context, &statement).await, 0);
        }
        assert_ne!(state_of(folder.path()), state);
    });
}

/// What is learnt from a query by a session of so many partitions.
async fn learnt(place: &Path, partitions: usize, query: &str) -> String {
    let context = session(partitions);
    register_points(&context, "points", 5);
    create(&context, "learner", place, POINTS, ", 'lightcl.partition' 'points'").await;
    sql(&context, &format!("INSERT INTO learner {query}")).await.unwrap();
    state_of(place)
}

#[test]
fn how_many_partitions_there_are_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let queries = [
        "SELECT x, y, label FROM points WHERE abs(x) > 0.1",
        "SELECT x, y, label FROM points ORDER BY x, y",
        "SELECT x, y, label FROM points UNION ALL SELECT y, x, label FROM points",
        "SELECT a.x, b.y, a.label FROM points a JOIN points b ON a.x = b.x",
        "SELECT avg(x), avg(y), label FROM points GROUP BY label, round(x, 1)",
    ];
    run(async {
        for (number, query) in queries.into_iter().enumerate() {
            let place = |name: &str| folder.path().join(format!("{number}-{name}"));
            let one = learnt(&place("one"), 1, query).await;
            for (partitions, name) in [(4, "four"), (8, "eight"), (8, "again")] {
                assert_eq!(learnt(&place(name), partitions, query).await, one, "{query} with {partitions}");
            }
        }
    });
}

#[test]
fn files_are_read_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let files = folder.path().join("files");
        std::fs::create_dir(&files).unwrap();
        let context = session(4);
        for file in 0..6_u64 {
            context.register_batch("part", points(file * 100..(file + 1) * 100, None)).unwrap();
            sql(&context, &format!("COPY part TO '{}/part-{file}.parquet'", files.display())).await.unwrap();
            context.deregister_table("part").unwrap();
        }
        context.register_batch("whole", points(0..600, None)).unwrap();
        let table = format!("CREATE EXTERNAL TABLE files STORED AS PARQUET LOCATION '{}'", files.display());
        sql(&context, &table).await.unwrap();
        for (name, source) in [("a", "files"), ("b", "whole")] {
            create(&context, name, &folder.path().join(name), POINTS, ", 'lightcl.partition' 'p'").await;
            let statement = format!("INSERT INTO {name} SELECT x, y, label FROM {source}");
            assert_eq!(number(&context, &statement).await, 600);
        }
        assert_eq!(state_of(&folder.path().join("a")), state_of(&folder.path().join("b")));
        // A file that comes later is new, and it alone.
        context.register_batch("part", points(600..650, None)).unwrap();
        sql(&context, &format!("COPY part TO '{}/part-6.parquet'", files.display())).await.unwrap();
        let context = session(4);
        sql(&context, &table).await.unwrap();
        create(&context, "a", &folder.path().join("a"), POINTS, ", 'lightcl.partition' 'p'").await;
        assert_eq!(number(&context, "INSERT INTO a SELECT x, y, label FROM files").await, 50);
    });
}

#[test]
fn a_column_of_offsets_says_what_was_learnt() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let context = session(2);
        register_points(&context, "points", 1);
        let columns = "(x DOUBLE, y DOUBLE, label VARCHAR, at BIGINT)";
        let statement = format!(
            "CREATE EXTERNAL TABLE learner {columns} STORED AS LIGHTCL LOCATION '{}' OPTIONS ('lightcl.pipeline' \
             '{POINTS}', 'lightcl.partition' 'points', 'lightcl.offset' 'at')",
            folder.path().display()
        );
        sql(&context, &statement).await.unwrap();
        let insert = |of: &str| format!("INSERT INTO learner SELECT x, y, label, n FROM ({of})");
        let numbered = "SELECT *, row_number() OVER () * 10 AS n FROM points";
        assert_eq!(number(&context, &insert(&format!("{numbered} LIMIT 50"))).await, 50);
        assert_eq!(number(&context, &insert(numbered)).await, 150);
        let message = error(&context, &insert("SELECT *, 5000 - row_number() OVER () AS n FROM points")).await;
        assert!(message.contains("offsets must ascend"), "{message}");
        let message = error(&context, &insert("SELECT *, CAST(NULL AS BIGINT) AS n FROM points")).await;
        assert!(message.contains("every row needs an offset"), "{message}");
    });
}

#[test]
fn insert_overwrite_starts_over() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let context = session(2);
        register_points(&context, "points", 1);
        create(&context, "learner", folder.path(), POINTS, "").await;
        let query = "SELECT x, y, label FROM points";
        number(&context, &format!("INSERT INTO learner {query}")).await;
        let state = state_of(folder.path());
        number(&context, &format!("INSERT INTO learner {query} WHERE x > 0")).await;
        assert_ne!(state_of(folder.path()), state);
        assert_eq!(number(&context, &format!("INSERT OVERWRITE learner {query}")).await, 200);
        assert_eq!(state_of(folder.path()), state);
    });
}

#[test]
fn rows_that_cannot_be_used_are_counted_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let context = session(2);
        register_points(&context, "points", 1);
        create(&context, "learner", folder.path(), POINTS, "").await;
        let query = "SELECT CASE WHEN x > 0.9 THEN NULL ELSE x END, y, label FROM points";
        assert_eq!(number(&context, &format!("INSERT INTO learner {query}")).await, 200);
        let bad = number(&context, "SELECT count(*) FROM points WHERE x > 0.9").await;
        assert!(bad > 0);
        let letters = "SELECT count(*) FROM lightcl.dead_letters WHERE model = 'learner' AND reason = 'null_feature'";
        assert_eq!(number(&context, letters).await, bad);
    });
}

#[test]
fn what_is_wrong_with_a_learner_is_said_when_it_is_made() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let context = session(2);
        let make = |pipeline: &str, options: &str| create_statement("learner", folder.path(), pipeline, options);
        let cases = [
            (make(POINTS, ", 'lightcl.ofset' 'x'"), "did you mean 'lightcl.offset'?"),
            (make(POINTS, ", 'partition' 'x'"), "did you mean 'lightcl.partition'?"),
            (make(POINTS, ", 'lightcl.offset' 'x'"), "the column 'x' cannot hold offsets"),
            (make("no-such.toml", ""), "there is no pipeline file no-such.toml"),
            (make(&format!("{POINTS}\nlerning_rate = 1"), ""), "did you mean 'learning_rate'?"),
            (make(&POINTS.replace("\"y\"]", "\"z\"]"), ""), "there is no feature column 'z'"),
            (make(POINTS, "").replace("y DOUBLE", "y DATE"), "the feature column 'y' cannot be used"),
            (make(POINTS, "").replace("(x DOUBLE, y DOUBLE, label VARCHAR)", ""), "list them"),
            (make(POINTS, "").replace("LOCATION '", "LOCATION 's3://"), "a learner lives in a folder"),
            (
                make(POINTS, "").replace("STORED AS LIGHTCL", "STORED AS LIGHTCL PARTITIONED BY (label)"),
                "not partitioned",
            ),
        ];
        for (statement, expected) in cases {
            let message = error(&context, &statement).await;
            assert!(message.contains(expected), "{message}\n{statement}");
        }
    });
}

#[test]
fn what_is_wrong_with_a_statement_is_said() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let context = session(2);
        register_points(&context, "points", 1);
        create(&context, "learner", folder.path(), POINTS, "").await;
        let message = error(&context, "SELECT * FROM learner").await;
        assert!(message.contains("lightcl.stability") && message.contains("lightcl_predict"), "{message}");
        let message = error(&context, "INSERT INTO learner SELECT x, y FROM points").await;
        assert!(message.contains("Column count doesn't match"), "{message}");
        unbounded(&context, "stream", 1);
        let message = error(&context, "INSERT INTO learner SELECT x, y, label FROM stream").await;
        assert!(message.contains("name what they are with the option 'partition'"), "{message}");
        number(&context, "INSERT INTO learner SELECT x, y, label FROM points").await;
        // Another pipeline, or other types of columns, do not go on with what is there.
        create(&context, "other", folder.path(), &POINTS.replace("[8, 8]", "[9, 9]"), "").await;
        let message = error(&context, "INSERT INTO other SELECT x, y, label FROM points WHERE x > 0").await;
        assert!(
            message.contains("learner.hidden: [8,8] -> [9,9]") && message.contains("INSERT OVERWRITE"),
            "{message}"
        );
        let statement = create_statement("typed", folder.path(), POINTS, "").replace("y DOUBLE", "y VARCHAR");
        sql(&context, &statement).await.unwrap();
        let message = error(&context, "INSERT INTO typed SELECT x, y, label FROM points WHERE x > 0").await;
        assert!(message.contains("features of another shape"), "{message}");
    });
}

#[test]
fn unbounded_inputs_need_an_order_and_cannot_be_sorted() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let context = session(2);
        create(&context, "learner", folder.path(), POINTS, ", 'lightcl.partition' 'p'").await;
        unbounded(&context, "stream", 3);
        let message = error(&context, "INSERT INTO learner SELECT x, y, label FROM stream").await;
        assert!(message.contains("'lightcl.order' 'arrival'"), "{message}");
        let message = error(&context, "INSERT INTO learner SELECT x, y, label FROM stream ORDER BY x").await;
        assert!(message.contains("an unbounded input cannot be sorted"), "{message}");
        let options = ", 'lightcl.partition' 'p', 'lightcl.order' 'arrival'";
        let place = folder.path().join("arrival");
        let message = error(&context, &create_statement("arrival", &place, POINTS, options)).await;
        assert!(message.contains("option 'partition_column'"), "{message}");
        let options = format!("{options}, 'lightcl.partition_column' 'label'");
        create(&context, "arrival", &place, POINTS, &options).await;
        // However their rows arrive: what was learnt from before is known by partition and offset.
        for (name, order, new) in
            [("open", &[0, 1, 2][..], 300), ("again", &[2, 0, 1], 0), ("more", &[3, 1, 0, 2], 100)]
        {
            for (number, sender) in order.iter().zip(unbounded(&context, name, order.len())) {
                sender.send(Ok(points(number * 100..number * 100 + 100, None))).await.unwrap();
            }
            let statement = format!("INSERT INTO arrival SELECT x, y, label FROM {name}");
            assert_eq!(number(&context, &statement).await, new, "{name}");
        }
    });
}

#[test]
fn plans_show_the_learner_and_what_it_did() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let context = session(4);
        register_points(&context, "points", 3);
        create(&context, "learner", folder.path(), POINTS, ", 'lightcl.partition' 'p'").await;
        let statement = "INSERT INTO learner SELECT x, y, label FROM points WHERE x > 0";
        let shown = plan(&context, &format!("EXPLAIN {statement}")).await;
        assert!(shown.contains("DataSinkExec: sink=Learner(learner, location="), "{shown}");
        assert!(shown.contains("InOrderExec") && shown.contains("OneByOneExec: partitions=3"), "{shown}");
        assert!(!shown.contains("RepartitionExec") && !shown.contains("CoalescePartitionsExec"), "{shown}");
        let shown = plan(&context, &format!("EXPLAIN ANALYZE {statement}")).await;
        let rows = number(&context, "SELECT count(*) FROM points WHERE x > 0").await;
        assert!(shown.contains(&format!("taken_rows={rows}")) && shown.contains("commits="), "{shown}");
    });
}

#[test]
fn partitions_that_are_sorted_are_merged_the_same_way_each_time() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        // All rows are the same to the order: only the partitions tell them apart.
        let sorted = |context: &SessionContext| {
            let part = |part: u64| {
                vec![points(part * 300..part * 300 + 200, None), points(part * 300 + 200..part * 300 + 300, None)]
            };
            let same = |batch: arrow_array::RecordBatch| {
                let zeros = std::sync::Arc::new(arrow_array::Float64Array::from(vec![0.0; batch.num_rows()]));
                let columns: Vec<arrow_array::ArrayRef> = vec![zeros, batch.column(1).clone(), batch.column(2).clone()];
                arrow_array::RecordBatch::try_new(batch.schema(), columns).unwrap()
            };
            let parts = (0..3).map(|number| part(number).into_iter().map(same).collect()).collect();
            let table = MemTable::try_new(points(0..0, None).schema(), parts).unwrap();
            let table = table.with_sort_order(vec![vec![datafusion::prelude::col("x").sort(true, false)]]);
            context.register_table("sorted", Arc::new(table)).unwrap();
        };
        let mut states = Vec::new();
        for (partitions, name) in [(1, "one"), (4, "four"), (4, "again")] {
            let context = session(partitions);
            sorted(&context);
            let place = folder.path().join(name);
            create(&context, "learner", &place, POINTS, ", 'lightcl.partition' 'p'").await;
            let statement = "INSERT INTO learner SELECT x, y, label FROM sorted ORDER BY x";
            let shown = plan(&context, &format!("EXPLAIN {statement}")).await;
            assert!(shown.contains("SortPreservingMergeExec") && !shown.contains("SortExec"), "{shown}");
            assert_eq!(number(&context, statement).await, 900);
            states.push(state_of(&place));
        }
        assert!(states.iter().all(|state| *state == states[0]), "{states:?}");
    });
}
