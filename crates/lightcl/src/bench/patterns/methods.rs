//! The heads that are compared, with their settings on each stream.

use crate::bench::trial::Method;
use lightcl_learner::{ActiveClasses, AnalyticConfig, Backbone, HeadKind, LearnerConfig, Precision, Tap};

/// Rows learnt from together where a network trains: as in `pipelines/fashion-mnist.toml`.
const NETWORK_WINDOW: usize = 256;
/// The same where none does: sums do not depend on it, and weights are solved for once a window while classes are young.
const ANALYTIC_WINDOW: usize = 1000;
/// Random features that a mixture's head has.
const MIXTURE_WIDTH: usize = 1000;

/// All names of methods.
pub(super) fn names() -> Vec<String> {
    ["network", "analytic_0.3mb", "analytic_8mb", "analytic_1000", "analytic_2000", "analytic_taps", "mixture"]
        .map(str::to_owned)
        .to_vec()
}

/// The methods of a stream.
pub(super) fn of(stream: &str) -> Vec<Method> {
    let width = |width: usize| AnalyticConfig { width: Some(width), ..AnalyticConfig::default() };
    match stream {
        "cifar10_embeddings" => vec![
            network(mlp()),
            analytic("analytic_0.3mb", width(0)),
            analytic("analytic_8mb", eight_megabytes()),
            mixture(mlp(), width(MIXTURE_WIDTH)),
        ],
        "cifar10_jpeg" => {
            let staged = |analytic: AnalyticConfig| AnalyticConfig { tap: vec![Tap::Stages], ..analytic };
            vec![
                network(resnet()),
                on_prefix("analytic_taps", staged(width(0))),
                on_prefix("analytic_2000", staged(width(2000))),
                mixture(resnet(), staged(width(MIXTURE_WIDTH))),
            ]
        }
        _ => vec![
            network(mlp()),
            analytic("analytic_1000", width(1000)),
            analytic("analytic_2000", width(2000)),
            mixture(mlp(), width(MIXTURE_WIDTH)),
        ],
    }
}

/// As many random features beside the tap itself as fit.
fn eight_megabytes() -> AnalyticConfig {
    AnalyticConfig {
        max_bytes: Some(8_000_000),
        precision: Precision::Single,
        linear: Some(true),
        ..AnalyticConfig::default()
    }
}

fn mlp() -> LearnerConfig {
    LearnerConfig {
        backbone: Backbone::Mlp { hidden: vec![256; 4], frozen: 2 },
        active_classes: ActiveClasses::Task,
        learning_rate: 0.1,
        passes: 5,
        ..LearnerConfig::default()
    }
}

fn resnet() -> LearnerConfig {
    LearnerConfig {
        backbone: Backbone::Resnet18 { width: 20 },
        learning_rate: 0.05,
        passes: 1,
        // All 10,000 images of the first task, so that its classes weigh as much as the others.
        bridge_bytes: 128 << 20,
        ..mlp()
    }
}

fn network(learner: LearnerConfig) -> Method {
    Method { name: "network", learner, window_samples: NETWORK_WINDOW, score_samples: None, standardize: false }
}

fn analytic(name: &'static str, analytic: AnalyticConfig) -> Method {
    let learner = LearnerConfig { head: HeadKind::Analytic, analytic, ..mlp() };
    Method { name, learner, window_samples: ANALYTIC_WINDOW, ..network(mlp()) }
}

/// An analytic head on a prefix that the network makes on the first task.
fn on_prefix(name: &'static str, analytic: AnalyticConfig) -> Method {
    Method { name, ..network(LearnerConfig { head: HeadKind::Analytic, analytic, ..resnet() }) }
}

fn mixture(learner: LearnerConfig, analytic: AnalyticConfig) -> Method {
    Method { name: "mixture", ..network(LearnerConfig { head: HeadKind::Mixture, analytic, ..learner }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_valid_and_known_by_name() {
        for stream in super::super::data::names() {
            for method in of(&stream) {
                method.learner.validate().unwrap();
                assert!(names().iter().any(|name| name == method.name), "{}", method.name);
            }
        }
    }
}
