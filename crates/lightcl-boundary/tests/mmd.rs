//! What the detector `mmd` finds, what it leaves alone, and that odd input does not harm it.
#![allow(clippy::unwrap_used, reason = "a test")]

use lightcl_boundary::{MmdConfig, MmdDetector, MmdSignal};
use lightcl_core::{BoundaryDetector, Observation, Stateful, Verdict};
use lightcl_testkit::streams::{Generator, MovedInputs, Stationary};
use lightcl_testkit::{Observed, conformance, observe_stream, observed};

fn mmd() -> MmdDetector {
    MmdDetector::new(MmdConfig::default()).unwrap()
}

fn stationary(rows: usize, seed: u64) -> Vec<Observed> {
    observed(&Stationary { rows, ..Stationary::default() }.generate(seed), seed, |_| 0.1)
}

#[test]
fn moved_inputs_are_found_and_placed_to_a_stride() {
    for seed in 0..10 {
        let stream = MovedInputs::default().generate(seed);
        let found = observe_stream(&mut mmd(), &observed(&stream, seed, |_| 0.1));
        assert_eq!(found.len(), stream.change_points.len(), "seed {seed}: {found:?}");
        for ((at, noticed, evidence), &start) in found.iter().zip(&stream.change_points) {
            assert!(at.abs_diff(start) <= 16 && noticed - start <= 256, "seed {seed}: {at} {noticed}");
            assert!(evidence[0].message.contains("threshold"), "{evidence:?}");
        }
    }
}

#[test]
fn another_spread_with_the_same_mean_is_found() {
    let mut rows = stationary(4000, 3);
    let means: Vec<f32> = (0..rows[0].features.len())
        .map(|number| rows.iter().map(|row| row.features[number]).sum::<f32>() / rows.len() as f32)
        .collect();
    for row in rows.iter_mut().skip(2000) {
        row.features.iter_mut().zip(&means).for_each(|(value, mean)| *value = mean + 2.0 * (*value - mean));
    }
    let found = observe_stream(&mut mmd(), &rows);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].0.abs_diff(2000) <= 64 && found[0].1 < 2512, "{found:?}");
}

#[test]
fn a_stream_without_a_change_is_left_alone() {
    let alarms: usize = (0..5).map(|seed| observe_stream(&mut mmd(), &stationary(200_000, seed)).len()).sum();
    assert!(alarms <= 1, "{alarms} false alarms in 1,000,000 rows");
}

#[test]
fn constant_missing_and_lone_odd_inputs_are_no_change() {
    let mut constant = stationary(3000, 1);
    constant.iter_mut().for_each(|row| row.features.fill(4.0));
    assert!(observe_stream(&mut mmd(), &constant).is_empty());
    constant[2000].features.fill(f32::INFINITY);
    constant[2001].features.fill(9.0);
    assert!(observe_stream(&mut mmd(), &constant).is_empty(), "single rows");
    let mut missing = stationary(3000, 1);
    missing.iter_mut().for_each(|row| row.features.fill(f32::NAN));
    assert!(observe_stream(&mut mmd(), &missing).is_empty());
    missing.iter_mut().for_each(|row| row.features.clear());
    assert!(observe_stream(&mut mmd(), &missing).is_empty());
    assert!(observe_stream(&mut mmd(), &stationary(1, 1)).is_empty());
    // Numbers that were constant and then are others are a change.
    constant.iter_mut().skip(2000).for_each(|row| row.features.fill(9.0));
    assert_eq!(observe_stream(&mut mmd(), &constant).len(), 1);
}

#[test]
fn activations_are_watched_once_there_are_some() {
    let config = MmdConfig { signal: MmdSignal::Activations, ..MmdConfig::default() };
    let mut detector = MmdDetector::new(config.clone()).unwrap();
    assert!(detector.needs().activations && !mmd().needs().activations);
    let mut found = Vec::new();
    for row in stationary(5000, 2) {
        let moved = if row.index < 3500 { 0.0 } else { 1.5 };
        let outputs: Vec<f32> = row.features.iter().map(|value| (value + moved).max(0.0)).collect();
        let activations = if row.index < 500 { &[][..] } else { &outputs[..] };
        if let Verdict::Boundary { at, .. } = detector.observe(&Observation { activations, ..row.view() }) {
            detector.reset();
            found.push(at);
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].abs_diff(3500) <= 16, "{found:?}");
    conformance::detector(|| Box::new(MmdDetector::new(config.clone()).unwrap()));
}

#[test]
fn small_windows_conform_and_are_saved_and_restored_at_every_row() {
    let config = MmdConfig {
        reference_samples: 32,
        recent_samples: 16,
        stride_samples: 4,
        level: 0.01,
        confirm_tests: 1,
        ..MmdConfig::default()
    };
    let make = || MmdDetector::new(config.clone()).unwrap();
    conformance::detector(|| Box::new(make()));
    let (mut straight, mut relay, mut fired) = (make(), make(), 0);
    for mut row in stationary(1500, 5) {
        if row.index >= 800 {
            row.features.iter_mut().for_each(|value| *value += 3.0);
        }
        let mut next = make();
        next.restore(&relay.save().unwrap()).unwrap();
        relay = next;
        let expected = straight.observe(&row.view());
        assert_eq!(relay.observe(&row.view()), expected, "row {}", row.index);
        if let Verdict::Boundary { .. } = expected {
            straight.reset();
            relay.reset();
            fired += 1;
        }
    }
    assert!(fired > 0, "nothing was compared");
}

#[test]
fn settings_out_of_range_and_another_width_of_state_are_refused() {
    for config in [
        MmdConfig { recent_samples: 100, ..MmdConfig::default() },
        MmdConfig { stride_samples: 0, ..MmdConfig::default() },
        MmdConfig { level: 0.0, ..MmdConfig::default() },
        MmdConfig { level: f64::NAN, ..MmdConfig::default() },
        MmdConfig { frequencies: 0, ..MmdConfig::default() },
        MmdConfig { permutations: 1, ..MmdConfig::default() },
    ] {
        assert!(MmdDetector::new(config.clone()).is_err(), "{config:?}");
    }
    let mut detector = mmd();
    observe_stream(&mut detector, &stationary(2000, 1));
    let other = MmdConfig { frequencies: 8, ..MmdConfig::default() };
    assert!(MmdDetector::new(other).unwrap().restore(&detector.save().unwrap()).is_err());
}
