//! The heads that are compared on tables.

use crate::bench::trial::Method;
use lightcl_learner::{ActiveClasses, AnalyticConfig, Backbone, HeadKind, LearnerConfig, Update};

/// What names of mixtures begin with.
pub(super) const MIXTURE: &str = "mixture";

/// Rows that the network learns from together.
const WINDOW: usize = 32;

/// All names of methods.
pub(super) fn names() -> Vec<String> {
    ["network", "analytic", MIXTURE, "mixture+label"].map(str::to_owned).to_vec()
}

/// The methods of a stream; where the label before a row is known by then, a mixture that looks at it too.
pub(super) fn of(knows_previous_label: bool) -> Vec<Method> {
    let learner = LearnerConfig {
        backbone: Backbone::Mlp { hidden: vec![32, 32], frozen: 0 },
        active_classes: ActiveClasses::Seen,
        learning_rate: 0.05,
        ..LearnerConfig::default()
    };
    let network = Method { name: "network", learner, window_samples: WINDOW, score_samples: None, standardize: true };
    // Each row is scored before its label and after those of all rows before it.
    let exact = |name: &'static str, head: HeadKind, analytic: AnalyticConfig| Method {
        name,
        learner: LearnerConfig { head, analytic, ..network.learner.clone() },
        score_samples: Some(1),
        // Heads scale their taps themselves; the network needs it done for it.
        standardize: head == HeadKind::Mixture,
        ..network.clone()
    };
    let by_row = AnalyticConfig { update: Update::Row, ..AnalyticConfig::default() };
    let with_label = AnalyticConfig { previous_label: true, no_change: true, ..by_row.clone() };
    let mut methods = vec![
        network.clone(),
        exact("analytic", HeadKind::Analytic, by_row.clone()),
        exact(MIXTURE, HeadKind::Mixture, by_row),
    ];
    if knows_previous_label {
        methods.push(exact("mixture+label", HeadKind::Mixture, with_label));
    }
    methods
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_valid_and_known_by_name() {
        for method in of(true) {
            method.learner.validate().unwrap();
            assert!(names().iter().any(|name| name == method.name));
        }
        assert_eq!(of(false).len(), 3);
        assert!(
            crate::bench::chosen("method", &["mixtur".to_owned()], names())
                .unwrap_err()
                .message()
                .contains("did you mean mixture?")
        );
    }
}
