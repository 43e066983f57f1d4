//! A small learner.

use lightcl_core::{
    Blob, Embedding, Error, LayerReport, LearnReport, Learner, LearnerSnapshot, Logits, PartBytes, Result, Samples,
    Stateful, state,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const TAG: &str = "testkit.softmax_regression";
const VERSION: u16 = 1;

/// Multinomial logistic regression, one gradient step a row, in f32. Its prefix does nothing and is always frozen.
#[derive(Debug, Clone)]
pub struct SoftmaxRegression {
    shape: Vec<usize>,
    learning_rate: f32,
    state: Weights,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Weights {
    /// One row a class: a weight for each feature, then the bias.
    rows: Vec<Vec<f32>>,
    steps: u64,
}

impl SoftmaxRegression {
    /// A learner of samples of the given shape that knows no class yet.
    pub fn new(shape: &[usize], learning_rate: f32) -> Self {
        SoftmaxRegression { shape: shape.to_vec(), learning_rate, state: Weights::default() }
    }

    fn check_shape(&self, shape: &[usize]) -> Result<()> {
        if self.shape == shape {
            return Ok(());
        }
        Err(Error::user("the samples have another shape than the learner")
            .with("expected", format!("{:?}", self.shape))
            .with("found", format!("{shape:?}")))
    }

    fn scores(&self, features: &[f32]) -> Vec<f32> {
        let score = |row: &Vec<f32>| {
            row.iter().zip(features.iter().chain(&[1.0])).map(|(weight, feature)| weight * feature).sum()
        };
        self.state.rows.iter().map(score).collect()
    }

    /// One step of gradient descent; false when it would leave a weight that is not finite or very large.
    fn step(&mut self, features: &[f32], label: usize, weight: f32, report: &mut LearnReport) -> bool {
        let scores = self.scores(features);
        let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exponentials: Vec<f32> = scores.iter().map(|score| (score - highest).exp()).collect();
        let sum: f32 = exponentials.iter().sum();
        let loss = -(exponentials[label] / sum).max(f32::MIN_POSITIVE).ln();
        let mut rows = self.state.rows.clone();
        for (class, row) in rows.iter_mut().enumerate() {
            let gradient = exponentials[class] / sum - if class == label { 1.0 } else { 0.0 };
            for (value, feature) in row.iter_mut().zip(features.iter().chain(&[1.0])) {
                *value -= self.learning_rate * weight * gradient * feature;
            }
        }
        if !rows.iter().flatten().all(|value| value.abs() < 1e6) {
            return false;
        }
        self.state.rows = rows;
        self.state.steps += 1;
        report.steps += 1;
        report.loss += f64::from(loss);
        true
    }
}

impl Stateful for SoftmaxRegression {
    fn save(&self) -> Result<Vec<u8>> {
        state::encode(TAG, VERSION, &self.state)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let restored: Weights = state::decode(TAG, VERSION, bytes)?;
        let width = self.shape.iter().product::<usize>() + 1;
        if restored.rows.iter().any(|row| row.len() != width || !row.iter().all(|value| value.is_finite())) {
            return Err(Error::user("the saved weights do not fit"));
        }
        self.state = restored;
        Ok(())
    }
}

impl Learner for SoftmaxRegression {
    fn score(&self, samples: &Samples) -> Result<Logits> {
        self.score_embedding(&self.embed(samples)?)
    }

    fn learn(&mut self, window: &Samples) -> Result<LearnReport> {
        self.check_shape(&window.shape)?;
        let mut report = LearnReport { prefix_samples: window.len() as u64, ..LearnReport::default() };
        for row in 0..window.len() {
            let label = window.labels[row] as usize;
            if self.state.rows.len() <= label {
                self.state.rows.resize(label + 1, vec![0.0; window.width() + 1]);
            }
            if !self.step(window.row(row), label, window.weights[row], &mut report) {
                report.rejected_rows.push(row);
            }
        }
        report.loss /= report.steps.max(1) as f64;
        Ok(report)
    }

    fn end_task(&mut self, importance: &Samples) -> Result<()> {
        self.check_shape(&importance.shape)
    }

    fn begin_task(&mut self, first: &Samples) -> Result<()> {
        self.check_shape(&first.shape)
    }

    fn snapshot(&self) -> Result<LearnerSnapshot> {
        let description = serde_json::json!({ "method": "softmax_regression", "classes": self.state.rows.len() });
        let blobs = vec![Blob { role: "suffix".to_owned(), bytes: Arc::new(self.save()?) }];
        Ok(LearnerSnapshot { description, blobs })
    }

    fn fork(&self) -> Box<dyn Learner> {
        Box::new(self.clone())
    }

    fn is_prefix_frozen(&self) -> bool {
        true
    }

    fn embed(&self, samples: &Samples) -> Result<Embedding> {
        self.check_shape(&samples.shape)?;
        Ok(Embedding { shape: samples.shape.clone(), values: samples.features.clone() })
    }

    fn score_embedding(&self, embedding: &Embedding) -> Result<Logits> {
        self.check_shape(&embedding.shape)?;
        let width = self.shape.iter().product::<usize>().max(1);
        let values = embedding.values.chunks_exact(width).flat_map(|row| self.scores(row)).collect();
        Ok(Logits { classes: self.state.rows.len(), values })
    }

    fn layers(&self) -> Result<Vec<LayerReport>> {
        Ok(Vec::new())
    }

    fn bytes(&self) -> Vec<PartBytes> {
        let numbers: usize = self.state.rows.iter().map(Vec::len).sum();
        vec![PartBytes { part: "weights".to_owned(), bytes: 4 * numbers as u64 }]
    }
}
