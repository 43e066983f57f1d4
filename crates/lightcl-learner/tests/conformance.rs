//! The promises of `Learner`, kept by every kind of learner.
#![allow(clippy::unwrap_used, reason = "a failing test panics")]

use lightcl_core::Learner;
use lightcl_learner::{
    ActiveClasses, AnalyticConfig, Backbone, FrozenNorm, HeadKind, LearnerConfig, LightClLearner, Method, Precision,
    Prefix, ReplayKind, Tap, Update,
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

fn analytic(tap: Vec<Tap>) -> AnalyticConfig {
    AnalyticConfig { tap, width: Some(12), ..AnalyticConfig::default() }
}

#[test]
fn analytic_heads_of_the_input_conform() {
    check(LearnerConfig { head: HeadKind::Analytic, analytic: analytic(vec![Tap::Input]), ..mlp() }, &[8]);
}

#[test]
fn analytic_heads_of_input_and_prefix_conform() {
    let analytic = AnalyticConfig { precision: Precision::Single, ..analytic(vec![Tap::Prefix, Tap::Input]) };
    check(LearnerConfig { head: HeadKind::Analytic, analytic, ..mlp() }, &[8]);
}

#[test]
fn a_mixture_with_a_bank_of_factors_conforms() {
    let analytic = AnalyticConfig { forget: vec![1.0, 0.99], ..analytic(vec![Tap::Input]) };
    check(LearnerConfig { head: HeadKind::Mixture, analytic, ..mlp() }, &[8]);
}

#[test]
fn a_mixture_that_follows_every_row_and_the_label_before_conforms() {
    let analytic =
        AnalyticConfig { update: Update::Row, previous_label: true, no_change: true, ..analytic(vec![Tap::Input]) };
    check(LearnerConfig { head: HeadKind::Mixture, analytic, ..mlp() }, &[8]);
}

#[test]
fn a_mixture_on_a_small_resnet18_conforms() {
    let analytic = analytic(vec![Tap::Stages]);
    check(LearnerConfig { head: HeadKind::Mixture, analytic, ..resnet() }, &[1, 4, 4]);
}

#[test]
fn a_mixture_beside_sgd_conforms() {
    let analytic = analytic(vec![Tap::Input]);
    check(LearnerConfig { method: Method::Sgd, head: HeadKind::Mixture, analytic, ..mlp() }, &[8]);
}

#[test]
fn an_mlp_with_gaussian_replay_conforms() {
    check(LearnerConfig { replay: ReplayKind::Gaussian, ..mlp() }, &[8]);
}
