//! The bytes of a tensor; its type and its shape stand in headers, and so does all else.

use super::columns::Columns;
use super::decoded::{Column, Decoded, Piece, Screen, Screened};
use super::reader::Decode;
use super::table::Table;
use super::types;
use crate::records::{Record, RecordBlock};
use arrow_array::types::{
    ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{ArrayRef, FixedSizeListArray, PrimitiveArray};
use arrow_buffer::{ArrowNativeType, Buffer, ScalarBuffer};
use arrow_schema::Field;
use arrow_schema::extension::{EXTENSION_TYPE_METADATA_KEY, EXTENSION_TYPE_NAME_KEY};
use lightcl_core::{Error, Result};
use std::collections::HashMap;
use std::sync::Arc;

/// The column of the tensor itself; all others are headers.
const TENSOR: &str = "tensor";

/// The most dimensions of a tensor.
const MOST_DIMENSIONS: usize = 16;

/// What the numbers of a tensor are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    F16,
    Bf16,
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
}

const KINDS: [(&str, Kind, usize); 12] = [
    ("f16", Kind::F16, 2),
    ("bf16", Kind::Bf16, 2),
    ("f32", Kind::F32, 4),
    ("f64", Kind::F64, 8),
    ("i8", Kind::I8, 1),
    ("i16", Kind::I16, 2),
    ("i32", Kind::I32, 4),
    ("i64", Kind::I64, 8),
    ("u8", Kind::U8, 1),
    ("u16", Kind::U16, 2),
    ("u32", Kind::U32, 4),
    ("u64", Kind::U64, 8),
];

/// Reads tensors of one type and shape at a time.
#[derive(Debug)]
pub(super) struct Tensors;

/// Neighbours of one type and shape, whose bytes follow each other.
#[derive(Debug)]
struct Run {
    kind: Kind,
    shape: Vec<usize>,
    bytes: Vec<u8>,
    first_row: usize,
    rows: usize,
}

impl Decode for Tensors {
    fn decode(&mut self, block: &RecordBlock, columns: &Columns, screen: &Screen) -> Result<Decoded> {
        let mut table = Table::new(columns, |_| false);
        let tensor = table.take_out(TENSOR);
        let mut decoded = Decoded::new(block.len());
        let mut runs: Vec<Run> = Vec::new();
        for (number, record) in block.iter().enumerate() {
            let row = decoded.records.len();
            let read = match screen.look_at(record.value) {
                Screened::Skip => {
                    decoded.skipped += 1;
                    continue;
                }
                Screened::Fault(message) => Err(message),
                Screened::Value(value) => {
                    headers(&record, &mut table).and_then(|()| read(&record, value, row, &mut runs))
                }
            };
            let fault = match read {
                Ok(()) => table.end_row(),
                Err(message) => {
                    table.abandon_row();
                    Some(message)
                }
            };
            decoded.faults.extend(fault.map(|message| (row, message)));
            decoded.records.push(number);
        }
        let rows = decoded.records.len();
        let headers = table.finish().map_err(refused)?;
        let mut start = 0;
        for run in runs {
            if run.first_row > start {
                decoded.pieces.push(slice(&headers, start, run.first_row));
            }
            start = run.first_row + run.rows;
            let mut piece = slice(&headers, run.first_row, start);
            if let Some(tensor) = tensor {
                piece.columns.push((tensor, run.finish().map_err(refused)?));
            }
            decoded.pieces.push(piece);
        }
        if rows > start {
            decoded.pieces.push(slice(&headers, start, rows));
        }
        Ok(decoded)
    }
}

fn refused(error: arrow_schema::ArrowError) -> Error {
    Error::internal("a column cannot be built").caused_by(error)
}

fn slice(columns: &[(usize, Column)], start: usize, end: usize) -> Piece {
    let slice =
        |column: &Column| Column { array: column.array.slice(start, end - start), field: Arc::clone(&column.field) };
    let columns = columns.iter().map(|(number, column)| (*number, slice(column)));
    Piece { rows: end - start, columns: columns.collect() }
}

fn text<'a>(record: &Record<'a>, name: &str) -> std::result::Result<Option<&'a str>, String> {
    let value = record.header(name.as_bytes()).flatten();
    let text = value.map(std::str::from_utf8).transpose();
    text.map_err(|_| format!("header '{name}': found bytes that are no UTF-8, expected text"))
}

/// Takes a tensor in. Nothing is taken in where something is wrong with it.
fn read(record: &Record<'_>, value: &[u8], row: usize, runs: &mut Vec<Run>) -> std::result::Result<(), String> {
    let name = text(record, "dtype")?.unwrap_or("f32").trim();
    let Some((_, kind, width)) = KINDS.iter().find(|(known, ..)| *known == name) else {
        let names: Vec<&str> = KINDS.iter().map(|(name, ..)| *name).collect();
        return Err(format!("header 'dtype': found '{}', expected one of {}", short(name), names.join(", ")));
    };
    if value.is_empty() || !value.len().is_multiple_of(*width) {
        return Err(format!("the value has {} bytes, which are no whole {name} numbers of {width} bytes", value.len()));
    }
    let count = value.len() / width;
    let shape = match text(record, "shape")? {
        None => vec![count],
        Some(shape) => parse_shape(shape)
            .ok_or_else(|| format!("header 'shape': found '{}', expected sizes such as 3,32,32", short(shape)))?,
    };
    let numbers = shape.iter().try_fold(1_usize, |numbers, size| numbers.checked_mul(*size));
    if numbers != Some(count) || i32::try_from(count).is_err() {
        return Err(format!("the value has {count} numbers, its shape {}", shown(&shape)));
    }
    match runs.last_mut() {
        Some(run) if run.kind == *kind && run.shape == shape && run.first_row + run.rows == row => {
            run.bytes.extend_from_slice(value);
            run.rows += 1;
        }
        _ => runs.push(Run { kind: *kind, shape, bytes: value.to_vec(), first_row: row, rows: 1 }),
    }
    Ok(())
}

fn headers(record: &Record<'_>, table: &mut Table) -> std::result::Result<(), String> {
    for header in record.headers() {
        // Names that are no UTF-8 are nobody's columns.
        let column = std::str::from_utf8(header.name).ok().and_then(|name| table.column(name));
        let (Some(column), Some(value)) = (column, header.value) else { continue };
        match std::str::from_utf8(value) {
            Ok(value) => table.cell(column, value),
            Err(_) => {
                let name = String::from_utf8_lossy(header.name);
                return Err(format!("header '{name}': found bytes that are no UTF-8, expected text"));
            }
        }
    }
    Ok(())
}

fn parse_shape(text: &str) -> Option<Vec<usize>> {
    let text = text.trim().trim_matches(['(', ')', '[', ']']);
    let sizes: Option<Vec<usize>> = text.split(',').map(|size| size.trim().parse().ok()).collect();
    sizes.filter(|sizes| sizes.len() <= MOST_DIMENSIONS)
}

fn shown(shape: &[usize]) -> String {
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ")
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

impl Run {
    fn finish(self) -> std::result::Result<Column, arrow_schema::ArrowError> {
        let length = self.bytes.len() / self.rows / self.width();
        let items: ArrayRef = match self.kind {
            Kind::F16 => numbers::<Float16Type>(self.bytes),
            Kind::Bf16 => {
                let wide = self.bytes.chunks_exact(2).map(|pair| {
                    // The upper half of a number of 32 bits.
                    f32::from_bits(u32::from(u16::from_le_bytes([pair[0], pair[1]])) << 16)
                });
                Arc::new(PrimitiveArray::<Float32Type>::from_iter_values(wide))
            }
            Kind::F32 => numbers::<Float32Type>(self.bytes),
            Kind::F64 => numbers::<Float64Type>(self.bytes),
            Kind::I8 => numbers::<Int8Type>(self.bytes),
            Kind::I16 => numbers::<Int16Type>(self.bytes),
            Kind::I32 => numbers::<Int32Type>(self.bytes),
            Kind::I64 => numbers::<Int64Type>(self.bytes),
            Kind::U8 => numbers::<UInt8Type>(self.bytes),
            Kind::U16 => numbers::<UInt16Type>(self.bytes),
            Kind::U32 => numbers::<UInt32Type>(self.bytes),
            Kind::U64 => numbers::<UInt64Type>(self.bytes),
        };
        let item = types::item_field(items.data_type().clone());
        // Checked when the tensor was taken in.
        let length = i32::try_from(length).unwrap_or(i32::MAX);
        let array: ArrayRef = Arc::new(FixedSizeListArray::try_new(item, length, items, None)?);
        let field = Field::new(TENSOR, array.data_type().clone(), true).with_metadata(tensor_metadata(&self.shape));
        Ok(Column { array, field: Arc::new(field) })
    }

    fn width(&self) -> usize {
        KINDS.iter().find(|(_, kind, _)| *kind == self.kind).map_or(1, |(.., width)| *width)
    }
}

/// The canonical extension type of tensors whose shape is fixed; one dimension needs none.
fn tensor_metadata(shape: &[usize]) -> HashMap<String, String> {
    if shape.len() < 2 {
        return HashMap::new();
    }
    let shape = format!("{{\"shape\":{shape:?}}}");
    HashMap::from([
        (EXTENSION_TYPE_NAME_KEY.to_owned(), "arrow.fixed_shape_tensor".to_owned()),
        (EXTENSION_TYPE_METADATA_KEY.to_owned(), shape),
    ])
}

fn numbers<P: ArrowPrimitiveType>(bytes: Vec<u8>) -> ArrayRef
where
    P::Native: ArrowNativeType,
{
    let count = bytes.len() / size_of::<P::Native>();
    // Bytes are aligned as bytes are; numbers have to be copied where that is not enough for them.
    let buffer = Buffer::from_slice_ref(&bytes);
    Arc::new(PrimitiveArray::<P>::new(ScalarBuffer::new(buffer, 0, count), None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::DataType;

    #[test]
    fn shapes_are_read_as_people_write_them() {
        for text in ["3,32,32", "(3, 32, 32)", " [3,32,32] "] {
            assert_eq!(parse_shape(text), Some(vec![3, 32, 32]));
        }
        for wrong in ["", "3,", "-1", "x", &vec!["1"; 17].join(",")] {
            assert_eq!(parse_shape(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn halves_with_the_range_of_singles_are_widened() {
        let bytes = 0x3fc0_u16.to_le_bytes().to_vec();
        let run = Run { kind: Kind::Bf16, shape: vec![1], bytes, first_row: 0, rows: 1 };
        let column = run.finish().unwrap();
        assert_eq!(column.array.data_type(), &DataType::FixedSizeList(types::item_field(DataType::Float32), 1));
        let text = arrow_cast::display::array_value_to_string(&column.array, 0).unwrap();
        assert_eq!(text, "[1.5]");
    }
}
