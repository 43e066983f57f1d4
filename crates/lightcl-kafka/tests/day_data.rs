//! A day in the life of a job: records as they come, not as one would like them. None stops a job, none is lost, and each
//! that cannot be used is a dead letter that is the record as it came and says why.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "common/mod.rs"]
mod common;

use arrow_array::{Float64Array, Int64Array, RecordBatch};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema};
use common::account::{Account, Running, Sent, check_committed, job, operators, row, send, wait_until};
use common::jobs::{Stream, block_of, by_source, format_config, header};
use common::logs::logs;
use common::{producer, read_all};
use lightcl_core::state::sha256_hex;
use lightcl_core::{Output, PositionedBatch, RowOffsets, Stateful};
use lightcl_kafka::format::{self, FormatConfig, FormatKind, Tombstones};
use lightcl_kafka::{Job, Observer};
use lightcl_stream::Operator;
use lightcl_stream::encode::EncoderConfig;
use lightcl_testkit::services::{self, Broker};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use rdkafka::Message;
use rdkafka::message::Headers;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

fn json_job(stream: &Stream) -> Job {
    job(stream, format_config(), EncoderConfig::new(["x", "y"], "label"))
}

/// Runs a job to the end of its input, and gives what became of it.
fn run(broker: &Broker, stream: &Stream, job: Job) -> Account {
    let finished = job.run().unwrap();
    assert!(finished.failed.is_empty() && !finished.stopped, "{finished:?}");
    check_committed(broker, stream);
    Account::of(broker, stream)
}

#[test]
fn tombstones_are_dead_letters_or_passed_over_as_the_policy_says() {
    if !services::ready_or_skipped() {
        return;
    }
    logs();
    let broker = Broker::shared();
    let records = [
        Sent::row(0),
        Sent::tombstone().key("gone"),
        Sent::row(1),
        Sent::tombstone().header("h", "v"),
        Sent::tombstone(),
    ];
    for policy in [Tombstones::DeadLetter, Tombstones::Skip] {
        let stream = Stream::create(broker, &format!("tombstones-{policy:?}"), 1);
        send(&producer(broker, &[]), &stream.name, 0, &records);
        let mut format = format_config();
        format.tombstones = policy;
        let account = run(broker, &stream, job(&stream, format, EncoderConfig::new(["x", "y"], "label")));
        match policy {
            Tombstones::DeadLetter => {
                account.check_once(&[1, 3, 4]);
                let (reason, message) = account.why(1);
                assert_eq!(reason, "unreadable");
                assert!(message.contains("tombstone") && message.contains("source.tombstones"), "{message}");
            }
            Tombstones::Skip => {
                account.check(|input| usize::from(input.payload().is_some()));
                assert_eq!(account.dead.len(), 0);
            }
        }
    }
}

#[test]
fn a_record_of_2_mb_is_read_and_as_a_dead_letter_it_is_cut() {
    if !services::ready_or_skipped() {
        return;
    }
    logs();
    let broker = Broker::shared();
    let stream = Stream::create_with(broker, "large", 1, &["max.message.bytes=4000000"]);
    let padding = "z".repeat(2 << 20);
    let good = Sent::new(format!("{{\"x\": 1, \"padding\": \"{padding}\", \"y\": 2, \"label\": 1}}")).key("good");
    let garbage = Sent::new(vec![0xf5; 2 << 20]).key("garbage").header("trace", "abc");
    let records = [Sent::row(0), good, Sent::row(1), garbage, Sent::row(2)];
    send(&producer(broker, &[("message.max.bytes", "4000000")]), &stream.name, 0, &records);
    let account = run(broker, &stream, json_job(&stream));
    account.check_once(&[3]);
    assert_eq!(account.letter(3).payload().unwrap().len(), stream.sink().chunk_bytes);
    assert_eq!(header(account.letter(3), "value_bytes").as_deref(), Some("2097152"));
    assert!(account.why(3).1.contains("JSON"), "{:?}", account.why(3));
}

/// Lingers over the first rows until it was reported how far behind reading is.
struct Late {
    metrics: PrometheusHandle,
    lag_seconds: Mutex<Option<f64>>,
}

impl Late {
    fn gauge(&self, name: &str) -> Option<f64> {
        let begin = format!("{name}{{partition=\"ahead-0\"}} ");
        self.metrics.render().lines().find_map(|line| line.strip_prefix(&begin)?.parse().ok())
    }
}

impl Observer for Late {
    fn pushed(&self, _: &str, _: Option<&Operator>, _: usize, _: &[Output], _: Duration) {
        let mut found = self.lag_seconds.lock().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while found.is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
            if self.gauge("lightcl_kafka_lag_records").is_some_and(|records| records > 0.0) {
                *found = self.gauge("lightcl_kafka_lag_seconds");
            }
        }
    }

    fn committed(&self, _: &str, _: usize, _: usize, _: Duration) {}
}

#[test]
fn records_dated_two_hours_ahead_are_read_and_lag_is_never_negative() {
    if !services::ready_or_skipped() {
        return;
    }
    logs();
    let metrics = PrometheusBuilder::new().install_recorder().unwrap();
    let broker = Broker::shared();
    let stream = Stream::create_with(broker, "ahead", 1, &["message.timestamp.after.max.ms=86400000"]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    // More than is held of a partition whose learner is behind.
    let padding = "z".repeat(16 << 10);
    let ahead = |number: usize| {
        let (x, y, label) = row(number);
        let value = format!("{{\"x\": {x}, \"y\": {y}, \"label\": {label}, \"padding\": \"{padding}\"}}");
        Sent { timestamp_ms: Some(now + 7_200_000), ..Sent::new(value) }
    };
    let mut records: Vec<Sent> = (0..2_000).map(ahead).collect();
    records[1_800].value = Some(b"{".to_vec());
    send(&producer(broker, &[]), &stream.name, 0, &records);
    let mut job = json_job(&stream);
    job.source.connection.properties.insert("queued.max.messages.kbytes".into(), "1024".into());
    let late = Arc::new(Late { metrics, lag_seconds: Mutex::default() });
    job.observer = Arc::clone(&late) as Arc<dyn Observer>;
    let account = run(broker, &stream, job);
    account.check_once(&[1_800]);
    assert_eq!(header(account.letter(1_800), "source_timestamp"), Some((now + 7_200_000).to_string()));
    // Reading was behind, and yet not by less than no time.
    assert_eq!(*late.lag_seconds.lock().unwrap(), Some(0.0));
}

#[test]
fn a_header_whose_name_is_not_utf_8_is_read_and_kept_in_another_form() {
    if !services::ready_or_skipped() {
        return;
    }
    logs();
    let broker = Broker::shared();
    let stream = Stream::create(broker, "names", 1);
    let odd = |value: &str| common::kcat(broker, &stream.name, &[b"-k", b"k", b"-H", b"\xff\xfename=v\xc3"], value);
    if !odd(r#"{"x": 1, "y": 2, "label": 0}"#) {
        return;
    }
    assert!(odd(r#"{"x": 1, "y": "#));
    send(&producer(broker, &[]), &stream.name, 0, &[Sent::row(1)]);
    let account = run(broker, &stream, json_job(&stream));
    account.check_once(&[1]);
    assert_eq!(account.letter(1).key(), Some(b"k".as_slice()));
    let first = account.letter(1).headers().unwrap().get(0);
    assert_eq!((first.key, first.value), ("\u{fffd}\u{fffd}name", Some(b"v\xc3".as_slice())));
}

/// Rows as an Arrow IPC stream.
fn ipc(rows: std::ops::Range<usize>) -> Sent {
    let rows: Vec<(f64, f64, usize)> = rows.map(row).collect();
    let column = |value: fn(&(f64, f64, usize)) -> f64| Arc::new(rows.iter().map(value).collect::<Float64Array>());
    let labels: Int64Array = rows.iter().map(|(.., label)| Some(*label as i64)).collect();
    let batch = RecordBatch::try_from_iter([
        ("x", column(|row| row.0) as _),
        ("y", column(|row| row.1) as _),
        ("label", Arc::new(labels) as _),
    ]);
    let batch = batch.unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    Sent::new(writer.into_inner().unwrap())
}

#[test]
fn all_rows_of_arrow_records_count_once_over_restarts_and_damaged_ones_are_dead_letters() {
    if !services::ready_or_skipped() {
        return;
    }
    logs();
    let broker = Broker::shared();
    let stream = Stream::create(broker, "ipc", 1);
    let producer = producer(broker, &[]);
    let columns = EncoderConfig::new(["x", "y"], "label");
    let format = FormatConfig { kind: FormatKind::Arrow, ..format_config() };
    // Rows of record `offset`; windows of 8 rows end within records.
    let rows = |offset: usize| 1 + offset * 5 % 7;
    let damaged = [3, 40, 99];
    let (mut all, mut number) = (Vec::new(), 0);
    for offset in 0..100 {
        if damaged.contains(&offset) {
            all.push(Sent::new([0x00, 0x1b, 0x00, 0x48]).key("damaged"));
        } else {
            all.push(ipc(number..number + rows(offset)));
            number += rows(offset);
        }
    }
    // Stopped twice: once with all read, once in the middle of more.
    send(&producer, &stream.name, 0, &all[..50]);
    let running = Running::start(job(&stream, format.clone(), columns.clone()));
    wait_until("the first rows are predicted", || !read_all(broker, &stream.topic("predictions"), 1).is_empty());
    running.stop();
    send(&producer, &stream.name, 0, &all[50..]);
    let running = Running::start(job(&stream, format.clone(), columns.clone()));
    std::thread::sleep(Duration::from_millis(500));
    running.stop();
    let finished = job(&stream, format.clone(), columns.clone()).run().unwrap();
    check_committed(broker, &stream);
    let account = Account::of(broker, &stream);
    account.check(|input| {
        let offset = input.offset() as usize;
        if damaged.contains(&offset) { 1 } else { rows(offset) }
    });
    assert_eq!(account.dead.keys().map(|(_, offset)| *offset as usize).collect::<Vec<_>>(), damaged);
    assert!(account.why(3).1.contains("Arrow IPC"), "{:?}", account.why(3));
    // Rows are numbered without gaps, those of a record in their order.
    let index = |value: &serde_json::Value| value["index"].as_u64().unwrap();
    let mut indices: Vec<u64> = account.predictions.values().flatten().map(index).collect();
    indices
        .extend(account.dead.values().flatten().map(|letter| header(letter, "index").unwrap().parse::<u64>().unwrap()));
    assert!(account.predictions.values().all(|rows| rows.is_sorted_by_key(index)));
    indices.sort_unstable();
    assert_eq!(indices, (0..number as u64 + 3).collect::<Vec<_>>());
    let summary = finished.units[0].summary.as_ref().unwrap();
    assert_eq!(summary.samples, number as u64 + 3);
    assert_eq!(summary.state_sha256, sequential(&stream, &account, &format, columns));
}

/// Hash of the state that an operator has when it has read all of partition 0 in one go.
fn sequential(stream: &Stream, account: &Account, format: &FormatConfig, columns: EncoderConfig) -> String {
    let name = format!("{}-0", stream.name);
    let fields: Vec<Field> = format.columns.iter().map(|name| Field::new(name, DataType::Null, true)).collect();
    let mut operator = operators(columns)(&name, &Schema::new(fields)).unwrap();
    let block = block_of(stream, &account.inputs, 0);
    let rows = format::open(format).unwrap().read(&block).unwrap();
    let offsets: Arc<[u64]> = rows.records.iter().map(|&record| block.record(record).offset as u64).collect();
    let next = block.record(block.len() - 1).offset as u64 + 1;
    let offsets = RowOffsets::Listed { offsets, next };
    operator
        .push(&PositionedBatch { batch: rows.batch, partition: name.into(), offsets, faults: rows.faults })
        .unwrap();
    operator.finish().unwrap();
    sha256_hex(&operator.save().unwrap())
}

/// Runs a job over records of a format, and compares its state with that of a sequential run.
fn check_format(name: &str, format: FormatConfig, columns: EncoderConfig, records: &[Sent], dead: &[i64]) -> Account {
    let broker = Broker::shared();
    let stream = Stream::create(broker, name, 1);
    send(&producer(broker, &[]), &stream.name, 0, records);
    let finished = job(&stream, format.clone(), columns.clone()).run().unwrap();
    check_committed(broker, &stream);
    let account = Account::of(broker, &stream);
    assert_eq!(account.dead.keys().map(|(_, offset)| *offset).collect::<Vec<_>>(), dead, "{:?}", account.dead);
    let summary = finished.units[0].summary.as_ref().unwrap();
    assert_eq!(summary.state_sha256, sequential(&stream, &account, &format, columns));
    account
}

fn format_of(kind: FormatKind, columns: &[&str], exact: &[&str]) -> FormatConfig {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    FormatConfig { kind, columns: names(columns), exact: names(exact), ..FormatConfig::default() }
}

#[test]
fn csv_takes_labels_and_tasks_from_headers_ids_from_keys_and_times_from_records() {
    if !services::ready_or_skipped() {
        return;
    }
    logs();
    let beside = ["kafka.header.label", "kafka.header.site", "kafka.key", "kafka.timestamp"];
    let mut format = format_of(FormatKind::Csv, &[["x", "y"].as_slice(), &beside].concat(), &beside);
    format.csv.columns = vec!["x".into(), "y".into()];
    let mut columns = EncoderConfig::new(["x", "y"], beside[0]);
    (columns.task, columns.id) = (Some(beside[1].into()), Some(beside[2].into()));
    columns.event_time = Some(beside[3].into());
    let sent = |number: usize| {
        let (x, y, label) = row(number);
        let site = if number < 20 { "north" } else { "south" };
        Sent::new(format!("{x},{y}\n"))
            .key(format!("id-{number}"))
            .header("label", label.to_string())
            .header("site", site)
    };
    let mut records: Vec<Sent> = (0..40).map(sent).collect();
    records[7].headers.remove(0);
    records[9].value = Some(b"1.5\n".to_vec());
    records[30].value = Some(b"1,2\n3,4\n5,6\n".to_vec());
    let account = check_format("csv", format, columns, &records, &[7, 9]);
    account.check(|input| if input.offset() == 30 { 3 } else { 1 });
    assert_eq!(account.why(7).0, "null_label");
    assert!(account.why(9).1.contains("found 1 cells, expected 2"), "{:?}", account.why(9));
    for offset in [0, 39] {
        let prediction = account.prediction(offset);
        assert_eq!(prediction["id"], format!("id-{offset}"));
        assert_eq!(prediction["label"], row(offset as usize).2.to_string());
        assert_eq!(prediction["task"], offset / 39, "{prediction}");
    }
    // The task begins where the header changes.
    let boundaries = by_source(&read_all(Broker::shared(), "csv.boundaries", 1));
    assert_eq!(boundaries, [(0, vec![20])].into());
}

#[test]
fn tensors_are_learnt_from_as_their_headers_say() {
    if !services::ready_or_skipped() {
        return;
    }
    logs();
    let format = format_of(FormatKind::Tensor, &["tensor", "label", "kafka.key"], &["label", "kafka.key"]);
    let mut columns = EncoderConfig::new(["tensor"], "label");
    columns.id = Some("kafka.key".into());
    let sent = |number: usize| {
        let (x, y, label) = row(number);
        let bytes: Vec<u8> = [x, y, -x, -y].iter().flat_map(|value| (*value as f32).to_le_bytes()).collect();
        let sent = Sent::new(bytes).key(format!("id-{number}")).header("shape", "2,2").header("dtype", "f32");
        sent.header("label", label.to_string())
    };
    let mut records: Vec<Sent> = (0..30).map(sent).collect();
    records[4].value.as_mut().unwrap().pop();
    let account = check_format("tensor", format, columns, &records, &[4]);
    account.check_once(&[4]);
    assert!(account.why(4).1.contains("15 bytes"), "{:?}", account.why(4));
    assert_eq!(account.prediction(29)["id"], "id-29");
}

#[test]
fn cloud_events_of_both_modes_are_rows() {
    if !services::ready_or_skipped() {
        return;
    }
    logs();
    let format = format_of(FormatKind::CloudEvents, &["x", "y", "label", "ce.id"], &["label", "ce.id"]);
    let mut columns = EncoderConfig::new(["x", "y"], "label");
    columns.id = Some("ce.id".into());
    let sent = |number: usize| {
        let data = String::from_utf8(Sent::row(number).value.unwrap()).unwrap();
        if number.is_multiple_of(2) {
            let binary = Sent::new(data).header("ce_specversion", "1.0").header("ce_id", format!("e-{number}"));
            binary.header("content-type", "application/json")
        } else {
            let event = format!("{{\"specversion\": \"1.0\", \"id\": \"e-{number}\", \"data\": {data}}}");
            Sent::new(event).header("content-type", "application/cloudevents+json; charset=UTF-8")
        }
    };
    let mut records: Vec<Sent> = (0..30).map(sent).collect();
    records[5].headers.clear();
    let account = check_format("cloudevents", format, columns, &records, &[5]);
    account.check_once(&[5]);
    assert!(account.why(5).1.contains("expected a CloudEvent"), "{:?}", account.why(5));
    assert_eq!((&account.prediction(28)["id"], &account.prediction(29)["id"]), (&"e-28".into(), &"e-29".into()));
}
