//! Learning by key in a logical plan.

use super::options::KeyedOptions;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// The columns of what comes out, a row a learner.
pub(super) fn output_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Utf8, true),
        Field::new("location", DataType::Utf8, true),
        Field::new("rows", DataType::UInt64, false),
        Field::new("rejected", DataType::UInt64, true),
        Field::new("tasks", DataType::UInt32, true),
        Field::new("prequential_accuracy", DataType::Float64, true),
        Field::new("state_sha256", DataType::Utf8, true),
    ]))
}

/// Rows that learners are trained on, one a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LearnByKeyNode {
    input: LogicalPlan,
    options: KeyedOptions,
    schema: DFSchemaRef,
}

impl LearnByKeyNode {
    /// Over any plan that ends.
    ///
    /// # Errors
    /// When the options are not whole, or name a column that is not there.
    pub fn new(input: LogicalPlan, options: KeyedOptions) -> Result<Self> {
        let options = options.checked()?;
        for column in std::iter::once(&options.key).chain(&options.order) {
            if input.schema().fields().iter().all(|field| field.name() != column) {
                let names: Vec<&str> = input.schema().fields().iter().map(|field| field.name().as_str()).collect();
                return Err(DataFusionError::Plan(format!(
                    "there is no column '{column}' to learn by; there are {}",
                    names.join(", ")
                )));
            }
        }
        let schema = Arc::new(DFSchema::try_from(output_schema())?);
        Ok(LearnByKeyNode { input, options, schema })
    }

    /// What is learnt by what keys.
    pub fn options(&self) -> &KeyedOptions {
        &self.options
    }
}

impl PartialOrd for LearnByKeyNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.options.cmp(&other.options) {
            Ordering::Equal => self.input.partial_cmp(&other.input),
            different => Some(different),
        }
    }
}

impl UserDefinedLogicalNodeCore for LearnByKeyNode {
    fn name(&self) -> &str {
        "LearnByKey"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let KeyedOptions { key, order, location, job, .. } = &self.options;
        write!(f, "LearnByKey: key={key}, order=[{}], location={}, job={job}", order.join(", "), location.display())
    }

    fn with_exprs_and_inputs(&self, _expressions: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        match (inputs.pop(), inputs.is_empty()) {
            (Some(input), true) => LearnByKeyNode::new(input, self.options.clone()),
            _ => Err(DataFusionError::Internal("LearnByKey has one input".to_owned())),
        }
    }
}
