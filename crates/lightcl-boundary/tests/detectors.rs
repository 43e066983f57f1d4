//! What the detectors find and what they leave alone, on seeded streams with known change points.
#![allow(clippy::unwrap_used, reason = "a test")]

use lightcl_boundary::{
    AnyOf, AutoConfig, DetectorConfigs, ErrorConfig, EveryConfig, EveryDetector, NewClassesConfig, NewClassesDetector,
    SignalDetector, TaskColumnDetector, build, names,
};
use lightcl_core::{BoundaryDetector, Stateful, Verdict};
use lightcl_testkit::streams::{AnotherRule, ClassIncremental, Generator, Stationary, SyntheticStream};
use lightcl_testkit::{Observed, conformance, observe_stream, observed};

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn places(detector: &mut dyn BoundaryDetector, rows: &[Observed]) -> Vec<u64> {
    observe_stream(detector, rows).iter().map(|&(at, _, _)| at).collect()
}

fn new_classes() -> NewClassesDetector {
    NewClassesDetector::new(NewClassesConfig::default()).unwrap()
}

fn error() -> SignalDetector {
    ErrorConfig::default().detector().unwrap()
}

/// A learner that is wrong at `low` when it knows the task, and at `high` for the first `rows` of each but the first.
fn relearning(stream: &SyntheticStream, low: f64, high: f64, rows: u64) -> impl Fn(u64) -> f64 {
    let changes = stream.change_points.clone();
    move |index| match changes.iter().rev().find(|&&start| start <= index) {
        Some(start) if index - start < rows => high,
        _ => low,
    }
}

#[test]
fn every_registered_detector_conforms() {
    for (name, _) in names() {
        println!("{name}");
        conformance::detector(|| build(&owned(&[name]), &DetectorConfigs::default()).unwrap());
    }
    conformance::detector(|| build(&[], &DetectorConfigs::default()).unwrap());
}

#[test]
fn combinations_and_other_settings_conform() {
    let configs = DetectorConfigs {
        auto: AutoConfig { min_task_samples: 0, sensitivity: 4.0, ..AutoConfig::default() },
        error: ErrorConfig { delta: 0.2, minimum_rise: 0.0, history_samples: 50, min_task_samples: 0 },
        new_classes: NewClassesConfig { settle_samples: 1, confirm_samples: 1, confirm_window: 1 },
        every: EveryConfig { every_samples: 2 },
        ..DetectorConfigs::default()
    };
    for list in [
        &["auto"][..],
        &["input"],
        &["activations"],
        &["rule"],
        &["error"],
        &["new_classes"],
        &["every"],
        &["task_column", "every", "new_classes", "error"],
    ] {
        println!("{list:?}");
        conformance::detector(|| build(&owned(list), &configs).unwrap());
    }
    conformance::detector(|| build(&owned(&["new_classes", "error"]), &DetectorConfigs::default()).unwrap());
}

#[test]
fn new_classes_places_every_boundary_exactly_and_within_eight_rows() {
    for seed in 0..50 {
        let stream = ClassIncremental::default().generate(seed);
        let rows = observed(&stream, seed, |_| 0.1);
        let found = observe_stream(&mut new_classes(), &rows);
        let at: Vec<u64> = found.iter().map(|&(at, _, _)| at).collect();
        assert_eq!(at, stream.change_points, "seed {seed}");
        for (at, noticed, evidence) in found {
            assert!((3..8).contains(&(noticed - at)), "seed {seed}: {at} noticed at {noticed}");
            assert!(evidence[0].message.contains("classes"), "{evidence:?}");
        }
    }
}

#[test]
fn new_classes_copes_with_tasks_of_many_classes() {
    for (tasks, classes_per_task) in [(4, 1), (4, 10), (3, 50)] {
        let stream = ClassIncremental { tasks, classes_per_task, ..ClassIncremental::default() }.generate(1);
        let rows = observed(&stream, 1, |_| 0.1);
        assert_eq!(places(&mut new_classes(), &rows), stream.change_points, "{classes_per_task} classes a task");
    }
}

#[test]
fn new_classes_notices_a_task_that_shares_half_its_classes_with_the_last() {
    let mut exact = 0;
    for seed in 0..20 {
        let mut stream = ClassIncremental { tasks: 4, ..ClassIncremental::default() }.generate(seed);
        // Classes {0, 1}, {1, 2}, {2, 3}, ..
        for row in 0..stream.len() {
            stream.samples.labels[row] = stream.task_of(row as u64) as u32 + stream.samples.labels[row] % 2;
        }
        let found = places(&mut new_classes(), &observed(&stream, seed, |_| 0.1));
        assert_eq!(found.len(), 3, "seed {seed}: {found:?}");
        for (&at, &start) in found.iter().zip(&stream.change_points) {
            // The first rows of a task may be of the shared class.
            assert!((start..start + 16).contains(&at), "seed {seed}: {found:?}");
            exact += usize::from(at == start);
        }
    }
    assert!(exact >= 20, "{exact} of 60");
}

#[test]
fn new_classes_leaves_rare_classes_alone() {
    for seed in 0..40 {
        for rare_share in [0.0, 0.001, 0.005, 0.01] {
            let stream = Stationary { rows: 20_000, width: 1, rare_share, ..Stationary::default() }.generate(seed);
            let found = places(&mut new_classes(), &observed(&stream, seed, |_| 0.1));
            assert!(found.is_empty(), "seed {seed}, share {rare_share}: {found:?}");
        }
    }
}

#[test]
fn new_classes_waits_until_a_thousand_classes_have_settled() {
    let many = ClassIncremental { tasks: 1, classes_per_task: 1000, rows_per_task: 60_000, width: 1, separation: 1.0 };
    for seed in 0..5 {
        let rows = observed(&many.generate(seed), seed, |_| 0.1);
        assert_eq!(places(&mut new_classes(), &rows), Vec::<u64>::new(), "seed {seed}");
    }
}

#[test]
fn new_classes_warns_of_one_outside_row_and_takes_it_in_once_it_stayed_alone() {
    let mut detector = new_classes();
    let rows = observed(&Stationary { rows: 1000, ..Stationary::default() }.generate(1), 1, |_| 0.1);
    let mut verdicts = Vec::new();
    for mut row in rows {
        if [500, 600].contains(&row.index) {
            row.label = 9;
        }
        verdicts.push(detector.observe(&row.view()));
    }
    assert!(verdicts[..500].iter().chain(&verdicts[516..]).all(|verdict| *verdict == Verdict::Stable));
    assert!(verdicts[500..516].iter().all(|verdict| *verdict == Verdict::Warning));
}

#[test]
fn error_places_a_new_rule_within_a_few_rows() {
    let (mut found_all, mut off, mut late) = (0, Vec::new(), Vec::new());
    for seed in 0..50 {
        let stream = AnotherRule::default().generate(seed);
        let rows = observed(&stream, seed, relearning(&stream, 0.12, 0.5, 400));
        let found = observe_stream(&mut error(), &rows);
        assert!(found.len() <= stream.change_points.len(), "seed {seed}: {found:?}");
        found_all += usize::from(found.len() == stream.change_points.len());
        for ((at, noticed, _), &start) in found.iter().zip(&stream.change_points) {
            off.push(at.abs_diff(start));
            late.push(noticed.saturating_sub(start));
        }
    }
    off.sort_unstable();
    late.sort_unstable();
    let (median_off, worst_off) = (off[off.len() / 2], off[off.len() - 1]);
    println!("found all: {found_all}/50, off by {median_off} (median), {worst_off} (most), noticed after {late:?}");
    assert_eq!(found_all, 50);
    assert!(median_off <= 4 && worst_off <= 60, "{off:?}");
    assert!(late[late.len() - 1] <= 128, "{late:?}");
}

#[test]
fn error_ignores_a_learner_that_gets_better() {
    for seed in 0..20 {
        let stream = Stationary { rows: 20_000, width: 1, ..Stationary::default() }.generate(seed);
        let stepwise = observed(&stream, seed, |index| [0.9, 0.6, 0.4, 0.25, 0.15][(index / 1000).min(4) as usize]);
        assert_eq!(places(&mut error(), &stepwise), Vec::<u64>::new(), "seed {seed}, stepwise");
        let gradual = observed(&stream, seed, |index| 0.1 + 0.6 * (-(index as f64) / 3000.0).exp());
        assert_eq!(places(&mut error(), &gradual), Vec::<u64>::new(), "seed {seed}, gradual");
    }
}

#[test]
fn error_rarely_fires_when_nothing_changes() {
    let mut alarms = 0;
    for seed in 0..20 {
        let stream = Stationary { rows: 100_000, width: 1, ..Stationary::default() }.generate(seed);
        alarms += places(&mut error(), &observed(&stream, seed, |_| [0.05, 0.2, 0.5, 0.9][seed as usize % 4])).len();
    }
    println!("{alarms} false alarms in 2,000,000 rows");
    assert!(alarms <= 4, "{alarms}");
}

#[test]
fn error_keeps_its_guard_after_a_reset() {
    let stream = Stationary { rows: 4000, width: 1, ..Stationary::default() }.generate(1);
    let found = observe_stream(&mut error(), &observed(&stream, 1, |index| if index < 240 { 0.0 } else { 1.0 }));
    assert!(found.iter().all(|&(_, noticed, _)| noticed >= 250), "{found:?}");
}

#[test]
fn error_says_what_decided() {
    let stream = AnotherRule::default().generate(1);
    let found = observe_stream(&mut error(), &observed(&stream, 1, relearning(&stream, 0.1, 0.5, 400)));
    let evidence = &found[0].2[0];
    assert_eq!(evidence.detector, "error");
    assert!(evidence.message.contains("rose from 0.") && evidence.message.contains("ADWIN"), "{evidence:?}");
}

#[test]
fn task_column_fires_at_the_row_that_names_another_task() {
    let stream = ClassIncremental { rows_per_task: 100, ..ClassIncremental::default() }.generate(1);
    let mut rows = observed(&stream, 1, |_| 0.1);
    let mut detector = TaskColumnDetector::new();
    let found = observe_stream(&mut detector, &rows);
    assert_eq!(
        found.iter().map(|&(at, noticed, _)| (at, noticed)).collect::<Vec<_>>(),
        [(100, 100), (200, 200), (300, 300), (400, 400)]
    );
    assert_eq!(found[0].2[0].message, "the task column changed from \"0\" to \"1\"");
    rows.iter_mut().step_by(3).for_each(|row| row.task_key = None);
    assert_eq!(places(&mut TaskColumnDetector::new(), &rows).len(), 4, "rows without a key say nothing");
}

#[test]
fn task_column_does_not_lose_a_change_right_after_a_boundary_of_another_detector() {
    let stream = ClassIncremental { tasks: 2, rows_per_task: 100, ..ClassIncremental::default() }.generate(1);
    let mut detector = TaskColumnDetector::new();
    let mut found = Vec::new();
    for row in observed(&stream, 1, |_| 0.1) {
        if let Verdict::Boundary { at, .. } = detector.observe(&row.view()) {
            found.push(at);
        }
        if row.index == 99 {
            detector.reset();
        }
    }
    assert_eq!(found, [100]);
}

#[test]
fn every_cuts_tasks_of_one_length() {
    let rows = observed(&Stationary { rows: 1000, ..Stationary::default() }.generate(1), 1, |_| 0.1);
    for every_samples in [1, 2, 3, 300] {
        let mut detector = EveryDetector::new(EveryConfig { every_samples }).unwrap();
        let expected: Vec<u64> = (1..1000).filter(|index| index % every_samples == 0).collect();
        assert_eq!(places(&mut detector, &rows), expected);
    }
}

#[test]
fn never_does_not_fire() {
    let stream = ClassIncremental::default().generate(1);
    let mut never = build(&owned(&["never"]), &DetectorConfigs::default()).unwrap();
    assert!(places(never.as_mut(), &observed(&stream, 1, |_| 0.9)).is_empty());
}

#[test]
fn any_of_takes_the_place_of_the_earliest_in_the_list_and_the_words_of_all() {
    let stream = ClassIncremental { rows_per_task: 600, ..ClassIncremental::default() }.generate(1);
    let rows = observed(&stream, 1, |_| 0.1);
    let configs = DetectorConfigs { every: EveryConfig { every_samples: 603 }, ..DetectorConfigs::default() };
    for (list, at) in [(["new_classes", "every"], 600), (["every", "new_classes"], 603)] {
        let found = observe_stream(build(&owned(&list), &configs).unwrap().as_mut(), &rows);
        let (first, noticed, evidence) = &found[0];
        assert_eq!((*first, *noticed), (at, 603), "{list:?}");
        assert_eq!(evidence.iter().map(|e| e.detector.as_str()).collect::<Vec<_>>(), list);
    }
}

#[test]
fn any_of_resets_all_and_finds_what_either_finds() {
    let classes = ClassIncremental::default().generate(1);
    let rows = observed(&classes, 1, relearning(&classes, 0.1, 0.9, 300));
    let mut detector = build(&owned(&["new_classes", "error"]), &DetectorConfigs::default()).unwrap();
    assert_eq!(places(detector.as_mut(), &rows), classes.change_points, "the error's rise comes too late to count");
    detector.reset();
    let rule = AnotherRule::default().generate(1);
    let rows = observed(&rule, 1, relearning(&rule, 0.1, 0.5, 400));
    assert_eq!(places(detector.as_mut(), &rows).len(), 2);
}

#[test]
fn any_of_refuses_the_state_of_other_detectors_and_stays_whole() {
    let configs = DetectorConfigs::default();
    let mut pair = build(&owned(&["new_classes", "error"]), &configs).unwrap();
    let rows = observed(&Stationary { rows: 700, ..Stationary::default() }.generate(1), 1, |_| 0.1);
    places(pair.as_mut(), &rows);
    let before = pair.save().unwrap();
    let swapped = build(&owned(&["error", "new_classes"]), &configs).unwrap();
    let refused = pair.restore(&swapped.save().unwrap()).unwrap_err();
    assert!(refused.to_string().contains("expected: new_classes, error"), "{refused}");
    // The first part is sound, the second is damaged.
    let parts = vec![("new_classes", new_classes().save().unwrap()), ("error", vec![1, 2, 3])];
    let bytes = lightcl_core::state::encode("boundary.any", 1, &parts).unwrap();
    assert!(pair.restore(&bytes).is_err());
    assert_eq!(pair.save().unwrap(), before);
    assert!(AnyOf::new(vec![Box::new(error()), Box::new(error())]).is_err());
}

#[test]
fn every_detector_saved_and_restored_at_every_row_fires_as_one_that_never_stopped() {
    // Another class at row 900, other inputs and more errors from row 1400: every kind of detector has something to say.
    let mut rows = observed(&Stationary { rows: 2000, ..Stationary::default() }.generate(8), 8, |index| {
        if index < 1400 { 0.1 } else { 0.6 }
    });
    for row in &mut rows {
        row.task_key = Some((row.index / 700).to_string());
        row.event_time = Some(row.index as i64 * 600_000_000);
        if row.index >= 900 {
            row.label += 2;
        }
        if row.index >= 1400 {
            row.features.iter_mut().for_each(|value| *value += 3.0);
        }
    }
    let mut silent = Vec::new();
    for (name, _) in names() {
        let make = || build(&owned(&[name]), &DetectorConfigs::default()).unwrap();
        let (mut straight, mut relay) = (make(), make());
        let mut fired = 0;
        for row in &rows {
            let mut next = make();
            next.restore(&relay.save().unwrap()).unwrap();
            relay = next;
            let (expected, found) = (straight.observe(&row.view()), relay.observe(&row.view()));
            assert_eq!(found, expected, "{name}, row {}", row.index);
            if let Verdict::Boundary { .. } = expected {
                straight.reset();
                relay.reset();
                fired += 1;
            }
        }
        assert_eq!(relay.save().unwrap(), straight.save().unwrap(), "{name}");
        if fired == 0 {
            silent.push(name);
        }
    }
    println!("no boundary from {silent:?}");
    assert!(silent.contains(&"never") && silent.len() < 8, "{silent:?}");
}
