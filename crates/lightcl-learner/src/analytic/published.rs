//! Analytic heads as they are published: what scoring needs and nothing that it was solved from.
//!
//! No sum over rows and no row leaves the learner: solved weights, scales of taps and the mixture's weights do. The random
//! features are named by their seeds (`docs/snapshot-in-python.md` draws them).

use super::calibration::Calibration;
use super::features::TapMap;
use super::groups::Groups;
use super::head::Head;
use super::mixture::{LEAST, Mixture};
use super::no_change::NoChange;
use super::projection::{Projection, SCALE, SHIFT};
use super::solve::Linear;
use super::standardizer::{CLIP, Scale};
use super::{Bank, Tap};
use crate::{MAX_CLASSES, NamedWeights};
use lightcl_core::{ClassId, Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Version of [`Description`].
const FORMAT: u32 = 1;

/// A tensor's name, shape and numbers.
pub(crate) type NamedTensor = (String, Vec<usize>, Vec<f32>);

/// What a reader needs beside the tensors.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Description {
    format: u32,
    /// Features of the heads that do not lag, the constant 1 included, which is the first.
    features: usize,
    /// Scaled numbers are cut off at plus and minus this.
    clip: f32,
    /// A projection's entries are standard normal numbers times this by the root of the tap's width ..
    projection_scale: f64,
    /// .. and its shifts such numbers times this.
    shift_deviation: f64,
    taps: Vec<TapDescription>,
    /// The taps of the head that knows the label before, which counts for nothing here: no label is published.
    lagging_taps: Vec<TapDescription>,
    heads: Vec<HeadDescription>,
    /// Where tasks have heads of their own: those of the other tasks, in the place of the head that forgets least. A row is scored
    /// by the one under whose means and variances its features are likeliest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    domains: Vec<DomainDescription>,
    mixture: MixtureDescription,
    /// What the network's scores are multiplied by, where it is an expert.
    network_temperature: Option<f64>,
    no_change: Option<NoChange>,
    /// Classes met since the last window was learnt; they are listed in the active group.
    fresh: Vec<ClassId>,
}

/// One tap's place among the features: first its own numbers, where it is linear, then its random ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct TapDescription {
    tap: Tap,
    width: usize,
    first: usize,
    linear: bool,
    random: usize,
    /// As text: 64 bits are more than JSON's numbers hold in many programs.
    projection_seed: Option<String>,
    /// Whether it gives anything yet; before, its features are 0.
    ready: bool,
}

/// A head; its weights are the tensors `analytic.<number>.weight` and `.bias`, if it has any yet.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct HeadDescription {
    forget: f64,
    lags: bool,
    /// What its scores are multiplied by.
    temperature: f64,
}

/// The head of one task; its tensors are `analytic.domain.<task>.weight`, `.bias`, `.mean` and `.variance`. Those of the current
/// task's features are `analytic.domain.mean` and `.variance`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct DomainDescription {
    task: u32,
    temperature: f64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct MixtureDescription {
    experts: Vec<String>,
    /// Their weights in the group that is being learnt.
    weights: Vec<f64>,
    /// Whether an expert has a say in the other groups.
    keeps: Vec<bool>,
    /// Number of the expert that decides between groups.
    arbiter: usize,
    /// The least weight; shares of classes are at least its square.
    least: f64,
    groups: Vec<GroupDescription>,
}

/// Classes that were learnt together.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct GroupDescription {
    classes: Vec<usize>,
    /// Whether it is the one being learnt.
    active: bool,
    /// Weights of the experts when it was learnt last.
    weights: Vec<f64>,
}

fn name(tap: Tap) -> &'static str {
    match tap {
        Tap::Input => "input",
        Tap::Prefix => "prefix",
        Tap::Stages => "stages",
    }
}

fn describe(map: &TapMap, projection: Option<&Projection>, first: usize, linear: bool, ready: bool) -> TapDescription {
    TapDescription {
        tap: map.tap,
        width: map.width,
        first,
        linear,
        random: projection.map_or(0, |projection| projection.outputs),
        projection_seed: projection.map(|projection| projection.seed.to_string()),
        ready,
    }
}

impl Bank {
    fn tap_descriptions(&self, prefix_is_there: bool) -> (Vec<TapDescription>, Vec<TapDescription>) {
        let ready = |map: &TapMap| map.standardizer.is_ready() && (map.tap == Tap::Input || prefix_is_there);
        let taps = self.map.taps.iter();
        let plain = taps.map(|map| describe(map, map.projection.as_ref(), map.first, map.linear, ready(map)));
        let lagging = match (&self.map.lag, self.map.taps.first()) {
            (Some(projection), Some(map)) => vec![describe(map, Some(projection), 1, true, ready(map))],
            _ => Vec::new(),
        };
        (plain.collect(), lagging)
    }

    /// What scoring needs. `prefix_is_there` says whether the prefix has frozen.
    pub(crate) fn publish(&self, prefix_is_there: bool) -> Result<(Value, Vec<NamedTensor>)> {
        let mut tensors = Vec::new();
        for map in &self.map.taps {
            if let Some(Scale { mean, inverse }) = map.standardizer.scale() {
                let tap = name(map.tap);
                tensors.push((format!("analytic.scale.{tap}.mean"), vec![map.width], mean.clone()));
                tensors.push((format!("analytic.scale.{tap}.inverse"), vec![map.width], inverse.clone()));
            }
        }
        for (number, head) in self.heads.iter().enumerate() {
            if let Some(linear) = head.linear() {
                let (weights, biases) = linear.save();
                let shape = vec![biases.len(), linear.weights.nrows()];
                tensors.push((format!("analytic.{number}.weight"), shape, weights));
                tensors.push((format!("analytic.{number}.bias"), vec![biases.len()], biases));
            }
        }
        let domains = self.publish_domains(&mut tensors);
        let (taps, lagging_taps) = self.tap_descriptions(prefix_is_there);
        let heads = self.heads.iter().map(|head| HeadDescription {
            forget: head.forget,
            lags: head.lags,
            temperature: head.temperature(),
        });
        let description = Description {
            format: FORMAT,
            features: self.map.features,
            clip: CLIP,
            projection_scale: SCALE,
            shift_deviation: SHIFT,
            taps,
            lagging_taps,
            heads: heads.collect(),
            domains,
            mixture: self.mixture_description(),
            network_temperature: self.network.as_ref().map(Calibration::temperature),
            no_change: self.no_change.clone(),
            fresh: self.fresh.iter().copied().collect(),
        };
        let description = serde_json::to_value(description)
            .map_err(|error| Error::internal("the analytic heads have no JSON form").caused_by(error))?;
        Ok((description, tensors))
    }

    fn publish_domains(&self, tensors: &mut Vec<NamedTensor>) -> Vec<DomainDescription> {
        let others = self.regimes.heads();
        if others.is_empty() {
            return Vec::new();
        }
        let mut put_moments = |prefix: &str, head: &Head| {
            let (means, variances): (Vec<f32>, Vec<f32>) =
                head.moments().into_iter().map(|(mean, variance)| (mean as f32, variance as f32)).unzip();
            tensors.push((format!("{prefix}.mean"), vec![means.len()], means));
            tensors.push((format!("{prefix}.variance"), vec![variances.len()], variances));
        };
        put_moments("analytic.domain", &self.heads[self.slowest()]);
        for (task, head) in others {
            put_moments(&format!("analytic.domain.{task}"), head);
        }
        let mut domains = Vec::new();
        for (&task, head) in others {
            let Some(linear) = head.linear() else { continue };
            let (weights, biases) = linear.save();
            tensors.push((
                format!("analytic.domain.{task}.weight"),
                vec![biases.len(), linear.weights.nrows()],
                weights,
            ));
            tensors.push((format!("analytic.domain.{task}.bias"), vec![biases.len()], biases));
            domains.push(DomainDescription { task, temperature: head.temperature() });
        }
        domains
    }

    fn adopt_domains(&mut self, published: &Description, weights: &NamedWeights) -> Result<()> {
        if published.domains.is_empty() {
            return Ok(());
        }
        let features = self.map.features;
        let moments = |prefix: &str| -> Result<Vec<(f64, f64)>> {
            let means = weights.get(&format!("{prefix}.mean"), &[features])?;
            let variances = weights.get(&format!("{prefix}.variance"), &[features])?;
            let moments: Vec<_> = means.iter().zip(variances).map(|(&m, &v)| (f64::from(m), f64::from(v))).collect();
            let sound = moments.iter().all(|(mean, variance)| mean.is_finite() && *variance >= 0.0);
            if sound { Ok(moments) } else { Err(unfit("domains")) }
        };
        let slowest = self.slowest();
        self.heads[slowest].adopt_moments(moments("analytic.domain")?);
        for domain in &published.domains {
            let prefix = format!("analytic.domain.{}", domain.task);
            let weight = format!("{prefix}.weight");
            let classes = weights.shape(&weight).and_then(|shape| shape.first().copied()).unwrap_or(0);
            let numbers = weights.get(&weight, &[classes, features])?.to_vec();
            let biases = weights.get(&format!("{prefix}.bias"), &[classes])?.to_vec();
            let linear = Linear::restore((numbers, biases), features).filter(|_| classes <= MAX_CLASSES);
            let linear = linear.ok_or_else(|| unfit("domains"))?;
            if !(domain.temperature.is_finite() && domain.temperature > 0.0) {
                return Err(unfit("temperatures"));
            }
            let mut head = self.heads[slowest].emptied();
            head.adopt(linear, domain.temperature);
            head.adopt_moments(moments(&prefix)?);
            self.regimes.adopt(domain.task, head);
        }
        Ok(())
    }

    fn mixture_description(&self) -> MixtureDescription {
        let (keeps, arbiter) = self.roles();
        let (experts, weights): (Vec<_>, Vec<_>) = self.weights().into_iter().unzip();
        let groups = self.mixture.groups.all().into_iter().map(|(group, mut classes)| {
            let active = self.mixture.groups.active() == Some(group);
            if active {
                classes.extend(self.fresh.iter().map(|&class| class as usize));
            }
            let closed = self.mixture.closed.get(&group).cloned();
            let weights = if active { weights.clone() } else { closed.unwrap_or_else(|| vec![1.0; weights.len()]) };
            GroupDescription { classes, active, weights }
        });
        let groups = groups.collect();
        MixtureDescription { experts, weights, keeps, arbiter, least: LEAST, groups }
    }

    /// Takes what was published as its own. The bank must be a new one of the settings that it was published with.
    pub(crate) fn adopt(&mut self, description: &Value, weights: &NamedWeights) -> Result<()> {
        let published = Description::deserialize(description)
            .map_err(|error| Error::user("the snapshot's analytic heads cannot be read").caused_by(error))?;
        self.check_features(&published)?;
        for map in &mut self.map.taps {
            let [mean, inverse] = ["mean", "inverse"].map(|part| format!("analytic.scale.{}.{part}", name(map.tap)));
            if weights.contains(&mean) {
                let width = [map.width];
                let scale = Scale {
                    mean: weights.get(&mean, &width)?.to_vec(),
                    inverse: weights.get(&inverse, &width)?.to_vec(),
                };
                map.standardizer.adopt(scale);
            }
            if !map.standardizer.fits(self.config.scaling(), map.width) {
                return Err(Error::user("a scale of the snapshot is not finite").with("tensor", mean));
            }
        }
        let is_temperature = |temperature: &f64| temperature.is_finite() && *temperature > 0.0;
        for (number, (head, described)) in self.heads.iter_mut().zip(&published.heads).enumerate() {
            let [weight, bias] = ["weight", "bias"].map(|part| format!("analytic.{number}.{part}"));
            let Some(&[classes, _]) = weights.shape(&weight) else { continue };
            let features = if described.lags { self.map.lag_count() } else { self.map.features };
            let numbers = weights.get(&weight, &[classes, features])?.to_vec();
            let biases = weights.get(&bias, &[classes])?.to_vec();
            let linear = Linear::restore((numbers, biases), features).filter(|_| classes <= MAX_CLASSES);
            let linear = linear.ok_or_else(|| {
                Error::user("the weights of an analytic head are not finite, or have too many classes")
                    .with("tensor", weight)
            })?;
            if !is_temperature(&described.temperature) {
                return Err(unfit("temperatures"));
            }
            head.adopt(linear, described.temperature);
        }
        self.adopt_mixture(&published)?;
        if published.network_temperature.is_some() != self.network.is_some()
            || !published.network_temperature.iter().all(is_temperature)
            || published.no_change.is_some() != self.no_change.is_some()
            || published.no_change.as_ref().is_some_and(|expert| !expert.is_sound())
        {
            return Err(unfit("experts"));
        }
        self.network = published.network_temperature.map(Calibration::new);
        self.adopt_domains(&published, weights)?;
        self.no_change = published.no_change;
        Ok(())
    }

    /// Refuses a snapshot whose features this program would draw in another way.
    fn check_features(&self, published: &Description) -> Result<()> {
        let (taps, lagging_taps) = self.tap_descriptions(true);
        let same = |ours: &[TapDescription], theirs: &[TapDescription]| {
            let alike = |(ours, theirs): (&TapDescription, &TapDescription)| {
                TapDescription { ready: true, ..ours.clone() } == TapDescription { ready: true, ..theirs.clone() }
            };
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(alike)
        };
        let heads = self.heads.iter().map(|head| (head.forget, head.lags));
        if published.format == FORMAT
            && published.features == self.map.features
            && published.clip == CLIP
            && published.projection_scale == SCALE
            && published.shift_deviation == SHIFT
            && same(&taps, &published.taps)
            && same(&lagging_taps, &published.lagging_taps)
            && heads.eq(published.heads.iter().map(|head| (head.forget, head.lags)))
        {
            return Ok(());
        }
        Err(unfit("features"))
    }

    fn adopt_mixture(&mut self, published: &Description) -> Result<()> {
        let is_fresh = |class: usize| published.fresh.iter().any(|&fresh| fresh as usize == class);
        let members = published.mixture.groups.iter().map(|group| {
            (group.classes.iter().copied().filter(|&class| !is_fresh(class)).collect::<Vec<_>>(), group.active)
        });
        let groups = Groups::from_lists(&members.collect::<Vec<_>>()).ok_or_else(|| unfit("groups of classes"))?;
        let closed = published.mixture.groups.iter().enumerate().filter(|(_, group)| !group.active);
        let mixture = Mixture {
            weights: published.mixture.weights.clone(),
            closed: closed.map(|(number, group)| (number as u32, group.weights.clone())).collect(),
            groups,
        };
        let are_classes = published.fresh.iter().all(|&class| (class as usize) < MAX_CLASSES);
        if !mixture.is_sound(self.mixture.weights().len()) || !are_classes {
            return Err(unfit("mixture"));
        }
        self.mixture = mixture;
        self.fresh = published.fresh.iter().copied().collect();
        Ok(())
    }
}

fn unfit(part: &str) -> Error {
    Error::user(
        "the snapshot's analytic heads do not fit its settings, or another version of lightcl wrote them; use that one",
    )
    .with("part", part)
}
