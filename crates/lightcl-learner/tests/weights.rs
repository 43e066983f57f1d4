//! Weights of other programs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test panics")]

mod common;

use common::*;
use lightcl_core::{ErrorKind, Learner, Samples};
use lightcl_learner::{Backbone, LearnerConfig, LightClLearner, NamedWeights};
use std::collections::BTreeMap;
use std::path::PathBuf;

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn small(initial_classes: usize) -> LearnerConfig {
    LearnerConfig {
        backbone: Backbone::Mlp { hidden: vec![8, 8], frozen: 1 },
        initial_classes,
        ..LearnerConfig::default()
    }
}

/// Scores that PyTorch gave for these rows with the weights of `mlp_state_dict.pt` (written by torch 2.15,
/// `make_pytorch_files.py`: layers `lower.0` 3 -> 8, `deep.0` 8 -> 8, `head` 8 -> 2, ReLU between).
fn check_scores(learner: &LightClLearner) {
    let rows = Samples::from_rows(&[3], &[(vec![0.1, -0.2, 0.3], 0), (vec![1.0, 0.5, -1.0], 1)]);
    let scores = learner.score(&rows).unwrap();
    let expected: [f32; 4] = [-0.220_126_03, -0.598_735_9, -0.159_913_54, 1.551_423_4];
    for (score, expected) in scores.values.iter().zip(expected) {
        assert!((score - expected).abs() < 1e-5, "{:?}", scores.values);
    }
}

#[test]
fn a_pytorch_state_dict_is_read() {
    let weights = NamedWeights::from_pytorch(data("mlp_state_dict.pt")).unwrap();
    assert_eq!(weights.shape("lower.0.weight"), Some(&[8, 3][..]));
    check_scores(&LightClLearner::new(small(2), &[3], Some(&weights)).unwrap());
}

#[test]
fn a_nested_checkpoint_with_other_names_and_types_is_read_through_a_name_map() {
    let weights = NamedWeights::from_pytorch(data("mlp_checkpoint.pth")).unwrap();
    let error = LightClLearner::new(small(2), &[3], Some(&weights)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::User);
    assert!(error.to_string().contains("lower.0.weight") && error.to_string().contains("[8, 3]"), "{error}");
    let weights = weights.with_names(BTreeMap::from([(String::new(), "module.".to_owned())]));
    check_scores(&LightClLearner::new(small(2), &[3], Some(&weights)).unwrap());
}

#[test]
fn single_names_beat_prefixes_and_longer_prefixes_shorter_ones() {
    let tensors = ["a.b.weight", "x.weight", "y.0.bias"].map(|name| (name.to_owned(), vec![1], vec![1.0]));
    let names = [("lower.", "x."), ("lower.0.", "a.b."), ("lower.0.bias", "y.0.bias")];
    let weights = NamedWeights::from_tensors(tensors)
        .with_names(names.map(|(ours, theirs)| (ours.to_owned(), theirs.to_owned())).into());
    assert!(weights.contains("lower.0.weight") && weights.contains("lower.0.bias"));
    assert!(!weights.contains("lower.1.weight") && !weights.contains("head.weight"));
    assert!(weights.contains("lower.weight"));
}

#[test]
fn the_head_is_optional_and_comes_only_when_classes_are_asked_for() {
    let weights = NamedWeights::from_pytorch(data("mlp_state_dict.pt")).unwrap();
    let new_head = LightClLearner::new(small(0), &[3], Some(&weights)).unwrap();
    assert_eq!(new_head.snapshot().unwrap().description["classes"], 0);
    let error = LightClLearner::new(small(5), &[3], Some(&weights)).unwrap_err().to_string();
    assert!(error.contains("head.weight") && error.contains("[5, 8]") && error.contains("[2, 8]"), "{error}");
    let headless = NamedWeights::from_tensors(["lower.0", "deep.0"].into_iter().flat_map(|layer| {
        let inputs = if layer == "lower.0" { 3 } else { 8 };
        [
            (format!("{layer}.weight"), vec![8, inputs], vec![0.1; 8 * inputs]),
            (format!("{layer}.bias"), vec![8], vec![0.0; 8]),
        ]
    }));
    let drawn = LightClLearner::new(small(3), &[3], Some(&headless)).unwrap();
    assert_eq!(drawn.snapshot().unwrap().description["classes"], 3);
}

#[test]
fn snapshots_and_safetensors_files_can_be_weights() {
    let (mut learner, shape) = build(resnet());
    run_tasks(&mut learner, 0..2, &shape);
    let folder = tempfile::tempdir().unwrap();
    let mut tensors = Vec::new();
    for blob in learner.snapshot().unwrap().blobs {
        let path = folder.path().join(format!("{}.safetensors", blob.role));
        std::fs::write(&path, blob.bytes.as_slice()).unwrap();
        let weights = NamedWeights::from_safetensors(&path).unwrap();
        for name in weights.names() {
            let shape = weights.shape(name).unwrap().to_vec();
            tensors.push((name.to_owned(), shape.clone(), weights.get(name, &shape).unwrap().to_vec()));
        }
    }
    let weights = NamedWeights::from_tensors(tensors);
    let copy =
        LightClLearner::new(LearnerConfig { initial_classes: 4, seed: 8, ..resnet() }, &shape, Some(&weights)).unwrap();
    let probe = task_samples(0, 9, &shape, 3);
    assert_eq!(copy.score(&probe).unwrap(), learner.score(&probe).unwrap());
}

#[test]
fn half_precision_and_doubles_become_floats() {
    use safetensors::{Dtype, tensor::TensorView};
    let read = |dtype, bytes: &[u8], count: usize| {
        let view = TensorView::new(dtype, vec![count], bytes).unwrap();
        let file = safetensors::serialize([("t", view)], None).unwrap();
        NamedWeights::from_safetensors_bytes(&file).map(|weights| weights.get("t", &[count]).unwrap().to_vec())
    };
    assert_eq!(read(Dtype::F16, &[0x00, 0x3C, 0x00, 0xC1], 2).unwrap(), [1.0, -2.5]);
    assert_eq!(read(Dtype::BF16, &[0x80, 0x3F, 0x20, 0xC0], 2).unwrap(), [1.0, -2.5]);
    assert_eq!(read(Dtype::F64, &(-2.5_f64).to_le_bytes(), 1).unwrap(), [-2.5]);
    assert_eq!(read(Dtype::I64, &7_i64.to_le_bytes(), 1).unwrap(), [7.0]);
    assert_eq!(read(Dtype::U8, &[200], 1).unwrap(), [200.0]);
    let error = read(Dtype::C64, &[0; 8], 1).unwrap_err();
    assert!(error.to_string().contains("tensor: t"), "{error}");
}

#[test]
fn files_that_cannot_be_read_are_user_errors_that_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.bin");
    std::fs::write(&broken, b"these are no weights").unwrap();
    let absent = folder.path().join("absent.pt");
    let errors = [
        NamedWeights::from_safetensors(&broken).unwrap_err(),
        NamedWeights::from_pytorch(&broken).unwrap_err(),
        NamedWeights::from_safetensors(&absent).unwrap_err(),
        NamedWeights::from_pytorch(&absent).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::User);
        assert!(error.to_string().contains(&*folder.path().to_string_lossy()), "{error}");
    }
}
