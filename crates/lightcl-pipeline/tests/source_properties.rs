//! What holds of sources for any bytes: they never panic, and how rows are cut into batches changes nothing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod source_support;

use lightcl_core::{RowFault, Source};
use lightcl_pipeline::source::{FileKind, FileSourceConfig, open, open_input};
use proptest::prelude::*;
use source_support::*;
use std::fs;
use std::io::Cursor;
use tempfile::tempdir;

/// Reads everything; none when the input is refused or breaks off. At most so many rows come out of so few bytes.
fn read(source: &mut dyn Source) -> Option<u64> {
    let mut rows = 0;
    while rows < 1_000_000 {
        match source.next() {
            Ok(Some(batch)) => rows += batch.batch.num_rows() as u64,
            Ok(None) => return Some(rows),
            Err(_) => return None,
        }
    }
    None
}

/// Offset, cells and fault of every row, as text.
fn shown(config: FileSourceConfig, text: &[u8]) -> Vec<(u64, String, Option<RowFault>)> {
    let mut source = open_input(config, Box::new(Cursor::new(text.to_vec()))).unwrap();
    let mut rows = Vec::new();
    for batch in read_all(source.as_mut()) {
        for row in 0..batch.batch.num_rows() {
            let cells = format!("{:?}", batch.batch.slice(row, 1).columns());
            let fault = batch.faults.iter().find(|fault| fault.row == row).cloned();
            rows.push((batch.offset_of(row), cells, fault.map(|fault| RowFault { row: 0, ..fault })));
        }
    }
    rows
}

fn csv_text() -> impl Strategy<Value = String> {
    let cell =
        prop::sample::select(vec!["1", "2.5", "x", "", "\"", "\"a,b\"", "\"a\nb\"", "é", "true", "\"q\"\"q\"", " "]);
    let line = prop::collection::vec(cell, 1..4).prop_map(|cells| cells.join(","));
    let end = prop::sample::select(vec!["\n", "\r\n", "\n\n", "\r"]);
    prop::collection::vec((line, end), 0..40)
        .prop_map(|lines| lines.into_iter().fold("a,b\n".to_owned(), |text, (line, end)| text + &line + end))
}

fn json_text() -> impl Strategy<Value = String> {
    let value = prop::sample::select(vec!["1", "2.5", "\"x\"", "null", "[1, 2]", "{\"z\": 1}", "tru", "[1, \"a\"]"]);
    let line = (value.clone(), value).prop_map(|(a, b)| format!("{{\"a\": {a}, \"b\": {b}}}"));
    let line = prop_oneof![8 => line, 1 => Just(String::new()), 1 => Just("{\"a\": 1".to_owned())];
    prop::collection::vec(line, 0..40).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn batches_of_any_size_give_the_same_rows_and_faults(
        csv in csv_text(),
        json in json_text(),
        batch_rows in 1..20_usize,
        infer_rows in 1..30_usize,
    ) {
        for (kind, text) in [(FileKind::Csv, csv), (FileKind::Jsonl, json)] {
            let config = |batch_rows| FileSourceConfig {
                batch_rows, infer_rows, line_limit_bytes: 60, ..FileSourceConfig::new(kind, "-")
            };
            let whole = shown(config(10_000), text.as_bytes());
            prop_assert_eq!(shown(config(batch_rows), text.as_bytes()), whole);
        }
    }

    #[test]
    fn text_of_any_bytes_is_rows_or_faults(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for kind in [FileKind::Csv, FileKind::Jsonl] {
            let config = FileSourceConfig { batch_rows: 7, infer_rows: 3, ..FileSourceConfig::new(kind, "-") };
            if let Ok(mut source) = open_input(config, Box::new(Cursor::new(bytes.clone()))) {
                prop_assert!(read(source.as_mut()).is_some(), "bad text ends no stream");
            }
        }
    }

    #[test]
    fn mutated_binary_files_are_read_or_refused(
        kind in prop::sample::select(vec![FileKind::Arrow, FileKind::Parquet]),
        stream in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = match kind {
            FileKind::Arrow if stream => ipc_stream(&pieces(0, 60), None),
            _ => written(kind, 0, 60),
        };
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let folder = tempdir().unwrap();
        let path = folder.path().join("data");
        fs::write(&path, &bytes).unwrap();
        if let Ok(mut source) = open(config(kind, &path, 16)) {
            read(source.as_mut());
        }
    }
}
