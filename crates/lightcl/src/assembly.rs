//! From a pipeline to the parts of a run.

use crate::config::Pipeline;
use crate::source::{self, FileSourceConfig};
use lightcl_core::{EvaluationSet, Learner, PositionedBatch, Result, Source};
use lightcl_learner::LightClLearner;
use lightcl_stream::encode::Encoder;
use lightcl_stream::{LearnerFactory, Operator};

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

/// The source and the operator that a pipeline describes, both at the start of the stream.
///
/// # Errors
/// When a file is not there, a column is missing or has the wrong type, or a setting is out of range.
pub fn assemble(pipeline: &Pipeline) -> Result<(Box<dyn Source>, Operator)> {
    let settings = pipeline.settings();
    let source = source::open(settings.source_config()).map_err(|error| pipeline.locate(error, "source.path"))?;
    let encoder =
        Encoder::new(settings.encoder_config(), &source.schema()).map_err(|error| pipeline.locate(error, "sample"))?;
    let detector = settings.detector().map_err(|error| pipeline.locate(error, "boundary"))?;
    let weights = settings.weights().map_err(|error| pipeline.locate(error, "learner.weights"))?;
    let learner_config = settings.learner_config();
    learner_config.validate().map_err(|error| pipeline.locate(error, "learner"))?;
    let make_learner: LearnerFactory = Box::new(move |shape: &[usize]| -> Result<Box<dyn Learner>> {
        Ok(Box::new(LightClLearner::new(learner_config.clone(), shape, weights.as_ref())?))
    });
    let mut operator = Operator::new(pipeline.operator_config()?, encoder, detector, make_learner)?;
    if let Some(config) = settings.evaluation_config() {
        // Opened once here so that a missing file is found before anything is learnt.
        source::open(config.clone()).map_err(|error| pipeline.locate(error, "evaluate.path"))?;
        operator = operator.with_evaluation_set(Box::new(FileEvaluationSet(config)));
    }
    Ok((source, operator))
}
