//! Scaling of a tap before it is expanded.

use super::Standardize;
use serde::{Deserialize, Serialize};

/// Scaled numbers are cut off here, in deviations: one wild number must not outweigh a thousand rows.
pub(crate) const CLIP: f32 = 8.0;
/// A deviation below this share of the number's size is rounding, not spread.
const ROUNDING: f64 = 1e-6;

/// `clip((x - mean) * inverse)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scale {
    pub(crate) mean: Vec<f32>,
    pub(crate) inverse: Vec<f32>,
}

impl Scale {
    fn apply(&self, values: &mut [f32]) {
        for row in values.chunks_exact_mut(self.mean.len().max(1)) {
            for ((value, mean), inverse) in row.iter_mut().zip(&self.mean).zip(&self.inverse) {
                *value = ((*value - mean) * inverse).clamp(-CLIP, CLIP);
            }
        }
    }
}

/// Mean and squared deviation of each number of a row (Welford 1962).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Moments {
    rows: f64,
    mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    fn new(width: usize) -> Moments {
        Moments { rows: 0.0, mean: vec![0.0; width], squares: vec![0.0; width] }
    }

    fn take(&mut self, values: &[f32]) {
        for row in values.chunks_exact(self.mean.len().max(1)) {
            self.rows += 1.0;
            for ((&value, mean), squares) in row.iter().zip(&mut self.mean).zip(&mut self.squares) {
                let away = f64::from(value) - *mean;
                *mean += away / self.rows;
                *squares += away * (f64::from(value) - *mean);
            }
        }
    }

    /// A number that has not varied is scaled by the mean deviation of the others: should it begin to vary, it is one of
    /// them.
    fn scale(&self) -> Scale {
        let rows = self.rows.max(1.0);
        let deviations: Vec<f64> = self.squares.iter().map(|squares| (squares / rows).sqrt()).collect();
        let varies: Vec<bool> =
            deviations.iter().zip(&self.mean).map(|(&d, mean)| d > ROUNDING * mean.abs() && d > 1e-30).collect();
        let of_varying = || deviations.iter().zip(&varies).filter(|(_, varies)| **varies).map(|(d, _)| *d);
        let count = of_varying().count();
        let usual = if count == 0 { 1.0 } else { of_varying().sum::<f64>() / count as f64 };
        let inverse = deviations.iter().zip(&varies).map(|(&d, &varies)| (1.0 / if varies { d } else { usual }) as f32);
        Scale { mean: self.mean.iter().map(|&mean| mean as f32).collect(), inverse: inverse.collect() }
    }
}

/// How one tap is scaled, and what that has learnt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Standardizer {
    /// Numbers are cut off, no more.
    None,
    /// None before the first window.
    Fixed(Option<Scale>),
    /// By all rows so far: the scale is that of the last window's end, none before the first.
    Running(Moments, Option<Scale>),
}

impl Standardizer {
    pub(crate) fn new(kind: Standardize, width: usize) -> Standardizer {
        match kind {
            Standardize::None => Standardizer::None,
            Standardize::Fixed => Standardizer::Fixed(None),
            Standardize::Running => Standardizer::Running(Moments::new(width), None),
        }
    }

    /// Whether it can scale: one that has to see rows first must have seen some.
    pub(crate) fn is_ready(&self) -> bool {
        !matches!(self, Standardizer::Fixed(None) | Standardizer::Running(_, None))
    }

    /// Takes in rows before they are learnt from. Only the first window is its own measure: later ones are measured by the rows
    /// before them, as they were when they were scored.
    pub(crate) fn prepare(&mut self, values: &[f32], width: usize) {
        let scale = match self {
            Standardizer::Fixed(scale @ None) | Standardizer::Running(_, scale @ None) if !values.is_empty() => scale,
            _ => return,
        };
        let mut moments = Moments::new(width);
        moments.take(values);
        *scale = Some(moments.scale());
    }

    /// Takes in rows that were learnt from; only a running one cares.
    pub(crate) fn take(&mut self, values: &[f32]) {
        if let Standardizer::Running(moments, scale) = self {
            moments.take(values);
            *scale = Some(moments.scale());
        }
    }

    /// Takes a published scale as its own; what it was measured on stays unknown.
    pub(crate) fn adopt(&mut self, published: Scale) {
        if let Standardizer::Fixed(scale) | Standardizer::Running(_, scale) = self {
            *scale = Some(published);
        }
    }

    /// The scale in force; none where numbers are only cut off.
    pub(crate) fn scale(&self) -> Option<&Scale> {
        match self {
            Standardizer::None => None,
            Standardizer::Fixed(scale) | Standardizer::Running(_, scale) => scale.as_ref(),
        }
    }

    /// Scales rows in place.
    pub(crate) fn apply(&self, values: &mut [f32]) {
        match self.scale() {
            Some(scale) => scale.apply(values),
            None => values.iter_mut().for_each(|value| *value = value.clamp(-CLIP, CLIP)),
        }
    }

    /// Bytes kept.
    pub(crate) fn bytes(&self) -> u64 {
        let scale = self.scale().map_or(0, |scale| 8 * scale.mean.len() as u64);
        match self {
            Standardizer::Running(moments, _) => scale + 16 * moments.mean.len() as u64,
            _ => scale,
        }
    }

    /// Whether it is for rows of this width and its numbers can be.
    pub(crate) fn fits(&self, kind: Standardize, width: usize) -> bool {
        let sound = self.scale().is_none_or(|scale| {
            let finite = |numbers: &[f32]| numbers.len() == width && numbers.iter().all(|n| n.is_finite());
            finite(&scale.mean) && finite(&scale.inverse)
        });
        sound
            && match (self, kind) {
                (Standardizer::None, Standardize::None) | (Standardizer::Fixed(_), Standardize::Fixed) => true,
                (Standardizer::Running(moments, _), Standardize::Running) => {
                    let finite = |numbers: &[f64]| numbers.len() == width && numbers.iter().all(|n| n.is_finite());
                    moments.rows >= 0.0 && finite(&moments.mean) && finite(&moments.squares)
                }
                _ => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_scale_stays_that_of_the_first_window() {
        let mut scaler = Standardizer::new(Standardize::Fixed, 1);
        assert!(!scaler.is_ready());
        scaler.prepare(&[1.0, 3.0], 1);
        scaler.prepare(&[100.0, 300.0], 1);
        let mut values = [3.0, 1e30];
        scaler.apply(&mut values);
        assert_eq!(values, [1.0, CLIP]);
    }

    #[test]
    fn a_running_scale_knows_the_rows_before_and_a_constant_column_stays_tame() {
        let mut scaler = Standardizer::new(Standardize::Running, 2);
        scaler.take(&[0.0, 5.0, 2.0, 5.0, 4.0, 5.0]);
        let mut values = [2.0, 5.0, 2.0, 6.0];
        scaler.apply(&mut values);
        assert_eq!(&values[..3], [0.0, 0.0, 0.0]);
        assert!(values[3] > 0.1 && values[3] < 2.0, "{values:?}");
    }
}
