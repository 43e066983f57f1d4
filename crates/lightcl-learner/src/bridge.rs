//! Rows kept while a prefix trains.

use lightcl_core::{ClassId, Samples};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;

/// The last windows of the first task, within a budget of bytes, until the prefix freezes: then those who look at
/// its output see them too and they are gone. Forks share the windows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bridge {
    most_bytes: u64,
    pub(crate) windows: VecDeque<Arc<Kept>>,
}

/// Rows of one window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) features: Vec<f32>,
    pub(crate) labels: Vec<ClassId>,
    pub(crate) weights: Vec<f32>,
}

impl Kept {
    fn bytes(&self) -> u64 {
        (4 * self.features.len() + 8 * self.labels.len()) as u64
    }
}

impl Bridge {
    pub(crate) fn new(most_bytes: u64) -> Bridge {
        Bridge { most_bytes, windows: VecDeque::new() }
    }

    pub(crate) fn keep(&mut self, rows: &Samples) {
        let (features, labels) = (rows.features.clone(), rows.labels.clone());
        self.windows.push_back(Arc::new(Kept { features, labels, weights: rows.weights.clone() }));
        while self.bytes() > self.most_bytes {
            self.windows.pop_front();
        }
    }

    /// Rows kept.
    pub(crate) fn rows(&self) -> usize {
        self.windows.iter().map(|window| window.labels.len()).sum()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.windows.iter().map(|window| window.bytes()).sum()
    }

    pub(crate) fn is_sound(&self, width: usize) -> bool {
        self.windows.iter().all(|window| {
            window.features.len() == window.labels.len() * width
                && window.labels.len() == window.weights.len()
                && window.features.iter().all(|number| number.is_finite())
                && window.weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_windows_that_fit_are_kept() {
        let mut bridge = Bridge::new(3 * 16);
        for row in 0..5_u32 {
            bridge.keep(&Samples::from_rows(&[2], &[(vec![row as f32, 0.0], row)]));
        }
        let labels: Vec<_> = bridge.windows.iter().flat_map(|window| window.labels.clone()).collect();
        assert_eq!((labels.as_slice(), bridge.bytes(), bridge.rows()), (&[2, 3, 4][..], 48, 3));
        assert!(bridge.is_sound(2));
    }
}
