//! Opening and closing tasks, and meeting classes.

use crate::learner::LightClLearner;
use crate::memory::{References, merge, vital_masks, vital_rows};
use crate::model::append_head;
use crate::network::{Norms, SuffixOutput, tensor, values};
use crate::train::{all_within, statistics_within};
use crate::window::is_finite;
use crate::{Method, Prefix};
use burn::tensor::Tensor;
use lightcl_core::{ClassId, Logits, Result, Samples};
use std::collections::BTreeSet;

/// A run of the whole network in training mode without gradient, over the rows that stood it.
struct Observed {
    inputs: Tensor<2>,
    embeddings: Tensor<2>,
    output: SuffixOutput,
    prefix_statistics: Vec<Tensor<1>>,
    suffix_statistics: Vec<Tensor<1>>,
}

impl LightClLearner {
    /// `Learner::begin_task`.
    pub(crate) fn open_task(&mut self, first: &Samples) -> Result<()> {
        self.model.check(first)?;
        let is_first = self.progress.tasks_begun == 0;
        self.progress.tasks_begun += 1;
        self.progress.resumed = false;
        self.progress.current.clear();
        self.references = None;
        if let Some(bank) = &mut self.analytic {
            bank.begin_task();
        }
        if self.config.method == Method::Sgd {
            return Ok(());
        }
        if !is_first || self.config.prefix == Prefix::Pretrained {
            self.freeze()?;
            self.cross_bridge()?;
        }
        if is_first || !self.trains_network() {
            return Ok(());
        }
        if let Some(observed) = self.observe(first, self.config.memory.samples)? {
            self.keep_statistics(&observed);
            let network = &self.model.network;
            self.references = Some(References {
                embeddings: self.caches_prefix().then_some(observed.embeddings),
                inputs: observed.inputs,
                maps: observed.output.maps,
                logits: host_logits(observed.output.logits, self.model.classes)?,
                vital: vital_rows(self.masks.as_ref(), &network.layout, &network.device),
            });
        }
        Ok(())
    }

    /// `Learner::resume_task`.
    pub(crate) fn reopen_task(&mut self, first: &Samples, classes: &[ClassId]) -> Result<()> {
        self.open_task(first)?;
        let progress = &mut self.progress;
        progress.resumed = true;
        // A class of which no row could be learnt has no place in the head yet.
        progress.current.extend(classes.iter().filter(|class| progress.seen.contains(class)));
        Ok(())
    }

    /// `Learner::end_task`.
    pub(crate) fn close_task(&mut self, importance: &Samples) -> Result<()> {
        self.model.check(importance)?;
        if self.config.method == Method::Sgd || self.progress.resumed || !self.trains_network() {
            return Ok(());
        }
        if let Some(observed) = self.observe(importance, importance.len())? {
            self.keep_statistics(&observed);
            let layout = &self.model.network.layout;
            let masks = vital_masks(observed.output.maps, layout, self.config.memory.ratio)?;
            merge(&mut self.masks, masks);
        }
        Ok(())
    }

    /// Freezes the prefix for good.
    fn freeze(&mut self) -> Result<()> {
        if self.progress.frozen {
            return Ok(());
        }
        self.progress.frozen = true;
        self.prefix_digest = Some(crate::state::digest(&self.model.prefix.weights)?);
        if let Some(momentum) = &mut self.momentum {
            momentum.prefix.clear();
        }
        Ok(())
    }

    /// Runs rows through the network as training does, without gradient.
    fn run_in_training(&self, inputs: Tensor<2>) -> Result<Observed> {
        let mut prefix_statistics = self.model.prefix.statistics.clone();
        let mut suffix_statistics = self.model.suffix.statistics.clone();
        let embeddings = self.embed_in_training(&self.model.prefix.weights, &mut prefix_statistics, inputs.clone())?;
        let norms = Norms::Batch(&mut suffix_statistics);
        let output = self.model.network.suffix(&self.model.suffix.weights, norms, embeddings.clone())?;
        Ok(Observed { inputs, embeddings, output, prefix_statistics, suffix_statistics })
    }

    /// What the network says of the memory samples now, in training mode; the statistics that this would move are thrown
    /// away.
    pub(crate) fn run_memory(&self, references: &References) -> Result<SuffixOutput> {
        match &references.embeddings {
            Some(embeddings) => {
                let mut statistics = self.model.suffix.statistics.clone();
                let norms = Norms::Batch(&mut statistics);
                self.model.network.suffix(&self.model.suffix.weights, norms, embeddings.clone())
            }
            None => Ok(self.run_in_training(references.inputs.clone())?.output),
        }
    }

    /// As [`Self::run_in_training`], less the rows that give anything non-finite or exploding; none when none is left.
    fn observe(&self, samples: &Samples, rows: usize) -> Result<Option<Observed>> {
        let mut rows: Vec<usize> = (0..rows.min(samples.len())).filter(|&row| is_finite(samples.row(row))).collect();
        // In training mode one wild row spoils its whole batch, or the statistics that would be kept, so the first search
        // is in evaluation mode.
        let mut may_search_alone = self.model.network.has_norms();
        while !rows.is_empty() {
            let features: Vec<f32> = rows.iter().flat_map(|&row| samples.row(row)).copied().collect();
            let observed = self.run_in_training(self.model.input(&features, rows.len()))?;
            let mut wild = wild_rows(&observed.output, rows.len())?;
            let sane =
                statistics_within(&observed.prefix_statistics)? && statistics_within(&observed.suffix_statistics)?;
            if sane && !wild.contains(&true) {
                return Ok(Some(observed));
            }
            if may_search_alone {
                may_search_alone = false;
                let alone = self.model.classify(self.model.embed(self.model.input(&features, rows.len()))?)?;
                let found = wild_rows(&alone, rows.len())?;
                if found.contains(&true) {
                    wild = found;
                }
            }
            if !wild.contains(&true) {
                return Ok(None);
            }
            let mut flags = wild.into_iter();
            rows.retain(|_| !flags.next().unwrap_or(true));
        }
        Ok(None)
    }

    fn keep_statistics(&mut self, observed: &Observed) {
        self.model.prefix.statistics.clone_from(&observed.prefix_statistics);
        self.model.suffix.statistics.clone_from(&observed.suffix_statistics);
    }

    /// Takes the classes of these labels into the current task, growing the head where needed.
    pub(crate) fn meet_classes(&mut self, labels: impl Iterator<Item = ClassId>) -> Result<()> {
        let labels: BTreeSet<ClassId> = labels.collect();
        let Some(&highest) = labels.last() else { return Ok(()) };
        self.progress.current.extend(&labels);
        self.progress.seen.extend(&labels);
        let classes = highest as usize + 1;
        let added = classes.saturating_sub(self.model.classes);
        if added == 0 {
            return Ok(());
        }
        if let Some(momentum) = &mut self.momentum {
            let network = &self.model.network;
            let (features, device) = (network.layout.features, &network.device);
            let matrix = tensor(vec![0.0; features * added], [features, added], device);
            append_head(
                &mut momentum.suffix,
                self.model.classes > 0,
                matrix,
                tensor(vec![0.0; added], [added], device),
            )?;
        }
        self.model.grow(classes, self.config.seed)?;
        if let Some(references) = &self.references {
            // The new class's reference is what the network says of the memory samples now. Statistics do not move.
            let now = host_logits(self.run_memory(references)?.logits, classes)?;
            if let Some(references) = &mut self.references {
                references.add_classes(&now)?;
            }
        }
        Ok(())
    }
}

/// Logits on the host.
fn host_logits(logits: Option<Tensor<2>>, classes: usize) -> Result<Logits> {
    match logits {
        Some(logits) => Ok(Logits { classes, values: values(logits)? }),
        None => Ok(Logits::default()),
    }
}

/// Which rows have maps or logits that are non-finite or beyond the bound.
fn wild_rows(output: &SuffixOutput, rows: usize) -> Result<Vec<bool>> {
    let mut wild = vec![false; rows];
    for outputs in output.maps.iter().chain(&output.logits) {
        let width = outputs.dims()[1];
        for (flag, row) in wild.iter_mut().zip(values(outputs.clone())?.chunks(width.max(1))) {
            *flag |= !all_within(row);
        }
    }
    Ok(wild)
}
