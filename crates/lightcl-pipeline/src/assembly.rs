//! From a pipeline to the parts of a run.

use crate::config::Pipeline;
use crate::source::{self, FileSourceConfig};
use arrow_schema::Schema;
use lightcl_core::{Error, EvaluationSet, Learner, PositionedBatch, Result, Source};
use lightcl_learner::{LightClLearner, NamedWeights};
use lightcl_stream::encode::Encoder;
use lightcl_stream::{LearnerFactory, Operator};
use std::sync::Arc;

/// Held-out rows in files, read from the start each time.
struct FileEvaluationSet(FileSourceConfig);

impl EvaluationSet for FileEvaluationSet {
    fn for_each(&mut self, visit: &mut dyn FnMut(&PositionedBatch) -> Result<()>) -> Result<()> {
        let mut source = source::open(self.0.clone())?;
        while let Some(batch) = source.next()? {
            visit(&batch)?;
        }
        Ok(())
    }
}

/// The source and the operator that a pipeline over files describes, both at the start of the stream.
///
/// # Errors
/// When a file is not there, a column is missing or has the wrong type, or a setting is out of range.
pub fn assemble(pipeline: &Pipeline) -> Result<(Box<dyn Source>, Operator)> {
    let config = pipeline.settings().source_config();
    let config = config.ok_or_else(|| Error::internal("a Kafka job has no source of files"))?;
    let source = source::open(config).map_err(|error| pipeline.locate(error, "source.path"))?;
    let operator = Operators::new(pipeline)?.operator(&source.schema())?;
    Ok((source, operator))
}

/// Makes the operators of a pipeline, as many as its source needs.
pub struct Operators<'a> {
    pipeline: &'a Pipeline,
    weights: Option<Arc<NamedWeights>>,
}

impl<'a> Operators<'a> {
    /// Reads what all operators share, so that what is missing is found before anything is learnt.
    ///
    /// # Errors
    /// When the weights to start from or the held-out rows cannot be read, or a setting is out of range.
    pub fn new(pipeline: &'a Pipeline) -> Result<Self> {
        let settings = pipeline.settings();
        let weights = settings.weights().map_err(|error| pipeline.locate(error, "learner.weights"))?;
        settings.learner_config().validate().map_err(|error| pipeline.locate(error, "learner"))?;
        if let Some(config) = settings.evaluation_config() {
            source::open(config).map_err(|error| pipeline.locate(error, "evaluate.path"))?;
        }
        Ok(Operators { pipeline, weights: weights.map(Arc::new) })
    }

    /// A new operator for rows with these columns.
    ///
    /// # Errors
    /// When a column is missing or has the wrong type.
    pub fn operator(&self, schema: &Schema) -> Result<Operator> {
        let pipeline = self.pipeline;
        let settings = pipeline.settings();
        let encoder =
            Encoder::new(settings.encoder_config(), schema).map_err(|error| pipeline.locate(error, "sample"))?;
        let detector = settings.detector().map_err(|error| pipeline.locate(error, "boundary"))?;
        let (learner_config, weights) = (settings.learner_config(), self.weights.clone());
        let make_learner: LearnerFactory = Box::new(move |shape: &[usize]| -> Result<Box<dyn Learner>> {
            Ok(Box::new(LightClLearner::new(learner_config.clone(), shape, weights.as_deref())?))
        });
        let operator = Operator::new(pipeline.operator_config()?, encoder, detector, make_learner)?;
        Ok(match settings.evaluation_config() {
            Some(config) => operator.with_evaluation_set(Box::new(FileEvaluationSet(config))),
            None => operator,
        })
    }
}
