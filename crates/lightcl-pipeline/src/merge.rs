//! What runs over disjoint rows know, in one.

use crate::config::{Settings, sha256_of};
use crate::sink::{
    FolderOptions, FolderSink, SNAPSHOT_FOLDER, is_output_folder, latest_checkpoint, read_manifest, snapshot_versions,
};
use lightcl_core::{Commit, Error, Result, Sink, Stateful};
use lightcl_learner::{LearnerConfig, LightClLearner};
use lightcl_stream::Operator;
use lightcl_stream::encode::Encoder;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A run as its last checkpoint has it.
struct Ended {
    operator: Operator,
    learner: LightClLearner,
    configuration: Value,
}

/// What came of joining runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// Rows of all runs.
    pub samples: u64,
    /// Classes of all runs.
    pub classes: usize,
    /// The snapshot of the joined model.
    pub snapshot: PathBuf,
}

/// Adds the statistics of runs and writes a folder with a snapshot and a checkpoint of their sum. What else a run has, its
/// network and its positions for example, is that of the first.
///
/// # Errors
/// When a run has not ended or cannot be read, when runs are not comparable, or when the output cannot be written.
pub fn merge(folders_of_runs: &[PathBuf], output: &Path) -> Result<Merged> {
    let mut folders = Vec::new();
    for folder in folders_of_runs {
        let known = folder.canonicalize().unwrap_or_else(|_| folder.clone());
        if folders.contains(&known) {
            return Err(Error::user("a run is named twice, and its rows would count twice: name each once")
                .with("run", folder.display()));
        }
        folders.push(known);
    }
    if is_output_folder(output) {
        return Err(Error::user(format!(
            "{} holds a run already; choose another folder for the joined one",
            output.display()
        )));
    }
    let mut runs = folders_of_runs.iter().map(|folder| load(folder));
    let Some(first) = runs.next().transpose()? else {
        return Err(Error::user("name at least two runs"));
    };
    let Ended { mut operator, mut learner, configuration } = first;
    let mut encoder = operator.encoder().clone();
    let mut others = Vec::new();
    for (run, folder) in runs.zip(&folders_of_runs[1..]) {
        let run = run?;
        let about = |error: Error| error.with("first", folders_of_runs[0].display()).with("other", folder.display());
        let classes = encoder.merge(run.operator.encoder()).map_err(about)?;
        learner.merge(&run.learner, &classes).map_err(about)?;
        others.push(run.operator);
    }
    let Some(snapshot) = operator.join(Box::new(learner), &encoder, &others)? else {
        return Err(Error::internal("a learner without a snapshot"));
    };
    let options = FolderOptions { configuration, ..FolderOptions::default() };
    let mut sink = FolderSink::open(output, options)?;
    sink.recover()?;
    sink.write(&[snapshot])?;
    sink.commit(&Commit { epoch: 1, positions: operator.positions().clone(), state: operator.save()? })?;
    Ok(Merged {
        samples: operator.samples(),
        classes: encoder.class_count(),
        snapshot: output.join(SNAPSHOT_FOLDER).join("v000001"),
    })
}

fn load(folder: &Path) -> Result<Ended> {
    let checkpoint = if is_output_folder(folder) { latest_checkpoint(folder)? } else { None };
    let Some(checkpoint) = checkpoint else {
        return Err(Error::user(format!(
            "{} is no output folder of a run that got to a checkpoint; name what `lightcl run` wrote",
            folder.display()
        )));
    };
    let configuration = checkpoint.header.configuration;
    let about = |error: Error| error.with("run", folder.display());
    // A learner of SQL has no source of its own; the settings want one.
    let mut whole = configuration.clone();
    if let Some(whole) = whole.as_object_mut() {
        whole.entry("source").or_insert_with(|| json!({ "type": "parquet", "path": "sql" }));
    }
    let settings: Settings = serde_json::from_value(whole).map_err(|error| {
        Error::user("the run's settings cannot be read: merge with the version of lightcl that ran it")
            .with("run", folder.display())
            .caused_by(error)
    })?;
    let mut config = settings.operator_config(sha256_of(&configuration));
    config.model_id = model_id(folder);
    let learner_config = settings.learner_config();
    let make = learner_config.clone();
    let mut operator = Operator::new(
        config,
        Encoder::unbound(settings.encoder_config()),
        settings.detector()?,
        Box::new(move |shape| Ok(Box::new(LightClLearner::new(make.clone(), shape, None)?))),
    )?;
    operator.restore(&checkpoint.state).map_err(about)?;
    if !operator.is_finished() {
        return Err(about(Error::user(
            "the run has not come to its end: run it again with the same command, which goes on from where it stopped",
        )));
    }
    let learner = own_learner(&operator, learner_config).map_err(about)?;
    Ok(Ended { operator, learner, configuration })
}

/// A copy of the operator's learner, as what it is.
fn own_learner(operator: &Operator, config: LearnerConfig) -> Result<LightClLearner> {
    let Some(shape) = operator.encoder().shape() else {
        return Err(Error::user("the run has learnt from no row: leave it out"));
    };
    let mut learner = LightClLearner::new(config, shape, None)?;
    learner.restore(&operator.learner()?.save()?)?;
    Ok(learner)
}

/// The name that the run's snapshots carry, or that of its folder where it wrote none.
fn model_id(folder: &Path) -> String {
    let snapshots = folder.join(SNAPSHOT_FOLDER);
    let last = snapshot_versions(&snapshots).ok().and_then(|versions| versions.last().copied());
    let manifest = last.and_then(|version| read_manifest(&snapshots.join(format!("v{version:06}"))).ok());
    let name = || folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    manifest.map_or_else(name, |manifest| manifest.model_id)
}
