//! What analytic heads and mixtures promise: order does not matter, rows count at once, bad input does no harm.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test panics")]

mod common;

use common::*;
use lightcl_core::{Learner, Samples, Stateful, TaskChange};
use lightcl_learner::{
    ActiveClasses, AnalyticConfig, Backbone, HeadKind, LearnerConfig, LightClLearner, Reading, RegimeKind, ReplayKind,
    Standardize, Tap, Update,
};

fn config(analytic: AnalyticConfig) -> LearnerConfig {
    LearnerConfig { head: HeadKind::Analytic, analytic, ..mlp() }
}

fn learner(analytic: AnalyticConfig, shape: &[usize]) -> LightClLearner {
    LightClLearner::new(config(analytic), shape, None).unwrap()
}

/// Learns rows in windows, as the operator would.
fn learn(learner: &mut LightClLearner, rows: &Samples, window: usize) {
    for start in (0..rows.len()).step_by(window) {
        let window = rows.slice(start, rows.len().min(start + window));
        learner.score_next(&window).unwrap();
        learner.learn(&window).unwrap();
    }
}

fn accuracy(learner: &LightClLearner, rows: &Samples) -> f64 {
    let logits = learner.score(rows).unwrap();
    let hits = (0..rows.len()).filter(|&row| logits.best(row, None) == Some(rows.labels[row])).count();
    hits as f64 / rows.len() as f64
}

fn five_tasks(rows: usize, seed: u64) -> Vec<Samples> {
    (0..5).map(|task| task_samples(task, rows, &[12], seed + u64::from(task))).collect()
}

#[test]
fn tasks_one_after_the_other_and_a_shuffled_stream_give_the_same_predictions() {
    let tasks = five_tasks(60, 1);
    for reading in [Reading::Ridge, Reading::Lda] {
        let analytic = AnalyticConfig {
            width: Some(40),
            standardize: Some(Standardize::None),
            ridge: vec![1.0],
            reading,
            ..AnalyticConfig::default()
        };
        let mut in_order = learner(analytic.clone(), &[12]);
        let mut all = Samples::empty(&[12]);
        for task in &tasks {
            in_order.begin_task(task).unwrap();
            learn(&mut in_order, task, 30);
            in_order.end_task(task).unwrap();
            all.append(task);
        }
        in_order.settle().unwrap();
        let order: Vec<usize> = (0..all.len()).map(|row| row * 77 % all.len()).collect();
        let mut shuffled = learner(analytic, &[12]);
        shuffled.begin_task(&all).unwrap();
        learn(&mut shuffled, &all.select(&order), 7);
        shuffled.settle().unwrap();
        // Scales are learnt from what was scored on the way; what is predicted is not.
        let probe = five_tasks(20, 50);
        for rows in &probe {
            let (a, b) = (in_order.score(rows).unwrap(), shuffled.score(rows).unwrap());
            for row in 0..rows.len() {
                assert_eq!(a.best(row, None), b.best(row, None), "{reading:?}");
            }
            assert!(accuracy(&in_order, rows) > 0.9);
        }
    }
}

#[test]
fn nothing_is_forgotten_where_a_network_alone_forgets() {
    let tasks = five_tasks(60, 3);
    let run = |head: HeadKind| {
        let analytic = AnalyticConfig { width: Some(40), ..AnalyticConfig::default() };
        let config = LearnerConfig { head, analytic, passes: 3, ..mlp() };
        let mut learner = LightClLearner::new(config, &[12], None).unwrap();
        for task in &tasks {
            learner.begin_task(task).unwrap();
            learn(&mut learner, task, 30);
            learner.end_task(task).unwrap();
        }
        learner.settle().unwrap();
        five_tasks(20, 70).iter().map(|rows| accuracy(&learner, rows)).sum::<f64>() / 5.0
    };
    let (network, analytic, mixture) = (run(HeadKind::Network), run(HeadKind::Analytic), run(HeadKind::Mixture));
    assert!(network < 0.5, "{network}");
    assert!(analytic > 0.95 && mixture > 0.95, "{analytic} {mixture}");
}

#[test]
fn rows_of_the_window_in_hand_count_as_if_they_had_been_learnt() {
    let rows = task_samples(0, 120, &[6], 9);
    let analytic = AnalyticConfig {
        width: Some(20),
        update: Update::Row,
        standardize: Some(Standardize::None),
        forget: vec![1.0],
        ..AnalyticConfig::default()
    };
    // One learns windows of one row, the other is told labels row by row and learns windows of 40.
    let (mut narrow, mut wide) = (learner(analytic.clone(), &[6]), learner(analytic, &[6]));
    narrow.begin_task(&rows).unwrap();
    wide.begin_task(&rows).unwrap();
    learn(&mut narrow, &rows.slice(0, 40), 1);
    wide.score_next(&rows.slice(0, 40)).unwrap();
    wide.learn(&rows.slice(0, 40)).unwrap();
    let mut differences = Vec::new();
    for row in 40..80 {
        let one = rows.slice(row, row + 1);
        let (a, b) = (narrow.score_next(&one).unwrap(), wide.score_next(&one).unwrap());
        narrow.learn(&one).unwrap();
        assert_eq!(a.best(0, None), b.best(0, None), "{row}");
        differences.push(f64::from((a.values[0].exp() - b.values[0].exp()).abs()));
    }
    // The temperatures differ by what the first forty rows taught them, and the ridge by the mean square at the window's start.
    assert!(differences.iter().all(|difference| *difference < 0.1), "{differences:?}");
}

#[test]
fn odd_input_gives_finite_scores_and_a_state_that_can_be_restored() {
    let plain = |width: usize, rows: usize, classes: u32| -> Samples {
        let mut numbers = Numbers::new(4);
        let rows: Vec<_> = (0..rows)
            .map(|row| {
                let class = row as u32 % classes;
                ((0..width).map(|i| numbers.next() + (class as usize % (i + 2)) as f32).collect(), class)
            })
            .collect();
        Samples::from_rows(&[width], &rows)
    };
    let changed = |change: fn(usize, &mut [f32])| {
        let mut samples = plain(4, 64, 2);
        samples.features.chunks_exact_mut(4).enumerate().for_each(|(row, numbers)| change(row, numbers));
        samples
    };
    let streams = [
        ("a constant feature", changed(|_, row| row[1] = 7.0)),
        ("two identical columns", changed(|_, row| row[1] = row[0])),
        ("huge numbers", changed(|row, numbers| numbers[2] = if row % 9 == 0 { 1e30 } else { numbers[2] })),
        ("one class only", plain(4, 64, 1)),
        ("a class with one row", {
            let mut samples = plain(4, 64, 2);
            samples.labels[40] = 2;
            samples
        }),
        ("more features than rows", plain(200, 6, 2)),
        ("a thousand classes", plain(4, 1500, 1000)),
        ("one row", plain(4, 1, 1)),
        ("no weight", {
            let mut samples = plain(4, 64, 2);
            samples.weights.fill(0.0);
            samples
        }),
    ];
    for (name, rows) in &streams {
        for update in [Update::Window, Update::Row] {
            for standardize in [None, Some(Standardize::None)] {
                let analytic = AnalyticConfig { width: Some(10), update, standardize, ..AnalyticConfig::default() };
                let mut learner = learner(analytic.clone(), &rows.shape);
                learner.begin_task(rows).unwrap();
                learn(&mut learner, rows, 16);
                learner.settle().unwrap();
                let logits = learner.score(rows).unwrap();
                assert!(logits.values.iter().all(|value| value.is_finite()), "{name} {update:?}");
                let mut restored = LightClLearner::new(config(analytic), &rows.shape, None).unwrap();
                restored.restore(&learner.save().unwrap()).unwrap();
                assert_eq!(restored.score(rows).unwrap(), logits, "{name} {update:?}");
            }
        }
    }
}

#[test]
fn forgetting_to_emptiness_leaves_finite_weights() {
    for update in [Update::Window, Update::Row] {
        let analytic = AnalyticConfig { width: Some(6), forget: vec![0.9], update, ..AnalyticConfig::default() };
        let mut learner = learner(analytic, &[3]);
        let mut rows = task_samples(0, 1000, &[3], 2);
        learner.begin_task(&rows).unwrap();
        learn(&mut learner, &rows, 100);
        // A million rows of one class, the last of them without weight.
        rows.labels.fill(1);
        for round in 0..1000 {
            if round == 900 {
                rows.weights.fill(0.0);
            }
            learn(&mut learner, &rows, 1000);
        }
        let logits = learner.score(&rows).unwrap();
        assert!(logits.values.iter().all(|value| value.is_finite()), "{update:?}");
    }
}

#[test]
fn rows_of_the_first_task_reach_the_heads_of_a_prefix_that_freezes_later() {
    let run = |bridge_bytes: u64| {
        let analytic = AnalyticConfig { tap: vec![Tap::Prefix], width: Some(30), ..AnalyticConfig::default() };
        let config = LearnerConfig {
            head: HeadKind::Analytic,
            analytic,
            bridge_bytes,
            backbone: Backbone::Mlp { hidden: vec![32, 16], frozen: 1 },
            passes: 5,
            ..mlp()
        };
        let mut learner = LightClLearner::new(config, &[12], None).unwrap();
        for task in five_tasks(60, 5).iter().take(3) {
            learner.begin_task(task).unwrap();
            learn(&mut learner, task, 30);
            learner.end_task(task).unwrap();
        }
        learner.settle().unwrap();
        let held = learner.bytes().iter().find(|part| part.part == "bridge").unwrap().bytes;
        assert_eq!(held, 0, "rows are gone once the prefix has frozen");
        accuracy(&learner, &task_samples(0, 40, &[12], 90))
    };
    assert!(run(1 << 20) > 0.85, "{}", run(1 << 20));
    assert!(run(0) < 0.5, "without them the first task's classes are unknown to the prefix heads");
}

#[test]
fn gaussian_replay_keeps_the_network_from_forgetting() {
    let run = |replay: ReplayKind| {
        let config = LearnerConfig {
            replay,
            backbone: Backbone::Mlp { hidden: vec![32, 16], frozen: 1 },
            passes: 5,
            active_classes: ActiveClasses::Seen,
            ..mlp()
        };
        let mut learner = LightClLearner::new(config, &[12], None).unwrap();
        for task in &five_tasks(120, 5) {
            learner.begin_task(task).unwrap();
            learn(&mut learner, task, 30);
            learner.end_task(task).unwrap();
        }
        five_tasks(20, 70).iter().map(|rows| accuracy(&learner, rows)).sum::<f64>() / 5.0
    };
    let (without, with) = (run(ReplayKind::None), run(ReplayKind::Gaussian));
    assert!(with > without + 0.2, "{without} {with}");
}

/// Rows of four classes around the same centres whatever the seed; `turn` says by how much the classes are renamed.
fn renamed(rows: usize, turn: u32, seed: u64) -> Samples {
    let mut samples = Samples::empty(&[12]);
    (0..2).for_each(|task| samples.append(&task_samples(task, rows, &[12], seed + u64::from(task))));
    let order: Vec<usize> = (0..samples.len()).map(|row| row * 77 % samples.len()).collect();
    let mut samples = samples.select(&order);
    samples.labels.iter_mut().for_each(|label| *label = (*label + turn) % 4);
    samples
}

fn visit(learner: &mut LightClLearner, task: u32, change: TaskChange, rows: &Samples) {
    learner.enter_task(task, change).unwrap();
    learner.begin_task(rows).unwrap();
    learn(learner, rows, 30);
    learner.end_task(rows).unwrap();
    learner.settle().unwrap();
}

#[test]
fn a_task_whose_labels_mean_something_else_has_columns_of_its_own_that_are_there_when_it_returns() {
    let run = |regimes: RegimeKind| {
        let analytic = AnalyticConfig { width: Some(40), regimes, ..AnalyticConfig::default() };
        let mut learner = learner(analytic.clone(), &[12]);
        visit(&mut learner, 0, TaskChange::Unknown, &renamed(90, 0, 1));
        visit(&mut learner, 1, TaskChange::Labels, &renamed(90, 1, 10));
        let second = accuracy(&learner, &renamed(30, 1, 20));
        // Not a row of the first task is learnt again.
        learner.enter_task(0, TaskChange::Labels).unwrap();
        learner.begin_task(&renamed(5, 0, 40)).unwrap();
        let mut restored = LightClLearner::new(config(analytic), &[12], None).unwrap();
        restored.restore(&learner.save().unwrap()).unwrap();
        (second, accuracy(&restored, &renamed(30, 0, 30)))
    };
    let (second, first_again) = run(RegimeKind::Labels);
    assert!(second > 0.9 && first_again > 0.9, "{second} {first_again}");
    let (second, first_again) = run(RegimeKind::None);
    assert!(second < 0.8 && first_again < 0.8, "one relation for both is right about neither: {second} {first_again}");
}

#[test]
fn a_task_with_inputs_of_its_own_has_a_head_that_its_rows_find_by_themselves() {
    // The same four classes at other places, and renamed.
    let moved = |rows: usize, seed: u64| {
        let mut samples = renamed(rows, 2, seed);
        samples.features.iter_mut().for_each(|value| *value += 5.0);
        samples
    };
    let run = |regimes: RegimeKind| {
        let analytic = AnalyticConfig {
            width: Some(40),
            standardize: Some(Standardize::None),
            regimes,
            ..AnalyticConfig::default()
        };
        let mut learner = learner(analytic, &[12]);
        visit(&mut learner, 0, TaskChange::Unknown, &renamed(90, 0, 1));
        visit(&mut learner, 1, TaskChange::Inputs, &moved(90, 10));
        let apart = (accuracy(&learner, &renamed(30, 0, 30)), accuracy(&learner, &moved(30, 50)));
        let snapshot = learner.snapshot().unwrap();
        let reader = LightClLearner::from_snapshot(&snapshot.description, &snapshot.blobs).unwrap();
        let published = (accuracy(&reader, &renamed(30, 0, 30)), accuracy(&reader, &moved(30, 50)));
        assert_eq!(apart, published, "a snapshot has the heads of all tasks");
        learner.merge_tasks(0, 1).unwrap();
        learner.settle().unwrap();
        (apart, accuracy(&learner, &moved(30, 50)))
    };
    let ((first, second), merged) = run(RegimeKind::Domains);
    assert!(first > 0.9 && second > 0.9 && merged > 0.5, "{first} {second} {merged}");
}

#[test]
fn rows_that_the_network_refuses_are_reported_unless_heads_have_learnt_them() {
    let rejected = |tap: Tap| {
        let analytic = AnalyticConfig { tap: vec![tap], width: Some(10), ..AnalyticConfig::default() };
        let config = LearnerConfig { head: HeadKind::Mixture, analytic, bridge_bytes: 0, learning_rate: 1e30, ..mlp() };
        let mut learner = LightClLearner::new(config, &[6], None).unwrap();
        let rows = task_samples(0, 64, &[6], 1);
        learner.begin_task(&rows).unwrap();
        learner.learn(&rows).unwrap().rejected_rows.len()
    };
    assert_eq!(rejected(Tap::Input), 0);
    assert!(rejected(Tap::Prefix) > 0, "before the prefix has frozen nobody has them");
}
