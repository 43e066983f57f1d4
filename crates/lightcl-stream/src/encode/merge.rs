//! Joining what two encoders learnt from disjoint rows.

use super::config::{EncoderConfig, FeatureKind};
use super::encoder::Encoder;
use super::learnt::Learnt;
use lightcl_core::{ClassId, Error, Result};

impl Encoder {
    /// An encoder of rows whose columns are not known yet, for a saved state to be put back into.
    pub fn unbound(config: EncoderConfig) -> Encoder {
        let count = config.features.len();
        Encoder::from_parts(config, Learnt::new(vec![FeatureKind::Auto; count], vec![None; count]))
    }

    /// Takes over labels and categories that another encoder of the same features has met. Gives our numbers of its classes,
    /// by its number.
    ///
    /// # Errors
    /// User errors that say what to do, when a row would not become the same numbers in both, and when there are too many
    /// classes. This encoder is then unchanged.
    pub fn merge(&mut self, other: &Encoder) -> Result<Vec<ClassId>> {
        let features = |encoder: &Encoder| encoder.config.features.iter().map(|f| f.column.clone()).collect::<Vec<_>>();
        let (ours, theirs) = (&self.learnt, &other.learnt);
        if features(self) != features(other) || ours.kinds != theirs.kinds || ours.shapes != theirs.shapes {
            return Err(Error::user(
                "the runs read other features: run again with the same [sample] features and shapes",
            )
            .with("features", features(self).join(", "))
            .with("others", features(other).join(", ")));
        }
        if self.config.standardize || other.config.standardize {
            return Err(Error::user(
                "with sample.standardize each run scales rows by what it had seen by then, so the same row is other numbers in \
                 each: set sample.standardize = false and scale the columns beforehand",
            ));
        }
        let mut merged = ours.clone();
        for (place, (own, others)) in merged.vocabularies.iter_mut().zip(&theirs.vocabularies).enumerate() {
            let shared = own.len().min(others.len());
            if own.names()[..shared] != others.names()[..shared] {
                return Err(Error::user(
                    "the runs met the values of a category in another order, so that they have other places in a sample: read it \
                     with encoding = \"hash\"",
                )
                .with("column", &self.config.features[place].column));
            }
            if others.len() > own.len() {
                own.clone_from(others);
            }
        }
        if let (Some(own), Some(others)) = (ours.labels.kind(), theirs.labels.kind())
            && own != others
        {
            return Err(Error::user("the labels of the runs are of two types: give both the same, text for instance"));
        }
        let mut classes = Vec::with_capacity(theirs.labels.len());
        for name in theirs.labels.names() {
            let known = merged.labels.names().iter().position(|own| own == name);
            let class = match (known, theirs.labels.kind()) {
                (Some(class), _) => class as ClassId,
                (None, Some(kind)) if merged.labels.len() < self.config.max_classes => {
                    merged.labels.add(kind, name.clone())
                }
                (None, _) => {
                    return Err(Error::user(
                        "together the runs have more classes than the first allows: raise sample.max_classes",
                    )
                    .with("max_classes", self.config.max_classes));
                }
            };
            classes.push(class);
        }
        self.learnt = merged;
        Ok(classes)
    }
}
