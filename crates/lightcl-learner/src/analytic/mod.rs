//! Second-order feature patterns: heads solved in closed form from sums over features, mixed with the network's.
//!
//! A frozen prefix's features never change, so sums over them stay valid for ever: one pass, no sample stored, no order that
//! matters, nothing to forget. Streaming LDA (Hayes and Kanan 2020), RanPAC (McDonnell et al. 2023), analytic
//! class-incremental learning (Zhuang et al. 2022); see `docs/patterns.md`.

mod block;
mod calibration;
mod config;
mod experts;
mod features;
mod groups;
mod head;
mod merge;
mod mixture;
mod no_change;
mod projection;
mod published;
mod regimes;
mod saved;
pub(crate) mod solve;
mod standardizer;
pub(crate) mod statistics;

pub use config::{AnalyticConfig, HeadKind, Precision, Reading, RegimeKind, Standardize, Tap, Update};
pub(crate) use features::TapRows;

use block::Scored;
use calibration::Calibration;
use faer::{Mat, MatRef};
use features::FeatureMap;
use head::{Examined, Head};
use lightcl_core::{ClassId, Error, Logits, Result, TaskChange};
use mixture::{Mixture, Opinions};
use no_change::NoChange;
use regimes::Regimes;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The analytic heads of a learner with all that they know.
#[derive(Debug, Clone)]
pub(crate) struct Bank {
    config: Arc<AnalyticConfig>,
    map: FeatureMap,
    heads: Vec<Head>,
    regimes: Regimes,
    mixture: Mixture,
    /// Whether the network is an expert, and the scale of its scores.
    network: Option<Calibration>,
    /// Whether it keeps what it knew, as LightCL does and plain gradient descent does not.
    network_keeps: bool,
    no_change: Option<NoChange>,
    /// The label of the row that was scored last, and of the one learnt last.
    last_scored: Option<ClassId>,
    last_learnt: Option<ClassId>,
    /// Classes that rows of the window in hand have brought, where scores follow every row.
    fresh: BTreeSet<ClassId>,
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
    /// expert, and `network_keeps` whether it keeps what it knew.
    pub(crate) fn new(
        config: &AnalyticConfig,
        kind: HeadKind,
        network_keeps: bool,
        seed: u64,
        taps: Vec<(Tap, usize)>,
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
        Ok(Bank {
            config: Arc::new(config.clone()),
            map,
            heads,
            regimes: Regimes::default(),
            mixture: Mixture::new(experts),
            network,
            network_keeps,
            no_change: config.no_change.then(NoChange::new),
            last_scored: None,
            last_learnt: None,
            fresh: BTreeSet::new(),
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
        let opinions = self.opinions(rows, &self.features(rows)?, classes).0;
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
        self.map.meet_label(self.last_scored);
        let features = self.features(rows)?;
        let (opinions, firsts) = self.opinions(rows, &features, classes);
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
        for (head, first) in self.heads.iter_mut().zip(firsts) {
            head.take_labels(features.of(head), labels, weights, first);
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

    /// Whether each expert keeps what it knew of classes that come no more, and the one that decides between groups: the head
    /// that forgets least.
    fn roles(&self) -> (Vec<bool>, usize) {
        let slowest = self.slowest();
        let mut keeps = vec![self.network_keeps; usize::from(self.network.is_some())];
        let arbiter = keeps.len() + slowest;
        keeps.extend(self.heads.iter().map(|head| head.forget == self.heads[slowest].forget && !head.lags));
        keeps.extend(self.no_change.is_some().then_some(false));
        (keeps, arbiter)
    }

    /// What all experts say, and what heads can take labels in with.
    fn opinions(&self, rows: &Rows<'_>, features: &Features, classes: usize) -> (Opinions, Vec<Option<Scored>>) {
        let mut firsts = Vec::with_capacity(self.heads.len());
        let (keeps, arbiter) = self.roles();
        let mut opinions = Opinions { scores: Vec::new(), keeps, arbiter, elsewhere: Vec::new(), classes };
        if let Some(calibration) = &self.network {
            let temperature = calibration.temperature() as f32;
            opinions.scores.push(rows.network.filter(|logits| logits.classes > 0).map(|logits| {
                Mat::from_fn(rows.count, logits.classes, |row, class| logits.row(row)[class] * temperature)
            }));
        }
        let slowest = self.slowest();
        for (place, head) in self.heads.iter().enumerate() {
            let is_slowest = place == slowest;
            let Examined { scores, first } = head.examine(features.of(head));
            let apart = if is_slowest { self.regimes.score(head, features.of(head)) } else { None };
            opinions.scores.push(match apart {
                Some((apart, elsewhere)) => {
                    opinions.elsewhere = elsewhere;
                    Some(apart)
                }
                None => scores,
            });
            firsts.push(first);
        }
        if let Some(expert) = &self.no_change {
            opinions.scores.push(Some(expert.score(rows.previous, classes)));
        }
        (opinions, firsts)
    }

    /// Takes rows in. `rows.previous` is not looked at: rows of a window follow each other.
    pub(crate) fn learn(&mut self, taps: &[TapRows], targets: &Targets<'_>) -> Result<()> {
        let Targets { labels, weights } = *targets;
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
        Ok(())
    }

    /// The head that forgets least.
    fn slowest(&self) -> usize {
        let plain = self.heads.iter().enumerate().filter(|(_, head)| !head.lags);
        plain.fold((0, 0.0), |best, (place, head)| if head.forget > best.1 { (place, head.forget) } else { best }).0
    }

    /// Says which task comes and what is different about it.
    pub(crate) fn enter_task(&mut self, task: u32, change: TaskChange) {
        let slowest = self.slowest();
        self.regimes.enter(&self.config, &mut self.heads[slowest], task, change);
    }

    /// Says that a task went into another one.
    pub(crate) fn merge_tasks(&mut self, gone: u32, into: u32) {
        let slowest = self.slowest();
        self.regimes.merge(&mut self.heads[slowest], gone, into);
    }

    /// A task begins.
    pub(crate) fn begin_task(&mut self) {
        self.mixture.groups.begin_task();
    }

    /// Whether rows that were taken in before the prefix froze can be completed later.
    pub(crate) fn wants_bridge(&self) -> bool {
        !self.config.is_exact()
            && self.config.scaling() != Standardize::Running
            && self.map.first_of_prefix() < self.map.features
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
        self.regimes.settle();
    }

    /// Adds the sums of a bank of the same settings and seed over other rows; `classes` are our numbers of its classes.
    pub(crate) fn merge(&mut self, other: &Bank, classes: &[ClassId]) -> Result<()> {
        if self.heads.iter().any(|head| head.forget < 1.0) {
            return Err(Error::user(
                "sums that forget have an order and cannot be added: use analytic.forget = [1.0] and no previous_label",
            ));
        }
        let scales = |bank: &Bank| bank.map.taps.iter().map(|map| map.standardizer.clone()).collect::<Vec<_>>();
        if self.config != other.config || scales(self) != scales(other) {
            return Err(Error::user(
                "the taps of the two are not on one scale, since each run took its own from its first rows: use analytic.standardize = \"none\"",
            ));
        }
        if self.config.regimes != RegimeKind::None {
            return Err(Error::user(
                "runs that keep tasks apart have no sums in common: use analytic.regimes = \"none\"",
            ));
        }
        // The network has not learnt the other's classes.
        self.mixture.merge(&other.mixture, classes, self.network.is_some().then_some(0));
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
            ("analytic_regimes", self.regimes.bytes()),
            ("analytic_scales", scales + self.mixture.bytes()),
            ("analytic_projection", projections),
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
