//! Records as they lie in a partition, many in one block of memory.

use std::ops::Range;
use std::sync::Arc;

/// Records of one partition in offset order, copied out of the client once.
///
/// ```
/// use lightcl_kafka::records::{Header, NewRecord, RecordBlock};
///
/// let mut block = RecordBlock::new("samples", 3);
/// let headers = [Header { name: b"label", value: Some(b"cat") }];
/// block.push(NewRecord { offset: 7, timestamp_ms: Some(1), key: None, value: Some(b"{}"), headers: &headers });
/// let record = block.record(0);
/// assert_eq!((record.offset, record.value, record.header(b"label")), (7, Some(&b"{}"[..]), Some(Some(&b"cat"[..]))));
/// ```
#[derive(Debug, Clone)]
pub struct RecordBlock {
    topic: Arc<str>,
    partition: i32,
    bytes: Vec<u8>,
    records: Vec<Entry>,
    headers: Vec<HeaderEntry>,
}

#[derive(Debug, Clone)]
struct Entry {
    offset: i64,
    timestamp_ms: Option<i64>,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Range<usize>,
}

#[derive(Debug, Clone)]
struct HeaderEntry {
    name: Range<usize>,
    value: Option<Range<usize>>,
}

/// One header; names need not be UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its value; none where it is null.
    pub value: Option<&'a [u8]>,
}

/// What [`RecordBlock::push`] takes.
#[derive(Debug, Clone, Copy)]
pub struct NewRecord<'a> {
    /// Offset in the partition, above that of the record before.
    pub offset: i64,
    /// Milliseconds since 1970-01-01 UTC, where the record has them.
    pub timestamp_ms: Option<i64>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; none for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers in order; names may repeat.
    pub headers: &'a [Header<'a>],
}

/// One record of a block.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    block: &'a RecordBlock,
    headers: &'a Range<usize>,
    /// Offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970-01-01 UTC, where the record has them.
    pub timestamp_ms: Option<i64>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; none for a tombstone.
    pub value: Option<&'a [u8]>,
}

impl<'a> Record<'a> {
    /// Headers in order.
    pub fn headers(&self) -> impl Iterator<Item = Header<'a>> + use<'a> {
        let block = self.block;
        block.headers[self.headers.clone()].iter().map(|header| Header {
            name: &block.bytes[header.name.clone()],
            value: header.value.clone().map(|range| &block.bytes[range]),
        })
    }

    /// The last header of a name: none when there is none, none within when it is null.
    pub fn header(&self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        self.headers().filter(|header| header.name == name).last().map(|header| header.value)
    }
}

impl RecordBlock {
    /// A block without records.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        RecordBlock { topic: topic.into(), partition, bytes: Vec::new(), records: Vec::new(), headers: Vec::new() }
    }

    /// The topic of all records.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The partition of all records.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of keys, values and headers, and what it takes to find them.
    pub fn bytes(&self) -> usize {
        self.bytes.len() + self.records.len() * size_of::<Entry>() + self.headers.len() * size_of::<HeaderEntry>()
    }

    /// Copies a record in.
    pub fn push(&mut self, record: NewRecord<'_>) {
        let first = self.headers.len();
        for header in record.headers {
            let name = self.copy(header.name);
            let value = header.value.map(|value| self.copy(value));
            self.headers.push(HeaderEntry { name, value });
        }
        let key = record.key.map(|key| self.copy(key));
        let value = record.value.map(|value| self.copy(value));
        self.records.push(Entry {
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key,
            value,
            headers: first..self.headers.len(),
        });
    }

    fn copy(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    /// A record by its number in the block.
    pub fn record(&self, number: usize) -> Record<'_> {
        let entry = &self.records[number];
        let slice = |range: &Option<Range<usize>>| range.clone().map(|range| &self.bytes[range]);
        Record {
            block: self,
            headers: &entry.headers,
            offset: entry.offset,
            timestamp_ms: entry.timestamp_ms,
            key: slice(&entry.key),
            value: slice(&entry.value),
        }
    }

    /// The record at an offset, if it is in the block.
    pub fn find(&self, offset: i64) -> Option<Record<'_>> {
        let number = self.records.binary_search_by_key(&offset, |entry| entry.offset).ok()?;
        Some(self.record(number))
    }

    /// Splits off the records from an offset on, leaving those before it.
    #[must_use]
    pub fn split_off(&mut self, offset: i64) -> RecordBlock {
        let at = self.records.partition_point(|entry| entry.offset < offset);
        let mut rest = RecordBlock::new(Arc::clone(&self.topic), self.partition);
        for number in at..self.len() {
            let record = self.record(number);
            let headers: Vec<Header<'_>> = record.headers().collect();
            let Record { offset, timestamp_ms, key, value, .. } = record;
            rest.push(NewRecord { offset, timestamp_ms, key, value, headers: &headers });
        }
        // The bytes of what was split off stay until the block goes.
        self.records.truncate(at);
        rest
    }

    /// All records in order.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        (0..self.len()).map(|number| self.record(number))
    }
}
