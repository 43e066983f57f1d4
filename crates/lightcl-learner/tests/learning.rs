//! What training does and leaves alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test panics")]

mod common;

use common::*;
use lightcl_core::{Learner, Samples, Stateful};
use lightcl_learner::{
    ActiveClasses, Backbone, FrozenNorm, LearnerConfig, LightClLearner, MAX_CLASSES, MemoryConfig, Method,
    NamedWeights, Prefix,
};
use std::collections::BTreeMap;

fn tensors(learner: &LightClLearner) -> BTreeMap<String, Vec<f32>> {
    let mut all = BTreeMap::new();
    for blob in learner.snapshot().unwrap().blobs {
        let weights = NamedWeights::from_safetensors_bytes(&blob.bytes).unwrap();
        for name in weights.names() {
            let shape = weights.shape(name).unwrap().to_vec();
            all.insert(name.to_owned(), weights.get(name, &shape).unwrap().to_vec());
        }
    }
    all
}

fn accuracy(learner: &dyn Learner, samples: &Samples, only: &[u32]) -> f64 {
    let logits = learner.score(samples).unwrap();
    let hits = (0..samples.len()).filter(|&row| logits.best(row, Some(only)) == Some(samples.labels[row])).count();
    hits as f64 / samples.len() as f64
}

#[test]
fn lightcl_learns_tasks_and_keeps_the_first_better_than_sgd() {
    let kept = |method| {
        let backbone = Backbone::Mlp { hidden: vec![64; 4], frozen: 2 };
        let config = LearnerConfig { method, backbone, passes: 10, learning_rate: 0.1, ..mlp() };
        let (mut learner, shape) = build(config);
        run_tasks(&mut learner, 0..4, &shape);
        let test = task_samples(3, 60, &shape, 99);
        let newest = accuracy(&learner, &test, &[6, 7]);
        assert!(newest > 0.95, "{method:?} {newest}");
        accuracy(&learner, &task_samples(0, 60, &shape, 98), &[0, 1])
    };
    let (lightcl, sgd) = (kept(Method::Lightcl), kept(Method::Sgd));
    assert!(lightcl >= sgd && lightcl > 0.9, "{lightcl} {sgd}");
}

#[test]
fn the_prefix_trains_on_the_first_task_and_is_frozen_from_the_second() {
    for config in [mlp(), resnet()] {
        let (mut learner, shape) = build(config);
        let fresh = tensors(&learner);
        run_tasks(&mut learner, 0..1, &shape);
        assert!(!learner.is_prefix_frozen());
        let first = tensors(&learner);
        run_tasks(&mut learner, 1..3, &shape);
        assert!(learner.is_prefix_frozen());
        let last = tensors(&learner);
        let lower: Vec<_> =
            first.keys().filter(|name| name.starts_with("lower.") || name.starts_with("stem")).collect();
        assert!(lower.len() > 2);
        for name in lower {
            assert_ne!(fresh[name], first[name], "{name}");
            assert_eq!(first[name], last[name], "{name}");
        }
        assert!(first.keys().filter(|name| name.starts_with("deep.")).all(|name| first[name] != last[name]));
    }
}

#[test]
fn a_pretrained_prefix_never_trains_and_sgd_never_freezes() {
    let (mut learner, shape) = build(LearnerConfig { prefix: Prefix::Pretrained, ..mlp() });
    let fresh = tensors(&learner);
    run_tasks(&mut learner, 0..1, &shape);
    assert!(learner.is_prefix_frozen());
    assert_eq!(fresh["lower.1.weight"], tensors(&learner)["lower.1.weight"]);
    assert_ne!(fresh["deep.0.weight"], tensors(&learner)["deep.0.weight"]);

    let (mut learner, shape) = build(LearnerConfig { method: Method::Sgd, ..mlp() });
    run_tasks(&mut learner, 0..2, &shape);
    let before = tensors(&learner);
    let report = {
        let window = task_samples(2, 20, &shape, 3);
        learner.begin_task(&window).unwrap();
        learner.learn(&window).unwrap()
    };
    assert!(!learner.is_prefix_frozen());
    assert_ne!(before["lower.0.weight"], tensors(&learner)["lower.0.weight"]);
    assert_eq!(report.pattern_loss, 0.0);
    assert!(learner.masks().is_none() && learner.layers().unwrap().iter().all(|layer| layer.drift.is_none()));
}

#[test]
fn fixed_norms_stay_in_the_frozen_prefix_and_updating_ones_move() {
    for (frozen_norm, moves) in [(FrozenNorm::Fixed, false), (FrozenNorm::Update, true)] {
        let (mut learner, shape) = build(LearnerConfig { frozen_norm, ..resnet() });
        run_tasks(&mut learner, 0..1, &shape);
        let before = tensors(&learner);
        learner.begin_task(&task_samples(1, 20, &shape, 5)).unwrap();
        let begun = tensors(&learner);
        assert_eq!(before["bn.running_mean"] != begun["bn.running_mean"], moves);
        assert_ne!(before["deep.0.bn1.running_mean"], begun["deep.0.bn1.running_mean"]);
        learner.learn(&task_samples(1, 20, &shape, 6)).unwrap();
        let learnt = tensors(&learner);
        assert_eq!(before["lower.5.bn2.running_var"] != learnt["lower.5.bn2.running_var"], moves);
        assert_eq!(before["stem.weight"], learnt["stem.weight"]);
        assert_eq!(learner.is_prefix_frozen(), !moves);
    }
}

#[test]
fn a_fixed_prefix_runs_once_a_sample_however_many_passes_are_made() {
    for (frozen_norm, expected) in [(FrozenNorm::Fixed, 20), (FrozenNorm::Update, 4 * (20 + 3 * 15))] {
        let (mut learner, shape) = build(LearnerConfig { frozen_norm, passes: 4, ..resnet() });
        run_tasks(&mut learner, 0..1, &shape);
        let window = task_samples(1, 20, &shape, 5);
        learner.begin_task(&window).unwrap();
        let report = learner.learn(&window).unwrap();
        assert_eq!((report.steps, report.prefix_samples), (12, expected), "{frozen_norm:?}");
        assert!(report.pattern_loss > 0.0 && report.loss > report.pattern_loss);
    }
}

#[test]
fn training_prefixes_count_every_row_of_every_pass() {
    let (mut learner, shape) = build(LearnerConfig { passes: 3, ..mlp() });
    let window = task_samples(0, 20, &shape, 5);
    learner.begin_task(&window).unwrap();
    let report = learner.learn(&window).unwrap();
    assert_eq!((report.steps, report.prefix_samples), (9, 60));
}

#[test]
fn new_classes_grow_the_head_and_leave_the_old_rows_bit_for_bit() {
    // A step this small moves no weight, so what differs is what growth did.
    let (mut learner, shape) = build(LearnerConfig { learning_rate: 1e-30, momentum: 0.5, ..mlp() });
    assert_eq!(learner.score(&task_samples(0, 3, &shape, 0)).unwrap().classes, 0);
    learner.begin_task(&task_samples(0, 20, &shape, 0)).unwrap();
    learner.learn(&task_samples(0, 20, &shape, 0)).unwrap();
    learner.end_task(&task_samples(0, 20, &shape, 0)).unwrap();
    let before = tensors(&learner);
    let probe = task_samples(0, 5, &shape, 7);
    let scores = learner.score(&probe).unwrap();
    assert_eq!(scores.classes, 2);
    learner.begin_task(&task_samples(2, 20, &shape, 1)).unwrap();
    learner.learn(&task_samples(2, 20, &shape, 1)).unwrap();
    let after = tensors(&learner);
    assert_eq!(after["head.bias"].len(), 6);
    assert_eq!(before["head.weight"], after["head.weight"][..2 * 12]);
    assert_eq!(before["head.bias"], after["head.bias"][..2]);
    let grown = learner.score(&probe).unwrap();
    for row in 0..5 {
        assert_eq!(scores.row(row), &grown.row(row)[..2]);
    }
    // Rows depend on the class alone, not on when it appeared.
    let other = LightClLearner::new(LearnerConfig { initial_classes: 6, ..mlp() }, &shape, None).unwrap();
    assert_eq!(tensors(&other)["head.weight"], after["head.weight"]);
}

#[test]
fn a_class_that_appears_late_is_referenced_by_what_the_network_says_of_it_then() {
    for config in [mlp(), resnet()] {
        let (mut learner, shape) = build(LearnerConfig { learning_rate: 1e-30, ..config });
        run_tasks(&mut learner, 0..1, &shape);
        learner.begin_task(&task_samples(1, 20, &shape, 1)).unwrap();
        // Nothing has moved since the references were made, so their loss is nil for old and new classes alike.
        let report = learner.learn(&task_samples(3, 20, &shape, 2)).unwrap();
        assert_eq!(report.rejected_rows, Vec::<usize>::new());
        assert!(report.pattern_loss < 1e-9, "{}", report.pattern_loss);
        assert!(learner.layers().unwrap().iter().all(|layer| layer.drift.unwrap() < 1e-5));
    }
}

#[test]
fn active_classes_decide_which_logits_learn() {
    for (active_classes, others_learn) in [(ActiveClasses::Task, false), (ActiveClasses::Seen, true)] {
        let memory = MemoryConfig { samples: 0, ..MemoryConfig::default() };
        let (mut learner, shape) = build(LearnerConfig { active_classes, memory, ..mlp() });
        run_tasks(&mut learner, 0..1, &shape);
        let before = tensors(&learner)["head.bias"].clone();
        let window = task_samples(1, 20, &shape, 1);
        learner.begin_task(&window).unwrap();
        learner.learn(&window).unwrap();
        let after = tensors(&learner)["head.bias"].clone();
        assert_eq!(before[..2] != after[..2], others_learn, "{active_classes:?}");
    }
}

#[test]
fn loss_is_the_weighted_mean_and_weightless_rows_teach_nothing() {
    let (mut one, shape) = build(mlp());
    let (mut two, _) = build(mlp());
    let mut window = task_samples(0, 8, &shape, 0);
    window.weights = vec![2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let kept = Samples { weights: vec![2.0, 1.0], ..window.slice(0, 2) };
    for (learner, rows) in [(&mut one, &window), (&mut two, &kept)] {
        learner.begin_task(rows).unwrap();
        learner.learn(rows).unwrap();
    }
    for (name, values) in tensors(&one) {
        let other = &tensors(&two)[&name];
        assert!(values.iter().zip(other).all(|(a, b)| (a - b).abs() < 1e-6), "{name}");
    }
}

#[test]
fn momentum_follows_pytorchs_convention() {
    // One linear layer, so that the buffers can be followed from the weights alone: w2 - w1 = m (w1 - w0) - r g1.
    let run = |momentum: f64, steps: usize| {
        let config = LearnerConfig { momentum, batch_samples: 4, learning_rate: 0.01, ..mlp() };
        let (mut learner, shape) = build(config);
        let window = task_samples(0, 4, &shape, 0);
        learner.begin_task(&window).unwrap();
        for _ in 0..steps {
            learner.learn(&window).unwrap();
        }
        tensors(&learner)["head.bias"].clone()
    };
    let start = {
        let (mut learner, shape) = build(LearnerConfig { initial_classes: 2, ..mlp() });
        learner.begin_task(&task_samples(0, 4, &shape, 0)).unwrap();
        tensors(&learner)["head.bias"].clone()
    };
    let (first, plain, with) = (run(0.0, 1), run(0.0, 2), run(0.9, 2));
    assert_eq!(run(0.9, 1), first);
    for class in 0..2 {
        let expected = plain[class] + 0.9 * (first[class] - start[class]);
        assert!((with[class] - expected).abs() < 1e-6, "{} {expected}", with[class]);
    }
}

#[test]
fn later_passes_are_shuffled_by_the_seed() {
    let run = |seed: u64, passes: usize| {
        let mut config = mlp();
        config.passes = passes;
        config.seed = seed;
        let (mut learner, shape) = build(config);
        let window = task_samples(0, 20, &shape, 0);
        learner.begin_task(&window).unwrap();
        let report = learner.learn(&window).unwrap();
        (report, learner.save().unwrap())
    };
    assert_eq!(run(3, 2), run(3, 2));
    assert_ne!(run(3, 2).1, run(4, 2).1);
    // Another order than that of arrival: two calls of one pass each end elsewhere.
    let (mut learner, shape) = build(LearnerConfig { seed: 3, ..mlp() });
    let window = task_samples(0, 20, &shape, 0);
    learner.begin_task(&window).unwrap();
    learner.learn(&window).unwrap();
    learner.learn(&window).unwrap();
    let (mut shuffled, _) = build(LearnerConfig { seed: 3, passes: 2, ..mlp() });
    shuffled.begin_task(&window).unwrap();
    shuffled.learn(&window).unwrap();
    assert_ne!(tensors(&learner), tensors(&shuffled));
}

#[test]
fn wild_rows_are_rejected_and_everything_stays_as_it_was() {
    for config in [mlp(), resnet(), LearnerConfig { method: Method::Sgd, momentum: 0.9, ..mlp() }] {
        for wild in [f32::NAN, f32::INFINITY, 1e30] {
            let config = LearnerConfig { passes: 3, ..config.clone() };
            let (mut learner, shape) = build(config);
            run_tasks(&mut learner, 0..2, &shape);
            let window = task_samples(2, 8, &shape, 4);
            learner.begin_task(&window).unwrap();
            learner.learn(&window).unwrap();
            let before = learner.save().unwrap();
            let mut bad = task_samples(2, 8, &shape, 5);
            bad.features.iter_mut().for_each(|value| *value = wild);
            let report = learner.learn(&bad).unwrap();
            assert_eq!(report.rejected_rows, (0..8).collect::<Vec<_>>(), "{wild}");
            assert_eq!((report.steps, report.loss), (0, 0.0));
            // Only the generator may have moved on.
            let after = learner.clone();
            assert_eq!(tensors(&after).values().flatten().filter(|v| !v.is_finite()).count(), 0);
            if !wild.is_finite() {
                assert_eq!(before, after.save().unwrap());
            }
            let report = learner.learn(&window).unwrap();
            assert_eq!((report.steps, report.rejected_rows.len()), (3, 0));
        }
    }
}

#[test]
fn a_batch_that_explodes_is_left_out_of_later_passes_and_reported_once() {
    let (mut learner, shape) = build(LearnerConfig { passes: 3, ..mlp() });
    let mut window = task_samples(0, 24, &shape, 4);
    window.features[9 * 6..10 * 6].fill(1e30);
    learner.begin_task(&window).unwrap();
    let report = learner.learn(&window).unwrap();
    assert_eq!(report.rejected_rows, (8..16).collect::<Vec<_>>());
    assert_eq!((report.steps, report.prefix_samples), (6, 24 + 2 * 16));

    // A single row that is no number is left out alone.
    window.features[9 * 6..10 * 6].fill(f32::NAN);
    window.weights[20] = f32::NAN;
    window.labels[21] = MAX_CLASSES as u32;
    let report = learner.learn(&window).unwrap();
    assert_eq!(report.rejected_rows, [9, 20, 21]);
    assert_eq!(report.steps, 9);
}

#[test]
fn a_learning_rate_that_explodes_the_weights_is_caught() {
    let (mut learner, shape) = build(LearnerConfig { learning_rate: 1e12, ..mlp() });
    let window = task_samples(0, 8, &shape, 4);
    let fresh = tensors(&learner);
    learner.begin_task(&window).unwrap();
    let report = learner.learn(&window).unwrap();
    assert_eq!(report.rejected_rows.len(), 8);
    let after = tensors(&learner);
    assert!(fresh.iter().all(|(name, values)| after[name] == *values));
}

#[test]
fn wild_rows_do_not_become_memory() {
    for config in [mlp(), resnet()] {
        let (mut learner, shape) = build(config);
        run_tasks(&mut learner, 0..1, &shape);
        let mut first = task_samples(1, 20, &shape, 4);
        let width = first.width();
        first.features[2 * width..3 * width].fill(1e30);
        first.features[5 * width] = f32::NAN;
        learner.begin_task(&first).unwrap();
        let inputs = learner.bytes().into_iter().find(|part| part.part == "memory_inputs").unwrap();
        assert_eq!(inputs.bytes, 13 * width as u64 * 4);
        let report = learner.learn(&task_samples(1, 20, &shape, 5)).unwrap();
        assert!(report.rejected_rows.is_empty() && report.pattern_loss >= 0.0);

        first.features.fill(f32::INFINITY);
        learner.end_task(&first).unwrap();
        learner.begin_task(&first).unwrap();
        assert!(learner.layers().unwrap().iter().all(|layer| layer.drift.is_none()));
        learner.learn(&task_samples(2, 20, &shape, 5)).unwrap();
    }
}

#[test]
fn masks_only_grow_and_are_reported_with_drift() {
    let (mut learner, shape) = build(LearnerConfig { passes: 5, ..mlp() });
    run_tasks(&mut learner, 0..1, &shape);
    let first: Vec<Vec<bool>> = learner.masks().unwrap().to_vec();
    assert_eq!(first.iter().map(Vec::len).collect::<Vec<_>>(), [16, 12]);
    run_tasks(&mut learner, 1..3, &shape);
    let now = learner.masks().unwrap();
    for (old, new) in first.iter().zip(now) {
        assert!(old.iter().zip(new).all(|(&old, &new)| new || !old));
    }
    let layers = learner.layers().unwrap();
    assert_eq!(layers.iter().map(|l| l.layer.as_str()).collect::<Vec<_>>(), ["deep.0", "deep.1"]);
    for (layer, mask) in layers.iter().zip(now) {
        assert_eq!(layer.vital_channels, mask.iter().filter(|&&v| v).count());
        assert!(layer.drift.unwrap() > 0.0);
    }
    let before = learner.save().unwrap();
    learner.layers().unwrap();
    assert_eq!(before, learner.save().unwrap());
}

#[test]
fn a_task_that_returns_is_protected_from_but_marks_no_more_channels() {
    for config in [mlp(), resnet()] {
        let (mut learner, shape) = build(LearnerConfig { active_classes: ActiveClasses::Task, ..config });
        run_tasks(&mut learner, 0..2, &shape);
        assert!(learner.is_prefix_frozen());
        let (masks, before) = (learner.masks().unwrap().to_vec(), tensors(&learner));
        let window = |index: u64| task_samples(0, 20, &shape, 50 + index);
        // A class that was never learnt (99) is left out.
        learner.resume_task(&window(0), &[0, 1, 99]).unwrap();
        assert!(learner.layers().unwrap().iter().all(|layer| layer.drift == Some(0.0)), "new references");
        let report = learner.learn(&window(1)).unwrap();
        assert!(report.pattern_loss > 0.0);
        // Cross-entropy runs over the classes of the task that returned: those of the other one move by the pattern loss alone.
        let after = tensors(&learner);
        let moved = |class: usize| (after["head.bias"][class] - before["head.bias"][class]).abs();
        assert!(moved(0).min(moved(1)) > 4.0 * moved(2).max(moved(3)), "{:?}", [0, 1, 2, 3].map(moved));
        learner.end_task(&window(2)).unwrap();
        assert_eq!(learner.masks().unwrap(), masks);
        run_tasks(&mut learner, 2..8, &shape);
        assert_ne!(learner.masks().unwrap(), masks, "new tasks mark their own again");
    }
}

#[test]
fn the_prefix_freezes_when_the_second_task_opened_is_the_first_again() {
    let (mut learner, shape) = build(mlp());
    run_tasks(&mut learner, 0..1, &shape);
    assert!(!learner.is_prefix_frozen());
    learner.resume_task(&task_samples(0, 20, &shape, 5), &[0, 1]).unwrap();
    assert!(learner.is_prefix_frozen());
}

#[test]
fn pruned_weights_stay_zero() {
    for config in [mlp(), resnet()] {
        let (mut learner, shape) = build(LearnerConfig { sparse: true, momentum: 0.9, ..config });
        let zeros = |learner: &LightClLearner| -> BTreeMap<String, Vec<bool>> {
            let all = tensors(learner).into_iter();
            all.filter(|(name, values)| name.ends_with("weight") && values.contains(&0.0))
                .map(|(name, values)| (name, values.iter().map(|&v| v == 0.0).collect()))
                .collect()
        };
        let before = zeros(&learner);
        assert!(before.len() >= 4);
        run_tasks(&mut learner, 0..2, &shape);
        assert_eq!(before, zeros(&learner));
        let report = learner.learn(&task_samples(1, 8, &shape, 1)).unwrap();
        assert_eq!(report.steps, 1);
    }
}

#[test]
fn empty_batches_are_taken_in_stride() {
    for config in [mlp(), resnet(), LearnerConfig { method: Method::Sgd, ..mlp() }] {
        let (mut learner, shape) = build(config);
        let none = Samples::empty(&shape);
        for _ in 0..3 {
            learner.begin_task(&none).unwrap();
            assert_eq!(learner.learn(&none).unwrap().steps, 0);
            assert!(learner.score(&none).unwrap().values.is_empty());
            assert!(learner.embed(&none).unwrap().values.is_empty());
            learner.end_task(&none).unwrap();
        }
        run_tasks(&mut learner, 0..2, &shape);
        // A task may begin before any class was seen, too.
        let (mut learner, _) = build(learner.config().clone());
        let window = task_samples(0, 20, &shape, 0);
        learner.begin_task(&window).unwrap();
        learner.end_task(&window).unwrap();
        learner.begin_task(&window).unwrap();
        let report = learner.learn(&window).unwrap();
        assert!(report.rejected_rows.is_empty() && report.steps == 3);
    }
}

#[test]
fn a_single_value_a_channel_is_normalised_without_nan() {
    let (mut learner, shape) = build(LearnerConfig { batch_samples: 1, ..resnet() });
    let window = task_samples(0, 3, &shape, 0);
    learner.begin_task(&window).unwrap();
    let report = learner.learn(&window).unwrap();
    assert_eq!((report.steps, report.rejected_rows.len()), (3, 0));
}

#[test]
fn a_backbone_may_have_no_prefix_at_all() {
    let config = LearnerConfig { backbone: Backbone::Mlp { hidden: vec![12], frozen: 0 }, ..mlp() };
    let (mut learner, shape) = build(config);
    run_tasks(&mut learner, 0..3, &shape);
    let probe = task_samples(0, 5, &shape, 0);
    assert_eq!(learner.embed(&probe).unwrap().values, probe.features);
    let bytes = learner.save_plastic().unwrap();
    learner.restore_plastic(&bytes).unwrap();
}

#[test]
fn other_shapes_are_refused() {
    let (mut learner, shape) = build(mlp());
    run_tasks(&mut learner, 0..1, &shape);
    let other = Samples::from_rows(&[5], &[(vec![0.0; 5], 0)]);
    let mut short = task_samples(0, 2, &shape, 0);
    short.features.pop();
    for samples in [&other, &short] {
        assert!(learner.score(samples).is_err());
        assert!(learner.learn(samples).is_err());
        assert!(learner.begin_task(samples).is_err());
        assert!(learner.end_task(samples).is_err());
        assert!(learner.embed(samples).is_err());
        assert!(learner.taps(samples).is_err());
    }
    let embedding = lightcl_core::Embedding { shape: vec![20], values: vec![0.0; 21] };
    assert!(learner.score_embedding(&embedding).is_err());
}
