//! Snapshots of learners with analytic heads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test panics")]

mod common;

use common::*;
use lightcl_core::{Learner, Logits, Samples, Stateful};
use lightcl_learner::{
    AnalyticConfig, HeadKind, LearnerConfig, LightClLearner, NamedWeights, Standardize, Tap, Update,
};

fn analytic(tap: &[Tap]) -> AnalyticConfig {
    AnalyticConfig { tap: tap.to_vec(), width: Some(40), ..AnalyticConfig::default() }
}

/// Networks, taps, heads and ways of updating, each with each where they fit.
fn kinds() -> Vec<LearnerConfig> {
    let mut kinds = Vec::new();
    for head in [HeadKind::Analytic, HeadKind::Mixture] {
        for tap in [&[Tap::Input][..], &[Tap::Prefix], &[Tap::Input, Tap::Prefix]] {
            let window = analytic(tap);
            let row = AnalyticConfig { update: Update::Row, ..analytic(tap) };
            let none =
                AnalyticConfig { standardize: Some(Standardize::None), forget: vec![1.0, 0.99], ..analytic(tap) };
            let plain = AnalyticConfig { width: Some(0), ..analytic(tap) };
            for analytic in [window, row, none, plain] {
                kinds.push(LearnerConfig { head, analytic, ..mlp() });
            }
        }
        let stages = analytic(&[Tap::Stages, Tap::Prefix]);
        kinds.push(LearnerConfig { head, analytic: stages.clone(), ..resnet() });
        kinds.push(LearnerConfig { head, analytic: AnalyticConfig { update: Update::Row, ..stages }, ..resnet() });
    }
    kinds
}

/// The calls of a stream of three tasks, one a step; as the operator does, rows are scored before they are learnt.
fn call(learner: &mut LightClLearner, step: usize, shape: &[usize]) {
    let task = (step / 6) as u32;
    let window = |index: u64| task_samples(task, 20, shape, 50 * u64::from(task) + index);
    match step % 6 {
        0 => learner.begin_task(&window(0)).unwrap(),
        5 => learner.end_task(&window(2)).unwrap(),
        // A row-wise learner has rows in hand after the first of these.
        index if index % 2 == 1 => drop(learner.score_next(&window(index as u64 / 2)).unwrap()),
        index => drop(learner.learn(&window(index as u64 / 2 - 1)).unwrap()),
    }
}

fn probabilities(logits: &Logits) -> Vec<f64> {
    logits.values.chunks(logits.classes.max(1)).flat_map(softmax).collect()
}

fn softmax(row: &[f32]) -> Vec<f64> {
    let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shares: Vec<f64> = row.iter().map(|&score| f64::from(score - highest).exp()).collect();
    let total: f64 = shares.iter().sum();
    shares.into_iter().map(|share| share / total).collect()
}

fn read(learner: &LightClLearner) -> LightClLearner {
    let snapshot = learner.snapshot().unwrap();
    // As it comes from a manifest.
    let description = serde_json::from_str(&snapshot.description.to_string()).unwrap();
    LightClLearner::from_snapshot(&description, &snapshot.blobs).unwrap()
}

/// The largest difference between probabilities.
fn difference(left: &Logits, right: &Logits) -> f64 {
    assert_eq!((left.classes, left.values.len()), (right.classes, right.values.len()));
    let (left, right) = (probabilities(left), probabilities(right));
    left.iter().zip(&right).map(|(left, right)| (left - right).abs()).fold(0.0, f64::max)
}

#[test]
fn a_snapshot_scores_like_the_learner_it_was_taken_from_at_any_time() {
    let mut worst = [0.0_f64; 2];
    for config in kinds() {
        let (mut learner, shape) = build(config.clone());
        let probe = [0, 1, 2].map(|task| task_samples(task, 15, &shape, 77));
        for step in 0..=18 {
            let reader = read(&learner);
            for probe in &probe {
                let (expected, found) = (learner.score(probe).unwrap(), reader.score(probe).unwrap());
                let difference = difference(&expected, &found);
                let place = usize::from(config.analytic.update == Update::Row);
                worst[place] = worst[place].max(difference);
                // Weights that rows update are kept in 64 bits and published in 32.
                assert!(difference <= [0.0, 1e-6][place], "{difference} at step {step} of {config:?}");
                let embedded = reader.score_embedding(&reader.embed(probe).unwrap()).unwrap();
                assert!(self::difference(&embedded, &found) < 1e-6, "step {step} of {config:?}");
            }
            // What is read is published as it was.
            let (once, twice) = (learner.snapshot().unwrap(), read(&learner).snapshot().unwrap());
            assert_eq!(once.blobs.iter().map(|blob| &blob.role).collect::<Vec<_>>(), roles(&twice.blobs));
            assert_eq!(once.blobs.last(), twice.blobs.last(), "step {step} of {config:?}");
            if step < 18 {
                call(&mut learner, step, &shape);
            }
        }
    }
    println!("largest difference of a probability by window and by row: {worst:?}");
}

fn roles(blobs: &[lightcl_core::Blob]) -> Vec<&String> {
    blobs.iter().map(|blob| &blob.role).collect()
}

#[test]
fn the_expert_of_the_label_before_is_even_in_a_reader() {
    let head = HeadKind::Mixture;
    let analytic =
        AnalyticConfig { update: Update::Row, no_change: true, previous_label: true, ..analytic(&[Tap::Input]) };
    let (mut learner, shape) = build(LearnerConfig { head, analytic, ..mlp() });
    (0..9).for_each(|step| call(&mut learner, step, &shape));
    let reader = read(&learner);
    let logits = reader.score(&task_samples(1, 10, &shape, 3)).unwrap();
    assert!(logits.values.iter().all(|value| value.is_finite()));
    // Nothing is known of labels: which row is scored first does not matter.
    let one = reader.score(&task_samples(1, 10, &shape, 3).select(&[4])).unwrap();
    assert!(logits.row(4).iter().zip(one.row(0)).all(|(a, b)| (a - b).abs() < 1e-4));
    assert!(learner.snapshot().unwrap().description["analytic"]["no_change"]["repeats"].is_number());
}

#[test]
fn parts_of_the_network_that_no_score_needs_are_left_out() {
    for (head, tap, expected) in [
        (HeadKind::Analytic, Tap::Input, &["analytic"][..]),
        (HeadKind::Analytic, Tap::Prefix, &["prefix", "analytic"]),
        (HeadKind::Mixture, Tap::Input, &["prefix", "suffix", "analytic"]),
    ] {
        let (mut learner, shape) = build(LearnerConfig { head, analytic: analytic(&[tap]), ..mlp() });
        let before = learner.snapshot().unwrap();
        assert_eq!(before.blobs.len(), if tap == Tap::Input { expected.len() } else { 3 });
        run_tasks(&mut learner, 0..2, &shape);
        let snapshot = learner.snapshot().unwrap();
        assert_eq!(roles(&snapshot.blobs), expected, "{head:?} {tap:?}");
        for left_out in 0..snapshot.blobs.len() {
            let mut blobs = snapshot.blobs.clone();
            blobs.remove(left_out);
            let error = LightClLearner::from_snapshot(&snapshot.description, &blobs).unwrap_err();
            assert!(error.message().contains("lack"), "{head:?} {tap:?}: {left_out}: {error}");
        }
    }
}

#[test]
fn no_sum_and_no_row_is_published() {
    let (mut learner, shape) =
        build(LearnerConfig { head: HeadKind::Mixture, analytic: analytic(&[Tap::Input]), ..mlp() });
    run_tasks(&mut learner, 0..2, &shape);
    let snapshot = learner.snapshot().unwrap();
    let blob = snapshot.blobs.iter().find(|blob| blob.role == "analytic").unwrap();
    let names: Vec<String> =
        NamedWeights::from_safetensors_bytes(&blob.bytes).unwrap().names().map(str::to_owned).collect();
    assert_eq!(
        names,
        ["analytic.0.bias", "analytic.0.weight", "analytic.scale.input.inverse", "analytic.scale.input.mean"]
    );
    let described = &snapshot.description["analytic"];
    assert!(described["taps"][0]["projection_seed"].as_str().unwrap().parse::<u64>().is_ok());
    assert_eq!(described["mixture"]["experts"], serde_json::json!(["network", "analytic_1"]));
    assert_eq!(described["mixture"]["groups"].as_array().unwrap().len(), 2);
}

#[test]
fn a_description_that_was_tampered_with_is_refused() {
    let (mut learner, shape) =
        build(LearnerConfig { head: HeadKind::Mixture, analytic: analytic(&[Tap::Input]), ..mlp() });
    run_tasks(&mut learner, 0..2, &shape);
    let snapshot = learner.snapshot().unwrap();
    for (pointer, value) in [
        ("/analytic", serde_json::Value::Null),
        ("/analytic/format", 2.into()),
        ("/analytic/taps/0/projection_seed", "1".into()),
        ("/analytic/taps/0/width", 7.into()),
        ("/analytic/heads/0/forget", 0.5.into()),
        ("/analytic/clip", 3.0.into()),
        ("/analytic/network_temperature", 0.0.into()),
        ("/analytic/network_temperature", serde_json::Value::Null),
        ("/analytic/mixture/weights", serde_json::json!([1.0])),
        ("/analytic/mixture/weights", serde_json::json!([-1.0, 2.0])),
        ("/analytic/mixture/groups/0/classes", serde_json::json!([0, 2])),
        ("/analytic/mixture/groups/0/classes", serde_json::json!([0, 1_000_000])),
        ("/analytic/mixture/groups/0/active", true.into()),
        ("/analytic/mixture/groups/0/weights", serde_json::json!([])),
        ("/analytic/fresh", serde_json::json!([1_000_000])),
        ("/settings/analytic/width", 30.into()),
        ("/settings/seed", 9.into()),
    ] {
        let mut description = snapshot.description.clone();
        *description.pointer_mut(pointer).unwrap() = value.clone();
        assert!(LightClLearner::from_snapshot(&description, &snapshot.blobs).is_err(), "{pointer} = {value}");
    }
}

#[test]
fn a_reader_can_be_saved_and_goes_on_with_a_stream_of_its_own() {
    for config in kinds() {
        let (mut learner, shape) = build(config.clone());
        run_tasks(&mut learner, 0..2, &shape);
        let mut reader = read(&learner);
        let probe = task_samples(1, 10, &shape, 5);
        let (mut copy, _) = build(config);
        copy.restore(&reader.save().unwrap()).unwrap();
        assert_eq!(copy.score(&probe).unwrap(), reader.score(&probe).unwrap());
        run_tasks(&mut reader, 2..4, &shape);
        let logits = reader.score(&probe).unwrap();
        assert!(logits.classes == 8 && logits.values.iter().all(|value| value.is_finite()));
        assert_eq!(reader.score(&Samples::empty(&shape)).unwrap().values.len(), 0);
    }
}
