//! The operator's whole state as one unit.

use crate::Operator;
use crate::prequential::Prequential;
use crate::probes::Probes;
use crate::progress::Progress;
use crate::ring::Ring;
use lightcl_boundary::Regimes;
use lightcl_core::{Error, Learner, Result, Stateful, state};
use serde::{Deserialize, Serialize};

const TAG: &str = "operator";
const VERSION: u16 = 3;

#[derive(Serialize, Deserialize)]
struct Saved {
    progress: Progress,
    prequential: Prequential,
    probes: Probes,
    encoder: Vec<u8>,
    detector: Vec<u8>,
    regimes: Vec<u8>,
    learner: Option<Vec<u8>>,
    ring: Vec<u8>,
}

impl Stateful for Operator {
    fn save(&self) -> Result<Vec<u8>> {
        let saved = Saved {
            progress: self.progress.clone(),
            prequential: self.prequential.clone(),
            probes: self.probes.clone(),
            encoder: self.encoder.save()?,
            detector: self.detector.save()?,
            regimes: self.regimes.save()?,
            learner: self.learner.as_ref().map(|learner| learner.save()).transpose()?,
            ring: self.ring.save()?,
        };
        state::encode(TAG, VERSION, &saved)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let saved: Saved = state::decode(TAG, VERSION, bytes)?;
        if !saved.progress.is_sound() {
            return Err(Error::user("the saved state contradicts itself; start over with --fresh"));
        }
        // Everything that can fail goes into parts on the side; the operator changes only when all of it is there.
        let before = (self.encoder.save()?, self.detector.save()?);
        let restored = self.restore_parts(&saved);
        match restored {
            Ok((learner, ring, regimes)) => {
                self.regimes = regimes;
                self.learner = learner;
                self.ring = ring;
                self.progress = saved.progress;
                self.prequential = saved.prequential;
                self.probes = saved.probes;
                Ok(())
            }
            Err(error) => {
                self.encoder.restore(&before.0)?;
                self.detector.restore(&before.1)?;
                Err(error)
            }
        }
    }
}

/// Parts made anew from a saved state.
type Restored = (Option<Box<dyn Learner>>, Ring, Regimes);

impl Operator {
    fn restore_parts(&mut self, saved: &Saved) -> Result<Restored> {
        self.encoder.restore(&saved.encoder)?;
        self.detector.restore(&saved.detector)?;
        let learner = match &saved.learner {
            Some(bytes) => {
                let shape = self
                    .encoder
                    .shape()
                    .ok_or_else(|| Error::user("the saved state has a learner but no shape of a sample"))?
                    .to_vec();
                let mut learner = (self.make_learner)(&shape)?;
                learner.restore(bytes)?;
                Some(learner)
            }
            None => None,
        };
        let mut ring = Ring::new(self.config.rollback_windows, self.config.rollback_bytes);
        ring.restore(&saved.ring, learner.as_deref())?;
        let mut regimes = Regimes::new(self.config.regimes.clone(), self.config.seed)?;
        regimes.restore(&saved.regimes)?;
        Ok((learner, ring, regimes))
    }
}
