//! The suites pass what keeps its promises and catch what does not.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use lightcl_core::*;
use lightcl_testkit::conformance::{self, SinkUnderTest, label};
use lightcl_testkit::streams::{AnotherRule, ClassIncremental, Generator, SyntheticStream};
use lightcl_testkit::{MemorySink, MemorySource, MemoryStore, SoftmaxRegression};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// The message of the broken promise that `suite` reports.
fn broken_promise(suite: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(suite)).expect_err("the suite passes something broken");
    let text = panic.downcast_ref::<&str>().map(|&text| text.to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).expect("a message")
}

#[track_caller]
fn assert_reports(suite: impl FnOnce(), expected: &str) {
    let message = broken_promise(suite);
    assert!(message.starts_with("conformance: ") && message.contains(expected), "{message}");
}

fn stream() -> SyntheticStream {
    ClassIncremental { tasks: 3, rows_per_task: 128, ..ClassIncremental::default() }.generate(1)
}

mod sources {
    use super::*;
    use arrow_schema::SchemaRef;

    fn memory() -> MemorySource {
        let stream = stream();
        MemorySource::new("a", stream.batches(50)).with_partition("b", stream.batches(31)[..3].to_vec())
    }

    #[test]
    fn memory_source_conforms() {
        conformance::source(|| Box::new(memory()));
    }

    #[test]
    fn a_long_input_is_checked_at_some_places() {
        let stream = AnotherRule { rows: vec![2000, 2000], ..AnotherRule::default() }.generate(1);
        conformance::source(|| Box::new(MemorySource::new("long", stream.batches(777))));
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Fault {
        SeeksToBatchStart,
        SeeksAnywhere,
        StartsOver,
        SkipsARow,
        WrongTotal,
    }

    struct Broken {
        source: MemorySource,
        fault: Fault,
        batches: u64,
    }

    impl Source for Broken {
        fn schema(&self) -> SchemaRef {
            self.source.schema()
        }
        fn seek(&mut self, positions: &Positions) -> Result<()> {
            let mut positions = positions.clone();
            match self.fault {
                Fault::SeeksToBatchStart => positions.0.values_mut().for_each(|next| *next -= *next % 50),
                Fault::SeeksAnywhere => positions.0.values_mut().for_each(|next| *next = (*next).min(93)),
                _ => {}
            }
            if self.fault == Fault::SeeksAnywhere {
                positions.0.retain(|partition, _| partition.len() == 1);
            }
            self.source.seek(&positions)
        }
        fn next(&mut self) -> Result<Option<PositionedBatch>> {
            let mut next = self.source.next()?;
            self.batches += 1;
            if self.fault == Fault::SkipsARow
                && let Some(batch) = &mut next
                && self.batches == 3
            {
                batch.batch = batch.batch.slice(1, batch.batch.num_rows() - 1);
                batch.offsets = RowOffsets::From(batch.offset_of(0) + 1);
            }
            if self.fault == Fault::StartsOver && next.is_none() {
                self.source.seek(&Positions::default())?;
            }
            Ok(next)
        }
        fn total_rows(&self) -> Option<u64> {
            self.source.total_rows().map(|rows| rows + u64::from(self.fault == Fault::WrongTotal))
        }
    }

    #[test]
    fn broken_sources_are_caught() {
        for (fault, expected) in [
            (Fault::SeeksToBatchStart, "after a seek to row 1:"),
            (Fault::SeeksAnywhere, "after a seek to row 94:"),
            (Fault::StartsOver, "rows again after the end"),
            (Fault::SkipsARow, "begins at"),
            (Fault::WrongTotal, "total_rows"),
        ] {
            let make = || Box::new(Broken { source: memory(), fault, batches: 0 }) as Box<dyn Source>;
            assert_reports(|| conformance::source(make), expected);
        }
    }
}

mod sinks {
    use super::*;

    fn under_test(open: impl Fn(&MemoryStore) -> Box<dyn Sink> + 'static) -> SinkUnderTest {
        let store = MemoryStore::default();
        let reader = store.clone();
        SinkUnderTest {
            open: Box::new(move || open(&store)),
            visible: Box::new(move || reader.outputs().iter().map(label).collect()),
            keeps: |_| true,
        }
    }

    #[test]
    fn memory_sink_conforms() {
        conformance::sink(|| under_test(|store| Box::new(MemorySink::open(store))));
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Fault {
        KeepsUncommitted,
        LosesEmptyCommits,
        ForgetsState,
    }

    struct Broken {
        sink: MemorySink,
        store: MemoryStore,
        fault: Fault,
        written: usize,
    }

    impl Sink for Broken {
        fn write(&mut self, outputs: &[Output]) -> Result<()> {
            self.written += outputs.len();
            self.sink.write(outputs)
        }
        fn commit(&mut self, commit: &Commit) -> Result<()> {
            if self.fault == Fault::LosesEmptyCommits && self.written == 0 {
                return Ok(());
            }
            self.sink.commit(commit)
        }
        fn recover(&mut self) -> Result<Option<Commit>> {
            match self.fault {
                Fault::KeepsUncommitted => Ok(self.store.commit()),
                Fault::ForgetsState => Ok(self.sink.recover()?.map(|commit| Commit { state: Vec::new(), ..commit })),
                Fault::LosesEmptyCommits => self.sink.recover(),
            }
        }
    }

    #[test]
    fn broken_sinks_are_caught() {
        for (fault, expected) in [
            (Fault::KeepsUncommitted, "a reader sees"),
            (Fault::LosesEmptyCommits, "gives no commit"),
            (Fault::ForgetsState, "another state"),
        ] {
            let make = || {
                under_test(move |store| {
                    Box::new(Broken { sink: MemorySink::open(store), store: store.clone(), fault, written: 0 })
                })
            };
            assert_reports(|| conformance::sink(make), expected);
        }
    }
}

mod detectors {
    use super::*;
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Fault {
        None,
        ForgetsOnSave,
        BoundaryAhead,
        BoundaryBeforeReset,
        Grows,
        TakesAnyBytes,
        Nondeterministic,
        ChangesWhenRefusing,
    }

    /// Fires every 500 rows, but for its fault.
    struct Counter {
        fault: Fault,
        made: u64,
        state: Count,
    }

    #[derive(Clone, Default, Serialize, Deserialize)]
    struct Count {
        rows: u64,
        total: u64,
        ballast: Vec<u8>,
    }

    impl Stateful for Counter {
        fn save(&self) -> Result<Vec<u8>> {
            let mut state = self.state.clone();
            if self.fault == Fault::ForgetsOnSave {
                state.rows = 0;
            }
            state::encode("counter", 1, &state)
        }
        fn restore(&mut self, bytes: &[u8]) -> Result<()> {
            match state::decode("counter", 1, bytes) {
                Ok(state) => self.state = state,
                Err(_) if self.fault == Fault::TakesAnyBytes => self.state = Count::default(),
                Err(error) => {
                    if self.fault == Fault::ChangesWhenRefusing {
                        self.state.rows += 1;
                    }
                    return Err(error);
                }
            }
            Ok(())
        }
    }

    impl BoundaryDetector for Counter {
        fn name(&self) -> &str {
            "counter"
        }
        fn observe(&mut self, row: &Observation<'_>) -> Verdict {
            self.state.rows = self.state.rows.saturating_add(1);
            self.state.total = self.state.total.wrapping_add(1);
            if self.fault == Fault::Grows && self.state.total.is_multiple_of(4) {
                self.state.ballast.push(1);
            }
            let first = self.fault == Fault::BoundaryBeforeReset && self.state.total.is_multiple_of(500);
            if self.state.rows <= 500 && !first {
                return Verdict::Stable;
            }
            let at = match self.fault {
                Fault::BoundaryAhead => row.index + 1,
                Fault::BoundaryBeforeReset => 0,
                Fault::Nondeterministic => row.index - self.made % 2,
                _ => row.index,
            };
            Verdict::boundary(at, "counter", "500 rows")
        }
        fn reset(&mut self) {
            self.state.rows = 0;
        }
    }

    static MADE: AtomicU64 = AtomicU64::new(0);

    fn make(fault: Fault) -> Box<dyn BoundaryDetector> {
        Box::new(Counter { fault, made: MADE.fetch_add(1, Ordering::Relaxed), state: Count::default() })
    }

    #[test]
    fn a_sound_detector_conforms() {
        conformance::detector(|| make(Fault::None));
    }

    #[test]
    fn broken_detectors_are_caught() {
        for (fault, expected) in [
            (Fault::ForgetsOnSave, "after saving and restoring"),
            (Fault::BoundaryAhead, "lies behind the row observed"),
            (Fault::BoundaryBeforeReset, "lies before the first row"),
            (Fault::Grows, "goes on growing"),
            (Fault::TakesAnyBytes, "restore takes"),
            (Fault::Nondeterministic, "differ"),
            (Fault::ChangesWhenRefusing, "changes the object"),
        ] {
            assert_reports(|| conformance::detector(|| make(fault)), expected);
        }
    }
}

mod learners {
    use super::*;

    #[test]
    fn softmax_regression_conforms() {
        let stream = stream();
        conformance::learner(|| Box::new(SoftmaxRegression::new(&[8], 0.05)), &stream);
        let images = stream.reshaped(&[2, 2, 2]);
        conformance::learner(|| Box::new(SoftmaxRegression::new(&[2, 2, 2], 0.05)), &images);
    }

    #[test]
    fn softmax_regression_learns_separable_classes() {
        let stream = ClassIncremental { tasks: 1, ..ClassIncremental::default() }.generate(2);
        let mut learner = SoftmaxRegression::new(&[8], 0.05);
        learner.learn(&stream.samples.slice(0, 1000)).unwrap();
        let rest = stream.samples.slice(1000, 2000);
        let logits = learner.score(&rest).unwrap();
        let right = (0..rest.len()).filter(|&row| logits.best(row, None) == Some(rest.labels[row])).count();
        assert!(right >= 950, "{right}");
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Fault {
        ScoringCounts,
        ForksShare,
        PlasticForgets,
        AnyShape,
        NothingRejected,
        Restless,
        MarksOnReturn,
    }

    /// A softmax regression with one fault. What the forks share, or scoring changes, lies behind a lock.
    struct Broken {
        fault: Fault,
        learner: Arc<Mutex<SoftmaxRegression>>,
        scored: Mutex<u64>,
        seed: u64,
    }

    static MADE: AtomicU64 = AtomicU64::new(0);

    impl Broken {
        fn new(fault: Fault) -> Self {
            let learner = Arc::new(Mutex::new(SoftmaxRegression::new(&[8], 0.05)));
            Broken { fault, learner, scored: Mutex::new(0), seed: MADE.fetch_add(1, Ordering::Relaxed) }
        }
    }

    impl Stateful for Broken {
        fn save(&self) -> Result<Vec<u8>> {
            let scored = *self.scored.lock().unwrap();
            state::encode("broken", 1, &(scored, self.learner.lock().unwrap().save()?))
        }
        fn restore(&mut self, bytes: &[u8]) -> Result<()> {
            let (scored, bytes): (u64, Vec<u8>) = state::decode("broken", 1, bytes)?;
            self.learner.lock().unwrap().restore(&bytes)?;
            *self.scored.lock().unwrap() = scored;
            Ok(())
        }
    }

    impl Learner for Broken {
        fn score(&self, samples: &Samples) -> Result<Logits> {
            if self.fault == Fault::ScoringCounts {
                *self.scored.lock().unwrap() += 1;
            }
            self.learner.lock().unwrap().score(samples)
        }
        fn learn(&mut self, window: &Samples) -> Result<LearnReport> {
            let mut window = window.clone();
            if self.fault == Fault::AnyShape && window.shape != [8] {
                return Ok(LearnReport::default());
            }
            if self.fault == Fault::Restless && !window.is_empty() {
                window.features[0] += (self.seed % 7) as f32;
            }
            let mut report = self.learner.lock().unwrap().learn(&window)?;
            if self.fault == Fault::NothingRejected {
                report.rejected_rows.clear();
            }
            Ok(report)
        }
        fn end_task(&mut self, importance: &Samples) -> Result<()> {
            self.learner.lock().unwrap().end_task(importance)?;
            if self.fault == Fault::MarksOnReturn {
                *self.scored.lock().unwrap() += 1;
            }
            Ok(())
        }
        fn begin_task(&mut self, first: &Samples) -> Result<()> {
            self.learner.lock().unwrap().begin_task(first)
        }
        fn snapshot(&self) -> Result<LearnerSnapshot> {
            self.learner.lock().unwrap().snapshot()
        }
        fn fork(&self) -> Box<dyn Learner> {
            let learner = match self.fault {
                Fault::ForksShare => Arc::clone(&self.learner),
                _ => Arc::new(Mutex::new(self.learner.lock().unwrap().clone())),
            };
            let scored = Mutex::new(*self.scored.lock().unwrap());
            Box::new(Broken { fault: self.fault, learner, scored, seed: self.seed })
        }
        fn is_prefix_frozen(&self) -> bool {
            true
        }
        fn embed(&self, samples: &Samples) -> Result<Embedding> {
            self.learner.lock().unwrap().embed(samples)
        }
        fn score_embedding(&self, embedding: &Embedding) -> Result<Logits> {
            self.learner.lock().unwrap().score_embedding(embedding)
        }
        fn layers(&self) -> Result<Vec<LayerReport>> {
            let ended = *self.scored.lock().unwrap() as usize;
            let vital_channels = if self.fault == Fault::MarksOnReturn { ended } else { 0 };
            Ok(vec![LayerReport { layer: "only".to_owned(), channels: 1000, vital_channels, drift: None }])
        }
        fn bytes(&self) -> Vec<PartBytes> {
            self.learner.lock().unwrap().bytes()
        }
        fn restore_plastic(&mut self, bytes: &[u8]) -> Result<()> {
            if self.fault == Fault::PlasticForgets { Ok(()) } else { self.restore(bytes) }
        }
    }

    #[test]
    fn broken_learners_are_caught() {
        let stream = stream();
        for (fault, expected) in [
            (Fault::ScoringCounts, "changes its state"),
            (Fault::ForksShare, "changes the original"),
            (Fault::PlasticForgets, "restore_plastic"),
            (Fault::AnyShape, "another shape"),
            (Fault::NothingRejected, "reported as rejected"),
            (Fault::Restless, "two runs over the same rows differ"),
            (Fault::MarksOnReturn, "marks channels"),
        ] {
            let make = || Box::new(Broken::new(fault)) as Box<dyn Learner>;
            assert_reports(|| conformance::learner(make, &stream), expected);
        }
    }
}
