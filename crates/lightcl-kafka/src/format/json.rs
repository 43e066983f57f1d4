//! A JSON object a record.

use super::columns::Columns;
use super::decoded::{Decoded, Piece, Screen, Screened};
use super::reader::Decode;
use super::table::{Table, read_json};
use crate::records::RecordBlock;
use lightcl_core::{Error, Result};

/// Reads values into columns one by one, without anything in between: as fast as a reader of whole batches, and 1.5 is not
/// rounded in a column of whole numbers, nor the text "5" taken for a number.
#[derive(Debug)]
pub(super) struct Json;

impl Decode for Json {
    fn decode(&mut self, block: &RecordBlock, columns: &Columns, screen: &Screen) -> Result<Decoded> {
        let table = Table::new(columns, |_| false);
        by_rows(block, screen, table, |table, _, value| read_json(value, table.object()))
    }
}

/// Reads records that are one row each into a table. `read` reads a value into the row.
pub(super) fn by_rows(
    block: &RecordBlock,
    screen: &Screen,
    mut table: Table,
    mut read: impl FnMut(&mut Table, usize, &[u8]) -> std::result::Result<(), String>,
) -> Result<Decoded> {
    let mut decoded = Decoded::new(block.len());
    for (number, record) in block.iter().enumerate() {
        let fault = match screen.look_at(record.value) {
            Screened::Skip => {
                decoded.skipped += 1;
                continue;
            }
            Screened::Fault(message) => {
                table.abandon_row();
                Some(message)
            }
            Screened::Value(value) => match read(&mut table, number, value) {
                Ok(()) => table.end_row(),
                Err(message) => {
                    table.abandon_row();
                    Some(message)
                }
            },
        };
        decoded.faults.extend(fault.map(|message| (decoded.records.len(), message)));
        decoded.records.push(number);
    }
    finish(table, decoded)
}

/// Makes the rows of a table those of a block.
pub(super) fn finish(table: Table, mut decoded: Decoded) -> Result<Decoded> {
    let columns = table.finish().map_err(|error| Error::internal("a column cannot be built").caused_by(error))?;
    decoded.pieces.push(Piece { rows: decoded.records.len(), columns });
    Ok(decoded)
}
