//! The promises of [`Sink`].

use super::{must, promise};
use lightcl_core::{
    AccuracyMatrix, Blob, BlobEntry, BoundaryEvent, Commit, Evidence, Manifest, MergedTasks, Output, Position,
    Positions, Prediction, PrequentialReport, RejectReason, Rejected, Sink, Snapshot, StabilityReport, state,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A place that a sink writes to, new and empty.
pub struct SinkUnderTest {
    /// Opens a sink on the place, again and again, as a restarted program would.
    pub open: Box<dyn Fn() -> Box<dyn Sink>>,
    /// Reads the place as a consumer would and names every output found there by [`label`], for each kind in the order
    /// found.
    pub visible: Box<dyn Fn() -> Vec<String>>,
    /// Whether the sink keeps outputs like this one; others are never expected to be visible.
    pub keeps: fn(&Output) -> bool,
}

/// What [`SinkUnderTest::visible`] must give for an output: its kind and a number, such as `prediction 12` (its index),
/// `boundary 20` (its `at`), `snapshot 3` (its version), `stability 40` (its samples) or `rejected 7` (its index).
pub fn label(output: &Output) -> String {
    match output {
        Output::Prediction(prediction) => format!("prediction {}", prediction.index),
        Output::Boundary(event) => format!("boundary {}", event.at),
        Output::Snapshot(snapshot) => format!("snapshot {}", snapshot.manifest.version),
        Output::Stability(report) => format!("stability {}", report.samples),
        Output::Rejected(rejected) => format!("rejected {}", rejected.index),
    }
}

/// Checks a sink, of which `make` gives a new empty place on each call:
///
/// - recovering an empty place gives no commit, also after writes that were never committed;
/// - what is committed is visible after a restart, once and in order, with its epoch, positions and state;
/// - what was written after the last commit is undone by recovering, by the same sink or a new one, as often as it is
///   called;
/// - commits without outputs, with an empty state or a large one, count; of several the last is recovered;
/// - after recovering, writing goes on from the last commit as if nothing had happened.
///
/// # Panics
/// When a promise is broken.
pub fn sink(make: impl Fn() -> SinkUnderTest) {
    an_empty_place_has_no_commit(&make());
    committed_outputs_stay_and_others_go(&make());
    commits_without_outputs_count(&make());
    many_crashes_leave_each_output_once(&make());
}

struct Expected<'a> {
    place: &'a SinkUnderTest,
    labels: Vec<String>,
}

impl<'a> Expected<'a> {
    fn nothing(place: &'a SinkUnderTest) -> Self {
        Expected { place, labels: Vec::new() }
    }

    fn add(&mut self, outputs: &[Output]) {
        self.labels.extend(outputs.iter().filter(|output| (self.place.keeps)(output)).map(label));
    }

    fn check(&self, when: &str) {
        let (found, expected) = (by_kind(&(self.place.visible)()), by_kind(&self.labels));
        promise!(found == expected, "{when} a reader sees {found:?} instead of {expected:?}");
    }
}

/// Labels by their kind, in order: the order among kinds is not promised.
fn by_kind(labels: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut kinds: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for label in labels {
        let (kind, number) = label.split_once(' ').unwrap_or((label, ""));
        kinds.entry(kind.to_owned()).or_default().push(number.to_owned());
    }
    kinds
}

fn an_empty_place_has_no_commit(place: &SinkUnderTest) {
    let nothing = Expected::nothing(place);
    let mut sink = (place.open)();
    promise!(must(sink.recover(), "recover of an empty place").is_none(), "an empty place has a commit");
    must(sink.write(&outputs(0..6)), "write");
    drop(sink);
    let mut sink = (place.open)();
    promise!(must(sink.recover(), "recover").is_none(), "there is a commit where none was made");
    nothing.check("after recovering from writes without a commit");
}

fn committed_outputs_stay_and_others_go(place: &SinkUnderTest) {
    let mut expected = Expected::nothing(place);
    let mut sink = (place.open)();
    must(sink.recover(), "recover of an empty place");
    let first = commit(1, 10, vec![1, 2, 3]);
    for part in [outputs(0..4), outputs(4..10)] {
        must(sink.write(&part), "write");
        expected.add(&part);
    }
    must(sink.commit(&first), "commit");
    expected.check("after a commit");
    must(sink.write(&outputs(10..17)), "write after a commit");
    drop(sink);

    let mut sink = (place.open)();
    for time in ["first", "second"] {
        recovers(sink.as_mut(), &first, &format!("the {time} time"));
        expected.check("after recovering");
    }
    // The rows after the commit come again and lead to the same outputs.
    let again = outputs(10..17);
    must(sink.write(&again), "write after recovering");
    expected.add(&again);
    let second = commit(2, 17, vec![9; 3_000_000]);
    must(sink.commit(&second), "commit after recovering");
    expected.check("after the second commit");
    must(sink.write(&outputs(17..20)), "write");
    recovers(sink.as_mut(), &second, "without a restart");
    expected.check("after recovering without a restart");
    drop(sink);
    recovers((place.open)().as_mut(), &second, "after a clean restart");
    expected.check("after a clean restart");
}

fn commits_without_outputs_count(place: &SinkUnderTest) {
    let mut expected = Expected::nothing(place);
    let mut sink = (place.open)();
    must(sink.recover(), "recover of an empty place");
    must(sink.write(&[]), "a write of nothing");
    must(sink.commit(&commit(1, 0, Vec::new())), "a commit of nothing");
    let last = commit(2, 5, Vec::new());
    must(sink.commit(&last), "a second commit");
    recovers((place.open)().as_mut(), &last, "after two commits without outputs");
    expected.check("after two commits without outputs");
    let mut sink = (place.open)();
    recovers(sink.as_mut(), &last, "again");
    let more = outputs(5..9);
    must(sink.write(&more), "write");
    expected.add(&more);
    let last = commit(3, 9, vec![0]);
    must(sink.commit(&last), "a third commit");
    drop(sink);
    recovers((place.open)().as_mut(), &last, "after the third commit");
    expected.check("after the third commit");
}

fn many_crashes_leave_each_output_once(place: &SinkUnderTest) {
    let mut expected = Expected::nothing(place);
    let mut last: Option<Commit> = None;
    for epoch in 1..=12_u64 {
        let mut sink = (place.open)();
        let found = must(sink.recover(), "recover");
        promise!(found == last, "crash {epoch}: recover gives epoch {:?}", found.map(|commit| commit.epoch));
        let (start, end) = ((epoch - 1) * 5, epoch * 5);
        let part = outputs(start..end);
        must(sink.write(&part), "write");
        expected.add(&part);
        let made = commit(epoch, end, vec![epoch as u8; epoch as usize * 100]);
        must(sink.commit(&made), "commit");
        last = Some(made);
        // Lost in the crash.
        must(sink.write(&outputs(end..end + epoch % 4)), "write");
    }
    must((place.open)().recover(), "recover");
    expected.check("after twelve crashes");
}

fn recovers(sink: &mut dyn Sink, expected: &Commit, when: &str) {
    let Some(found) = must(sink.recover(), "recover") else {
        panic!("conformance: recover {when} gives no commit instead of epoch {}", expected.epoch)
    };
    promise!(found.epoch == expected.epoch, "recover {when} gives epoch {} instead of {}", found.epoch, expected.epoch);
    promise!(found.positions == expected.positions, "recover {when} gives other positions: {:?}", found.positions);
    promise!(found.state == expected.state, "recover {when} gives another state ({} bytes)", found.state.len());
}

fn commit(epoch: u64, rows: u64, state: Vec<u8>) -> Commit {
    let mut positions = Positions::default();
    positions.advance("a.arrow", rows / 2);
    positions.advance("folder with space/b.arrow", rows - rows / 2);
    Commit { epoch, positions, state }
}

/// What rows `range` lead to: a prediction each, and now and then one of every other kind.
fn outputs(range: std::ops::Range<u64>) -> Vec<Output> {
    let mut outputs = Vec::new();
    for index in range {
        outputs.push(Output::Prediction(prediction(index)));
        match index % 5 {
            1 => outputs.push(Output::Rejected(rejected(index))),
            2 => outputs.push(Output::Boundary(boundary(index))),
            3 => outputs.push(Output::Stability(Box::new(stability(index)))),
            4 => outputs.push(Output::Snapshot(Box::new(snapshot(index)))),
            _ => {}
        }
    }
    outputs
}

fn position(index: u64) -> Position {
    Position { partition: Arc::from("a.arrow"), offset: index }
}

fn prediction(index: u64) -> Prediction {
    Prediction {
        index,
        position: position(index),
        id: index.is_multiple_of(2).then(|| format!("row \"{index}\", ü")),
        label: Some("cat".to_owned()),
        predicted: (index > 0).then(|| "dog".to_owned()),
        probability: (index > 0).then_some(0.25),
        task: 0,
        model_version: index / 5,
    }
}

fn rejected(index: u64) -> Rejected {
    Rejected {
        format: 1,
        index,
        position: position(index),
        reason: RejectReason::NonFiniteFeature,
        column: Some("x".to_owned()),
        message: "a feature is NaN".to_owned(),
        payload: "{\"x\": null}\n".to_owned(),
    }
}

fn boundary(index: u64) -> BoundaryEvent {
    BoundaryEvent {
        format: 1,
        task: 1,
        at: index,
        detected_at: index + 3,
        position: position(index),
        estimated_at: 7,
        rolled_back: 3,
        recurring: index.is_multiple_of(2),
        evidence: vec![Evidence { detector: "every".to_owned(), message: "told to".to_owned() }],
        closed_task_labels: vec!["cat".to_owned(), "dog".to_owned()],
        merged: (!index.is_multiple_of(2)).then_some(MergedTasks { gone: 0, into: 1 }),
    }
}

fn stability(index: u64) -> StabilityReport {
    let matrix = AccuracyMatrix::new(vec![vec![Some(0.9)], vec![None, Some(0.8)]]);
    StabilityReport {
        format: 1,
        samples: index,
        task: 1,
        reason: "boundary".to_owned(),
        rejected: 1,
        trained_samples: index.saturating_sub(1),
        loss: Some(0.5),
        pattern_loss: None,
        prequential: PrequentialReport { accuracy: Some(0.75), ..PrequentialReport::default() },
        accuracy_source: "probes".to_owned(),
        task_incremental: matrix.clone(),
        class_incremental: matrix.clone(),
        probe_task_incremental: matrix,
        plasticity: Some(0.85),
        stability: Some(1.0),
        backward_transfer: None,
        forgetting: None,
        any_time_accuracy: Some(0.85),
        layers: Vec::new(),
        experts: Vec::new(),
        bytes: Vec::new(),
    }
}

fn snapshot(index: u64) -> Snapshot {
    // The prefix is the same in every snapshot, as in a real run.
    let blobs = vec![blob("prefix", vec![7; 100]), blob("suffix", index.to_le_bytes().repeat(20))];
    let entry = |blob: &Blob| BlobEntry {
        role: blob.role.clone(),
        sha256: state::sha256_hex(&blob.bytes),
        bytes: blob.bytes.len() as u64,
    };
    let mut positions = Positions::default();
    positions.advance("a.arrow", index + 1);
    let manifest = Manifest {
        format: 1,
        model_id: "model".to_owned(),
        version: index / 5 + 1,
        parent: (index >= 5).then_some(index / 5),
        task: 0,
        reason: "interval".to_owned(),
        positions,
        samples: index + 1,
        trained_samples: index,
        steps: index,
        prequential_accuracy: Some(0.5),
        plasticity: None,
        stability: None,
        config_sha256: state::sha256_hex(b"configuration"),
        learner: serde_json::json!({ "method": "lightcl" }),
        encoder: serde_json::json!({ "labels": ["cat", "dog"] }),
        blobs: blobs.iter().map(entry).collect(),
    };
    Snapshot { manifest, blobs }
}

fn blob(role: &str, bytes: Vec<u8>) -> Blob {
    Blob { role: role.to_owned(), bytes: Arc::new(bytes) }
}
