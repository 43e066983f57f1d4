//! Parquet.

use super::reader::{ReadRows, RowReader, damaged, guarded, unreadable};
use super::sniff::PARQUET_MAGIC;
use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use arrow_schema::SchemaRef;
use lightcl_core::Result;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

/// Reads row groups page by page; seeking leaves out the row groups before the row.
pub(super) struct ParquetReader {
    name: Arc<str>,
    file: File,
    metadata: ArrowReaderMetadata,
    /// For each row group the number of its first row, and at the end that of the row behind the last.
    starts: Vec<u64>,
    batch_rows: usize,
    /// The next row.
    row: u64,
    rows: Option<ParquetRecordBatchReader>,
}

impl ParquetReader {
    pub fn open(name: &Arc<str>, mut file: File, batch_rows: usize) -> Result<Self> {
        check_end(name, &mut file)?;
        let metadata = guarded(name, || ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()))?;
        let mut starts = vec![0];
        let mut rows = 0_u64;
        for group in metadata.metadata().row_groups() {
            let in_group = u64::try_from(group.num_rows()).ok().and_then(|in_group| rows.checked_add(in_group));
            rows = in_group.ok_or_else(|| damaged(name, "a row group has an impossible number of rows"))?;
            starts.push(rows);
        }
        Ok(ParquetReader { name: Arc::clone(name), file, metadata, starts, batch_rows, row: 0, rows: None })
    }

    pub fn schema(&self) -> SchemaRef {
        Arc::clone(self.metadata.schema())
    }

    pub fn rows(&self) -> u64 {
        self.starts.last().copied().unwrap_or(0)
    }

    fn reader_at(&self, row: u64) -> Result<ParquetRecordBatchReader> {
        let group = self.starts.partition_point(|start| *start <= row).saturating_sub(1);
        let into = (row - self.starts[group]) as usize;
        let file = self.file.try_clone().map_err(|error| unreadable(&self.name, error))?;
        guarded(&self.name, || {
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
                .with_batch_size(self.batch_rows)
                .with_row_groups((group..self.starts.len() - 1).collect())
                .with_offset(into)
                .build()
        })
    }
}

impl RowReader for ParquetReader {
    fn next(&mut self) -> Result<Option<ReadRows>> {
        while self.row < self.rows() {
            let mut reader = match self.rows.take() {
                Some(reader) => reader,
                None => self.reader_at(self.row)?,
            };
            let batch = guarded(&self.name, || reader.next().transpose())?;
            let Some(batch) = batch else {
                return Err(damaged(&self.name, "it has fewer rows than its footer says"));
            };
            self.rows = Some(reader);
            self.row += batch.num_rows() as u64;
            if batch.num_rows() > 0 {
                return Ok(Some(ReadRows::whole(batch)));
            }
        }
        Ok(None)
    }

    fn skip(&mut self, rows: u64) -> Result<u64> {
        let skipped = rows.min(self.rows() - self.row);
        self.row += skipped;
        self.rows = None;
        Ok(skipped)
    }
}

/// A file that is cut off lacks its last bytes; said here in plain words.
fn check_end(name: &str, file: &mut File) -> Result<()> {
    let missing = || damaged(name, "its end is missing (a Parquet file ends with a footer)");
    let length = file.metadata().map_err(|error| unreadable(name, error))?.len();
    // Magic, the length of the footer and the magic again.
    if length < 12 {
        return Err(missing());
    }
    let mut end = [0; 4];
    file.seek(SeekFrom::End(-4)).and_then(|_| file.read_exact(&mut end)).map_err(|error| unreadable(name, error))?;
    if end == *PARQUET_MAGIC { Ok(()) } else { Err(missing()) }
}
