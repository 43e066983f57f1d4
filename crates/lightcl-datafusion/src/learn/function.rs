//! `lightcl_learn('table', 'pipeline', 'option', 'value', ..)`: the operator in SQL.

use super::options::LearnOptions;
use super::planner::LearnNode;
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::TableReference;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, LogicalPlanBuilder};
use futures::FutureExt;
use std::sync::Arc;

/// How it is called.
const USAGE: &str = "lightcl_learn('table or view', 'pipeline'), then options in pairs: 'location', 'models/shop', 'partition', \
                     'orders', ..";

/// Learns from the rows of a table or view. A query is made a view first: `CREATE VIEW ordered AS SELECT .. ORDER BY ..`.
#[derive(Debug)]
pub(super) struct LearnFunction;

impl LearnFunction {
    pub fn new() -> Self {
        LearnFunction
    }
}

impl TableFunctionImpl for LearnFunction {
    fn call_with_args(&self, arguments: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let texts = arguments.exprs().iter().map(text).collect::<Result<Vec<_>>>()?;
        let [table, pipeline, rest @ ..] = texts.as_slice() else {
            return Err(DataFusionError::Plan(format!("a table and a pipeline are needed: {USAGE}")));
        };
        let mut options = LearnOptions::new(*pipeline);
        let pairs = rest.chunks_exact(2);
        if let [alone] = pairs.remainder() {
            return Err(DataFusionError::Plan(format!("the option '{alone}' has no value: {USAGE}")));
        }
        for pair in pairs {
            if let [key, value] = pair {
                options.take_of_function(key, value)?;
            }
        }
        let source = find(table, &arguments)?;
        let input = LogicalPlanBuilder::scan(*table, provider_as_source(source), None)?.build()?;
        let node = Arc::new(LearnNode::new(input, options)?);
        Ok(Arc::new(ViewTable::new(LogicalPlan::Extension(Extension { node }), None)))
    }
}

fn text(argument: &Expr) -> Result<&str> {
    match argument {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
    .ok_or_else(|| DataFusionError::Plan(format!("all arguments are texts: {USAGE}")))
}

/// The table of that name, from catalogs that know their tables without asking anybody.
fn find(name: &str, arguments: &TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
    let session = arguments.session();
    let defaults = &session.config_options().catalog;
    let table = TableReference::parse_str(name).resolve(&defaults.default_catalog, &defaults.default_schema);
    let schema = session.catalog_list().catalog(&table.catalog).and_then(|catalog| catalog.schema(&table.schema));
    let schema = schema
        .ok_or_else(|| DataFusionError::Plan(format!("there is no schema {}.{}", table.catalog, table.schema)))?;
    let found = schema.table(&table.table).now_or_never().ok_or_else(|| {
        DataFusionError::Plan(format!(
            "the catalog of the table {name} must be asked first: register the table in this session, or learn from a \
             DataFrame"
        ))
    })?;
    found?.ok_or_else(|| {
        let mut names = schema.table_names();
        names.sort();
        DataFusionError::Plan(format!("there is no table '{name}'; there are {}", names.join(", ")))
    })
}
