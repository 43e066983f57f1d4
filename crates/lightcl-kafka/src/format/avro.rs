//! Avro behind a schema registry's frame: a magic byte, the name of the writer's schema, and the body.

use super::columns::Columns;
use super::decoded::{Column, Decoded, Piece, Screen, Screened};
use super::reader::{Decode, guarded};
use super::registry::{Answer, Registry, SchemaId};
use super::{FormatConfig, schemas, types};
use crate::records::RecordBlock;
use arrow_array::RecordBatch;
use arrow_avro::reader::{Decoder, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use arrow_schema::Field;
use lightcl_core::{Error, Result};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// The most writers' schemas that are kept; a stream has a few.
const MOST_WRITERS: usize = 256;

/// Stands for the name of a schema that has none of 4 bytes.
const NAMELESS: u32 = 0xa5c3_9d17;

/// The length of magic byte and number before a body.
const PREFIX: usize = 5;

/// Reads Avro with the schema of each value's writer.
pub(super) struct Avro {
    registry: Registry,
    writers: HashMap<SchemaId, std::result::Result<Writer, String>>,
}

/// A schema that values were written with.
struct Writer {
    schema: Arc<Value>,
    prefix: [u8; PREFIX],
    number: u32,
    /// The fields that are read, ascending.
    fields: Vec<usize>,
    /// The columns, and which of the fields that are read each is.
    columns: Vec<(usize, usize)>,
    /// None after a value that could not be read, parts of which it still holds.
    decoder: Option<Decoder>,
    /// One that stops behind one row.
    single: Option<Decoder>,
}

/// A value and where its record stands.
struct Framed<'a> {
    record: usize,
    value: &'a [u8],
}

impl Avro {
    /// # Errors
    /// When no registry is named.
    pub fn new(config: &FormatConfig) -> Result<Self> {
        let address = config.registry.as_deref().ok_or_else(|| {
            Error::user("Avro needs the address of a schema registry with Confluent's interface (registry)")
        })?;
        Ok(Avro { registry: Registry::new(address, config.registry_auth.as_ref())?, writers: HashMap::new() })
    }

    /// Learns all schemas of a block, so that nothing of it is read when the registry does not answer. What is returned
    /// says of which there are none now.
    fn learn(&mut self, block: &RecordBlock, columns: &Columns, screen: &Screen) -> Result<HashMap<SchemaId, String>> {
        let mut missing = HashMap::new();
        let mut last = None;
        if self.writers.len() > MOST_WRITERS {
            self.writers.clear();
        }
        for record in block.iter() {
            let Screened::Value(value) = screen.look_at(record.value) else { continue };
            let Ok((id, _)) = frame(value) else { continue };
            if last.replace(id) == Some(id) || self.writers.contains_key(&id) || missing.contains_key(&id) {
                continue;
            }
            match self.registry.schema(id)? {
                Answer::Schema(schema) => {
                    let writer = Writer::new(id, schema, columns);
                    let writer = writer.map_err(|why| format!("schema {id} cannot be read: {why}"));
                    self.writers.insert(id, writer);
                }
                Answer::Missing(why) => {
                    missing.insert(id, why);
                }
                Answer::Unusable(why) => {
                    self.writers.insert(id, Err(why));
                }
            }
        }
        Ok(missing)
    }

    /// Reads neighbours that have the same schema.
    fn read_run(&mut self, id: SchemaId, run: &mut Vec<Framed<'_>>, decoded: &mut Decoded) {
        if let Some(Ok(writer)) = self.writers.get_mut(&id) {
            writer.read_all(run, decoded);
        }
        run.clear();
    }
}

impl Decode for Avro {
    fn decode(&mut self, block: &RecordBlock, columns: &Columns, screen: &Screen) -> Result<Decoded> {
        let missing = self.learn(block, columns, screen)?;
        let mut decoded = Decoded::new(block.len());
        let mut run: Vec<Framed<'_>> = Vec::new();
        let mut of_run = SchemaId::Id(0);
        for (record, at) in block.iter().zip(0..) {
            let fault = match screen.look_at(record.value) {
                Screened::Skip => {
                    decoded.skipped += 1;
                    continue;
                }
                Screened::Fault(message) => message,
                Screened::Value(value) => match frame(value) {
                    Err(message) => message,
                    Ok((id, _)) => match (self.writers.get(&id), missing.get(&id)) {
                        (Some(Ok(_)), _) => {
                            if of_run != id {
                                self.read_run(of_run, &mut run, &mut decoded);
                                of_run = id;
                            }
                            run.push(Framed { record: at, value });
                            continue;
                        }
                        (Some(Err(why)), _) | (None, Some(why)) => why.clone(),
                        (None, None) => format!("there is no schema {id}"),
                    },
                },
            };
            self.read_run(of_run, &mut run, &mut decoded);
            decoded.fault(at, fault);
        }
        self.read_run(of_run, &mut run, &mut decoded);
        Ok(decoded)
    }
}

/// The schema of a value, and its body.
fn frame(value: &[u8]) -> std::result::Result<(SchemaId, &[u8]), String> {
    match value {
        [0, rest @ ..] => match rest.split_first_chunk::<4>() {
            Some((id, body)) => Ok((SchemaId::Id(u32::from_be_bytes(*id)), body)),
            None => Err("the value ends within its frame".to_owned()),
        },
        [1, rest @ ..] => match rest.split_first_chunk::<16>() {
            Some((guid, body)) => Ok((SchemaId::Guid(*guid), body)),
            None => Err("the value ends within its frame".to_owned()),
        },
        [other, ..] => Err(format!(
            "found the byte {other:#04x} at the start of the value, expected a schema registry's frame (0x00 or 0x01)"
        )),
        [] => Err("the value is empty, expected a schema registry's frame".to_owned()),
    }
}

/// Where reading stopped: at a value, or, where it is none, behind all of them.
struct Stopped {
    at: Option<usize>,
    why: String,
}

impl Writer {
    fn new(id: SchemaId, schema: Value, columns: &Columns) -> std::result::Result<Self, String> {
        let (numbers, names): (Vec<usize>, Vec<&str>) =
            columns.of_values().map(|(number, column)| (number, column.name())).unzip();
        let places = schemas::places(&schema, names.into_iter())?;
        let mut fields: Vec<usize> = places.iter().copied().flatten().collect();
        fields.sort_unstable();
        fields.dedup();
        let columns = numbers.iter().zip(&places).filter_map(|(number, place)| {
            let place = (*place)?;
            Some((*number, fields.iter().position(|field| *field == place)?))
        });
        let columns = columns.collect();
        let number = if let SchemaId::Id(number) = id { number } else { NAMELESS };
        let [a, b, c, d] = number.to_be_bytes();
        let prefix = [0, a, b, c, d];
        let mut writer =
            Writer { schema: Arc::new(schema), prefix, number, fields, columns, decoder: None, single: None };
        writer.decoder = Some(writer.build(usize::MAX >> 1)?);
        Ok(writer)
    }

    /// A decoder that stops behind so many rows. Only fields that are needed are read.
    fn build(&self, rows: usize) -> std::result::Result<Decoder, String> {
        guarded(|| {
            let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
            store.set(Fingerprint::Id(self.number), AvroSchema::new(self.schema.to_string()))?;
            let builder = ReaderBuilder::new().with_batch_size(rows).with_writer_schema_store(store);
            // A reader of no field at all is refused; then all are read.
            let builder = if self.fields.is_empty() { builder } else { builder.with_projection(self.fields.clone()) };
            builder.build_decoder()
        })
    }

    /// Reads values, and finds those that cannot be read.
    fn read_all(&mut self, mut values: &[Framed<'_>], decoded: &mut Decoded) {
        while !values.is_empty() {
            let stopped = match self.read_batch(values) {
                Ok(batch) => return self.keep(values, &batch, decoded),
                Err(stopped) => stopped,
            };
            match stopped.at {
                Some(at) => {
                    self.read_all(&values[..at], decoded);
                    decoded.fault(values[at].record, stopped.why);
                    values = &values[at + 1..];
                }
                None if values.len() == 1 => {
                    decoded.fault(values[0].record, stopped.why);
                    return;
                }
                // One of them spoils the batch.
                None => {
                    let (first, second) = values.split_at(values.len() / 2);
                    self.read_all(first, decoded);
                    values = second;
                }
            }
        }
    }

    fn keep(&self, values: &[Framed<'_>], batch: &RecordBatch, decoded: &mut Decoded) {
        let columns = self.columns.iter().filter_map(|(number, place)| {
            // Without a projection no column is needed.
            let field = batch.schema_ref().fields().get(*place)?;
            Some((*number, Column { array: Arc::clone(batch.column(*place)), field: Arc::clone(field) }))
        });
        decoded.pieces.push(Piece { rows: values.len(), columns: columns.collect() });
        decoded.records.extend(values.iter().map(|value| value.record));
    }

    fn read_batch(&mut self, values: &[Framed<'_>]) -> std::result::Result<RecordBatch, Stopped> {
        let decoder = self.decoder.take().map_or_else(|| self.build(usize::MAX >> 1), Ok);
        let mut decoder = decoder.map_err(|why| Stopped { at: None, why })?;
        let mut frame = Vec::new();
        for (at, value) in values.iter().enumerate() {
            let bytes = self.framed(value.value, &mut frame);
            // Behind its body the decoder would take this for the beginning of the next value.
            if bytes.len() > PREFIX && bytes[PREFIX..].ends_with(&self.prefix) {
                self.read_single(bytes).map_err(|why| Stopped { at: Some(at), why })?;
            }
            let bytes = self.framed(value.value, &mut frame);
            read_one(&mut decoder, bytes).map_err(|why| Stopped { at: Some(at), why })?;
        }
        let batch =
            guarded(|| decoder.flush()).and_then(|batch| batch.ok_or_else(|| "the value holds no row".to_owned()));
        let batch =
            batch.map_err(|why| Stopped { at: None, why: format!("the value cannot be read as Avro: {why}") })?;
        if batch.num_rows() != values.len() {
            return Err(Stopped { at: None, why: "the value holds more rows than one".to_owned() });
        }
        // Arrow's decoder of unions counts on behind a batch, and so would name values that are not there.
        let has_union = |field: &&Arc<Field>| types::has_union(field.data_type());
        self.decoder = batch.schema_ref().fields().iter().find(has_union).is_none().then_some(decoder);
        Ok(batch)
    }

    /// The value in a frame that the decoder knows.
    fn framed<'a>(&self, value: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a [u8] {
        match frame(value) {
            Ok((SchemaId::Guid(_), body)) => {
                scratch.clear();
                scratch.extend_from_slice(&self.prefix);
                scratch.extend_from_slice(body);
                scratch
            }
            _ => value,
        }
    }

    fn read_single(&mut self, bytes: &[u8]) -> std::result::Result<(), String> {
        let mut decoder = self.single.take().map_or_else(|| self.build(1), Ok)?;
        read_one(&mut decoder, bytes)?;
        guarded(|| decoder.flush())?;
        self.single = Some(decoder);
        Ok(())
    }
}

/// Reads one value; after an error the decoder holds parts of it.
fn read_one(decoder: &mut Decoder, bytes: &[u8]) -> std::result::Result<(), String> {
    let before = decoder.capacity();
    let read = guarded(|| decoder.decode(bytes));
    match (read, before - decoder.capacity()) {
        (Ok(_), 0) => Err("the value ends within its body".to_owned()),
        (Ok(read), 1) if read == bytes.len() => Ok(()),
        (Err(why), 0) => Err(format!("the value cannot be read as Avro: {why}")),
        // Behind the row it would have read one more.
        _ => Err("the value has more bytes than its schema says".to_owned()),
    }
}
