//! The table: what a scan and an insert do.

use super::as_datafusion;
use super::options::KafkaOptions;
use super::ranges::{KafkaRangesExec, Ranges};
use super::scan::{KafkaPartition, SkippedRecords};
use super::sink::KafkaSink;
use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider, TableProviderFactory};
use datafusion::datasource::TableType;
use datafusion::datasource::sink::DataSinkExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{CreateExternalTable, Expr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use lightcl_core::Error;
use lightcl_kafka::reading::{self, Until};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Makes Kafka tables.
#[derive(Debug)]
pub(super) struct KafkaTableFactory;

#[async_trait]
impl TableProviderFactory for KafkaTableFactory {
    async fn create(&self, _: &dyn Session, command: &CreateExternalTable) -> Result<Arc<dyn TableProvider>> {
        let schema = Arc::clone(command.schema.inner());
        let refused = |message: &str| Err(as_datafusion(Error::user(message).with("table", &command.name)));
        let [location] = command.locations.as_slice() else {
            return refused("a Kafka table has one location, kafka://HOST:PORT/TOPIC");
        };
        if schema.fields().is_empty() {
            return refused(
                "a Kafka table names its columns and their types: CREATE EXTERNAL TABLE name (x DOUBLE, ..)",
            );
        }
        if !command.order_exprs.is_empty() || !command.table_partition_cols.is_empty() {
            return refused(
                "a Kafka table has neither WITH ORDER nor PARTITIONED BY: order holds within a partition of the topic",
            );
        }
        let statement = Statement {
            location: location.clone(),
            options: command.options.clone().into_iter().collect(),
            is_unbounded: command.unbounded,
        };
        let table = KafkaTable::new(statement, schema)?;
        let options = &table.options;
        let (connection, topic) = (options.topic.connection.clone(), options.topic.topic.clone());
        // That there is no such topic shows now, not with the first query.
        off_the_workers(move || reading::partition_count(&connection, &topic)).await?;
        Ok(Arc::new(table))
    }
}

/// Runs what waits for a broker where waiting is no harm.
async fn off_the_workers<T: Send + 'static>(
    work: impl FnOnce() -> lightcl_core::Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?.map_err(as_datafusion)
}

/// A topic as a table. A bounded one is read to the ends that its partitions have when the query begins.
#[derive(Debug)]
pub(crate) struct KafkaTable {
    statement: Statement,
    schema: SchemaRef,
    options: Arc<KafkaOptions>,
    /// Whether scans are run elsewhere.
    is_remote: bool,
}

/// What the table was made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Statement {
    /// Brokers and topic.
    pub location: String,
    /// Options as they were given. Of secrets they have the places.
    pub options: BTreeMap<String, String>,
    /// Whether the table has no end.
    pub is_unbounded: bool,
}

impl KafkaTable {
    fn new(statement: Statement, schema: SchemaRef) -> Result<Self> {
        let options = KafkaOptions::new(&statement.location, &statement.options, &schema).map_err(as_datafusion)?;
        if statement.is_unbounded && !options.until.is_empty() {
            let error =
                Error::user("a table without an end has none to read until: leave 'kafka.until' out, or UNBOUNDED");
            return Err(as_datafusion(error));
        }
        Ok(KafkaTable { statement, schema, options: Arc::new(options), is_remote: false })
    }

    /// A table that another session has made; its scans go to where plans are run.
    ///
    /// # Errors
    /// When the options are wrong, or it has no end.
    pub fn remote(statement: Statement, schema: SchemaRef) -> Result<Self> {
        if statement.is_unbounded {
            return Err(as_datafusion(
                Error::user(
                    "a table without an end is not read on a cluster, whose statements end: leave UNBOUNDED out, or run the \
                     statement in one process",
                )
                .with("location", &statement.location),
            ));
        }
        Ok(KafkaTable { is_remote: true, ..KafkaTable::new(statement, schema)? })
    }

    /// What it was made of.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }
}

#[async_trait]
impl TableProvider for KafkaTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (connection, topic) = (self.options.topic.connection.clone(), self.options.topic.topic.clone());
        let count = off_the_workers(move || reading::partition_count(&connection, &topic)).await?;
        if self.is_remote {
            let options = Arc::clone(&self.options);
            // What is read is fixed here: a task that runs again reads the same.
            let ranges = off_the_workers(move || {
                let range = |partition| {
                    let (start, until) = (options.start_of(partition), options.end_of(partition));
                    Ok((partition, reading::range(&options.topic, partition, start, until)?))
                };
                (0..count).map(range).collect()
            });
            let scan =
                Ranges { statement: self.statement.clone(), ranges: ranges.await?, projection: projection.cloned() };
            return Ok(Arc::new(KafkaRangesExec::new(scan, Arc::clone(&self.schema))?));
        }
        let skipped = Arc::new(SkippedRecords::default());
        let partition = |partition| -> Arc<dyn PartitionStream> {
            let until = if self.statement.is_unbounded { Until::Never } else { self.options.end_of(partition) };
            Arc::new(KafkaPartition {
                schema: Arc::clone(&self.schema),
                options: Arc::clone(&self.options),
                partition,
                start: self.options.start_of(partition),
                until,
                skipped: Arc::clone(&skipped),
            })
        };
        let partitions = (0..count).map(partition).collect();
        let none: [datafusion::physical_expr::LexOrdering; 0] = [];
        let scan = StreamingTableExec::try_new(
            Arc::clone(&self.schema),
            partitions,
            projection,
            none,
            self.statement.is_unbounded,
            limit,
        )?;
        Ok(Arc::new(scan))
    }

    async fn insert_into(
        &self,
        _: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        operation: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if operation != InsertOp::Append {
            return Err(as_datafusion(Error::user("records of a topic are not overwritten; use INSERT INTO")));
        }
        let sink = KafkaSink::new(Arc::clone(&self.schema), &self.options).map_err(as_datafusion)?;
        Ok(Arc::new(DataSinkExec::new(input, Arc::new(sink), None)))
    }
}
