//! What a format gives: rows in order, in pieces of whole columns.

use super::Tombstones;
use crate::records::RecordBlock;
use arrow_array::ArrayRef;
use arrow_schema::FieldRef;

/// The longest text of a value that a fault shows.
const MOST_PAYLOAD_BYTES: usize = 1 << 16;

/// The most bytes of a value that is no text that a fault shows.
const MOST_HEX_BYTES: usize = 1 << 10;

/// One column of a piece, as it was found.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub array: ArrayRef,
    /// Says what the array's type does not: extension types.
    pub field: FieldRef,
}

/// Rows that were read together.
#[derive(Debug)]
pub(super) struct Piece {
    pub rows: usize,
    /// By the number of the column; those that are not there have no value in any row.
    pub columns: Vec<(usize, Column)>,
}

/// The rows of a block, as a format found them.
#[derive(Debug)]
pub(super) struct Decoded {
    /// By row the number of its record.
    pub records: Vec<usize>,
    /// Rows that cannot be read, ascending; a row may stand here more than once.
    pub faults: Vec<(usize, String)>,
    /// Records passed over.
    pub skipped: u64,
    /// All rows in order.
    pub pieces: Vec<Piece>,
}

impl Decoded {
    pub fn new(records: usize) -> Self {
        Decoded { records: Vec::with_capacity(records), faults: Vec::new(), skipped: 0, pieces: Vec::new() }
    }

    /// A row without values that could not be read.
    pub fn fault(&mut self, record: usize, message: String) {
        self.faults.push((self.records.len(), message));
        self.records.push(record);
        match self.pieces.last_mut() {
            Some(piece) if piece.columns.is_empty() => piece.rows += 1,
            _ => self.pieces.push(Piece { rows: 1, columns: Vec::new() }),
        }
    }
}

/// What a record is before its value is read.
pub(super) enum Screened<'a> {
    Value(&'a [u8]),
    /// A dead letter, for this reason.
    Fault(String),
    /// A tombstone that is passed over.
    Skip,
}

/// Which records have a value to be read at all.
#[derive(Debug, Clone)]
pub(super) struct Screen {
    pub tombstones: Tombstones,
    pub most_value_bytes: usize,
}

impl Screen {
    pub fn look_at<'a>(&self, value: Option<&'a [u8]>) -> Screened<'a> {
        match (value, self.tombstones) {
            (None, Tombstones::Skip) => Screened::Skip,
            (None, Tombstones::DeadLetter) => Screened::Fault(
                "the record has no value: it is a tombstone, which source.tombstones = \"skip\" passes over".to_owned(),
            ),
            (Some(value), _) if value.len() > self.most_value_bytes => Screened::Fault(format!(
                "the value has {} bytes, more than the {} that are read",
                value.len(),
                self.most_value_bytes
            )),
            (Some(value), _) => Screened::Value(value),
        }
    }
}

/// The value of a record as text.
pub(super) fn payload(block: &RecordBlock, record: usize) -> Option<String> {
    let value = block.record(record).value?;
    let head = &value[..value.len().min(MOST_PAYLOAD_BYTES)];
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The cut may have gone through a character.
        Err(error) if error.error_len().is_none() && head.len() < value.len() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return Some(hex(value)),
    };
    Some(if text.len() < value.len() { format!("{text}.. ({} bytes)", value.len()) } else { text.to_owned() })
}

fn hex(value: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::from("0x");
    for byte in value.iter().take(MOST_HEX_BYTES) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    if value.len() > MOST_HEX_BYTES {
        let _ = write!(text, ".. ({} bytes)", value.len());
    }
    text
}
