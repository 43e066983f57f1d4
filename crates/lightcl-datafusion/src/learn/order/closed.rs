//! A plan that stays as it is.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties, InputDistributionRequirements,
    PhysicalExpr, PlanProperties, ReplaceChildrenOptions, displayable,
};
use std::fmt;
use std::sync::Arc;

/// Gives the rows of its input as they are. While it is open its input is optimized. Once it is closed a rewrite of the input
/// that would change how it reads is not taken: it could spread rows over partitions and bring them together in another
/// order, or take a sort away.
#[derive(Debug)]
pub(super) struct InOrderExec {
    input: Arc<dyn ExecutionPlan>,
    is_closed: bool,
    properties: Arc<PlanProperties>,
}

impl InOrderExec {
    /// One whose input is still to be optimized.
    pub fn open(input: Arc<dyn ExecutionPlan>) -> Self {
        Self::over(input, false)
    }

    /// One whose input stays.
    pub fn closed(input: Arc<dyn ExecutionPlan>) -> Self {
        Self::over(input, true)
    }

    fn over(input: Arc<dyn ExecutionPlan>, is_closed: bool) -> Self {
        let properties = input.properties().as_ref().clone();
        InOrderExec { input, is_closed, properties: Arc::new(properties) }
    }

    pub fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }
}

impl DisplayAs for InOrderExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        match format {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "InOrderExec")?;
                match self.input.output_ordering() {
                    Some(ordering) => write!(f, ": order=[{ordering}]"),
                    None => write!(f, ": order=[as it is read]"),
                }
            }
            DisplayFormatType::TreeRender => write!(f, "one partition"),
        }
    }
}

impl ExecutionPlan for InOrderExec {
    fn name(&self) -> &'static str {
        "InOrderExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition])
    }

    /// The order is kept, but once it is closed a sort above it must not be moved below.
    fn maintains_input_order(&self) -> Vec<bool> {
        vec![!self.is_closed]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let read = |plan: &Arc<dyn ExecutionPlan>| displayable(plan.as_ref()).indent(false).to_string();
        match children.as_slice() {
            [input] if !self.is_closed || read(input) == read(&self.input) => {
                Ok(Arc::new(InOrderExec::over(Arc::clone(input), self.is_closed)))
            }
            _ => Ok(self),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, super::RECOMPUTE)
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }
}
