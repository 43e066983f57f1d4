//! The promises of [`Learner`].

use super::{must, promise, restores_only_what_is_sound, saved};
use crate::streams::SyntheticStream;
use lightcl_core::{ClassId, LearnReport, Learner, Samples};
use std::collections::BTreeSet;

/// Rows of one call of `learn`.
const WINDOW: usize = 32;
/// Rows used of each task.
const TASK_ROWS: usize = 4 * WINDOW;
/// Tasks used.
const TASKS: usize = 3;

/// Checks a learner, of which `make` gives a new one for samples of the stream's shape on each call:
///
/// - it scores before it knows any class, and with no row; every score is finite; classes never become fewer, and there
///   is one for every label learnt;
/// - `score_next` scores as `score` does;
/// - scoring, embedding, taking a snapshot, forking and reporting never change state;
/// - the same rows give the same reports and the same bytes;
/// - saving and restoring into a new learner at any moment changes nothing that follows;
/// - a fork and its original never change each other; `restore_plastic` of `save_plastic` brings a fork back;
/// - `score_embedding(embed(x))` is `score(x)`;
/// - samples of another shape are an error everywhere and change nothing;
/// - windows with NaN and 1e30 in some rows do not make `learn` fail: rows with NaN are reported, and whatever happens
///   scores stay finite and reported losses are finite;
/// - the first task is resumed after the others like any other call; neither that nor its end marks a channel as vital;
/// - windows of one row, which boundaries and the end of the input leave, and of none are learnt from;
/// - damaged bytes are refused and leave the learner as it was.
///
/// The stream needs at least two tasks with at least 128 rows each; three are used at most.
///
/// # Panics
/// When a promise is broken.
pub fn learner(make: impl Fn() -> Box<dyn Learner>, stream: &SyntheticStream) {
    let tasks: Vec<Samples> = stream.tasks().into_iter().take(TASKS).collect();
    promise!(
        tasks.len() >= 2 && tasks.iter().all(|task| task.len() >= TASK_ROWS),
        "the stream must have two tasks of at least {TASK_ROWS} rows"
    );
    let mut lessons: Vec<Lesson> = tasks.iter().flat_map(|task| Lesson::of_task(&task.slice(0, TASK_ROWS))).collect();
    lessons.extend(Lesson::of_return(&tasks[0].slice(0, TASK_ROWS)));
    let mut probe = Samples::empty(&stream.samples.shape);
    tasks.iter().for_each(|task| probe.append(&task.slice(0, 8)));

    scores_before_learning(make().as_mut(), &probe);
    let plain = run(make().as_mut(), &lessons, &probe);
    promise!(plain == run(make().as_mut(), &lessons, &probe), "two runs over the same rows differ");
    saving_changes_nothing(&make, &lessons, &plain);
    forks_are_independent(&make, &lessons, &probe);
    other_shapes_are_errors(&make, &lessons, &probe);
    bad_rows_do_no_harm(&make, &lessons, &probe);
    small_windows_are_learnt_from(&make, &lessons, &probe);
    a_task_that_returns_marks_nothing(&make, &lessons);
    garbage_is_refused(&make, &lessons, &probe);
}

/// One call that the operator makes.
enum Lesson {
    Begin(Samples),
    Resume(Samples, Vec<ClassId>),
    Learn(Samples),
    End(Samples),
}

impl Lesson {
    fn of_task(rows: &Samples) -> Vec<Lesson> {
        let mut lessons = vec![Lesson::Begin(rows.slice(0, WINDOW / 2))];
        lessons.extend((0..rows.len()).step_by(WINDOW).map(|start| Lesson::Learn(rows.slice(start, start + WINDOW))));
        lessons.push(Lesson::End(rows.slice(rows.len() - WINDOW / 2, rows.len())));
        lessons
    }

    fn of_return(rows: &Samples) -> Vec<Lesson> {
        let classes: BTreeSet<ClassId> = rows.labels.iter().copied().collect();
        let mut lessons = Lesson::of_task(rows);
        lessons[0] = Lesson::Resume(rows.slice(0, WINDOW / 2), classes.into_iter().collect());
        lessons
    }

    fn give(&self, learner: &mut dyn Learner) -> Option<LearnReport> {
        match self {
            Lesson::Resume(first, classes) => must(learner.resume_task(first, classes), "resume_task"),
            Lesson::Begin(first) => must(learner.begin_task(first), "begin_task"),
            Lesson::Learn(window) => {
                let before = must(learner.score(window), "score");
                promise!(
                    before == must(learner.score_next(window), "score_next"),
                    "score_next scores otherwise than score"
                );
                return Some(must(learner.learn(window), "learn"));
            }
            Lesson::End(importance) => {
                must(learner.end_task(importance), "end_task");
                must(learner.settle(), "settle");
            }
        }
        None
    }
}

/// What a run of lessons led to.
#[derive(PartialEq)]
struct Trace {
    reports: Vec<Option<LearnReport>>,
    state: Vec<u8>,
}

fn scores_before_learning(learner: &mut dyn Learner, probe: &Samples) {
    let logits = must(learner.score(probe), "score before anything is learnt");
    promise!(
        logits.values.len() == logits.classes * probe.len(),
        "before anything is learnt there are {} scores for {} rows of {} classes",
        logits.values.len(),
        probe.len(),
        logits.classes
    );
    promise!(logits.classes == 0, "{} classes are known before any was seen", logits.classes);
}

fn run(learner: &mut dyn Learner, lessons: &[Lesson], probe: &Samples) -> Trace {
    let mut reports = Vec::new();
    let (mut classes, mut labels) = (0, 0);
    for (number, lesson) in lessons.iter().enumerate() {
        let report = lesson.give(learner);
        if let (Lesson::Learn(window), Some(report)) = (lesson, &report) {
            labels = window.labels.iter().map(|&label| label as usize + 1).fold(labels, usize::max);
            report_is_sound(report, window);
            promise!(
                report.rejected_rows.is_empty(),
                "lesson {number}: clean rows {:?} are rejected",
                report.rejected_rows
            );
        }
        reports.push(report);
        let before = saved(learner, "save");
        let known = looking_is_sound(learner, probe);
        promise!(saved(learner, "save") == before, "lesson {number}: looking at the learner changes its state");
        promise!(known >= classes, "lesson {number}: {known} classes are left of {classes}");
        promise!(known >= labels, "lesson {number}: {known} classes are known after learning {labels}");
        classes = known;
    }
    Trace { reports, state: saved(learner, "save") }
}

/// Uses everything that takes `&self`; gives the number of classes.
fn looking_is_sound(learner: &dyn Learner, probe: &Samples) -> usize {
    let logits = must(learner.score(probe), "score");
    promise!(logits.values.len() == logits.classes * probe.len(), "score gives another number of scores");
    promise!(logits.values.iter().all(|value| value.is_finite()), "a score of a clean row is not finite");
    let nothing = must(learner.score(&Samples::empty(&probe.shape)), "score of no row");
    promise!(nothing.values.is_empty(), "score of no row gives scores");

    let embedding = must(learner.embed(probe), "embed");
    let size: usize = embedding.shape.iter().product();
    promise!(embedding.values.len() == size * probe.len(), "embed gives another number of values than its shape says");
    let again = must(learner.score_embedding(&embedding), "score_embedding");
    promise!(
        again.classes == logits.classes,
        "score_embedding knows {} classes, not {}",
        again.classes,
        logits.classes
    );
    for (place, (left, right)) in logits.values.iter().zip(&again.values).enumerate() {
        promise!(
            (left - right).abs() <= 1e-4 * left.abs().max(1.0),
            "score_embedding(embed(x)) is {right} where score(x) is {left} (value {place})"
        );
    }

    let snapshot = must(learner.snapshot(), "snapshot");
    promise!(snapshot == must(learner.snapshot(), "snapshot"), "two snapshots in a row differ");
    promise!(snapshot.description.is_object(), "the snapshot's description is no object");
    let mut roles: Vec<&str> = snapshot.blobs.iter().map(|blob| blob.role.as_str()).collect();
    promise!(
        (roles.contains(&"suffix") || roles.contains(&"analytic"))
            && roles.iter().all(|role| ["prefix", "suffix", "analytic"].contains(role)),
        "the snapshot's blobs have the roles {roles:?}"
    );
    roles.sort_unstable();
    roles.dedup();
    promise!(roles.len() == snapshot.blobs.len(), "the snapshot has a role twice");

    for layer in must(learner.layers(), "layers") {
        promise!(layer.vital_channels <= layer.channels, "layer {}: more vital channels than channels", layer.layer);
        promise!(
            layer.drift.is_none_or(|drift| drift.is_finite() && drift >= 0.0),
            "layer {}: the drift is {:?}",
            layer.layer,
            layer.drift
        );
    }
    promise!(learner.bytes().iter().all(|part| !part.part.is_empty()), "a part of the bytes has no name");
    must(learner.save_plastic(), "save_plastic");
    drop(learner.fork());
    logits.classes
}

fn report_is_sound(report: &LearnReport, window: &Samples) {
    promise!(report.loss.is_finite() && report.pattern_loss.is_finite(), "a reported loss is not finite: {report:?}");
    promise!(
        report.rejected_rows.is_sorted_by(|left, right| left < right)
            && report.rejected_rows.last().is_none_or(|&row| row < window.len()),
        "rejected rows are not ascending rows of the window: {:?}",
        report.rejected_rows
    );
}

fn saving_changes_nothing(make: &impl Fn() -> Box<dyn Learner>, lessons: &[Lesson], plain: &Trace) {
    let mut learner = make();
    for (number, lesson) in lessons.iter().enumerate() {
        let bytes = saved(learner.as_ref(), "save");
        learner = make();
        must(learner.restore(&bytes), &format!("restore before lesson {number}"));
        promise!(
            saved(learner.as_ref(), "save") == bytes,
            "the state restored before lesson {number} is not the one saved"
        );
        promise!(
            lesson.give(learner.as_mut()) == plain.reports[number],
            "after saving and restoring, lesson {number} gives another report"
        );
    }
    promise!(
        saved(learner.as_ref(), "save") == plain.state,
        "saving and restoring before every lesson leads to another final state"
    );
}

fn forks_are_independent(make: &impl Fn() -> Box<dyn Learner>, lessons: &[Lesson], probe: &Samples) {
    let mut learner = make();
    for (number, lesson) in lessons.iter().enumerate() {
        let before = saved(learner.as_ref(), "save");
        let scores = must(learner.score(probe), "score");
        let plastic = must(learner.save_plastic(), "save_plastic");
        let mut fork = learner.fork();
        promise!(saved(fork.as_ref(), "save") == before, "lesson {number}: a fork has another state");
        lesson.give(fork.as_mut());
        promise!(
            saved(learner.as_ref(), "save") == before && must(learner.score(probe), "score") == scores,
            "lesson {number}: a lesson given to a fork changes the original"
        );
        let kept = learner.fork();
        lesson.give(learner.as_mut());
        promise!(
            saved(kept.as_ref(), "save") == before && must(kept.score(probe), "score") == scores,
            "lesson {number}: a lesson given to the original changes a fork"
        );
        promise!(
            saved(learner.as_ref(), "save") == saved(fork.as_ref(), "save"),
            "lesson {number}: a fork learns otherwise than its original"
        );
        // The ring undoes windows within a task; what opens or closes one is never undone.
        if let Lesson::Learn(_) = lesson {
            let mut back = learner.fork();
            must(back.restore_plastic(&plastic), "restore_plastic on a fork");
            promise!(
                saved(back.as_ref(), "save") == before && must(back.score(probe), "score") == scores,
                "lesson {number}: restore_plastic on a fork does not bring the state back"
            );
            lesson.give(back.as_mut());
            promise!(
                saved(back.as_ref(), "save") == saved(learner.as_ref(), "save"),
                "lesson {number}: after restore_plastic the same lesson leads elsewhere"
            );
        }
    }
}

/// A learner in the middle of its second task.
fn in_second_task(make: &impl Fn() -> Box<dyn Learner>, lessons: &[Lesson]) -> Box<dyn Learner> {
    let mut learner = make();
    for lesson in &lessons[..2 + TASK_ROWS / WINDOW + 2] {
        lesson.give(learner.as_mut());
    }
    learner
}

fn other_shapes_are_errors(make: &impl Fn() -> Box<dyn Learner>, lessons: &[Lesson], probe: &Samples) {
    let width = probe.width();
    let mut other = Samples::empty(&[width + 1]);
    for row in 0..8 {
        other.push(&vec![0.5; width + 1], probe.labels[row], 1.0, probe.meta[row].clone());
    }
    let mut learner = in_second_task(make, lessons);
    let before = saved(learner.as_ref(), "save");
    promise!(learner.score(&other).is_err(), "score takes samples of another shape");
    promise!(learner.embed(&other).is_err(), "embed takes samples of another shape");
    promise!(learner.learn(&other).is_err(), "learn takes samples of another shape");
    promise!(learner.begin_task(&other).is_err(), "begin_task takes samples of another shape");
    promise!(learner.resume_task(&other, &[0]).is_err(), "resume_task takes samples of another shape");
    promise!(learner.end_task(&other).is_err(), "end_task takes samples of another shape");
    let mut embedding = must(learner.embed(probe), "embed");
    embedding.shape.push(2);
    embedding.values.extend_from_within(..);
    promise!(learner.score_embedding(&embedding).is_err(), "score_embedding takes activations of another shape");
    promise!(saved(learner.as_ref(), "save") == before, "a refused call changes the learner");
}

fn bad_rows_do_no_harm(make: &impl Fn() -> Box<dyn Learner>, lessons: &[Lesson], probe: &Samples) {
    for (value, must_be_reported) in [(f32::NAN, true), (f32::INFINITY, true), (1e30, false), (-3e38, false)] {
        for everywhere in [false, true] {
            let mut learner = in_second_task(make, lessons);
            let mut window = last_window(lessons).clone();
            let bad: Vec<usize> = if everywhere { (0..window.len()).collect() } else { vec![3, 17] };
            let width = window.width();
            for &row in &bad {
                window.features[row * width..(row + 1) * width].fill(value);
            }
            let report = must(learner.learn(&window), &format!("learn of rows with {value}"));
            report_is_sound(&report, &window);
            if must_be_reported {
                promise!(
                    bad.iter().all(|row| report.rejected_rows.contains(row)),
                    "rows {bad:?} hold {value}, but only {:?} are reported as rejected",
                    report.rejected_rows
                );
            }
            let after = format!("after rows with {value}");
            scores_are_finite(learner.as_ref(), probe, &after);
            report_is_sound(&must(learner.learn(last_window(lessons)), &after), last_window(lessons));
            scores_are_finite(learner.as_ref(), probe, &after);
        }
    }
}

fn small_windows_are_learnt_from(make: &impl Fn() -> Box<dyn Learner>, lessons: &[Lesson], probe: &Samples) {
    let mut learner = in_second_task(make, lessons);
    let report = must(learner.learn(&Samples::empty(&probe.shape)), "learn of no row");
    promise!(report.steps == 0 && report.rejected_rows.is_empty(), "learn of no row reports {report:?}");
    let row = last_window(lessons).slice(0, 1);
    let report = must(learner.learn(&row), "learn of one row");
    report_is_sound(&report, &row);
    promise!(report.rejected_rows.is_empty(), "learn rejects a window of one clean row");
    must(learner.end_task(&row), "end_task with one row");
    must(learner.begin_task(&row), "begin_task with one row");
    report_is_sound(&must(learner.learn(&row), "learn of one row"), &row);
    report_is_sound(&must(learner.learn(last_window(lessons)), "learn"), last_window(lessons));
    must(
        learner.resume_task(&row, &[row.labels[0], ClassId::MAX]),
        "resume_task with one row and a class never learnt",
    );
    report_is_sound(&must(learner.learn(&row), "learn of one row"), &row);
    scores_are_finite(learner.as_ref(), probe, "after windows of one row");
}

fn a_task_that_returns_marks_nothing(make: &impl Fn() -> Box<dyn Learner>, lessons: &[Lesson]) {
    let mut learner = make();
    let mut marked = None;
    for lesson in lessons {
        if let Lesson::Resume(..) = lesson {
            marked = Some(vital_channels(learner.as_ref()));
        }
        lesson.give(learner.as_mut());
        let now = vital_channels(learner.as_ref());
        promise!(
            marked.as_ref().is_none_or(|marked| *marked == now),
            "a task that was resumed marks channels: {now:?} are vital where {marked:?} were"
        );
    }
}

fn vital_channels(learner: &dyn Learner) -> Vec<usize> {
    must(learner.layers(), "layers").iter().map(|layer| layer.vital_channels).collect()
}

fn last_window(lessons: &[Lesson]) -> &Samples {
    lessons
        .iter()
        .rev()
        .find_map(|lesson| if let Lesson::Learn(window) = lesson { Some(window) } else { None })
        .expect("there are windows")
}

fn scores_are_finite(learner: &dyn Learner, probe: &Samples, when: &str) {
    let logits = must(learner.score(probe), "score");
    promise!(logits.values.iter().all(|value| value.is_finite()), "{when} the scores of clean rows are not finite");
}

fn garbage_is_refused(make: &impl Fn() -> Box<dyn Learner>, lessons: &[Lesson], probe: &Samples) {
    let mut learner = in_second_task(make, lessons);
    let good = saved(learner.as_ref(), "save");
    restores_only_what_is_sound(learner.as_mut(), &good, 1, 24, |learner| {
        // Scores may be anything, but there must be some.
        let logits = must(learner.score(probe), "score after a restore of changed bytes");
        promise!(
            logits.values.len() == logits.classes * probe.len(),
            "after a restore of changed bytes scores are missing"
        );
    });
    let mut fresh = make();
    restores_only_what_is_sound(fresh.as_mut(), &good, 2, 4, |_| {});
}
