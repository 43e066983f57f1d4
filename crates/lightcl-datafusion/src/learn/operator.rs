//! The test-then-train operator of a plan.

use super::errors::{failed, refused};
use super::feed;
use super::live::{EndOnDrop, GiveUpOnDrop};
use super::meters::Meters;
use super::pass::{Outlet, Pass};
use super::positions::Places;
use super::recipe::{ANEW, Recipe};
use super::waiting::appended_fields;
use super::watched::WatchedSink;
use crate::shared::Shared;
use arrow_array::RecordBatch;
use arrow_schema::{FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{CardinalityEffect, EvaluationType, SchedulingType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::{RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter};
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties,
    InputDistributionRequirements, Partitioning, PhysicalExpr, PlanProperties, ReplaceChildrenOptions,
};
use futures::StreamExt;
use lightcl_core::{Error, Sink};
use lightcl_pipeline::sink::{FolderOptions, FolderSink};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// Batches that may wait for the query.
const OUTPUT_CAPACITY: usize = 2;
/// Longest time that a row of an unbounded input waits for those scored with it.
const MAX_WAIT: Duration = Duration::from_millis(500);

/// What an operator trains.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub name: String,
    pub folder: Option<PathBuf>,
    pub recipe: Arc<Recipe>,
    pub places: Places,
    /// Longest time that a row waits for those scored with it; zero for ever, none for the default.
    pub max_wait: Option<Duration>,
}

/// Passes rows on with what the learner says of them, and lets it learn from them.
///
/// The input has one partition and one order, which stays. Nothing above is pushed below it: a filter or a limit above takes
/// rows away from the query, not from the learner. A limit right above it is taken into it: on a bounded input all rows are
/// learnt from all the same.
pub(super) struct LearnExec {
    input: Arc<dyn ExecutionPlan>,
    task: Task,
    shared: Arc<Shared>,
    /// How many rows are wanted of it; none for all.
    wanted: Option<usize>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl LearnExec {
    /// Over an input of one partition.
    ///
    /// # Errors
    /// When the learner cannot learn from its columns.
    pub fn new(input: Arc<dyn ExecutionPlan>, task: Task, shared: Arc<Shared>) -> Result<Self> {
        task.recipe.operator(&input.schema(), true).map_err(|error| refused(&error))?;
        Ok(LearnExec::over(input, task, shared, None))
    }

    fn over(input: Arc<dyn ExecutionPlan>, task: Task, shared: Arc<Shared>, wanted: Option<usize>) -> Self {
        let schema = with_appended(&input.schema());
        let orderings = input.equivalence_properties().oeq_class().clone();
        let properties = PlanProperties::new(
            EquivalenceProperties::new_with_orderings(schema, orderings),
            Partitioning::UnknownPartitioning(1),
            input.pipeline_behavior(),
            input.boundedness(),
        )
        .with_scheduling_type(SchedulingType::Cooperative)
        .with_evaluation_type(EvaluationType::Eager);
        let metrics = ExecutionPlanMetricsSet::new();
        LearnExec { input, task, shared, wanted, properties: Arc::new(properties), metrics }
    }
}

fn with_appended(schema: &Schema) -> SchemaRef {
    let fields: Vec<FieldRef> = schema.fields().iter().cloned().chain(appended_fields()).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

impl fmt::Debug for LearnExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LearnExec").field("task", &self.task).field("input", &self.input).finish_non_exhaustive()
    }
}

impl DisplayAs for LearnExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let Task { name, folder, places, .. } = &self.task;
        match format {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "LearnExec: learner={name}")?;
                if let Some(folder) = folder {
                    write!(f, ", location={}, partition={}", folder.display(), places.partition())?;
                }
            }
            DisplayFormatType::TreeRender => write!(f, "learner: {name}")?,
        }
        self.wanted.map_or(Ok(()), |wanted| write!(f, ", fetch={wanted}"))
    }
}

impl ExecutionPlan for LearnExec {
    fn name(&self) -> &'static str {
        "LearnExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition])
    }

    /// Rows keep their order, which the properties say. Here it is denied, since a sort above would else be moved below, and
    /// other rows learnt from first.
    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false]
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
            (Some(input), true) => {
                Ok(Arc::new(LearnExec::over(input, self.task.clone(), Arc::clone(&self.shared), self.wanted)))
            }
            _ => Err(DataFusionError::Internal("LearnExec has one input".to_owned())),
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

    fn with_fetch(&self, wanted: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        let (input, shared) = (Arc::clone(&self.input), Arc::clone(&self.shared));
        Some(Arc::new(LearnExec::over(input, self.task.clone(), shared, wanted)))
    }

    fn fetch(&self) -> Option<usize> {
        self.wanted
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        if self.wanted.is_some() { CardinalityEffect::LowerEqual } else { CardinalityEffect::Equal }
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return Err(DataFusionError::Internal(format!("LearnExec has no partition {partition}")));
        }
        let input = self.input.execute(0, Arc::clone(&context))?;
        let mut output = RecordBatchReceiverStreamBuilder::new(self.schema(), OUTPUT_CAPACITY);
        let execution = Execution {
            task: self.task.clone(),
            shared: Arc::clone(&self.shared),
            schema: self.schema(),
            input_schema: self.input.schema(),
            unbounded: self.input.boundedness().is_unbounded(),
            wanted: self.wanted,
            meters: Meters::new(&self.metrics),
            baseline: BaselineMetrics::new(&self.metrics, partition),
            stopping: Arc::new(AtomicBool::new(false)),
        };
        let give_up = GiveUpOnDrop(Arc::clone(&execution.stopping));
        let rows = output.tx();
        output.spawn(async move {
            if let Err(error) = execution.run(input, rows.clone(), &context).await {
                // Whoever is gone wants no reason.
                let _ = rows.send(Err(error)).await;
            }
            Ok(())
        });
        let rows = output.build().map(move |batch| {
            let _held = &give_up;
            batch
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}

/// One run of the operator.
struct Execution {
    task: Task,
    shared: Arc<Shared>,
    schema: SchemaRef,
    input_schema: SchemaRef,
    unbounded: bool,
    wanted: Option<usize>,
    meters: Meters,
    baseline: BaselineMetrics,
    /// Set when the query lets go of the rows.
    stopping: Arc<AtomicBool>,
}

impl Execution {
    /// Starts the learner's thread and feeds it all rows of the input.
    async fn run(
        self,
        input: SendableRecordBatchStream,
        rows: Sender<Result<RecordBatch>>,
        context: &TaskContext,
    ) -> Result<()> {
        let Task { name, folder, recipe, .. } = &self.task;
        let configuration = recipe.configuration().map_err(failed)?;
        let live = self.shared.learners.begin(name, folder.as_deref(), configuration, &self.stopping).await?;
        let ending = EndOnDrop(Arc::clone(&live));
        if let Some(folder) = folder {
            self.shared.set_location(name, folder.clone());
        }
        let (feeder, fed) = feed::channel(name, context.memory_pool());
        let memory = MemoryConsumer::new(format!("the learner {name}")).register(context.memory_pool());
        let spawned = std::thread::Builder::new().name("lightcl-learn".to_owned()).spawn(move || {
            let outlet = rows.clone();
            let outcome = self.pass(rows, &ending, memory).map_err(failed).and_then(|pass| pass.run(&fed));
            // The next statement may begin as soon as this one is seen to end.
            drop((fed, ending));
            if let Some(last) = outcome.transpose() {
                // Whoever is gone wants neither rows nor a reason.
                let _ = outlet.blocking_send(last);
            }
        });
        spawned.map_err(|error| failed(Error::external("cannot start a thread to learn on").caused_by(error)))?;
        // The learner hears of an error, and tells the query.
        let _ = feed::feed_all(input, feeder).await;
        Ok(())
    }

    /// What the thread works with; made on it, since reading weights and state takes time.
    fn pass(
        self,
        rows: Sender<Result<RecordBatch>>,
        ending: &EndOnDrop,
        memory: MemoryReservation,
    ) -> lightcl_core::Result<Pass> {
        let Task { folder, recipe, places, max_wait, .. } = self.task;
        let (live, settings) = (Arc::clone(&ending.0), recipe.settings());
        let inner: Option<Box<dyn Sink>> = match &folder {
            Some(folder) => {
                recipe.check_folder(folder, &live.configuration, ANEW)?;
                let options = FolderOptions {
                    predictions: settings.predictions.format,
                    keep: settings.checkpoint.keep,
                    fresh: false,
                    configuration: live.configuration.clone(),
                };
                Some(Box::new(FolderSink::open(folder, options)?))
            }
            None => None,
        };
        let waits = max_wait.unwrap_or(if self.unbounded { MAX_WAIT } else { Duration::ZERO });
        Ok(Pass {
            operator: recipe.operator(&self.input_schema, true)?,
            sink: WatchedSink::new(inner, Arc::clone(&live), self.meters.clone(), memory),
            live,
            meters: self.meters,
            checkpoints: settings.checkpoint_policy(),
            slice_rows: settings.learner.window_samples,
            places,
            max_wait: (!waits.is_zero()).then_some(waits),
            schema: self.schema,
            outlet: Outlet::new(rows, self.wanted, !self.unbounded, self.baseline),
        })
    }
}
