//! Ballista's standalone mode: a scheduler and two executors in this process.

use crate::support::{KEYS, call, create_samples, error, files, learners, sql, train_alone, write_samples};
use ballista_core::extension::SessionConfigExt;
use ballista_core::serde::BallistaCodec;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_executor::new_standalone_executor_from_builder;
use ballista_scheduler::standalone::new_standalone_scheduler_with_builder;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::{SessionConfig, SessionContext};
use lightcl_ballista::{client, config, scheduler_state};
use lightcl_datafusion::{Options, register};
use std::path::Path;
use std::sync::Arc;

/// A cluster of two executors in this process; gives a session of a client.
pub async fn cluster() -> SessionContext {
    let settings = config();
    let codec = || {
        BallistaCodec::new(settings.ballista_logical_extension_codec(), settings.ballista_physical_extension_codec())
    };
    let address =
        new_standalone_scheduler_with_builder(Arc::new(scheduler_state), Arc::new(config), codec()).await.unwrap();
    let url = format!("http://localhost:{}", address.port());
    for _ in 0..2 {
        let scheduler = SchedulerGrpcClient::connect(url.clone()).await.unwrap();
        let runtime = Arc::new(RuntimeEnv::default());
        let functions = (&scheduler_state(config()).unwrap()).into();
        let make_runtime = Arc::new(move |_: &SessionConfig| Ok(Arc::clone(&runtime)));
        new_standalone_executor_from_builder(scheduler, 1, Arc::new(config), make_runtime, codec(), functions)
            .await
            .unwrap();
    }
    client(&url, settings.with_target_partitions(5), Options::default()).unwrap()
}

/// Samples, and a session of a client on which they are a table.
async fn samples_and_cluster(folder: &Path) -> SessionContext {
    write_samples(&folder.join("samples"), 1800, 3).await;
    let context = cluster().await;
    create_samples(&context, &folder.join("samples")).await;
    context
}

#[tokio::test(flavor = "multi_thread")]
async fn learners_of_two_executors_are_those_of_one_process_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let context = samples_and_cluster(folder.path()).await;
    let select = format!("SELECT key, rows, state_sha256 FROM {}", call(&folder.path().join("spread"), "j"));
    let spread = learners(&sql(&context, &select).await.unwrap());
    let alone = train_alone(&folder.path().join("samples"), &folder.path().join("alone"), "j").await;
    assert_eq!(spread.len(), KEYS);
    assert_eq!(spread, alone);
    assert_eq!(files(&folder.path().join("spread"), "j"), files(&folder.path().join("alone"), "j"));
    // Again: what is there is found.
    assert_eq!(learners(&sql(&context, &select).await.unwrap()), alone);

    // Models score on the cluster as they do here.
    let model = folder.path().join("spread/j/all/shop-1");
    let score = format!(
        "SELECT t, lightcl_predict('{model}', x, y) AS predicted, lightcl_proba('{model}', x, y) AS proba FROM samples \
         WHERE t < 200 ORDER BY t",
        model = model.display()
    );
    let local = SessionContext::new();
    register(&local, Options::default()).unwrap();
    create_samples(&local, &folder.path().join("samples")).await;
    let shown = |batches: Vec<_>| pretty_format_batches(&batches).unwrap().to_string();
    let scored = shown(sql(&context, &score).await.unwrap());
    assert!(scored.contains("above") && scored.contains("below"), "{scored}");
    assert_eq!(scored, shown(sql(&local, &score).await.unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_spread_and_what_is_wrong_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let context = samples_and_cluster(folder.path()).await;
    let pipeline = crate::support::PIPELINE;
    let passing = error(&context, &format!("SELECT * FROM lightcl_learn('samples', '{pipeline}')")).await;
    assert!(passing.contains("lightcl_learn passes every row by one learner"), "{passing}");
    let create = format!(
        "CREATE EXTERNAL TABLE learner (shop VARCHAR, t BIGINT, x DOUBLE, y DOUBLE, label VARCHAR) STORED AS LIGHTCL LOCATION \
         '{}' OPTIONS ('lightcl.pipeline' '{pipeline}')",
        folder.path().join("learner").display()
    );
    sql(&context, &create).await.unwrap();
    let insert = error(&context, "INSERT INTO learner SELECT * FROM samples ORDER BY t").await;
    assert!(insert.contains("trained by one process"), "{insert}");
    let call = call(&folder.path().join("out"), "j");
    let tied = error(&context, &format!("SELECT * FROM {}", call.replace("'order', 't'", "'order', 'label'"))).await;
    assert!(tied.contains("stand at one place in the order"), "{tied}");
    let unknown = error(&context, "SELECT lightcl_predict('no-such-model', x, y) FROM samples").await;
    assert!(unknown.contains("there is no model 'no-such-model'"), "{unknown}");
}
