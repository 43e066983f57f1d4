//! The saved state: named sections, so that later versions can add some and older ones say what they do not know.

mod sections;

use crate::bridge::Bridge;
use crate::learner::{LightClLearner, Progress};
use crate::memory::{Masks, References, vital_rows};
use crate::model::{Model, Part};
use crate::network::{ParameterSpec, StatisticSpec, Weight, tensor};
use crate::sparse::Pruning;
use crate::train::Momentum;
use crate::{LearnerConfig, MAX_CLASSES};
use burn::tensor::{Device, Tensor};
use lightcl_core::{Error, Logits, Result, Stateful, state};
use rand_chacha::ChaCha8Rng;
use sections::{Blob, Numbers, Sections, Writer, section};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const VERSION: u16 = 3;

/// How much of the state some bytes hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Extent {
    /// Everything.
    Whole,
    /// All but the weights of a frozen prefix, and its statistics when those are fixed too.
    Plastic,
}

impl Extent {
    fn tag(self) -> &'static str {
        match self {
            Extent::Whole => "lightcl-learner",
            Extent::Plastic => "lightcl-learner-plastic",
        }
    }
}

impl Stateful for LightClLearner {
    fn save(&self) -> Result<Vec<u8>> {
        save(self, Extent::Whole)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        restore(self, bytes, Extent::Whole)
    }
}

#[derive(Serialize, Deserialize)]
struct SavedReferences {
    inputs: Numbers,
    embeddings: Option<Numbers>,
    maps: Vec<Numbers>,
    classes: u64,
    logits: Numbers,
}

#[derive(PartialEq, Serialize, Deserialize)]
struct Settings {
    config: LearnerConfig,
    input_shape: Vec<usize>,
}

/// SHA-256 over the bytes of some weights.
pub(crate) fn digest(weights: &[Weight]) -> Result<String> {
    let mut bytes = Vec::new();
    for weight in weights {
        bytes.extend(weight.values()?.iter().flat_map(|value| value.to_le_bytes()));
    }
    Ok(state::sha256_hex(&bytes))
}

pub(crate) fn save(learner: &LightClLearner, extent: Extent) -> Result<Vec<u8>> {
    let model = &learner.model;
    let mut writer = Writer::default();
    let settings = Settings { config: learner.config.clone(), input_shape: model.network.input_shape.clone() };
    // As JSON: an enum with fields inside has no form in the binary encoding.
    let settings = serde_json::to_string(&settings)
        .map_err(|error| Error::internal("the settings have no JSON form").caused_by(error))?;
    writer.put(section::SETTINGS, &settings)?;
    writer.put(section::CLASSES, &(model.classes as u64, &learner.progress))?;
    writer.put(section::GENERATOR, &learner.generator)?;
    let leaves_prefix_out = extent == Extent::Plastic && learner.progress.frozen;
    if !leaves_prefix_out {
        writer.put(section::PREFIX, &weights(&model.prefix.weights)?)?;
    }
    if !(leaves_prefix_out && learner.caches_prefix()) {
        writer.put(section::PREFIX_STATISTICS, &statistics(&model.prefix.statistics)?)?;
    }
    if let Some(digest) = &learner.prefix_digest {
        writer.put(section::PREFIX_DIGEST, digest)?;
    }
    writer.put(section::SUFFIX, &weights(&model.suffix.weights)?)?;
    writer.put(section::SUFFIX_STATISTICS, &statistics(&model.suffix.statistics)?)?;
    if let Some(momentum) = &learner.momentum {
        writer.put(section::OPTIMISER, &(weights(&momentum.prefix)?, weights(&momentum.suffix)?))?;
    }
    if let Some(masks) = &learner.masks {
        writer.put(section::MASKS, masks)?;
    }
    if let Some(references) = &learner.references {
        let logits = &references.logits;
        writer.put(
            section::REFERENCES,
            &SavedReferences {
                inputs: Numbers::of(&references.inputs)?,
                embeddings: references.embeddings.as_ref().map(Numbers::of).transpose()?,
                maps: references.maps.iter().map(Numbers::of).collect::<Result<_>>()?,
                classes: logits.classes as u64,
                logits: Numbers::new(&[references.rows(), logits.classes], &logits.values),
            },
        )?;
    }
    if let Some(pruning) = &learner.pruning {
        let flags = |masks: &[Option<Weight>]| {
            masks
                .iter()
                .map(|mask| match mask {
                    Some(mask) => Ok(Some(Blob(mask.values()?.iter().map(|&v| u8::from(v != 0.0)).collect()))),
                    None => Ok(None),
                })
                .collect::<Result<Vec<_>>>()
        };
        writer.put(section::PRUNING, &(flags(&pruning.prefix)?, flags(&pruning.suffix)?))?;
    }
    if let Some(bank) = &learner.analytic {
        writer.put(section::ANALYTIC, &bank.save())?;
    }
    if let Some(replay) = &learner.replay {
        writer.put(section::REPLAY, &replay.save())?;
    }
    if let Some(bridge) = &learner.bridge {
        writer.put(section::BRIDGE, bridge)?;
    }
    state::encode(extent.tag(), VERSION, &writer.0)
}

fn weights(list: &[Weight]) -> Result<Vec<Numbers>> {
    list.iter().map(Numbers::of_weight).collect()
}

fn statistics(list: &[Tensor<1>]) -> Result<Vec<Numbers>> {
    list.iter().map(Numbers::of).collect()
}

/// Reads everything before anything changes.
pub(crate) fn restore(learner: &mut LightClLearner, bytes: &[u8], extent: Extent) -> Result<()> {
    let sections = Sections::read(bytes, extent)?;
    let network = learner.model.network.clone();
    let (layout, device) = (&network.layout, &network.device);
    check_settings(learner, &sections.required::<String>(section::SETTINGS)?)?;

    let (classes, progress): (u64, Progress) = sections.required(section::CLASSES)?;
    let classes = usize::try_from(classes).ok().filter(|&classes| classes <= MAX_CLASSES);
    let classes = classes.ok_or_else(|| Error::user("the saved state has too many classes"))?;
    let known = |class: Option<&u32>| class.is_none_or(|&class| (class as usize) < classes);
    if !known(progress.seen.last()) || !known(progress.current.last()) {
        return Err(Error::user("the saved state names a class that its head lacks"));
    }
    let generator: ChaCha8Rng = sections.required(section::GENERATOR)?;
    let prefix_digest: Option<String> = sections.optional(section::PREFIX_DIGEST)?;
    if progress.frozen != prefix_digest.is_some() {
        return Err(Error::user("the saved state does not say which prefix it belongs to"));
    }

    let prefix_weights = match sections.optional::<Vec<Numbers>>(section::PREFIX)? {
        Some(saved) => read_weights(&saved, &layout.prefix, device)?,
        None if extent == Extent::Plastic && progress.frozen && learner.prefix_digest == prefix_digest => {
            learner.model.prefix.weights.clone()
        }
        None => {
            return Err(Error::user(
                "the saved state lacks the prefix's weights, and this learner's prefix is another one",
            ));
        }
    };
    let prefix_statistics = match sections.optional::<Vec<Numbers>>(section::PREFIX_STATISTICS)? {
        Some(saved) => read_statistics(&saved, &layout.prefix_statistics, device)?,
        None if extent == Extent::Plastic => learner.model.prefix.statistics.clone(),
        None => return Err(Error::user("the saved state lacks a section").with("section", section::PREFIX_STATISTICS)),
    };
    let suffix_specs = layout.suffix_with_head(classes);
    let suffix_weights = read_weights(&sections.required::<Vec<Numbers>>(section::SUFFIX)?, &suffix_specs, device)?;
    let suffix_statistics = read_statistics(
        &sections.required::<Vec<Numbers>>(section::SUFFIX_STATISTICS)?,
        &layout.suffix_statistics,
        device,
    )?;
    let momentum = match sections.optional::<(Vec<Numbers>, Vec<Numbers>)>(section::OPTIMISER)? {
        None => None,
        Some((prefix, suffix)) => Some(Momentum {
            prefix: if prefix.is_empty() { Vec::new() } else { read_weights(&prefix, &layout.prefix, device)? },
            suffix: read_weights(&suffix, &suffix_specs, device)?,
        }),
    };
    let masks: Option<Masks> = sections.optional(section::MASKS)?;
    if let Some(masks) = &masks
        && !masks.iter().map(Vec::len).eq(layout.maps.iter().map(|map| map.channels))
    {
        return Err(Error::user("the saved masks do not fit the network"));
    }
    let pruning = match sections.optional::<(Vec<Option<Blob>>, Vec<Option<Blob>>)>(section::PRUNING)? {
        None => None,
        Some((prefix, suffix)) => Some(Pruning {
            prefix: read_flags(&prefix, &layout.prefix, device)?,
            suffix: read_flags(&suffix, &layout.suffix, device)?,
        }),
    };
    let model = Model {
        network: network.clone(),
        prefix: Part { weights: prefix_weights, statistics: prefix_statistics },
        suffix: Part { weights: suffix_weights, statistics: suffix_statistics },
        classes,
    };
    let references = match sections.optional::<SavedReferences>(section::REFERENCES)? {
        None => None,
        Some(saved) => Some(read_references(&saved, &model, masks.as_ref())?),
    };
    let analytic = match (learner.analytic.clone(), sections.optional(section::ANALYTIC)?) {
        (None, None) => None,
        (Some(mut bank), Some(saved)) => {
            bank.restore(saved, classes)?;
            Some(bank)
        }
        _ => return Err(Error::user("the saved state and this learner do not agree on analytic heads")),
    };
    let replay = match (learner.replay.clone(), sections.optional(section::REPLAY)?) {
        (None, None) => None,
        (Some(mut replay), Some(saved)) => {
            replay.restore(saved, classes)?;
            Some(replay)
        }
        _ => return Err(Error::user("the saved state and this learner do not agree on replay")),
    };
    let bridge: Option<Bridge> = sections.optional(section::BRIDGE)?;
    if bridge.as_ref().is_some_and(|bridge| !bridge.is_sound(network.input_width())) {
        return Err(Error::user("the rows saved until the prefix freezes are damaged"));
    }
    let restored = LightClLearner {
        config: learner.config.clone(),
        model,
        momentum,
        progress,
        masks,
        references,
        pruning,
        prefix_digest,
        analytic,
        replay,
        bridge,
        generator,
    };
    if restored.references.as_ref().is_some_and(|r| r.embeddings.is_some() != restored.caches_prefix()) {
        return Err(Error::user("the saved references do not fit the way this learner runs its prefix"));
    }
    if restored.pruning.is_some() != restored.config.sparse {
        return Err(Error::user("the saved state does not say which weights are pruned"));
    }
    *learner = restored;
    Ok(())
}

fn check_settings(learner: &LightClLearner, saved: &str) -> Result<()> {
    let saved: Settings = serde_json::from_str(saved)
        .map_err(|error| Error::user("the saved settings cannot be read").caused_by(error))?;
    let own = Settings { config: learner.config.clone(), input_shape: learner.model.network.input_shape.clone() };
    if saved == own {
        return Ok(());
    }
    let (saved, own) = (flat_json(&saved)?, flat_json(&own)?);
    let differences: Vec<String> = own
        .iter()
        .filter(|(key, value)| saved.get(*key) != Some(value))
        .map(|(key, value)| format!("{key}: {} -> {value}", saved.get(key).map_or("absent", String::as_str)))
        .collect();
    Err(Error::user("the saved state belongs to a learner with other settings; start over with --fresh")
        .with("changed", differences.join(", ")))
}

/// Top-level settings and their values as text.
fn flat_json(settings: &Settings) -> Result<BTreeMap<String, String>> {
    let failed = |error| Error::internal("the settings have no JSON form").caused_by(error);
    let value = serde_json::to_value(&settings.config).map_err(failed)?;
    let mut flat: BTreeMap<String, String> =
        value.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.to_string())).collect();
    flat.insert("input_shape".to_owned(), format!("{:?}", settings.input_shape));
    Ok(flat)
}

fn fits(found: usize, expected: usize, what: &str) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::user("the saved state has another number of tensors")
        .with("part", what)
        .with("expected", expected)
        .with("found", found))
}

fn read_weights(saved: &[Numbers], specs: &[ParameterSpec], device: &Device) -> Result<Vec<Weight>> {
    fits(saved.len(), specs.len(), "weights")?;
    saved
        .iter()
        .zip(specs)
        .map(|(numbers, spec)| {
            let shape = spec.stored_shape();
            Weight::new(numbers.of_shape(&shape, &spec.name)?, &shape, device)
        })
        .collect()
}

fn read_statistics(saved: &[Numbers], specs: &[StatisticSpec], device: &Device) -> Result<Vec<Tensor<1>>> {
    fits(saved.len(), specs.len(), "statistics")?;
    saved
        .iter()
        .zip(specs)
        .map(|(numbers, spec)| Ok(tensor(numbers.of_shape(&[spec.channels], &spec.name)?, [spec.channels], device)))
        .collect()
}

fn read_flags(saved: &[Option<Blob>], specs: &[ParameterSpec], device: &Device) -> Result<Vec<Option<Weight>>> {
    fits(saved.len(), specs.len(), "pruning masks")?;
    saved
        .iter()
        .zip(specs)
        .map(|(flags, spec)| {
            let Some(Blob(flags)) = flags else { return Ok(None) };
            let shape = spec.stored_shape();
            fits(flags.len(), shape.iter().product(), &spec.name)?;
            let values = flags.iter().map(|&flag| f32::from(flag.min(1))).collect();
            Ok(Some(Weight::new(values, &shape, device)?))
        })
        .collect()
}

fn read_references(saved: &SavedReferences, model: &Model, masks: Option<&Masks>) -> Result<References> {
    let network = &model.network;
    let (layout, device) = (&network.layout, &network.device);
    let inputs = saved.inputs.rows(network.input_width(), device, "memory inputs")?;
    let rows = inputs.dims()[0];
    let with_rows = |tensor: Tensor<2>| match tensor.dims()[0] {
        found if found == rows => Ok(tensor),
        found => Err(Error::user("the saved references have another number of rows than the memory")
            .with("expected", rows)
            .with("found", found)),
    };
    let embeddings = match &saved.embeddings {
        Some(numbers) => Some(with_rows(numbers.rows(layout.embedding_width(), device, "memory embeddings")?)?),
        None => None,
    };
    fits(saved.maps.len(), layout.maps.len(), "reference maps")?;
    let maps = saved
        .maps
        .iter()
        .zip(&layout.maps)
        .map(|(numbers, spec)| with_rows(numbers.rows(spec.channels * spec.spatial, device, &spec.name)?))
        .collect::<Result<_>>()?;
    if saved.classes != model.classes as u64 {
        return Err(Error::user("the saved references know other classes than the head"));
    }
    let logits =
        Logits { classes: model.classes, values: saved.logits.of_shape(&[rows, model.classes], "reference logits")? };
    Ok(References { inputs, embeddings, maps, logits, vital: vital_rows(masks, layout, device) })
}
