//! What all formats share.

use super::columns::Columns;
use super::decoded::{Decoded, Screen};
use super::{Format, FormatConfig, Rows};
use crate::records::RecordBlock;
use lightcl_core::{Result, Stateful};

/// One way to read values.
pub(super) trait Decode: Send {
    /// The rows of a block as they stand there, before types are settled. What it gives for a record depends on nothing
    /// but that record and the types that are settled.
    fn decode(&mut self, block: &RecordBlock, columns: &Columns, screen: &Screen) -> Result<Decoded>;
}

/// A format: a way to read values, and the columns.
pub(super) struct Reader<D> {
    decode: D,
    columns: Columns,
    screen: Screen,
}

impl<D: Decode> Reader<D> {
    pub fn new(decode: D, config: &FormatConfig) -> Result<Self> {
        let screen = Screen { tombstones: config.tombstones, most_value_bytes: config.most_value_bytes };
        Ok(Reader { decode, columns: Columns::new(config)?, screen })
    }
}

impl<D: Decode> Format for Reader<D> {
    fn read(&mut self, block: &RecordBlock) -> Result<Rows> {
        let decoded = self.decode.decode(block, &self.columns, &self.screen)?;
        self.columns.assemble(block, decoded)
    }
}

impl<D> Stateful for Reader<D> {
    fn save(&self) -> Result<Vec<u8>> {
        self.columns.save()
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        self.columns.restore(bytes)
    }
}

/// Runs something that reads bytes of any kind: neither an error nor a panic of a reader stops the stream.
pub(super) fn guarded<T, E: std::fmt::Display>(
    read: impl FnOnce() -> std::result::Result<T, E>,
) -> std::result::Result<T, String> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)) {
        Ok(read) => read.map_err(|error| error.to_string()),
        Err(_) => Err("its bytes are damaged".to_owned()),
    }
}
