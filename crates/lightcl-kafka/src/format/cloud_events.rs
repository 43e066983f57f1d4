//! CloudEvents 1.0 with data in JSON: attributes in headers (binary mode), or around the data (structured mode).

use super::columns::Columns;
use super::decoded::{Decoded, Screen};
use super::json::by_rows;
use super::reader::Decode;
use super::table::{Key, Table, read_json};
use crate::records::{Record, RecordBlock};
use arrow_cast::base64::{BASE64_STANDARD, Engine};
use lightcl_core::Result;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::fmt;

/// What begins the names of attributes' columns.
const PREFIX: &str = "ce.";

/// What begins the names of their headers.
const HEADER_PREFIX: &[u8] = b"ce_";

/// Reads events; each is one row.
#[derive(Debug)]
pub(super) struct CloudEvents;

impl Decode for CloudEvents {
    fn decode(&mut self, block: &RecordBlock, columns: &Columns, screen: &Screen) -> Result<Decoded> {
        let table = Table::new(columns, |name| name.starts_with(PREFIX));
        by_rows(block, screen, table, |table, number, value| {
            let record = block.record(number);
            match content_type(&record) {
                Some(kind) if kind.starts_with(b"application/cloudevents-batch") => {
                    Err("batches of CloudEvents are not read; send one event a record".to_owned())
                }
                Some(kind) if kind.starts_with(b"application/cloudevents") => {
                    let format = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
                    if !format.ends_with(b"+json") {
                        let format = String::from_utf8_lossy(format);
                        return Err(format!("content-type: found {format}, expected application/cloudevents+json"));
                    }
                    structured(table, value)
                }
                kind => binary(table, &record, kind, value),
            }
        })
    }
}

/// The last header `content-type`, in lower case.
fn content_type(record: &Record<'_>) -> Option<Vec<u8>> {
    let named = record.headers().filter(|header| header.name.eq_ignore_ascii_case(b"content-type"));
    named.last().and_then(|header| header.value).map(<[u8]>::to_ascii_lowercase)
}

fn is_json(content_type: &[u8]) -> bool {
    let kind = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    kind.ends_with(b"/json") || kind.ends_with(b"+json")
}

fn not_json(content_type: &[u8]) -> String {
    let found: String = String::from_utf8_lossy(content_type).chars().take(60).collect();
    format!("the type of the event's data is '{found}', expected JSON (application/json)")
}

fn binary(
    table: &mut Table,
    record: &Record<'_>,
    content_type: Option<Vec<u8>>,
    value: &[u8],
) -> std::result::Result<(), String> {
    if let Some(kind) = content_type.filter(|kind| !is_json(kind)) {
        return Err(not_json(&kind));
    }
    let mut is_event = false;
    for header in record.headers() {
        let Some(name) = header.name.strip_prefix(HEADER_PREFIX) else { continue };
        is_event |= name == b"specversion";
        // Attributes have names in ASCII; others are nobody's.
        let (Ok(name), Some(value)) = (std::str::from_utf8(name), header.value) else { continue };
        if name == "specversion" {
            check_version(value)?;
        }
        let Some(column) = table.column(&format!("{PREFIX}{name}")) else { continue };
        match std::str::from_utf8(value) {
            Ok(value) => table.cell(column, value),
            Err(_) => return Err(format!("attribute '{name}': found bytes that are no UTF-8, expected text")),
        }
    }
    if !is_event {
        return Err("found neither a header ce_specversion nor content-type application/cloudevents+json, expected a \
                    CloudEvent"
            .to_owned());
    }
    read_json(value, table.object())
}

fn check_version(version: &[u8]) -> std::result::Result<(), String> {
    if version.starts_with(b"1.") {
        return Ok(());
    }
    let found: String = String::from_utf8_lossy(version).chars().take(20).collect();
    Err(format!("specversion: found '{found}', expected 1.0"))
}

fn structured(table: &mut Table, value: &[u8]) -> std::result::Result<(), String> {
    let mut event = Event::default();
    read_json(value, Envelope { table, event: &mut event })?;
    match &event.version {
        Some(version) => check_version(version.as_bytes())?,
        None => return Err("found no specversion, expected a CloudEvent".to_owned()),
    }
    if let Some(kind) = event.content_type.filter(|kind| !is_json(kind.to_ascii_lowercase().as_bytes())) {
        return Err(not_json(kind.as_bytes()));
    }
    match (event.data, event.encoded) {
        (Data::Object, _) => Ok(()),
        (Data::Other, _) => Err("the event's data is no JSON object".to_owned()),
        (Data::Absent, None) => Err("the event has no data".to_owned()),
        (Data::Absent, Some(encoded)) => {
            let bytes = BASE64_STANDARD.decode(encoded).map_err(|_| "data_base64: found no valid base64".to_owned())?;
            read_json(&bytes, table.object())
        }
    }
}

/// What is kept of an envelope beside the row.
#[derive(Debug, Default)]
struct Event {
    version: Option<String>,
    content_type: Option<String>,
    encoded: Option<String>,
    data: Data,
}

#[derive(Debug, Default)]
enum Data {
    #[default]
    Absent,
    Object,
    Other,
}

/// Reads an event in structured mode: its data straight into the row, its attributes as text.
struct Envelope<'a> {
    table: &'a mut Table,
    event: &'a mut Event,
}

impl<'de> DeserializeSeed<'de> for Envelope<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// A name in an envelope.
enum Part {
    Data,
    Encoded,
    ContentType(Option<usize>),
    Version(Option<usize>),
    Attribute(usize),
    Unneeded,
}

impl<'de> Visitor<'de> for Envelope<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        let Envelope { table, event } = self;
        loop {
            let part = map.next_key_seed(Key(|name: &str| match name {
                "data" => Part::Data,
                "data_base64" => Part::Encoded,
                "datacontenttype" => Part::ContentType(table.column("ce.datacontenttype")),
                "specversion" => Part::Version(table.column("ce.specversion")),
                other => table.column(&format!("{PREFIX}{other}")).map_or(Part::Unneeded, Part::Attribute),
            }))?;
            let Some(part) = part else { return Ok(()) };
            let column = match &part {
                Part::Data => {
                    map.next_value_seed(DataSeed { table: &mut *table, event: &mut *event })?;
                    continue;
                }
                Part::Unneeded => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                Part::ContentType(column) | Part::Version(column) => *column,
                Part::Attribute(column) => Some(*column),
                Part::Encoded => None,
            };
            let text = match map.next_value::<Value>()? {
                Value::Null => continue,
                Value::String(text) => text,
                other => other.to_string(),
            };
            if let Some(column) = column {
                table.cell(column, &text);
            }
            match part {
                Part::ContentType(_) => event.content_type = Some(text),
                Part::Version(_) => event.version = Some(text),
                Part::Encoded => event.encoded = Some(text),
                Part::Data | Part::Attribute(_) | Part::Unneeded => {}
            }
        }
    }
}

/// Reads data that may be anything; only objects are of use.
struct DataSeed<'a> {
    table: &'a mut Table,
    event: &'a mut Event,
}

impl<'de> DeserializeSeed<'de> for DataSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        self.event.data = Data::Other;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for DataSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<(), A::Error> {
        self.event.data = Data::Object;
        self.table.object().visit_map(map)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, items: A) -> std::result::Result<(), A::Error> {
        IgnoredAny::deserialize(serde::de::value::SeqAccessDeserializer::new(items)).map(|_| ())
    }

    fn visit_unit<E>(self) -> std::result::Result<(), E> {
        self.event.data = Data::Absent;
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> std::result::Result<(), E> {
        Ok(())
    }
}
