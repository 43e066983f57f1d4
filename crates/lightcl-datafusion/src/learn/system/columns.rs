//! The columns of the system tables.

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;

/// A system table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One row a learner or model.
    Models,
    /// One row a published model.
    Snapshots,
    /// One row a stability report.
    Stability,
    /// One row a boundary.
    Boundaries,
    /// One row for each row that could not be used.
    DeadLetters,
    /// One row a plastic layer and stability report.
    Layers,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 6] =
        [Kind::Models, Kind::Snapshots, Kind::Stability, Kind::Boundaries, Kind::DeadLetters, Kind::Layers];

    /// Its name in the schema `lightcl`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Models => "models",
            Kind::Snapshots => "snapshots",
            Kind::Stability => "stability",
            Kind::Boundaries => "boundaries",
            Kind::DeadLetters => "dead_letters",
            Kind::Layers => "layers",
        }
    }

    /// Its columns.
    pub fn schema(self) -> SchemaRef {
        let fields = match self {
            Kind::Models => models(),
            Kind::Snapshots => snapshots(),
            Kind::Stability => stability(),
            Kind::Boundaries => boundaries(),
            Kind::DeadLetters => dead_letters(),
            Kind::Layers => layers(),
        };
        Arc::new(Schema::new(fields))
    }
}

fn required(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, false)
}

fn optional(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// The learner's name, which all tables begin with.
fn model() -> Field {
    required("model", DataType::Utf8)
}

/// Numbers of rows and bytes; accuracies are in `[0, 1]`.
fn models() -> Vec<Field> {
    vec![
        required("name", DataType::Utf8),
        // The output folder or snapshot; null where nothing is kept.
        optional("location", DataType::Utf8),
        // Whether a statement of this session trains it now.
        required("training", DataType::Boolean),
        optional("method", DataType::Utf8),
        optional("backbone", DataType::Utf8),
        // Of the newest snapshot; 0 before the first.
        required("version", DataType::UInt64),
        // The task that is being learnt.
        optional("task", DataType::UInt32),
        // Rows read: now, while it trains, else when it was last reported.
        optional("samples", DataType::UInt64),
        optional("prequential_accuracy", DataType::Float64),
        // Number of the last commit; 0 before the first.
        required("epoch", DataType::UInt64),
        // The next offset of each partition, as a JSON object.
        optional("positions", DataType::Utf8),
        optional("state_bytes", DataType::UInt64),
        optional("state_sha256", DataType::Utf8),
        // Why the folder cannot be read.
        optional("error", DataType::Utf8),
    ]
}

fn snapshots() -> Vec<Field> {
    vec![
        model(),
        required("version", DataType::UInt64),
        optional("parent", DataType::UInt64),
        required("task", DataType::UInt32),
        // boundary, interval, end or merge.
        required("reason", DataType::Utf8),
        required("samples", DataType::UInt64),
        required("trained_samples", DataType::UInt64),
        required("steps", DataType::UInt64),
        optional("prequential_accuracy", DataType::Float64),
        optional("plasticity", DataType::Float64),
        optional("stability", DataType::Float64),
        required("config_sha256", DataType::Utf8),
        // Of all weights, those shared with other versions included.
        required("bytes", DataType::UInt64),
        // Where it is, or will be when it is committed; null where nothing is kept.
        optional("location", DataType::Utf8),
        required("committed", DataType::Boolean),
    ]
}

fn stability() -> Vec<Field> {
    let number = |name: &str| optional(name, DataType::Float64);
    vec![
        model(),
        required("samples", DataType::UInt64),
        required("task", DataType::UInt32),
        // boundary, interval or end.
        required("reason", DataType::Utf8),
        required("rejected", DataType::UInt64),
        required("trained_samples", DataType::UInt64),
        number("loss"),
        number("pattern_loss"),
        number("prequential_accuracy"),
        number("window_accuracy"),
        number("fading_accuracy"),
        number("kappa"),
        number("no_change_accuracy"),
        number("majority_accuracy"),
        // evaluate or probes.
        required("accuracy_source", DataType::Utf8),
        // Row i: accuracies on the tasks after visit i.
        required("task_incremental", list(list(DataType::Float64))),
        required("class_incremental", list(list(DataType::Float64))),
        // What columns and rows stand for; empty where they are tasks 0, 1, ..
        required("matrix_tasks", list(DataType::UInt32)),
        required("matrix_after", list(DataType::UInt32)),
        number("plasticity"),
        number("stability"),
        number("backward_transfer"),
        number("forgetting"),
        number("any_time_accuracy"),
        required("bytes", DataType::UInt64),
        required("committed", DataType::Boolean),
    ]
}

fn boundaries() -> Vec<Field> {
    let evidence =
        DataType::Struct(vec![required("detector", DataType::Utf8), required("message", DataType::Utf8)].into());
    vec![
        model(),
        required("task", DataType::UInt32),
        required("recurring", DataType::Boolean),
        // Numbers of rows in the learner's stream.
        required("at", DataType::UInt64),
        required("estimated_at", DataType::UInt64),
        required("detected_at", DataType::UInt64),
        required("partition", DataType::Utf8),
        required("offset", DataType::UInt64),
        required("rolled_back", DataType::UInt64),
        required("evidence", list(evidence)),
        required("closed_task_labels", list(DataType::Utf8)),
        // The task that is gone, and the one that it went into.
        optional("merged_task", DataType::UInt32),
        optional("merged_into", DataType::UInt32),
        required("committed", DataType::Boolean),
    ]
}

fn dead_letters() -> Vec<Field> {
    vec![
        model(),
        required("index", DataType::UInt64),
        required("partition", DataType::Utf8),
        required("offset", DataType::UInt64),
        required("reason", DataType::Utf8),
        optional("column", DataType::Utf8),
        required("message", DataType::Utf8),
        required("payload", DataType::Utf8),
        required("committed", DataType::Boolean),
    ]
}

fn layers() -> Vec<Field> {
    vec![
        model(),
        required("samples", DataType::UInt64),
        required("task", DataType::UInt32),
        required("layer", DataType::Utf8),
        required("channels", DataType::UInt64),
        required("vital_channels", DataType::UInt64),
        // Share of channels that are vital, in [0, 1].
        required("occupancy", DataType::Float64),
        // Relative drift of the reference maps; null while there is none.
        optional("drift", DataType::Float64),
        required("committed", DataType::Boolean),
    ]
}
