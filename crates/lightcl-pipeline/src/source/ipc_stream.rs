//! The Arrow IPC stream format.

use super::ipc_message;
use super::reader::{ReadRows, RowReader, damaged, guarded, unreadable};
use super::sniff::ARROW_CONTINUATION;
use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::MessageHeader;
use arrow_ipc::convert::fb_to_schema;
use arrow_ipc::reader::StreamDecoder;
use arrow_schema::SchemaRef;
use lightcl_core::Result;
use std::io::Read;
use std::sync::Arc;

/// Reads messages one at a time. Memory grows with the bytes that are there, never with a length that a message claims.
pub(super) struct IpcStreamReader {
    name: Arc<str>,
    input: Box<dyn Read + Send>,
    decoder: StreamDecoder,
    schema: SchemaRef,
    batch_rows: usize,
    /// Bytes handed to the decoder that it has not taken yet.
    waiting: Buffer,
    /// The rest of the batch in hand.
    current: Option<RecordBatch>,
    ended: bool,
}

impl IpcStreamReader {
    /// Reads up to the schema.
    pub fn open(name: &Arc<str>, input: Box<dyn Read + Send>, batch_rows: usize) -> Result<Self> {
        let mut reader = IpcStreamReader {
            name: Arc::clone(name),
            input,
            decoder: StreamDecoder::new(),
            schema: Arc::new(arrow_schema::Schema::empty()),
            batch_rows,
            waiting: Buffer::from_vec(Vec::<u8>::new()),
            current: None,
            ended: false,
        };
        let Some((bytes, metadata)) = reader.read_message()? else {
            return Err(damaged(name, "it ends before its schema"));
        };
        let schema = guarded(name, || {
            let message = ipc_message::parse(&bytes[..metadata])?;
            if message.header_type() != MessageHeader::Schema {
                return Err("its first message is no schema".to_owned());
            }
            let schema = message.header_as_schema().ok_or("its first message is no schema")?;
            if !schema.endianness().equals_to_target_endianness() {
                return Err("its numbers are in the byte order of another processor".to_owned());
            }
            Ok(Arc::new(fb_to_schema(schema)))
        })?;
        reader.schema = schema;
        reader.waiting = Buffer::from_vec(bytes);
        Ok(reader)
    }

    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Reads up to `length` bytes more; fewer at the end of the input.
    fn read_bytes(&mut self, length: u64, bytes: &mut Vec<u8>) -> Result<u64> {
        let read = (&mut self.input).take(length).read_to_end(bytes);
        read.map(|read| read as u64).map_err(|error| unreadable(&self.name, error))
    }

    fn read_all(&mut self, length: u64, bytes: &mut Vec<u8>) -> Result<()> {
        if self.read_bytes(length, bytes)? == length {
            Ok(())
        } else {
            Err(damaged(&self.name, "it ends within a message"))
        }
    }

    /// A message with its prefix, and how long prefix and metadata are together. None at the end of the stream.
    fn read_message(&mut self) -> Result<Option<(Vec<u8>, usize)>> {
        let mut bytes = Vec::new();
        match self.read_bytes(4, &mut bytes)? {
            0 => return Ok(None),
            4 => {}
            _ => return Err(damaged(&self.name, "it ends within a message")),
        }
        // Streams from before Arrow 0.15 have no continuation mark.
        if bytes == ARROW_CONTINUATION {
            self.read_all(4, &mut bytes)?;
        }
        let size = bytes.last_chunk::<4>().map_or(0, |size| u32::from_le_bytes(*size));
        if size == 0 {
            return Ok(None);
        }
        self.read_all(u64::from(size), &mut bytes)?;
        let metadata = bytes.len();
        let body = guarded(&self.name, || {
            let length = ipc_message::parse(&bytes)?.bodyLength();
            u64::try_from(length).map_err(|_| "a message has a negative length".to_owned())
        })?;
        self.read_all(body, &mut bytes)?;
        guarded(&self.name, || ipc_message::check(&ipc_message::parse(&bytes[..metadata])?, &bytes[metadata..]))?;
        Ok(Some((bytes, metadata)))
    }

    /// The next batch that has rows.
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            while !self.waiting.is_empty() {
                let batch = guarded(&self.name, || self.decoder.decode(&mut self.waiting))?;
                if let Some(batch) = batch.filter(|batch| batch.num_rows() > 0) {
                    return Ok(Some(batch));
                }
            }
            if self.ended {
                return Ok(None);
            }
            self.waiting = match self.read_message()? {
                Some((bytes, _)) => Buffer::from_vec(bytes),
                None => {
                    self.ended = true;
                    // A message without a body is taken only when more bytes follow it.
                    Buffer::from_vec([ARROW_CONTINUATION, &[0; 4]].concat())
                }
            };
        }
    }
}

impl RowReader for IpcStreamReader {
    fn next(&mut self) -> Result<Option<ReadRows>> {
        let batch = match self.current.take() {
            Some(batch) => batch,
            None => match self.next_batch()? {
                Some(batch) => batch,
                None => return Ok(None),
            },
        };
        let count = self.batch_rows.min(batch.num_rows());
        if count < batch.num_rows() {
            self.current = Some(batch.slice(count, batch.num_rows() - count));
        }
        Ok(Some(ReadRows::whole(batch.slice(0, count))))
    }

    fn skip(&mut self, rows: u64) -> Result<u64> {
        let mut skipped = 0;
        while skipped < rows {
            let batch = match self.current.take() {
                Some(batch) => batch,
                None => match self.next_batch()? {
                    Some(batch) => batch,
                    None => break,
                },
            };
            let count = (batch.num_rows() as u64).min(rows - skipped) as usize;
            if count < batch.num_rows() {
                self.current = Some(batch.slice(count, batch.num_rows() - count));
            }
            skipped += count as u64;
        }
        Ok(skipped)
    }
}
