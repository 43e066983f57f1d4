//! `lightcl_learn('table', 'pipeline', 'option', 'value', ..)`: the operator in SQL.

use super::options::LearnOptions;
use super::planner::LearnNode;
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::TableReference;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNode};
use futures::FutureExt;
use std::sync::Arc;

/// How it is called.
const USAGE: &str = "lightcl_learn('table or view', 'pipeline'), then options in pairs: 'location', 'models/shop', 'partition', \
                     'orders', ..";

/// Learns from the rows of a table or view. A query is made a view first: `CREATE VIEW ordered AS SELECT .. ORDER BY ..`.
#[derive(Debug)]
pub(super) struct LearnFunction;

impl TableFunctionImpl for LearnFunction {
    fn call_with_args(&self, arguments: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let call = Call::read(&arguments, USAGE)?;
        let mut options = LearnOptions::new(call.pipeline);
        for (key, value) in call.options {
            options.take_of_function(key, value)?;
        }
        Ok(Call::table(Arc::new(LearnNode::new(call.input, options)?)))
    }
}

/// The arguments of a table function that learns: a table or view, a pipeline, and options in pairs.
pub(super) struct Call<'a> {
    /// All rows of the table.
    pub input: LogicalPlan,
    pub pipeline: &'a str,
    pub options: Vec<(&'a str, &'a str)>,
}

impl<'a> Call<'a> {
    /// # Errors
    /// When there is no such table, or the arguments are others; then with the usage.
    pub fn read(arguments: &'a TableFunctionArgs, usage: &str) -> Result<Self> {
        let texts = arguments.exprs().iter().map(|argument| text(argument, usage)).collect::<Result<Vec<_>>>()?;
        let [table, pipeline, rest @ ..] = texts.as_slice() else {
            return Err(DataFusionError::Plan(format!("a table and a pipeline are needed: {usage}")));
        };
        let (pairs, alone) = rest.as_chunks::<2>();
        if let [alone] = alone {
            return Err(DataFusionError::Plan(format!("the option '{alone}' has no value: {usage}")));
        }
        let source = find(table, arguments)?;
        let input = LogicalPlanBuilder::scan(*table, provider_as_source(source), None)?.build()?;
        Ok(Call { input, pipeline, options: pairs.iter().map(|&[key, value]| (key, value)).collect() })
    }

    /// What the function gives: a view of the plan that learns.
    pub fn table(node: Arc<dyn UserDefinedLogicalNode>) -> Arc<dyn TableProvider> {
        Arc::new(ViewTable::new(LogicalPlan::Extension(Extension { node }), None))
    }
}

fn text<'a>(argument: &'a Expr, usage: &str) -> Result<&'a str> {
    match argument {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
    .ok_or_else(|| DataFusionError::Plan(format!("all arguments are texts: {usage}")))
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
