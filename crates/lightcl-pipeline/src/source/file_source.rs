//! One source over several files, or over an input that cannot seek.

use super::columns::{common_schema, same_columns, under_schema};
use super::csv::{CsvColumns, CsvReader};
use super::ipc_stream::IpcStreamReader;
use super::jsonl::{JsonFields, JsonReader};
use super::opening::{
    SNIFFED_BYTES, check_arrow, check_text, look_into, open_arrow, open_parquet, open_text, read_start,
};
use super::paths::{self, InputFile, STANDARD_INPUT};
use super::reader::RowReader;
use super::sniff::ARROW_MAGIC;
use super::text::{Recorder, replay};
use super::{FileKind, FileSourceConfig};
use arrow_schema::SchemaRef;
use lightcl_core::{Error, PositionedBatch, Positions, Result, RowOffsets, Source};
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

/// One file, a partition of the source.
struct Partition {
    file: InputFile,
    /// Rows in it, where its format tells without reading them.
    rows: Option<u64>,
    /// The next row to give out.
    next: u64,
}

/// The file that is being read.
struct Current {
    reader: Box<dyn RowReader>,
    /// The row it stands at.
    row: u64,
}

/// Reads files one after the other.
pub(super) struct FileSource {
    config: FileSourceConfig,
    schema: SchemaRef,
    partitions: Vec<Partition>,
    /// The partition being read.
    index: usize,
    current: Option<Current>,
    /// Whether the input is one that cannot be opened again.
    once: bool,
    /// Set when reading failed: what comes after a damaged place must not look like the rest of the rows.
    failed: bool,
}

impl FileSource {
    pub fn open(config: FileSourceConfig) -> Result<Self> {
        let files = paths::expand(config.kind, &config.path)?;
        let mut rows = vec![None; files.len()];
        let mut schema: Option<(SchemaRef, Arc<str>)> = None;
        match config.kind {
            FileKind::Arrow | FileKind::Parquet => {
                for (file, rows) in files.iter().zip(&mut rows) {
                    let found;
                    (found, *rows) = look_into(&config, file)?;
                    match &schema {
                        Some((first, first_name)) => same_columns(first, first_name, &found, &file.name)?,
                        None => schema = Some((common_schema(&found), Arc::clone(&file.name))),
                    }
                }
            }
            FileKind::Csv => {
                let mut columns = CsvColumns::new();
                for file in &files {
                    columns.look_at(open_text(file)?, &config, &file.name)?;
                }
                schema = Some((columns.schema(), Arc::from("")));
            }
            FileKind::Jsonl => {
                let mut fields = JsonFields::new();
                for file in &files {
                    fields.look_at(open_text(file)?, &config, &file.name)?;
                }
                schema = Some((fields.schema(), Arc::from("")));
            }
        }
        let (schema, _) = schema.ok_or_else(|| Error::internal("a source without files"))?;
        let partitions = files.into_iter().zip(rows).map(|(file, rows)| Partition { file, rows, next: 0 }).collect();
        Ok(FileSource { config, schema, partitions, index: 0, current: None, once: false, failed: false })
    }

    pub fn open_input(config: FileSourceConfig, mut input: Box<dyn Read + Send>) -> Result<Self> {
        let name: Arc<str> = Arc::from(STANDARD_INPUT);
        let (schema, reader): (SchemaRef, Box<dyn RowReader>) = match config.kind {
            FileKind::Parquet => {
                return Err(Error::user(
                    "Parquet cannot be read from standard input, since its index is at the end; give a file",
                ));
            }
            FileKind::Arrow => {
                let start = read_start(&name, input.as_mut(), SNIFFED_BYTES)?;
                let magic = start.starts_with(ARROW_MAGIC);
                check_arrow(&name, &start)?;
                // A file is a stream behind magic and padding (8 bytes or 64, by its writer), with an index after its end.
                let padding = start.iter().skip(ARROW_MAGIC.len()).take_while(|byte| **byte == 0).count();
                let skipped = if magic { ARROW_MAGIC.len() + padding } else { 0 };
                let input = replay(start[skipped..].to_vec(), input);
                let reader = IpcStreamReader::open(&name, input, config.batch_rows)?;
                (common_schema(&reader.schema()), Box::new(reader))
            }
            FileKind::Csv => {
                let mut recorder = Recorder::new(input.as_mut());
                let mut columns = CsvColumns::new();
                columns.look_at(&mut recorder, &config, &name)?;
                let recorded = recorder.into_recorded();
                check_text(&name, &recorded)?;
                let schema = columns.schema();
                let reader = CsvReader::open(&name, replay(recorded, input), &schema, &config)?;
                (schema, Box::new(reader))
            }
            FileKind::Jsonl => {
                let mut recorder = Recorder::new(input.as_mut());
                let mut fields = JsonFields::new();
                fields.look_at(&mut recorder, &config, &name)?;
                let recorded = recorder.into_recorded();
                check_text(&name, &recorded)?;
                let schema = fields.schema();
                let reader = JsonReader::open(&name, replay(recorded, input), &schema, &config);
                (schema, Box::new(reader))
            }
        };
        let file = InputFile { name, path: PathBuf::from(STANDARD_INPUT) };
        let partitions = vec![Partition { file, rows: None, next: 0 }];
        let current = Some(Current { reader, row: 0 });
        Ok(FileSource { config, schema, partitions, index: 0, current, once: true, failed: false })
    }

    fn reader(&self, file: &InputFile) -> Result<Box<dyn RowReader>> {
        let config = &self.config;
        Ok(match config.kind {
            FileKind::Arrow => open_arrow(config, file)?.0,
            FileKind::Parquet => Box::new(open_parquet(config, file)?),
            FileKind::Csv => Box::new(CsvReader::open(&file.name, open_text(file)?, &self.schema, config)?),
            FileKind::Jsonl => Box::new(JsonReader::open(&file.name, open_text(file)?, &self.schema, config)),
        })
    }

    fn read(&mut self) -> Result<Option<PositionedBatch>> {
        while let Some(partition) = self.partitions.get(self.index) {
            let mut current = match self.current.take() {
                Some(current) => current,
                None if self.once => return Ok(None),
                None => Current { reader: self.reader(&partition.file)?, row: 0 },
            };
            let partition = &mut self.partitions[self.index];
            if current.row < partition.next {
                current.row += current.reader.skip(partition.next - current.row)?;
                if current.row < partition.next {
                    return Err(beyond_end(&partition.file.name, partition.next, current.row));
                }
            }
            let Some(rows) = current.reader.next()? else {
                if self.once {
                    // Kept: a later seek must find out where the end was.
                    self.current = Some(current);
                    return Ok(None);
                }
                self.index += 1;
                continue;
            };
            let offsets = RowOffsets::From(current.row);
            current.row += rows.batch.num_rows() as u64;
            partition.next = current.row;
            let name = Arc::clone(&partition.file.name);
            self.current = Some(current);
            let batch = under_schema(&self.schema, rows.batch)?;
            return Ok(Some(PositionedBatch { batch, partition: name, offsets, faults: rows.faults }));
        }
        Ok(None)
    }
}

impl Source for FileSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn seek(&mut self, positions: &Positions) -> Result<()> {
        for (name, &next) in &positions.0 {
            let Some(partition) = self.partitions.iter().find(|partition| *partition.file.name == **name) else {
                return Err(Error::user(format!(
                    "'{name}' was read before and is not among the files of the source any more; put it back, or start \
                     over with --fresh"
                ))
                .with("path", &self.config.path));
            };
            if let Some(rows) = partition.rows.filter(|rows| next > *rows) {
                return Err(beyond_end(name, next, rows));
            }
        }
        if self.once {
            let next = positions.next(STANDARD_INPUT);
            let row = self.current.as_ref().map_or(0, |current| current.row);
            if self.failed || next < row {
                return Err(Error::user("standard input was read beyond the position sought and cannot be read again")
                    .with("position", next)
                    .with("read", row));
            }
        } else {
            self.current = None;
        }
        for partition in &mut self.partitions {
            partition.next = positions.next(&partition.file.name);
        }
        (self.index, self.failed) = (0, false);
        Ok(())
    }

    fn next(&mut self) -> Result<Option<PositionedBatch>> {
        if self.failed {
            return Err(Error::external("reading failed before, and nothing behind that place is read")
                .with("path", &self.config.path));
        }
        let outcome = self.read();
        self.failed = outcome.is_err();
        outcome
    }

    fn total_rows(&self) -> Option<u64> {
        self.partitions.iter().map(|partition| partition.rows).sum()
    }
}

fn beyond_end(name: &str, wanted: u64, rows: u64) -> Error {
    Error::user(format!(
        "'{name}' has {rows} rows, but {wanted} of it were read before: it became shorter. Put it back, or start over with \
         --fresh"
    ))
    .with("file", name)
}
