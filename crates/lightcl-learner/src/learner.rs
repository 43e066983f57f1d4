//! The learner.

use crate::analytic::Bank;
use crate::bridge::Bridge;
use crate::memory::{Masks, References};
use crate::model::{CHUNK_ROWS, Model};
use crate::network::{Network, Norms, values};
use crate::replay::Replay;
use crate::sparse::Pruning;
use crate::train::Momentum;
use crate::{FrozenNorm, LearnerConfig, NamedWeights, Prefix, ReplayKind};
use lightcl_core::{
    ClassId, Embedding, ExpertReport, LayerReport, LearnReport, Learner, LearnerSnapshot, Logits, PartBytes, Result,
    Samples, TaskChange,
};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Where the learner stands in the stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Tasks begun or resumed so far.
    pub(crate) tasks_begun: u64,
    /// Whether the current task was resumed: its vital channels are marked already.
    pub(crate) resumed: bool,
    /// Whether the prefix's weights have stopped training.
    pub(crate) frozen: bool,
    /// Classes of the current task.
    pub(crate) current: BTreeSet<ClassId>,
    /// Classes of all tasks.
    pub(crate) seen: BTreeSet<ClassId>,
    /// Windows in a row in which every step was refused.
    pub(crate) refused_windows: u32,
    /// How often the plastic weights were drawn anew because of that.
    pub(crate) restarts: u64,
}

/// LightCL (arXiv 2407.10545) in a data stream: a frozen prefix, a plastic suffix, and a memory of feature patterns in
/// place of old samples; or, by [`crate::Method::Sgd`], the same network without any of it.
///
/// Everything is computed in 32-bit floats on burn's CPU backend. The same calls from the same state give the same bytes
/// whatever the number of threads.
///
/// ```
/// use lightcl_core::{Learner, Samples};
/// use lightcl_learner::{Backbone, LearnerConfig, LightClLearner};
///
/// let config = LearnerConfig {
///     backbone: Backbone::Mlp { hidden: vec![16, 16], frozen: 1 },
///     learning_rate: 0.1,
///     passes: 20,
///     ..LearnerConfig::default()
/// };
/// let mut learner = LightClLearner::new(config, &[2], None)?;
/// let rows: Vec<_> = (0..32).map(|i| (vec![if i % 2 == 0 { 1.0 } else { -1.0 }, 0.5], i % 2)).collect();
/// let window = Samples::from_rows(&[2], &rows);
/// learner.begin_task(&window)?;
/// learner.learn(&window)?;
/// learner.end_task(&window)?;
/// assert_eq!(learner.score(&window)?.best(1, None), Some(1));
/// # Ok::<(), lightcl_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct LightClLearner {
    pub(crate) config: LearnerConfig,
    pub(crate) model: Model,
    pub(crate) momentum: Option<Momentum>,
    pub(crate) progress: Progress,
    pub(crate) masks: Option<Masks>,
    pub(crate) references: Option<References>,
    pub(crate) pruning: Option<Pruning>,
    /// SHA-256 of the frozen prefix's weights.
    pub(crate) prefix_digest: Option<String>,
    /// The analytic heads, where the configuration has any.
    pub(crate) analytic: Option<Bank>,
    /// Statistics of prefix outputs, where the configuration replays from them.
    pub(crate) replay: Option<Replay>,
    /// Rows kept until the prefix freezes, where someone waits for that.
    pub(crate) bridge: Option<Bridge>,
    /// Shuffles the later passes.
    pub(crate) generator: ChaCha8Rng,
}

impl LightClLearner {
    /// A learner of samples of the given shape, with fresh weights or those given.
    ///
    /// `weights` must hold every tensor of the backbone. The head's are taken when they are there and
    /// `initial_classes` is not 0 (its rows must then be as many); otherwise a new head is drawn.
    ///
    /// # Errors
    /// User errors for settings out of range, a shape that the backbone does not take, and missing or misshapen weights.
    pub fn new(config: LearnerConfig, shape: &[usize], weights: Option<&NamedWeights>) -> Result<Self> {
        let network = Network::new(&config, shape)?;
        let mut model = Model::new(network, config.seed, config.initial_classes, weights)?;
        let pruning = if config.sparse { Some(Pruning::start(&config, &mut model)?) } else { None };
        Self::with_model(config, model, pruning)
    }

    pub(crate) fn with_model(config: LearnerConfig, model: Model, pruning: Option<Pruning>) -> Result<Self> {
        let analytic = crate::taps::bank(&config, &model.network)?;
        let replay = match config.replay {
            ReplayKind::Gaussian => Some(Replay::new(model.network.layout.embedding_width())?),
            ReplayKind::None => None,
        };
        let is_awaited = replay.is_some() || analytic.as_ref().is_some_and(Bank::wants_bridge);
        let waits = config.prefix == Prefix::FromScratch && config.bridge_bytes > 0 && is_awaited;
        let bridge = waits.then(|| Bridge::new(config.bridge_bytes));
        let generator = crate::network::generator(config.seed, "order of later passes");
        Ok(LightClLearner {
            config,
            model,
            momentum: None,
            progress: Progress::default(),
            masks: None,
            references: None,
            pruning,
            prefix_digest: None,
            analytic,
            replay,
            bridge,
            generator,
        })
    }

    /// The settings.
    pub fn config(&self) -> &LearnerConfig {
        &self.config
    }

    /// Shape of one sample.
    pub fn input_shape(&self) -> &[usize] {
        &self.model.network.input_shape
    }

    /// One flag a channel for each plastic layer, in the order of [`Learner::layers`]: whether a task that ended marked it as
    /// vital. None before the first has ended.
    pub fn masks(&self) -> Option<&[Vec<bool>]> {
        self.masks.as_deref()
    }

    /// Whether the prefix runs in evaluation mode while the suffix trains.
    pub(crate) fn is_prefix_fixed(&self) -> bool {
        self.progress.frozen && self.config.frozen_norm == FrozenNorm::Fixed
    }

    /// Whether a sample's prefix output never changes any more, so that it is computed once. A network without batch
    /// norms has no statistics that could move.
    pub(crate) fn caches_prefix(&self) -> bool {
        self.progress.frozen && (self.config.frozen_norm == FrozenNorm::Fixed || !self.model.network.has_norms())
    }

    /// What analytic heads may tap, for each sample in evaluation mode: `input`, stem and stage ends of a convolutional
    /// prefix (`stem`, `stage1`, `stage2`) and `prefix`, its output (the end of stage 3).
    ///
    /// # Errors
    /// When the samples have another shape than the learner.
    pub fn taps(&self, samples: &Samples) -> Result<Vec<(String, Embedding)>> {
        self.model.check(samples)?;
        let network = &self.model.network;
        let input = Embedding { shape: network.input_shape.clone(), values: samples.features.clone() };
        let mut taps = vec![("input".to_owned(), input)];
        for (name, shape) in network.tap_shapes() {
            taps.push((name, Embedding { shape, values: Vec::new() }));
        }
        let width = network.input_width();
        for chunk in samples.features.chunks(CHUNK_ROWS * width) {
            let rows = self.model.input(chunk, chunk.len() / width);
            let norms = Norms::Running(&self.model.prefix.statistics);
            let outputs = network.prefix_taps(&self.model.prefix.weights, norms, rows)?;
            for ((_, tap), (_, _, output)) in taps[1..].iter_mut().zip(outputs) {
                tap.values.extend(values(output)?);
            }
        }
        Ok(taps)
    }
}

impl Learner for LightClLearner {
    fn score(&self, samples: &Samples) -> Result<Logits> {
        self.model.check(samples)?;
        match &self.analytic {
            None => self.model.score(&samples.features, samples.len()),
            Some(bank) => self.score_mixed(bank, &samples.features, samples.len()),
        }
    }

    /// As [`Learner::score`]; the labels then judge the experts of a mixture and, with [`crate::Update::Row`], count for the rows
    /// that follow.
    fn score_next(&mut self, samples: &Samples) -> Result<Logits> {
        self.model.check(samples)?;
        self.score_next_mixed(samples)
    }

    /// Trains on the window: the first pass in order of arrival, later ones in seeded order, at most `batch_samples`
    /// rows a step, in steps of nearly equal size. Rows with non-finite features or weights, and classes beyond [`crate::MAX_CLASSES`], are
    /// rejected by themselves; a step that explodes rejects its whole batch.
    fn learn(&mut self, window: &Samples) -> Result<LearnReport> {
        self.learn_window(window)
    }

    fn enter_task(&mut self, task: u32, change: TaskChange) -> Result<()> {
        if let Some(bank) = &mut self.analytic {
            bank.enter_task(task, change);
        }
        Ok(())
    }

    fn merge_tasks(&mut self, gone: u32, into: u32) -> Result<()> {
        if let Some(bank) = &mut self.analytic {
            bank.merge_tasks(gone, into);
        }
        Ok(())
    }

    /// Runs the importance batch once in training mode (which moves batch-norm statistics) and marks its channels; does
    /// nothing at the end of a task that was resumed, whose channels are marked.
    fn end_task(&mut self, importance: &Samples) -> Result<()> {
        self.close_task(importance)
    }

    /// Freezes the prefix when its time has come and, from the second task on, keeps the first samples as memory: run
    /// once in training mode (which moves batch-norm statistics) for their reference maps and logits.
    fn begin_task(&mut self, first: &Samples) -> Result<()> {
        self.open_task(first)
    }

    /// As [`Learner::begin_task`]: a task that returns is learnt while others are protected, so it gets new memory samples and
    /// references, and the prefix freezes even where the second task opened is the first one again.
    fn resume_task(&mut self, first: &Samples, classes: &[ClassId]) -> Result<()> {
        self.reopen_task(first, classes)
    }

    fn snapshot(&self) -> Result<LearnerSnapshot> {
        crate::snapshot::write(self)
    }

    fn fork(&self) -> Box<dyn Learner> {
        Box::new(self.clone())
    }

    fn is_prefix_frozen(&self) -> bool {
        self.caches_prefix() || !self.runs_network()
    }

    /// Outputs of the prefix; with analytic heads, what else their score of a row needs stands behind them.
    fn embed(&self, samples: &Samples) -> Result<Embedding> {
        match &self.analytic {
            None => self.activations(samples),
            Some(bank) => {
                self.model.check(samples)?;
                self.embed_for(bank, samples)
            }
        }
    }

    fn activations(&self, samples: &Samples) -> Result<Embedding> {
        self.model.check(samples)?;
        let network = &self.model.network;
        let shape = network.layout.embedding_shape.clone();
        if samples.is_empty() {
            return Ok(Embedding { shape, values: Vec::new() });
        }
        let values = values(self.model.embed_rows(&samples.features, samples.len())?)?;
        Ok(Embedding { shape, values })
    }

    fn score_embedding(&self, embedding: &Embedding) -> Result<Logits> {
        match &self.analytic {
            None => self.model.score_embedding(embedding),
            Some(bank) => self.score_embedding_for(bank, embedding),
        }
    }

    fn settle(&mut self) -> Result<()> {
        if let Some(bank) = &mut self.analytic {
            bank.settle();
        }
        Ok(())
    }

    fn experts(&self) -> Vec<ExpertReport> {
        let experts = self.analytic.as_ref().map(Bank::weights).unwrap_or_default();
        experts.into_iter().map(|(expert, weight)| ExpertReport { expert, weight }).collect()
    }

    /// Drift is measured as the references were: in training mode, so that it is 0 when a task begins; the statistics
    /// that this would move are thrown away.
    fn layers(&self) -> Result<Vec<LayerReport>> {
        self.layer_reports()
    }

    fn bytes(&self) -> Vec<PartBytes> {
        self.part_bytes()
    }

    fn save_plastic(&self) -> Result<Vec<u8>> {
        crate::state::save(self, crate::state::Extent::Plastic)
    }

    fn restore_plastic(&mut self, bytes: &[u8]) -> Result<()> {
        crate::state::restore(self, bytes, crate::state::Extent::Plastic)
    }
}
