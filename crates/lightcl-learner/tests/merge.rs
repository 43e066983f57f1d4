//! Learners of disjoint rows, joined.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test panics")]

mod common;

use common::*;
use lightcl_core::{Learner, Samples, Stateful};
use lightcl_learner::{AnalyticConfig, HeadKind, LearnerConfig, LightClLearner, Standardize, Update};

fn config(head: HeadKind) -> LearnerConfig {
    let analytic = AnalyticConfig {
        width: Some(40),
        standardize: Some(Standardize::None),
        forget: vec![1.0],
        ..AnalyticConfig::default()
    };
    LearnerConfig { head, analytic, passes: 5, ..mlp() }
}

fn accuracy(learner: &LightClLearner, probe: &Samples, number_of: impl Fn(u32) -> u32) -> f64 {
    let logits = learner.score(probe).unwrap();
    let right = (0..probe.len()).filter(|&row| logits.best(row, None) == Some(number_of(probe.labels[row]))).count();
    right as f64 / probe.len() as f64
}

/// Rows of tasks 2 and 3 with their classes numbered from 0.
fn renumbered(task: u32, rows: usize, seed: u64) -> Samples {
    let mut samples = task_samples(task, rows, &MLP_SHAPE, seed);
    samples.labels.iter_mut().for_each(|label| *label -= 4);
    samples
}

/// The first learnt tasks 0 and 1, the second 2 and 3 under numbers of its own.
fn pair(config: &LearnerConfig) -> (LightClLearner, LightClLearner) {
    let ((mut first, shape), (mut second, _)) = (build(config.clone()), build(config.clone()));
    run_tasks(&mut first, 0..2, &shape);
    for task in 2..4 {
        second.begin_task(&renumbered(task, 20, 1)).unwrap();
        (0..3).for_each(|seed| drop(second.learn(&renumbered(task, 20, seed)).unwrap()));
        second.end_task(&renumbered(task, 20, 2)).unwrap();
    }
    (first, second)
}

#[test]
fn a_joined_learner_knows_the_tasks_of_both_and_goes_on() {
    for head in [HeadKind::Analytic, HeadKind::Mixture] {
        for update in [Update::Window, Update::Row] {
            let mut config = config(head);
            config.analytic.update = update;
            let (mut joined, second) = pair(&config);
            joined.merge(&second, &[4, 5, 6, 7]).unwrap();
            let mean =
                (0..4).map(|task| accuracy(&joined, &task_samples(task, 60, &MLP_SHAPE, 99), |c| c)).sum::<f64>() / 4.0;
            println!("{head:?} {update:?}: {mean:.3}");
            assert!(mean > 0.9, "{head:?} {update:?}: {mean}");
            // Its state is whole, and so is its snapshot.
            let (mut copy, _) = build(config.clone());
            copy.restore(&joined.save().unwrap()).unwrap();
            let snapshot = copy.snapshot().unwrap();
            LightClLearner::from_snapshot(&snapshot.description, &snapshot.blobs).unwrap();
            run_tasks(&mut copy, 4..5, &MLP_SHAPE);
            assert!(accuracy(&copy, &task_samples(4, 60, &MLP_SHAPE, 99), |c| c) > 0.8);
        }
    }
}

#[test]
fn what_is_refused_changes_nothing() {
    let (first, second) = pair(&config(HeadKind::Analytic));
    let other_seed = pair(&LearnerConfig { seed: 4, ..config(HeadKind::Analytic) }).1;
    let network = pair(&LearnerConfig { head: HeadKind::Network, ..config(HeadKind::Network) }).1;
    for (other, classes) in [(&other_seed, [4, 5, 6, 7]), (&network, [4, 5, 6, 7]), (&second, [4, 5, 6, 1 << 20])] {
        let mut joined = first.clone();
        assert!(joined.merge(other, &classes).is_err());
        assert_eq!(joined.save().unwrap(), first.save().unwrap());
    }
}
