//! Published weights: safetensors with PyTorch's names and shapes, and back.

use crate::learner::LightClLearner;
use crate::model::{Model, Part};
use crate::network::{Network, ParameterSpec, StatisticSpec, values};
use crate::sparse::Pruning;
use crate::{Backbone, HeadKind, LearnerConfig, MAX_CLASSES, NamedWeights};
use lightcl_core::{Blob, Error, LearnerSnapshot, Result};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};
use std::sync::Arc;

/// A tensor on its way to a file.
struct Entry {
    name: String,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Entry {
    fn new(name: &str, shape: &[usize], values: &[f32]) -> Entry {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Entry { name: name.to_owned(), shape: shape.to_vec(), bytes }
    }
}

fn serialize(entries: &[Entry]) -> Result<Arc<Vec<u8>>> {
    let failed = |error| Error::internal("the weights have no safetensors form").caused_by(error);
    let views = entries
        .iter()
        .map(|entry| Ok((&entry.name, TensorView::new(Dtype::F32, entry.shape.clone(), &entry.bytes).map_err(failed)?)))
        .collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(safetensors::serialize(views, None).map_err(failed)?))
}

fn weights(part: &Part, specs: &[ParameterSpec], entries: &mut Vec<Entry>) -> Result<()> {
    for (weight, spec) in part.weights.iter().zip(specs) {
        entries.push(Entry::new(&spec.name, &spec.shape, &spec.exported(weight)?));
    }
    Ok(())
}

fn statistics(part: &Part, specs: &[StatisticSpec], entries: &mut Vec<Entry>) -> Result<()> {
    for (tensor, spec) in part.statistics.iter().zip(specs) {
        entries.push(Entry::new(&spec.name, &[spec.channels], &values(tensor.clone())?));
    }
    Ok(())
}

/// Which parts of the network a score needs.
struct Needed {
    prefix: bool,
    suffix: bool,
}

fn needed(learner: &LightClLearner) -> Needed {
    match (learner.config.head, &learner.analytic) {
        (HeadKind::Analytic, Some(bank)) => {
            let prefix = learner.runs_network();
            // Until the heads have something to say the network's scores stand alone.
            Needed { prefix, suffix: prefix && !bank.is_ready(learner.progress.frozen) }
        }
        _ => Needed { prefix: true, suffix: true },
    }
}

/// Writes a snapshot. The prefix's blob never changes after freezing: statistics that still move go with the suffix. Parts of
/// the network that no score needs are left out.
pub(crate) fn write(learner: &LightClLearner) -> Result<LearnerSnapshot> {
    let model = &learner.model;
    let layout = &model.network.layout;
    let (mut prefix, mut suffix) = (Vec::new(), Vec::new());
    weights(&model.prefix, &layout.prefix, &mut prefix)?;
    let needed = needed(learner);
    let moves = needed.suffix && learner.progress.frozen && !learner.caches_prefix();
    statistics(&model.prefix, &layout.prefix_statistics, if moves { &mut suffix } else { &mut prefix })?;
    weights(&model.suffix, &layout.suffix_with_head(model.classes), &mut suffix)?;
    statistics(&model.suffix, &layout.suffix_statistics, &mut suffix)?;
    let blob =
        |role: &str, entries: &[Entry]| Ok::<_, Error>(Blob { role: role.to_owned(), bytes: serialize(entries)? });
    let settings = serde_json::to_value(&learner.config)
        .map_err(|error| Error::internal("the settings have no JSON form").caused_by(error))?;
    let (backbone, widths) = match &learner.config.backbone {
        Backbone::Mlp { hidden, .. } => ("mlp", hidden.clone()),
        Backbone::Resnet18 { width } => ("resnet18", vec![*width]),
    };
    let mut blobs = Vec::new();
    if needed.prefix {
        blobs.push(blob("prefix", &prefix)?);
    }
    if needed.suffix {
        blobs.push(blob("suffix", &suffix)?);
    }
    let analytic = learner.analytic.as_ref().map(|bank| bank.publish(learner.progress.frozen)).transpose()?;
    let analytic = match analytic {
        None => Value::Null,
        Some((description, tensors)) => {
            let entries: Vec<Entry> =
                tensors.iter().map(|(name, shape, values)| Entry::new(name, shape, values)).collect();
            blobs.push(blob("analytic", &entries)?);
            description
        }
    };
    let mut snapshot = LearnerSnapshot {
        description: json!({
            "format": 1,
            "method": settings["method"],
            "backbone": backbone,
            "widths": widths,
            "input_shape": model.network.input_shape,
            "classes": model.classes,
            "seen_classes": learner.progress.seen,
            "prefix_frozen": learner.progress.frozen,
            "settings": settings,
        }),
        blobs,
    };
    if !analytic.is_null() {
        snapshot.description["analytic"] = analytic;
    }
    Ok(snapshot)
}

/// The initial values of what a snapshot leaves out because no score needs it.
fn left_out(network: &Network, config: &LearnerConfig, blobs: &[Blob]) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let layout = &network.layout;
    let mut tensors = Vec::new();
    for (role, weights, statistics) in
        [("prefix", &layout.prefix, &layout.prefix_statistics), ("suffix", &layout.suffix, &layout.suffix_statistics)]
    {
        if blobs.iter().any(|blob| blob.role == role) {
            continue;
        }
        tensors.extend(weights.iter().map(|spec| (spec.name.clone(), spec.shape.clone(), spec.initial(config.seed))));
        tensors.extend(
            statistics.iter().map(|spec| (spec.name.clone(), vec![spec.channels], vec![spec.initial; spec.channels])),
        );
    }
    tensors
}

impl LightClLearner {
    /// A learner with the weights of a snapshot, able to score. It knows of no label before the rows that it scores, whatever
    /// the writer had seen.
    ///
    /// Memory, masks, optimiser and the sums that analytic heads are solved from are not part of a snapshot: to go on learning where a run stopped, restore its saved
    /// state instead. Training from here starts a stream of its own.
    ///
    /// # Errors
    /// User errors when the description or a blob cannot be read, or when they do not fit each other.
    pub fn from_snapshot(description: &Value, blobs: &[Blob]) -> Result<LightClLearner> {
        let missing = |key: &'static str| Error::user("the snapshot's description lacks an entry").with("key", key);
        let settings = description.get("settings").ok_or_else(|| missing("settings"))?;
        let config: LearnerConfig = serde_json::from_value(settings.clone())
            .map_err(|error| Error::user("the snapshot's settings cannot be read").caused_by(error))?;
        let shape = description.get("input_shape").ok_or_else(|| missing("input_shape"))?;
        let shape: Vec<usize> = serde_json::from_value(shape.clone())
            .map_err(|error| Error::user("the snapshot's input shape cannot be read").caused_by(error))?;
        let classes = description.get("classes").and_then(Value::as_u64).ok_or_else(|| missing("classes"))?;
        let classes = usize::try_from(classes).ok().filter(|&classes| classes <= MAX_CLASSES);
        let classes = classes.ok_or_else(|| Error::user("the snapshot has too many classes"))?;

        let network = Network::new(&config, &shape)?;
        let mut tensors = Vec::new();
        if config.head == HeadKind::Analytic {
            tensors.extend(left_out(&network, &config, blobs));
        }
        for blob in blobs {
            let weights =
                NamedWeights::from_safetensors_bytes(&blob.bytes).map_err(|error| error.with("blob", &blob.role))?;
            tensors.extend(weights.into_tensors());
        }
        let weights = NamedWeights::from_tensors(tensors);
        let has_head = config.head != HeadKind::Analytic || blobs.iter().any(|blob| blob.role == "suffix");
        if classes > 0 && has_head && !weights.contains("head.weight") {
            return Err(Error::user("the snapshot lacks the head's weights").with("tensor", "head.weight"));
        }
        let model = Model::new(network, config.seed, classes, Some(&weights))?;
        let pruning = if config.sparse { Some(Pruning::of_zeros(&model)?) } else { None };
        let mut learner = Self::with_model(config, model, pruning)?;
        if let Some(bank) = &mut learner.analytic {
            // Taps of a prefix that still trains give nothing.
            let frozen = description.get("prefix_frozen").and_then(Value::as_bool);
            let frozen = frozen.ok_or_else(|| missing("prefix_frozen"))?;
            bank.adopt(description.get("analytic").ok_or_else(|| missing("analytic"))?, &weights)?;
            if frozen {
                learner.progress.frozen = true;
                learner.prefix_digest = Some(crate::state::digest(&learner.model.prefix.weights)?);
            }
            let Needed { prefix, suffix } = needed(&learner);
            for (role, is_needed) in [("prefix", prefix), ("suffix", suffix), ("analytic", true)] {
                if is_needed && !blobs.iter().any(|blob| blob.role == role) {
                    return Err(Error::user("the snapshot lacks weights that its scores need").with("blob", role));
                }
            }
        }
        Ok(learner)
    }
}
