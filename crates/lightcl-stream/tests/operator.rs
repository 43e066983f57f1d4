//! The operator's rules, followed step by step with a learner that writes down what it is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use lightcl_core::*;
use lightcl_stream::OperatorConfig;
use proptest::prelude::*;
use std::collections::BTreeSet;
use support::*;

fn by_key() -> Scripted {
    Scripted { by_key: true, ..Scripted::default() }
}

fn noticed_late(script: &[(u64, u64)]) -> Scripted {
    Scripted { script: script.to_vec(), ..Scripted::default() }
}

fn learnt(calls: &[Call]) -> Vec<u64> {
    calls
        .iter()
        .filter_map(|call| if let Call::Learn(rows) = call { Some(rows.clone()) } else { None })
        .flatten()
        .collect()
}

#[test]
fn a_boundary_splits_its_batch_and_rows_before_it_belong_to_the_old_task() {
    let batch = rows(3, 45, |_| false);
    let mut operator = operator(OperatorConfig { probe_samples: 0, ..config() }, &batch, by_key());
    let outputs = run_in_pieces(&mut operator, &batch, &[1000]);
    let found: Vec<_> = boundaries(&outputs).iter().map(|b| (b.task, b.at, b.detected_at)).collect();
    assert_eq!(found, vec![(1, 45, 45), (2, 90, 90)]);
    let expected = vec![
        Call::Begin((0..8).collect()),
        Call::Learn((0..32).collect()),
        Call::Learn((32..45).collect()),
        Call::End((37..45).collect()),
        Call::Begin((45..53).collect()),
        Call::Learn((45..77).collect()),
        Call::Learn((77..90).collect()),
        Call::End((82..90).collect()),
        Call::Begin((90..98).collect()),
        Call::Learn((90..122).collect()),
        Call::Learn((122..135).collect()),
    ];
    assert_eq!(calls(&outputs), expected);
    assert_eq!(boundaries(&outputs)[0].closed_task_labels.iter().collect::<BTreeSet<_>>().len(), 2);
}

#[test]
fn a_boundary_noticed_late_gives_the_learner_that_one_noticed_at_once_gives() {
    let batch = rows(2, 150, |_| false);
    let mut at_once = operator(config(), &batch, by_key());
    let mut late = operator(config(), &batch, noticed_late(&[(201, 150)]));
    let expected = run_in_pieces(&mut at_once, &batch, &[64]);
    let outputs = run_in_pieces(&mut late, &batch, &[64]);
    assert_eq!(calls(&outputs), calls(&expected));
    let event = &boundaries(&outputs)[0];
    assert_eq!((event.at, event.detected_at), (150, 201));
    // Windows 128..160 and 160..192 were undone; of those rows 150..192 are learnt again.
    assert_eq!(event.rolled_back, 42);
    let (a, b) = (at_once.summary().unwrap(), late.summary().unwrap());
    assert_eq!((a.trained_samples, a.task_il, a.boundaries), (b.trained_samples, b.task_il, b.boundaries));
}

#[test]
fn predictions_are_emitted_once_whatever_is_rolled_back() {
    let batch = rows(2, 150, |_| false);
    let mut operator = operator(config(), &batch, noticed_late(&[(201, 150)]));
    let outputs = run_in_pieces(&mut operator, &batch, &[17]);
    let scored: Vec<u64> =
        outputs.iter().filter_map(|o| if let Output::Prediction(p) = o { Some(p.index) } else { None }).collect();
    assert_eq!(scored, (0..300).collect::<Vec<_>>());
}

#[test]
fn without_a_ring_a_late_boundary_is_placed_at_the_open_window() {
    let batch = rows(2, 150, |_| false);
    let config = OperatorConfig { rollback_windows: 0, ..config() };
    let mut operator = operator(config, &batch, noticed_late(&[(201, 150)]));
    let outputs = run_in_pieces(&mut operator, &batch, &[64]);
    let event = &boundaries(&outputs)[0];
    assert_eq!((event.at, event.rolled_back), (192, 0));
}

#[test]
fn a_boundary_at_the_start_of_a_task_is_none() {
    let batch = rows(1, 100, |_| false);
    let mut operator = operator(config(), &batch, noticed_late(&[(3, 0), (60, 0)]));
    let outputs = run_in_pieces(&mut operator, &batch, &[10]);
    assert!(boundaries(&outputs).is_empty());
    assert_eq!(operator.summary().unwrap().tasks, 1);
}

#[test]
fn two_boundaries_in_one_batch_are_both_placed() {
    let batch = rows(1, 100, |_| false);
    let mut operator = operator(config(), &batch, noticed_late(&[(41, 41), (44, 43)]));
    let outputs = run_in_pieces(&mut operator, &batch, &[100]);
    assert_eq!(boundaries(&outputs).iter().map(|b| b.at).collect::<Vec<_>>(), vec![41, 43]);
}

#[test]
fn held_out_probes_are_never_learnt_from_and_every_other_row_is_once() {
    let batch = rows(2, 300, |_| false);
    let mut operator = operator(config(), &batch, by_key());
    let outputs = run_in_pieces(&mut operator, &batch, &[64]);
    let learnt = learnt(&calls(&outputs));
    let unique: BTreeSet<_> = learnt.iter().collect();
    assert_eq!(unique.len(), learnt.len());
    let summary = operator.summary().unwrap();
    let held_out = 600 - learnt.len();
    assert!((10..=24).contains(&held_out), "{held_out}");
    assert_eq!(summary.trained_samples, learnt.len() as u64);
    assert_eq!(summary.accuracy_source, "probes");
    assert!(summary.task_il.unwrap() > 0.9);
}

#[test]
fn bad_rows_are_dead_letters_with_their_place_and_the_stream_goes_on() {
    let batch = rows(1, 100, |i| i % 10 == 3);
    let mut operator = operator(OperatorConfig { probe_samples: 0, ..config() }, &batch, by_key());
    let outputs = run_in_pieces(&mut operator, &batch, &[7]);
    let letters: Vec<_> =
        outputs.iter().filter_map(|o| if let Output::Rejected(r) = o { Some(r) } else { None }).collect();
    assert_eq!(letters.len(), 10);
    assert!(letters.iter().all(|letter| letter.reason == RejectReason::NullFeature && letter.index % 10 == 3));
    assert_eq!(learnt(&calls(&outputs)).len(), 90);
    let summary = operator.summary().unwrap();
    assert_eq!((summary.samples, summary.rejected, summary.rejected_by_reason["null_feature"]), (100, 10, 10));
}

#[test]
fn a_batch_the_learner_refuses_is_kept_in_the_dead_letters_once_even_when_rolled_back() {
    let mut batch = rows(1, 100, |_| false);
    let mut columns = batch.columns().to_vec();
    let y: arrow_array::Float32Array = (0..100).map(|i| Some(if i == 20 { 1e30 } else { 1.0 })).collect();
    columns[1] = std::sync::Arc::new(y);
    batch = arrow_array::RecordBatch::try_new(batch.schema(), columns).unwrap();
    let config = OperatorConfig { probe_samples: 0, ..config() };
    let mut operator = operator(config, &batch, noticed_late(&[(70, 10)]));
    let outputs = run_in_pieces(&mut operator, &batch, &[100]);
    let letters: Vec<_> =
        outputs.iter().filter_map(|o| if let Output::Rejected(r) = o { Some(r) } else { None }).collect();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].index, letters[0].reason), (20, RejectReason::Diverged));
    assert_eq!(operator.summary().unwrap().trained_samples, 99);
}

#[test]
fn an_empty_batch_a_batch_of_bad_rows_and_no_rows_at_all_are_fine() {
    let batch = rows(1, 40, |_| true);
    let mut operator = operator(config(), &batch, by_key());
    assert!(operator.push(&positioned(&batch, 0, 0)).unwrap().is_empty());
    let outputs = run_in_pieces(&mut operator, &batch, &[40]);
    assert_eq!(outputs.iter().filter(|o| matches!(o, Output::Rejected(_))).count(), 40);
    let summary = operator.summary().unwrap();
    assert_eq!((summary.samples, summary.rejected, summary.trained_samples, summary.snapshots), (40, 40, 0, 0));
    assert_eq!(summary.prequential_accuracy, None);
}

#[test]
fn ending_twice_changes_nothing_and_more_rows_may_follow() {
    let batch = rows(2, 50, |_| false);
    let mut operator = operator(config(), &batch, by_key());
    operator.push(&positioned(&batch, 0, 45)).unwrap();
    assert!(!operator.finish().unwrap().is_empty());
    let state = operator.save().unwrap();
    assert!(operator.finish().unwrap().is_empty());
    assert_eq!(operator.save().unwrap(), state);
    let outputs = run_in_pieces(&mut operator, &batch, &[64]);
    assert_eq!(boundaries(&outputs).len(), 1);
    assert_eq!(operator.summary().unwrap().samples, 100);
}

#[test]
fn rows_out_of_order_are_refused() {
    let batch = rows(1, 50, |_| false);
    let mut operator = operator(config(), &batch, by_key());
    operator.push(&positioned(&batch, 0, 10)).unwrap();
    assert!(operator.push(&positioned(&batch, 5, 15)).is_err());
    assert!(operator.push(&positioned(&batch, 11, 15)).is_err());
}

#[test]
fn reports_and_snapshots_come_by_count_at_boundaries_and_at_the_end() {
    let batch = rows(2, 160, |_| false);
    let config = OperatorConfig { stability_every_samples: 64, snapshot_every_samples: 128, ..config() };
    let mut operator = operator(config, &batch, by_key());
    let outputs = run_in_pieces(&mut operator, &batch, &[64]);
    let reports: Vec<_> = outputs
        .iter()
        .filter_map(|o| if let Output::Stability(r) = o { Some((r.samples, r.reason.clone())) } else { None })
        .collect();
    let of = |reason: &str| reports.iter().filter(|r| r.1 == reason).map(|r| r.0).collect::<Vec<_>>();
    assert_eq!(of("interval"), vec![64, 128, 192, 256, 320]);
    assert_eq!(of("boundary").len(), 1);
    assert_eq!(of("end"), vec![320]);
    let versions: Vec<_> = outputs
        .iter()
        .filter_map(|o| if let Output::Snapshot(s) = o { Some((s.manifest.version, s.manifest.parent)) } else { None })
        .collect();
    assert_eq!(versions, vec![(1, None), (2, Some(1)), (3, Some(2)), (4, Some(3))]);
}

#[test]
fn probes_and_ring_keep_to_their_byte_budgets() {
    let batch = rows(6, 200, |_| false);
    let config = OperatorConfig { probe_bytes: 400, rollback_bytes: 9_000, ..config() };
    let mut operator = operator(config, &batch, by_key());
    for start in (0..1200).step_by(50) {
        operator.push(&positioned(&batch, start, start + 50)).unwrap();
        let bytes = operator.bytes().unwrap();
        let of = |part: &str| bytes.iter().find(|p| p.part == part).unwrap().bytes;
        assert!(of("probes") <= 400, "{}", of("probes"));
        assert!(of("rollback_ring") <= 9_000, "{}", of("rollback_ring"));
    }
}

#[test]
fn restoring_damaged_bytes_is_an_error_and_leaves_the_operator_as_it_was() {
    let batch = rows(2, 100, |_| false);
    let mut operator = operator(config(), &batch, by_key());
    operator.push(&positioned(&batch, 0, 130)).unwrap();
    let state = operator.save().unwrap();
    for cut in (0..state.len()).step_by(37) {
        assert!(operator.restore(&state[..cut]).is_err());
        assert_eq!(operator.save().unwrap(), state);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Neither the cut into pieces nor a kill and a restart at any row changes a byte of state or an output.
    #[test]
    fn pieces_and_restarts_change_nothing(
        sizes in prop::collection::vec(1_usize..50, 1..6),
        stops in prop::collection::vec(1_usize..400, 0..4),
        noticed in 100_u64..390,
        late in 0_u64..90,
    ) {
        let batch = rows(2, 200, |i| i % 23 == 5);
        let detector = Scripted { by_key: true, ..noticed_late(&[(noticed, noticed - late)]) };
        let mut straight = operator(config(), &batch, detector.clone());
        let expected = run_in_pieces(&mut straight, &batch, &[1000]);

        let mut outputs = Vec::new();
        let mut current = operator(config(), &batch, detector.clone());
        let mut stops = stops.clone();
        stops.sort_unstable();
        let mut start = 0;
        for stop in stops {
            for size in sizes.iter().cycle() {
                if start >= stop { break; }
                let end = (start + size).min(stop);
                outputs.extend(current.push(&positioned(&batch, start, end)).unwrap());
                start = end;
            }
            let state = current.save().unwrap();
            current = operator(config(), &batch, detector.clone());
            current.restore(&state).unwrap();
            prop_assert_eq!(current.save().unwrap(), state);
        }
        outputs.extend(run_in_pieces(&mut current, &batch, &sizes));
        prop_assert_eq!(current.save().unwrap(), straight.save().unwrap());
        // Dead letters may come before or after the predictions of rows around them; each kind keeps its order.
        let split = |all: Vec<Output>| all.into_iter().partition::<Vec<_>, _>(|o| matches!(o, Output::Rejected(_)));
        prop_assert_eq!(split(outputs), split(expected));
    }
}
