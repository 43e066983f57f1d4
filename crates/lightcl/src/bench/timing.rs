//! Wrappers that measure the time spent in the detector and in the learner.

use lightcl_core::{
    BoundaryDetector, ClassId, Embedding, ExpertReport, LayerReport, LearnReport, Learner, LearnerSnapshot, Logits,
    Needs, Observation, PartBytes, Result, Samples, Stateful, TaskChange, Verdict,
};
use lightcl_learner::LightClLearner;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time added up by all holders.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock(Arc<AtomicU64>);

impl Clock {
    fn time<T>(&self, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = work();
        self.0.fetch_add(started.elapsed().as_nanos() as u64, Ordering::Relaxed);
        result
    }

    /// The sum so far.
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// A detector whose `observe` and `reset` are timed; looking at the clock costs some 25 ns, which `never` shows.
pub(crate) struct TimedDetector {
    pub inner: Box<dyn BoundaryDetector>,
    pub clock: Clock,
}

impl BoundaryDetector for TimedDetector {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn needs(&self) -> Needs {
        self.inner.needs()
    }

    fn observe(&mut self, observation: &Observation<'_>) -> Verdict {
        self.clock.time(|| self.inner.observe(observation))
    }

    fn reset(&mut self) {
        self.clock.time(|| self.inner.reset());
    }
}

impl Stateful for TimedDetector {
    fn save(&self) -> Result<Vec<u8>> {
        self.inner.save()
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        self.inner.restore(bytes)
    }
}

/// A learner whose every call is timed, in its forks too.
pub(crate) struct TimedLearner {
    pub inner: LightClLearner,
    pub clock: Clock,
    /// Counts how often each expert of a mixture is right by itself, outside the time taken.
    pub tally: Option<Tally>,
}

/// Rows that experts scored, and how many of them each had right.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<(u64, BTreeMap<String, u64>)>>);

impl Tally {
    fn take(&self, learner: &LightClLearner, samples: &Samples) -> Result<()> {
        let scores = learner.expert_scores(samples)?;
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.0 += samples.len() as u64;
        for (expert, logits) in scores {
            let is_right = |row: &usize| logits.classes > 0 && logits.best(*row, None) == Some(samples.labels[*row]);
            *counts.1.entry(expert).or_default() += (0..samples.len()).filter(is_right).count() as u64;
        }
        Ok(())
    }

    /// Prequential accuracy of each expert by itself.
    pub fn accuracies(&self) -> BTreeMap<String, f64> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.1.iter().map(|(expert, &hits)| (expert.clone(), hits as f64 / counts.0.max(1) as f64)).collect()
    }
}

impl Learner for TimedLearner {
    fn score(&self, samples: &Samples) -> Result<Logits> {
        self.clock.time(|| self.inner.score(samples))
    }

    fn score_next(&mut self, samples: &Samples) -> Result<Logits> {
        if let Some(tally) = &self.tally {
            tally.take(&self.inner, samples)?;
        }
        self.clock.time(|| self.inner.score_next(samples))
    }

    fn learn(&mut self, window: &Samples) -> Result<LearnReport> {
        self.clock.time(|| self.inner.learn(window))
    }

    fn enter_task(&mut self, task: u32, change: TaskChange) -> Result<()> {
        self.clock.time(|| self.inner.enter_task(task, change))
    }

    fn merge_tasks(&mut self, gone: u32, into: u32) -> Result<()> {
        self.clock.time(|| self.inner.merge_tasks(gone, into))
    }

    fn end_task(&mut self, importance: &Samples) -> Result<()> {
        self.clock.time(|| self.inner.end_task(importance))
    }

    fn begin_task(&mut self, first: &Samples) -> Result<()> {
        self.clock.time(|| self.inner.begin_task(first))
    }

    fn resume_task(&mut self, first: &Samples, classes: &[ClassId]) -> Result<()> {
        self.clock.time(|| self.inner.resume_task(first, classes))
    }

    fn snapshot(&self) -> Result<LearnerSnapshot> {
        self.clock.time(|| self.inner.snapshot())
    }

    fn fork(&self) -> Box<dyn Learner> {
        let inner = self.clock.time(|| self.inner.clone());
        Box::new(TimedLearner { inner, clock: self.clock.clone(), tally: self.tally.clone() })
    }

    fn is_prefix_frozen(&self) -> bool {
        self.inner.is_prefix_frozen()
    }

    fn embed(&self, samples: &Samples) -> Result<Embedding> {
        self.clock.time(|| self.inner.embed(samples))
    }

    fn score_embedding(&self, embedding: &Embedding) -> Result<Logits> {
        self.clock.time(|| self.inner.score_embedding(embedding))
    }

    fn activations(&self, samples: &Samples) -> Result<Embedding> {
        self.clock.time(|| self.inner.activations(samples))
    }

    fn settle(&mut self) -> Result<()> {
        self.clock.time(|| self.inner.settle())
    }

    fn experts(&self) -> Vec<ExpertReport> {
        self.inner.experts()
    }

    fn layers(&self) -> Result<Vec<LayerReport>> {
        self.clock.time(|| self.inner.layers())
    }

    fn bytes(&self) -> Vec<PartBytes> {
        self.inner.bytes()
    }

    fn save_plastic(&self) -> Result<Vec<u8>> {
        self.clock.time(|| self.inner.save_plastic())
    }

    fn restore_plastic(&mut self, bytes: &[u8]) -> Result<()> {
        self.clock.time(|| self.inner.restore_plastic(bytes))
    }
}

impl Stateful for TimedLearner {
    fn save(&self) -> Result<Vec<u8>> {
        self.clock.time(|| self.inner.save())
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        self.clock.time(|| self.inner.restore(bytes))
    }
}
