//! `[boundary.adwin]` and the like: change detectors on a signal of the learner, a section each.

use lightcl_boundary::scalar::{
    AdwinConfig, BayesianConfig, BayesianModel, CusumConfig, DdmConfig, EddmConfig, Follow, HddmAConfig, HddmWConfig,
    KswinConfig, Mode, PageHinkleyConfig,
};
use lightcl_boundary::{Direction, MmdConfig, MmdSignal, Signal, SignalConfig};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A section: a detector's own keys, and after them those that all detectors on a signal share. In the library the own
/// ones are a struct in the struct; in a file one flat table is easier to write. A key that the library has and the
/// section lacks does not compile.
macro_rules! section {
    ($(#[$about:meta])* $section:ident of $config:ident { $($(#[$meta:meta])* $key:ident: $type:ty,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct $section {
            $($(#[$meta])* pub $key: $type,)*
            /// What is watched.
            #[schemars(schema_with = "signals")]
            pub signal: Signal,
            /// Which change is a boundary. Default: a rise, or a fall of the margin.
            #[schemars(schema_with = "directions")]
            pub direction: Option<Direction>,
            /// No boundary within so many samples of the last one.
            pub min_task_samples: u64,
            /// The change is placed within so many of the last values.
            #[schemars(range(min = 10, max = 100_000))]
            pub history_samples: usize,
            /// The mean must change by at least this much.
            #[schemars(range(min = 0))]
            pub minimum_change: f64,
        }

        impl Default for $section {
            fn default() -> Self {
                let SignalConfig {
                    detector: $config { $($key,)* }, signal, direction, min_task_samples, history_samples, minimum_change
                } = SignalConfig::default();
                $section { $($key,)* signal, direction, min_task_samples, history_samples, minimum_change }
            }
        }

        impl From<$section> for SignalConfig<$config> {
            fn from(section: $section) -> Self {
                let $section { $($key,)* signal, direction, min_task_samples, history_samples, minimum_change } = section;
                let detector = $config { $($key,)* };
                SignalConfig { detector, signal, direction, min_task_samples, history_samples, minimum_change }
            }
        }
    };
}

section! {
    /// Settings of the detector adwin: a window that drops its past when the mean has changed.
    AdwinDetector of AdwinConfig {
        /// Confidence; smaller fires later and more rarely.
        #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
        delta: f64,
        /// A cut is looked for every so many values.
        #[schemars(range(min = 1))]
        clock: u64,
        /// Summaries of each size that are kept before two merge; more is finer and costs memory.
        #[schemars(range(min = 1, max = 1000))]
        max_buckets: usize,
        /// Each side of a cut has at least so many values.
        #[schemars(range(min = 1))]
        min_window_length: u64,
        /// No cut is looked for while the window has at most so many values.
        grace_period: u64,
        /// Whether the window is emptied after a change as in river, or goes on with what is left as in the paper.
        #[schemars(schema_with = "whom_to_follow")]
        follow: Follow,
    }
}

section! {
    /// Settings of the detector page_hinkley: the sum of deviations from the running mean leaves its extreme.
    PageHinkleyDetector of PageHinkleyConfig {
        /// No change is looked for in fewer values.
        min_instances: u64,
        /// Deviation a value that is put up with, in the unit of the signal.
        #[schemars(range(min = 0))]
        delta: f64,
        /// A change is a sum of deviations this far from its extreme, in the unit of the signal.
        #[schemars(range(min = 0))]
        threshold: f64,
        /// What is left of the sum after each value; 1 forgets nothing.
        #[schemars(range(max = 1), extend("exclusiveMinimum" = 0))]
        alpha: f64,
        /// Which changes are looked for.
        #[schemars(schema_with = "modes")]
        mode: Mode,
    }
}

section! {
    /// Settings of the detector ddm: the error rate leaves its lowest point.
    DdmDetector of DdmConfig {
        /// Nothing is looked for in the first so many values.
        warm_start: u64,
        /// A warning is a rate this many standard deviations above the lowest.
        #[schemars(range(min = 0))]
        warning_threshold: f64,
        /// A change is a rate this many standard deviations above the lowest.
        #[schemars(range(min = 0))]
        drift_threshold: f64,
        /// Whom to follow where river departs from the paper.
        #[schemars(schema_with = "whom_to_follow")]
        follow: Follow,
    }
}

section! {
    /// Settings of the detector eddm: errors lie closer together.
    EddmDetector of EddmConfig {
        /// Nothing is looked for before so many errors.
        warm_start: u64,
        /// A warning is a distance between errors below this share of the highest; at least beta.
        #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
        alpha: f64,
        /// A change is a distance between errors below this share of the highest.
        #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
        beta: f64,
        /// Whom to follow where river departs from the paper.
        #[schemars(schema_with = "whom_to_follow")]
        follow: Follow,
    }
}

section! {
    /// Settings of the detector hddm_a: the mean changes abruptly, by Hoeffding's bound.
    HddmADetector of HddmAConfig {
        /// The chance of a change where there is none, each test; smaller fires later and more rarely.
        #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
        drift_confidence: f64,
        /// The same of a warning.
        #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
        warning_confidence: f64,
        /// Whether falls are looked for beside rises.
        two_sided_test: bool,
        /// Whom to follow where river departs from the paper.
        #[schemars(schema_with = "whom_to_follow")]
        follow: Follow,
    }
}

section! {
    /// Settings of the detector hddm_w: the mean changes gradually, by McDiarmid's bound.
    HddmWDetector of HddmWConfig {
        /// The chance of a change where there is none, each test; smaller fires later and more rarely.
        #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
        drift_confidence: f64,
        /// The same of a warning.
        #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
        warning_confidence: f64,
        /// Weight of a new value in the weighted means.
        #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
        lambda: f64,
        /// Whether falls are looked for beside rises.
        two_sided_test: bool,
        /// Whom to follow where river departs from the paper.
        #[schemars(schema_with = "whom_to_follow")]
        follow: Follow,
    }
}

section! {
    /// Settings of the detector kswin: the newest values of a window are distributed unlike the rest.
    KswinDetector of KswinConfig {
        /// The chance that one test finds a change where there is none; a test is made at every value.
        #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
        alpha: f64,
        /// Values in the window.
        #[schemars(range(min = 2, max = 10_000))]
        window_size: usize,
        /// Newest values in it, which are compared with as many drawn from the rest; at most half of window_size.
        #[schemars(range(min = 1, max = 5000))]
        stat_size: usize,
        /// Seed of the draws.
        seed: u64,
        /// Whom to follow where river departs from the paper.
        #[schemars(schema_with = "whom_to_follow")]
        follow: Follow,
    }
}

section! {
    /// Settings of the detector cusum: deviations from the mean add up, in standard deviations.
    CusumDetector of CusumConfig {
        /// The first so many values only tell mean and standard deviation.
        #[schemars(range(min = 2))]
        warm_start: u64,
        /// Deviation a value that is put up with, in standard deviations; half the smallest change worth finding.
        #[schemars(range(min = 0))]
        slack: f64,
        /// A change is a sum above this, in standard deviations.
        #[schemars(range(min = 0))]
        threshold: f64,
        /// A single deviation counts at most this much, in standard deviations; above slack.
        #[schemars(range(min = 0))]
        largest_deviation: f64,
        /// Which changes are looked for.
        #[schemars(schema_with = "modes")]
        mode: Mode,
    }
}

section! {
    /// Settings of the detector bayesian: the current run of values probably began lately.
    BayesianDetector of BayesianConfig {
        /// How the values of a run are distributed.
        #[schemars(schema_with = "models")]
        model: BayesianModel,
        /// Values in a run that are expected before anything is seen; more fires more rarely.
        #[schemars(extend("exclusiveMinimum" = 1))]
        expected_run_length: f64,
        /// A change is a probability above this that a run began lately.
        #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
        threshold: f64,
        /// The first so many values only tell where the values lie and how far they spread.
        #[schemars(range(min = 2))]
        warm_start: u64,
        /// A run counts once it has so many values, so that a few outliers are no change; at most longest_run.
        #[schemars(range(min = 1))]
        shortest_run: u64,
        /// A run of more values did not begin lately.
        #[schemars(range(min = 1))]
        longest_run: u64,
        /// Run lengths that are kept at most; time and memory are proportional to it.
        #[schemars(range(min = 2, max = 10_000))]
        most_runs: usize,
        /// A value counts as at most this many standard deviations from the mean; not in the model bernoulli.
        #[schemars(extend("exclusiveMinimum" = 0))]
        largest_deviation: f64,
    }
}

/// Settings of the detector mmd: a two-sample test against a permutation threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MmdDetector {
    /// What the rows are compared by.
    #[schemars(schema_with = "compared")]
    pub signal: MmdSignal,
    /// Rows of the reference window: the first of a task.
    #[schemars(range(min = 16, max = 10_000))]
    pub reference_samples: usize,
    /// Rows of the recent window; a multiple of stride_samples.
    #[schemars(range(min = 8, max = 10_000))]
    pub recent_samples: usize,
    /// A test is made every so many rows.
    #[schemars(range(min = 1, max = 10_000))]
    pub stride_samples: usize,
    /// Random frequencies of the kernel, each a cosine and a sine.
    #[schemars(range(min = 1, max = 1024))]
    pub frequencies: usize,
    /// Permutations of the pooled rows that the threshold is taken from.
    #[schemars(range(min = 20, max = 10_000))]
    pub permutations: usize,
    /// The chance that one test of independent rows finds a change where there is none.
    #[schemars(range(min = 1e-12, max = 0.1))]
    pub level: f64,
    /// Tests in a row that must exceed the threshold.
    #[schemars(range(min = 1, max = 1000))]
    pub confirm_tests: u32,
    /// Seed of frequencies and permutations.
    pub seed: u64,
}

impl Default for MmdDetector {
    fn default() -> Self {
        let MmdConfig {
            signal,
            reference_samples,
            recent_samples,
            stride_samples,
            frequencies,
            permutations,
            level,
            confirm_tests,
            seed,
        } = MmdConfig::default();
        MmdDetector {
            signal,
            reference_samples,
            recent_samples,
            stride_samples,
            frequencies,
            permutations,
            level,
            confirm_tests,
            seed,
        }
    }
}

impl From<MmdDetector> for MmdConfig {
    fn from(section: MmdDetector) -> Self {
        let MmdDetector {
            signal,
            reference_samples,
            recent_samples,
            stride_samples,
            frequencies,
            permutations,
            level,
            confirm_tests,
            seed,
        } = section;
        MmdConfig {
            signal,
            reference_samples,
            recent_samples,
            stride_samples,
            frequencies,
            permutations,
            level,
            confirm_tests,
            seed,
        }
    }
}

/// One of some names, with what each means.
pub(super) fn one_of(names: &[(&str, &str)]) -> Schema {
    let names: Vec<_> = names
        .iter()
        .map(|(name, meaning)| serde_json::json!({ "const": name, "type": "string", "description": meaning }))
        .collect();
    json_schema!({ "oneOf": names })
}

fn compared(_: &mut SchemaGenerator) -> Schema {
    one_of(&[("input", "the inputs"), ("activations", "the outputs of the frozen prefix, once it is frozen")])
}

fn signals(_: &mut SchemaGenerator) -> Schema {
    one_of(&[
        ("error", "1 when the prediction was wrong or absent, else 0"),
        ("loss", "cross-entropy of the prediction"),
        ("margin", "difference between the two highest class probabilities"),
        ("entropy", "entropy of the class probabilities"),
        ("pattern_loss", "pattern loss of the last window learnt"),
    ])
}

fn directions(_: &mut SchemaGenerator) -> Schema {
    let named = one_of(&[("rise", "it rises"), ("fall", "it falls"), ("both", "either")]);
    json_schema!({ "anyOf": [named, { "type": "null" }] })
}

fn modes(_: &mut SchemaGenerator) -> Schema {
    one_of(&[("up", "rises"), ("down", "falls"), ("both", "rises and falls")])
}

fn whom_to_follow(_: &mut SchemaGenerator) -> Schema {
    one_of(&[("river", "river 0.26.1, index by index"), ("paper", "the paper that described the method")])
}

fn models(_: &mut SchemaGenerator) -> Schema {
    one_of(&[
        ("mean", "normally around an unknown mean; only another mean is a change"),
        ("normal", "normally, with unknown mean and variance; another variance is a change too"),
        ("bernoulli", "ones at an unknown rate, for the signal error"),
    ])
}
