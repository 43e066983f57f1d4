//! Tasks that return, and streams that never end: what is recognised, what is merged, what stays bounded.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use arrow_array::RecordBatch;
use lightcl_boundary::{AnyOf, AutoConfig, AutoDetector, TaskColumnDetector};
use lightcl_core::*;
use lightcl_stream::encode::{Encoder, EncoderConfig};
use lightcl_stream::{Operator, OperatorConfig, RegimesConfig};
use lightcl_testkit::SoftmaxRegression;
use lightcl_testkit::streams::{Change, Generator, RandomRbf};
use std::collections::BTreeSet;
use support::*;

/// Visits named by letters; a letter's regime has labels and inputs of its own.
fn letters(order: &str, rows: usize) -> RecordBatch {
    let place = |letter: char| letter as usize - 'A' as usize;
    let visits: Vec<_> =
        order.chars().map(|letter| Visit { name: letter.into(), centre: 20 * place(letter), rows }).collect();
    let labels: Vec<i64> = order.chars().map(|letter| 2 * place(letter) as i64).collect();
    visited(&visits, |visit| labels[visit], |_| false)
}

/// Notices another name at once, and says nothing of it: the operator has to recognise by statistics.
fn at_once() -> Scripted {
    Scripted { by_key: true, ..Scripted::default() }
}

fn with(regimes: RegimesConfig) -> OperatorConfig {
    OperatorConfig { regimes, ..config() }
}

fn most(most_tasks: usize) -> OperatorConfig {
    with(RegimesConfig { most_tasks, ..RegimesConfig::default() })
}

fn found(outputs: &[Output]) -> Vec<(u32, bool)> {
    boundaries(outputs).iter().map(|event| (event.task, event.recurring)).collect()
}

fn last_report(outputs: &[Output]) -> &StabilityReport {
    let report = |output: &'_ Output| matches!(output, Output::Stability(_));
    match outputs.iter().rfind(|output| report(output)) {
        Some(Output::Stability(report)) => report,
        _ => panic!("no report"),
    }
}

#[test]
fn a_regime_that_returns_is_the_task_it_was() {
    let batch = letters("ABABA", 96);
    let mut operator = operator(OperatorConfig { probe_samples: 0, ..config() }, &batch, at_once());
    let outputs = run_in_pieces(&mut operator, &batch, &[64]);
    assert_eq!(found(&outputs), vec![(1, false), (0, true), (1, true), (0, true)]);
    let events = boundaries(&outputs);
    assert_eq!(events[0].evidence.len(), 1);
    assert_eq!(events[1].evidence[1].detector, "regimes");
    assert!(events[1].evidence[1].message.contains("fit task 0"), "{:?}", events[1].evidence);
    assert!(events.iter().all(|event| event.merged.is_none()));
    assert_eq!(operator.current_task(), 0);

    let summary = operator.summary().unwrap();
    assert_eq!((summary.tasks, summary.boundary_count, summary.recurring_boundaries), (2, 4, 3));
    assert_eq!(summary.boundaries, vec![96, 192, 288, 384]);

    // A known task is resumed with its classes and a first batch of its own; each visit is closed.
    let calls = calls(&outputs);
    let openings: Vec<_> = calls.iter().filter(|call| matches!(call, Call::Begin(_) | Call::Resume(..))).collect();
    let classes = |first: u32| vec![first, first + 1];
    let expected = [
        Call::Begin((0..8).collect()),
        Call::Begin((96..104).collect()),
        Call::Resume((192..200).collect(), classes(0)),
        Call::Resume((288..296).collect(), classes(2)),
        Call::Resume((384..392).collect(), classes(0)),
    ];
    assert_eq!(openings, expected.iter().collect::<Vec<_>>());
    assert_eq!(calls.iter().filter(|call| matches!(call, Call::End(_))).count(), 4);
}

#[test]
fn a_return_noticed_late_gives_the_learner_that_one_noticed_at_once_gives() {
    let batch = letters("ABA", 152);
    let late = Scripted { script: vec![(203, 152), (345, 304)], ..Scripted::default() };
    let mut straight = operator(config(), &batch, at_once());
    let expected = run_in_pieces(&mut straight, &batch, &[64]);
    let mut rolled_back = operator(config(), &batch, late);
    let outputs = run_in_pieces(&mut rolled_back, &batch, &[64]);
    assert_eq!(calls(&outputs), calls(&expected));
    assert_eq!(found(&outputs), vec![(1, false), (0, true)]);
    assert!(boundaries(&outputs)[1].rolled_back > 0);
    let (left, right) = (straight.bytes().unwrap(), rolled_back.bytes().unwrap());
    let of = |parts: &[PartBytes], name: &str| parts.iter().find(|part| part.part == name).unwrap().bytes;
    assert_eq!(of(&left, "probes"), of(&right, "probes"));
    // Both have the same windows in the ring and learnt the same rows before them, so the signatures are the same size.
    assert_eq!(of(&left, "regimes"), of(&right, "regimes"));
}

#[test]
fn without_recognition_every_boundary_opens_a_task() {
    let batch = letters("ABAB", 100);
    let config = with(RegimesConfig { recognise: false, ..RegimesConfig::default() });
    for outputs in [
        run_in_pieces(&mut operator(config.clone(), &batch, at_once()), &batch, &[64]),
        run_in_pieces(&mut operator(config, &batch, TaskColumnDetector::new()), &batch, &[64]),
    ] {
        assert_eq!(found(&outputs), vec![(1, false), (2, false), (3, false)]);
    }
}

#[test]
fn a_task_column_decides_by_its_names_alone() {
    // The second "a" looks like "b", and "c" looks like "a": names are believed.
    let visits = [("a", 0), ("b", 40), ("a", 40), ("c", 0), ("b", 80)];
    let visits: Vec<_> =
        visits.map(|(name, centre)| Visit { name: name.to_owned(), centre, rows: 100 }).into_iter().collect();
    let batch = visited(&visits, |_| 0, |_| false);
    let mut named = operator(config(), &batch, TaskColumnDetector::new());
    let outputs = run_in_pieces(&mut named, &batch, &[64]);
    assert_eq!(found(&outputs), vec![(1, false), (0, true), (2, false), (1, true)]);
    let events = boundaries(&outputs);
    let message = &events[1].evidence[1].message;
    assert!(message.contains("task 0 went by the name \"a\" before"), "{message}");
    // When another detector fires at the same row and estimates an earlier one, the column is believed.
    let estimates = Scripted { script: vec![(100, 90), (200, 190)], ..Scripted::default() };
    let both = AnyOf::new(vec![Box::new(estimates), Box::new(TaskColumnDetector::new())]).unwrap();
    let outputs = run_in_pieces(&mut operator(config(), &batch, both), &batch, &[64]);
    assert_eq!(boundaries(&outputs)[..2].iter().map(|event| event.at).collect::<Vec<_>>(), vec![100, 200]);
    assert_eq!(found(&outputs), vec![(1, false), (0, true), (2, false), (1, true)]);
    // With a detector that says nothing of names the statistics decide, but no task is taken under another name.
    let mut unnamed = operator(config(), &batch, at_once());
    let outputs = run_in_pieces(&mut unnamed, &batch, &[64]);
    assert_eq!(found(&outputs), vec![(1, false), (2, false), (3, false), (4, false)]);
}

#[test]
fn the_matrix_has_a_row_for_the_last_visit_of_each_task() {
    let batch = letters("ABCA", 200);
    let mut current = operator(config(), &batch, at_once());
    let outputs = run_in_pieces(&mut current, &batch, &[64]);
    let matrix = &last_report(&outputs).task_incremental;
    assert_eq!((matrix.tasks.as_slice(), matrix.after.as_slice()), (&[0, 1, 2][..], &[1, 2, 0][..]));
    assert_eq!(matrix.rows.iter().map(Vec::len).collect::<Vec<_>>(), vec![2, 3, 3]);
    assert!(matrix.rows.iter().flatten().all(Option::is_some));
    assert!(matrix.stability().unwrap() > 0.9 && matrix.plasticity().unwrap() > 0.9);
    assert_eq!(current.summary().unwrap().task_il_matrix, *matrix);
    // Without a return it looks as it always did.
    let batch = letters("ABC", 200);
    let mut plain = operator(config(), &batch, at_once());
    let outputs = run_in_pieces(&mut plain, &batch, &[64]);
    let matrix = &last_report(&outputs).task_incremental;
    assert!(matrix.tasks.is_empty() && matrix.after.is_empty());
    assert_eq!(matrix.rows.iter().map(Vec::len).collect::<Vec<_>>(), vec![1, 2, 3]);
}

#[test]
fn without_room_the_least_recently_used_task_goes_into_the_nearest() {
    // C is told by its classes alone; of A, B and D, A was used last. When D opens, B goes.
    let batch = letters("ABCAD", 200);
    let mut current = operator(most(3), &batch, at_once());
    let outputs = run_in_pieces(&mut current, &batch, &[64]);
    let events = boundaries(&outputs);
    assert_eq!(found(&outputs), vec![(1, false), (2, false), (0, true), (3, false)]);
    let merged = events[3].merged.unwrap();
    assert_eq!(merged.gone, 1);
    assert!(events[..3].iter().all(|event| event.merged.is_none()));
    let matrix = &last_report(&outputs).task_incremental;
    assert_eq!((matrix.tasks.as_slice(), matrix.after.as_slice()), (&[0, 2, 3][..], &[2, 0, 3][..]));
    let summary = current.summary().unwrap();
    assert_eq!((summary.tasks, summary.merged_tasks), (4, 1));
    // The pooled probes keep to what one task may have.
    let probes = current.bytes().unwrap().iter().find(|part| part.part == "probes").unwrap().bytes;
    assert!(probes <= 3 * 8 * (2 * 4 + 12), "{probes}");
}

#[test]
fn a_merged_task_is_found_by_either_name_and_a_change_between_them_is_no_boundary() {
    let batch = letters("ABCADB", 100);
    let mut current = operator(most(2), &batch, TaskColumnDetector::new());
    let outputs = run_in_pieces(&mut current, &batch, &[64]);
    // C: A goes into B. A is B's then. D: C goes into the nearest, B. B is it, too.
    let merged: Vec<_> = boundaries(&outputs).iter().map(|e| e.merged.map(|m| (m.gone, m.into))).collect();
    assert_eq!(found(&outputs), vec![(1, false), (2, false), (1, true), (3, false), (1, true)]);
    assert_eq!(merged, vec![None, Some((0, 1)), None, Some((2, 1)), None]);

    let batch = letters("ABCABAB", 100);
    let mut current = operator(most(2), &batch, TaskColumnDetector::new());
    let outputs = run_in_pieces(&mut current, &batch, &[64]);
    assert_eq!(found(&outputs), vec![(1, false), (2, false), (1, true)], "A, B, A and B are one task by then");
    assert_eq!(current.summary().unwrap().samples, 700);
}

/// A stream of `tasks` regimes that never return: the same two labels, other inputs and other names.
fn endless(tasks: usize) -> RecordBatch {
    let visits: Vec<_> =
        (0..tasks).map(|task| Visit { name: format!("t{task}"), centre: 25 * task, rows: 96 }).collect();
    visited(&visits, |_| 0, |_| false)
}

fn regression(config: OperatorConfig, batch: &RecordBatch) -> Operator {
    let make = Box::new(|shape: &[usize]| Ok(Box::new(SoftmaxRegression::new(shape, 1e-4)) as Box<dyn Learner>));
    Operator::new(config, encoder(batch, false), Box::new(at_once()), make).unwrap()
}

#[test]
fn a_stream_that_never_ends_keeps_its_state_within_bounds() {
    let batch = endless(200);
    let mut current = regression(OperatorConfig { rollback_windows: 2, ..most(8) }, &batch);
    let (mut early, mut late, mut ids) = (0, 0, BTreeSet::new());
    for task in 0..200 {
        let outputs = current.push(&positioned(&batch, 96 * task, 96 * (task + 1))).unwrap();
        ids.extend(boundaries(&outputs).iter().map(|event| event.task));
        // Boundaries fall into pushes after the first; 100 of them are enough to fill every bounded part.
        let bytes = current.save().unwrap().len();
        if task < 100 { early = early.max(bytes) } else { late = late.max(bytes) }
    }
    current.finish().unwrap();
    let own: Vec<_> = current.bytes().unwrap().iter().map(|part| (part.part.clone(), part.bytes)).collect();
    println!("saved state: at most {early} bytes within 100 tasks, {late} within 200; parts {own:?}");
    let summary = current.summary().unwrap();
    assert_eq!((summary.tasks, summary.boundary_count, summary.merged_tasks), (200, 199, 192));
    assert_eq!(ids.len(), 199, "numbers are never given twice");
    assert_eq!(summary.task_il_matrix.tasks.len(), 8);
    assert!(summary.task_il_matrix.rows.len() <= 8);
    // What still grows: up to 64 names a task, 8 bytes a boundary up to 10,000, and digits of numbers.
    assert!(late < early + 2_000, "{early} {late}");
}

#[test]
fn a_restart_at_any_boundary_changes_nothing() {
    let batch = letters("ABACDABDCA", 90);
    for config in [config(), most(3)] {
        let mut straight = operator(config.clone(), &batch, at_once());
        let expected = run_in_pieces(&mut straight, &batch, &[24]);
        assert!(found(&expected).iter().any(|&(_, recurring)| recurring));
        let mut current = operator(config.clone(), &batch, at_once());
        let (mut outputs, mut restarts) = (Vec::new(), 0);
        for start in (0..batch.num_rows()).step_by(10) {
            let new = current.push(&positioned(&batch, start, start + 10)).unwrap();
            let is_boundary = !boundaries(&new).is_empty();
            outputs.extend(new);
            if is_boundary {
                let state = current.save().unwrap();
                current = operator(config.clone(), &batch, at_once());
                current.restore(&state).unwrap();
                assert_eq!(current.save().unwrap(), state);
                restarts += 1;
            }
        }
        outputs.extend(current.finish().unwrap());
        assert_eq!(restarts, 9);
        assert_eq!(outputs, expected);
        assert_eq!(current.save().unwrap(), straight.save().unwrap());
    }
}

#[test]
fn a_boundary_noticed_with_one_row_waits_for_a_batch_before_it_is_decided() {
    // The boundary fires at its own first row; a batch is 8 rows.
    let batch = letters("ABA", 101);
    let mut straight = operator(config(), &batch, at_once());
    let expected = run_in_pieces(&mut straight, &batch, &[64]);
    assert_eq!(found(&expected), vec![(1, false), (0, true)]);
    let message = &boundaries(&expected)[1].evidence[1].message;
    assert!(message.contains("the first 11 samples"), "{message}");
    // Until the event, predictions keep the number of the task that was left.
    let mut task = 0;
    for output in &expected {
        match output {
            Output::Boundary(event) => task = event.task,
            Output::Prediction(prediction) => assert_eq!(prediction.task, task),
            _ => {}
        }
    }
    // A restart anywhere in between changes nothing, nor does another cut.
    for piece in [1, 3, 10] {
        let (mut current, mut outputs, mut undecided) = (operator(config(), &batch, at_once()), Vec::new(), 0);
        for start in (0..batch.num_rows()).step_by(piece) {
            let end = batch.num_rows().min(start + piece);
            outputs.extend(current.push(&positioned(&batch, start, end)).unwrap());
            let state = current.save().unwrap();
            current = operator(config(), &batch, at_once());
            current.restore(&state).unwrap();
            undecided += usize::from((101..112).contains(&end) && boundaries(&outputs).is_empty());
        }
        outputs.extend(current.finish().unwrap());
        assert!(undecided > 0);
        assert_eq!(outputs, expected);
        assert_eq!(current.save().unwrap(), straight.save().unwrap());
    }
    // The input ends before a batch waits: what there is decides.
    let batch = letters("AB", 101).slice(0, 106);
    let outputs = run_in_pieces(&mut operator(config(), &batch, at_once()), &batch, &[64]);
    assert_eq!(found(&outputs), vec![(1, false)]);
}

#[test]
fn two_regimes_that_alternate_are_two_tasks_although_standardisation_moves() {
    let mut two = 0;
    for seed in 0..5 {
        let stream = RandomRbf { rows: vec![2000; 6], change: Change::Recurring, ..RandomRbf::default() };
        let batch = stream.generate(seed).to_column_batch();
        let columns: Vec<String> = (0..10).map(|column| format!("x{column}")).collect();
        let names = columns.iter().map(String::as_str);
        let config = EncoderConfig { standardize: true, ..EncoderConfig::new(names, "label") };
        let encoder = Encoder::new(config, &batch.schema()).unwrap();
        let detector = AutoDetector::new(AutoConfig::default()).unwrap();
        let make = Box::new(|shape: &[usize]| Ok(Box::new(SoftmaxRegression::new(shape, 0.1)) as Box<dyn Learner>));
        let config = OperatorConfig { window_samples: 32, ..OperatorConfig::new("test") };
        let mut operator = Operator::new(config, encoder, Box::new(detector), make).unwrap();
        run_in_pieces(&mut operator, &batch, &[500]);
        let summary = operator.summary().unwrap();
        println!("{} tasks, boundaries {:?}", summary.tasks, summary.boundaries);
        two += u32::from(summary.tasks == 2);
    }
    assert!(two >= 4, "{two} of 5");
}
