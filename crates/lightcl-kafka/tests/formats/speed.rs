//! How fast records become rows: `cargo test -p lightcl-kafka --test formats -- --ignored --nocapture speed`.

use crate::registry::FakeRegistry;
use crate::support::{Record, block, config};
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow_ipc::writer::StreamWriter;
use lightcl_kafka::format::{self, FormatConfig, FormatKind};
use std::sync::Arc;
use std::time::Instant;

const RECORDS: usize = 100_000;
const COLUMNS: [&str; 9] = ["x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "label"];

fn measure(name: &str, config: &FormatConfig, records: &[Record]) {
    let blocks: Vec<_> = records.chunks(4_096).map(block).collect();
    let mut reader = format::open(config).unwrap();
    reader.read(&blocks[0]).unwrap();
    let start = Instant::now();
    let rows: usize = blocks.iter().map(|block| reader.read(block).unwrap().batch.num_rows()).sum();
    let seconds = start.elapsed().as_secs_f64();
    println!("{name}: {:.0} rows/s ({rows} rows of {} columns)", rows as f64 / seconds, COLUMNS.len());
}

#[test]
#[ignore = "a measurement"]
fn speed() {
    let value = |row: usize, column: usize| (row * 31 + column * 17) as f64 / 7.0;
    let mut json = config(FormatKind::Json, &COLUMNS);
    json.exact = vec!["label".to_owned()];
    let texts: Vec<Record> = (0..RECORDS)
        .map(|row| {
            let fields: Vec<String> = (0..8).map(|column| format!("\"x{column}\":{}", value(row, column))).collect();
            Record::new(format!("{{{},\"label\":{}}}", fields.join(","), row % 10))
        })
        .collect();
    measure("json", &json, &texts);
    let spoilt: Vec<Record> = texts
        .iter()
        .enumerate()
        .map(|(row, good)| if row % 10 == 0 { Record::new("{") } else { good.clone() })
        .collect();
    measure("json, every tenth record bad", &json, &spoilt);

    let registry = FakeRegistry::start();
    let fields: Vec<String> = (0..8).map(|column| format!(r#"{{"name": "x{column}", "type": "double"}}"#)).collect();
    registry.schema(
        1,
        &format!(
            r#"{{"type": "record", "name": "R", "fields": [{}, {{"name": "label", "type": "long"}}]}}"#,
            fields.join(",")
        ),
    );
    let mut avro = config(FormatKind::Avro, &COLUMNS);
    avro.registry = Some(registry.address.clone());
    let framed: Vec<Record> = (0..RECORDS)
        .map(|row| {
            let mut bytes = vec![0, 0, 0, 0, 1];
            (0..8).for_each(|column| bytes.extend_from_slice(&value(row, column).to_le_bytes()));
            bytes.push((row % 10 * 2) as u8);
            Record::new(bytes)
        })
        .collect();
    measure("avro", &avro, &framed);
    let spoilt: Vec<Record> = framed
        .iter()
        .enumerate()
        .map(|(row, good)| if row % 10 == 0 { Record::new(&good.value.as_ref().unwrap()[..20]) } else { good.clone() })
        .collect();
    measure("avro, every tenth record bad", &avro, &spoilt);

    for rows in [1, 100] {
        let streams: Vec<Record> = (0..RECORDS / rows)
            .map(|record| {
                let all = || record * rows..(record + 1) * rows;
                let mut columns: Vec<(&str, ArrayRef)> = (0..8)
                    .map(|column| {
                        let values = all().map(|row| value(row, column)).collect::<Vec<f64>>();
                        (COLUMNS[column], Arc::new(Float64Array::from(values)) as ArrayRef)
                    })
                    .collect();
                let labels: Vec<i64> = all().map(|row| row as i64 % 10).collect();
                columns.push(("label", Arc::new(Int64Array::from(labels))));
                let batch = RecordBatch::try_from_iter(columns).unwrap();
                let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
                writer.write(&batch).unwrap();
                writer.finish().unwrap();
                Record::new(writer.into_inner().unwrap())
            })
            .collect();
        measure(&format!("arrow, {rows} a record"), &config(FormatKind::Arrow, &COLUMNS), &streams);
    }

    let mut csv = config(FormatKind::Csv, &COLUMNS);
    csv.exact = vec!["label".to_owned()];
    csv.csv.columns = COLUMNS.map(str::to_owned).to_vec();
    let lines: Vec<Record> = (0..RECORDS)
        .map(|row| {
            let cells: Vec<String> = (0..8).map(|column| value(row, column).to_string()).collect();
            Record::new(format!("{},{}\n", cells.join(","), row % 10))
        })
        .collect();
    measure("csv", &csv, &lines);

    let tensors: Vec<Record> = (0..RECORDS)
        .map(|row| {
            let bytes = (0..8).flat_map(|column| (value(row, column) as f32).to_le_bytes());
            Record::new(bytes.collect::<Vec<u8>>()).header("shape", "8").header("label", (row % 10).to_string())
        })
        .collect();
    let mut tensor = config(FormatKind::Tensor, &["tensor", "label"]);
    tensor.exact = vec!["label".to_owned()];
    measure("tensor", &tensor, &tensors);
}
