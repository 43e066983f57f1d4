//! Memory of a text source does not grow with its input. A test program of its own, since the measure is the process's.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use lightcl_pipeline::source::{FileKind, FileSourceConfig, open_input};
use std::fs;
use std::io::{self, Read};

/// Rows made as they are read.
struct Rows {
    kind: FileKind,
    row: u64,
    rows: u64,
    text: Vec<u8>,
    given: usize,
}

impl Read for Rows {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.text.len() {
            (self.given, self.text) = (0, Vec::new());
            for row in self.row..self.rows.min(self.row + 1000) {
                let line = match self.kind {
                    FileKind::Csv => format!("{row}.5,{},\"name {}\",{}\n", row % 31, row % 977, row % 2),
                    _ => format!("{{\"x\": {row}.5, \"v\": [{}, 0.5], \"label\": \"{}\"}}\n", row % 31, row % 2),
                };
                self.text.extend_from_slice(line.as_bytes());
            }
            self.row = self.rows.min(self.row + 1000);
        }
        let count = buffer.len().min(self.text.len() - self.given);
        buffer[..count].copy_from_slice(&self.text[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}

/// The most memory the process ever held, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn read(kind: FileKind, rows: u64) {
    let mut config = FileSourceConfig::new(kind, "-");
    config.csv.has_header = false;
    let input = Rows { kind, row: 0, rows, text: Vec::new(), given: 0 };
    let mut source = open_input(config, Box::new(input)).unwrap();
    let mut seen = 0;
    while let Some(batch) = source.next().unwrap() {
        assert!(batch.faults.is_empty());
        seen += batch.batch.num_rows() as u64;
    }
    assert_eq!(seen, rows);
}

#[test]
fn a_hundred_times_the_rows_need_no_more_memory() {
    for kind in [FileKind::Csv, FileKind::Jsonl] {
        read(kind, 10_000);
        let before = peak();
        read(kind, 1_000_000);
        let grown = peak() - before;
        assert!(grown < 2048, "{kind:?} grew by {grown} KiB from {before} KiB");
    }
}
