//! Change detectors fire and warn where river 0.26.1's do, to the last index (`tests/data/make_scalar.py` made the
//! fixture); KSWIN, which draws at random, as often as river's.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use lightcl_boundary::scalar::{
    Adwin, Change, Ddm, DdmConfig, Eddm, EddmConfig, Follow, HddmA, HddmAConfig, HddmW, HddmWConfig, Kswin,
    KswinConfig, Mode, PageHinkley, PageHinkleyConfig, ScalarDetector,
};
use serde::Deserialize;
use serde_json::{Value, from_value};
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Fixture {
    sequences: Vec<Sequence>,
    runs: BTreeMap<String, Run>,
    kswin_hits: BTreeMap<String, Vec<u32>>,
}

#[derive(Deserialize)]
struct Sequence {
    name: String,
    kind: String,
    length: usize,
    change_points: Vec<usize>,
}

#[derive(Deserialize)]
struct Run {
    detector: String,
    settings: Value,
    hits: BTreeMap<String, Vec<usize>>,
    /// First and last index of each stretch of warnings.
    #[serde(default)]
    warnings: BTreeMap<String, Vec<(usize, usize)>>,
    /// ADWIN's width, mean and sum of squared deviations in the end.
    #[serde(default)]
    windows: BTreeMap<String, (u64, f64, f64)>,
}

fn fixture() -> (Fixture, BTreeMap<String, Vec<f64>>) {
    let fixture: Fixture = serde_json::from_str(include_str!("data/scalar.json")).unwrap();
    let bytes = include_bytes!("data/sequences.f32");
    let mut all = bytes.chunks_exact(4).map(|value| f64::from(f32::from_le_bytes(value.try_into().unwrap())));
    let values = fixture.sequences.iter().map(|s| (s.name.clone(), all.by_ref().take(s.length).collect())).collect();
    assert_eq!(all.next(), None);
    (fixture, values)
}

fn make(detector: &str, settings: &Value) -> Box<dyn ScalarDetector> {
    let settings = settings.clone();
    match detector {
        "adwin" => Box::new(Adwin::new(from_value(settings).unwrap()).unwrap()),
        "page_hinkley" => Box::new(PageHinkley::new(from_value(settings).unwrap()).unwrap()),
        "ddm" => Box::new(Ddm::new(from_value(settings).unwrap()).unwrap()),
        "eddm" => Box::new(Eddm::new(from_value(settings).unwrap()).unwrap()),
        "hddm_a" => Box::new(HddmA::new(from_value(settings).unwrap()).unwrap()),
        "hddm_w" => Box::new(HddmW::new(from_value(settings).unwrap()).unwrap()),
        other => panic!("no such detector: {other}"),
    }
}

/// Indices of changes and of warnings.
fn run(detector: &mut dyn ScalarDetector, values: &[f64]) -> (Vec<usize>, Vec<usize>) {
    let (mut hits, mut warnings) = (Vec::new(), Vec::new());
    for (index, &value) in values.iter().enumerate() {
        match detector.update(value) {
            Change::Rise | Change::Fall => hits.push(index),
            Change::Warning => warnings.push(index),
            Change::Stable => {}
        }
    }
    (hits, warnings)
}

#[test]
fn detectors_fire_and_warn_at_exactly_the_reference_indices() {
    let (fixture, values) = fixture();
    assert_eq!((fixture.sequences.len(), fixture.runs.len()), (12, 17));
    let (mut fired, mut warned) = (0, 0);
    for (name, expected) in &fixture.runs {
        for (sequence, expected_hits) in &expected.hits {
            let (hits, warnings) = run(make(&expected.detector, &expected.settings).as_mut(), &values[sequence]);
            let stretches = expected.warnings.get(sequence).map(Vec::as_slice).unwrap_or_default();
            let expected_warnings: Vec<usize> = stretches.iter().flat_map(|&(first, last)| first..=last).collect();
            assert_eq!(&hits, expected_hits, "{name} on {sequence}");
            assert_eq!(warnings, expected_warnings, "warnings of {name} on {sequence}");
            fired += hits.len();
            warned += warnings.len();
        }
    }
    println!("{fired} changes and {warned} warnings agree");
    assert!(fired > 200 && warned > 1000, "{fired} {warned}");
}

#[test]
fn adwins_window_is_the_reference_window_in_the_end() {
    let (fixture, values) = fixture();
    let close = |found: f64, expected: f64| (found - expected).abs() <= 1e-9 * expected.abs().max(1.0);
    for (name, expected) in fixture.runs.iter().filter(|(_, run)| run.detector == "adwin") {
        for (sequence, &(width, mean, squares)) in &expected.windows {
            let mut adwin = Adwin::new(from_value(expected.settings.clone()).unwrap()).unwrap();
            values[sequence].iter().for_each(|&value| {
                adwin.update(value);
            });
            assert_eq!(adwin.width(), width, "{name} on {sequence}");
            assert!(close(adwin.estimation(), mean), "{name} on {sequence}: {}", adwin.estimation());
            assert!(close(adwin.variance() * width as f64, squares), "{name} on {sequence}: {}", adwin.variance());
        }
    }
}

#[test]
fn kswin_fires_as_often_as_the_reference_with_its_seeds() {
    let (fixture, values) = fixture();
    let moments = |counts: &[u32]| {
        let mean = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
        let squares: f64 = counts.iter().map(|&count| (f64::from(count) - mean).powi(2)).sum();
        (mean, squares / (counts.len() - 1) as f64)
    };
    assert_eq!(fixture.kswin_hits.len(), 8);
    for (sequence, theirs) in &fixture.kswin_hits {
        let hits = |config: KswinConfig| run(&mut Kswin::new(config).unwrap(), &values[sequence]).0.len() as u32;
        let ours: Vec<u32> = (0..20).map(|seed| hits(KswinConfig { seed, ..KswinConfig::default() })).collect();
        let (least, most) = (*theirs.iter().min().unwrap(), *theirs.iter().max().unwrap());
        let default = hits(KswinConfig::default());
        println!("{sequence}: river {least} to {most}, ours {default} by default, {ours:?} with 20 seeds");
        assert!((least..=most).contains(&default), "{sequence}: {default} is not within {least} to {most}");
        // A seed of ours may well lie outside what 20 of theirs happened to give, now and then.
        let outside = ours.iter().filter(|count| !(least..=most).contains(count)).count();
        assert!(outside <= 2, "{sequence}: {ours:?} with 20 seeds, river {least} to {most}");
        let ((our_mean, our_variance), (their_mean, their_variance)) = (moments(&ours), moments(theirs));
        let standard_error = ((our_variance + their_variance) / 20.0).sqrt();
        assert!(
            (our_mean - their_mean).abs() <= 4.0 * standard_error,
            "{sequence}: {our_mean} hits a run, river {their_mean}"
        );
    }
}

#[test]
fn kswin_finds_every_abrupt_change_of_mean() {
    let (fixture, values) = fixture();
    for sequence in fixture.sequences.iter().filter(|s| ["mean_up", "mean_down", "staircase"].contains(&&*s.name)) {
        let (hits, _) = run(&mut Kswin::new(KswinConfig::default()).unwrap(), &values[&sequence.name]);
        for &change in &sequence.change_points {
            assert!(hits.iter().any(|hit| (change..change + 120).contains(hit)), "{}: {hits:?}", sequence.name);
        }
    }
}

/// Indices of changes and warnings on one of the 0/1 sequences.
fn on_errors(detector: impl ScalarDetector) -> Vec<(Vec<usize>, Vec<usize>)> {
    let (fixture, values) = fixture();
    let mut detector = detector;
    let errors = fixture.sequences.iter().filter(|sequence| sequence.kind == "error");
    errors
        .map(|sequence| {
            detector.reset();
            run(&mut detector, &values[&sequence.name])
        })
        .collect()
}

#[test]
fn the_papers_variants_differ_from_rivers_and_still_find_the_clear_changes() {
    let follow = Follow::Paper;
    let finds = |hits: &[usize], change: usize| hits.iter().any(|hit| (change..change + 300).contains(hit));
    let eddm = on_errors(Eddm::new(EddmConfig { follow, ..EddmConfig::default() }).unwrap());
    assert_ne!(eddm, on_errors(Eddm::new(EddmConfig::default()).unwrap()));
    let ddm = on_errors(Ddm::new(DdmConfig { follow, ..DdmConfig::default() }).unwrap());
    let hddm_a = on_errors(HddmA::new(HddmAConfig { follow, ..HddmAConfig::default() }).unwrap());
    assert_ne!(hddm_a, on_errors(HddmA::new(HddmAConfig::default()).unwrap()));
    let hddm_w = on_errors(HddmW::new(HddmWConfig { follow, ..HddmWConfig::default() }).unwrap());
    assert_ne!(hddm_w, on_errors(HddmW::new(HddmWConfig::default()).unwrap()));
    for (name, found) in [("eddm", eddm), ("ddm", ddm), ("hddm_a", hddm_a), ("hddm_w", hddm_w)] {
        println!("{name}: {:?}", found.iter().map(|(hits, _)| hits).collect::<Vec<_>>());
        assert!(finds(&found[0].0, 1000), "{name}: {:?}", found[0].0);
    }
}

#[test]
fn page_hinkley_as_in_the_papers_does_not_take_the_end_of_a_fall_for_a_rise_as_river_does() {
    let fall: Vec<f64> = (0..20_000).map(|i| if i < 1000 { 0.0 } else { -1.0 }).collect();
    let hits = |alpha| {
        let config = PageHinkleyConfig { alpha, mode: Mode::Up, ..PageHinkleyConfig::default() };
        run(&mut PageHinkley::new(config).unwrap(), &fall).0
    };
    assert_eq!(hits(1.0), Vec::<usize>::new());
    assert_eq!(hits(PageHinkleyConfig::default().alpha), [10428]);
}
