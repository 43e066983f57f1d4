//! Sources of every format: files, folders, globs and standard input, seeking, and inputs that are broken.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod source_support;

use arrow_array::RecordBatch;
use arrow_ipc::CompressionType;
use arrow_schema::DataType;
use lightcl_core::{Error, ErrorKind, PositionedBatch, Positions, Result, Source};
use lightcl_pipeline::source::{CsvOptions, FileKind, FileSourceConfig, open, open_input};
use lightcl_testkit::conformance;
use source_support::*;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::{TempDir, tempdir};

fn put(folder: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn failure(config: FileSourceConfig) -> Error {
    match open(config) {
        Ok(_) => panic!("it opened"),
        Err(error) => error,
    }
}

/// Reads to the error that is to come; gives the rows before it too.
fn read_to_error(source: &mut dyn Source) -> (Vec<PositionedBatch>, Error) {
    let mut batches = Vec::new();
    loop {
        match source.next() {
            Ok(Some(batch)) => batches.push(batch),
            Ok(None) => panic!("the input ended well after {} batches", batches.len()),
            Err(error) => return (batches, error),
        }
    }
}

fn same_rows(batches: &[PositionedBatch], expected: &RecordBatch) {
    let all =
        arrow_select::concat::concat_batches(&batches[0].batch.schema(), batches.iter().map(|b| &b.batch)).unwrap();
    for field in all.schema().fields() {
        let wanted = expected.column_by_name(field.name()).unwrap();
        assert_eq!(all.column_by_name(field.name()).unwrap(), wanted, "column {}", field.name());
    }
}

#[test]
fn every_format_gives_the_same_rows_from_file_folder_and_glob() {
    for kind in KINDS {
        let folder = tempdir().unwrap();
        let extension = kind.as_str();
        put(&folder, &format!("b.{extension}"), written(kind, 100, 160));
        let first = put(&folder, &format!("a.{extension}"), written(kind, 0, 100));
        put(&folder, "README.md", "not data");
        for path in [folder.path().to_owned(), folder.path().join(format!("*.{extension}"))] {
            let mut source = open(config(kind, &path, 16)).unwrap();
            let batches = read_all(source.as_mut());
            assert!(batches.iter().all(|batch| batch.batch.num_rows() <= 16 && batch.faults.is_empty()));
            assert_eq!(&*batches[0].partition, first.to_str().unwrap(), "{kind:?}");
            same_rows(&batches, &rich_rows(0, 160));
        }
        let mut source = open(config(kind, &first, 1000)).unwrap();
        same_rows(&read_all(source.as_mut()), &rich_rows(0, 100));
    }
}

#[test]
fn sources_keep_their_promises_in_every_format() {
    for kind in KINDS {
        let folder = tempdir().unwrap();
        put(&folder, &format!("1.{}", kind.as_str()), written(kind, 0, 130));
        put(&folder, &format!("2.{}", kind.as_str()), written(kind, 130, 130));
        put(&folder, &format!("3.{}", kind.as_str()), written(kind, 130, 200));
        for batch_rows in [7, 32, 4096] {
            conformance::source(|| open(config(kind, folder.path(), batch_rows)).unwrap());
        }
    }
}

#[test]
fn arrow_streams_and_every_compression_keep_the_promises() {
    let compressions = [None, Some(CompressionType::ZSTD), Some(CompressionType::LZ4_FRAME)];
    for (number, compression) in compressions.into_iter().enumerate() {
        let folder = tempdir().unwrap();
        put(&folder, "1.arrow", ipc_file(&pieces(0, 90), compression));
        put(&folder, "2.arrows", ipc_stream(&pieces(90, 170), compression));
        let expected = [None, Some(90)][usize::from(number > 5)];
        let source = open(config(FileKind::Arrow, folder.path(), 20)).unwrap();
        assert_eq!(source.total_rows(), expected, "a stream does not say how long it is");
        conformance::source(|| open(config(FileKind::Arrow, folder.path(), 20)).unwrap());
    }
}

#[test]
fn sources_with_faults_keep_the_promises() {
    let folder = tempdir().unwrap();
    let mut csv = String::from("x,n\n");
    let mut json = String::new();
    for row in 0..120 {
        match row % 17 {
            3 => csv.push_str("abc,1\n\n"),
            5 => csv.push_str("1\n"),
            7 => csv.push_str("\"1\n2\",3\n"),
            _ => csv.push_str(&format!("{row}.5,{row}\n")),
        }
        match row % 17 {
            3 => json.push_str("{\"x\": \"abc\"}\n  \n"),
            5 => json.push_str("{\"x\": \n"),
            _ => json.push_str(&format!("{{\"x\": {row}, \"n\": {row}}}\n")),
        }
    }
    let csv = put(&folder, "a.csv", csv);
    let json = put(&folder, "a.jsonl", json);
    for batch_rows in [10, 1000] {
        let csv = FileSourceConfig { infer_rows: 3, ..config(FileKind::Csv, &csv, batch_rows) };
        conformance::source(|| open(csv.clone()).unwrap());
        conformance::source(|| open(config(FileKind::Jsonl, &json, batch_rows)).unwrap());
    }
}

#[test]
fn files_whose_format_tells_know_how_many_rows_there_are() {
    for (kind, expected) in KINDS.into_iter().zip([Some(100), Some(100), None, None]) {
        let folder = tempdir().unwrap();
        let path = put(&folder, "data", written(kind, 0, 100));
        assert_eq!(open(config(kind, &path, 16)).unwrap().total_rows(), expected);
    }
}

#[test]
fn files_of_no_rows_are_no_error() {
    for kind in KINDS {
        let folder = tempdir().unwrap();
        let path = put(&folder, "data", written(kind, 0, 0));
        let mut source = open(config(kind, &path, 16)).unwrap();
        assert!(source.next().unwrap().is_none());
        assert!(source.next().unwrap().is_none());
    }
    // A header alone: the columns are there, and nothing is known of their types.
    let mut source = open_input(FileSourceConfig::new(FileKind::Csv, "-"), Box::new(&b"x,y,label\n"[..])).unwrap();
    let schema = source.schema();
    assert_eq!(schema.fields().len(), 3);
    assert!(schema.fields().iter().all(|field| *field.data_type() == DataType::Null));
    assert!(source.next().unwrap().is_none());
}

#[test]
fn standard_input_is_read_once_and_seeks_forward() {
    for (kind, bytes) in [
        (FileKind::Arrow, ipc_stream(&pieces(0, 100), None)),
        (FileKind::Arrow, ipc_file(&pieces(0, 100), Some(CompressionType::LZ4_FRAME))),
        (FileKind::Csv, written(FileKind::Csv, 0, 100)),
        (FileKind::Jsonl, written(FileKind::Jsonl, 0, 100)),
    ] {
        let config = FileSourceConfig { batch_rows: 30, infer_rows: 10, ..FileSourceConfig::new(kind, "-") };
        let make = || open_input(config.clone(), Box::new(std::io::Cursor::new(bytes.clone()))).unwrap();
        let mut source = make();
        source.seek(&Positions::default()).unwrap();
        let batches = read_all(source.as_mut());
        assert_eq!((&*batches[0].partition, source.total_rows()), ("-", None));
        same_rows(&batches, &rich_rows(0, 100));

        let at = |offset| Positions([("-".to_owned(), offset)].into());
        let mut source = make();
        source.seek(&at(45)).unwrap();
        let first = source.next().unwrap().unwrap();
        assert_eq!((first.offset_of(0), numbers(&[first])[0]), (45, 45));
        assert!(source.seek(&at(10)).unwrap_err().to_string().contains("cannot be read again"));
        let mut source = make();
        source.seek(&at(101)).unwrap();
        assert!(source.next().unwrap_err().to_string().contains("100 rows"));
        assert!(source.next().is_err(), "it stays an error");
    }
    let parquet = open_input(FileSourceConfig::new(FileKind::Parquet, "-"), Box::new(std::io::empty()));
    assert!(parquet.err().unwrap().to_string().contains("standard input"));
}

#[test]
fn csv_faults_name_line_column_finding_and_expectation() {
    let mut text = b"x,n,name\n1,1,a\n2,2,b\n".to_vec();
    text.extend_from_slice(b"abc,3,c\n4,4.5,d\n5,5\n6,6,f,g\n\n7,7,\xff\n8,\"8,h\n9,9,i\n,,\n");
    text.extend_from_slice(format!("10,10,{}\n11,11,k", "z".repeat(200)).as_bytes());
    let config = FileSourceConfig { infer_rows: 2, line_limit_bytes: 100, ..FileSourceConfig::new(FileKind::Csv, "-") };
    let mut source = open_input(config, Box::new(std::io::Cursor::new(text))).unwrap();
    let batch = source.next().unwrap().unwrap();
    assert_eq!(batch.batch.num_rows(), 12);
    let said: Vec<_> = batch.faults.iter().map(|fault| (fault.row, fault.message.as_str())).collect();
    assert_eq!(
        said,
        [
            (2, "line 4: column 'x': found 'abc', expected a whole number"),
            (3, "line 5: column 'n': found '4.5', expected a whole number"),
            (4, "line 6: found 2 cells, expected 3"),
            (5, "line 7: found 4 cells, expected 3"),
            (6, "line 9: byte 5 is not UTF-8"),
            (7, "line 10: a quote is opened and never closed"),
            (10, "line 13: the line is longer than the limit of 100 bytes"),
        ]
    );
    assert_eq!(batch.faults[1].payload.as_deref(), Some("4,4.5,d"));
    assert_eq!(batch.faults[5].payload.as_deref(), Some("8,\"8,h"));
    assert_eq!(numbers(&[batch]), [1, 2, 9, 11]);
}

#[test]
fn json_faults_name_line_column_finding_and_expectation() {
    let lines = [
        r#"{"x": 1, "n": 1, "v": [1.5, 2]}"#,
        r#"{"x": 2, "n": 2, "v": [], "new": 3}"#,
        r#"{"x": "no number", "n": 3}"#,
        r#"{"x": 4, "n": 4.5}"#,
        r#"{"x": 5, "n": 5"#,
        r#"[6]"#,
        "   ",
        r#"{"x": 7, "n": 7, "v": [1, "two"]}"#,
        r#"{"x": 8, "n": 8} {"x": 9}"#,
        r#"{}"#,
        r#"{"x": null, "n": 10, "v": null}"#,
        r#"{"x": "11", "n": 11}"#,
        r#"{"x": NaN, "n": 12}"#,
    ];
    let config = FileSourceConfig { infer_rows: 1, ..FileSourceConfig::new(FileKind::Jsonl, "-") };
    let mut source = open_input(config, Box::new(std::io::Cursor::new(lines.join("\n")))).unwrap();
    let names: Vec<_> = source.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["n", "v", "x"]);
    let batch = source.next().unwrap().unwrap();
    assert_eq!(batch.batch.num_rows(), 12);
    let said: Vec<_> = batch.faults.iter().map(|fault| (fault.row, fault.message.as_str())).collect();
    assert_eq!(said[0], (2, "line 3: column 'x': found the text 'no number', expected a whole number"));
    assert_eq!(said[1], (3, "line 4: column 'n': found 4.5, expected a whole number"));
    assert!(said[2].1.starts_with("line 5: not valid JSON: EOF"), "{}", said[2].1);
    assert_eq!(said[3], (5, "line 6: found a list, expected an object"));
    assert_eq!(said[4], (6, "line 8: column 'v[1]': found the text 'two', expected a number"));
    assert!(said[5].1.starts_with("line 9: not valid JSON: trailing"), "{}", said[5].1);
    assert_eq!(said[6], (10, "line 12: column 'x': found the text '11', expected a whole number"));
    assert_eq!(said[7].0, 11);
    assert_eq!(batch.faults[2].payload.as_deref(), Some(lines[4]));
    assert_eq!(numbers(&[batch]), [1, 2, 10]);
}

#[test]
fn csv_options_decide_how_text_is_cut() {
    let read = |csv: CsvOptions, text: &'static str| {
        let config = FileSourceConfig { csv, ..FileSourceConfig::new(FileKind::Csv, "-") };
        let mut source = open_input(config, Box::new(text.as_bytes())).unwrap();
        let schema = source.schema();
        let names = schema.fields().iter().map(|field| format!("{}: {}", field.name(), field.data_type()));
        (names.collect::<Vec<_>>().join(", "), source.next().unwrap().unwrap().batch)
    };
    let semicolons = CsvOptions { delimiter: ';', quote: '\'', ..CsvOptions::default() };
    let (columns, batch) = read(semicolons, "\u{feff}a;b\r\n1;'x;\r\ny'\r\n2;\"z\r\n");
    assert_eq!((columns.as_str(), batch.num_rows()), ("a: Int64, b: Utf8", 2));
    let bare = CsvOptions { has_header: false, ..CsvOptions::default() };
    let (columns, batch) = read(bare, "1.5,true\n2,false\n");
    assert_eq!((columns.as_str(), batch.num_rows()), ("column_1: Float64, column_2: Boolean", 2));
    for (delimiter, quote) in [('é', '"'), ('\n', '"'), (',', ',')] {
        let csv = CsvOptions { delimiter, quote, ..CsvOptions::default() };
        let config = FileSourceConfig { csv, ..FileSourceConfig::new(FileKind::Csv, "-") };
        assert_eq!(open_input(config, Box::new(&b"a"[..])).err().unwrap().kind(), ErrorKind::User);
    }
}

#[test]
fn truncated_binary_files_are_errors_that_name_the_file() {
    let folder = tempdir().unwrap();
    for (kind, whole) in
        [(FileKind::Arrow, written(FileKind::Arrow, 0, 200)), (FileKind::Parquet, written(FileKind::Parquet, 0, 200))]
    {
        for keep in [0, 3, 8, 20, whole.len() / 2, whole.len() - 5, whole.len() - 1] {
            let path = put(&folder, "cut", &whole[..keep]);
            let error = failure(config(kind, &path, 16));
            let said = error.to_string();
            assert!(said.contains("cut") && said.contains("truncated"), "{kind:?} {keep}: {said}");
        }
    }
}

#[test]
fn a_truncated_arrow_stream_gives_the_rows_before_the_cut() {
    let folder = tempdir().unwrap();
    let whole = ipc_stream(&pieces(0, 200), None);
    let mut most = 0;
    for keep in (9..whole.len() - 9).step_by(97) {
        let path = put(&folder, "cut.arrows", &whole[..keep]);
        let mut source = match open(config(FileKind::Arrow, &path, 16)) {
            Ok(source) => source,
            Err(error) => {
                assert!(error.to_string().contains("cut.arrows"), "{error}");
                continue;
            }
        };
        let mut rows = 0;
        loop {
            match source.next() {
                Ok(Some(batch)) => rows += batch.batch.num_rows() as i64,
                // Streams may end without a mark, so a cut between two messages cannot be told.
                Ok(None) => break,
                Err(error) => {
                    assert!(error.to_string().contains("truncated"), "{error}");
                    assert!(source.next().is_err(), "the rest must not look like an end");
                    break;
                }
            }
        }
        assert!(rows % 37 == 0 && rows <= 200, "{rows}");
        most = most.max(rows);
    }
    assert!(most > 100);
}

#[test]
fn a_damaged_block_ends_the_rows_there() {
    let folder = tempdir().unwrap();
    let mut bytes = written(FileKind::Parquet, 0, 200);
    // Somewhere in the pages of a later row group.
    let middle = bytes.len() / 2;
    bytes[middle..middle + 200].fill(0xa5);
    let path = put(&folder, "hit.parquet", &bytes);
    let mut source = open(config(FileKind::Parquet, &path, 16)).unwrap();
    let (batches, error) = read_to_error(source.as_mut());
    assert!(!batches.is_empty());
    assert!(error.to_string().contains("hit.parquet") && error.kind() == ErrorKind::External, "{error}");
}

#[test]
fn files_of_another_kind_are_told_what_they_seem_to_be() {
    let folder = tempdir().unwrap();
    let parquet = put(&folder, "data.bin", written(FileKind::Parquet, 0, 10));
    let arrow = put(&folder, "data2.bin", written(FileKind::Arrow, 0, 10));
    let text = put(&folder, "data.txt", "x,label\n1,2\n");
    for (kind, path, found) in [
        (FileKind::Arrow, &parquet, "Parquet"),
        (FileKind::Csv, &parquet, "Parquet"),
        (FileKind::Jsonl, &arrow, "Arrow"),
        (FileKind::Parquet, &arrow, "Arrow"),
        (FileKind::Arrow, &text, "csv"),
        (FileKind::Parquet, &text, "csv"),
    ] {
        let error = failure(config(kind, path, 16));
        assert_eq!(error.kind(), ErrorKind::User);
        assert!(error.to_string().contains(found), "{error}");
    }
}

#[test]
fn missing_files_and_folders_are_user_errors() {
    let folder = tempdir().unwrap();
    let path = put(&folder, "rows.csv", "a\n1\n");
    for name in ["row.csv", "*.parquet", "none/a.csv"] {
        let error = failure(config(FileKind::Csv, &folder.path().join(name), 16));
        assert_eq!(error.kind(), ErrorKind::User);
        assert!(error.to_string().contains(name), "{error}");
    }
    assert!(failure(config(FileKind::Csv, &folder.path().join("row.csv"), 16)).to_string().contains("rows.csv"));
    let zero = FileSourceConfig { batch_rows: 0, ..config(FileKind::Csv, &path, 1) };
    assert!(failure(zero).to_string().contains("batch_rows"));
}

#[test]
fn files_of_a_folder_must_have_the_same_columns() {
    let folder = tempdir().unwrap();
    put(&folder, "a.parquet", written(FileKind::Parquet, 0, 10));
    put(&folder, "b.parquet", parquet(&[rows(0, 10)], 10));
    let said = failure(config(FileKind::Parquet, folder.path(), 16)).to_string();
    assert!(said.contains("b.parquet") && said.contains("column 5 is missing, expected 'dictionary'"), "{said}");
    let folder = tempdir().unwrap();
    put(&folder, "a.csv", "x,y\n1,2\n");
    put(&folder, "b.csv", "x,z\n1,2\n");
    let said = failure(config(FileKind::Csv, folder.path(), 16)).to_string();
    assert!(said.contains("b.csv") && said.contains("column 2 is 'z', expected 'y'"), "{said}");
    put(&folder, "b.csv", "");
    let mut source = open(config(FileKind::Csv, folder.path(), 16)).unwrap();
    assert_eq!(read_all(source.as_mut()).len(), 1, "a file of nothing has no rows");
}

#[test]
fn a_header_that_names_a_column_twice_is_refused() {
    let folder = tempdir().unwrap();
    let path = put(&folder, "a.csv", "x,y,x\n1,2,3\n");
    let said = failure(config(FileKind::Csv, &path, 16)).to_string();
    assert!(said.contains("a.csv") && said.contains("'x' twice"), "{said}");
}

#[test]
fn a_file_that_is_gone_or_shorter_refuses_its_old_position() {
    for kind in KINDS {
        let folder = tempdir().unwrap();
        let name = format!("a.{}", kind.as_str());
        let path = put(&folder, &name, written(kind, 0, 100));
        let positions = |file: &Path| Positions([(file.to_str().unwrap().to_owned(), 100)].into());
        let sought = |positions: &Positions| -> Result<Option<PositionedBatch>> {
            let mut source = open(config(kind, folder.path(), 16))?;
            source.seek(positions)?;
            source.next()
        };
        assert!(sought(&positions(&path)).unwrap().is_none());
        put(&folder, &name, written(kind, 0, 90));
        let error = sought(&positions(&path)).unwrap_err();
        assert!(error.to_string().contains("90 rows"), "{error}");
        let error = sought(&positions(&folder.path().join("gone"))).unwrap_err();
        assert!(error.to_string().contains("gone"), "{error}");
        // Longer is fine: the new rows follow.
        put(&folder, &name, written(kind, 0, 120));
        assert_eq!(sought(&positions(&path)).unwrap().unwrap().offset_of(0), 100);
    }
}

#[test]
fn types_come_from_the_first_rows_of_all_files() {
    let folder = tempdir().unwrap();
    put(&folder, "a.csv", "x,empty\n1,\n2,\n");
    put(&folder, "b.csv", "x,empty\n2.5,\n");
    let source = open(config(FileKind::Csv, folder.path(), 16)).unwrap();
    let types: Vec<_> = source.schema().fields().iter().map(|field| field.data_type().clone()).collect();
    assert_eq!(types, [DataType::Float64, DataType::Null]);
    // Where rows were left unseen, an empty column is taken for text.
    let few = FileSourceConfig { infer_rows: 1, ..config(FileKind::Csv, folder.path(), 16) };
    let types: Vec<_> = open(few).unwrap().schema().fields().iter().map(|field| field.data_type().clone()).collect();
    assert_eq!(types, [DataType::Int64, DataType::Utf8]);
}
