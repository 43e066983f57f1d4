//! Opens files by their first bytes: what is not of the kind it should be is refused with a guess at what it is.

use super::ipc::IpcFileReader;
use super::ipc_stream::IpcStreamReader;
use super::parquet::ParquetReader;
use super::paths::{self, InputFile};
use super::reader::{RowReader, unreadable, wrong_format};
use super::sniff::{self, ARROW_CONTINUATION, ARROW_MAGIC, PARQUET_MAGIC};
use super::{FileKind, FileSourceConfig};
use arrow_schema::SchemaRef;
use lightcl_core::Result;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

/// Bytes looked at to tell formats apart.
pub(super) const SNIFFED_BYTES: usize = 64;

/// Reads up to `length` bytes.
pub(super) fn read_start(name: &str, input: &mut (dyn Read + Send), length: usize) -> Result<Vec<u8>> {
    let mut start = Vec::new();
    input.take(length as u64).read_to_end(&mut start).map_err(|error| unreadable(name, error))?;
    Ok(start)
}

/// Opens a file and gives its first bytes; it stands at its start again.
fn open_sniffed(file: &InputFile) -> Result<(File, Vec<u8>)> {
    let mut opened = paths::open_file(file)?;
    let start = read_start(&file.name, &mut opened, SNIFFED_BYTES)?;
    opened.seek(SeekFrom::Start(0)).map_err(|error| unreadable(&file.name, error))?;
    Ok((opened, start))
}

pub(super) fn check_arrow(name: &str, start: &[u8]) -> Result<()> {
    // Streams from before Arrow 0.15 begin with the length of the first message.
    let legacy = start.len() >= 8
        && sniff::binary_format(start).is_none()
        && start[..4].first_chunk::<4>().is_some_and(|size| (1..1 << 24).contains(&i32::from_le_bytes(*size)))
        && start[3] == 0;
    if start.starts_with(ARROW_MAGIC) || start.starts_with(ARROW_CONTINUATION) || legacy {
        return Ok(());
    }
    if start.len() < 8 && (ARROW_MAGIC.starts_with(start) || ARROW_CONTINUATION.starts_with(start)) {
        return Err(super::reader::damaged(name, "it ends before its schema"));
    }
    Err(wrong_format(name, "Arrow IPC", sniff::describe(start)))
}

/// CSV and JSON lines are text; a file that is clearly something else is refused.
pub(super) fn check_text(name: &str, start: &[u8]) -> Result<()> {
    match sniff::binary_format(start) {
        Some(found) => Err(wrong_format(name, "text", found)),
        None => Ok(()),
    }
}

pub(super) fn open_text(file: &InputFile) -> Result<Box<dyn Read + Send>> {
    let (opened, start) = open_sniffed(file)?;
    check_text(&file.name, &start)?;
    Ok(Box::new(opened))
}

pub(super) fn open_parquet(config: &FileSourceConfig, file: &InputFile) -> Result<ParquetReader> {
    let (opened, start) = open_sniffed(file)?;
    if !start.is_empty() && !start.starts_with(PARQUET_MAGIC) && !PARQUET_MAGIC.starts_with(&start) {
        return Err(wrong_format(&file.name, "Parquet", sniff::describe(&start)));
    }
    ParquetReader::open(&file.name, opened, config.batch_rows)
}

/// The reader of an Arrow file, its columns and, for the file format, its rows.
pub(super) fn open_arrow(
    config: &FileSourceConfig,
    file: &InputFile,
) -> Result<(Box<dyn RowReader>, SchemaRef, Option<u64>)> {
    let (opened, start) = open_sniffed(file)?;
    check_arrow(&file.name, &start)?;
    if start.starts_with(ARROW_MAGIC) {
        let reader = IpcFileReader::open(&file.name, opened, config.batch_rows)?;
        let (schema, rows) = (reader.schema(), reader.rows());
        return Ok((Box::new(reader), schema, Some(rows)));
    }
    let input = Box::new(BufReader::with_capacity(1 << 20, opened));
    let reader = IpcStreamReader::open(&file.name, input, config.batch_rows)?;
    let schema = reader.schema();
    Ok((Box::new(reader), schema, None))
}

/// The columns of a file, and its rows where its format tells.
pub(super) fn look_into(config: &FileSourceConfig, file: &InputFile) -> Result<(SchemaRef, Option<u64>)> {
    if config.kind == FileKind::Parquet {
        let reader = open_parquet(config, file)?;
        return Ok((reader.schema(), Some(reader.rows())));
    }
    let (_, schema, rows) = open_arrow(config, file)?;
    Ok((schema, rows))
}
