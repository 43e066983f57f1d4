//! The table: what a scan and an insert do.

use super::as_datafusion;
use super::options::KafkaOptions;
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
use lightcl_kafka::reading;
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
        let options = KafkaOptions::new(location, &command.options, &schema).map_err(as_datafusion)?;
        let (connection, topic) = (options.topic.connection.clone(), options.topic.topic.clone());
        // That there is no such topic shows now, not with the first query.
        off_the_workers(move || reading::partition_count(&connection, &topic)).await?;
        Ok(Arc::new(KafkaTable { schema, options: Arc::new(options), is_unbounded: command.unbounded }))
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
struct KafkaTable {
    schema: SchemaRef,
    options: Arc<KafkaOptions>,
    is_unbounded: bool,
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
        let skipped = Arc::new(SkippedRecords::default());
        let partition = |partition| -> Arc<dyn PartitionStream> {
            Arc::new(KafkaPartition {
                schema: Arc::clone(&self.schema),
                options: Arc::clone(&self.options),
                partition,
                is_unbounded: self.is_unbounded,
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
            self.is_unbounded,
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
