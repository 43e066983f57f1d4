//! Joining learners that learnt disjoint rows apart.

use crate::learner::LightClLearner;
use crate::{LearnerConfig, MAX_CLASSES, Tap};
use lightcl_core::{ClassId, Error, Result};
use serde_json::Value;

impl LightClLearner {
    /// Adds what the analytic heads of another learner know of other rows: sums of two learners over disjoint rows are those
    /// of one learner over both, whatever the order. `classes` are our numbers of its classes, by its number. The network
    /// stays ours; it learns of new classes only that they are there.
    ///
    /// # Errors
    /// User errors that say what to do, when there is nothing to add, when features do not mean the same in both, and when
    /// sums forget. This learner is then unchanged.
    pub fn merge(&mut self, other: &LightClLearner, classes: &[ClassId]) -> Result<()> {
        let (Some(mut bank), Some(theirs)) = (self.analytic.clone(), &other.analytic) else {
            return Err(Error::user(
                "there is nothing to add: with learner.head = \"network\" nothing is kept that is a sum over rows. Run with \
                 learner.head = \"analytic\" or \"mixture\"",
            ));
        };
        let differences = self.feature_differences(other)?;
        if !differences.is_empty() {
            return Err(Error::user(
                "sums can be added where features mean the same: run again with the same settings, seed and shape of a sample",
            )
            .with("differs", differences.join(", ")));
        }
        let taps_prefix = self.config.analytic.tap.iter().any(|tap| *tap != Tap::Input);
        if taps_prefix && (self.prefix_digest != other.prefix_digest || !self.progress.frozen) {
            return Err(Error::user(
                "the heads look at prefixes that are not the same, or still train: use analytic.tap = [\"input\"], or start \
                 both runs with learner.prefix = \"pretrained\" and the same weights",
            ));
        }
        if classes.iter().any(|&class| class as usize >= MAX_CLASSES) {
            return Err(Error::user("together there are more classes than a head may have").with("most", MAX_CLASSES));
        }
        bank.merge(theirs, classes)?;
        // What is current stays so: the classes that are met here belong to tasks of the other's.
        let current = self.progress.current.clone();
        self.meet_classes(classes.iter().copied())?;
        self.progress.current = current;
        self.analytic = Some(bank);
        Ok(())
    }

    /// Settings that decide features and differ, with both values.
    fn feature_differences(&self, other: &LightClLearner) -> Result<Vec<String>> {
        let mut differences = Vec::new();
        let mut compare = |name: &str, ours: &Value, theirs: &Value| {
            if ours != theirs {
                differences.push(format!("{name}: {ours} and {theirs}"));
            }
        };
        let shape = |learner: &LightClLearner| Value::from(learner.input_shape().to_vec());
        compare("shape of a sample", &shape(self), &shape(other));
        let (ours, theirs) = (settings(&self.config)?, settings(&other.config)?);
        for key in ["head", "seed"] {
            compare(&format!("learner.{key}"), &ours[key], &theirs[key]);
        }
        for (key, value) in ours["analytic"].as_object().into_iter().flatten() {
            compare(&format!("learner.analytic.{key}"), value, &theirs["analytic"][key]);
        }
        Ok(differences)
    }
}

fn settings(config: &LearnerConfig) -> Result<Value> {
    serde_json::to_value(config).map_err(|error| Error::internal("the settings have no JSON form").caused_by(error))
}
