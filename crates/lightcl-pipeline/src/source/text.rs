//! What CSV and JSON lines share: turning records into batches, and looking at the first rows without losing them.

use super::reader::{ReadRows, unreadable};
use super::records::{Record, Records};
use arrow_array::RecordBatch;
use lightcl_core::{Error, Result, RowFault};
use std::io::{self, Cursor, Read};
use std::ops::Range;

/// The longest text that a fault carries.
const MAX_PAYLOAD_BYTES: usize = 1 << 20;

/// A batch is closed early when its text is this long.
pub(super) const MAX_BATCH_BYTES: usize = 32 << 20;

/// Bytes of text that are looked at to find types, at most.
pub(super) const MAX_INFER_BYTES: usize = 64 << 20;

/// The records of one batch.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub text: Vec<u8>,
    pub ranges: Vec<Range<usize>>,
    /// The number of each record's first line.
    pub lines: Vec<u64>,
    pub faults: Vec<RowFault>,
}

impl Lines {
    /// Takes in up to `rows` records. Those that are no text are faults already.
    pub fn read<R: Read>(records: &mut Records<R>, rows: usize, limit: usize, name: &str) -> Result<Lines> {
        let mut lines = Lines::default();
        while lines.ranges.len() < rows && lines.text.len() < MAX_BATCH_BYTES {
            let Some(record) = records.next().map_err(|error| unreadable(name, error))? else { break };
            let bytes = records.bytes(&record);
            if let Some(why) = fault_of(&record, bytes, limit) {
                lines.faults.push(RowFault { row: lines.ranges.len(), message: why, payload: Some(payload(bytes)) });
            }
            let start = lines.text.len();
            lines.text.extend_from_slice(bytes);
            lines.ranges.push(start..lines.text.len());
            lines.text.push(b'\n');
            lines.lines.push(record.line);
        }
        Ok(lines)
    }

    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    pub fn bytes(&self, row: usize) -> &[u8] {
        &self.text[self.ranges[row].clone()]
    }

    /// Adds a fault found when the record was read; `why` says what is wrong behind "line 7".
    pub fn fault(&self, row: usize, why: &str) -> RowFault {
        let message = format!("line {}{why}", self.lines[row]);
        RowFault { row, message, payload: Some(payload(self.bytes(row))) }
    }

    pub fn into_rows(mut self, batch: RecordBatch) -> ReadRows {
        self.faults.sort_by_key(|fault| fault.row);
        ReadRows { batch, faults: self.faults }
    }
}

/// What is wrong with a record before its cells are looked at.
fn fault_of(record: &Record, bytes: &[u8], limit: usize) -> Option<String> {
    let line = record.line;
    if let Some(fault) = record.fault {
        return Some(match fault {
            super::records::TOO_LONG => format!("line {line}: {fault} of {limit} bytes"),
            _ => format!("line {line}: {fault}"),
        });
    }
    let error = std::str::from_utf8(bytes).err()?;
    Some(format!("line {line}: byte {} is not UTF-8", error.valid_up_to() + 1))
}

fn payload(bytes: &[u8]) -> String {
    let (kept, more) = bytes.split_at(bytes.len().min(MAX_PAYLOAD_BYTES));
    let mut text = String::from_utf8_lossy(kept).into_owned();
    if !more.is_empty() {
        text.push_str("..");
    }
    text
}

/// Goes past records.
pub(super) fn skip<R: Read>(records: &mut Records<R>, rows: u64, name: &str) -> Result<u64> {
    let mut skipped = 0;
    while skipped < rows && records.next().map_err(|error| unreadable(name, error))?.is_some() {
        skipped += 1;
    }
    Ok(skipped)
}

/// An input whose first bytes can be read once more.
pub(super) struct Recorder<'a> {
    input: &'a mut (dyn Read + Send),
    recorded: Vec<u8>,
}

impl<'a> Recorder<'a> {
    pub fn new(input: &'a mut (dyn Read + Send)) -> Self {
        Recorder { input, recorded: Vec::new() }
    }

    /// What was read so far.
    pub fn into_recorded(self) -> Vec<u8> {
        self.recorded
    }
}

impl Read for Recorder<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.recorded.extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

/// The recorded bytes and then the rest.
pub(super) fn replay(recorded: Vec<u8>, input: Box<dyn Read + Send>) -> Box<dyn Read + Send> {
    Box::new(Cursor::new(recorded).chain(input))
}

/// The error for a batch that arrow cannot be given; the rows were checked before.
pub(super) fn unbuildable(name: &str, error: impl std::fmt::Display) -> Error {
    Error::internal(format!("cannot turn rows of '{name}' into a batch: {error}")).with("file", name)
}
