//! A source of your own: three required methods. This one makes its rows; yours may read a socket or a database.
//!
//!     cargo run -p lightcl --example own_source

use arrow_array::{ArrayRef, BooleanArray, Float32Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use lightcl_core::{Error, PositionedBatch, Positions, Result, RowOffsets, Source};
use std::sync::Arc;

/// Whether a slow sine wave is above zero, told by the wave a little earlier.
struct SineSource {
    next: u64,
    rows: u64,
}

impl Source for SineSource {
    fn schema(&self) -> SchemaRef {
        let field = |name: &str, kind| Field::new(name, kind, false);
        Arc::new(Schema::new(vec![field("earlier", DataType::Float32), field("above", DataType::Boolean)]))
    }

    fn seek(&mut self, positions: &Positions) -> Result<()> {
        let next = positions.next("sine");
        if next > self.rows || positions.0.keys().any(|partition| partition != "sine") {
            return Err(Error::user("there is no such position").with("positions", format!("{positions:?}")));
        }
        self.next = next;
        Ok(())
    }

    fn next(&mut self) -> Result<Option<PositionedBatch>> {
        if self.next == self.rows {
            return Ok(None);
        }
        let (start, end) = (self.next, self.rows.min(self.next + 500));
        let wave = |row: u64| (row as f32 / 40.0).sin();
        let earlier = (start..end).map(|row| wave(row.saturating_sub(5))).collect::<Float32Array>();
        let above = (start..end).map(|row| Some(wave(row) > 0.0)).collect::<BooleanArray>();
        let columns: Vec<ArrayRef> = vec![Arc::new(earlier), Arc::new(above)];
        let batch = RecordBatch::try_new(self.schema(), columns)
            .map_err(|error| Error::internal("columns do not fit the schema").caused_by(error))?;
        self.next = end;
        Ok(Some(PositionedBatch {
            batch,
            partition: Arc::from("sine"),
            offsets: RowOffsets::From(start),
            faults: Vec::new(),
        }))
    }
}

fn main() -> Result<()> {
    let mut source = SineSource { next: 0, rows: 2_000 };
    // The suite that every source of lightcl passes.
    lightcl_testkit::conformance::source(|| Box::new(SineSource { next: 0, rows: 2_000 }));
    let mut rows = 0;
    while let Some(batch) = source.next()? {
        rows += batch.batch.num_rows();
        println!("rows {} to {}", batch.offset_of(0), rows);
    }
    println!("passes the conformance suite for sources");
    Ok(())
}
