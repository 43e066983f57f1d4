//! An Arrow IPC stream a record: a schema and batches of one or more rows.

use super::columns::Columns;
use super::decoded::{Decoded, Piece, Screen, Screened};
use super::reader::{Decode, guarded};
use crate::records::RecordBlock;
use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::{Message, MessageHeader};
use lightcl_core::Result;

/// The most rows of one value: columns without content may claim any number.
const MOST_ROWS: usize = 1 << 20;

/// How much longer a value may be unpacked than packed, all in all.
const MOST_UNPACKED: u64 = 64;

/// Unpacked bytes that are allowed to any value.
const SOME_UNPACKED: u64 = 1 << 20;

/// What messages begin with.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Reads streams. Each is checked before its buffers are touched, since a length that it claims could take all memory.
#[derive(Debug)]
pub(super) struct Ipc;

impl Decode for Ipc {
    fn decode(&mut self, block: &RecordBlock, columns: &Columns, screen: &Screen) -> Result<Decoded> {
        let mut decoded = Decoded::new(block.len());
        for (number, record) in block.iter().enumerate() {
            let message = match screen.look_at(record.value) {
                Screened::Skip => {
                    decoded.skipped += 1;
                    continue;
                }
                Screened::Fault(message) => message,
                Screened::Value(value) => match guarded(|| batches(value)) {
                    Ok(batches) => {
                        for batch in batches {
                            let rows = batch.num_rows();
                            decoded.pieces.push(Piece { rows, columns: columns.select(&batch) });
                            decoded.records.extend(std::iter::repeat_n(number, rows));
                        }
                        continue;
                    }
                    Err(why) => format!("not a valid Arrow IPC stream: {why}"),
                },
            };
            decoded.fault(number, message);
        }
        Ok(decoded)
    }
}

/// All batches of a value that have rows.
fn batches(value: &[u8]) -> std::result::Result<Vec<RecordBatch>, String> {
    if value.starts_with(b"ARROW1") {
        return Err("it is an Arrow file; write it in the format of streams".to_owned());
    }
    let ended = check(value)?;
    // Columns stand in the value's memory as long as they are in use, so the memory is their own. A message without a body
    // is taken only when more bytes follow it.
    let mut bytes = Vec::with_capacity(value.len() + 8);
    bytes.extend_from_slice(value);
    if !ended {
        bytes.extend_from_slice(&[CONTINUATION, [0; 4]].concat());
    }
    let mut buffer = Buffer::from_vec(bytes);
    let mut decoder = StreamDecoder::new();
    let mut batches = Vec::new();
    let mut rows = 0_usize;
    while !buffer.is_empty() {
        if let Some(batch) = decoder.decode(&mut buffer).map_err(|error| error.to_string())? {
            rows = rows.saturating_add(batch.num_rows());
            if rows > MOST_ROWS {
                return Err(format!("it has more than {MOST_ROWS} rows"));
            }
            if batch.num_rows() > 0 {
                batches.push(batch);
            }
        }
    }
    decoder.finish().map_err(|error| error.to_string())?;
    if batches.is_empty() {
        return Err("it has no rows".to_owned());
    }
    Ok(batches)
}

/// Checks that all messages of a value lie within it and that none unpacks to an absurd size. What is returned says whether
/// the stream has an end of its own.
fn check(value: &[u8]) -> std::result::Result<bool, String> {
    let mut rest = value;
    let mut unpacked = (value.len() as u64).saturating_mul(MOST_UNPACKED).saturating_add(SOME_UNPACKED);
    while !rest.is_empty() {
        // Streams from before Arrow 0.15 have no continuation mark.
        rest = rest.strip_prefix(&CONTINUATION).unwrap_or(rest);
        let (size, behind) = rest.split_first_chunk::<4>().ok_or("it ends within a message")?;
        let size = u32::from_le_bytes(*size) as usize;
        if size == 0 {
            return if behind.is_empty() { Ok(true) } else { Err("bytes follow its end".to_owned()) };
        }
        let (message, behind) = behind.split_at_checked(size).ok_or("it ends within a message")?;
        let message =
            arrow_ipc::root_as_message(message).map_err(|error| format!("a message cannot be read: {error}"))?;
        let length = usize::try_from(message.bodyLength()).map_err(|_| "a message has a negative length")?;
        let (body, behind) = behind.split_at_checked(length).ok_or("it ends within a message")?;
        check_message(&message, body, &mut unpacked)?;
        rest = behind;
    }
    Ok(false)
}

fn check_message(message: &Message<'_>, body: &[u8], unpacked: &mut u64) -> std::result::Result<(), String> {
    if message.header_type() == MessageHeader::Schema
        && message.header_as_schema().is_some_and(|schema| !schema.endianness().equals_to_target_endianness())
    {
        return Err("its numbers are in the byte order of another processor".to_owned());
    }
    let dictionary = message.header_as_dictionary_batch();
    let batch = message.header_as_record_batch().or_else(|| dictionary.and_then(|dictionary| dictionary.data()));
    let Some(batch) = batch else { return Ok(()) };
    let compressed = batch.compression().is_some();
    let rows = usize::try_from(batch.length()).ok().filter(|rows| *rows <= MOST_ROWS);
    rows.ok_or_else(|| format!("a batch has more than {MOST_ROWS} rows"))?;
    for buffer in batch.buffers().iter().flatten() {
        let range = usize::try_from(buffer.offset()).ok().zip(usize::try_from(buffer.length()).ok());
        let bytes = range.and_then(|(offset, length)| body.get(offset..offset.checked_add(length)?));
        let bytes = bytes.ok_or("a buffer lies outside its message")?;
        if compressed && let Some(length) = bytes.first_chunk::<8>() {
            // A negative length says that the buffer is not packed.
            let length = u64::try_from(i64::from_le_bytes(*length)).unwrap_or(0);
            *unpacked = unpacked.checked_sub(length).ok_or("its buffers unpack to an absurd size")?;
        }
    }
    Ok(())
}
