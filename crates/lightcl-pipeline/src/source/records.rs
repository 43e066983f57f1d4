//! Splits text into records without reading them: lines, or CSV rows whose quoted cells may hold line breaks.

use std::io::{self, ErrorKind, Read};
use std::ops::Range;

/// Bytes asked of the input at a time.
const CHUNK_BYTES: usize = 128 << 10;

/// What is kept of a line that is too long.
const KEPT_BYTES: usize = 64 << 10;

/// The byte order mark of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How cells of CSV are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quoting {
    pub delimiter: u8,
    pub quote: u8,
}

/// Where in a CSV record the scan is; the rules are those of the csv crate, which reads the cells later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    CellStart,
    InCell,
    InQuotes,
    /// Behind a quote within quotes: the end of the quoted part, or the first half of a doubled quote.
    QuoteInQuotes,
}

/// One record, as a range of [`Records::bytes`], and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub range: Range<usize>,
    /// The number of its first line, from 1.
    pub line: u64,
    pub fault: Option<&'static str>,
}

/// The line is longer than the limit.
pub(super) const TOO_LONG: &str = "the line is longer than the limit";
/// A quote opens and is not closed within the limit, or at all.
pub(super) const UNCLOSED: &str = "a quote is opened and never closed";

/// A splitter over an input. Memory is bounded by the limit on a record and a chunk.
pub(super) struct Records<R> {
    input: R,
    buffer: Vec<u8>,
    /// Start of the current record in the buffer.
    start: usize,
    /// Up to here the buffer was scanned.
    scanned: usize,
    state: State,
    /// The first line break within quotes of the current record.
    quoted_break: Option<usize>,
    /// Whether the rest of a line that is too long is being passed over.
    discarding: bool,
    ended: bool,
    quoting: Option<Quoting>,
    limit: usize,
    line: u64,
    at_start: bool,
}

impl<R: Read> Records<R> {
    /// Without `quoting` every line is a record.
    pub fn new(input: R, quoting: Option<Quoting>, limit: usize) -> Self {
        Records {
            input,
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            state: State::CellStart,
            quoted_break: None,
            discarding: false,
            ended: false,
            quoting,
            limit,
            line: 1,
            at_start: true,
        }
    }

    /// The bytes of a record; valid until the next call of [`Records::next`].
    pub fn bytes(&self, record: &Record) -> &[u8] {
        &self.buffer[record.range.clone()]
    }

    /// The next record that is not blank. A record whose quote is never closed is given out up to its first line break,
    /// and the text goes on behind that: one stray quote must not swallow the rest of a file.
    pub fn next(&mut self) -> io::Result<Option<Record>> {
        loop {
            let Some(record) = self.next_or_blank()? else { return Ok(None) };
            let bytes = self.bytes(&record);
            let blank = match self.quoting {
                Some(_) => bytes.is_empty(),
                None => bytes.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')),
            };
            if !blank || record.fault.is_some() {
                return Ok(Some(record));
            }
        }
    }

    fn next_or_blank(&mut self) -> io::Result<Option<Record>> {
        loop {
            if let Some(end) = self.scan() {
                let fault = self.discarding.then_some(TOO_LONG);
                let kept = if self.discarding { end.min(self.start + KEPT_BYTES) } else { end };
                return Ok(Some(self.take(kept, end + 1, fault)));
            }
            if self.discarding {
                self.drop_scanned();
            } else if self.scanned - self.start > self.limit {
                match self.quoted_break.filter(|_| self.state == State::InQuotes) {
                    Some(end) => return Ok(Some(self.take(end, end + 1, Some(UNCLOSED)))),
                    None => self.discarding = true,
                }
                continue;
            }
            if self.ended {
                if self.start == self.buffer.len() {
                    return Ok(None);
                }
                let end = self.buffer.len();
                return Ok(Some(match (self.discarding, self.state, self.quoted_break) {
                    (true, ..) => self.take(end.min(self.start + KEPT_BYTES), end, Some(TOO_LONG)),
                    (false, State::InQuotes, Some(first)) => self.take(first, first + 1, Some(UNCLOSED)),
                    (false, State::InQuotes, None) => self.take(end, end, Some(UNCLOSED)),
                    _ => self.take(end, end, None),
                }));
            }
            self.fill()?;
        }
    }

    /// Scans what is there, but not beyond the limit: what becomes of a long record must not depend on how much of it was
    /// read at once. Gives the place of the record's terminator.
    fn scan(&mut self) -> Option<usize> {
        let limit = if self.discarding { usize::MAX } else { self.start.saturating_add(self.limit).saturating_add(1) };
        let stop = self.buffer.len().min(limit);
        let Some(Quoting { delimiter, quote }) = self.quoting.filter(|_| !self.discarding) else {
            let found = self.buffer[self.scanned..stop].iter().position(|byte| *byte == b'\n');
            let end = found.map(|at| self.scanned + at);
            self.scanned = end.unwrap_or(stop);
            return end;
        };
        let mut state = self.state;
        for (at, &byte) in self.buffer.iter().enumerate().take(stop).skip(self.scanned) {
            state = match state {
                State::InQuotes if byte == quote => State::QuoteInQuotes,
                State::InQuotes => {
                    if byte == b'\n' && self.quoted_break.is_none() {
                        self.quoted_break = Some(at);
                    }
                    State::InQuotes
                }
                _ if byte == b'\n' || byte == b'\r' => {
                    (self.state, self.scanned) = (State::CellStart, at);
                    return Some(at);
                }
                State::CellStart | State::QuoteInQuotes if byte == quote => State::InQuotes,
                _ if byte == delimiter => State::CellStart,
                _ => State::InCell,
            };
        }
        (self.state, self.scanned) = (state, stop);
        None
    }

    /// Gives out the current record up to `end`; the next one begins at `next`.
    fn take(&mut self, end: usize, next: usize, fault: Option<&'static str>) -> Record {
        let mut start = self.start;
        if self.at_start || self.quoting.is_some() {
            // The csv crate drops a mark wherever it begins to read, so it is dropped everywhere.
            self.at_start = false;
            if self.buffer[start..end].starts_with(BYTE_ORDER_MARK) {
                start += BYTE_ORDER_MARK.len();
            }
        }
        let record = Record { range: start..end, line: self.line, fault };
        let next = next.min(self.buffer.len());
        self.line += self.buffer[self.start..next].iter().filter(|byte| **byte == b'\n').count() as u64;
        (self.start, self.scanned, self.state) = (next, next, State::CellStart);
        (self.quoted_break, self.discarding) = (None, false);
        record
    }

    /// Forgets the part of a too long line that is not kept.
    fn drop_scanned(&mut self) {
        let keep = self.start + KEPT_BYTES;
        if self.scanned > keep {
            self.buffer.drain(keep..self.scanned);
            self.scanned = keep;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.scanned -= self.start;
            self.quoted_break = self.quoted_break.map(|at| at - self.start);
            self.start = 0;
        }
        let filled = self.buffer.len();
        self.buffer.resize(filled + CHUNK_BYTES, 0);
        let read = loop {
            match self.input.read(&mut self.buffer[filled..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
        self.ended = read? == 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An input that gives a few bytes at a time.
    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn split(text: &[u8], csv: bool, limit: usize, step: usize) -> Vec<(String, u64, bool)> {
        let quoting = csv.then_some(Quoting { delimiter: b',', quote: b'"' });
        let mut records = Records::new(Dribble(text, step), quoting, limit);
        let mut found = Vec::new();
        while let Some(record) = records.next().unwrap() {
            let text = String::from_utf8_lossy(records.bytes(&record)).into_owned();
            found.push((text, record.line, record.fault.is_some()));
        }
        assert!(records.next().unwrap().is_none());
        found
    }

    fn check(text: &str, csv: bool, limit: usize, expected: &[(&str, u64, bool)]) {
        for step in [1, 2, 7, 1000] {
            let found = split(text.as_bytes(), csv, limit, step);
            let found: Vec<_> = found.iter().map(|(text, line, fault)| (text.as_str(), *line, *fault)).collect();
            assert_eq!(found, expected, "step {step}");
        }
    }

    #[test]
    fn lines_are_records_and_blank_ones_are_not() {
        check("\u{feff}a\n\n  \r\nb\r\nc", false, 99, &[("a", 1, false), ("b\r", 4, false), ("c", 5, false)]);
    }

    #[test]
    fn quoted_cells_may_hold_line_breaks_delimiters_and_quotes() {
        check(
            "a,\"x\ny\"\"\n,\",b\r\n\r\nq\"uote,1\n\"last\"",
            true,
            99,
            &[("a,\"x\ny\"\"\n,\",b", 1, false), ("q\"uote,1", 5, false), ("\"last\"", 6, false)],
        );
    }

    #[test]
    fn a_quote_that_is_never_closed_costs_one_line() {
        let expected = [("a", 1, false), ("\"b", 2, true), ("c", 3, false), ("d", 4, false)];
        check("a\n\"b\nc\nd\n", true, 99, &expected);
        check("a\n\"b\nc\nd", true, 4, &expected);
        check("\"a\nb\",cccc\nd\n", true, 6, &[("\"a\nb\",cccc", 1, true), ("d", 3, false)]);
        check("a\n\"b", true, 99, &[("a", 1, false), ("\"b", 2, true)]);
    }

    #[test]
    fn a_line_beyond_the_limit_is_a_fault_and_the_next_is_read() {
        let long = "x".repeat(500_000);
        for csv in [false, true] {
            let found = split(format!("a\n{long}\nb\n").as_bytes(), csv, 300_000, 70_000);
            let shown: Vec<_> = found.iter().map(|(text, line, fault)| (text.len(), *line, *fault)).collect();
            assert_eq!(shown, [(1, 1, false), (KEPT_BYTES, 2, true), (1, 3, false)]);
            let found = split(long.as_bytes(), csv, 1000, 70_000);
            assert_eq!((found.len(), found[0].0.len(), found[0].2), (1, KEPT_BYTES, true));
        }
    }
}
