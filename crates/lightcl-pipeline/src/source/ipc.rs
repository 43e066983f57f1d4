//! The Arrow IPC file format.

use super::ipc_message;
use super::reader::{ReadRows, RowReader, damaged, guarded, unreadable};
use super::sniff::ARROW_MAGIC;
use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::convert::fb_to_schema;
use arrow_ipc::reader::FileDecoder;
use arrow_ipc::{Block, root_as_footer};
use arrow_schema::SchemaRef;
use lightcl_core::Result;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

/// Length of the footer's length and of the magic behind it.
const TRAILER_BYTES: u64 = 10;

/// Reads the batches that the footer names, one at a time.
pub(super) struct IpcFileReader {
    name: Arc<str>,
    file: File,
    decoder: FileDecoder,
    blocks: Vec<Block>,
    /// For each batch the number of its first row, and at the end that of the row behind the last.
    starts: Vec<u64>,
    schema: SchemaRef,
    batch_rows: usize,
    /// The next row.
    row: u64,
    /// The batch the last rows came from.
    current: Option<(usize, RecordBatch)>,
}

impl IpcFileReader {
    pub fn open(name: &Arc<str>, mut file: File, batch_rows: usize) -> Result<Self> {
        let length = file.metadata().map_err(|error| unreadable(name, error))?.len();
        let footer = read_footer(name, &mut file, length)?;
        let parsed = guarded(name, || root_as_footer(&footer))?;
        let (schema, version) = guarded(name, || {
            let schema = parsed.schema().ok_or("its footer has no schema")?;
            if !schema.endianness().equals_to_target_endianness() {
                return Err("its numbers are in the byte order of another processor");
            }
            Ok((Arc::new(fb_to_schema(schema)), parsed.version()))
        })?;
        let mut decoder = FileDecoder::new(Arc::clone(&schema), version);
        for block in parsed.dictionaries().iter().flatten() {
            let buffer = read_block(name, &mut file, block, length)?;
            guarded(name, || decoder.read_dictionary(block, &buffer))?;
        }
        let blocks: Vec<Block> = parsed.recordBatches().iter().flatten().copied().collect();
        let mut starts = vec![0];
        let mut rows = 0_u64;
        for block in &blocks {
            let metadata = block_metadata(name, &mut file, block, length)?;
            let in_block = guarded(name, || {
                let rows = ipc_message::rows(&ipc_message::parse(&metadata)?)?;
                rows.ok_or_else(|| "its footer names a message that is no batch".to_owned())
            })?;
            rows = rows.checked_add(in_block).ok_or_else(|| damaged(name, "it has too many rows"))?;
            starts.push(rows);
        }
        let name = Arc::clone(name);
        Ok(IpcFileReader { name, file, decoder, blocks, starts, schema, batch_rows, row: 0, current: None })
    }

    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    pub fn rows(&self) -> u64 {
        self.starts.last().copied().unwrap_or(0)
    }

    fn read_batch(&mut self, block: usize) -> Result<RecordBatch> {
        let length = self.file.metadata().map_err(|error| unreadable(&self.name, error))?.len();
        let buffer = read_block(&self.name, &mut self.file, &self.blocks[block], length)?;
        let batch = guarded(&self.name, || self.decoder.read_record_batch(&self.blocks[block], &buffer))?;
        let batch = batch.ok_or_else(|| damaged(&self.name, "its footer names a message that is no batch"))?;
        if batch.num_rows() as u64 != self.starts[block + 1] - self.starts[block] {
            return Err(damaged(&self.name, "a batch has another number of rows than before"));
        }
        Ok(batch)
    }
}

impl RowReader for IpcFileReader {
    fn next(&mut self) -> Result<Option<ReadRows>> {
        if self.row >= self.rows() {
            return Ok(None);
        }
        let block = self.starts.partition_point(|start| *start <= self.row) - 1;
        let batch = match self.current.take() {
            Some((current, batch)) if current == block => batch,
            _ => self.read_batch(block)?,
        };
        let into = (self.row - self.starts[block]) as usize;
        let rows = batch.slice(into, self.batch_rows.min(batch.num_rows() - into));
        self.row += rows.num_rows() as u64;
        self.current = Some((block, batch));
        Ok(Some(ReadRows::whole(rows)))
    }

    fn skip(&mut self, rows: u64) -> Result<u64> {
        let skipped = rows.min(self.rows() - self.row);
        self.row += skipped;
        Ok(skipped)
    }
}

fn read_footer(name: &str, file: &mut File, length: u64) -> Result<Vec<u8>> {
    let missing = || damaged(name, "its end is missing (an Arrow IPC file ends with a footer)");
    let least = ARROW_MAGIC.len() as u64 + TRAILER_BYTES;
    if length < least {
        return Err(missing());
    }
    let trailer = read_at(name, file, length - TRAILER_BYTES, TRAILER_BYTES)?;
    let (size, magic) = trailer.split_at(4);
    let size = size.first_chunk::<4>().map_or(-1, |bytes| i32::from_le_bytes(*bytes));
    if magic != ARROW_MAGIC {
        return Err(missing());
    }
    match u64::try_from(size) {
        Ok(size) if size <= length - least => read_at(name, file, length - TRAILER_BYTES - size, size),
        _ => Err(damaged(name, "its footer has an impossible length")),
    }
}

/// Reads bytes that the file's length says are there.
fn read_at(name: &str, file: &mut File, offset: u64, length: u64) -> Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset)).map_err(|error| unreadable(name, error))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes).map_err(|error| unreadable(name, error))?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(damaged(name, "it became shorter while it was read")) }
}

/// Offset, length of the metadata and length of the body of a block, all within the file.
fn bounds(name: &str, block: &Block, length: u64) -> Result<(u64, u64, u64)> {
    let outside = || damaged(name, "its footer names a message outside the file");
    let offset = u64::try_from(block.offset()).map_err(|_| outside())?;
    let metadata = u64::try_from(block.metaDataLength()).map_err(|_| outside())?;
    let body = u64::try_from(block.bodyLength()).map_err(|_| outside())?;
    let end = offset.checked_add(metadata).and_then(|end| end.checked_add(body));
    match end {
        Some(end) if end <= length && metadata >= 8 => Ok((offset, metadata, body)),
        _ => Err(outside()),
    }
}

fn block_metadata(name: &str, file: &mut File, block: &Block, length: u64) -> Result<Vec<u8>> {
    let (offset, metadata, _) = bounds(name, block, length)?;
    read_at(name, file, offset, metadata)
}

fn read_block(name: &str, file: &mut File, block: &Block, length: u64) -> Result<Buffer> {
    let (offset, metadata, body) = bounds(name, block, length)?;
    let bytes = read_at(name, file, offset, metadata + body)?;
    let (head, tail) = bytes.split_at(metadata as usize);
    guarded(name, || ipc_message::check(&ipc_message::parse(head)?, tail))?;
    Ok(Buffer::from_vec(bytes))
}
