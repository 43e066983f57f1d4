//! Small seeded streams and learners for the tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test panics")]
#![allow(dead_code)]

use lightcl_core::Samples;
use lightcl_learner::{Backbone, LearnerConfig, LightClLearner};

/// A small linear congruential generator: enough for test data, the same everywhere.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Uniform in `[-1, 1)`.
    pub fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 40) as f32 / (1_u64 << 24) as f32) * 2.0 - 1.0
    }
}

/// Rows of two classes, `2 * task` and `2 * task + 1`, around centres of their own.
pub fn task_samples(task: u32, rows: usize, shape: &[usize], seed: u64) -> Samples {
    let width: usize = shape.iter().product();
    let mut noise = Numbers::new(seed);
    let rows: Vec<_> = (0..rows)
        .map(|row| {
            let class = 2 * task + (row as u32 % 2);
            let mut centre = Numbers::new(1000 + u64::from(class));
            ((0..width).map(|_| centre.next() + 0.3 * noise.next()).collect(), class)
        })
        .collect();
    Samples::from_rows(shape, &rows)
}

pub fn mlp() -> LearnerConfig {
    LearnerConfig {
        backbone: Backbone::Mlp { hidden: vec![24, 20, 16, 12], frozen: 2 },
        learning_rate: 0.05,
        batch_samples: 8,
        ..LearnerConfig::default()
    }
}

pub fn resnet() -> LearnerConfig {
    LearnerConfig { backbone: Backbone::Resnet18 { width: 2 }, batch_samples: 8, ..LearnerConfig::default() }
}

pub const MLP_SHAPE: [usize; 1] = [6];
pub const IMAGE_SHAPE: [usize; 3] = [1, 8, 8];

/// A learner with its samples' shape.
pub fn build(config: LearnerConfig) -> (LightClLearner, Vec<usize>) {
    let shape = match config.backbone {
        Backbone::Mlp { .. } => MLP_SHAPE.to_vec(),
        Backbone::Resnet18 { .. } => IMAGE_SHAPE.to_vec(),
    };
    (LightClLearner::new(config, &shape, None).unwrap(), shape)
}

/// Runs whole tasks of three windows each.
pub fn run_tasks(learner: &mut dyn lightcl_core::Learner, tasks: std::ops::Range<u32>, shape: &[usize]) {
    for task in tasks {
        let window = |index: u64| task_samples(task, 20, shape, 10 * u64::from(task) + index);
        learner.begin_task(&window(0)).unwrap();
        for index in 0..3 {
            learner.learn(&window(index)).unwrap();
        }
        learner.end_task(&window(2)).unwrap();
    }
}
