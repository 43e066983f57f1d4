//! The promises of `Learner`, kept by every kind of learner.
#![allow(clippy::unwrap_used, reason = "a failing test panics")]

use lightcl_core::Learner;
use lightcl_learner::{
    ActiveClasses, AnalyticConfig, Backbone, FrozenNorm, HeadKind, LearnerConfig, LightClLearner, Method, Prefix, Tap,
    Update,
};
use lightcl_testkit::conformance;
use lightcl_testkit::streams::{ClassIncremental, Generator, SyntheticStream};

fn stream(shape: &[usize]) -> SyntheticStream {
    let width = shape.iter().product();
    let stream = ClassIncremental { rows_per_task: 130, width, ..ClassIncremental::default() };
    stream.generate(5).reshaped(shape)
}

fn check(config: LearnerConfig, shape: &[usize]) {
    let make = || Box::new(LightClLearner::new(config.clone(), shape, None).unwrap()) as Box<dyn Learner>;
    conformance::learner(make, &stream(shape));
}

fn mlp() -> LearnerConfig {
    LearnerConfig {
        backbone: Backbone::Mlp { hidden: vec![16, 16, 12, 12], frozen: 2 },
        learning_rate: 0.05,
        batch_samples: 8,
        passes: 2,
        ..LearnerConfig::default()
    }
}

fn resnet() -> LearnerConfig {
    LearnerConfig { backbone: Backbone::Resnet18 { width: 2 }, batch_samples: 16, ..LearnerConfig::default() }
}

#[test]
fn an_mlp_with_lightcl_conforms() {
    check(mlp(), &[8]);
}

#[test]
fn an_mlp_with_momentum_all_classes_and_a_pretrained_prefix_conforms() {
    let active_classes = ActiveClasses::Seen;
    check(LearnerConfig { momentum: 0.9, active_classes, prefix: Prefix::Pretrained, ..mlp() }, &[8]);
}

#[test]
fn an_mlp_with_sgd_conforms() {
    check(LearnerConfig { method: Method::Sgd, momentum: 0.5, ..mlp() }, &[8]);
}

#[test]
fn a_sparse_mlp_conforms() {
    check(LearnerConfig { sparse: true, ..mlp() }, &[8]);
}

#[test]
fn a_small_resnet18_conforms() {
    check(resnet(), &[1, 4, 4]);
}

#[test]
fn a_small_resnet18_that_updates_its_frozen_norms_conforms() {
    check(LearnerConfig { frozen_norm: FrozenNorm::Update, momentum: 0.5, ..resnet() }, &[1, 4, 4]);
}

#[test]
fn analytic_heads_and_mixtures_conform() {
    for head in [HeadKind::Analytic, HeadKind::Mixture] {
        for (tap, update) in [
            (&[Tap::Input][..], Update::Window),
            (&[Tap::Input, Tap::Prefix], Update::Window),
            (&[Tap::Input], Update::Row),
            (&[Tap::Prefix], Update::Row),
        ] {
            let analytic = AnalyticConfig { tap: tap.to_vec(), update, width: Some(40), ..AnalyticConfig::default() };
            check(LearnerConfig { head, analytic, ..mlp() }, &[8]);
        }
        let tap = vec![Tap::Stages, Tap::Prefix];
        let analytic = AnalyticConfig { tap, width: Some(40), ..AnalyticConfig::default() };
        check(LearnerConfig { head, analytic, ..resnet() }, &[1, 4, 4]);
    }
}
