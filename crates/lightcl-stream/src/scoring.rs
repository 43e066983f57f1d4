//! From logits to a prediction and the figures that detectors look at.

use crate::Operator;
use lightcl_core::{ClassId, Logits, Prediction, Samples};

/// Loss given to a row whose class the learner does not know, and the cap on every other: nats.
const LOSS_CAP: f64 = 50.0;

/// What is known of one row after scoring.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RowScore {
    pub predicted: Option<ClassId>,
    pub probability: Option<f32>,
    pub loss: f64,
    pub margin: f64,
    pub entropy: f64,
}

/// Softmax figures of one row, in f64; all finite, whatever the logits are.
pub(crate) fn score_row(logits: &Logits, row: usize, label: ClassId) -> RowScore {
    let scores = if logits.classes == 0 { &[] } else { logits.row(row) };
    let predicted = if logits.classes == 0 { None } else { logits.best(row, None) };
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if scores.iter().any(|score| !score.is_finite()) || scores.is_empty() {
        return RowScore { predicted, probability: None, loss: LOSS_CAP, margin: 0.0, entropy: 0.0 };
    }
    let weights: Vec<f64> = scores.iter().map(|&score| f64::from(score - highest).exp()).collect();
    let total: f64 = weights.iter().sum();
    let (mut first, mut second, mut entropy) = (0.0_f64, 0.0_f64, 0.0_f64);
    for weight in &weights {
        let p = weight / total;
        if p > first {
            (first, second) = (p, first);
        } else {
            second = second.max(p);
        }
        if p > 0.0 {
            entropy -= p * p.ln();
        }
    }
    let own = weights.get(label as usize).map_or(0.0, |weight| weight / total);
    RowScore {
        predicted,
        probability: Some(first as f32),
        loss: if own > 0.0 { (-own.ln()).min(LOSS_CAP) } else { LOSS_CAP },
        margin: first - second,
        entropy: entropy.max(0.0),
    }
}

/// The best class of one row and its softmax probability, as the operator's predictions give them; none before any class
/// is known, no probability where a logit is not finite.
///
/// ```
/// use lightcl_core::Logits;
///
/// let logits = Logits { classes: 2, values: vec![0.0, 0.0, 1.0, 1e9] };
/// assert_eq!(lightcl_stream::predict(&logits, 0), (Some(0), Some(0.5)));
/// assert_eq!(lightcl_stream::predict(&logits, 1), (Some(1), Some(1.0)));
/// ```
pub fn predict(logits: &Logits, row: usize) -> (Option<ClassId>, Option<f32>) {
    let RowScore { predicted, probability, .. } = score_row(logits, row, ClassId::MAX);
    (predicted, probability)
}

impl Operator {
    pub(crate) fn prediction(&self, rows: &Samples, row: usize, score: &RowScore) -> Prediction {
        let meta = &rows.meta[row];
        Prediction {
            index: meta.index,
            position: meta.position.clone(),
            id: meta.id.clone(),
            label: self.encoder.class_label(rows.labels[row]),
            predicted: score.predicted.and_then(|class| self.encoder.class_label(class)),
            probability: score.probability,
            task: self.progress.task().id,
            model_version: self.progress.snapshots,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logits(values: &[f32]) -> Logits {
        Logits { classes: values.len(), values: values.to_vec() }
    }

    #[test]
    fn figures_of_an_even_row() {
        let score = score_row(&logits(&[2.0, 2.0]), 0, 1);
        assert_eq!((score.predicted, score.probability, score.margin), (Some(0), Some(0.5), 0.0));
        assert!((score.loss - std::f64::consts::LN_2).abs() < 1e-12);
        assert!((score.entropy - std::f64::consts::LN_2).abs() < 1e-12);
    }

    #[test]
    fn every_figure_is_finite_for_unknown_classes_and_broken_logits() {
        for (values, label) in [(&[][..], 0), (&[1.0, 2.0], 7), (&[f32::NAN, 1.0], 0), (&[1e38, -1e38], 1)] {
            let score = score_row(&logits(values), 0, label);
            assert_eq!(score.loss, LOSS_CAP, "{values:?}");
            assert!(score.margin.is_finite() && score.entropy.is_finite());
        }
    }
}
