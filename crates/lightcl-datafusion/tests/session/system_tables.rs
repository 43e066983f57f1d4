//! The schema `lightcl`.

use crate::common::{POINTS, create, number, points, run, session, sql, state_of, texts, unbounded};
use std::time::Duration;

/// A learner that publishes, reports and commits often.
fn often() -> String {
    format!(
        "{POINTS}[stability]\nevery_samples = 200\n[snapshot]\nevery_samples = 300\n[checkpoint]\nevery_samples = 500\n"
    )
}

#[test]
fn what_is_committed_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let context = session(2);
        context.register_batch("points", points(0..3000, Some(1500))).unwrap();
        create(&context, "learner", folder.path(), &often(), ", 'lightcl.partition' 'points'").await;
        let empty = "SELECT count(*) FROM lightcl.models WHERE name = 'learner' AND version = 0 AND NOT training";
        assert_eq!(number(&context, empty).await, 1);
        number(&context, "INSERT INTO learner SELECT x, y, label FROM points").await;
        let of = |column: &str| format!("SELECT {column} FROM lightcl.models WHERE name = 'learner'");
        assert_eq!(texts(&context, &of("state_sha256")).await, [Some(state_of(folder.path()))]);
        assert_eq!(texts(&context, &of("positions")).await, [Some("{\"points\":3000}".to_owned())]);
        assert_eq!(texts(&context, &of("method")).await, [Some("lightcl".to_owned())]);
        assert_eq!(texts(&context, &of("samples")).await, [Some("3000".to_owned())]);
        // Whoever registers the folder under a name sees the same.
        let models = [("other".to_owned(), folder.path().to_owned())].into();
        let other = datafusion::prelude::SessionContext::new();
        lightcl_datafusion::register(&other, lightcl_datafusion::Options { models }).unwrap();
        let same = "SELECT count(*) FROM lightcl.models WHERE name = 'other' AND samples = 3000 AND backbone = 'mlp'";
        assert_eq!(number(&other, same).await, 1, "{:?}", sql(&other, "SELECT * FROM lightcl.models").await);
        for (table, least) in [("snapshots", 8), ("stability", 12), ("boundaries", 1), ("layers", 12)] {
            let query = format!("SELECT count(*) FROM lightcl.{table}");
            let rows = number(&context, &query).await;
            assert!(rows >= least, "{table}: {rows}");
            assert_eq!(number(&other, &query).await, rows, "{table}");
            assert_eq!(number(&context, &format!("{query} WHERE model = 'learner' AND committed")).await, rows);
        }
        let newest = "SELECT max(s.version) FROM lightcl.snapshots s JOIN lightcl.models m ON s.model = m.name WHERE s.version = m.version";
        assert!(number(&context, newest).await >= 8);
        let ends =
            "SELECT count(*) FROM lightcl.stability WHERE reason = 'end' AND window_accuracy > 0.0 AND bytes > 0";
        assert_eq!(number(&context, ends).await, 1);
        let evidence = "SELECT evidence[1]['detector'] FROM lightcl.boundaries LIMIT 1";
        assert_eq!(texts(&context, evidence).await, [Some("error".to_owned())]);
        assert_eq!(number(&context, "SELECT count(*) FROM lightcl.layers WHERE occupancy > 1.0").await, 0);
        let place = &texts(&context, "SELECT location FROM lightcl.snapshots ORDER BY version LIMIT 1").await[0];
        assert!(std::path::Path::new(place.as_ref().unwrap()).join("manifest.json").is_file());
    });
}

#[test]
fn tables_are_live_while_a_statement_trains() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let context = session(2);
        let sender = unbounded(&context, "stream", 1).remove(0);
        let pipeline = often().replace("every_samples = 500", "every_samples = 0\nevery_seconds = 0");
        create(&context, "learner", folder.path(), &pipeline, ", 'lightcl.partition' 'points'").await;
        let inserting = context.clone();
        let training =
            tokio::spawn(async move { number(&inserting, "INSERT INTO learner SELECT x, y, label FROM stream").await });
        sender.send(Ok(points(0..1000, None))).await.unwrap();
        let live =
            "SELECT count(*) FROM lightcl.models WHERE training AND samples = 1000 AND epoch = 0 AND version >= 3";
        for _ in 0..500 {
            if number(&context, live).await == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(number(&context, live).await, 1);
        for (table, least) in [("stability", 4), ("snapshots", 3)] {
            let query = format!("SELECT count(*) FROM lightcl.{table} WHERE NOT committed");
            assert!(number(&context, &query).await >= least, "{table}");
        }
        drop(sender);
        assert_eq!(training.await.unwrap(), 1000);
        let done =
            "SELECT count(*) FROM lightcl.models WHERE NOT training AND samples = 1000 AND epoch = 1 AND version >= 4";
        assert_eq!(number(&context, done).await, 1);
        let query = "SELECT count(*) FROM lightcl.stability WHERE committed";
        assert_eq!(number(&context, query).await, number(&context, "SELECT count(*) FROM lightcl.stability").await);
    });
}

#[test]
fn a_folder_that_cannot_be_read_says_so_and_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let context = session(2);
        context.register_batch("points", points(0..500, None)).unwrap();
        for name in ["broken", "whole"] {
            create(&context, name, &folder.path().join(name), POINTS, "").await;
            number(&context, &format!("INSERT INTO {name} SELECT x, y, label FROM points")).await;
        }
        for file in lightcl_pipeline::sink::checkpoint_files(&folder.path().join("broken")).unwrap() {
            std::fs::write(file, b"nonsense").unwrap();
        }
        let broken = "SELECT error FROM lightcl.models WHERE name = 'broken'";
        assert!(
            texts(&context, broken).await[0].as_ref().unwrap().contains("no checkpoint of this folder can be read")
        );
        assert_eq!(number(&context, "SELECT count(*) FROM lightcl.models WHERE error IS NULL").await, 1);
        assert_eq!(number(&context, "SELECT count(DISTINCT model) FROM lightcl.stability").await, 1);
        let message = crate::common::error(&context, "INSERT INTO broken SELECT x, y, label FROM points").await;
        assert!(message.contains("no checkpoint of this folder can be read"), "{message}");
    });
}

#[test]
fn the_schema_is_listed_and_takes_no_tables() {
    run(async {
        let config = datafusion::prelude::SessionConfig::new().with_information_schema(true);
        let context = datafusion::prelude::SessionContext::new_with_config(config);
        lightcl_datafusion::register(&context, lightcl_datafusion::Options::default()).unwrap();
        let listed = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'lightcl' ORDER BY 1";
        let names: Vec<String> = texts(&context, listed).await.into_iter().flatten().collect();
        assert_eq!(names, ["boundaries", "dead_letters", "layers", "models", "snapshots", "stability"]);
        assert!(sql(&context, "CREATE TABLE lightcl.mine (x INT)").await.is_err());
        for name in names {
            sql(&context, &format!("SELECT * FROM lightcl.{name}")).await.unwrap();
        }
    });
}
