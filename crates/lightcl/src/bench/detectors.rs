//! The detectors that are compared: those of the registry and the baselines around them.

use super::streams::Truth;
use lightcl_boundary::{AutoConfig, DetectorConfigs, EveryConfig, EveryDetector, build, names};
use lightcl_core::{BoundaryDetector, Observation, Result, Stateful, Verdict, state};

pub(crate) const KNOWN: &str = "known";
const ALWAYS: &str = "always";

/// Names that `--detectors` takes, in the order of the tables.
pub(crate) fn all() -> Vec<String> {
    names().map(|(name, _)| name).chain([ALWAYS, KNOWN]).map(str::to_owned).collect()
}

/// The choices given, or all when none is: names of detectors, several joined by `+`, and the baselines.
///
/// # Errors
/// When one is none of these, or stands there twice.
pub(crate) fn chosen(given: &[String]) -> Result<Vec<String>> {
    let known = all();
    let is_detector = |part: &str| names().any(|(name, _)| name == part);
    for choice in given.iter().filter(|choice| !known.contains(choice)) {
        if let Some(wrong) = choice.split('+').find(|part| !is_detector(part)) {
            return Err(super::unknown("detector", wrong, &known));
        }
    }
    super::once(given)?;
    Ok(if given.is_empty() { known } else { given.to_vec() })
}

/// Why a detector is left out on a stream.
pub(crate) fn reason_to_skip(choice: &str, truth: Truth) -> Option<String> {
    (choice == KNOWN && truth == Truth::Unknown).then(|| "known: the change points are not".to_owned())
}

/// Makes the detector of a name that [`check`] let through; `seed` is for those that draw.
pub(crate) fn make(choice: &str, points: &[u64], batch_samples: u64, seed: u64) -> Result<Box<dyn BoundaryDetector>> {
    match choice {
        KNOWN => Ok(Box::new(Known { points: points.to_vec(), passed: 0 })),
        ALWAYS => Ok(Box::new(EveryDetector::new(EveryConfig { every_samples: batch_samples })?)),
        _ => {
            let parts: Vec<String> = choice.split('+').map(str::to_owned).collect();
            let mut configs =
                DetectorConfigs { auto: AutoConfig { seed, ..AutoConfig::default() }, ..Default::default() };
            configs.kswin.detector.seed ^= seed;
            configs.mmd.seed ^= seed;
            build(&parts, &configs)
        }
    }
}

/// The oracle: fires at the change points that it was told.
#[derive(Debug, Clone)]
struct Known {
    points: Vec<u64>,
    passed: usize,
}

impl BoundaryDetector for Known {
    fn name(&self) -> &str {
        KNOWN
    }

    fn observe(&mut self, observation: &Observation<'_>) -> Verdict {
        match self.points.get(self.passed) {
            Some(&point) if observation.index >= point => {
                self.passed += 1;
                Verdict::boundary(point, KNOWN, "the change point is known")
            }
            _ => Verdict::Stable,
        }
    }

    fn reset(&mut self) {
        // What was told holds for the whole stream.
    }
}

impl Stateful for Known {
    fn save(&self) -> Result<Vec<u8>> {
        state::encode("bench.known", 1, &(self.passed as u64))
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        self.passed = state::decode::<u64>("bench.known", 1, bytes)? as usize;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lightcl_testkit::conformance;

    #[test]
    fn the_oracle_keeps_the_promises_of_a_detector() {
        conformance::detector(|| Box::new(Known { points: vec![100, 300], passed: 0 }));
    }

    #[test]
    fn names_are_checked_one_by_one() {
        let one = |name: &str| chosen(&[name.to_owned()]);
        for good in ["never", "known", "always", "new_classes+error"] {
            one(good).unwrap();
        }
        let error = one("eror").unwrap_err();
        assert!(error.message().contains("did you mean error?"), "{error}");
        assert!(one("error+known").is_err());
        assert!(one("").is_err());
    }

    #[test]
    fn every_name_makes_a_detector() {
        for name in all() {
            assert!(!make(&name, &[5], 32, 1).unwrap().name().is_empty());
        }
        assert!(reason_to_skip(KNOWN, Truth::Unknown).is_some() && reason_to_skip(KNOWN, Truth::All).is_none());
        assert!(reason_to_skip(ALWAYS, Truth::Unknown).is_none());
    }
}
