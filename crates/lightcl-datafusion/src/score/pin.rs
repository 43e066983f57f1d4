//! One version of a model inside a query.

use super::function::ScoringFunction;
use super::models::Loaded;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, ScalarUDF};
use datafusion::optimizer::AnalyzerRule;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Puts the version of each model that a query calls into the calls themselves, the same into all of them. Plans are analysed
/// once a query, before they are optimised; whoever runs a data frame again analyses it again, and so takes newer versions.
#[derive(Debug)]
pub(super) struct PinModels;

impl AnalyzerRule for PinModels {
    fn name(&self) -> &str {
        "pin_lightcl_models"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        // By location: a name and a path may mean the same model.
        let mut versions = BTreeMap::new();
        let pinned = plan.transform_up_with_subqueries(|plan| {
            let pinned = plan.map_expressions(|expression| expression.transform_up(|call| pin(call, &mut versions)))?;
            // How many numbers an embedding has may differ in a newer version.
            if pinned.transformed { pinned.map_data(LogicalPlan::recompute_schema) } else { Ok(pinned) }
        })?;
        Ok(pinned.data)
    }
}

fn pin(expression: Expr, versions: &mut BTreeMap<PathBuf, Arc<Loaded>>) -> Result<Transformed<Expr>> {
    let Expr::ScalarFunction(mut call) = expression else { return Ok(Transformed::no(expression)) };
    let Some(function) = call.func.inner().downcast_ref::<ScoringFunction>().filter(|function| !function.is_pinned())
    else {
        return Ok(Transformed::no(Expr::ScalarFunction(call)));
    };
    let model = match call.args.first() {
        Some(Expr::Literal(model, _)) => Some(model),
        _ => None,
    };
    let pinned = function.pinned(model, versions)?;
    call.func = Arc::new(ScalarUDF::from(pinned));
    Ok(Transformed::yes(Expr::ScalarFunction(call)))
}
