//! What the tests of functions that score share: rows of two kinds of parts, told apart with certainty, and models of them.

use datafusion::arrow::array::RecordBatch;
use datafusion::prelude::{JsonReadOptions, SessionConfig, SessionContext};
use lightcl_datafusion::{Options, register};
use lightcl_kafka::Health;
use lightcl_pipeline::assembly::assemble;
use lightcl_pipeline::config::{Overrides, Pipeline};
use lightcl_pipeline::driver::Run;
use lightcl_pipeline::sink::{FolderOptions, FolderSink};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Models of parts by name: what each looks at, and settings of its learner.
const MODELS: [(&str, &str, &str); 5] = [
    ("parts", "\"x\", \"y\", \"colour\"", "head = \"network\""),
    ("points", "\"x\", \"y\"", "head = \"network\""),
    ("mixed", "\"x\", \"y\"", "head = \"mixture\""),
    ("pixels", "\"pixels\"", "head = \"network\""),
    ("solved", "\"x\", \"y\"", "head = \"analytic\"\n[learner.analytic]\ntap = [\"input\"]"),
];

/// 600 parts: bolts are to the right and red, nuts to the left and blue; every tenth is grey.
pub fn rows() -> String {
    let mut text = String::new();
    for row in 0..600_i32 {
        let is_bolt = row % 2 == 0;
        let side = if is_bolt { 1.0 } else { -1.0 };
        let x = 2.0 * side + f64::from(row * 7 % 11 - 5) * 0.05 + 0.001;
        let y = -side + f64::from(row * 5 % 13 - 6) * 0.05 + 0.001;
        let colour = if row % 10 == 0 {
            "grey"
        } else if is_bolt {
            "red"
        } else {
            "blue"
        };
        let (high, low) = (if is_bolt { 0.75 } else { 0.25 }, if is_bolt { 0.25 } else { 0.75 });
        let label = if is_bolt { "bolt" } else { "nut" };
        writeln!(
            text,
            r#"{{"number":{row},"x":{x:.4},"y":{y:.4},"colour":"{colour}","pixels":[{high},{low},{high},{low}],"label":"{label}"}}"#
        )
        .unwrap();
    }
    text
}

/// A folder with `parts.jsonl` and a model in each folder of [`MODELS`].
pub struct Workshop {
    folder: tempfile::TempDir,
}

impl Workshop {
    /// Learns the models that are named.
    pub fn with(models: &[&str]) -> Workshop {
        let workshop = Workshop { folder: tempfile::tempdir().unwrap() };
        fs::write(workshop.path("parts.jsonl"), rows()).unwrap();
        for model in models {
            workshop.learn(model, model, "standardize = true", 600);
        }
        workshop
    }

    /// Learns all models.
    pub fn new() -> Workshop {
        Workshop::with(&MODELS.map(|(name, ..)| name))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Learns one of the models from the first rows into a folder.
    pub fn learn(&self, model: &str, out: &str, sample: &str, rows: usize) {
        let (_, features, learner) = MODELS.into_iter().find(|(name, ..)| *name == model).unwrap();
        let source = self.path(&format!("first-{rows}.jsonl"));
        let first: String = self::rows().lines().take(rows).map(|line| format!("{line}\n")).collect();
        fs::write(&source, first).unwrap();
        let pipeline = format!(
            "[source]\ntype = \"jsonl\"\npath = {source:?}\n[sample]\nfeatures = [{features}]\nlabel = \"label\"\n{sample}\n\
             [learner]\nhidden = [16, 8]\nfrozen = 1\npasses = 4\nlearning_rate = 0.05\nwindow_samples = 64\n{learner}\n"
        );
        train(&pipeline, &self.path(out));
    }

    /// A session that knows the models by their names and the parts as a table.
    pub async fn session(&self, config: SessionConfig) -> SessionContext {
        let models = MODELS.iter().map(|(name, ..)| ((*name).to_owned(), self.path(name)));
        let models: BTreeMap<_, _> = models.filter(|(_, folder)| folder.exists()).collect();
        let context = SessionContext::new_with_config(config);
        register(&context, Options { models }).unwrap();
        let options = JsonReadOptions::default().file_extension(".jsonl");
        context.register_json("parts", &self.text("parts.jsonl"), options).await.unwrap();
        context
    }
}

/// Runs a pipeline to the end.
pub fn train(pipeline: &str, out: &Path) {
    let overrides = Overrides { out: Some(out.to_str().unwrap().to_owned()), ..Overrides::default() };
    let pipeline = Pipeline::parse(pipeline, "workshop.toml", &overrides).unwrap();
    let (source, operator) = assemble(&pipeline).unwrap();
    let configuration = pipeline.learning_part().unwrap();
    let sink =
        FolderSink::open(pipeline.output_dir(), FolderOptions { configuration, ..FolderOptions::default() }).unwrap();
    let settings = pipeline.settings();
    let run = Run {
        source,
        operator,
        sink: Box::new(sink),
        checkpoints: settings.checkpoint_policy(),
        slice_rows: settings.learner.window_samples,
        stop: Arc::new(AtomicBool::new(false)),
        health: Arc::new(Health::new()),
    };
    assert!(!run.drive(&mut |_, _| ()).unwrap().stopped);
}

/// The rows of a query.
pub async fn query(context: &SessionContext, sql: &str) -> Vec<RecordBatch> {
    let frame = context.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    frame.collect().await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// One column of a query as text; null is the word.
pub async fn column(context: &SessionContext, sql: &str) -> Vec<String> {
    use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
    let mut values = Vec::new();
    for batch in query(context, sql).await {
        let options = FormatOptions::default().with_null("null");
        let formatter = ArrayFormatter::try_new(batch.column(0).as_ref(), &options).unwrap();
        values.extend((0..batch.num_rows()).map(|row| formatter.value(row).to_string()));
    }
    values
}

/// What a query is refused with while it is planned.
pub async fn refused(context: &SessionContext, sql: &str) -> String {
    match context.sql(sql).await {
        Ok(_) => panic!("{sql} was planned"),
        Err(error) => error.strip_backtrace(),
    }
}
