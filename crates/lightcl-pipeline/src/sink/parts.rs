//! Tables: one file a commit and kind of output, written in row groups so that memory stays bounded.

use super::files::{Named, TEMPORARY, names_in, remove, sync_folder};
use arrow_array::RecordBatch;
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions};
use lightcl_core::{Error, Result};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

/// Folder of the boundary events as tables.
pub(super) const BOUNDARY_PARTS: &str = "boundaries";
/// Folder of the stability reports as tables.
pub(super) const STABILITY_PARTS: &str = "stability";
/// Folder of the predictions as tables.
pub(super) const PREDICTION_PARTS: &str = "predictions";
/// All of them.
pub(super) const PART_FOLDERS: [&str; 3] = [BOUNDARY_PARTS, STABILITY_PARTS, PREDICTION_PARTS];

/// Rows of a Parquet file that are encoded in memory before they go to disk.
const ROW_GROUP_ROWS: usize = 65_536;

/// How a part is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PartFormat {
    Parquet,
    Arrow,
}

impl PartFormat {
    fn extension(self) -> &'static str {
        match self {
            PartFormat::Parquet => "parquet",
            PartFormat::Arrow => "arrow",
        }
    }
}

enum Writer {
    Parquet(Box<ArrowWriter<File>>),
    Arrow(Box<FileWriter<BufWriter<File>>>),
}

/// The part that is being written.
pub(super) struct PartFile {
    folder: PathBuf,
    format: PartFormat,
    writer: Option<Writer>,
}

impl PartFile {
    /// Parts in the folder `name` of an output folder.
    pub fn new(output: &Path, name: &str, format: PartFormat) -> Self {
        PartFile { folder: output.join(name), format, writer: None }
    }

    fn staged(&self) -> PathBuf {
        self.folder.join(format!("{TEMPORARY}part.{}", self.format.extension()))
    }

    /// Adds rows.
    pub fn append(&mut self, batch: &RecordBatch) -> Result<()> {
        let staged = self.staged();
        if self.writer.is_none() {
            fs::create_dir_all(&self.folder).named("make the folder", &self.folder)?;
            let file = File::create(&staged).named("write", &staged)?;
            self.writer = Some(match self.format {
                PartFormat::Parquet => {
                    let properties = WriterProperties::builder()
                        .set_compression(Compression::ZSTD(ZstdLevel::default()))
                        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
                        .build();
                    let writer = ArrowWriter::try_new(file, batch.schema(), Some(properties));
                    Writer::Parquet(Box::new(writer.map_err(|error| parquet_failed(&staged, error))?))
                }
                PartFormat::Arrow => {
                    let writer = IpcWriteOptions::default()
                        .try_with_compression(Some(CompressionType::ZSTD))
                        .and_then(|o| FileWriter::try_new_with_options(BufWriter::new(file), &batch.schema(), o));
                    Writer::Arrow(Box::new(writer.map_err(|error| arrow_failed(&staged, error))?))
                }
            });
        }
        match &mut self.writer {
            Some(Writer::Parquet(writer)) => writer.write(batch).map_err(|error| parquet_failed(&staged, error)),
            Some(Writer::Arrow(writer)) => writer.write(batch).map_err(|error| arrow_failed(&staged, error)),
            None => Ok(()),
        }
    }

    /// Finishes the part under its name, durably; gives the name within the output folder, or none without rows.
    pub fn finish(&mut self, epoch: u64) -> Result<Option<String>> {
        let staged = self.staged();
        let file = match self.writer.take() {
            None => return Ok(None),
            Some(Writer::Parquet(writer)) => writer.into_inner().map_err(|error| parquet_failed(&staged, error))?,
            Some(Writer::Arrow(writer)) => {
                let buffer = writer.into_inner().map_err(|error| arrow_failed(&staged, error))?;
                buffer.into_inner().map_err(io::IntoInnerError::into_error).named("write", &staged)?
            }
        };
        file.sync_all().named("sync", &staged)?;
        let name = format!("part-{epoch:09}.{}", self.format.extension());
        fs::rename(&staged, self.folder.join(&name)).named("rename", &staged)?;
        sync_folder(&self.folder)?;
        let folder = self.folder.file_name().unwrap_or_default().to_string_lossy();
        Ok(Some(format!("{folder}/{name}")))
    }

    /// Lets go of the part that is being written and removes it.
    pub fn abandon(&mut self) -> Result<()> {
        if self.writer.take().is_some() {
            remove(&self.staged())?;
        }
        Ok(())
    }
}

/// Removes the parts of all kinds that no commit up to `epoch` made.
pub(super) fn remove_after(output: &Path, epoch: u64) -> Result<()> {
    for folder in PART_FOLDERS.map(|name| output.join(name)) {
        for name in names_in(&folder)? {
            if name.starts_with(TEMPORARY) || epoch_of(&name).is_some_and(|of| of > epoch) {
                remove(&folder.join(name))?;
            }
        }
        let _ = fs::remove_dir(&folder);
    }
    Ok(())
}

fn epoch_of(name: &str) -> Option<u64> {
    let (number, extension) = name.strip_prefix("part-")?.split_once('.')?;
    ["parquet", "arrow"].contains(&extension).then(|| number.parse().ok())?
}

fn parquet_failed(path: &Path, error: parquet::errors::ParquetError) -> Error {
    match error {
        parquet::errors::ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => super::files::failed("write", path, *error),
            Err(inner) => write_failed(path, parquet::errors::ParquetError::External(inner)),
        },
        error => write_failed(path, error),
    }
}

fn arrow_failed(path: &Path, error: arrow_schema::ArrowError) -> Error {
    match error {
        arrow_schema::ArrowError::IoError(_, error) => super::files::failed("write", path, error),
        error => write_failed(path, error),
    }
}

fn write_failed(path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::external(format!("cannot write {}", path.display())).caused_by(error)
}
