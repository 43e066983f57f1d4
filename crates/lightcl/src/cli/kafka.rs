//! `lightcl kafka`: the topics of a job, and what stands in them.

use super::{KafkaArgs, KafkaCommand, RetireArgs, TopicsArgs};
use crate::config::{Overrides, Pipeline};
use lightcl_core::{Error, Result};
use lightcl_kafka::retire::{Retired, retire, retire_objects};
use lightcl_kafka::topics::{TopicOptions, TopicReport, TopicState, topics};
use std::fmt::Write;

/// Does what the command line says.
///
/// # Errors
/// When the configuration is wrong, no broker answers, or a topic cannot be made.
pub fn run(args: &KafkaArgs) -> Result<()> {
    match &args.command {
        KafkaCommand::Topics(args) => show_topics(args),
        KafkaCommand::Retire(args) => retire_model(args),
    }
}

fn show_topics(args: &TopicsArgs) -> Result<()> {
    let overrides = Overrides::from_process(&args.set, None)?;
    let pipeline = Pipeline::load(&args.pipeline, &overrides)?;
    let settings = pipeline.settings();
    let (Some(source), Some(sink)) = (settings.kafka_source()?, settings.kafka_sink()) else {
        let error =
            Error::user("this pipeline writes to no topics: they stand in [sink.topics], with source.type = \"kafka\"");
        return Err(pipeline.locate(error, "source.type"));
    };
    let options = TopicOptions { create: args.create, partitions: args.partitions, replication: args.replication };
    let reports = topics(&source, &sink, options)?;
    super::print(&in_words(&reports))
}

fn retire_model(args: &RetireArgs) -> Result<()> {
    let overrides = Overrides::from_process(&args.set, None)?;
    let pipeline = Pipeline::load(&args.pipeline, &overrides)?;
    let sink = pipeline.settings().kafka_sink().ok_or_else(|| {
        let error =
            Error::user("this pipeline writes to no topics: they stand in [sink.topics], with source.type = \"kafka\"");
        pipeline.locate(error, "source.type")
    })?;
    let mut topics = vec![("snapshots", &sink.topics.snapshots)];
    if args.state {
        topics.push(("state", &sink.topics.state));
    }
    let retired = Retired { model_id: args.model.clone(), unit: args.unit.clone() };
    let mut text = String::new();
    for (output, topic) in topics {
        let Some(topic) = topic else {
            let _ = writeln!(text, "{output:13} has no topic");
            continue;
        };
        let count = retire(&sink.connection, topic, &retired)?;
        let _ = writeln!(text, "{output:13} {topic}  {count} records removed");
        if let Some(claim_check) = &sink.claim_check {
            let count = retire_objects(claim_check, topic, &retired)?;
            let _ = writeln!(text, "{:13} {}  {count} objects removed", "", claim_check.store);
        }
    }
    super::print(&text)
}

fn in_words(reports: &[TopicReport]) -> String {
    let mut text = String::new();
    for TopicReport { plan, state, faults } in reports {
        let settings: Vec<String> = plan.settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let should = format!("{} partitions, {}", plan.partitions, settings.join(" "));
        let what = match state {
            TopicState::There { partitions } if faults.is_empty() => {
                format!("is there, {partitions} partitions, all is well")
            }
            TopicState::There { partitions } => format!("is there, {partitions} partitions, but:"),
            TopicState::Made => format!("made: {should}"),
            TopicState::Missing => format!("is missing; --create would make it: {should}"),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:13} {}  {what}", plan.output, plan.name);
        for fault in faults {
            let _ = writeln!(text, "    {fault}");
        }
    }
    text
}
