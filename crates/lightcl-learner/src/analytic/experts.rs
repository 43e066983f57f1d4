//! What each expert says by itself, for those who compare it with the mixture.

use super::{Bank, Rows};
use lightcl_core::{Logits, Result};

impl Bank {
    /// Scores of each expert by its name; without classes where it has nothing to say.
    pub(crate) fn expert_scores(&self, rows: &Rows<'_>, classes: usize) -> Result<Vec<(String, Logits)>> {
        let opinions = self.opinions(rows, &self.features(rows)?, classes);
        let names = self.weights().into_iter().map(|(name, _)| name);
        let scores = opinions.0.scores.iter().map(|scores| match scores {
            None => Logits::default(),
            Some(scores) => Logits {
                classes: scores.ncols(),
                values: (0..rows.count).flat_map(|row| scores.row(row).iter().copied().collect::<Vec<_>>()).collect(),
            },
        });
        Ok(names.zip(scores).collect())
    }
}
