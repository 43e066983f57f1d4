//! Files of JSON lines that grow: what is committed is a length.

use super::files::Named;
use lightcl_core::{Error, Result};
use serde::Serialize;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::PathBuf;

/// File of the boundary events.
pub const BOUNDARIES: &str = "boundaries.jsonl";
/// File of the stability reports.
pub const STABILITY: &str = "stability.jsonl";
/// File of the rows that could not be used.
pub const DEAD_LETTERS: &str = "dead_letters.jsonl";
/// File of the predictions, when they are written as JSON lines.
pub const PREDICTIONS: &str = "predictions.jsonl";

/// All of them.
pub(super) const ALL: [&str; 4] = [BOUNDARIES, STABILITY, DEAD_LETTERS, PREDICTIONS];

/// One file.
#[derive(Debug)]
pub(super) struct LineFile {
    path: PathBuf,
    writer: Option<BufWriter<File>>,
    /// Bytes in the file, those still in the buffer included.
    length: u64,
    is_synced: bool,
    line: Vec<u8>,
}

impl LineFile {
    pub fn new(path: PathBuf) -> Self {
        LineFile { path, writer: None, length: 0, is_synced: true, line: Vec::new() }
    }

    /// Bytes written so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Adds one line.
    pub fn append<T: Serialize>(&mut self, value: &T) -> Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, value)
            .map_err(|error| Error::internal("an output has no JSON form").caused_by(error))?;
        self.line.push(b'\n');
        let writer = match &mut self.writer {
            Some(writer) => writer,
            empty => {
                let file = OpenOptions::new().create(true).append(true).open(&self.path).named("open", &self.path)?;
                empty.insert(BufWriter::with_capacity(1 << 16, file))
            }
        };
        self.is_synced = false;
        writer.write_all(&self.line).named("write", &self.path)?;
        self.length += self.line.len() as u64;
        Ok(())
    }

    /// Makes all lines durable.
    pub fn sync(&mut self) -> Result<()> {
        if let Some(writer) = &mut self.writer
            && !self.is_synced
        {
            writer.flush().named("write", &self.path)?;
            writer.get_ref().sync_data().named("sync", &self.path)?;
            self.is_synced = true;
        }
        Ok(())
    }

    /// Cuts the file to its committed length; 0 removes it.
    pub fn cut(&mut self, committed: u64) -> Result<()> {
        self.abandon();
        let found = fs::metadata(&self.path).map_or(0, |metadata| metadata.len());
        if found < committed {
            return Err(Error::user(
                "an output file is shorter than what was committed, somebody changed it; put back a copy, start over with \
                 --fresh, or choose another folder with --out",
            )
            .with("file", self.path.display())
            .with("bytes", found)
            .with("committed", committed));
        }
        if committed == 0 {
            super::files::remove(&self.path)?;
        } else if found > committed {
            let file = OpenOptions::new().write(true).open(&self.path).named("open", &self.path)?;
            file.set_len(committed).and_then(|()| file.sync_all()).named("cut", &self.path)?;
        }
        self.length = committed;
        Ok(())
    }

    /// Lets go of the file without writing what is still in the buffer.
    pub fn abandon(&mut self) {
        if let Some(writer) = self.writer.take() {
            drop(writer.into_parts());
        }
        self.is_synced = true;
    }
}
