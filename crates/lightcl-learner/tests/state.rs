//! Saving, restoring, forking, publishing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test panics")]

mod common;

use common::*;
use lightcl_core::{Learner, Samples, Stateful, state};
use lightcl_learner::{FrozenNorm, LearnerConfig, LightClLearner, Method, NamedWeights, Prefix};

fn kinds() -> Vec<LearnerConfig> {
    vec![
        mlp(),
        LearnerConfig { momentum: 0.9, passes: 3, ..mlp() },
        LearnerConfig { method: Method::Sgd, momentum: 0.9, passes: 2, ..mlp() },
        LearnerConfig { sparse: true, ..mlp() },
        LearnerConfig { passes: 2, ..resnet() },
        LearnerConfig { frozen_norm: FrozenNorm::Update, momentum: 0.5, sparse: true, ..resnet() },
        LearnerConfig { prefix: Prefix::Pretrained, ..resnet() },
    ]
}

/// The calls of a stream of three tasks, one a step.
fn call(learner: &mut dyn Learner, step: usize, shape: &[usize]) {
    let task = (step / 5) as u32;
    let window = |index: u64| task_samples(task, 20, shape, 50 * u64::from(task) + index);
    match step % 5 {
        0 => learner.begin_task(&window(0)).unwrap(),
        4 => learner.end_task(&window(3)).unwrap(),
        index => drop(learner.learn(&window(index as u64)).unwrap()),
    }
}

#[test]
fn a_run_stopped_and_restored_anywhere_ends_with_the_same_bytes() {
    for config in kinds() {
        let (mut whole, shape) = build(config.clone());
        let mut saved = Vec::new();
        for step in 0..15 {
            saved.push(whole.save().unwrap());
            call(&mut whole, step, &shape);
        }
        let end = whole.save().unwrap();
        for (stop, bytes) in saved.iter().enumerate() {
            let (mut resumed, _) = build(config.clone());
            resumed.restore(bytes).unwrap();
            assert_eq!(&resumed.save().unwrap(), bytes);
            for step in stop..15 {
                call(&mut resumed, step, &shape);
            }
            assert_eq!(resumed.save().unwrap(), end, "{config:?} stopped before {stop}");
        }
    }
}

#[test]
fn the_plastic_state_goes_back_on_a_fork_without_the_frozen_prefix() {
    for config in kinds() {
        let (mut learner, shape) = build(config.clone());
        for step in 0..7 {
            call(&mut learner, step, &shape);
        }
        let (whole, plastic) = (learner.save().unwrap(), learner.save_plastic().unwrap());
        assert_eq!(plastic.len() < whole.len(), config.method == Method::Lightcl, "{config:?}");
        let mut fork = learner.fork();
        for step in 7..13 {
            call(fork.as_mut(), step, &shape);
        }
        assert_ne!(fork.save().unwrap(), whole);
        assert_eq!(learner.save().unwrap(), whole, "a fork does not touch the original");
        fork.restore_plastic(&plastic).unwrap();
        assert_eq!(fork.save().unwrap(), whole);
    }
}

#[test]
fn a_plastic_state_from_before_freezing_unfreezes_again() {
    let (mut learner, shape) = build(mlp());
    for step in 0..3 {
        call(&mut learner, step, &shape);
    }
    let (whole, plastic) = (learner.save().unwrap(), learner.save_plastic().unwrap());
    for step in 3..9 {
        call(&mut learner, step, &shape);
    }
    learner.restore_plastic(&plastic).unwrap();
    assert_eq!(learner.save().unwrap(), whole);
}

#[test]
fn bytes_of_something_else_are_refused_and_change_nothing() {
    let (mut learner, shape) = build(mlp());
    run_tasks(&mut learner, 0..2, &shape);
    let (whole, plastic) = (learner.save().unwrap(), learner.save_plastic().unwrap());
    let (mut other_prefix, _) = build(LearnerConfig { ..mlp() });
    run_tasks(&mut other_prefix, 3..5, &shape);
    assert!(other_prefix.restore_plastic(&plastic).is_err(), "a plastic state belongs to its prefix");
    let (mut unfrozen, _) = build(mlp());
    assert!(unfrozen.restore_plastic(&plastic).is_err());
    assert!(unfrozen.restore(&plastic).is_err() && unfrozen.restore_plastic(&whole).is_err());

    let (mut other, _) = build(LearnerConfig { learning_rate: 0.5, seed: 9, ..mlp() });
    let error = other.restore(&whole).unwrap_err().to_string();
    assert!(error.contains("learning_rate: 0.05 -> 0.5") && error.contains("seed: 0 -> 9"), "{error}");

    for cut in (0..whole.len()).step_by(97) {
        assert!(learner.restore(&whole[..cut]).is_err());
    }
    let mut damaged = whole.clone();
    for position in (0..600).step_by(7) {
        damaged[position] ^= 0x55;
        let _ = learner.restore(&damaged);
        damaged[position] ^= 0x55;
        learner.restore(&whole).unwrap();
    }
    assert!(learner.restore(b"").is_err());
    assert_eq!(learner.save().unwrap(), whole);
}

#[test]
fn sections_that_are_unknown_are_named() {
    struct Bytes(Vec<u8>);
    impl serde::Serialize for Bytes {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(&self.0)
        }
    }
    let (mut learner, _) = build(mlp());
    let bytes = learner.save().unwrap();
    let sections: Vec<(String, Vec<u8>)> = state::decode("lightcl-learner", 3, &bytes).unwrap();
    let mut sections: Vec<_> = sections.into_iter().map(|(name, bytes)| (name, Bytes(bytes))).collect();
    assert_eq!(state::encode("lightcl-learner", 3, &sections).unwrap(), bytes);
    sections.push(("pattern_statistics".to_owned(), Bytes(vec![1, 2, 3])));
    let error = learner.restore(&state::encode("lightcl-learner", 3, &sections).unwrap()).unwrap_err();
    assert!(error.to_string().contains("pattern_statistics"), "{error}");
    sections.truncate(3);
    let error = learner.restore(&state::encode("lightcl-learner", 3, &sections).unwrap()).unwrap_err();
    assert!(error.to_string().contains("lack"), "{error}");
}

#[test]
fn a_snapshot_scores_like_the_learner_it_was_taken_from() {
    for config in kinds() {
        let (mut learner, shape) = build(config.clone());
        run_tasks(&mut learner, 0..2, &shape);
        let snapshot = learner.snapshot().unwrap();
        assert_eq!(snapshot, learner.snapshot().unwrap());
        let reader = LightClLearner::from_snapshot(&snapshot.description, &snapshot.blobs).unwrap();
        let probe = task_samples(1, 30, &shape, 77);
        assert_eq!(reader.score(&probe).unwrap(), learner.score(&probe).unwrap(), "{config:?}");
        assert_eq!(snapshot.description["classes"], 4);
        assert_eq!(snapshot.blobs.iter().map(|b| b.role.as_str()).collect::<Vec<_>>(), ["prefix", "suffix"]);
        // What never changes has the same bytes in every snapshot.
        call(&mut learner, 10, &shape);
        call(&mut learner, 11, &shape);
        let later = learner.snapshot().unwrap();
        assert_eq!(later.blobs[0] == snapshot.blobs[0], config.method == Method::Lightcl, "{config:?}");
        assert_ne!(later.blobs[1], snapshot.blobs[1]);

        assert!(LightClLearner::from_snapshot(&snapshot.description, &snapshot.blobs[..1]).is_err());
        assert!(LightClLearner::from_snapshot(&serde_json::json!({}), &snapshot.blobs).is_err());
        assert!(LightClLearner::from_snapshot(&later.description, &[]).is_err());
    }
}

#[test]
fn a_snapshot_before_any_class_can_be_read() {
    let (learner, shape) = build(mlp());
    let snapshot = learner.snapshot().unwrap();
    let reader = LightClLearner::from_snapshot(&snapshot.description, &snapshot.blobs).unwrap();
    assert_eq!(reader.score(&task_samples(0, 2, &shape, 0)).unwrap().classes, 0);
}

#[test]
fn snapshot_tensors_have_pytorchs_names_and_shapes() {
    let (mut learner, shape) = build(resnet());
    run_tasks(&mut learner, 0..1, &shape);
    let blobs = learner.snapshot().unwrap().blobs;
    let read = |index: usize| NamedWeights::from_safetensors_bytes(&blobs[index].bytes).unwrap();
    let (prefix, suffix) = (read(0), read(1));
    assert_eq!(prefix.shape("stem.weight"), Some(&[2, 1, 3, 3][..]));
    assert_eq!(prefix.shape("lower.2.short.0.weight"), Some(&[4, 2, 1, 1][..]));
    assert_eq!(prefix.shape("lower.5.bn2.running_var"), Some(&[8][..]));
    assert_eq!(suffix.shape("deep.1.conv2.weight"), Some(&[16, 16, 3, 3][..]));
    assert_eq!(suffix.shape("head.weight"), Some(&[2, 16][..]));
}

#[test]
fn scoring_and_embedding_change_nothing_and_agree_to_the_bit() {
    for config in kinds() {
        let (mut learner, shape) = build(config);
        run_tasks(&mut learner, 0..2, &shape);
        let before = learner.save().unwrap();
        let many = task_samples(1, 600, &shape, 3);
        let scores = learner.score(&many).unwrap();
        assert_eq!(learner.score_embedding(&learner.embed(&many).unwrap()).unwrap(), scores);
        assert_eq!(before, learner.save().unwrap());
        // The first chunk is the same whatever follows.
        assert_eq!(learner.score(&many.slice(0, 256)).unwrap().values, scores.values[..256 * 4]);
    }
}

#[test]
fn taps_give_input_stage_ends_and_prefix_output() {
    let (mut learner, shape) = build(resnet());
    run_tasks(&mut learner, 0..1, &shape);
    let probe = task_samples(0, 300, &shape, 3);
    let taps = learner.taps(&probe).unwrap();
    let shapes: Vec<_> = taps.iter().map(|(name, tap)| (name.as_str(), tap.shape.clone())).collect();
    assert_eq!(
        shapes,
        [
            ("input", vec![1, 8, 8]),
            ("stem", vec![2, 8, 8]),
            ("stage1", vec![2, 8, 8]),
            ("stage2", vec![4, 4, 4]),
            ("prefix", vec![8, 2, 2])
        ]
    );
    for (name, tap) in &taps {
        assert_eq!(tap.values.len(), 300 * tap.shape.iter().product::<usize>(), "{name}");
    }
    assert_eq!(taps[0].1.values, probe.features);
    assert_eq!(taps[4].1, learner.embed(&probe).unwrap());
    let (learner, shape) = build(mlp());
    let names: Vec<_> = learner.taps(&Samples::empty(&shape)).unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["input", "prefix"]);
}

#[test]
fn bytes_held_are_counted_part_by_part() {
    let (mut learner, shape) = build(LearnerConfig { momentum: 0.9, ..mlp() });
    run_tasks(&mut learner, 0..1, &shape);
    learner.begin_task(&task_samples(1, 20, &shape, 0)).unwrap();
    let bytes = |learner: &LightClLearner, part: &str| {
        learner.bytes().into_iter().find(|entry| entry.part == part).unwrap_or_else(|| panic!("{part}")).bytes
    };
    let prefix = 4 * (24 * 6 + 24 + 20 * 24 + 20);
    let suffix = 4 * (16 * 20 + 16 + 12 * 16 + 12 + 2 * 12 + 2);
    assert_eq!(bytes(&learner, "prefix_weights"), prefix);
    assert_eq!(bytes(&learner, "suffix_weights"), suffix);
    assert_eq!(bytes(&learner, "optimiser"), suffix, "a frozen prefix has no optimiser state");
    assert_eq!(bytes(&learner, "masks"), 28);
    assert_eq!(bytes(&learner, "memory_inputs"), 15 * 6 * 4);
    assert_eq!(bytes(&learner, "references"), 4 * (15 * (16 + 12 + 2 + 20) + 16 + 12));
    assert_eq!(bytes(&learner, "pruning"), 0);
}

#[test]
fn learners_can_move_between_threads() {
    fn send<T: Send>(_: &T) {}
    let (mut learner, shape) = build(mlp());
    send(&learner);
    run_tasks(&mut learner, 0..1, &shape);
    let mut fork = learner.fork();
    let there = std::thread::spawn(move || {
        call(fork.as_mut(), 5, &MLP_SHAPE);
        call(fork.as_mut(), 6, &MLP_SHAPE);
        fork.save().unwrap()
    });
    call(&mut learner, 5, &shape);
    call(&mut learner, 6, &shape);
    assert_eq!(there.join().unwrap(), learner.save().unwrap());
}
