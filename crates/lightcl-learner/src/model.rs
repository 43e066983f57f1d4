//! A network with its weights, and the ways to run it.

use crate::NamedWeights;
use crate::network::{Network, Norms, SuffixOutput, Weight, tensor, values};
use burn::tensor::Tensor;
use lightcl_core::{ClassId, Embedding, Error, Logits, Result, Samples};
use std::sync::Arc;

/// Rows that are scored together: bounds memory, and is the same everywhere so that a row's score depends only on its
/// place in the batch that was given.
pub(crate) const CHUNK_ROWS: usize = 256;

/// Weights and running statistics of one part of the network.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) weights: Vec<Weight>,
    pub(crate) statistics: Vec<Tensor<1>>,
}

/// A network with its weights. Cloning shares them.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) network: Arc<Network>,
    pub(crate) prefix: Part,
    /// Ends with the head once there is a class.
    pub(crate) suffix: Part,
    pub(crate) classes: usize,
}

impl Model {
    /// Fresh weights, or those given; a head of `classes` rows is taken from `given` when it has one.
    pub(crate) fn new(network: Network, seed: u64, classes: usize, given: Option<&NamedWeights>) -> Result<Model> {
        let layout = &network.layout;
        let device = &network.device;
        let part = |specs: &[crate::network::ParameterSpec], statistics: &[crate::network::StatisticSpec]| {
            let weights = specs
                .iter()
                .map(|spec| {
                    let values = match given {
                        Some(given) => given.get(&spec.name, &spec.shape)?.to_vec(),
                        None => spec.initial(seed),
                    };
                    spec.weight(values, device)
                })
                .collect::<Result<Vec<_>>>()?;
            let statistics = statistics
                .iter()
                .map(|spec| {
                    let values = match given {
                        Some(given) => given.get(&spec.name, &[spec.channels])?.to_vec(),
                        None => vec![spec.initial; spec.channels],
                    };
                    Ok(tensor(values, [spec.channels], device))
                })
                .collect::<Result<Vec<_>>>()?;
            Ok::<_, Error>(Part { weights, statistics })
        };
        let prefix = part(&layout.prefix, &layout.prefix_statistics)?;
        let mut suffix = part(&layout.suffix, &layout.suffix_statistics)?;
        let mut present = 0;
        if let Some(given) = given
            && classes > 0
            && given.contains("head.weight")
        {
            for spec in &layout.suffix_with_head(classes)[layout.suffix.len()..] {
                let values = given.get(&spec.name, &spec.shape)?.to_vec();
                suffix.weights.push(spec.weight(values, device)?);
            }
            present = classes;
        }
        let mut model = Model { network: Arc::new(network), prefix, suffix, classes: present };
        model.grow(classes, seed)?;
        Ok(model)
    }

    /// Adds rows to the head up to `classes`; the rows there stay as they are.
    pub(crate) fn grow(&mut self, classes: usize, seed: u64) -> Result<()> {
        if classes <= self.classes {
            return Ok(());
        }
        let network = &self.network;
        let features = network.layout.features;
        let added = classes - self.classes;
        let mut columns = vec![0.0; features * added];
        let mut biases = Vec::with_capacity(added);
        for column in 0..added {
            let (row, bias) = network.layout.initial_head_row(seed, (self.classes + column) as ClassId);
            for (feature, value) in row.into_iter().enumerate() {
                columns[feature * added + column] = value;
            }
            biases.push(bias);
        }
        let matrix = tensor(columns, [features, added], &network.device);
        let vector = tensor(biases, [added], &network.device);
        self.append_to_head(matrix, vector)?;
        self.classes = classes;
        Ok(())
    }

    fn append_to_head(&mut self, matrix: Tensor<2>, vector: Tensor<1>) -> Result<()> {
        append_head(&mut self.suffix.weights, self.classes > 0, matrix, vector)
    }

    /// Rows of features as a tensor `[rows, width]`.
    pub(crate) fn input(&self, features: &[f32], rows: usize) -> Tensor<2> {
        tensor(features.to_vec(), [rows, self.network.input_width()], &self.network.device)
    }

    /// Refuses samples that the network does not take.
    pub(crate) fn check(&self, samples: &Samples) -> Result<()> {
        let expected = &self.network.input_shape;
        let rows = samples.len();
        if samples.shape != *expected || samples.features.len() != rows * self.network.input_width() {
            return Err(Error::user("the samples have another shape than the learner")
                .with("expected", format!("{expected:?}"))
                .with("found", format!("{:?}", samples.shape))
                .with("rows", rows)
                .with("numbers", samples.features.len()));
        }
        Ok(())
    }

    /// Runs the prefix in evaluation mode.
    pub(crate) fn embed(&self, input: Tensor<2>) -> Result<Tensor<2>> {
        self.network.prefix(&self.prefix.weights, Norms::Running(&self.prefix.statistics), input)
    }

    /// Runs the suffix in evaluation mode.
    pub(crate) fn classify(&self, embedding: Tensor<2>) -> Result<SuffixOutput> {
        self.network.suffix(&self.suffix.weights, Norms::Running(&self.suffix.statistics), embedding)
    }

    /// Class scores of rows of features, in evaluation mode.
    pub(crate) fn score(&self, features: &[f32], rows: usize) -> Result<Logits> {
        self.in_chunks(features, rows, self.network.input_width(), |input| self.classify(self.embed(input)?))
    }

    /// Class scores from prefix outputs, in evaluation mode.
    pub(crate) fn score_embedding(&self, embedding: &Embedding) -> Result<Logits> {
        let shape = &self.network.layout.embedding_shape;
        let width = self.network.layout.embedding_width();
        if embedding.shape != *shape || !embedding.values.len().is_multiple_of(width) {
            return Err(Error::user("the activations have another shape than the prefix gives")
                .with("expected", format!("{shape:?}"))
                .with("found", format!("{:?}", embedding.shape))
                .with("numbers", embedding.values.len()));
        }
        let rows = embedding.values.len() / width;
        self.in_chunks(&embedding.values, rows, width, |input| self.classify(input))
    }

    fn in_chunks(
        &self,
        numbers: &[f32],
        rows: usize,
        width: usize,
        run: impl Fn(Tensor<2>) -> Result<SuffixOutput>,
    ) -> Result<Logits> {
        let mut logits = Logits { classes: self.classes, values: Vec::with_capacity(rows * self.classes) };
        if self.classes == 0 {
            return Ok(logits);
        }
        for chunk in numbers.chunks(CHUNK_ROWS * width) {
            let input = tensor(chunk.to_vec(), [chunk.len() / width, width], &self.network.device);
            if let Some(scores) = run(input)?.logits {
                logits.values.extend(values(scores)?);
            }
        }
        Ok(logits)
    }

    /// Prefix outputs of rows of features in evaluation mode, as one tensor; computed in chunks.
    pub(crate) fn embed_rows(&self, features: &[f32], rows: usize) -> Result<Tensor<2>> {
        let width = self.network.input_width();
        let mut chunks = features
            .chunks(CHUNK_ROWS * width)
            .map(|chunk| self.embed(self.input(chunk, chunk.len() / width)))
            .collect::<Result<Vec<_>>>()?;
        match chunks.len() {
            0 => Err(Error::internal("no rows to embed").with("rows", rows)),
            1 => Ok(chunks.swap_remove(0)),
            _ => Ok(Tensor::cat(chunks, 0)),
        }
    }
}

/// Appends columns and biases to the head at the end of a list of suffix tensors, or starts it.
pub(crate) fn append_head(
    weights: &mut Vec<Weight>,
    has_head: bool,
    matrix: Tensor<2>,
    vector: Tensor<1>,
) -> Result<()> {
    if !has_head {
        weights.push(Weight::Matrix(matrix));
        weights.push(Weight::Vector(vector));
        return Ok(());
    }
    let (Some(Weight::Vector(bias)), Some(Weight::Matrix(weight))) = (weights.pop(), weights.pop()) else {
        return Err(Error::internal("the suffix does not end with a head"));
    };
    weights.push(Weight::Matrix(Tensor::cat(vec![weight, matrix], 1)));
    weights.push(Weight::Vector(Tensor::cat(vec![bias, vector], 0)));
    Ok(())
}
