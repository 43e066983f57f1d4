//! Scores and activations of rows that are numbers and nothing else, for those who keep labels and positions elsewhere.

use crate::learner::LightClLearner;
use crate::model::CHUNK_ROWS;
use crate::network::values;
use lightcl_core::{Embedding, Error, Logits, Result};

/// A part of the network whose output is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NetworkPart {
    /// The part that freezes: its output, in the shape that it has.
    Prefix,
    /// Prefix and plastic layers: what the network's own head looks at, one number a channel.
    Suffix,
}

impl LightClLearner {
    /// Class scores of rows: what [`lightcl_core::Learner::score`] gives for samples with these features, row-major.
    ///
    /// # Errors
    /// When the numbers do not make whole rows.
    pub fn score_rows(&self, features: &[f32]) -> Result<Logits> {
        let rows = self.rows_in(features)?;
        match &self.analytic {
            None => self.model.score(features, rows),
            Some(bank) => self.score_mixed(bank, features, rows),
        }
    }

    /// Shape of one row's output of a part of the network.
    pub fn part_shape(&self, part: NetworkPart) -> Vec<usize> {
        let layout = &self.model.network.layout;
        match part {
            NetworkPart::Prefix => layout.embedding_shape.clone(),
            NetworkPart::Suffix => vec![layout.features],
        }
    }

    /// Outputs of a part of the network in evaluation mode for rows of features, row-major.
    ///
    /// # Errors
    /// When the numbers do not make whole rows.
    pub fn part_outputs(&self, part: NetworkPart, features: &[f32]) -> Result<Embedding> {
        let rows = self.rows_in(features)?;
        let shape = self.part_shape(part);
        let mut outputs = Vec::with_capacity(rows * shape.iter().product::<usize>());
        let width = self.model.network.input_width();
        for chunk in features.chunks(CHUNK_ROWS * width) {
            let embedding = self.model.embed(self.model.input(chunk, chunk.len() / width))?;
            outputs.extend(match part {
                NetworkPart::Prefix => values(embedding)?,
                NetworkPart::Suffix => self.head_inputs(embedding)?,
            });
        }
        Ok(Embedding { shape, values: outputs })
    }

    fn head_inputs(&self, embedding: burn::tensor::Tensor<2>) -> Result<Vec<f32>> {
        let layout = &self.model.network.layout;
        let Some(last) = layout.maps.last() else { return values(embedding) };
        let maps = self.model.classify(embedding)?.maps.pop();
        let maps = values(maps.ok_or_else(|| Error::internal("the suffix gave no maps"))?)?;
        if last.spatial == 1 {
            return Ok(maps);
        }
        Ok(maps.chunks_exact(last.spatial).map(|map| map.iter().sum::<f32>() / last.spatial as f32).collect())
    }

    fn rows_in(&self, features: &[f32]) -> Result<usize> {
        let width = self.model.network.input_width();
        if width == 0 || !features.len().is_multiple_of(width) {
            return Err(Error::user("the numbers do not make whole rows of the learner's shape")
                .with("expected", format!("{:?}", self.model.network.input_shape))
                .with("numbers", features.len()));
        }
        Ok(features.len() / width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backbone, LearnerConfig};
    use lightcl_core::{Learner, Samples};

    fn learner(hidden: &[usize], frozen: usize) -> LightClLearner {
        let backbone = Backbone::Mlp { hidden: hidden.to_vec(), frozen };
        let config = LearnerConfig { backbone, initial_classes: 3, ..LearnerConfig::default() };
        LightClLearner::new(config, &[2], None).unwrap()
    }

    #[test]
    fn rows_score_as_samples_do_and_parts_have_their_shapes() {
        let learner = learner(&[8, 5], 1);
        let rows: Vec<_> = (0..300).map(|row| (vec![row as f32, 1.0 - row as f32], 0)).collect();
        let samples = Samples::from_rows(&[2], &rows);
        assert_eq!(learner.score_rows(&samples.features).unwrap(), learner.score(&samples).unwrap());
        let prefix = learner.part_outputs(NetworkPart::Prefix, &samples.features).unwrap();
        assert_eq!((prefix.shape.clone(), prefix.values.len()), (vec![8], 300 * 8));
        assert_eq!(prefix, learner.activations(&samples).unwrap());
        let suffix = learner.part_outputs(NetworkPart::Suffix, &samples.features).unwrap();
        assert_eq!((suffix.shape, suffix.values.len()), (vec![5], 300 * 5));
        assert!(suffix.values.iter().all(|&value| value >= 0.0) && suffix.values.iter().any(|&value| value > 0.0));
    }

    #[test]
    fn a_prefix_without_layers_gives_the_input_and_broken_rows_are_refused() {
        let learner = learner(&[4], 0);
        let outputs = learner.part_outputs(NetworkPart::Prefix, &[0.5, 0.25]).unwrap();
        assert_eq!((outputs.shape, outputs.values), (vec![2], vec![0.5, 0.25]));
        assert!(learner.score_rows(&[1.0, 2.0, 3.0]).is_err());
    }
}
