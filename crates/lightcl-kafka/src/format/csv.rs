//! Lines of comma-separated values, one or several a record.

use super::columns::Columns;
use super::decoded::{Decoded, Screen, Screened};
use super::json::finish;
use super::reader::Decode;
use super::table::Table;
use super::{CsvFormat, FormatConfig};
use crate::records::RecordBlock;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use lightcl_core::{Error, Result};

/// Reads lines as RFC 4180 has them.
pub(super) struct Csv {
    columns: Vec<String>,
    /// Made once: it takes longer to make than to read a line.
    reader: Reader,
    line: Line,
}

/// The cells of one line.
#[derive(Debug, Default)]
struct Line {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    cells: usize,
}

impl Csv {
    /// # Errors
    /// When delimiter and quote are no signs of their own.
    pub fn new(config: &FormatConfig) -> Result<Self> {
        let CsvFormat { delimiter, quote, .. } = config.csv;
        if delimiter == quote || [delimiter, quote].iter().any(|sign| !sign.is_ascii() || b"\r\n".contains(sign)) {
            return Err(Error::user("the delimiter and the quote of CSV must be two ASCII characters that differ")
                .with("delimiter", char::from(delimiter).escape_default())
                .with("quote", char::from(quote).escape_default()));
        }
        let reader = ReaderBuilder::new().delimiter(delimiter).quote(quote).build();
        Ok(Csv { columns: config.csv.columns.clone(), reader, line: Line::default() })
    }

    /// Reads the lines of one value as rows.
    fn read_value(&mut self, value: &[u8], number: usize, table: &mut Table, decoded: &mut Decoded) {
        self.reader.reset();
        let mut rest = value;
        let columns = |names: &[String]| names.iter().map(|name| table.column(name)).collect();
        let header = if self.columns.is_empty() {
            let is_there = self.line.read(&mut self.reader, &mut rest);
            is_there.then(|| self.line.texts().map(|names| columns(&names)))
        } else {
            Some(Ok(columns(&self.columns)))
        };
        let columns: Vec<Option<usize>> = match header {
            Some(Ok(columns)) => columns,
            None => return fault(number, table, decoded, "the value has no line with the names of columns".to_owned()),
            Some(Err(message)) => return fault(number, table, decoded, message),
        };
        let rows = decoded.records.len();
        while self.line.read(&mut self.reader, &mut rest) {
            if self.line.cells != columns.len() {
                let message = format!("found {} cells, expected {}", self.line.cells, columns.len());
                fault(number, table, decoded, message);
                continue;
            }
            let mut message = None;
            for (column, cell) in columns.iter().zip(self.line.iter()) {
                match (column, std::str::from_utf8(cell)) {
                    (Some(column), Ok(text)) => table.cell(*column, text),
                    (Some(_), Err(_)) => message = Some("a cell is no UTF-8".to_owned()),
                    (None, _) => {}
                }
            }
            match message {
                Some(message) => fault(number, table, decoded, message),
                None => {
                    decoded.faults.extend(table.end_row().map(|message| (decoded.records.len(), message)));
                    decoded.records.push(number);
                }
            }
        }
        if decoded.records.len() == rows {
            fault(number, table, decoded, "the value has no line of cells".to_owned());
        }
    }
}

impl Decode for Csv {
    fn decode(&mut self, block: &RecordBlock, columns: &Columns, screen: &Screen) -> Result<Decoded> {
        let mut table = Table::new(columns, |_| false);
        let mut decoded = Decoded::new(block.len());
        for (number, record) in block.iter().enumerate() {
            match screen.look_at(record.value) {
                Screened::Skip => decoded.skipped += 1,
                Screened::Fault(message) => fault(number, &mut table, &mut decoded, message),
                Screened::Value(value) => self.read_value(value, number, &mut table, &mut decoded),
            }
        }
        finish(table, decoded)
    }
}

fn fault(number: usize, table: &mut Table, decoded: &mut Decoded, message: String) {
    table.abandon_row();
    decoded.faults.push((decoded.records.len(), message));
    decoded.records.push(number);
}

impl Line {
    /// Reads the next line that is not empty; false where there is none.
    fn read(&mut self, reader: &mut Reader, rest: &mut &[u8]) -> bool {
        let (mut bytes, mut cells) = (0, 0);
        loop {
            if self.bytes.len() == bytes {
                self.bytes.resize((bytes * 2).max(1 << 10), 0);
            }
            if self.ends.len() == cells {
                self.ends.resize((cells * 2).max(1 << 6), 0);
            }
            let (result, read, written, ended) =
                reader.read_record(rest, &mut self.bytes[bytes..], &mut self.ends[cells..]);
            *rest = &rest[read..];
            (bytes, cells) = (bytes + written, cells + ended);
            match result {
                ReadRecordResult::Record => {
                    self.cells = cells;
                    return true;
                }
                ReadRecordResult::End => return false,
                // At the end of the value the reader asks once more, and is given nothing.
                ReadRecordResult::InputEmpty | ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {}
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let ends = &self.ends[..self.cells];
        ends.iter().enumerate().map(|(cell, end)| {
            let start = cell.checked_sub(1).map_or(0, |before| ends[before]);
            &self.bytes[start..*end]
        })
    }

    /// The cells as text.
    fn texts(&self) -> std::result::Result<Vec<String>, String> {
        let text = |cell: &[u8]| std::str::from_utf8(cell).map(str::to_owned);
        self.iter()
            .map(text)
            .collect::<std::result::Result<_, _>>()
            .map_err(|_| "a name of a column is no UTF-8".to_owned())
    }
}
