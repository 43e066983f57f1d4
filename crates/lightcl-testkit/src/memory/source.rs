//! A source over batches in memory.

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use lightcl_core::{Error, PositionedBatch, Positions, Result, RowOffsets, Source};
use std::sync::Arc;

/// Gives out batches that lie in memory, one partition after the other.
#[derive(Debug, Clone)]
pub struct MemorySource {
    schema: SchemaRef,
    partitions: Vec<(Arc<str>, Vec<RecordBatch>)>,
    positions: Positions,
}

impl MemorySource {
    /// One partition. Without a batch the schema is empty.
    pub fn new(partition: &str, batches: Vec<RecordBatch>) -> Self {
        let schema = batches.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
        MemorySource { schema, partitions: vec![(Arc::from(partition), batches)], positions: Positions::default() }
    }

    /// Adds a partition, read after those before it. Its batches must have the schema of the first.
    #[must_use]
    pub fn with_partition(mut self, partition: &str, batches: Vec<RecordBatch>) -> Self {
        self.partitions.push((Arc::from(partition), batches));
        self
    }
}

fn rows_in(batches: &[RecordBatch]) -> u64 {
    batches.iter().map(|batch| batch.num_rows() as u64).sum()
}

impl Source for MemorySource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn seek(&mut self, positions: &Positions) -> Result<()> {
        for (name, &next) in &positions.0 {
            let Some((_, batches)) = self.partitions.iter().find(|(partition, _)| **partition == **name) else {
                return Err(Error::user("no such partition").with("partition", name));
            };
            if next > rows_in(batches) {
                return Err(Error::user("the position lies behind the end")
                    .with("partition", name)
                    .with("position", next)
                    .with("rows", rows_in(batches)));
            }
        }
        self.positions = positions.clone();
        Ok(())
    }

    fn next(&mut self) -> Result<Option<PositionedBatch>> {
        for (partition, batches) in &self.partitions {
            let next = self.positions.next(partition);
            let mut start = 0;
            for batch in batches {
                let end = start + batch.num_rows() as u64;
                if next < end {
                    let skip = (next - start) as usize;
                    let batch = batch.slice(skip, batch.num_rows() - skip);
                    self.positions.advance(partition, end);
                    let partition = Arc::clone(partition);
                    return Ok(Some(PositionedBatch {
                        batch,
                        partition,
                        offsets: RowOffsets::From(next),
                        faults: Vec::new(),
                    }));
                }
                start = end;
            }
        }
        Ok(None)
    }

    fn total_rows(&self) -> Option<u64> {
        Some(self.partitions.iter().map(|(_, batches)| rows_in(batches)).sum())
    }
}
