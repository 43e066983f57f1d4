//! Rows of a query written to a topic.

use super::as_datafusion;
use super::options::KafkaOptions;
use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::datasource::sink::DataSink;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType};
use futures::StreamExt;
use lightcl_core::Error;
use lightcl_kafka::config::Connection;
use lightcl_kafka::format::FormatKind;
use lightcl_kafka::writing::{RowWriter, WriteFormat};
use std::fmt;
use std::sync::Arc;

/// Batches that may wait for the brokers.
const WAITING_BATCHES: usize = 2;

/// Writes rows to a topic, at least once.
pub(super) struct KafkaSink {
    schema: SchemaRef,
    connection: Connection,
    topic: String,
    format: WriteFormat,
}

impl KafkaSink {
    /// A sink for the topic of a table.
    ///
    /// # Errors
    /// When its format is only read.
    pub fn new(schema: SchemaRef, options: &KafkaOptions) -> lightcl_core::Result<Self> {
        let format = match options.topic.format.kind {
            FormatKind::Json => WriteFormat::Json,
            FormatKind::Arrow => WriteFormat::Arrow,
            _ => {
                return Err(Error::user(
                    "tables of this format are only read; those of json and arrow are written, too",
                ));
            }
        };
        let (connection, topic) = (options.topic.connection.clone(), options.topic.topic.clone());
        Ok(KafkaSink { schema, connection, topic, format })
    }
}

impl fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KafkaSink(topic={})", self.topic)
    }
}

impl DisplayAs for KafkaSink {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

#[async_trait]
impl DataSink for KafkaSink {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    async fn write_all(&self, mut rows: SendableRecordBatchStream, _: &Arc<TaskContext>) -> Result<u64> {
        let mut writer = RowWriter::new(self.connection.clone(), &self.topic, self.format);
        let (sender, mut waiting) = tokio::sync::mpsc::channel::<RecordBatch>(WAITING_BATCHES);
        let written = tokio::task::spawn_blocking(move || {
            let mut count = 0_u64;
            while let Some(batch) = waiting.blocking_recv() {
                writer.write(&batch)?;
                count += batch.num_rows() as u64;
            }
            Ok::<_, Error>(count)
        });
        let mut failed = None;
        while let Some(batch) = rows.next().await {
            match batch {
                Ok(batch) => {
                    // A writer that is gone says why below.
                    if sender.send(batch).await.is_err() {
                        break;
                    }
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        drop(sender);
        let written = written.await.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?;
        match failed {
            Some(error) => Err(error),
            None => written.map_err(as_datafusion),
        }
    }
}
