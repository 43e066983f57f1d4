//! `lightcl score`: predictions of a snapshot for rows in files.

use super::{InputType, ScoreArgs, ScoreFormat, follow};
use crate::sink::read_snapshot;
use crate::source::{self, FileKind, FileSourceConfig};
use arrow_array::builder::{Float32Builder, StringBuilder, UInt64Builder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use lightcl_core::{Error, PositionedBatch, Result, Source};
use lightcl_pipeline::model::Model;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Predicts the labels of rows with a snapshot, or of events with the newest one that is published. Rows that cannot be scored stand in the output with the reason in `error`.
///
/// # Errors
/// When snapshot or input cannot be read, or predictions cannot be written.
pub fn run(args: &ScoreArgs) -> Result<()> {
    if let Some(pipeline) = &args.follow {
        return follow::run(pipeline, &args.set);
    }
    let (Some(snapshot), Some(input)) = (&args.snapshot, &args.input) else {
        return Err(Error::user("name a snapshot and the rows to score, or --follow with a pipeline"));
    };
    let mut model = Model::from_snapshot(&read_snapshot(snapshot)?)?;
    let mut input = source::open(FileSourceConfig::new(input_kind(args, input)?, input))?;
    model.encoder.bind(&input.schema())?;
    let mut scorer = Scorer { model, rows: 0 };
    match &args.output {
        Some(path) => {
            let format = args.format.unwrap_or_else(|| format_of(path));
            let partial = PathBuf::from(format!("{}.partial", path.display()));
            let result = File::create(&partial)
                .map_err(|error| cannot_write(path, error))
                .and_then(|file| score_all(input.as_mut(), &mut scorer, format, BufWriter::new(file)))
                .and_then(|()| fs::rename(&partial, path).map_err(|error| cannot_write(path, error)));
            if result.is_err() {
                // What is there is of no use; that it cannot be removed would hide the error.
                let _ = fs::remove_file(&partial);
            }
            result
        }
        None => {
            let format = args.format.unwrap_or(ScoreFormat::Jsonl);
            score_all(input.as_mut(), &mut scorer, format, BufWriter::new(io::stdout()))
        }
    }
}

fn cannot_write(path: &Path, error: io::Error) -> Error {
    Error::external("cannot write predictions").with("file", path.display()).caused_by(error)
}

fn input_kind(args: &ScoreArgs, input: &str) -> Result<FileKind> {
    match args.kind {
        Some(InputType::Arrow) => Ok(FileKind::Arrow),
        Some(InputType::Parquet) => Ok(FileKind::Parquet),
        Some(InputType::Csv) => Ok(FileKind::Csv),
        Some(InputType::Jsonl) => Ok(FileKind::Jsonl),
        None => FileKind::of_path(input).ok_or_else(|| {
            Error::user("the name of the input does not tell how it is encoded; say so with --type")
                .with("input", input)
        }),
    }
}

fn format_of(path: &Path) -> ScoreFormat {
    match path.to_str().and_then(FileKind::of_path) {
        Some(FileKind::Parquet) => ScoreFormat::Parquet,
        Some(FileKind::Arrow) => ScoreFormat::Arrow,
        Some(FileKind::Csv) => ScoreFormat::Csv,
        _ => ScoreFormat::Jsonl,
    }
}

fn columns() -> SchemaRef {
    let field = |name: &str, kind, nullable| Field::new(name, kind, nullable);
    Arc::new(Schema::new(vec![
        field("index", DataType::UInt64, false),
        field("partition", DataType::Utf8, false),
        field("offset", DataType::UInt64, false),
        field("id", DataType::Utf8, true),
        field("label", DataType::Utf8, true),
        field("predicted", DataType::Utf8, true),
        field("probability", DataType::Float32, true),
        field("error", DataType::Utf8, true),
    ]))
}

struct Scorer {
    model: Model,
    rows: u64,
}

impl Scorer {
    fn score(&mut self, batch: &PositionedBatch) -> Result<RecordBatch> {
        let (mut index, mut offset) = (UInt64Builder::new(), UInt64Builder::new());
        let (mut partition, mut id, mut label) = (StringBuilder::new(), StringBuilder::new(), StringBuilder::new());
        let (mut predicted, mut error) = (StringBuilder::new(), StringBuilder::new());
        let mut probability = Float32Builder::new();
        for (number, row) in self.model.score(batch, self.rows)?.enumerate() {
            index.append_value(self.rows + number as u64);
            partition.append_value(&batch.partition);
            offset.append_value(batch.offset_of(number));
            match row {
                Ok(row) => {
                    error.append_null();
                    id.append_option(row.id);
                    label.append_option(row.label);
                    predicted.append_option(row.predicted);
                    probability.append_option(row.probability);
                }
                Err(letter) => {
                    error.append_value(letter.message);
                    id.append_null();
                    label.append_null();
                    predicted.append_null();
                    probability.append_null();
                }
            }
        }
        self.rows += batch.batch.num_rows() as u64;
        let values: Vec<ArrayRef> = vec![
            Arc::new(index.finish()),
            Arc::new(partition.finish()),
            Arc::new(offset.finish()),
            Arc::new(id.finish()),
            Arc::new(label.finish()),
            Arc::new(predicted.finish()),
            Arc::new(probability.finish()),
            Arc::new(error.finish()),
        ];
        RecordBatch::try_new(columns(), values)
            .map_err(|error| Error::internal("predictions do not fit their columns").caused_by(error))
    }
}

fn score_all(
    input: &mut dyn Source,
    scorer: &mut Scorer,
    format: ScoreFormat,
    output: impl Write + Send,
) -> Result<()> {
    let failed =
        |error: Box<dyn std::error::Error + Send + Sync>| Error::external("cannot write predictions").caused_by(error);
    let mut batches = std::iter::from_fn(|| {
        let batch = match input.next() {
            Ok(Some(batch)) => batch,
            Ok(None) => return None,
            Err(error) => return Some(Err(error)),
        };
        Some(scorer.score(&batch))
    });
    match format {
        ScoreFormat::Jsonl => {
            let mut output = output;
            let mut writer = arrow_json::LineDelimitedWriter::new(&mut output);
            batches.try_for_each(|batch| writer.write(&batch?).map_err(|error| failed(error.into())))?;
            writer.finish().map_err(|error| failed(error.into()))?;
            output.flush().map_err(|error| failed(error.into()))
        }
        ScoreFormat::Csv => {
            let mut output = output;
            let mut writer = arrow_csv::Writer::new(&mut output);
            batches.try_for_each(|batch| writer.write(&batch?).map_err(|error| failed(error.into())))?;
            drop(writer);
            output.flush().map_err(|error| failed(error.into()))
        }
        ScoreFormat::Arrow => {
            let mut writer =
                arrow_ipc::writer::FileWriter::try_new(output, &columns()).map_err(|error| failed(error.into()))?;
            batches.try_for_each(|batch| writer.write(&batch?).map_err(|error| failed(error.into())))?;
            writer.finish().map_err(|error| failed(error.into()))?;
            let mut output = writer.into_inner().map_err(|error| failed(error.into()))?;
            output.flush().map_err(|error| failed(error.into()))
        }
        ScoreFormat::Parquet => {
            let mut writer =
                parquet::arrow::ArrowWriter::try_new(output, columns(), None).map_err(|error| failed(error.into()))?;
            batches.try_for_each(|batch| writer.write(&batch?).map_err(|error| failed(error.into())))?;
            let mut output = writer.into_inner().map_err(|error| failed(error.into()))?;
            output.flush().map_err(|error| failed(error.into()))
        }
    }
}
