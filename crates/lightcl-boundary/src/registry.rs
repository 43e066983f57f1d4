//! Detectors by name: one row each.

use crate::scalar::{
    AdwinConfig, BayesianConfig, CusumConfig, DdmConfig, EddmConfig, HddmAConfig, HddmWConfig, KswinConfig,
    PageHinkleyConfig,
};
use crate::signal::{ScalarSettings, SignalConfig, SignalDetector};
use crate::{
    AnyOf, AutoConfig, AutoDetector, AutoSignal, CalendarConfig, CalendarDetector, ErrorConfig, EveryConfig,
    EveryDetector, MmdConfig, MmdDetector, NeverDetector, NewClassesConfig, NewClassesDetector, TaskColumnDetector,
};
use lightcl_core::{BoundaryDetector, Error, Result};
use serde::{Deserialize, Serialize};

/// Settings of every detector that has some. Only those that are named in the list to [`build`] matter.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectorConfigs {
    /// Of `auto`, and of its signals one by one.
    pub auto: AutoConfig,
    /// Of `error`.
    pub error: ErrorConfig,
    /// Of `new_classes`.
    pub new_classes: NewClassesConfig,
    /// Of `every`.
    pub every: EveryConfig,
    /// Of `calendar`.
    pub calendar: CalendarConfig,
    /// Of `mmd`.
    pub mmd: MmdConfig,
    /// Of `adwin`.
    pub adwin: SignalConfig<AdwinConfig>,
    /// Of `page_hinkley`.
    pub page_hinkley: SignalConfig<PageHinkleyConfig>,
    /// Of `ddm`.
    pub ddm: SignalConfig<DdmConfig>,
    /// Of `eddm`.
    pub eddm: SignalConfig<EddmConfig>,
    /// Of `hddm_a`.
    pub hddm_a: SignalConfig<HddmAConfig>,
    /// Of `hddm_w`.
    pub hddm_w: SignalConfig<HddmWConfig>,
    /// Of `kswin`.
    pub kswin: SignalConfig<KswinConfig>,
    /// Of `cusum`.
    pub cusum: SignalConfig<CusumConfig>,
    /// Of `bayesian`.
    pub bayesian: SignalConfig<BayesianConfig>,
}

/// One detector in the registry.
struct Entry {
    name: &'static str,
    description: &'static str,
    make: fn(&DetectorConfigs) -> Result<Box<dyn BoundaryDetector>>,
}

/// A new detector is one file and one row here.
const REGISTRY: &[Entry] = &[
    Entry {
        name: "auto",
        description: "classes, inputs, rule, errors or class shares change, by stated rules",
        make: |configs| Ok(Box::new(AutoDetector::new(configs.auto.clone())?)),
    },
    Entry {
        name: "new_classes",
        description: "labels come from classes that the task did not have",
        make: |configs| Ok(Box::new(NewClassesDetector::new(configs.new_classes.clone())?)),
    },
    Entry {
        name: "error",
        description: "the prequential error rises (ADWIN)",
        make: |configs| Ok(Box::new(configs.error.detector()?)),
    },
    Entry {
        name: "input",
        description: "the inputs lie elsewhere",
        make: |configs| Ok(Box::new(AutoDetector::only(AutoSignal::Input, configs.auto.clone())?)),
    },
    Entry {
        name: "activations",
        description: "the frozen prefix's outputs lie elsewhere",
        make: |configs| Ok(Box::new(AutoDetector::only(AutoSignal::Activations, configs.auto.clone())?)),
    },
    Entry {
        name: "rule",
        description: "inputs and labels are related in another way",
        make: |configs| Ok(Box::new(AutoDetector::only(AutoSignal::Rule, configs.auto.clone())?)),
    },
    Entry {
        name: "calibration",
        description: "what was predicted of the inputs no longer holds",
        make: |configs| Ok(Box::new(AutoDetector::only(AutoSignal::Calibration, configs.auto.clone())?)),
    },
    Entry {
        name: "residual",
        description: "labels are less predictable from the inputs",
        make: |configs| Ok(Box::new(AutoDetector::only(AutoSignal::Residual, configs.auto.clone())?)),
    },
    Entry {
        name: "novelty",
        description: "inputs are unlike those seen before",
        make: |configs| Ok(Box::new(AutoDetector::only(AutoSignal::Novelty, configs.auto.clone())?)),
    },
    Entry {
        name: "class_shares",
        description: "the shares of the classes shift, or a class is gone",
        make: |configs| Ok(Box::new(AutoDetector::only(AutoSignal::ClassShares, configs.auto.clone())?)),
    },
    Entry {
        name: "task_column",
        description: "the task column names another task",
        make: |_| Ok(Box::new(TaskColumnDetector::new())),
    },
    Entry {
        name: "every",
        description: "a fixed number of samples has passed",
        make: |configs| Ok(Box::new(EveryDetector::new(configs.every.clone())?)),
    },
    Entry {
        name: "calendar",
        description: "the event time enters another hour, day, week or month",
        make: |configs| Ok(Box::new(CalendarDetector::new(&configs.calendar)?)),
    },
    Entry {
        name: "mmd",
        description: "inputs or activations are distributed otherwise (maximum mean discrepancy)",
        make: |configs| Ok(Box::new(MmdDetector::new(configs.mmd.clone())?)),
    },
    Entry {
        name: "adwin",
        description: "the mean of a signal changes (adaptive window)",
        make: |configs| on_signal(&configs.adwin),
    },
    Entry {
        name: "page_hinkley",
        description: "the mean of a signal changes (Page-Hinkley test)",
        make: |configs| on_signal(&configs.page_hinkley),
    },
    Entry {
        name: "ddm",
        description: "the error rate leaves its lowest point (DDM)",
        make: |configs| on_signal(&configs.ddm),
    },
    Entry { name: "eddm", description: "errors lie closer together (EDDM)", make: |configs| on_signal(&configs.eddm) },
    Entry {
        name: "hddm_a",
        description: "the mean of errors or margins changes abruptly (Hoeffding's bound)",
        make: |configs| on_signal(&configs.hddm_a),
    },
    Entry {
        name: "hddm_w",
        description: "the mean of errors or margins changes gradually (McDiarmid's bound)",
        make: |configs| on_signal(&configs.hddm_w),
    },
    Entry {
        name: "kswin",
        description: "a signal is distributed otherwise (Kolmogorov-Smirnov windows)",
        make: |configs| on_signal(&configs.kswin),
    },
    Entry {
        name: "cusum",
        description: "the mean of a signal changes by standard deviations (CUSUM)",
        make: |configs| on_signal(&configs.cusum),
    },
    Entry {
        name: "bayesian",
        description: "a signal's current run probably began lately (Bayesian change points)",
        make: |configs| on_signal(&configs.bayesian),
    },
    Entry { name: "never", description: "the whole stream is one task", make: |_| Ok(Box::new(NeverDetector)) },
];

fn on_signal<C: ScalarSettings>(config: &SignalConfig<C>) -> Result<Box<dyn BoundaryDetector>> {
    Ok(Box::new(SignalDetector::new(config)?))
}

/// Name and one-line description of every detector.
pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    REGISTRY.iter().map(|entry| (entry.name, entry.description))
}

/// Makes the detectors named; several are combined by [`AnyOf`] in the order given. An empty list never fires.
///
/// ```
/// use lightcl_boundary::{DetectorConfigs, build};
///
/// let names = ["new_classes".to_owned(), "error".to_owned()];
/// assert_eq!(build(&names, &DetectorConfigs::default())?.name(), "any");
/// assert!(build(&["eror".to_owned()], &DetectorConfigs::default()).is_err());
/// # Ok::<(), lightcl_core::Error>(())
/// ```
///
/// # Errors
/// When a name is unknown or named twice, or a setting of a named detector is out of range.
pub fn build(names: &[String], configs: &DetectorConfigs) -> Result<Box<dyn BoundaryDetector>> {
    let mut detectors = names.iter().map(|name| make(name, configs)).collect::<Result<Vec<_>>>()?;
    match detectors.len() {
        0 => Ok(Box::new(NeverDetector)),
        1 => Ok(detectors.remove(0)),
        _ => Ok(Box::new(AnyOf::new(detectors)?)),
    }
}

fn make(name: &str, configs: &DetectorConfigs) -> Result<Box<dyn BoundaryDetector>> {
    let Some(entry) = REGISTRY.iter().find(|entry| entry.name == name) else {
        let known: Vec<&str> = REGISTRY.iter().map(|entry| entry.name).collect();
        return Err(
            Error::user(format!("no such boundary detector; there are {}", known.join(", "))).with("detector", name)
        );
    };
    (entry.make)(configs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lightcl_core::ErrorKind;

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn every_name_builds_a_detector_of_that_name() {
        for (name, description) in names() {
            assert_eq!(build(&owned(&[name]), &DetectorConfigs::default()).unwrap().name(), name);
            assert!(!description.is_empty());
        }
        assert_eq!(build(&[], &DetectorConfigs::default()).unwrap().name(), "never");
    }

    #[test]
    fn an_unknown_name_is_a_user_error_that_lists_the_names() {
        let error = build(&owned(&["new_class"]), &DetectorConfigs::default()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::User);
        assert!(error.to_string().contains("auto, new_classes, error, input"), "{error}");
    }

    #[test]
    fn a_name_given_twice_and_a_bad_setting_are_refused() {
        assert!(build(&owned(&["error", "error"]), &DetectorConfigs::default()).is_err());
        let configs = DetectorConfigs { every: EveryConfig { every_samples: 0 }, ..DetectorConfigs::default() };
        assert!(build(&owned(&["every"]), &configs).is_err());
        assert!(build(&owned(&["never"]), &configs).is_ok());
    }

    #[test]
    fn settings_are_read_with_defaults_and_unknown_keys_refused() {
        let configs: DetectorConfigs = serde_json::from_str(r#"{"error": {"delta": 0.01}}"#).unwrap();
        assert_eq!(configs.error, ErrorConfig { delta: 0.01, ..ErrorConfig::default() });
        assert_eq!(configs.new_classes, NewClassesConfig::default());
        assert!(serde_json::from_str::<DetectorConfigs>(r#"{"error": {"dleta": 0.01}}"#).is_err());
    }
}
