//! `lightcl score --follow`: predictions for the events of a topic, with the newest published snapshot.

use super::run::{serve, stop_on_signals};
use crate::config::{Overrides, Pipeline};
use lightcl_core::{Error, PositionedBatch, Rejected, Result, Snapshot};
use lightcl_kafka::Health;
use lightcl_kafka::format;
use lightcl_kafka::serving::{self, Event, Scored, Scoring, ServingConfig};
use lightcl_pipeline::model::{Model, ScoredRow};
use std::path::Path;
use std::sync::Arc;

/// Scores events until a signal stops it.
///
/// # Errors
/// When the pipeline is wrong or has no Kafka in it, or topics cannot be read or written.
pub(super) fn run(pipeline: &Path, set: &[String]) -> Result<()> {
    let pipeline = Pipeline::load(pipeline, &Overrides::from_process(set, None)?)?;
    let settings = pipeline.settings();
    let (Some(source), Some(sink)) = (settings.kafka_source()?, settings.kafka_sink()) else {
        let error = Error::user(
            "this pipeline has no events to follow: that takes source.type = \"kafka\" and a [sink] with topics of \
             snapshots and predictions",
        );
        return Err(pipeline.locate(error, "source.type"));
    };
    let health = Arc::new(Health::new());
    let _server = serve(&pipeline, &health, None)?;
    let config =
        ServingConfig { source, sink, scope: settings.kafka_scope(), model_id: Some(pipeline.name().to_owned()) };
    let stop = stop_on_signals()?;
    let served =
        serving::serve(&config, &Snapshots, &|format| format::open(format), &stop, &health, &|event| say(&event))?;
    let serving::Served { scored, rejected, skipped } = served;
    log::info!(scored, rejected, skipped; "stopped: {scored} rows scored, {rejected} rejected, {skipped} records without a value");
    Ok(())
}

struct Snapshots;

impl Scoring for Snapshots {
    type Model = Model;

    fn build(&self, snapshot: &Snapshot) -> Result<Model> {
        Model::from_snapshot(snapshot)
    }

    fn score(&self, model: &Model, batch: &PositionedBatch, first_index: u64) -> Result<Vec<Result<Scored, Rejected>>> {
        let scored = |ScoredRow { id, label, predicted, probability }| Scored { id, label, predicted, probability };
        Ok(model.score(batch, first_index)?.map(|row| row.map(scored)).collect())
    }
}

fn say(event: &Event<'_>) {
    match event {
        Event::Waiting { topic } => log::info!(topic; "waiting for a first snapshot in the topic {topic}"),
        Event::Loaded { unit, version, delay } => {
            log::info!(unit, version, delay; "version {version} of {unit} is in force, {delay:.2} s after it was published");
        }
        Event::Retired { model_id, unit } => log::info!(model_id, unit; "{model_id} of {unit} is no longer published"),
        Event::Rejected { unit, error } => {
            log::warn!(unit, error = in_full(error); "a snapshot of {unit} is of no use, the one before stays: {}", in_full(error));
        }
        Event::Trouble { what, error } => log::warn!(error = in_full(error); "{what}: {}", in_full(error)),
    }
}

/// An error with its causes, in one line.
fn in_full(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
