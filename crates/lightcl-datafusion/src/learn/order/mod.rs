//! One order for the rows that a learner learns from.
//!
//! The engine merges partitions as their rows arrive, and spreads rows over partitions where it thinks that this is faster.
//! What is learnt must not depend on either. The input of a learner is therefore planned anew with one partition throughout:
//! files of a scan come one after the other in the order of their paths, partitions of other sources in theirs, and where
//! partitions are sorted they are merged by that order. The plan is then closed ([`InOrderExec`]): what the optimizer does to
//! the plan around it no longer changes it.

mod closed;
mod one_by_one;

use closed::InOrderExec;
use datafusion::catalog::Session;
use datafusion::catalog::memory::DataSourceExec;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder};
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_optimizer::{PhysicalOptimizerContext, PhysicalOptimizerRule};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::operator_statistics::StatisticsRegistry;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, ExecutionPlan, ExecutionPlanProperties, ReplaceChildrenOptions,
};
use one_by_one::OneByOneExec;
use std::sync::Arc;

/// How the older way of giving a plan other inputs is spelt in the newer.
const RECOMPUTE: ReplaceChildrenOptions = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);

/// The input of a learner as a plan of one partition whose rows come in one order. `any_order` allows an unbounded input to
/// give its rows as they arrive.
///
/// # Errors
/// When the input is unbounded, has several partitions and no order; when it is to be sorted and is unbounded; or when the
/// optimizer fails.
pub(super) fn in_order(
    input: Arc<dyn ExecutionPlan>,
    session: &dyn Session,
    any_order: bool,
) -> Result<Arc<dyn ExecutionPlan>> {
    refuse_unbounded_sort(&input)?;
    let schema = input.schema();
    let arranged = input.transform_up(|node| arrange(node, any_order)).data()?;
    let optimized = optimize(Arc::new(InOrderExec::open(arranged)), session)?;
    let plan = match optimized.downcast_ref::<InOrderExec>() {
        Some(open) => Arc::clone(open.input()),
        None => optimized,
    };
    let plan = plan.transform_up(merge_by_partition).data()?;
    if plan.output_partitioning().partition_count() != 1 || plan.schema() != schema {
        return Err(DataFusionError::Internal("the input of a learner has more than one partition".to_owned()));
    }
    Ok(Arc::new(InOrderExec::closed(plan)))
}

/// Of rows that an order does not tell apart, those of the first partition come first: by default it is those of the
/// partition that was asked least.
fn merge_by_partition(node: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    Ok(match node.downcast_ref::<SortPreservingMergeExec>() {
        Some(merge) => Transformed::yes(Arc::new(merge.clone().with_round_robin_repartition(false))),
        None => Transformed::no(node),
    })
}

/// Makes one partition of a node whose inputs have one partition each.
fn arrange(node: Arc<dyn ExecutionPlan>, any_order: bool) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    if let Some(repartition) = node.downcast_ref::<RepartitionExec>() {
        // It would spread the rows of one partition.
        return Ok(Transformed::yes(Arc::clone(repartition.input())));
    }
    let node = match files_in_order(&node) {
        Some(scan) => scan,
        None => node,
    };
    if node.output_partitioning().partition_count() <= 1 {
        return Ok(Transformed::yes(node));
    }
    if let Some(ordering) = node.output_ordering().cloned() {
        return Ok(Transformed::yes(Arc::new(SortPreservingMergeExec::new(ordering, node))));
    }
    if !node.boundedness().is_unbounded() {
        return Ok(Transformed::yes(Arc::new(OneByOneExec::new(node))));
    }
    if any_order {
        return Ok(Transformed::yes(Arc::new(CoalescePartitionsExec::new(node))));
    }
    Err(DataFusionError::Plan(format!(
        "the rows of an unbounded input with {} partitions ({}) have no order, and what is learnt from them would depend on \
         which come first: declare an order for the table (WITH ORDER), read one partition, or say that any order will do \
         with the options 'lightcl.order' 'arrival' and 'lightcl.partition_column'",
        node.output_partitioning().partition_count(),
        node.name()
    )))
}

/// A scan of files as one partition, in the order of the files.
fn files_in_order(node: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let scan = node.downcast_ref::<DataSourceExec>()?;
    let config = scan.data_source().downcast_ref::<FileScanConfig>()?;
    let mut builder = FileScanConfigBuilder::from(config.clone()).with_preserve_order(true);
    if node.output_ordering().is_none() && config.file_groups.len() > 1 {
        let files = config.file_groups.iter().flat_map(|group| group.files().iter().cloned());
        builder = builder.with_file_groups(vec![FileGroup::new(files.collect())]).with_output_partitioning(None);
    }
    Some(DataSourceExec::from_data_source(builder.build()))
}

fn refuse_unbounded_sort(input: &Arc<dyn ExecutionPlan>) -> Result<()> {
    // One that the input has already is no sort at all.
    let needed = input.exists(|node| match node.downcast_ref::<SortExec>() {
        Some(sort) if sort.fetch().is_none() && sort.input().boundedness().is_unbounded() => {
            Ok(!sort.input().equivalence_properties().ordering_satisfy(sort.expr().iter().cloned())?)
        }
        _ => Ok(false),
    })?;
    if needed {
        return Err(DataFusionError::Plan(
            "an unbounded input cannot be sorted, its last row never comes: leave ORDER BY out, and learn from the rows in \
             the order they have"
                .to_owned(),
        ));
    }
    Ok(())
}

/// The session's optimizer with one partition to plan for.
struct OnePartition<'a> {
    options: ConfigOptions,
    session: &'a dyn Session,
}

impl PhysicalOptimizerContext for OnePartition<'_> {
    fn config_options(&self) -> &ConfigOptions {
        &self.options
    }

    fn statistics_registry(&self) -> Option<&StatisticsRegistry> {
        self.session.statistics_registry()
    }
}

fn optimize(plan: Arc<dyn ExecutionPlan>, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
    let mut options = session.config_options().clone();
    options.execution.target_partitions = 1;
    let context = OnePartition { options, session };
    let apply = |plan: Arc<dyn ExecutionPlan>, rule: &Arc<dyn PhysicalOptimizerRule + Send + Sync>| {
        rule.optimize_with_context(plan, &context).map_err(|error| error.context(rule.name().to_owned()))
    };
    match session.physical_optimizers() {
        [] => PhysicalOptimizer::new().rules.iter().try_fold(plan, apply),
        rules => rules.iter().try_fold(plan, apply),
    }
}
