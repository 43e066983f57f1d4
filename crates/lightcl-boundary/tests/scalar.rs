//! What holds for every change detector on one number, and what those without a reference find and leave alone.
#![allow(clippy::unwrap_used, reason = "a test")]

use lightcl_boundary::scalar::{
    Adwin, AdwinConfig, Bayesian, BayesianConfig, BayesianModel, Change, Cusum, CusumConfig, Ddm, DdmConfig, Eddm,
    EddmConfig, Follow, HddmA, HddmAConfig, HddmW, HddmWConfig, Kswin, KswinConfig, Mode, PageHinkley,
    PageHinkleyConfig, ScalarDetector,
};
use lightcl_testkit::{normal, seeded};
use proptest::prelude::*;
use rand::{Rng, RngExt};

type Make = Box<dyn Fn() -> Box<dyn ScalarDetector>>;

macro_rules! made {
    ($name:literal, $detector:ident, $config:expr) => {
        ($name, Box::new(|| Box::new($detector::new($config).unwrap()) as Box<dyn ScalarDetector>) as Make)
    };
}

/// Every detector with its default settings, and some with settings that fire more or less often.
fn detectors() -> Vec<(&'static str, Make)> {
    vec![
        made!("adwin", Adwin, AdwinConfig::default()),
        made!("adwin, every value", Adwin, AdwinConfig { delta: 0.3, clock: 1, ..AdwinConfig::default() }),
        made!(
            "adwin, paper",
            Adwin,
            AdwinConfig {
                delta: 0.1,
                clock: 1,
                min_window_length: 1,
                grace_period: 0,
                follow: Follow::Paper,
                ..AdwinConfig::default()
            }
        ),
        made!("page_hinkley", PageHinkley, PageHinkleyConfig::default()),
        made!(
            "page_hinkley, eager",
            PageHinkley,
            PageHinkleyConfig { threshold: 3.0, min_instances: 1, mode: Mode::Down, ..PageHinkleyConfig::default() }
        ),
        made!("ddm", Ddm, DdmConfig::default()),
        made!("ddm, paper", Ddm, DdmConfig { follow: Follow::Paper, warm_start: 5, ..DdmConfig::default() }),
        made!("eddm", Eddm, EddmConfig::default()),
        made!("eddm, paper", Eddm, EddmConfig { follow: Follow::Paper, warm_start: 5, ..EddmConfig::default() }),
        made!("hddm_a", HddmA, HddmAConfig::default()),
        made!(
            "hddm_a, paper",
            HddmA,
            HddmAConfig {
                follow: Follow::Paper,
                two_sided_test: true,
                drift_confidence: 0.2,
                ..HddmAConfig::default()
            }
        ),
        made!("hddm_w", HddmW, HddmWConfig::default()),
        made!(
            "hddm_w, paper",
            HddmW,
            HddmWConfig {
                follow: Follow::Paper,
                two_sided_test: true,
                drift_confidence: 0.2,
                ..HddmWConfig::default()
            }
        ),
        made!("kswin", Kswin, KswinConfig::default()),
        made!(
            "kswin, paper",
            Kswin,
            KswinConfig { follow: Follow::Paper, window_size: 24, stat_size: 8, alpha: 0.05, ..KswinConfig::default() }
        ),
        made!("cusum", Cusum, CusumConfig::default()),
        made!("cusum, eager", Cusum, CusumConfig { warm_start: 5, threshold: 3.0, ..CusumConfig::default() }),
        made!("bayesian", Bayesian, BayesianConfig::default()),
        made!(
            "bayesian, few runs",
            Bayesian,
            BayesianConfig { most_runs: 5, warm_start: 3, shortest_run: 2, ..BayesianConfig::default() }
        ),
        made!(
            "bayesian, normal",
            Bayesian,
            BayesianConfig { model: BayesianModel::Normal, ..BayesianConfig::default() }
        ),
        made!(
            "bayesian, bernoulli",
            Bayesian,
            BayesianConfig { model: BayesianModel::Bernoulli, ..BayesianConfig::default() }
        ),
    ]
}

fn run(detector: &mut dyn ScalarDetector, values: &[f64]) -> Vec<Change> {
    values.iter().map(|&value| detector.update(value)).collect()
}

fn detections(changes: &[Change]) -> Vec<usize> {
    (0..changes.len()).filter(|&i| changes[i].is_detected()).collect()
}

/// Some values in a row of one kind.
fn stretch() -> impl Strategy<Value = Vec<f64>> {
    let length = 1_usize..150;
    prop_oneof![
        4 => (length.clone(), 0.0..1.0_f64, any::<u64>()).prop_map(|(length, rate, seed)| {
            let mut random = seeded(seed);
            (0..length).map(|_| f64::from(u8::from(random.random_bool(rate)))).collect()
        }),
        4 => (length.clone(), -3.0..3.0_f64, 0.0..2.0_f64, any::<u64>()).prop_map(|(length, mean, spread, seed)| {
            let mut random = seeded(seed);
            (0..length).map(|_| mean + spread * normal(&mut random)).collect()
        }),
        1 => (length, prop_oneof![Just(0.0), Just(-0.0), Just(1.0), Just(1e300), Just(-1e300), Just(1e-300)])
            .prop_map(|(length, value)| vec![value; length]),
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), any::<f64>()]
            .prop_map(|value| vec![value]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_state_saved_and_restored_at_every_index_fires_as_the_uninterrupted_one(
        stretches in prop::collection::vec(stretch(), 1..8)
    ) {
        let values = stretches.concat();
        for (name, make) in detectors() {
            let (mut plain, mut relay) = (make(), make());
            for (index, &value) in values.iter().enumerate() {
                let bytes = relay.save().unwrap();
                relay = make();
                let restored = relay.restore(&bytes);
                prop_assert!(restored.is_ok(), "{name} refuses its own state before {index}: {restored:?}");
                prop_assert_eq!(relay.update(value), plain.update(value), "{} at {}", name, index);
            }
            prop_assert_eq!(relay.save().unwrap(), plain.save().unwrap(), "{}", name);
        }
    }

    #[test]
    fn values_that_are_not_finite_are_left_out(
        stretches in prop::collection::vec(stretch(), 1..5), every in 1_usize..9
    ) {
        let values: Vec<f64> = stretches.concat().into_iter().filter(|value| value.is_finite()).collect();
        for (name, make) in detectors() {
            let (mut plain, mut disturbed) = (make(), make());
            for (index, &value) in values.iter().enumerate() {
                if index % every == 0 {
                    for other in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                        prop_assert!(!disturbed.update(other).is_detected(), "{name} at {index}");
                    }
                }
                prop_assert_eq!(disturbed.update(value), plain.update(value), "{} at {}", name, index);
            }
        }
    }
}

#[test]
fn a_constant_is_never_a_change() {
    for (name, make) in detectors() {
        for constant in [0.0, 1.0, 0.1, -3.7, 1e-300, 1e300, -1e300, f64::MAX] {
            let changes = run(make().as_mut(), &vec![constant; 20_000]);
            assert_eq!(detections(&changes).len(), 0, "{name}, {constant:e}");
            let warnings = changes.iter().filter(|&&change| change == Change::Warning).count();
            assert_eq!(warnings, 0, "{name}, {constant:e}");
        }
    }
}

#[test]
fn a_step_from_one_constant_to_another_does_not_set_off_a_storm() {
    for (name, make) in detectors() {
        // ADWIN as in the paper goes on with the newer part of its window, and drops the rest little by little.
        for (low, high) in [(0.0, 1.0), (1e-9, 1.0), (0.2, 0.9), (0.0, 1e300)] {
            let values: Vec<f64> = (0..20_000).map(|i| if i < 10_000 { low } else { high }).collect();
            let found = detections(&run(make().as_mut(), &values));
            assert!(found.len() <= 20, "{name}, {low} to {high:e}: {} changes", found.len());
            assert!(found.iter().all(|&index| index >= 10_000), "{name}, {low} to {high:e}: {found:?}");
        }
    }
}

#[test]
fn after_wild_values_and_a_reset_a_clear_rise_is_found() {
    let mut random = seeded(1);
    let wild: Vec<f64> = (0..3000)
        .map(|_| [1e300, -1e300, f64::MAX, f64::NAN, f64::INFINITY, 0.0, 5e-324][random.random_range(0..7)])
        .collect();
    let rise: Vec<f64> =
        (0..2000).map(|i| f64::from(u8::from(random.random_bool(if i < 1000 { 0.1 } else { 0.9 })))).collect();
    for (name, make) in detectors().into_iter().filter(|(name, _)| !name.contains(", ")) {
        let mut detector = make();
        run(detector.as_mut(), &wild);
        detector.reset();
        let changes = run(detector.as_mut(), &rise);
        assert!((1000..1300).any(|index| changes[index] == Change::Rise), "{name}: {:?}", detections(&changes));
    }
}

#[test]
fn a_reset_is_as_a_new_detector_and_one_value_is_enough_to_save() {
    let mut random = seeded(2);
    for (name, make) in detectors() {
        let mut detector = make();
        detector.reset();
        assert_eq!(detector.update(1.0), Change::Stable, "{name}");
        let bytes = detector.save().unwrap();
        detector.reset();
        detector.restore(&bytes).unwrap();
        if name.starts_with("kswin") {
            continue; // Its draws go on.
        }
        (0..500).for_each(|_| {
            detector.update(normal(&mut random));
        });
        detector.reset();
        assert_eq!(detector.save().unwrap(), make().save().unwrap(), "{name}");
    }
}

#[test]
fn states_of_another_detector_and_damaged_ones_are_refused() {
    let all = detectors();
    for (name, make) in &all {
        let mut detector = make();
        run(detector.as_mut(), &[0.0, 1.0, 1.0, 0.0, 0.5]);
        let good = detector.save().unwrap();
        for end in 0..good.len() {
            assert!(detector.restore(&good[..end]).is_err(), "{name}: cut at {end}");
        }
        for (other, make_other) in &all {
            let differs = name.split(',').next() != other.split(',').next();
            assert!(!differs || detector.restore(&make_other().save().unwrap()).is_err(), "{name} takes {other}");
        }
        assert_eq!(detector.save().unwrap(), good);
    }
}

/// One value of a kind of signal; `shift` moves its mean by about that many standard deviations.
fn draw(kind: &str, random: &mut impl Rng, shift: f64) -> f64 {
    match kind {
        "normal" => normal(random) + shift,
        "exponential" => -(1.0 - random.random::<f64>()).ln() * (1.0 + shift),
        "errors" => f64::from(u8::from(random.random_bool(0.2 + 0.4 * shift))),
        _ => {
            // The loss of a learner that is sure of itself, and wrong now and then: far from normal.
            let confidence = random.random_range(0.5..0.999_f64);
            let wrong = random.random_bool(0.12 + 0.3 * shift);
            if wrong { -(1.0 - confidence).ln() } else { -confidence.ln() }
        }
    }
}

#[test]
fn cusum_and_bayesian_find_a_shift_of_the_mean_and_rarely_fire_when_nothing_changes() {
    for (name, make) in detectors().into_iter().filter(|(name, _)| ["cusum", "bayesian"].contains(name)) {
        for kind in ["normal", "exponential", "errors", "losses"] {
            let mut random = seeded(11);
            let stable: Vec<f64> = (0..200_000).map(|_| draw(kind, &mut random, 0.0)).collect();
            let alarms = detections(&run(make().as_mut(), &stable)).len();
            let mut delays = Vec::new();
            for _ in 0..50 {
                let mut at = |i| draw(kind, &mut random, if i < 1000 { 0.0 } else { 1.0 });
                let values: Vec<f64> = (0..1500).map(&mut at).collect();
                let changes = run(make().as_mut(), &values);
                delays.extend((1000..1500).find(|&index| changes[index] == Change::Rise).map(|index| index - 1000));
            }
            delays.sort_unstable();
            let median = delays[delays.len() / 2];
            println!("{name}, {kind}: {alarms} false alarms, {} of 50 found, after {median} values", delays.len());
            assert!(alarms <= 4, "{name}, {kind}: {alarms} in 200,000 values");
            assert!(delays.len() >= 40 && median <= 100, "{name}, {kind}: {delays:?}");
        }
    }
}

#[test]
fn a_bayesian_with_an_unknown_variance_sees_a_change_of_spread_alone() {
    let mut random = seeded(3);
    let values: Vec<f64> = (0..2000).map(|i| normal(&mut random) * if i < 1000 { 1.0 } else { 3.0 }).collect();
    let found = |model| {
        let config = BayesianConfig { model, largest_deviation: 1e6, ..BayesianConfig::default() };
        detections(&run(&mut Bayesian::new(config).unwrap(), &values))
    };
    assert!((1000..1060).contains(&found(BayesianModel::Normal)[0]), "{:?}", found(BayesianModel::Normal));
}

#[test]
fn settings_out_of_range_are_refused_with_their_name() {
    let refused = |error: Option<lightcl_core::Error>, name: &str| {
        let error = error.unwrap();
        assert_eq!(error.kind(), lightcl_core::ErrorKind::User);
        assert!(error.to_string().contains(name), "{error}");
    };
    let page_hinkley = PageHinkleyConfig::default();
    refused(PageHinkley::new(PageHinkleyConfig { alpha: 1.1, ..page_hinkley.clone() }).err(), "alpha");
    refused(PageHinkley::new(PageHinkleyConfig { threshold: f64::NAN, ..page_hinkley.clone() }).err(), "threshold");
    refused(PageHinkley::new(PageHinkleyConfig { delta: -1.0, ..page_hinkley }).err(), "delta");
    refused(Ddm::new(DdmConfig { drift_threshold: 1.0, ..DdmConfig::default() }).err(), "drift_threshold");
    refused(Ddm::new(DdmConfig { warning_threshold: -1.0, ..DdmConfig::default() }).err(), "warning_threshold");
    refused(Eddm::new(EddmConfig { alpha: 0.5, ..EddmConfig::default() }).err(), "beta");
    refused(Eddm::new(EddmConfig { beta: 0.0, ..EddmConfig::default() }).err(), "beta");
    refused(HddmA::new(HddmAConfig { drift_confidence: 0.0, ..HddmAConfig::default() }).err(), "drift_confidence");
    refused(HddmW::new(HddmWConfig { lambda: 1.0, ..HddmWConfig::default() }).err(), "lambda");
    let kswin = KswinConfig::default();
    refused(Kswin::new(KswinConfig { stat_size: 51, ..kswin.clone() }).err(), "stat_size");
    refused(Kswin::new(KswinConfig { stat_size: 3, ..kswin.clone() }).err(), "alpha is so small");
    refused(Kswin::new(KswinConfig { window_size: 1_000_000, ..kswin }).err(), "window_size");
    refused(Cusum::new(CusumConfig { warm_start: 1, ..CusumConfig::default() }).err(), "warm_start");
    refused(Cusum::new(CusumConfig { largest_deviation: 0.2, ..CusumConfig::default() }).err(), "largest_deviation");
    let bayesian = BayesianConfig::default();
    refused(Bayesian::new(BayesianConfig { expected_run_length: 1.0, ..bayesian.clone() }).err(), "expected_run");
    refused(Bayesian::new(BayesianConfig { shortest_run: 500, ..bayesian.clone() }).err(), "shortest_run");
    refused(Bayesian::new(BayesianConfig { largest_deviation: 0.0, ..bayesian.clone() }).err(), "largest_deviation");
    refused(Bayesian::new(BayesianConfig { most_runs: 1, ..bayesian }).err(), "most_runs");
}

#[test]
fn settings_are_read_with_defaults_and_unknown_ones_refused() {
    let config: PageHinkleyConfig = serde_json::from_str(r#"{"mode": "up", "threshold": 20}"#).unwrap();
    assert_eq!(config, PageHinkleyConfig { mode: Mode::Up, threshold: 20.0, ..PageHinkleyConfig::default() });
    let config: EddmConfig = serde_json::from_str(r#"{"follow": "paper"}"#).unwrap();
    assert_eq!(config.follow, Follow::Paper);
    assert!(serde_json::from_str::<KswinConfig>(r#"{"windowsize": 10}"#).is_err());
    assert!(serde_json::from_str::<BayesianConfig>(r#"{"model": "poisson"}"#).is_err());
}
