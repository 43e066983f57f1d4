//! Wrappers that measure the time spent in the detector and in the learner.

use lightcl_core::{
    BoundaryDetector, Embedding, ExpertReport, LayerReport, LearnReport, Learner, LearnerSnapshot, Logits, Needs,
    Observation, PartBytes, Result, Samples, Stateful, TaskChange, Verdict,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
    pub inner: Box<dyn Learner>,
    pub clock: Clock,
}

impl Learner for TimedLearner {
    fn score(&self, samples: &Samples) -> Result<Logits> {
        self.clock.time(|| self.inner.score(samples))
    }

    fn score_next(&mut self, samples: &Samples) -> Result<Logits> {
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

    fn snapshot(&self) -> Result<LearnerSnapshot> {
        self.clock.time(|| self.inner.snapshot())
    }

    fn fork(&self) -> Box<dyn Learner> {
        let inner = self.clock.time(|| self.inner.fork());
        Box::new(TimedLearner { inner, clock: self.clock.clone() })
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
