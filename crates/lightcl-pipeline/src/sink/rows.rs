//! Outputs as rows of tables.

use arrow_array::builder::{Float32Builder, StringBuilder, UInt32Builder, UInt64Builder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use lightcl_core::{
    BoundaryEvent, Error, Evidence, ExpertReport, LayerReport, MergedTasks, PartBytes, Prediction, PrequentialReport,
    Result, StabilityReport,
};
use serde::Serialize;
use std::sync::Arc;

fn required(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, false)
}

fn optional(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

fn list(item: DataType, items_may_be_null: bool) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, items_may_be_null)))
}

fn structure(fields: Vec<Field>) -> DataType {
    DataType::Struct(fields.into())
}

/// Columns of the tables of predictions.
pub fn prediction_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        required("index", DataType::UInt64),
        required("partition", DataType::Utf8),
        required("offset", DataType::UInt64),
        optional("id", DataType::Utf8),
        optional("label", DataType::Utf8),
        optional("predicted", DataType::Utf8),
        optional("probability", DataType::Float32),
        required("task", DataType::UInt32),
        required("model_version", DataType::UInt64),
    ]))
}

/// Columns of the tables of boundary events.
pub fn boundary_schema() -> SchemaRef {
    let evidence = structure(vec![required("detector", DataType::Utf8), required("message", DataType::Utf8)]);
    Arc::new(Schema::new(vec![
        required("format", DataType::UInt32),
        required("task", DataType::UInt32),
        required("at", DataType::UInt64),
        required("detected_at", DataType::UInt64),
        required("partition", DataType::Utf8),
        required("offset", DataType::UInt64),
        required("estimated_at", DataType::UInt64),
        required("rolled_back", DataType::UInt64),
        required("evidence", list(evidence, false)),
        required("closed_task_labels", list(DataType::Utf8, false)),
        required("recurring", DataType::Boolean),
        optional("merged", structure(vec![required("gone", DataType::UInt32), required("into", DataType::UInt32)])),
    ]))
}

/// Columns of the tables of stability reports. A matrix is a list of rows; row `i` holds the accuracies after task `i`, or
/// after `matrix_after[i]` on `matrix_tasks` where those lists are not empty.
pub fn stability_schema() -> SchemaRef {
    let number = |name: &str| optional(name, DataType::Float64);
    let matrix = |name: &str| required(name, list(list(DataType::Float64, true), false));
    let prequential = structure(vec![
        number("accuracy"),
        number("window_accuracy"),
        number("fading_accuracy"),
        number("kappa"),
        number("no_change_accuracy"),
        number("majority_accuracy"),
    ]);
    let layer = structure(vec![
        required("layer", DataType::Utf8),
        required("channels", DataType::UInt64),
        required("vital_channels", DataType::UInt64),
        number("drift"),
    ]);
    let expert = structure(vec![required("expert", DataType::Utf8), required("weight", DataType::Float64)]);
    let part = structure(vec![required("part", DataType::Utf8), required("bytes", DataType::UInt64)]);
    Arc::new(Schema::new(vec![
        required("format", DataType::UInt32),
        required("samples", DataType::UInt64),
        required("task", DataType::UInt32),
        required("reason", DataType::Utf8),
        required("rejected", DataType::UInt64),
        required("trained_samples", DataType::UInt64),
        number("loss"),
        number("pattern_loss"),
        required("prequential", prequential),
        required("accuracy_source", DataType::Utf8),
        matrix("task_incremental"),
        matrix("class_incremental"),
        matrix("probe_task_incremental"),
        required("matrix_tasks", list(DataType::UInt32, false)),
        required("matrix_after", list(DataType::UInt32, false)),
        number("plasticity"),
        number("stability"),
        number("backward_transfer"),
        number("forgetting"),
        number("any_time_accuracy"),
        required("layers", list(layer, false)),
        required("experts", list(expert, false)),
        required("bytes", list(part, false)),
    ]))
}

/// Predictions that wait to become a batch.
#[derive(Default)]
pub(super) struct PredictionRows {
    rows: usize,
    index: UInt64Builder,
    partition: StringBuilder,
    offset: UInt64Builder,
    id: StringBuilder,
    label: StringBuilder,
    predicted: StringBuilder,
    probability: Float32Builder,
    task: UInt32Builder,
    model_version: UInt64Builder,
}

impl PredictionRows {
    pub fn len(&self) -> usize {
        self.rows
    }

    pub fn push(&mut self, prediction: &Prediction) {
        self.rows += 1;
        self.index.append_value(prediction.index);
        self.partition.append_value(&prediction.position.partition);
        self.offset.append_value(prediction.position.offset);
        self.id.append_option(prediction.id.as_deref());
        self.label.append_option(prediction.label.as_deref());
        self.predicted.append_option(prediction.predicted.as_deref());
        self.probability.append_option(prediction.probability);
        self.task.append_value(prediction.task);
        self.model_version.append_value(prediction.model_version);
    }

    /// The rows so far; none are left.
    pub fn take(&mut self) -> Result<RecordBatch> {
        self.rows = 0;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.index.finish()),
            Arc::new(self.partition.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.id.finish()),
            Arc::new(self.label.finish()),
            Arc::new(self.predicted.finish()),
            Arc::new(self.probability.finish()),
            Arc::new(self.task.finish()),
            Arc::new(self.model_version.finish()),
        ];
        RecordBatch::try_new(prediction_schema(), columns).map_err(no_table)
    }
}

#[derive(Serialize)]
struct BoundaryRow<'a> {
    format: u32,
    task: u32,
    at: u64,
    detected_at: u64,
    partition: &'a str,
    offset: u64,
    estimated_at: u64,
    rolled_back: u64,
    evidence: &'a [Evidence],
    closed_task_labels: &'a [String],
    recurring: bool,
    merged: Option<MergedTasks>,
}

/// Boundary events as a batch.
pub(super) fn boundary_rows(events: &[BoundaryEvent]) -> Result<RecordBatch> {
    let rows = events.iter().map(|event| BoundaryRow {
        format: event.format,
        task: event.task,
        at: event.at,
        detected_at: event.detected_at,
        partition: &event.position.partition,
        offset: event.position.offset,
        estimated_at: event.estimated_at,
        rolled_back: event.rolled_back,
        evidence: &event.evidence,
        closed_task_labels: &event.closed_task_labels,
        recurring: event.recurring,
        merged: event.merged,
    });
    table(boundary_schema(), &rows.collect::<Vec<_>>())
}

type Matrix<'a> = &'a [Vec<Option<f64>>];

#[derive(Serialize)]
struct StabilityRow<'a> {
    format: u32,
    samples: u64,
    task: u32,
    reason: &'a str,
    rejected: u64,
    trained_samples: u64,
    loss: Option<f64>,
    pattern_loss: Option<f64>,
    prequential: &'a PrequentialReport,
    accuracy_source: &'a str,
    task_incremental: Matrix<'a>,
    class_incremental: Matrix<'a>,
    probe_task_incremental: Matrix<'a>,
    matrix_tasks: &'a [u32],
    matrix_after: &'a [u32],
    plasticity: Option<f64>,
    stability: Option<f64>,
    backward_transfer: Option<f64>,
    forgetting: Option<f64>,
    any_time_accuracy: Option<f64>,
    layers: &'a [LayerReport],
    experts: &'a [ExpertReport],
    bytes: &'a [PartBytes],
}

/// Stability reports as a batch.
pub(super) fn stability_rows(reports: &[StabilityReport]) -> Result<RecordBatch> {
    let rows = reports.iter().map(|report| StabilityRow {
        format: report.format,
        samples: report.samples,
        task: report.task,
        reason: &report.reason,
        rejected: report.rejected,
        trained_samples: report.trained_samples,
        loss: report.loss,
        pattern_loss: report.pattern_loss,
        prequential: &report.prequential,
        accuracy_source: &report.accuracy_source,
        task_incremental: &report.task_incremental.rows,
        class_incremental: &report.class_incremental.rows,
        probe_task_incremental: &report.probe_task_incremental.rows,
        // All three matrices have their rows and columns in common.
        matrix_tasks: &report.task_incremental.tasks,
        matrix_after: &report.task_incremental.after,
        plasticity: report.plasticity,
        stability: report.stability,
        backward_transfer: report.backward_transfer,
        forgetting: report.forgetting,
        any_time_accuracy: report.any_time_accuracy,
        layers: &report.layers,
        experts: &report.experts,
        bytes: &report.bytes,
    });
    table(stability_schema(), &rows.collect::<Vec<_>>())
}

fn table<T: Serialize>(schema: SchemaRef, rows: &[T]) -> Result<RecordBatch> {
    let mut decoder = arrow_json::ReaderBuilder::new(Arc::clone(&schema)).build_decoder().map_err(no_table)?;
    decoder.serialize(rows).map_err(no_table)?;
    Ok(decoder.flush().map_err(no_table)?.unwrap_or_else(|| RecordBatch::new_empty(schema)))
}

fn no_table(error: ArrowError) -> Error {
    Error::internal("an output does not fit its table").caused_by(error)
}
