//! Which detector can watch what.

use super::{Signal, Values};
use crate::scalar::{
    Adwin, AdwinConfig, Bayesian, BayesianConfig, BayesianModel, Cusum, CusumConfig, Ddm, DdmConfig, Eddm, EddmConfig,
    HddmA, HddmAConfig, HddmW, HddmWConfig, Kswin, KswinConfig, Mode, PageHinkley, PageHinkleyConfig, ScalarDetector,
};
use lightcl_core::Result;
use serde::{Deserialize, Serialize};

/// Settings of a change detector that can watch a signal.
pub trait ScalarSettings: Clone + Default + Serialize + for<'de> Deserialize<'de> {
    /// The detector's name in the registry.
    const NAME: &'static str;
    /// What it watches unless told otherwise.
    const DEFAULT_SIGNAL: Signal;
    /// How to make it find rises and falls; the end of a sentence.
    const HOW_TO_FIND_BOTH: &'static str = "";

    /// What values it is made for.
    fn values(&self) -> Values {
        Values::Real
    }

    /// Which changes it can find.
    fn finds(&self) -> Mode {
        Mode::Both
    }

    /// The detector and the settings that matter, for a person.
    fn summary(&self) -> String;

    /// A detector with these settings.
    ///
    /// # Errors
    /// When a setting is out of range.
    fn detector(&self) -> Result<Box<dyn ScalarDetector>>;
}

impl ScalarSettings for AdwinConfig {
    const NAME: &'static str = "adwin";
    const DEFAULT_SIGNAL: Signal = Signal::Loss;

    fn summary(&self) -> String {
        format!("ADWIN, delta {}", self.delta)
    }

    fn detector(&self) -> Result<Box<dyn ScalarDetector>> {
        Ok(Box::new(Adwin::new(self.clone())?))
    }
}

impl ScalarSettings for PageHinkleyConfig {
    const NAME: &'static str = "page_hinkley";
    const DEFAULT_SIGNAL: Signal = Signal::Loss;
    const HOW_TO_FIND_BOTH: &'static str = ", or page_hinkley's mode to \"both\"";

    fn finds(&self) -> Mode {
        self.mode
    }

    fn summary(&self) -> String {
        format!("Page-Hinkley, threshold {}, delta {}", self.threshold, self.delta)
    }

    fn detector(&self) -> Result<Box<dyn ScalarDetector>> {
        Ok(Box::new(PageHinkley::new(self.clone())?))
    }
}

impl ScalarSettings for DdmConfig {
    const NAME: &'static str = "ddm";
    const DEFAULT_SIGNAL: Signal = Signal::Error;
    const HOW_TO_FIND_BOTH: &'static str = " to \"rise\": ddm finds nothing else";

    fn values(&self) -> Values {
        Values::ZeroOrOne
    }

    fn finds(&self) -> Mode {
        Mode::Up
    }

    fn summary(&self) -> String {
        format!("DDM, {} standard deviations", self.drift_threshold)
    }

    fn detector(&self) -> Result<Box<dyn ScalarDetector>> {
        Ok(Box::new(Ddm::new(self.clone())?))
    }
}

impl ScalarSettings for EddmConfig {
    const NAME: &'static str = "eddm";
    const DEFAULT_SIGNAL: Signal = Signal::Error;
    const HOW_TO_FIND_BOTH: &'static str = " to \"rise\": eddm finds nothing else";

    fn values(&self) -> Values {
        Values::ZeroOrOne
    }

    fn finds(&self) -> Mode {
        Mode::Up
    }

    fn summary(&self) -> String {
        format!("EDDM, beta {}", self.beta)
    }

    fn detector(&self) -> Result<Box<dyn ScalarDetector>> {
        Ok(Box::new(Eddm::new(self.clone())?))
    }
}

impl ScalarSettings for HddmAConfig {
    const NAME: &'static str = "hddm_a";
    const DEFAULT_SIGNAL: Signal = Signal::Error;
    const HOW_TO_FIND_BOTH: &'static str = ", or hddm_a's two_sided_test to true";

    fn values(&self) -> Values {
        Values::ZeroToOne
    }

    fn finds(&self) -> Mode {
        if self.two_sided_test { Mode::Both } else { Mode::Up }
    }

    fn summary(&self) -> String {
        format!("HDDM-A, confidence {}", self.drift_confidence)
    }

    fn detector(&self) -> Result<Box<dyn ScalarDetector>> {
        Ok(Box::new(HddmA::new(self.clone())?))
    }
}

impl ScalarSettings for HddmWConfig {
    const NAME: &'static str = "hddm_w";
    const DEFAULT_SIGNAL: Signal = Signal::Error;
    const HOW_TO_FIND_BOTH: &'static str = ", or hddm_w's two_sided_test to true";

    fn values(&self) -> Values {
        Values::ZeroToOne
    }

    fn finds(&self) -> Mode {
        if self.two_sided_test { Mode::Both } else { Mode::Up }
    }

    fn summary(&self) -> String {
        format!("HDDM-W, confidence {}, lambda {}", self.drift_confidence, self.lambda)
    }

    fn detector(&self) -> Result<Box<dyn ScalarDetector>> {
        Ok(Box::new(HddmW::new(self.clone())?))
    }
}

impl ScalarSettings for KswinConfig {
    const NAME: &'static str = "kswin";
    const DEFAULT_SIGNAL: Signal = Signal::Loss;

    fn summary(&self) -> String {
        format!("KSWIN, alpha {}, window of {}", self.alpha, self.window_size)
    }

    fn detector(&self) -> Result<Box<dyn ScalarDetector>> {
        Ok(Box::new(Kswin::new(self.clone())?))
    }
}

impl ScalarSettings for CusumConfig {
    const NAME: &'static str = "cusum";
    const DEFAULT_SIGNAL: Signal = Signal::Loss;
    const HOW_TO_FIND_BOTH: &'static str = ", or cusum's mode to \"both\"";

    fn finds(&self) -> Mode {
        self.mode
    }

    fn summary(&self) -> String {
        format!("CUSUM, threshold {}, slack {}", self.threshold, self.slack)
    }

    fn detector(&self) -> Result<Box<dyn ScalarDetector>> {
        Ok(Box::new(Cusum::new(self.clone())?))
    }
}

impl ScalarSettings for BayesianConfig {
    const NAME: &'static str = "bayesian";
    const DEFAULT_SIGNAL: Signal = Signal::Loss;

    fn values(&self) -> Values {
        match self.model {
            BayesianModel::Mean | BayesianModel::Normal => Values::Real,
            BayesianModel::Bernoulli => Values::ZeroOrOne,
        }
    }

    fn summary(&self) -> String {
        format!("Bayesian change points, a run of {} expected", self.expected_run_length)
    }

    fn detector(&self) -> Result<Box<dyn ScalarDetector>> {
        Ok(Box::new(Bayesian::new(self.clone())?))
    }
}
