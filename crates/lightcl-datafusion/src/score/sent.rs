//! Functions in plans that are sent to other processes: with the version of the model that the query was planned with.

use super::errors::planning;
use super::function::{Output, ScoringFunction};
use super::models::{Identity, Models};
use crate::shared::{Options, Shared};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ScalarUDF;
use std::sync::Arc;

/// Makes functions again of what was sent of them. All processes must see the models under the same paths.
#[derive(Debug)]
pub struct PinnedFunctions {
    models: Arc<Models>,
}

impl Default for PinnedFunctions {
    fn default() -> Self {
        PinnedFunctions { models: Arc::new(Models::new(Shared::new(Options::default()))) }
    }
}

impl PinnedFunctions {
    /// What has to be sent of a function beside its name: nothing of others than ours, and of those that have no version yet.
    ///
    /// # Errors
    /// When the path of the model is no text.
    pub fn encode(function: &ScalarUDF) -> Result<Option<Vec<u8>>> {
        let function = function.inner().downcast_ref::<ScoringFunction>();
        let Some(version) = function.and_then(ScoringFunction::version) else { return Ok(None) };
        let mut version = version.clone();
        version.snapshot = std::path::absolute(&version.snapshot)?;
        let sent = serde_json::to_vec(&version);
        sent.map(Some).map_err(|error| DataFusionError::External(Box::new(error)))
    }

    /// The function that was sent.
    ///
    /// # Errors
    /// When there is no such function, or its model is not there or has changed.
    pub fn decode(&self, name: &str, sent: &[u8]) -> Result<Arc<ScalarUDF>> {
        let output = Output::ALL.into_iter().find(|output| output.name() == name);
        let output =
            output.ok_or_else(|| DataFusionError::Plan(format!("there is no function '{name}' of a model")))?;
        let version: Identity = serde_json::from_slice(sent).map_err(|error| {
            DataFusionError::Plan(format!("the model of {name} was sent by another version of lightcl: {error}"))
        })?;
        let loaded = self.models.version(version).map_err(planning)?;
        Ok(Arc::new(ScoringFunction::of_version(output, &self.models, loaded).into()))
    }
}
