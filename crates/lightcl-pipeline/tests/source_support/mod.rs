//! What the tests of sources share: the same rows in every format.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test program uses its own part of it")]

use arrow_array::types::{Float32Type, Int32Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, FixedSizeListArray, Float64Array, Int64Array, RecordBatch,
    StringArray,
};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use lightcl_core::{PositionedBatch, Source};
use lightcl_pipeline::source::{FileKind, FileSourceConfig};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use std::path::Path;
use std::sync::Arc;

/// Rows `start..end` of a stream with a number, a whole number, text and a boolean, some of them null.
pub fn rows(start: i64, end: i64) -> RecordBatch {
    let range = || start..end;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("x", Arc::new(range().map(|i| (i % 13 != 5).then_some(i as f64 / 2.0)).collect::<Float64Array>())),
        ("n", Arc::new(range().map(Some).collect::<Int64Array>())),
        ("text", Arc::new(range().map(|i| Some(format!("t{}, \"{}\"", i % 3, i))).collect::<StringArray>())),
        ("flag", Arc::new(range().map(|i| (i % 7 != 0).then_some(i % 2 == 0)).collect::<BooleanArray>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

/// The same with a dictionary and a list column, for the binary formats.
pub fn rich_rows(start: i64, end: i64) -> RecordBatch {
    let batch = rows(start, end);
    // One dictionary for all batches: the file format has room for no other.
    let keys = (start..end).map(|i| Some((i % 4) as i32)).collect();
    let dictionary = DictionaryArray::<Int32Type>::new(keys, Arc::new(StringArray::from(vec!["d0", "d1", "d2", "d3"])));
    let lists = (start..end).map(|i| Some((0..8).map(move |j| Some((i * 8 + j) as f32))));
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(f, c)| (f.name().clone(), c.clone())).chain([
        ("dictionary".to_owned(), Arc::new(dictionary) as ArrayRef),
        ("list".to_owned(), Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(lists, 8))),
    ]);
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

pub fn csv(batch: &RecordBatch) -> Vec<u8> {
    let mut text = Vec::new();
    arrow_csv::Writer::new(&mut text).write(batch).unwrap();
    text
}

pub fn jsonl(batch: &RecordBatch) -> Vec<u8> {
    let mut lines = String::new();
    for row in 0..batch.num_rows() {
        let x = batch.column(0).as_any().downcast_ref::<Float64Array>().unwrap();
        let n = batch.column(1).as_any().downcast_ref::<Int64Array>().unwrap();
        let text = batch.column(2).as_any().downcast_ref::<StringArray>().unwrap();
        let flag = batch.column(3).as_any().downcast_ref::<BooleanArray>().unwrap();
        let value = serde_json::json!({
            "x": x.is_valid(row).then(|| x.value(row)),
            "n": n.value(row),
            "text": text.value(row),
            "flag": flag.is_valid(row).then(|| flag.value(row)),
        });
        lines.push_str(&format!("{value}\n"));
    }
    lines.into_bytes()
}

pub fn ipc_file(batches: &[RecordBatch], compression: Option<CompressionType>) -> Vec<u8> {
    let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let mut bytes = Vec::new();
    let mut writer = FileWriter::try_new_with_options(&mut bytes, &batches[0].schema(), options).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    drop(writer);
    bytes
}

pub fn ipc_stream(batches: &[RecordBatch], compression: Option<CompressionType>) -> Vec<u8> {
    let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new_with_options(&mut bytes, &batches[0].schema(), options).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    drop(writer);
    bytes
}

pub fn parquet(batches: &[RecordBatch], row_group: usize) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(row_group))
        .set_data_page_row_count_limit(16)
        .set_write_batch_size(16)
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batches[0].schema(), Some(properties)).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.close().unwrap();
    bytes
}

/// Some rows in one format.
pub fn written(kind: FileKind, start: i64, end: i64) -> Vec<u8> {
    match kind {
        FileKind::Arrow => ipc_file(&pieces(start, end), Some(CompressionType::ZSTD)),
        FileKind::Parquet => parquet(&pieces(start, end), 40),
        FileKind::Csv => csv(&rows(start, end)),
        FileKind::Jsonl => jsonl(&rows(start, end)),
    }
}

/// Rich rows in batches of 37.
pub fn pieces(start: i64, end: i64) -> Vec<RecordBatch> {
    let starts = (start..end).step_by(37);
    let pieces: Vec<RecordBatch> = starts.map(|at| rich_rows(at, end.min(at + 37))).collect();
    if pieces.is_empty() { vec![rich_rows(start, start)] } else { pieces }
}

pub const KINDS: [FileKind; 4] = [FileKind::Arrow, FileKind::Parquet, FileKind::Csv, FileKind::Jsonl];

pub fn config(kind: FileKind, path: &Path, batch_rows: usize) -> FileSourceConfig {
    FileSourceConfig { batch_rows, infer_rows: 50, ..FileSourceConfig::new(kind, path.to_str().unwrap()) }
}

pub fn read_all(source: &mut dyn Source) -> Vec<PositionedBatch> {
    std::iter::from_fn(|| source.next().unwrap()).collect()
}

/// The column `n`, where it is not null.
pub fn numbers(batches: &[PositionedBatch]) -> Vec<i64> {
    let values = batches.iter().flat_map(|batch| {
        let column = batch.batch.column_by_name("n").unwrap().clone();
        let column = column.as_any().downcast_ref::<Int64Array>().unwrap().clone();
        column.iter().flatten().collect::<Vec<_>>()
    });
    values.collect()
}
