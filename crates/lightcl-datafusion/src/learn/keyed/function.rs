//! `lightcl_learn_by_key('table', 'pipeline', 'key', 'customer', ..)`: backfill in SQL.

use super::super::function::Call;
use super::node::LearnByKeyNode;
use super::options::KeyedOptions;
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::error::Result;
use std::sync::Arc;

/// The table function.
pub(in super::super) const FUNCTION: &str = "lightcl_learn_by_key";
/// How it is called.
const USAGE: &str = "lightcl_learn_by_key('table or view', 'pipeline'), then options in pairs: 'key', 'customer', 'order', \
                     'time', 'location', 'models', ..";

/// Trains a learner for each key of a table or view.
#[derive(Debug)]
pub(in super::super) struct LearnByKeyFunction;

impl TableFunctionImpl for LearnByKeyFunction {
    fn call_with_args(&self, arguments: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let call = Call::read(&arguments, USAGE)?;
        let options = KeyedOptions::of_function(call.pipeline, &call.options)?;
        Ok(Call::table(Arc::new(LearnByKeyNode::new(call.input, options)?)))
    }
}
