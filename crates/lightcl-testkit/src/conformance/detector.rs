//! The promises of [`BoundaryDetector`].

use super::{must, promise, restores_only_what_is_sound, saved};
use crate::observations::{Observed, observed};
use crate::random::seeded;
use crate::streams::{AnotherRule, ClassIncremental, Generator, MovedInputs, Stationary};
use lightcl_core::{BoundaryDetector, Verdict};
use rand::RngExt;

/// A state may not be larger than this, whatever was seen.
const MOST_STATE_BYTES: usize = 1 << 20;

/// Checks a detector, of which `make` gives a new one on each call:
///
/// - the same rows give the same verdicts and the same state;
/// - saving and restoring into a new object at any moment changes nothing that follows;
/// - bytes that are cut, lengthened, of something else or noise are refused and leave the object as it was; bytes with
///   changed content are refused or leave an object that works;
/// - a boundary lies between the first index since the last reset and the row observed, both included;
/// - evidence has a detector's name and a message;
/// - two resets are as one, and a reset at any moment is allowed;
/// - the state stops growing: 50,000 rows take no more than 10,000 did.
///
/// # Panics
/// When a promise is broken.
pub fn detector(make: impl Fn() -> Box<dyn BoundaryDetector>) {
    for (name, rows) in scripts() {
        let plain = run(make().as_mut(), &rows, &name);
        promise!(plain == run(make().as_mut(), &rows, &name), "{name}: two runs over the same rows differ");
        saving_changes_nothing(&make, &rows, &plain, &name);
    }
    resets_are_idempotent(&make);
    garbage_is_refused(&make);
    state_is_bounded(&make);
}

/// What a run over some rows led to.
#[derive(PartialEq)]
struct Trace {
    verdicts: Vec<Verdict>,
    state: Vec<u8>,
}

/// Watches that boundaries lie within their bounds, and resets after each as the operator does.
#[derive(Default)]
struct Referee {
    first_index: Option<u64>,
}

impl Referee {
    fn observe(&mut self, detector: &mut dyn BoundaryDetector, row: &Observed, name: &str) -> Verdict {
        let first = *self.first_index.get_or_insert(row.index);
        let verdict = detector.observe(&row.view());
        if let Verdict::Boundary { at, evidence } = &verdict {
            promise!(*at <= row.index, "{name}: a boundary at {at} lies behind the row observed, {}", row.index);
            promise!(*at >= first, "{name}: a boundary at {at} lies before the first row since the reset, {first}");
            promise!(!evidence.is_empty(), "{name}: a boundary without evidence");
            for word in evidence {
                promise!(!word.detector.is_empty() && !word.message.is_empty(), "{name}: evidence without words");
            }
            detector.reset();
            self.first_index = None;
        }
        verdict
    }

    /// A reset because of a boundary that another detector placed.
    fn reset(&mut self, detector: &mut dyn BoundaryDetector) {
        detector.reset();
        self.first_index = None;
    }
}

/// Every 1777th row brings a reset from elsewhere.
fn is_reset_from_elsewhere(row: usize) -> bool {
    row % 1777 == 1776
}

fn run(detector: &mut dyn BoundaryDetector, rows: &[Observed], name: &str) -> Trace {
    let mut referee = Referee::default();
    let mut verdicts = Vec::with_capacity(rows.len());
    for (number, row) in rows.iter().enumerate() {
        verdicts.push(referee.observe(detector, row, name));
        if is_reset_from_elsewhere(number) {
            referee.reset(detector);
        }
    }
    Trace { verdicts, state: saved(detector, name) }
}

fn saving_changes_nothing(make: &impl Fn() -> Box<dyn BoundaryDetector>, rows: &[Observed], plain: &Trace, name: &str) {
    let mut detector = make();
    let mut referee = Referee::default();
    for (number, row) in rows.iter().enumerate() {
        if number < 40 || number % 61 == 0 {
            let bytes = saved(detector.as_ref(), name);
            detector = make();
            must(detector.restore(&bytes), &format!("{name}: restore of the state before row {number}"));
            promise!(
                saved(detector.as_ref(), name) == bytes,
                "{name}: the state restored before row {number} is not the one saved"
            );
        }
        let verdict = referee.observe(detector.as_mut(), row, name);
        promise!(
            verdict == plain.verdicts[number],
            "{name}: after saving and restoring, row {number} gives {verdict:?} instead of {:?}",
            plain.verdicts[number]
        );
        if is_reset_from_elsewhere(number) {
            referee.reset(detector.as_mut());
        }
    }
    promise!(
        saved(detector.as_ref(), name) == plain.state,
        "{name}: saving and restoring leads to another final state"
    );
}

fn resets_are_idempotent(make: &impl Fn() -> Box<dyn BoundaryDetector>) {
    let mut detector = make();
    detector.reset();
    for (number, row) in wild_rows(11, 3000).iter().enumerate() {
        if let Verdict::Boundary { .. } = detector.observe(&row.view()) {
            detector.reset();
        }
        if number % 97 == 0 {
            detector.reset();
            let once = saved(detector.as_ref(), "reset");
            detector.reset();
            promise!(saved(detector.as_ref(), "reset") == once, "a second reset changes the state");
        }
    }
}

fn garbage_is_refused(make: &impl Fn() -> Box<dyn BoundaryDetector>) {
    for (case, rows) in [(0, 0), (1, 700), (2, 2400)] {
        let rows = wild_rows(20 + case, rows);
        let mut detector = make();
        let mut referee = Referee::default();
        for row in &rows {
            referee.observe(detector.as_mut(), row, "wild rows");
        }
        let good = saved(detector.as_ref(), "save");
        let next = rows.last().map_or(0, |row| row.index + 1);
        let mut later = wild_rows(30 + case, 400);
        later.iter_mut().for_each(|row| row.index += next);
        restores_only_what_is_sound(detector.as_mut(), &good, case, 400, |detector| {
            for row in &later {
                if let Verdict::Boundary { at, .. } = detector.observe(&row.view()) {
                    promise!(
                        at <= row.index,
                        "after a restore of changed bytes a boundary lies behind the row observed"
                    );
                    detector.reset();
                }
            }
            saved(detector, "save after a restore of changed bytes");
        });
    }
}

fn state_is_bounded(make: &impl Fn() -> Box<dyn BoundaryDetector>) {
    let stationary = Stationary { rows: 50_000, rare_share: 0.01, ..Stationary::default() }.generate(5);
    for (name, rows) in [("stationary", observed(&stationary, 5, |_| 0.2)), ("wild", wild_rows(6, 50_000))] {
        let mut detector = make();
        let mut referee = Referee::default();
        let (mut early, mut late) = (0, 0);
        for (number, row) in rows.iter().enumerate() {
            referee.observe(detector.as_mut(), row, name);
            if number % 50 == 0 {
                let size = must(detector.save(), name).len();
                promise!(size <= MOST_STATE_BYTES, "{name}: the state has {size} bytes after {number} rows");
                let most = if number < 10_000 { &mut early } else { &mut late };
                *most = size.max(*most);
            }
        }
        promise!(
            late <= early + early / 2 + 256,
            "{name}: the state goes on growing, from {early} bytes in the first 10,000 rows to {late}"
        );
    }
}

/// Streams of every kind, as a detector sees them.
fn scripts() -> Vec<(String, Vec<Observed>)> {
    let classes = ClassIncremental { rows_per_task: 900, ..ClassIncremental::default() }.generate(1);
    let rule = AnotherRule { rows: vec![1500, 1200, 1300], ..AnotherRule::default() }.generate(2);
    let moved = MovedInputs { rows: vec![1500, 1500], ..MovedInputs::default() }.generate(3);
    let stationary = Stationary { rows: 4000, rare_share: 0.005, ..Stationary::default() }.generate(4);
    let after_change = |changes: Vec<u64>| {
        move |index: u64| {
            let start = changes.iter().rev().find(|&&start| start <= index).copied().unwrap_or(0);
            if index - start < 400 && start > 0 { 0.6 } else { 0.1 }
        }
    };
    let mut gaps = observed(&rule, 8, after_change(rule.change_points.clone()));
    gaps.iter_mut().for_each(|row| row.index = row.index * 3 + row.index / 100 + 12);
    vec![
        ("new classes".to_owned(), observed(&classes, 1, after_change(classes.change_points.clone()))),
        ("another rule".to_owned(), observed(&rule, 2, after_change(rule.change_points.clone()))),
        ("moved inputs".to_owned(), observed(&moved, 3, after_change(moved.change_points.clone()))),
        ("stationary".to_owned(), observed(&stationary, 4, |_| 0.25)),
        ("always wrong".to_owned(), observed(&stationary, 5, |_| 1.0)),
        ("never wrong".to_owned(), observed(&stationary, 6, |_| 0.0)),
        ("rows rejected in between".to_owned(), gaps),
        ("wild".to_owned(), wild_rows(9, 4000)),
    ]
}

/// Rows at and beyond the edges of what a detector should ever see: regimes of random length, key changes on
/// neighbouring rows, missing keys and predictions, gaps in the numbers, features of all kinds.
fn wild_rows(seed: u64, rows: usize) -> Vec<Observed> {
    let mut random = seeded(seed);
    let (mut index, mut first_class, mut error, mut key) = (0, 0, 0.2, Some("a".to_owned()));
    (0..rows)
        .map(|_| {
            if random.random_bool(0.003) {
                first_class = random.random_range(0..12);
            }
            if random.random_bool(0.002) {
                error = random.random();
            }
            if random.random_bool(0.01) {
                key = random.random_bool(0.8).then(|| format!("task {}", random.random_range(0..4)));
            }
            index += if random.random_bool(0.05) { random.random_range(1..50) } else { 1 };
            let label = first_class + random.random_range(0..3);
            let wrong = random.random_bool(error);
            let feature = *[0.0, 1.0, -1e30, f32::NAN, f32::INFINITY].get(random.random_range(0..5)).expect("in range");
            Observed {
                index,
                label,
                predicted: (!random.random_bool(0.02)).then_some(if wrong { label + 1 } else { label }),
                loss: if wrong { random.random_range(0.5..20.0) } else { random.random_range(0.0..0.5) },
                margin: random.random(),
                entropy: random.random_range(0.0..2.0),
                task_key: key.clone(),
                event_time: random.random_bool(0.5).then_some(index as i64 * 1_000_000),
                features: vec![feature; random.random_range(0..4)],
            }
        })
        .collect()
}
