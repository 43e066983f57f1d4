//! What the detector `auto` finds, on seeded streams with known change points, and what it leaves alone.
#![allow(clippy::unwrap_used, reason = "a test")]

use lightcl_boundary::{AutoConfig, AutoDetector, AutoSignal};
use lightcl_core::{BoundaryDetector, Verdict};
use lightcl_testkit::streams::{
    Agrawal, AnotherRule, Change, ClassIncremental, Generator, Led, MovedInputs, RandomRbf, RotatingHyperplane, Sea,
    Sine, Stationary, SyntheticStream,
};
use lightcl_testkit::{Observed, observe_stream, observed};

/// Rows after a change within which it counts as noticed, and from it within which it counts as placed.
const NOTICED_WITHIN: u64 = 1000;
const PLACED_WITHIN: u64 = 256;

fn auto() -> AutoDetector {
    AutoDetector::new(AutoConfig::default()).unwrap()
}

/// The learner's errors say nothing here: all that is found comes from inputs and labels.
fn rows_of(stream: &SyntheticStream, seed: u64) -> Vec<Observed> {
    observed(stream, seed, |_| 0.2)
}

#[derive(Debug, Default)]
struct Score {
    found: usize,
    missed: usize,
    false_alarms: usize,
    delays: Vec<u64>,
    offsets: Vec<u64>,
}

impl Score {
    fn f1(&self) -> f64 {
        2.0 * self.found as f64 / (2 * self.found + self.missed + self.false_alarms) as f64
    }

    fn median(mut values: Vec<u64>) -> u64 {
        values.sort_unstable();
        values[values.len() / 2]
    }
}

fn score(generator: &dyn Generator, seeds: std::ops::Range<u64>) -> Score {
    let mut score = Score::default();
    for seed in seeds {
        let stream = generator.generate(seed);
        let mut boundaries: Vec<(u64, u64)> =
            observe_stream(&mut auto(), &rows_of(&stream, seed)).into_iter().map(|(at, seen, _)| (at, seen)).collect();
        for &change in &stream.change_points {
            let fits = |&(at, seen): &(u64, u64)| {
                (change..=change + NOTICED_WITHIN).contains(&seen) && at.abs_diff(change) <= PLACED_WITHIN
            };
            match boundaries.iter().position(fits) {
                Some(place) => {
                    let (at, seen) = boundaries.remove(place);
                    score.found += 1;
                    score.delays.push(seen - change);
                    score.offsets.push(at.abs_diff(change));
                }
                None => score.missed += 1,
            }
        }
        score.false_alarms += boundaries.len();
    }
    score
}

#[test]
fn abrupt_changes_of_classes_inputs_and_rule_are_found_soon_and_placed_closely() {
    let generators: [&dyn Generator; 3] =
        [&ClassIncremental::default(), &MovedInputs::default(), &AnotherRule::default()];
    for generator in generators {
        let score = score(generator, 0..10);
        println!("{}: F1 {:.3}, {score:?}", generator.name(), score.f1());
        assert!(score.f1() >= 0.98, "{}: {score:?}", generator.name());
        assert!(Score::median(score.delays) <= 64, "{}", generator.name());
        assert!(Score::median(score.offsets) <= 8, "{}", generator.name());
    }
}

#[test]
fn the_fields_generators_are_found() {
    let generators: [&dyn Generator; 6] = [
        &Sea::default(),
        &RotatingHyperplane::default(),
        &Agrawal::default(),
        &Led::default(),
        &RandomRbf::default(),
        &Sine::default(),
    ];
    let mut sum = 0.0;
    for generator in generators {
        let score = score(generator, 0..10);
        println!("{}: F1 {:.3}, {score:?}", generator.name(), score.f1());
        assert!(score.f1() >= 0.9, "{}: {score:?}", generator.name());
        sum += score.f1();
    }
    assert!(sum / 6.0 >= 0.95, "{}", sum / 6.0);
}

#[test]
fn a_gradual_change_is_about_one_boundary() {
    let change = Change::Gradual { width: 1000 };
    let generators: [&dyn Generator; 3] = [
        &Led { change, ..Led::default() },
        &RotatingHyperplane { change, ..RotatingHyperplane::default() },
        &Agrawal { change, ..Agrawal::default() },
    ];
    for generator in generators {
        let (mut boundaries, mut changes) = (0, 0);
        for seed in 0..5 {
            let stream = generator.generate(seed);
            changes += stream.change_points.len();
            boundaries += observe_stream(&mut auto(), &rows_of(&stream, seed)).len();
        }
        println!("{}: {boundaries} boundaries for {changes} changes", generator.name());
        assert!(2 * boundaries >= changes && 2 * boundaries <= 3 * changes, "{boundaries} for {changes}");
    }
}

#[test]
fn a_stationary_stream_has_at_most_one_false_alarm_in_a_hundred_thousand_rows() {
    let alarms: usize = (0..5)
        .map(|seed| {
            let stream = Stationary { rows: 200_000, ..Stationary::default() }.generate(seed);
            observe_stream(&mut auto(), &rows_of(&stream, seed)).len()
        })
        .sum();
    println!("{alarms} false alarms in 1,000,000 rows");
    assert!(alarms <= 10, "{alarms}");
}

#[test]
fn a_class_that_vanishes_is_noticed_by_the_class_shares() {
    let stream = Stationary { rows: 8000, ..Stationary::default() }.generate(3);
    let mut rows = rows_of(&stream, 3);
    rows[4000..].iter_mut().for_each(|row| row.label = 0);
    let found = observe_stream(&mut AutoDetector::only(AutoSignal::ClassShares, AutoConfig::default()).unwrap(), &rows);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].0.abs_diff(4000) <= 16 && found[0].1 <= 4128, "{found:?}");
    assert!(found[0].2[0].message.starts_with("the shares of the classes are others"), "{found:?}");
}

#[test]
fn activations_are_watched_as_soon_as_the_learner_has_some() {
    let stream = Stationary { rows: 6000, ..Stationary::default() }.generate(4);
    let rows = rows_of(&stream, 4);
    let mut detector = AutoDetector::only(AutoSignal::Activations, AutoConfig::default()).unwrap();
    assert!(detector.needs().activations && !auto().needs().activations);
    let mut found = Vec::new();
    for row in &rows {
        // Frozen from row 1000 on; another prefix output from row 4000 on.
        let shift = if row.index < 4000 { 0.0 } else { 2.0 };
        let activations: Vec<f32> = row.features.iter().map(|value| (value + shift).max(0.0)).collect();
        let mut seen = row.view();
        seen.activations = if row.index < 1000 { &[] } else { &activations };
        if let Verdict::Boundary { at, .. } = detector.observe(&seen) {
            detector.reset();
            found.push(at);
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].abs_diff(4000) <= 8, "{found:?}");
}

#[test]
fn a_boundary_carries_the_evidence_of_every_signal() {
    let stream = MovedInputs::default().generate(1);
    let found = observe_stream(&mut auto(), &rows_of(&stream, 1));
    let evidence = &found[0].2;
    for signal in AutoConfig::default().signals {
        assert!(evidence.iter().any(|part| part.detector == signal.name()), "{}: {evidence:?}", signal.name());
    }
    assert!(evidence[0].message.contains("strength"), "{evidence:?}");
    let classes = ClassIncremental::default().generate(1);
    let found = observe_stream(&mut auto(), &rows_of(&classes, 1));
    assert_eq!(found[0].2[0].detector, "new_classes");
}

#[test]
fn sensitivity_trades_false_alarms_for_misses() {
    let stream = Sea::default().generate(2);
    let rows = rows_of(&stream, 2);
    let count = |sensitivity| {
        let config = AutoConfig { sensitivity, ..AutoConfig::default() };
        observe_stream(&mut AutoDetector::new(config).unwrap(), &rows).len()
    };
    assert_eq!(count(0.1), 0);
    assert!(count(5.0) > count(1.0));
}

#[test]
fn streams_without_a_change_of_any_kind_are_left_alone_however_odd_they_are() {
    let plain = rows_of(&Stationary { rows: 30_000, ..Stationary::default() }.generate(5), 5);
    let change = |edit: fn(&mut Observed)| {
        let mut rows = plain.clone();
        rows.iter_mut().for_each(edit);
        rows
    };
    let streams = [
        ("constant features", change(|row| row.features.fill(7.0))),
        ("all features missing", change(|row| row.features.clear())),
        (
            "NaN and infinite features",
            change(|row| {
                row.features[0] = f32::NAN;
                row.features[1] = f32::INFINITY;
            }),
        ),
        ("huge features", change(|row| row.features[0] *= 1e30)),
        (
            "one class",
            change(|row| {
                row.label = 3;
                row.predicted = Some(3);
            }),
        ),
        ("always wrong", change(|row| row.predicted = Some(row.label + 1))),
        (
            "one row of a class of its own",
            change(|row| {
                if row.index == 20_000 {
                    row.label = 9;
                }
            }),
        ),
        ("classes in strict turn", change(|row| row.label = (row.index % 4) as u32)),
    ];
    for (name, rows) in streams {
        let found = observe_stream(&mut auto(), &rows);
        assert!(found.is_empty(), "{name}: {found:?}");
    }
}

#[test]
fn one_row_then_a_boundary_of_another_detector_is_no_trouble() {
    let stream = MovedInputs::default().generate(6);
    let mut detector = auto();
    let mut found = Vec::new();
    for row in rows_of(&stream, 6) {
        if let Verdict::Boundary { at, .. } = detector.observe(&row.view()) {
            detector.reset();
            found.push(at);
        }
        if [0, 1, 700, 701].contains(&row.index) {
            detector.reset();
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].abs_diff(4000) <= 8, "{found:?}");
}

#[test]
fn settings_out_of_range_are_refused() {
    for config in [
        AutoConfig { sensitivity: 0.0, ..AutoConfig::default() },
        AutoConfig { sensitivity: f64::NAN, ..AutoConfig::default() },
        AutoConfig { signals: vec![AutoSignal::Input, AutoSignal::Input], ..AutoConfig::default() },
        AutoConfig { signals: Vec::new(), new_classes: false, ..AutoConfig::default() },
    ] {
        assert!(AutoDetector::new(config).is_err());
    }
}
