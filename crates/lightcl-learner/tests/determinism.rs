//! The same bytes whatever the number of threads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test panics")]

mod common;

use common::*;
use lightcl_core::{Learner, Stateful, state};
use lightcl_learner::{AnalyticConfig, Backbone, FrozenNorm, HeadKind, LearnerConfig, LightClLearner, Method, Tap};

/// Sizes at which burn splits work over threads.
fn runs() -> Vec<(&'static str, LearnerConfig, Vec<usize>, usize)> {
    let wide = Backbone::Mlp { hidden: vec![256, 256, 192], frozen: 1 };
    let mlp = LearnerConfig { backbone: wide, batch_samples: 256, passes: 2, momentum: 0.9, ..mlp() };
    let tap = vec![Tap::Input, Tap::Prefix];
    let analytic = AnalyticConfig { tap, width: Some(600), forget: vec![1.0, 0.99], ..AnalyticConfig::default() };
    let resnet = LearnerConfig {
        backbone: Backbone::Resnet18 { width: 8 },
        batch_samples: 24,
        learning_rate: 0.01,
        ..LearnerConfig::default()
    };
    vec![
        ("mlp", mlp.clone(), vec![300], 520),
        ("mlp sgd", LearnerConfig { method: Method::Sgd, ..mlp.clone() }, vec![300], 520),
        ("mixture", LearnerConfig { head: HeadKind::Mixture, analytic, ..mlp }, vec![300], 520),
        ("resnet18", resnet.clone(), vec![3, 32, 32], 48),
        ("resnet18 update", LearnerConfig { frozen_norm: FrozenNorm::Update, ..resnet }, vec![3, 32, 32], 24),
    ]
}

/// Run by the test below in processes with their own number of threads, and once more for itself.
#[test]
fn digests() {
    for (name, config, shape, rows) in runs() {
        let mut learner = LightClLearner::new(config, &shape, None).unwrap();
        for task in 0..2 {
            let window = task_samples(task, rows, &shape, u64::from(task));
            learner.begin_task(&window).unwrap();
            learner.score_next(&window).unwrap();
            learner.learn(&window).unwrap();
            learner.end_task(&window).unwrap();
        }
        let scores = learner.score(&task_samples(0, 300.min(2 * rows), &shape, 9)).unwrap();
        let scores: Vec<u8> = scores.values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let state = learner.save().unwrap();
        println!("digest {name}: {} {}", state::sha256_hex(&state), state::sha256_hex(&scores));
    }
}

#[test]
fn one_two_and_four_threads_give_the_same_bytes() {
    let run = |threads: &str| {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "digests", "--nocapture", "--test-threads=1"])
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let digests: Vec<String> =
            text.lines().filter_map(|line| Some(line[line.find("digest ")?..].to_owned())).collect();
        assert_eq!(digests.len(), runs().len(), "{text}");
        digests
    };
    let one = run("1");
    assert_eq!(one, run("2"));
    assert_eq!(one, run("4"));
}
