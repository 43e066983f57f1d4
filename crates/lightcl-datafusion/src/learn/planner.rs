//! The operator in a logical plan, and how a session comes to plan it.

use super::errors::refused;
use super::fingerprint::{NAME_ROWS, fingerprint};
use super::keyed::{LearnByKeyExec, LearnByKeyNode};
use super::operator::{LearnExec, Task};
use super::options::LearnOptions;
use super::order::in_order;
use super::positions::Places;
use super::recipe::Recipe;
use super::to_the_end::LearnToTheEnd;
use super::waiting::{APPENDED, appended_fields};
use crate::shared::Shared;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use datafusion::prelude::SessionContext;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Rows that are scored, learnt from and passed on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LearnNode {
    input: LogicalPlan,
    options: LearnOptions,
    schema: DFSchemaRef,
}

impl LearnNode {
    /// Over any plan.
    ///
    /// # Errors
    /// When the plan has columns of the names that are appended.
    pub fn new(input: LogicalPlan, options: LearnOptions) -> Result<Self> {
        let taken = APPENDED.iter().find(|(name, _)| input.schema().fields().iter().any(|field| field.name() == name));
        if let Some((name, _)) = taken {
            return Err(DataFusionError::Plan(format!(
                "the rows have a column '{name}' already, and learning from them appends one: leave it out or rename it"
            )));
        }
        let appended = DFSchema::from_unqualified_fields(appended_fields().into(), HashMap::new())?;
        let schema = Arc::new(input.schema().join(&appended)?);
        Ok(LearnNode { input, options, schema })
    }
}

impl PartialOrd for LearnNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.options.cmp(&other.options) {
            Ordering::Equal => self.input.partial_cmp(&other.input),
            different => Some(different),
        }
    }
}

impl UserDefinedLogicalNodeCore for LearnNode {
    fn name(&self) -> &str {
        "Learn"
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
        let LearnOptions { pipeline, location, name, partition, .. } = &self.options;
        // The text of a pipeline is long.
        let pipeline = if pipeline.contains('\n') { "(text)" } else { pipeline };
        write!(f, "Learn: pipeline={pipeline}")?;
        if let Some(name) = name {
            write!(f, ", name={name}")?;
        }
        if let Some(location) = location {
            write!(f, ", location={}", location.display())?;
        }
        partition.as_ref().map_or(Ok(()), |partition| write!(f, ", partition={partition}"))
    }

    fn with_exprs_and_inputs(&self, _expressions: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        match (inputs.pop(), inputs.is_empty()) {
            (Some(input), true) => LearnNode::new(input, self.options.clone()),
            _ => Err(DataFusionError::Internal("Learn has one input".to_owned())),
        }
    }
}

/// Plans the operator.
struct LearnPlanner {
    shared: Arc<Shared>,
}

#[async_trait]
impl ExtensionPlanner for LearnPlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        _context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let [input] = physical_inputs else { return Ok(None) };
        if let Some(by_key) = node.as_any().downcast_ref::<LearnByKeyNode>() {
            let options = by_key.options().clone();
            let range = match &options.range {
                Some(range) => range.clone(),
                // It is refused below.
                None if input.boundedness().is_unbounded() => String::new(),
                None => fingerprint(input, "name what they are with the option 'range'")?,
            };
            return Ok(Some(Arc::new(LearnByKeyExec::new(Arc::clone(input), options, &range)?)));
        }
        let Some(LearnNode { options, .. }) = node.as_any().downcast_ref() else { return Ok(None) };
        let recipe = Recipe::read(options, options.name.as_deref().unwrap_or("learner")).map_err(|e| refused(&e))?;
        let partition = match (&options.partition, &options.location) {
            (Some(partition), _) => partition.clone(),
            (None, Some(_)) => fingerprint(input, NAME_ROWS)?,
            // Nothing is kept: every run begins anew, whatever its rows are.
            (None, None) => "rows".to_owned(),
        };
        let places = Places::new(input.schema(), &partition, options).map_err(|e| refused(&e))?;
        options.check_order()?;
        let task = Task {
            name: options.name.clone().unwrap_or_else(|| recipe.model().to_owned()),
            folder: options.location.clone(),
            recipe: Arc::new(recipe),
            places,
            max_wait: options.max_wait,
        };
        let input = in_order(Arc::clone(input), session, options.any_order)?;
        Ok(Some(Arc::new(LearnExec::new(input, task, Arc::clone(&self.shared))?)))
    }
}

/// Plans queries that learn; all others are planned by whoever planned them before.
struct LearnQueryPlanner {
    before: Arc<dyn QueryPlanner + Send + Sync>,
    shared: Arc<Shared>,
}

impl fmt::Debug for LearnQueryPlanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LearnQueryPlanner").field("before", &self.before).finish_non_exhaustive()
    }
}

#[async_trait]
impl QueryPlanner for LearnQueryPlanner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        if !learns(plan)? {
            return self.before.create_physical_plan(plan, session).await;
        }
        let learn = LearnPlanner { shared: Arc::clone(&self.shared) };
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(learn)]);
        planner.create_physical_plan(plan, session).await
    }
}

fn learns(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= match node {
            LogicalPlan::Extension(extension) => {
                let node = extension.node.as_any();
                node.is::<LearnNode>() || node.is::<LearnByKeyNode>()
            }
            // What is explained is no input of the explanation.
            LogicalPlan::Explain(explain) => learns(&explain.plan)?,
            LogicalPlan::Analyze(analyze) => learns(&analyze.input)?,
            _ => false,
        };
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// Lets a session plan queries that learn. Whatever else it had stays; statements that were prepared before are gone.
pub(crate) fn install(context: &SessionContext, shared: &Arc<Shared>) {
    let state = context.state_ref();
    let mut state = state.write();
    let planner = LearnQueryPlanner { before: Arc::clone(state.query_planner()), shared: Arc::clone(shared) };
    let session = state.session_id().to_owned();
    *state = SessionStateBuilder::new_from_existing(state.clone())
        .with_session_id(session)
        .with_query_planner(Arc::new(planner))
        .with_physical_optimizer_rule(Arc::new(LearnToTheEnd))
        .build();
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::logical_expr::LogicalPlanBuilder;
    use datafusion::prelude::lit;

    #[test]
    fn columns_are_appended_and_names_that_are_taken_refused() {
        let plan =
            |name: &str| LogicalPlanBuilder::empty(true).project(vec![lit(1).alias(name)]).unwrap().build().unwrap();
        let node = LearnNode::new(plan("x"), LearnOptions::new("a.toml")).unwrap();
        assert_eq!(UserDefinedLogicalNodeCore::schema(&node).fields().len(), 6);
        let error = LearnNode::new(plan("lightcl_task"), LearnOptions::new("a.toml")).unwrap_err();
        assert!(error.to_string().contains("'lightcl_task' already"), "{error}");
    }
}
