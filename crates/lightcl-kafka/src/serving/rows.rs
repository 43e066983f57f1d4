//! From records to predictions and dead letters.

use super::models::{Loaded, Models};
use super::{Event, Scoring, Serving};
use crate::config::Scope;
use crate::format::Rows;
use crate::outbox::TopicPartition;
use crate::records::RecordBlock;
use crate::unit_names;
use lightcl_core::{Error, Position, PositionedBatch, RejectReason, Rejected, Result, RowOffsets};
use metrics::counter;
use std::borrow::Cow;
use std::sync::Arc;

impl<S: Scoring> Serving<'_, S> {
    /// Scores all records that wait. With an error, those that are not scored wait on.
    pub(super) fn score_waiting(&mut self, models: &Models<S::Model>) -> Result<()> {
        while let Some((partition, block)) = self.intake.waiting.pop_first() {
            match self.score_block(models, &partition, &block) {
                Ok(()) => {
                    let last = block.record(block.len() - 1).offset;
                    self.intake.done(partition, last + 1);
                }
                Err(error) => {
                    self.intake.waiting.insert(partition, block);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn score_block(&mut self, models: &Models<S::Model>, source: &TopicPartition, block: &RecordBlock) -> Result<()> {
        let format = match self.formats.get_mut(source) {
            Some(format) => format,
            None => {
                let opened = (self.open_format)(&self.config.source.format)?;
                self.formats.entry(source.clone()).or_insert(opened)
            }
        };
        let Rows { batch, records, faults, skipped } = format.read(block)?;
        self.served.skipped += skipped;
        let name = source.name();
        let offsets: Vec<u64> = records.iter().map(|&record| block.record(record).offset as u64).collect();
        let next = block.record(block.len() - 1).offset as u64 + 1;
        let rows = PositionedBatch {
            batch,
            partition: Arc::clone(&name),
            offsets: RowOffsets::Listed { offsets: offsets.into(), next },
            faults,
        };
        let has_keys = matches!(self.config.scope, Scope::Key { .. });
        let unit_of = |row: usize| match self.config.scope {
            Scope::Partition => Cow::Borrowed(&*name),
            Scope::Key { .. } => {
                Cow::Owned(unit_names::learner(&name, &unit_names::of_key(block.record(records[row]).key)))
            }
            Scope::Global => Cow::Borrowed(unit_names::GLOBAL),
        };
        // Rows that follow one another and have the same model are scored together.
        let mut start = 0;
        while start < records.len() {
            let unit = unit_of(start);
            let loaded = models.of(&unit).ok_or_else(|| Error::internal("there is no model to score with"))?;
            let end = (start + 1..records.len()).find(|&row| has_keys && unit_of(row) != unit).unwrap_or(records.len());
            let part = Part { source, unit: &unit, block, records: &records[start..end], rows: rows.slice(start, end) };
            self.score_part(loaded, &part)?;
            start = end;
        }
        Ok(())
    }

    fn score_part(&mut self, loaded: &Loaded<S::Model>, part: &Part<'_>) -> Result<()> {
        let first = self.served.scored + self.served.rejected;
        let scored = match self.scoring.score(&loaded.model, &part.rows, first) {
            Ok(scored) => scored,
            // No stream stops for what stands in it, unless that would lose it.
            Err(error) if self.outputs.has_dead_letters() => {
                (self.report)(Event::Trouble { what: "rows do not fit the model", error: &error });
                (0..part.records.len()).map(|row| Err(part.unfit(row, first, &error))).collect()
            }
            Err(error) => return Err(error),
        };
        for (index, (row, &record)) in (first..).zip(scored.into_iter().zip(part.records)) {
            let record = part.block.record(record);
            match row {
                Ok(row) => {
                    self.outputs.prediction(part.source, &record, part.unit, &row, index, loaded)?;
                    self.served.scored += 1;
                }
                Err(letter) => {
                    self.outputs.dead_letter(part.source, &record, &letter)?;
                    counter!("lightcl_rejected_total", "reason" => letter.reason.as_str()).increment(1);
                    self.served.rejected += 1;
                }
            }
        }
        Ok(())
    }
}

/// Rows of one unit.
struct Part<'a> {
    source: &'a TopicPartition,
    unit: &'a str,
    block: &'a RecordBlock,
    /// For each row the number of its record.
    records: &'a [usize],
    rows: PositionedBatch,
}

impl Part<'_> {
    fn unfit(&self, row: usize, first: u64, error: &Error) -> Rejected {
        Rejected {
            format: 1,
            index: first + row as u64,
            position: Position { partition: Arc::clone(&self.rows.partition), offset: self.rows.offset_of(row) },
            reason: RejectReason::Unreadable,
            column: None,
            message: error.to_string(),
            payload: String::new(),
        }
    }
}
