//! Second-order feature patterns: heads solved in closed form from sums over features, mixed with the network's.
//!
//! A frozen prefix's features never change, so sums over them stay valid for ever: one pass, no sample stored, no order that
//! matters, nothing to forget. Streaming LDA (Hayes and Kanan 2020), RanPAC (McDonnell et al. 2023), analytic
//! class-incremental learning (Zhuang et al. 2022); see `docs/patterns.md`.

mod block;
mod bridge;
mod calibration;
mod config;
mod experts;
mod features;
mod groups;
mod head;
mod mixture;
mod no_change;
mod projection;
mod saved;
pub(crate) mod solve;
mod standardizer;
pub(crate) mod statistics;

pub use config::{AnalyticConfig, HeadKind, Precision, Reading, Standardize, Tap, Update};
pub(crate) use features::TapRows;

pub(crate) use bridge::Bridge;
use calibration::Calibration;
use faer::{Mat, MatRef};
use features::FeatureMap;
use head::Head;
use lightcl_core::{ClassId, Error, Logits, Result};
use mixture::{Mixture, Opinions};
use no_change::NoChange;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The analytic heads of a learner with all that they know.
#[derive(Debug, Clone)]
pub(crate) struct Bank {
    config: Arc<AnalyticConfig>,
    map: FeatureMap,
    heads: Vec<Head>,
    mixture: Mixture,
    /// Whether the network is an expert, and the scale of its scores.
    network: Option<Calibration>,
    no_change: Option<NoChange>,
    /// The label of the row that was scored last, and of the one learnt last.
    last_scored: Option<ClassId>,
    last_learnt: Option<ClassId>,
    /// Classes that rows of the window in hand have brought, where scores follow every row.
    fresh: BTreeSet<ClassId>,
    bridge: Option<Bridge>,
}

/// Rows as the heads see them.
pub(crate) struct Rows<'a> {
    /// What each tap gave, the input first.
    pub(crate) taps: &'a [TapRows],
    pub(crate) count: usize,
    /// The label before each row, where one is known.
    pub(crate) previous: &'a [Option<ClassId>],
    /// The network's scores.
    pub(crate) network: Option<&'a Logits>,
}

/// Rows to learn from.
pub(crate) struct Targets<'a> {
    pub(crate) labels: &'a [ClassId],
    pub(crate) weights: &'a [f32],
    /// The samples themselves, for the bridge.
    pub(crate) features: &'a [f32],
}

/// Features of rows for either kind of head, `rows x features`.
struct Features {
    plain: Mat<f32>,
    lagging: Option<Mat<f32>>,
}

impl Features {
    fn of(&self, head: &Head) -> MatRef<'_, f32> {
        match &self.lagging {
            Some(lagging) if head.lags => lagging.as_ref(),
            _ => self.plain.as_ref(),
        }
    }
}

impl Bank {
    /// Heads that have seen nothing. `taps` are the configured ones with their widths, `kind` says whether the network is an
    /// expert, and `waits` whether the prefix has yet to freeze.
    pub(crate) fn new(
        config: &AnalyticConfig,
        kind: HeadKind,
        seed: u64,
        taps: Vec<(Tap, usize)>,
        waits: bool,
    ) -> Result<Bank> {
        let map = FeatureMap::new(config, seed, taps)?;
        let factors = config.forgetting();
        let plain = factors
            .iter()
            .enumerate()
            .map(|(head, &forget)| Head::new(config, map.features, forget, &config.ridges(head, forget), false));
        let (forget, ridge) = config::LAG;
        let lagging = map.lag.as_ref().map(|_| Head::new(config, map.lag_count(), forget, &[ridge], true));
        let heads: Vec<Head> = plain.chain(lagging).collect();
        let network = (kind == HeadKind::Mixture).then(|| Calibration::new(1.0));
        let experts = heads.len() + usize::from(network.is_some()) + usize::from(config.no_change);
        let is_bridged = waits
            && config.bridge_bytes > 0
            && !config.is_exact()
            && config.scaling() != Standardize::Running
            && map.first_of_prefix() < map.features;
        Ok(Bank {
            config: Arc::new(config.clone()),
            map,
            heads,
            mixture: Mixture::new(experts),
            network,
            no_change: config.no_change.then(NoChange::new),
            last_scored: None,
            last_learnt: None,
            fresh: BTreeSet::new(),
            bridge: is_bridged.then(|| Bridge::new(config.bridge_bytes)),
        })
    }

    /// The label of the row that was scored last, where the heads use it.
    pub(crate) fn previous_label(&self) -> Option<ClassId> {
        self.last_scored.filter(|_| self.uses_previous_label())
    }

    /// Whether the label before a row changes its score.
    pub(crate) fn uses_previous_label(&self) -> bool {
        self.config.previous_label || self.config.no_change
    }

    /// Whether the heads have anything to say; before, the network's scores stand alone.
    pub(crate) fn is_ready(&self, prefix_is_there: bool) -> bool {
        self.map.has_ready_tap(prefix_is_there)
    }

    /// Classes that the heads know of: one more than the highest.
    pub(crate) fn classes(&self) -> usize {
        self.fresh.last().map_or(0, |&class| class as usize + 1)
    }

    /// Logarithms of the mixed probabilities of each row.
    pub(crate) fn score(&self, rows: &Rows<'_>, classes: usize) -> Result<Logits> {
        let opinions = self.opinions(rows, &self.features(rows)?, classes);
        Ok(Logits { classes, values: self.mixture.mix(&opinions, rows.count, &self.fresh) })
    }

    /// As [`Bank::score`]; then experts are judged by the rows' labels.
    pub(crate) fn score_next(
        &mut self,
        rows: &Rows<'_>,
        labels: &[ClassId],
        weights: &[f32],
        classes: usize,
    ) -> Result<Logits> {
        let features = self.features(rows)?;
        let opinions = self.opinions(rows, &features, classes);
        let logits = Logits { classes, values: self.mixture.mix(&opinions, rows.count, &self.fresh) };
        let AnalyticConfig { evidence, share, .. } = *self.config;
        for (row, &label) in labels.iter().enumerate() {
            if let (Some(calibration), Some(logits)) = (&mut self.network, rows.network) {
                take_within_group(calibration, logits, row, label, &self.mixture);
            }
            self.mixture.judge_by(&opinions, row, label, evidence, share);
            if let Some(expert) = &mut self.no_change {
                expert.take(rows.previous.get(row).copied().flatten(), label);
            }
        }
        for head in &mut self.heads {
            head.take_labels(features.of(head), labels, weights);
        }
        self.last_scored = labels.last().copied().or(self.last_scored);
        if self.config.is_exact() {
            let groups = &self.mixture.groups;
            self.fresh.extend(labels.iter().filter(|&&label| groups.of(label as usize).is_none()));
        }
        Ok(logits)
    }

    fn features(&self, rows: &Rows<'_>) -> Result<Features> {
        Ok(Features {
            plain: self.map.features(rows.taps, rows.count)?,
            lagging: self.map.lag_features(rows.taps, rows.count, rows.previous)?,
        })
    }

    fn opinions(&self, rows: &Rows<'_>, features: &Features, classes: usize) -> Opinions {
        let mut opinions = Opinions { scores: Vec::new(), keeps: Vec::new(), arbiter: 0, classes };
        if let Some(calibration) = &self.network {
            let temperature = calibration.temperature() as f32;
            opinions.scores.push(rows.network.filter(|logits| logits.classes > 0).map(|logits| {
                Mat::from_fn(rows.count, logits.classes, |row, class| logits.row(row)[class] * temperature)
            }));
            opinions.keeps.push(true);
        }
        let slowest = self.heads.iter().map(|head| head.forget).fold(0.0, f64::max);
        for head in &self.heads {
            let keeps = head.forget == slowest && !head.lags;
            if keeps {
                opinions.arbiter = opinions.scores.len();
            }
            opinions.scores.push(head.score(features.of(head)));
            opinions.keeps.push(keeps);
        }
        if let Some(expert) = &self.no_change {
            opinions.scores.push(Some(expert.score(rows.previous, classes)));
            opinions.keeps.push(false);
        }
        opinions
    }

    /// Takes rows in. `rows.previous` is not looked at: rows of a window follow each other.
    pub(crate) fn learn(&mut self, taps: &[TapRows], targets: &Targets<'_>) -> Result<()> {
        let Targets { labels, weights, .. } = *targets;
        let Some(&last) = labels.last() else { return Ok(()) };
        self.map.prepare(taps);
        let previous: Vec<_> =
            std::iter::once(self.last_learnt).chain(labels.iter().copied().map(Some)).take(labels.len()).collect();
        let features = self.features(&Rows { taps, count: labels.len(), previous: &previous, network: None })?;
        for &label in labels {
            self.mixture.meet(label);
            self.fresh.remove(&label);
        }
        for head in &mut self.heads {
            head.learn(features.of(head), labels, weights);
        }
        self.map.take(taps);
        self.last_learnt = Some(last);
        self.last_scored = self.last_scored.or(Some(last));
        if let Some(bridge) = &mut self.bridge {
            bridge.keep(targets);
        }
        Ok(())
    }

    /// A task begins.
    pub(crate) fn begin_task(&mut self) {
        self.mixture.groups.begin_task();
    }

    /// The rows kept while the prefix trained, to be run through it now that it has frozen; they are forgotten here.
    pub(crate) fn take_bridge(&mut self) -> Option<Bridge> {
        self.bridge.take()
    }

    /// Adds the prefix's features of rows that were taken in without them. `labels` and `weights` are theirs.
    pub(crate) fn complete(&mut self, taps: &[TapRows], labels: &[ClassId], weights: &[f32]) -> Result<()> {
        self.map.prepare(taps);
        let features = self.map.features(taps, labels.len())?;
        let first = self.map.first_of_prefix();
        for head in &mut self.heads {
            head.complete(features.as_ref(), labels, weights, first);
        }
        Ok(())
    }

    /// Brings the weights of all heads up to their sums.
    pub(crate) fn settle(&mut self) {
        self.heads.iter_mut().for_each(Head::settle);
    }

    /// Adds the sums of a bank of the same settings over other rows; `classes` are our numbers of its classes.
    pub(crate) fn merge(&mut self, other: &Bank, classes: &[ClassId]) -> Result<()> {
        let scales = |bank: &Bank| bank.map.taps.iter().map(|map| map.standardizer.clone()).collect::<Vec<_>>();
        if self.config != other.config || scales(self) != scales(other) {
            return Err(Error::user(
                "sums can be added where features mean the same: settings, seed and standardisation must be equal. Use analytic.standardize = \"none\", or start both runs from one checkpoint",
            ));
        }
        if self.heads.iter().any(|head| head.forget < 1.0) {
            return Err(Error::user("sums that forget have an order and cannot be added: use analytic.forget = [1.0]"));
        }
        for &class in classes {
            self.mixture.meet(class);
        }
        self.heads.iter_mut().zip(&other.heads).for_each(|(head, other)| head.merge(other, classes));
        Ok(())
    }

    /// Experts by name, with their weights in the mixture.
    pub(crate) fn weights(&self) -> Vec<(String, f64)> {
        let mut names = Vec::new();
        if self.network.is_some() {
            names.push("network".to_owned());
        }
        names.extend(self.heads.iter().map(|head| match head.lags {
            true => "previous_label".to_owned(),
            false => format!("analytic_{}", head.forget),
        }));
        if self.no_change.is_some() {
            names.push("no_change".to_owned());
        }
        names.into_iter().zip(self.mixture.weights().iter().copied()).collect()
    }

    /// Bytes by part.
    pub(crate) fn bytes(&self) -> Vec<(&'static str, u64)> {
        let (scales, projections) = self.map.bytes();
        let heads = self.heads.iter().map(Head::bytes);
        let (sums, weights) = heads.fold((0, 0), |(sums, all), (own, weights)| (sums + own, all + weights));
        vec![
            ("analytic_statistics", sums),
            ("analytic_weights", weights),
            ("analytic_scales", scales + self.mixture.bytes()),
            ("analytic_projection", projections),
            ("analytic_bridge", self.bridge.as_ref().map_or(0, Bridge::bytes)),
        ]
    }
}

/// Judges the network by the classes that are being learnt: its scores of others mean little.
fn take_within_group(calibration: &mut Calibration, logits: &Logits, row: usize, label: ClassId, mixture: &Mixture) {
    let scores = if logits.classes == 0 { &[][..] } else { logits.row(row) };
    let Some(group) = mixture.groups.active() else { return };
    let members = mixture.groups.members(group);
    let Some(place) = members.iter().position(|&class| class == label as usize) else { return };
    let scores: Vec<f32> = members.iter().filter_map(|&class| scores.get(class).copied()).collect();
    if scores.len() == members.len() {
        calibration.take(&scores, place, NETWORK_FORGET);
    }
}

/// The network changes all the time: the scale of its scores is that of the last thousand rows or so.
const NETWORK_FORGET: f64 = 0.999;
