//! Predictions as values: JSON or Avro, one a record; Arrow, many a record.

mod avro;

use crate::config::{RegistryAddress, ValueFormat};
use crate::format::registry::Registry;
use crate::outbox::TopicPartition;
use arrow_array::builder::{Float32Builder, Int32Builder, StringBuilder, UInt32Builder, UInt64Builder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use lightcl_core::{Error, Prediction, Result};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// Rows in a record of Arrow, at most: well below a megabyte.
const ARROW_ROWS: usize = 4096;

/// The number under which the schema registry has the schema of predictions, asked for once.
#[derive(Default)]
pub struct PredictionSchema(OnceLock<u32>);

impl PredictionSchema {
    /// Registers the schema for the values of a topic, unless that was done.
    ///
    /// # Errors
    /// When the registry does not take it; retryable where it does not answer.
    pub fn id(&self, registry: Option<&RegistryAddress>, topic: &str) -> Result<u32> {
        if let Some(id) = self.0.get() {
            return Ok(*id);
        }
        let RegistryAddress { address, auth } = registry.ok_or_else(|| {
            Error::user("predictions as Avro need the address of the schema registry: set source.registry")
        })?;
        let id = Registry::new(address, auth.as_ref())?.register(&format!("{topic}-value"), avro::SCHEMA)?;
        Ok(*self.0.get_or_init(|| id))
    }
}

/// The form of a prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Arrow,
    Avro(u32),
}

/// Writes predictions in the form asked for.
pub struct PredictionWriter {
    form: Form,
    /// Rows that wait to become a record of Arrow, by partition.
    rows: BTreeMap<Option<i32>, Rows>,
    full: Vec<(Option<i32>, Vec<u8>)>,
}

impl PredictionWriter {
    /// A writer; Avro needs the number of its schema.
    pub fn new(format: ValueFormat, schema_id: Option<u32>) -> Result<Self> {
        let form = match (format, schema_id) {
            (ValueFormat::Json, _) => Form::Json,
            (ValueFormat::Arrow, _) => Form::Arrow,
            (ValueFormat::Avro, Some(id)) => Form::Avro(id),
            (ValueFormat::Avro, None) => return Err(Error::internal("predictions as Avro without a schema")),
        };
        Ok(PredictionWriter { form, rows: BTreeMap::new(), full: Vec::new() })
    }

    /// Adds a prediction, and gives its value where it is a record by itself.
    pub fn add(
        &mut self,
        unit: &str,
        source: &TopicPartition,
        prediction: &Prediction,
        partition: Option<i32>,
    ) -> Result<Option<Vec<u8>>> {
        match self.form {
            Form::Json => json(unit, source, prediction).map(Some),
            Form::Avro(schema_id) => Ok(Some(avro::encode(schema_id, unit, source, prediction))),
            Form::Arrow => {
                let rows = self.rows.entry(partition).or_default();
                rows.push(unit, source, prediction);
                if rows.count == ARROW_ROWS {
                    let value = rows.take()?;
                    self.full.push((partition, value));
                }
                Ok(None)
            }
        }
    }

    /// Bytes of the rows that wait, roughly.
    pub fn bytes(&self) -> usize {
        let rows: usize = self.rows.values().map(|rows| rows.count * 96).sum();
        rows + self.full.iter().map(|(_, value)| value.len()).sum::<usize>()
    }

    /// The records of what waits.
    pub fn finish(&mut self) -> Result<Vec<(Option<i32>, Vec<u8>)>> {
        let mut values = std::mem::take(&mut self.full);
        for (partition, rows) in self.rows.iter_mut().filter(|(_, rows)| rows.count > 0) {
            values.push((*partition, rows.take()?));
        }
        Ok(values)
    }
}

fn json(unit: &str, source: &TopicPartition, prediction: &Prediction) -> Result<Vec<u8>> {
    #[derive(serde::Serialize)]
    struct Value<'a> {
        source_topic: &'a str,
        source_partition: i32,
        source_offset: u64,
        unit: &'a str,
        index: u64,
        id: &'a Option<String>,
        label: &'a Option<String>,
        predicted: &'a Option<String>,
        probability: Option<f32>,
        task: u32,
        model_version: u64,
    }
    let Prediction { index, position, id, label, predicted, probability, task, model_version } = prediction;
    let value = Value {
        source_topic: &source.topic,
        source_partition: source.partition,
        source_offset: position.offset,
        unit,
        index: *index,
        id,
        label,
        predicted,
        probability: *probability,
        task: *task,
        model_version: *model_version,
    };
    serde_json::to_vec(&value).map_err(|error| Error::internal("a prediction has no JSON form").caused_by(error))
}

/// Columns of a record of Arrow.
pub fn arrow_schema() -> SchemaRef {
    let field = |name: &str, kind, nullable| Field::new(name, kind, nullable);
    Arc::new(Schema::new(vec![
        field("source_topic", DataType::Utf8, false),
        field("source_partition", DataType::Int32, false),
        field("source_offset", DataType::UInt64, false),
        field("unit", DataType::Utf8, false),
        field("index", DataType::UInt64, false),
        field("id", DataType::Utf8, true),
        field("label", DataType::Utf8, true),
        field("predicted", DataType::Utf8, true),
        field("probability", DataType::Float32, true),
        field("task", DataType::UInt32, false),
        field("model_version", DataType::UInt64, false),
    ]))
}

#[derive(Default)]
struct Rows {
    count: usize,
    topic: StringBuilder,
    partition: Int32Builder,
    offset: UInt64Builder,
    unit: StringBuilder,
    index: UInt64Builder,
    id: StringBuilder,
    label: StringBuilder,
    predicted: StringBuilder,
    probability: Float32Builder,
    task: UInt32Builder,
    model_version: UInt64Builder,
}

impl Rows {
    fn push(&mut self, unit: &str, source: &TopicPartition, prediction: &Prediction) {
        self.count += 1;
        self.topic.append_value(&source.topic);
        self.partition.append_value(source.partition);
        self.offset.append_value(prediction.position.offset);
        self.unit.append_value(unit);
        self.index.append_value(prediction.index);
        self.id.append_option(prediction.id.as_deref());
        self.label.append_option(prediction.label.as_deref());
        self.predicted.append_option(prediction.predicted.as_deref());
        self.probability.append_option(prediction.probability);
        self.task.append_value(prediction.task);
        self.model_version.append_value(prediction.model_version);
    }

    fn take(&mut self) -> Result<Vec<u8>> {
        self.count = 0;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.topic.finish()),
            Arc::new(self.partition.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.unit.finish()),
            Arc::new(self.index.finish()),
            Arc::new(self.id.finish()),
            Arc::new(self.label.finish()),
            Arc::new(self.predicted.finish()),
            Arc::new(self.probability.finish()),
            Arc::new(self.task.finish()),
            Arc::new(self.model_version.finish()),
        ];
        let failed = |error| Error::internal("predictions do not fit their columns").caused_by(error);
        let schema = arrow_schema();
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).map_err(failed)?;
        let mut writer = StreamWriter::try_new(Vec::new(), &schema).map_err(failed)?;
        writer.write(&batch).map_err(failed)?;
        writer.into_inner().map_err(failed)
    }
}
