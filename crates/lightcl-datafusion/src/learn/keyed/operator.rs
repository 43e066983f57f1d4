//! Learning by key in a physical plan.

use super::super::errors::{failed, refused};
use super::super::feed::{self, feed_or_give_up};
use super::super::meters::Meters;
use super::super::options::LearnOptions;
use super::super::recipe::Recipe;
use super::intake::Intake;
use super::learning::Learning;
use super::node::output_schema;
use super::options::KeyedOptions;
use super::results::Results;
use arrow_schema::DataType;
use datafusion::arrow::compute::SortOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::col;
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, OrderingRequirements, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::{CardinalityEffect, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties,
    InputDistributionRequirements, Partitioning, PhysicalExpr, PlanProperties, ReplaceChildrenOptions,
};
use lightcl_core::Error;
use std::fmt;
use std::sync::Arc;

/// Rows that may wait for the query.
const OUTPUT_CAPACITY: usize = 2;

/// Trains a learner for each key. Its input is partitioned by the key and sorted by key and order, which the optimizer sees to;
/// each partition is learnt from by itself, on a thread of its own, one learner at a time.
pub struct LearnByKeyExec {
    input: Arc<dyn ExecutionPlan>,
    job: Arc<Job>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

/// What is learnt, whatever the input is spread over.
struct Job {
    options: KeyedOptions,
    /// The name of the rows.
    range: Arc<str>,
    recipe: Arc<Recipe>,
    key: Arc<dyn PhysicalExpr>,
    ordering: LexOrdering,
}

impl LearnByKeyExec {
    /// Over any plan that ends; `range` names its rows.
    ///
    /// # Errors
    /// When the pipeline is wrong, its learner cannot learn from these columns, they cannot be keys or an order, or the input
    /// does not end.
    pub fn new(input: Arc<dyn ExecutionPlan>, options: KeyedOptions, range: &str) -> Result<Self> {
        if input.boundedness().is_unbounded() {
            return Err(DataFusionError::Plan(
                "learning by key reads its input to the end, and this one has none: a job of Kafka with learner.scope = \"key\" \
                 learns from an endless one"
                    .to_owned(),
            ));
        }
        let schema = input.schema();
        let recipe = LearnOptions { set: options.set.clone(), ..LearnOptions::new(&options.pipeline) };
        let recipe = Recipe::read(&recipe, &options.job).map_err(|error| refused(&error))?;
        recipe.operator(&schema, false).map_err(|error| refused(&error))?;
        let kind = schema.field_with_name(&options.key)?.data_type().clone();
        let is_key = kind.is_integer() || kind.is_string() || matches!(kind, DataType::Boolean | DataType::Date32);
        if !is_key {
            return Err(DataFusionError::Plan(format!(
                "keys are text, whole numbers, dates or booleans; the column '{}' has the type {kind}",
                options.key
            )));
        }
        let sorted = SortOptions { descending: false, nulls_first: true };
        let columns = std::iter::once(&options.key).chain(&options.order).map(|name| col(name, &schema));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let ordering = LexOrdering::new(columns.into_iter().map(|column| PhysicalSortExpr::new(column, sorted)))
            .ok_or_else(|| DataFusionError::Internal("a key is an order".to_owned()))?;
        let key = col(&options.key, &schema)?;
        let job = Job { options, range: Arc::from(range), recipe: Arc::new(recipe), key, ordering };
        Ok(Self::over(input, Arc::new(job)))
    }

    fn over(input: Arc<dyn ExecutionPlan>, job: Arc<Job>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(output_schema()),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            EmissionType::Incremental,
            input.boundedness(),
        );
        LearnByKeyExec { input, job, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }

    /// What is learnt by what keys.
    pub fn options(&self) -> &KeyedOptions {
        &self.job.options
    }

    /// The name of the rows.
    pub fn range(&self) -> &str {
        &self.job.range
    }
}

impl fmt::Debug for LearnByKeyExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LearnByKeyExec")
            .field("options", self.options())
            .field("input", &self.input)
            .finish_non_exhaustive()
    }
}

impl DisplayAs for LearnByKeyExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let KeyedOptions { key, order, location, job, .. } = self.options();
        match format {
            DisplayFormatType::Default | DisplayFormatType::Verbose => write!(
                f,
                "LearnByKeyExec: key={key}, order=[{}], location={}, job={job}, range={}",
                order.join(", "),
                location.display(),
                self.range()
            ),
            DisplayFormatType::TreeRender => write!(f, "key: {key}\njob: {job}"),
        }
    }
}

impl ExecutionPlan for LearnByKeyExec {
    fn name(&self) -> &'static str {
        "LearnByKeyExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::KeyPartitioned(vec![Arc::clone(&self.job.key)])])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![Some(OrderingRequirements::from(self.job.ordering.clone()))]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
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
        let (Some(input), true) = (children.pop(), children.is_empty()) else {
            return Err(DataFusionError::Internal("LearnByKeyExec has one input".to_owned()));
        };
        Ok(Arc::new(Self::over(input, Arc::clone(&self.job))))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        visit(&self.job.key)
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::LowerEqual
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let Job { options, range, recipe, .. } = self.job.as_ref();
        let name = options.job.clone();
        let memory = MemoryConsumer::new(format!("a learner of the job {name}")).register(context.memory_pool());
        let learning = Learning {
            configuration: recipe.configuration().map_err(failed)?,
            recipe: Arc::clone(recipe),
            results: Results::new(options, range),
            range: Arc::clone(range),
            input: self.input.schema(),
            output: self.schema(),
            meters: Meters::new(&self.metrics),
            baseline: BaselineMetrics::new(&self.metrics, partition),
            memory,
        };
        let (key, order) = (options.key.clone(), options.order.clone());
        let mut output = RecordBatchReceiverStreamBuilder::new(self.schema(), OUTPUT_CAPACITY);
        let rows = output.tx();
        output.spawn(async move {
            let (feeder, fed) = feed::channel(&name, context.memory_pool());
            let spawned = std::thread::Builder::new().name("lightcl-by-key".to_owned()).spawn(move || {
                let schema = Arc::clone(&learning.input);
                let intake = Intake::new(fed, &schema, &key, &order).map_err(failed);
                if let Err(error) = intake.and_then(|intake| learning.run(intake, &rows)) {
                    // Whoever is gone wants no reason.
                    let _ = rows.blocking_send(Err(error));
                }
            });
            spawned.map_err(|error| failed(Error::external("cannot start a thread to learn on").caused_by(error)))?;
            feed_or_give_up(input, feeder).await
        });
        Ok(output.build())
    }
}
