//! Several detectors at once.

use lightcl_core::{BoundaryDetector, Error, Needs, Observation, Result, Stateful, Verdict, state};

const NAME: &str = "any";
const TAG: &str = "boundary.any";
const VERSION: u16 = 1;

/// Fires as soon as any of its detectors does.
///
/// Every detector sees every row. When several fire at the same row, the one earliest in the list places the boundary
/// and comes first in the evidence; what the others say follows. Warns when any warns. A reset resets all, so a boundary
/// of one is a fresh start for the others.
pub struct AnyOf {
    detectors: Vec<Box<dyn BoundaryDetector>>,
}

impl AnyOf {
    /// Combines detectors, the most trusted for placing a boundary first.
    ///
    /// # Errors
    /// When two have the same name.
    pub fn new(detectors: Vec<Box<dyn BoundaryDetector>>) -> Result<Self> {
        for (position, detector) in detectors.iter().enumerate() {
            if detectors[..position].iter().any(|earlier| earlier.name() == detector.name()) {
                return Err(Error::user("a detector is named twice; name it once").with("detector", detector.name()));
            }
        }
        Ok(AnyOf { detectors })
    }

    fn restore_parts(&mut self, parts: &[(String, Vec<u8>)]) -> Result<()> {
        for (detector, (_, bytes)) in self.detectors.iter_mut().zip(parts) {
            detector.restore(bytes)?;
        }
        Ok(())
    }

    fn save_parts(&self) -> Result<Vec<(String, Vec<u8>)>> {
        self.detectors.iter().map(|detector| Ok((detector.name().to_owned(), detector.save()?))).collect()
    }
}

impl BoundaryDetector for AnyOf {
    fn name(&self) -> &str {
        NAME
    }

    fn needs(&self) -> Needs {
        Needs { activations: self.detectors.iter().any(|detector| detector.needs().activations) }
    }

    fn observe(&mut self, observation: &Observation<'_>) -> Verdict {
        self.detectors.iter_mut().fold(Verdict::Stable, |so_far, detector| {
            match (so_far, detector.observe(observation)) {
                (Verdict::Boundary { at, mut evidence }, Verdict::Boundary { evidence: other, .. }) => {
                    evidence.extend(other);
                    Verdict::Boundary { at, evidence }
                }
                (boundary @ Verdict::Boundary { .. }, _) | (_, boundary @ Verdict::Boundary { .. }) => boundary,
                (Verdict::Warning, _) | (_, Verdict::Warning) => Verdict::Warning,
                (Verdict::Stable, Verdict::Stable) => Verdict::Stable,
            }
        })
    }

    fn reset(&mut self) {
        self.detectors.iter_mut().for_each(|detector| detector.reset());
    }
}

impl Stateful for AnyOf {
    fn save(&self) -> Result<Vec<u8>> {
        state::encode(TAG, VERSION, &self.save_parts()?)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let parts: Vec<(String, Vec<u8>)> = state::decode(TAG, VERSION, bytes)?;
        if !self.detectors.iter().map(|detector| detector.name()).eq(parts.iter().map(|(name, _)| name.as_str())) {
            let list = |names: Vec<&str>| names.join(", ");
            return Err(Error::user("the saved state is of other detectors; start over with --fresh")
                .with("expected", list(self.detectors.iter().map(|detector| detector.name()).collect()))
                .with("found", list(parts.iter().map(|(name, _)| name.as_str()).collect())));
        }
        let before = self.save_parts()?;
        if let Err(error) = self.restore_parts(&parts) {
            // A part that was already put back must not stay when a later one is damaged.
            self.restore_parts(&before)?;
            return Err(error);
        }
        Ok(())
    }
}
