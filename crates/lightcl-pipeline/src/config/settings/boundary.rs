//! `[boundary]`: how a new task is noticed.

use super::calendar::CalendarDetector;
use super::detectors::{
    AdwinDetector, BayesianDetector, CusumDetector, DdmDetector, EddmDetector, HddmADetector, HddmWDetector,
    KswinDetector, MmdDetector, PageHinkleyDetector,
};
use lightcl_boundary::{AutoConfig, AutoSignal, ErrorConfig, NewClassesConfig, RegimesConfig};
use lightcl_stream::OperatorConfig;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// How a new task is noticed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Boundary {
    /// One detector, or a list of them of which the first that fires decides; with none the whole stream is one task.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(schema_with = "detector_names")]
    pub detect: Vec<String>,
    /// Short for sample.task = ".." and the detector task_column.
    #[schemars(length(min = 1))]
    pub task_column: Option<String>,
    /// Samples in a task; adds the detector every.
    #[schemars(range(min = 1))]
    pub every_samples: Option<u64>,
    /// Learnt windows that can be undone when a task turns out to have begun earlier; 0 for none.
    #[schemars(range(max = 10_000))]
    pub rollback_batches: usize,
    /// Most bytes that those windows may hold; the oldest go first.
    pub rollback_bytes: u64,
    /// Settings of the detector auto and of its signals one by one (input, activations, rule, calibration,
    /// residual, novelty, class_shares).
    pub auto: AutoDetector,
    /// Settings of the detector error: ADWIN on the prequential error.
    pub error: ErrorDetector,
    /// Settings of the detector new_classes: a class set that changes.
    pub new_classes: NewClassesDetector,
    /// Settings of the detector calendar: the event time enters another hour, day, week or month.
    pub calendar: CalendarDetector,
    /// Settings of the detector mmd: inputs or activations are distributed otherwise (maximum mean discrepancy).
    pub mmd: MmdDetector,
    /// Settings of the detector adwin: the mean of a signal changes (adaptive window).
    pub adwin: AdwinDetector,
    /// Settings of the detector page_hinkley: the mean of a signal changes (Page-Hinkley test).
    pub page_hinkley: PageHinkleyDetector,
    /// Settings of the detector ddm: the error rate leaves its lowest point.
    pub ddm: DdmDetector,
    /// Settings of the detector eddm: errors lie closer together.
    pub eddm: EddmDetector,
    /// Settings of the detector hddm_a: the mean of errors or margins changes abruptly.
    pub hddm_a: HddmADetector,
    /// Settings of the detector hddm_w: the mean of errors or margins changes gradually.
    pub hddm_w: HddmWDetector,
    /// Settings of the detector kswin: a signal is distributed otherwise.
    pub kswin: KswinDetector,
    /// Settings of the detector cusum: the mean of a signal changes by standard deviations.
    pub cusum: CusumDetector,
    /// Settings of the detector bayesian: a signal's current run probably began lately.
    pub bayesian: BayesianDetector,
    /// What happens to tasks that return, and how many are held.
    pub regimes: Regimes,
}

impl Default for Boundary {
    fn default() -> Self {
        let operator = OperatorConfig::new("");
        Boundary {
            detect: vec!["auto".to_owned()],
            task_column: None,
            every_samples: None,
            rollback_batches: operator.rollback_windows,
            rollback_bytes: operator.rollback_bytes,
            auto: AutoDetector::default(),
            error: ErrorDetector::default(),
            new_classes: NewClassesDetector::default(),
            calendar: CalendarDetector::default(),
            mmd: MmdDetector::default(),
            adwin: AdwinDetector::default(),
            page_hinkley: PageHinkleyDetector::default(),
            ddm: DdmDetector::default(),
            eddm: EddmDetector::default(),
            hddm_a: HddmADetector::default(),
            hddm_w: HddmWDetector::default(),
            kswin: KswinDetector::default(),
            cusum: CusumDetector::default(),
            bayesian: BayesianDetector::default(),
            regimes: Regimes::default(),
        }
    }
}

/// The sections that belong to detectors, each with the detectors that go by it.
const SECTIONS: &[(&str, &[&str])] = &[
    ("auto", &["auto", "input", "activations", "rule", "calibration", "residual", "novelty", "class_shares"]),
    ("error", &["error"]),
    ("new_classes", &["new_classes"]),
    ("calendar", &["calendar"]),
    ("mmd", &["mmd"]),
    ("adwin", &["adwin"]),
    ("page_hinkley", &["page_hinkley"]),
    ("ddm", &["ddm"]),
    ("eddm", &["eddm"]),
    ("hddm_a", &["hddm_a"]),
    ("hddm_w", &["hddm_w"]),
    ("kswin", &["kswin"]),
    ("cusum", &["cusum"]),
    ("bayesian", &["bayesian"]),
];

impl Boundary {
    /// Whether the detector is in the list.
    pub fn detects(&self, name: &str) -> bool {
        self.detect.iter().any(|detector| detector == name)
    }

    /// The sections that belong to detectors: the detectors that go by it, and those of them that are in the list.
    pub(in crate::config) fn sections(&self) -> impl Iterator<Item = DetectorSection> + '_ {
        SECTIONS.iter().map(|&(name, detectors)| {
            let used = detectors.iter().copied().filter(|detector| self.detects(detector)).collect();
            DetectorSection { name, detectors, used }
        })
    }
}

/// A section that belongs to detectors.
pub(in crate::config) struct DetectorSection {
    /// Its name below `boundary`, which is a detector's name too.
    pub name: &'static str,
    /// The detectors that go by it.
    pub detectors: &'static [&'static str],
    /// Those of them that are in the list of detectors.
    pub used: Vec<&'static str>,
}

/// `"auto"` is short for `["auto"]`.
fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Names {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Names::deserialize(deserializer)? {
        Names::One(name) => vec![name],
        Names::Many(names) => names,
    })
}

/// A name from the registry of detectors, or a list of them.
fn detector_names(_: &mut SchemaGenerator) -> Schema {
    let names: Vec<_> = lightcl_boundary::names()
        .map(|(name, description)| serde_json::json!({ "const": name, "type": "string", "description": description }))
        .collect();
    let list = json_schema!({ "type": "array", "items": { "oneOf": names }, "uniqueItems": true });
    json_schema!({ "anyOf": [{ "oneOf": names }, list] })
}

/// Settings of the detector auto and of its signals one by one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AutoDetector {
    /// Signals that auto watches: input, activations, rule, calibration, residual, novelty, error, class_shares.
    #[schemars(schema_with = "signal_names")]
    pub signals: Vec<AutoSignal>,
    /// Whether classes that the task did not have are a boundary at once.
    pub new_classes: bool,
    /// No boundary within so many samples of the last one.
    pub min_task_samples: u64,
    /// Above 1 fires sooner and more often.
    #[schemars(range(min = 0.1, max = 10.0))]
    pub sensitivity: f64,
}

impl Default for AutoDetector {
    fn default() -> Self {
        let AutoConfig { signals, new_classes, min_task_samples, sensitivity, .. } = AutoConfig::default();
        AutoDetector { signals, new_classes, min_task_samples, sensitivity }
    }
}

/// A list of signals of the detector auto.
fn signal_names(_: &mut SchemaGenerator) -> Schema {
    let names: Vec<_> = AutoSignal::ALL
        .iter()
        .map(|signal| serde_json::json!({ "const": signal.name(), "type": "string", "description": signal.meaning() }))
        .collect();
    json_schema!({ "type": "array", "items": { "oneOf": names }, "uniqueItems": true })
}

/// Settings of the detector error: ADWIN on the prequential error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ErrorDetector {
    /// ADWIN's confidence; smaller fires later and more rarely.
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    pub delta: f64,
    /// The error rate must rise by at least this much.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub minimum_rise: f64,
    /// The change is placed within so many of the last errors.
    #[schemars(range(min = 10, max = 100_000))]
    pub history_samples: usize,
    /// No boundary within so many samples of the last one.
    pub min_task_samples: u64,
}

impl Default for ErrorDetector {
    fn default() -> Self {
        let ErrorConfig { delta, minimum_rise, history_samples, min_task_samples } = ErrorConfig::default();
        ErrorDetector { delta, minimum_rise, history_samples, min_task_samples }
    }
}

/// Settings of the detector new_classes: a class set that changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NewClassesDetector {
    /// The classes of at least so many first samples form the task's class set.
    #[schemars(range(min = 1))]
    pub settle_samples: u64,
    /// Fires when so many of the last confirm_window samples are of other classes.
    #[schemars(range(min = 1, max = 100_000))]
    pub confirm_samples: usize,
    /// How many of the last samples confirm_samples looks at.
    #[schemars(range(min = 1, max = 100_000))]
    pub confirm_window: usize,
}

impl Default for NewClassesDetector {
    fn default() -> Self {
        let NewClassesConfig { settle_samples, confirm_samples, confirm_window } = NewClassesConfig::default();
        NewClassesDetector { settle_samples, confirm_samples, confirm_window }
    }
}

/// What happens to tasks that return, and how many are held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Regimes {
    /// Whether a task seen before is recognised when it returns; otherwise every boundary opens a new one.
    pub recognise: bool,
    /// Most tasks held; when one more begins, the least recently used goes into the one nearest to it.
    #[schemars(range(min = 2, max = 1000))]
    pub most_tasks: usize,
}

impl Default for Regimes {
    fn default() -> Self {
        let RegimesConfig { recognise, most_tasks } = RegimesConfig::default();
        Regimes { recognise, most_tasks }
    }
}
