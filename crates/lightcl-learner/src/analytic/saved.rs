//! The bank as it is saved.

use super::Bank;
use super::calibration::Calibration;
use super::features::SavedFeatures;
use super::head::{Head, SavedHead};
use super::mixture::Mixture;
use super::no_change::NoChange;
use super::regimes::{Regimes, SavedRegimes};
use lightcl_core::{ClassId, Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// All that a bank has learnt.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedBank {
    scales: SavedFeatures,
    heads: Vec<SavedHead>,
    regimes: SavedRegimes,
    mixture: Mixture,
    network: Option<Calibration>,
    no_change: Option<NoChange>,
    last_labels: (Option<ClassId>, Option<ClassId>),
    fresh: BTreeSet<ClassId>,
}

impl Bank {
    pub(crate) fn save(&self) -> SavedBank {
        SavedBank {
            scales: self.map.save(),
            heads: self.heads.iter().map(Head::save).collect(),
            regimes: self.regimes.save(),
            mixture: self.mixture.clone(),
            network: self.network.clone(),
            no_change: self.no_change.clone(),
            last_labels: (self.last_scored, self.last_learnt),
            fresh: self.fresh.clone(),
        }
    }

    /// Puts a saved bank back into a new one of the same settings. `most_classes` is what the learner's head has.
    pub(crate) fn restore(&mut self, saved: SavedBank, most_classes: usize) -> Result<()> {
        let sound = saved.heads.len() == self.heads.len()
            && saved.mixture.is_sound(self.mixture.weights().len())
            && saved.network.is_some() == self.network.is_some()
            && saved.network.as_ref().is_none_or(Calibration::is_sound)
            && saved.no_change.is_some() == self.no_change.is_some()
            && saved.no_change.as_ref().is_none_or(NoChange::is_sound)
            && saved.fresh.iter().all(|&class| (class as usize) < crate::MAX_CLASSES);
        if !sound {
            return Err(Error::user("the saved analytic heads do not fit the settings, or are damaged"));
        }
        self.map.restore(&self.config, saved.scales)?;
        for (head, saved) in self.heads.iter_mut().zip(saved.heads) {
            head.restore(saved, most_classes)?;
        }
        self.regimes = Regimes::restored(saved.regimes, &self.heads[self.slowest()], most_classes)?;
        self.mixture = saved.mixture;
        self.network = saved.network;
        self.no_change = saved.no_change;
        (self.last_scored, self.last_learnt) = saved.last_labels;
        self.fresh = saved.fresh;
        Ok(())
    }
}
