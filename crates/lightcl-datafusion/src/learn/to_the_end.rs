//! Limits above a learner.
//!
//! A limit ends a query as soon as it has its rows, and whatever learns below it would learn from a part of them: how large
//! a part depends on how rows are cut into batches. On bounded inputs limits are therefore made to wait: they still let
//! through so many rows, but read their input to its end.

use super::operator::LearnExec;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties,
    InputDistributionRequirements, PhysicalExpr, PlanProperties, ReplaceChildrenOptions,
};
use futures::{StreamExt, stream};
use std::fmt;
use std::sync::Arc;

/// Lets limits above a learner read their input to its end.
#[derive(Debug)]
pub(super) struct LearnToTheEnd;

impl PhysicalOptimizerRule for LearnToTheEnd {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        if !learns(&plan)? {
            return Ok(plan);
        }
        plan.transform_up(without_early_end).data()
    }

    fn name(&self) -> &str {
        "LearnToTheEnd"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Whether a learner of a bounded input is below, or this is one.
fn learns(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    plan.exists(|node| Ok(node.is::<LearnExec>() && !node.boundedness().is_unbounded()))
}

fn without_early_end(node: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    // A sort has read all of its input before it gives its first row.
    let ends_late = node.is::<LearnExec>() || node.is::<SortExec>() || node.is::<LimitToTheEndExec>();
    let Some(fetch) = node.fetch().filter(|_| !ends_late) else { return Ok(Transformed::no(node)) };
    if !learns(&node)? {
        return Ok(Transformed::no(node));
    }
    let (skip, unlimited) = if let Some(limit) = node.downcast_ref::<GlobalLimitExec>() {
        (limit.skip(), Arc::clone(limit.input()))
    } else if let Some(limit) = node.downcast_ref::<LocalLimitExec>() {
        (0, Arc::clone(limit.input()))
    } else if let Some(unlimited) = node.with_fetch(None).filter(|unlimited| unlimited.fetch().is_none()) {
        (0, unlimited)
    } else {
        return Ok(Transformed::no(node));
    };
    if unlimited.output_partitioning().partition_count() > 1 {
        // The limit of each partition only saved work: that of all stands above.
        return Ok(Transformed::yes(unlimited));
    }
    Ok(Transformed::yes(Arc::new(LimitToTheEndExec::new(unlimited, skip, fetch))))
}

/// Leaves rows out and lets so many through; the last of them comes when the input has ended.
#[derive(Debug)]
struct LimitToTheEndExec {
    input: Arc<dyn ExecutionPlan>,
    skip: usize,
    fetch: usize,
    properties: Arc<PlanProperties>,
}

impl LimitToTheEndExec {
    fn new(input: Arc<dyn ExecutionPlan>, skip: usize, fetch: usize) -> Self {
        let properties = Arc::new(input.properties().as_ref().clone());
        LimitToTheEndExec { input, skip, fetch, properties }
    }
}

impl DisplayAs for LimitToTheEndExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "LimitToTheEndExec: skip={}, fetch={}", self.skip, self.fetch)
    }
}

impl ExecutionPlan for LimitToTheEndExec {
    fn name(&self) -> &'static str {
        "LimitToTheEndExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition])
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(LimitToTheEndExec::new(input, self.skip, self.fetch))),
            _ => Err(DataFusionError::Internal("LimitToTheEndExec has one input".to_owned())),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn fetch(&self) -> Option<usize> {
        Some(self.fetch)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let rows = stream::unfold(Some((input, self.skip, self.fetch)), |state| async move {
            let (mut input, mut skip, mut left) = state?;
            let mut last = None;
            while let Some(batch) = input.next().await {
                let batch = match batch {
                    Ok(batch) => batch,
                    Err(error) => return Some((Err(error), None)),
                };
                let skipped = skip.min(batch.num_rows());
                skip -= skipped;
                let taken = left.min(batch.num_rows() - skipped);
                if taken == 0 {
                    continue;
                }
                let batch = batch.slice(skipped, taken);
                left -= taken;
                if left > 0 {
                    return Some((Ok(batch), Some((input, skip, left))));
                }
                last = Some(batch);
            }
            last.map(|batch| (Ok(batch), None))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}
