//! One partition of a topic as a stream of batches.

use super::as_datafusion;
use super::options::{BadRecords, KafkaOptions};
use datafusion::arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use datafusion::arrow::compute::{CastOptions, cast_with_options, filter_record_batch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;
use lightcl_core::{Error, PositionedBatch};
use lightcl_kafka::reading::{PartitionReader, Read, Start, Until};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time between two looks at whether the query has gone.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Time between two tries where something outside does not answer.
const TRY_EVERY: Duration = Duration::from_millis(500);
/// Time between two messages about that.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// Batches that may wait for the query.
const WAITING_BATCHES: usize = 2;

/// Records of one scan that could not be read and were left out.
#[derive(Debug, Default)]
pub(super) struct SkippedRecords(AtomicU64);

/// One partition.
#[derive(Debug)]
pub(super) struct KafkaPartition {
    pub schema: SchemaRef,
    pub options: Arc<KafkaOptions>,
    pub partition: i32,
    pub start: Start,
    pub until: Until,
    pub skipped: Arc<SkippedRecords>,
}

impl PartitionStream for KafkaPartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.schema), WAITING_BATCHES);
        let to_query = stream.tx();
        let work = KafkaPartition {
            schema: Arc::clone(&self.schema),
            options: Arc::clone(&self.options),
            skipped: Arc::clone(&self.skipped),
            ..*self
        };
        stream.spawn_blocking(move || {
            let mut reader = PartitionReader::open(&work.options.topic, work.partition, work.start, work.until)
                .map_err(as_datafusion)?;
            let mut said: Option<Instant> = None;
            // A blocking task is not stopped from outside: it looks whether anybody still listens.
            while !to_query.is_closed() {
                let rows = match reader.next(LOOK_EVERY) {
                    Ok(Read::Rows(rows)) => rows,
                    Ok(Read::Nothing) => continue,
                    Ok(Read::End) => break,
                    Err(error) if error.is_retryable() => {
                        if said.is_none_or(|said| said.elapsed() > SAY_EVERY) {
                            log::warn!("{error}; trying again");
                            said = Some(Instant::now());
                        }
                        std::thread::sleep(TRY_EVERY);
                        continue;
                    }
                    Err(error) => return Err(as_datafusion(error)),
                };
                let batch = work.fit(rows)?;
                if batch.num_rows() > 0 && to_query.blocking_send(Ok(batch)).is_err() {
                    break;
                }
            }
            Ok(())
        });
        stream.build()
    }
}

impl KafkaPartition {
    /// Rows with the columns and types of the table, without those that could not be read.
    fn fit(&self, rows: PositionedBatch) -> Result<RecordBatch> {
        let good = if rows.faults.is_empty() { rows.batch } else { self.without_faults(rows)? };
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let columns = self.schema.fields().iter().map(|field| -> Result<ArrayRef> {
            let column = good.column_by_name(field.name()).ok_or_else(|| {
                DataFusionError::Internal(format!("a reader of records without the column '{}'", field.name()))
            })?;
            Ok(cast_with_options(column, field.data_type(), &strict)?)
        });
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns.collect::<Result<_>>()?)?)
    }

    fn without_faults(&self, rows: PositionedBatch) -> Result<RecordBatch> {
        let topic = &self.options.topic.topic;
        if let (BadRecords::Fail, Some(fault)) = (self.options.bad_records, rows.faults.first()) {
            let error =
                Error::user("a record cannot be read; with 'kafka.bad_records' 'skip' such records are left out")
                    .with("topic", topic)
                    .with("partition", self.partition)
                    .with("offset", rows.offset_of(fault.row))
                    .with("reason", &fault.message);
            return Err(DataFusionError::Execution(error.to_string()));
        }
        let mut keep = vec![true; rows.batch.num_rows()];
        for fault in &rows.faults {
            let offset = rows.offset_of(fault.row);
            log::warn!("{topic}-{}: record {offset} is left out: {}", self.partition, fault.message);
            if let Some(keep) = keep.get_mut(fault.row) {
                *keep = false;
            }
        }
        let skipped = self.skipped.0.fetch_add(rows.faults.len() as u64, Ordering::Relaxed);
        log::debug!("{topic}: {} records left out so far", skipped + rows.faults.len() as u64);
        metrics::counter!("lightcl_sql_skipped_records_total", "topic" => topic.clone())
            .increment(rows.faults.len() as u64);
        Ok(filter_record_batch(&rows.batch, &BooleanArray::from(keep))?)
    }
}
