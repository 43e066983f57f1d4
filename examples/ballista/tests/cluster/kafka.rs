//! Ranges of a topic, learnt from on a cluster.

use crate::standalone::cluster;
use crate::support::{PIPELINE, error, learners, sql};
use datafusion::prelude::SessionContext;
use lightcl_datafusion::{Options, register};
use lightcl_testkit::services::{self, Broker};
use std::path::Path;

fn table(name: &str, kind: &str, broker: &Broker, options: &str) -> String {
    format!(
        "CREATE {kind} EXTERNAL TABLE {name} (\"kafka.partition\" INT, \"kafka.offset\" BIGINT, shop VARCHAR, x DOUBLE, y DOUBLE, \
         label VARCHAR) STORED AS KAFKA LOCATION 'kafka://{}/cluster' OPTIONS ('kafka.format' 'json' {options})",
        broker.bootstrap()
    )
}

fn statement(folder: &Path) -> String {
    format!(
        "SELECT key, rows, state_sha256 FROM lightcl_learn_by_key('samples', '{PIPELINE}', 'key', 'shop', 'order', \
         'kafka.partition, kafka.offset', 'location', '{}', 'range', 'first')",
        folder.display()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn learners_of_a_range_of_offsets_are_the_same_on_a_cluster_and_stay_so_when_more_comes() {
    if !services::ready_or_skipped() {
        return;
    }
    let broker = Broker::shared();
    broker.create_topic("cluster", 2, &[]);
    let local = SessionContext::new();
    register(&local, Options::default()).unwrap();
    sql(&local, &table("all_samples", "", broker, "")).await.unwrap();
    let insert = |rows: std::ops::Range<u32>| {
        format!(
            "INSERT INTO all_samples (\"kafka.partition\", shop, x, y, label) SELECT value % 2, 'shop-' || ((value / 2) % 3), \
             sin(value), sin(value * 3), CASE WHEN sin(value) + sin(value * 3) > 0 THEN 'above' ELSE 'below' END \
             FROM generate_series({}, {})",
            rows.start, rows.end
        )
    };
    sql(&local, &insert(1..600)).await.unwrap();

    let context = cluster().await;
    let until = ", 'kafka.until' '0:250,1:300'";
    for session in [&local, &context] {
        sql(session, &table("samples", "", broker, until)).await.unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let spread = learners(&sql(&context, &statement(&folder.path().join("spread"))).await.unwrap());
    assert_eq!(spread.values().map(|(rows, _)| rows).sum::<u64>(), 550);
    sql(&local, &insert(601..700)).await.unwrap();
    let alone = learners(&sql(&local, &statement(&folder.path().join("alone"))).await.unwrap());
    assert_eq!(spread, alone);
    assert_eq!(learners(&sql(&context, &statement(&folder.path().join("later"))).await.unwrap()), alone);

    sql(&context, &table("endless", "UNBOUNDED", broker, "")).await.unwrap();
    let endless = error(&context, "SELECT x FROM endless").await;
    assert!(endless.contains("a table without an end is not read on a cluster"), "{endless}");
}
