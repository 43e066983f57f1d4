//! Sine curves.

use super::{Change, Generator, SyntheticStream};
use crate::random::seeded;
use lightcl_core::ClassId;
use rand::RngExt;
use std::f64::consts::PI;

/// The curve that divides the classes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SineCurve {
    /// SINE1: `sin(x)`.
    #[default]
    Sine1,
    /// SINE2: `0.5 + 0.3 sin(3 pi x)`.
    Sine2,
}

/// Sine (Gama, Medas, Castillo and Rodrigues 2004, "Learning with drift detection"): numbers uniform in `[0, 1]`; the
/// label is whether the second lies below a curve over the first. Every change point reverses the labels.
#[derive(Debug, Clone)]
pub struct Sine {
    /// Rows of each task.
    pub rows: Vec<usize>,
    /// How concepts change.
    pub change: Change,
    /// The curve.
    pub curve: SineCurve,
    /// Further numbers that mean nothing.
    pub irrelevant: usize,
}

impl Default for Sine {
    fn default() -> Self {
        Sine { rows: vec![3000; 4], change: Change::Abrupt, curve: SineCurve::Sine1, irrelevant: 2 }
    }
}

impl Sine {
    fn label(&self, concept: usize, row: &[f32]) -> bool {
        let (x, y) = (f64::from(row[0]), f64::from(row[1]));
        let curve = match self.curve {
            SineCurve::Sine1 => x.sin(),
            SineCurve::Sine2 => 0.5 + 0.3 * (3.0 * PI * x).sin(),
        };
        (y < curve) ^ (concept % 2 == 1)
    }
}

impl Generator for Sine {
    fn name(&self) -> &'static str {
        "sine"
    }

    fn generate(&self, seed: u64) -> SyntheticStream {
        let width = 2 + self.irrelevant;
        let tasks = self.change.tasks(&self.rows, &mut seeded(seed), |concept, random| {
            let row: Vec<f32> = (0..width).map(|_| random.random()).collect();
            let label = ClassId::from(self.label(concept, &row));
            (row, label)
        });
        SyntheticStream::from_tasks(self.name(), width, &tasks)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::rule_accuracies;
    use super::*;

    #[test]
    fn a_change_reverses_the_labels_and_both_curves_divide_the_square() {
        for curve in [SineCurve::Sine1, SineCurve::Sine2] {
            let sine = Sine { curve, ..Sine::default() };
            let stream = sine.generate(4);
            for accuracies in rule_accuracies(&stream, |concept, row| ClassId::from(sine.label(concept, row))) {
                assert_eq!(accuracies, (1.0, 0.0));
            }
            let below = stream.tasks()[0].labels.iter().sum::<ClassId>() as f64 / 3000.0;
            assert!((0.3..0.7).contains(&below), "{below}");
        }
    }
}
