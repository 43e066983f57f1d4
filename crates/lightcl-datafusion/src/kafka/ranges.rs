//! Ranges of a topic's partitions as a plan that can be sent elsewhere.

use super::as_datafusion;
use super::options::KafkaOptions;
use super::scan::{KafkaPartition, SkippedRecords};
use super::table::Statement;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties, ReplaceChildrenOptions,
};
use futures::{StreamExt, stream};
use lightcl_kafka::reading::{Start, Until};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// What is read of a topic.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ranges {
    /// What the table was made of.
    pub statement: Statement,
    /// Offsets by partition, the last of each left out.
    pub ranges: Vec<(i32, Range<u64>)>,
    /// Columns that are wanted; none for all.
    pub projection: Option<Vec<usize>>,
}

/// Reads the ranges one after the other. It has one partition: engines that spread a plan over machines take nothing away from
/// a source that they do not know, and several would each be read by everybody.
pub(crate) struct KafkaRangesExec {
    scan: Ranges,
    /// The columns of the table.
    table: SchemaRef,
    options: Arc<KafkaOptions>,
    properties: Arc<PlanProperties>,
}

impl KafkaRangesExec {
    /// # Errors
    /// When the options are wrong, or a column is not there.
    pub fn new(scan: Ranges, table: SchemaRef) -> Result<Self> {
        let options =
            KafkaOptions::new(&scan.statement.location, &scan.statement.options, &table).map_err(as_datafusion)?;
        let schema = match &scan.projection {
            Some(columns) => Arc::new(table.project(columns)?),
            None => Arc::clone(&table),
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(KafkaRangesExec { scan, table, options: Arc::new(options), properties: Arc::new(properties) })
    }

    /// What is read.
    pub fn scan(&self) -> &Ranges {
        &self.scan
    }

    /// The columns of the table.
    pub fn table(&self) -> &SchemaRef {
        &self.table
    }
}

impl fmt::Debug for KafkaRangesExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaRangesExec").field("scan", &self.scan).finish_non_exhaustive()
    }
}

impl DisplayAs for KafkaRangesExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "KafkaRangesExec: topic={}, offsets=[", self.options.topic.topic)?;
        for (place, (partition, range)) in self.scan.ranges.iter().enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            write!(f, "{comma}{partition}:{}..{}", range.start, range.end)?;
        }
        write!(f, "]")
    }
}

impl ExecutionPlan for KafkaRangesExec {
    fn name(&self) -> &'static str {
        "KafkaRangesExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return Err(DataFusionError::Internal(format!("KafkaRangesExec has no partition {partition}")));
        }
        let skipped = Arc::new(SkippedRecords::default());
        let read = |(partition, range): &(i32, Range<u64>)| KafkaPartition {
            schema: Arc::clone(&self.table),
            options: Arc::clone(&self.options),
            partition: *partition,
            start: Start::Offset(range.start),
            until: Until::Offset(range.end),
            skipped: Arc::clone(&skipped),
        };
        let partitions: Vec<_> = self.scan.ranges.iter().filter(|(_, range)| !range.is_empty()).map(read).collect();
        let projection = self.scan.projection.clone();
        // The next is opened when the one before has ended.
        let rows = stream::iter(partitions).flat_map(move |partition| partition.execute(Arc::clone(&context)));
        let rows = rows.map(move |batch| match &projection {
            Some(columns) => Ok(batch?.project(columns)?),
            None => batch,
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}
