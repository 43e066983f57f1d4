//! Step-by-step parity with the PyTorch oracle: three tasks of four steps, from scratch, the frozen prefix updating its
//! batch-norm statistics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test panics")]

use lightcl_core::{Learner, LearnerSnapshot, Samples};
use lightcl_learner::{ActiveClasses, Backbone, FrozenNorm, LearnerConfig, LightClLearner, MemoryConfig, NamedWeights};
use safetensors::SafeTensors;
use std::collections::BTreeMap;

/// Relative error allowed, and the absolute floor below which differences do not count. A bias that began at zero is a sum of
/// thousands of products that mostly cancel: in 32 bits its last digits follow from the order they are added in, and that from
/// the vector units of the machine.
const RELATIVE: f64 = 1e-4;
const FLOOR: f64 = 1e-6;

struct Oracle {
    tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)>,
    losses: Vec<Vec<f64>>,
    settings: BTreeMap<String, f64>,
}

impl Oracle {
    fn read(name: &str) -> Oracle {
        let bytes = std::fs::read(format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let notes = metadata.metadata().clone().unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = file.iter().map(|(name, view)| (name.to_owned(), (view.shape().to_vec(), view.data().to_vec())));
        let settings = ["lr", "beta", "ratio", "memory"].map(|key| (key.to_owned(), notes[key].parse().unwrap()));
        Oracle {
            tensors: tensors.collect(),
            losses: serde_json::from_str(&notes["losses"]).unwrap(),
            settings: settings.into(),
        }
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.tensors[name].1.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    }

    fn step(&self, task: usize, step: usize) -> Samples {
        let (shape, bytes) = &self.tensors[&format!("task{task}.y")];
        let rows = shape[1];
        let labels: Vec<u32> =
            bytes.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as u32).collect();
        let sample_shape = self.tensors[&format!("task{task}.x")].0[2..].to_vec();
        let width: usize = sample_shape.iter().product();
        let features = self.floats(&format!("task{task}.x"));
        let rows: Vec<_> = (step * rows..(step + 1) * rows)
            .map(|row| (features[row * width..(row + 1) * width].to_vec(), labels[row]))
            .collect();
        Samples::from_rows(&sample_shape, &rows)
    }

    fn weights(&self) -> NamedWeights {
        NamedWeights::from_tensors(self.tensors.iter().filter_map(|(name, (shape, _))| {
            Some((name.strip_prefix("init.")?.to_owned(), shape.clone(), self.floats(name)))
        }))
    }
}

fn worst(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let error = |(&a, &b): (&f32, &f32)| {
        let (a, b) = (f64::from(a), f64::from(b));
        ((a - b).abs() - FLOOR).max(0.0) / a.abs().max(b.abs()).max(1e-30)
    };
    found.iter().zip(expected).map(error).fold(0.0, f64::max)
}

fn snapshot_tensors(snapshot: &LearnerSnapshot) -> BTreeMap<String, Vec<f32>> {
    let mut tensors = BTreeMap::new();
    for blob in &snapshot.blobs {
        for (name, view) in SafeTensors::deserialize(&blob.bytes).unwrap().iter() {
            let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            tensors.insert(name.to_owned(), values);
        }
    }
    tensors
}

fn replay(file: &str, backbone: Backbone, layers: usize) {
    let oracle = Oracle::read(file);
    let config = LearnerConfig {
        backbone,
        frozen_norm: FrozenNorm::Update,
        active_classes: ActiveClasses::Task,
        learning_rate: oracle.settings["lr"],
        batch_samples: 16,
        memory: MemoryConfig {
            samples: oracle.settings["memory"] as usize,
            ratio: oracle.settings["ratio"],
            beta: oracle.settings["beta"],
        },
        initial_classes: 6,
        ..LearnerConfig::default()
    };
    let first = oracle.step(0, 0);
    let mut learner = LightClLearner::new(config, &first.shape, Some(&oracle.weights())).unwrap();
    let (mut loss_error, mut weight_error, mut logit_error, mut tensors, mut masks) = (0.0_f64, 0.0_f64, 0.0_f64, 0, 0);
    for task in 0..3 {
        learner.begin_task(&oracle.step(task, 0)).unwrap();
        for (step, &expected) in oracle.losses[task].iter().enumerate() {
            let report = learner.learn(&oracle.step(task, step)).unwrap();
            assert_eq!((report.steps, report.rejected_rows.len()), (1, 0));
            loss_error = loss_error.max((report.loss - expected).abs() / expected.abs());
            assert_eq!(report.pattern_loss > 0.0, task > 0 && step > 0, "task {task} step {step}");
        }
        learner.end_task(&oracle.step(task, 3)).unwrap();

        let found = learner.masks().unwrap();
        assert_eq!(found.len(), layers);
        for (layer, mask) in found.iter().enumerate() {
            let expected = &oracle.tensors[&format!("task{task}.mask{layer}")].1;
            assert_eq!(&mask.iter().map(|&v| u8::from(v)).collect::<Vec<_>>(), expected, "task {task} layer {layer}");
            masks += 1;
        }
        let found = snapshot_tensors(&learner.snapshot().unwrap());
        let prefix = format!("task{task}.after.");
        let expected: Vec<&String> = oracle.tensors.keys().filter(|name| name.starts_with(&prefix)).collect();
        assert_eq!(expected.len(), found.len());
        for name in expected {
            let error = worst(&found[&name[prefix.len()..]], &oracle.floats(name));
            assert!(error < RELATIVE, "{name}: {error:e}");
            weight_error = weight_error.max(error);
            tensors += 1;
        }
        let logits = learner.score(&oracle.step(task, 0)).unwrap();
        logit_error = logit_error.max(worst(&logits.values, &oracle.floats(&format!("task{task}.logits_eval"))));
    }
    println!(
        "{file}: worst relative error: losses {loss_error:.2e}, {tensors} weight tensors {weight_error:.2e}, logits {logit_error:.2e}; {masks} masks equal"
    );
    assert!(loss_error < RELATIVE, "{loss_error:e}");
    assert!(logit_error < RELATIVE, "{logit_error:e}");
}

#[test]
fn mlp_follows_the_oracle_step_by_step() {
    replay("lightcl_mlp.safetensors", Backbone::Mlp { hidden: vec![32; 4], frozen: 2 }, 2);
}

#[test]
fn resnet18_follows_the_oracle_step_by_step() {
    replay("lightcl_resnet18.safetensors", Backbone::Resnet18 { width: 4 }, 4);
}
