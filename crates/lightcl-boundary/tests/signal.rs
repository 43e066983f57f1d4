//! Change detectors on the learner's signals: what becomes a boundary, where it is placed, what is refused.
#![allow(clippy::unwrap_used, reason = "a test")]

use lightcl_boundary::scalar::{
    AdwinConfig, BayesianConfig, BayesianModel, CusumConfig, DdmConfig, EddmConfig, HddmAConfig, HddmWConfig,
    KswinConfig, Mode, PageHinkleyConfig,
};
use lightcl_boundary::signal::{ScalarSettings, Signal};
use lightcl_boundary::{DetectorConfigs, Direction, SignalConfig, SignalDetector, build};
use lightcl_core::{BoundaryDetector, Result, Stateful, Verdict};
use lightcl_testkit::streams::{AnotherRule, Generator, Stationary};
use lightcl_testkit::{Observed, conformance, observe_stream, observed};

const NAMES: [&str; 9] = ["adwin", "page_hinkley", "ddm", "eddm", "hddm_a", "hddm_w", "kswin", "cusum", "bayesian"];

fn by_name(name: &str) -> Box<dyn BoundaryDetector> {
    build(&[name.to_owned()], &DetectorConfigs::default()).unwrap()
}

fn on<C: ScalarSettings>(detector: C, signal: Signal) -> SignalConfig<C> {
    SignalConfig { detector, signal, ..SignalConfig::default() }
}

fn stationary(rows: usize, seed: u64, error_rate: impl Fn(u64) -> f64) -> Vec<Observed> {
    let stream = Stationary { rows, width: 1, ..Stationary::default() }.generate(seed);
    observed(&stream, seed, error_rate)
}

/// A learner that is wrong 12 times in 100, and 50 times after row 1500.
fn worse(seed: u64) -> Vec<Observed> {
    stationary(2300, seed, |index| if index < 1500 { 0.12 } else { 0.5 })
}

fn places(detector: &mut dyn BoundaryDetector, rows: &[Observed]) -> Vec<u64> {
    observe_stream(detector, rows).iter().map(|&(at, _, _)| at).collect()
}

#[test]
fn every_detector_finds_a_learner_that_gets_worse_and_places_the_change_near_it() {
    for name in NAMES {
        let (mut found_all, mut off, mut early) = (0, Vec::new(), 0);
        for seed in 0..20 {
            let found = places(by_name(name).as_mut(), &worse(seed));
            early += found.iter().filter(|&&at| at < 1400).count();
            let near = found.iter().map(|at| at.abs_diff(1500)).min().filter(|&off| off <= 100);
            found_all += usize::from(near.is_some());
            off.extend(near);
        }
        off.sort_unstable();
        let median = off.get(off.len() / 2);
        println!("{name}: {found_all}/20 found, off by {median:?} (median), {early} early alarms");
        // KSWIN tests at every value, and DDM and EDDM take every lull for the norm: these alarms are the methods' own,
        // and a change in the guard after one is missed.
        let (most_early, fewest) = match name {
            "eddm" => (60, 12),
            "kswin" => (60, 16),
            "ddm" => (6, 18),
            _ => (2, 18),
        };
        assert!(found_all >= fewest && median.is_some_and(|&off| off <= 12), "{name}: {found_all}, {off:?}");
        assert!(early <= most_early, "{name}: {early} early alarms");
    }
}

#[test]
fn a_learner_that_gets_better_is_no_boundary() {
    for name in ["adwin", "page_hinkley", "ddm", "hddm_a", "hddm_w", "cusum", "bayesian"] {
        let mut alarms = 0;
        for seed in 0..10 {
            let rows = stationary(5000, seed, |index| [0.9, 0.6, 0.4, 0.25, 0.15][(index / 1000) as usize]);
            alarms += places(by_name(name).as_mut(), &rows).len();
        }
        println!("{name}: {alarms} alarms in 10 runs");
        // With river's settings these two fire now and then where nothing changes at all.
        let most = if ["page_hinkley", "hddm_w"].contains(&name) { 10 } else { 0 };
        assert!(alarms <= most, "{name}: {alarms}");
    }
}

#[test]
fn a_fall_is_a_boundary_when_it_is_looked_for() {
    let better = stationary(3000, 1, |index| if index < 1500 { 0.6 } else { 0.1 });
    for direction in [Direction::Fall, Direction::Both] {
        for signal in [Signal::Error, Signal::Loss] {
            let config = SignalConfig { direction: Some(direction), ..on(AdwinConfig::default(), signal) };
            let found = observe_stream(&mut SignalDetector::new(&config).unwrap(), &better);
            assert_eq!(found.len(), 1, "{direction:?} of {signal:?}: {found:?}");
            assert!(found[0].0.abs_diff(1500) <= 20, "{found:?}");
            assert!(found[0].2[0].message.contains(" fell from "), "{found:?}");
        }
    }
}

#[test]
fn a_margin_that_shrinks_and_an_entropy_that_grows_are_boundaries() {
    let mut rows = stationary(2500, 1, |_| 0.1);
    for row in &mut rows[1500..] {
        row.margin *= 0.5;
        row.entropy *= 1.5;
    }
    let two_sided = HddmAConfig { two_sided_test: true, ..HddmAConfig::default() };
    let detectors = [
        SignalDetector::new(&on(two_sided, Signal::Margin)),
        SignalDetector::new(&on(AdwinConfig::default(), Signal::Margin)),
        SignalDetector::new(&on(CusumConfig::default(), Signal::Margin)),
        SignalDetector::new(&on(BayesianConfig::default(), Signal::Entropy)),
    ];
    for detector in detectors {
        let mut detector = detector.unwrap();
        let found = places(&mut detector, &rows);
        assert_eq!(found.len(), 1, "{}: {found:?}", detector.name());
        assert!(found[0].abs_diff(1500) <= 40, "{}: {found:?}", detector.name());
    }
}

#[test]
fn samples_without_pattern_loss_are_left_out_and_its_rise_is_a_boundary() {
    let rows = stationary(3000, 1, |_| 0.1);
    let run = |pattern_loss: &dyn Fn(u64) -> Option<f64>| {
        let mut detector = SignalDetector::new(&on(CusumConfig::default(), Signal::PatternLoss)).unwrap();
        let mut found = Vec::new();
        for row in &rows {
            let mut observation = row.view();
            observation.pattern_loss = pattern_loss(row.index);
            if let Verdict::Boundary { at, .. } = detector.observe(&observation) {
                detector.reset();
                found.push(at);
            }
        }
        found
    };
    let signal = |index: u64| (index % 7) as f64 * 0.01 + if index < 1500 { 0.0 } else { 0.1 };
    assert_eq!(run(&|_| None), Vec::<u64>::new());
    assert_eq!(run(&|_| Some(f64::NAN)), Vec::<u64>::new());
    assert_eq!(run(&|index| Some(signal(index))), [1500]);
    assert_eq!(run(&|index| (index % 3 == 0).then(|| signal(index))), [1500]);
    // As a learner gives it: another value every window, the same for all of its samples.
    assert_eq!(run(&|index| Some(signal(index / 64 * 64 % 1500))), Vec::<u64>::new(), "a window is one value");
}

#[test]
fn nothing_fires_within_the_guard() {
    let rows = stationary(4000, 1, |index| if index < 240 { 0.0 } else { 1.0 });
    for name in NAMES {
        let found = observe_stream(by_name(name).as_mut(), &rows);
        assert!(found.iter().all(|&(at, noticed, _)| noticed >= 250 && at >= 200), "{name}: {found:?}");
    }
}

#[test]
fn a_change_below_the_least_one_is_no_boundary() {
    let with = |minimum_change| SignalConfig { minimum_change, ..on(AdwinConfig::default(), Signal::Error) };
    let found = |minimum_change| places(&mut SignalDetector::new(&with(minimum_change)).unwrap(), &worse(1)).len();
    // From 0.12 to 0.5.
    assert_eq!((found(0.0), found(0.2), found(0.6)), (1, 1, 0));
    for wrong in [-0.1, f64::NAN, f64::INFINITY] {
        assert!(SignalDetector::new(&with(wrong)).is_err());
    }
}

#[test]
fn evidence_has_the_figures_that_decided() {
    for (name, words) in [("page_hinkley", "Page-Hinkley, threshold 50"), ("ddm", "DDM, 3 standard deviations")] {
        let found = observe_stream(by_name(name).as_mut(), &worse(2));
        let evidence = &found[0].2[0];
        assert_eq!(evidence.detector, name);
        assert!(evidence.message.contains(" rose from 0.") && evidence.message.contains(words), "{evidence:?}");
    }
}

#[test]
fn a_detector_for_zeros_and_ones_refuses_another_signal_and_says_which_it_takes() {
    let message = |refused: Result<SignalDetector>| refused.err().unwrap().to_string();
    let loss = message(SignalDetector::new(&on(DdmConfig::default(), Signal::Loss)));
    assert!(loss.contains("ddm") && loss.contains("ddm.signal to \"error\"") && loss.contains("loss"), "{loss}");
    message(SignalDetector::new(&on(EddmConfig::default(), Signal::Margin)));
    let loss = message(SignalDetector::new(&on(HddmAConfig::default(), Signal::Loss)));
    assert!(loss.contains("between 0 and 1") && loss.contains("\"error\" or \"margin\""), "{loss}");
    message(SignalDetector::new(&on(HddmWConfig::default(), Signal::Entropy)));
    let bernoulli = BayesianConfig { model: BayesianModel::Bernoulli, ..BayesianConfig::default() };
    message(SignalDetector::new(&on(bernoulli.clone(), Signal::Loss)));
    assert!(SignalDetector::new(&on(bernoulli, Signal::Error)).is_ok());
}

#[test]
fn a_direction_that_the_detector_cannot_find_is_refused_with_a_remedy() {
    let message = |refused: Result<SignalDetector>| refused.err().unwrap().to_string();
    let margin = message(SignalDetector::new(&on(HddmWConfig::default(), Signal::Margin)));
    assert!(margin.contains("two_sided_test to true"), "{margin}");
    let up = PageHinkleyConfig { mode: Mode::Up, ..PageHinkleyConfig::default() };
    let fall = SignalConfig { direction: Some(Direction::Fall), ..on(up, Signal::Loss) };
    assert!(message(SignalDetector::new(&fall)).contains("mode to \"both\""));
    let both = SignalConfig { direction: Some(Direction::Both), ..on(DdmConfig::default(), Signal::Error) };
    assert!(message(SignalDetector::new(&both)).contains("to \"rise\""));
    let few = SignalConfig { history_samples: 3, ..on(KswinConfig::default(), Signal::Loss) };
    assert!(message(SignalDetector::new(&few)).contains("history_samples"));
    let scalar = message(SignalDetector::new(&on(AdwinConfig { delta: 2.0, ..AdwinConfig::default() }, Signal::Loss)));
    assert!(scalar.contains("delta") && scalar.contains("adwin"), "{scalar}");
}

#[test]
fn settings_are_read_with_the_defaults_of_the_detector() {
    let configs: DetectorConfigs = serde_json::from_str(
        r#"{"cusum": {"signal": "margin", "detector": {"threshold": 9}}, "eddm": {"history_samples": 50}}"#,
    )
    .unwrap();
    assert_eq!(configs.cusum.direction(), Direction::Fall);
    assert_eq!(configs.cusum.detector, CusumConfig { threshold: 9.0, ..CusumConfig::default() });
    assert_eq!((configs.eddm.signal, configs.eddm.min_task_samples), (Signal::Error, 250));
    assert_eq!(configs.adwin.signal, Signal::Loss);
    assert!(serde_json::from_str::<DetectorConfigs>(r#"{"cusum": {"treshold": 9}}"#).is_err());
}

#[test]
fn other_signals_and_settings_conform() {
    let eager = |signal| SignalConfig {
        direction: Some(Direction::Both),
        min_task_samples: 0,
        history_samples: 40,
        ..on(AdwinConfig { delta: 0.3, clock: 1, ..AdwinConfig::default() }, signal)
    };
    for signal in [Signal::Error, Signal::Loss, Signal::Margin, Signal::Entropy, Signal::PatternLoss] {
        conformance::detector(|| Box::new(SignalDetector::new(&eager(signal)).unwrap()));
    }
    let kswin = SignalConfig {
        direction: Some(Direction::Both),
        min_task_samples: 3,
        ..on(KswinConfig { window_size: 20, stat_size: 8, alpha: 0.3, ..KswinConfig::default() }, Signal::Entropy)
    };
    conformance::detector(|| Box::new(SignalDetector::new(&kswin).unwrap()));
}

#[test]
fn the_state_of_another_signal_or_detector_is_refused() {
    let rows = AnotherRule::default().generate(1);
    let rows = observed(&rows, 1, |_| 0.2);
    let mut loss = SignalDetector::new(&on(AdwinConfig::default(), Signal::Loss)).unwrap();
    places(&mut loss, &rows[..400]);
    let before = loss.save().unwrap();
    let margin = SignalDetector::new(&on(AdwinConfig::default(), Signal::Margin)).unwrap();
    assert!(loss.restore(&margin.save().unwrap()).is_err());
    assert!(loss.restore(&by_name("cusum").save().unwrap()).is_err());
    assert_eq!(loss.save().unwrap(), before);
}
