//! What the operator's tests share: a small learner whose every step can be followed, detectors that do as they are
//! told, and rows.
#![allow(dead_code, reason = "each test program uses its own part of it")]

use arrow_array::{ArrayRef, Float32Array, Int64Array, RecordBatch, StringArray};
use lightcl_core::*;
use lightcl_stream::encode::{Encoder, EncoderConfig};
use lightcl_stream::{Operator, OperatorConfig};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A nearest-class-mean learner that writes down what it was told, in order.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct NearestMean {
    pub sums: BTreeMap<ClassId, (u64, Vec<f64>)>,
    pub calls: Vec<Call>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Call {
    Begin(Vec<u64>),
    Resume(Vec<u64>, Vec<ClassId>),
    Learn(Vec<u64>),
    End(Vec<u64>),
}

fn indices(samples: &Samples) -> Vec<u64> {
    samples.meta.iter().map(|meta| meta.index).collect()
}

impl Stateful for NearestMean {
    fn save(&self) -> Result<Vec<u8>> {
        state::encode("nearest_mean", 1, self)
    }
    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        *self = state::decode("nearest_mean", 1, bytes)?;
        Ok(())
    }
}

impl Learner for NearestMean {
    fn score(&self, samples: &Samples) -> Result<Logits> {
        self.score_embedding(&self.embed(samples)?)
    }
    fn learn(&mut self, window: &Samples) -> Result<LearnReport> {
        self.calls.push(Call::Learn(indices(window)));
        let mut report = LearnReport { steps: 1, loss: 0.5, ..LearnReport::default() };
        for row in 0..window.len() {
            if window.row(row).iter().any(|v| v.abs() > 1e6) {
                report.rejected_rows.push(row);
                continue;
            }
            let (count, sum) = self.sums.entry(window.labels[row]).or_insert_with(|| (0, vec![0.0; window.width()]));
            *count += 1;
            sum.iter_mut().zip(window.row(row)).for_each(|(s, &v)| *s += f64::from(v));
        }
        Ok(report)
    }
    fn end_task(&mut self, importance: &Samples) -> Result<()> {
        self.calls.push(Call::End(indices(importance)));
        Ok(())
    }
    fn begin_task(&mut self, first: &Samples) -> Result<()> {
        self.calls.push(Call::Begin(indices(first)));
        Ok(())
    }
    fn resume_task(&mut self, first: &Samples, classes: &[ClassId]) -> Result<()> {
        self.calls.push(Call::Resume(indices(first), classes.to_vec()));
        Ok(())
    }
    fn snapshot(&self) -> Result<LearnerSnapshot> {
        let blobs = vec![Blob { role: "suffix".into(), bytes: Arc::new(self.save()?) }];
        Ok(LearnerSnapshot { description: serde_json::json!({ "method": "nearest_mean" }), blobs })
    }
    fn fork(&self) -> Box<dyn Learner> {
        Box::new(self.clone())
    }
    fn is_prefix_frozen(&self) -> bool {
        self.calls.iter().filter(|call| matches!(call, Call::Begin(_))).count() > 1
    }
    fn embed(&self, samples: &Samples) -> Result<Embedding> {
        Ok(Embedding { shape: samples.shape.clone(), values: samples.features.clone() })
    }
    fn score_embedding(&self, embedding: &Embedding) -> Result<Logits> {
        let classes = self.sums.keys().next_back().map_or(0, |&last| last as usize + 1);
        let width: usize = embedding.shape.iter().product();
        let mut values = Vec::new();
        for row in embedding.values.chunks_exact(width) {
            for class in 0..classes as ClassId {
                values.push(self.sums.get(&class).map_or(-1e9, |(count, sum)| {
                    let distance = |(&v, s): (&f32, &f64)| (f64::from(v) - s / *count as f64).powi(2);
                    -row.iter().zip(sum).map(distance).sum::<f64>() as f32
                }));
            }
        }
        Ok(Logits { classes, values })
    }
    fn layers(&self) -> Result<Vec<LayerReport>> {
        Ok(Vec::new())
    }
    fn bytes(&self) -> Vec<PartBytes> {
        vec![PartBytes { part: "means".into(), bytes: self.sums.len() as u64 * 8 }]
    }
}

/// Fires at the given samples: `(noticed at, change point)`; `task_key` changes fire at once when `by_key` is set.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Scripted {
    pub script: Vec<(u64, u64)>,
    pub by_key: bool,
    pub key: Option<String>,
}

impl Stateful for Scripted {
    fn save(&self) -> Result<Vec<u8>> {
        state::encode("scripted", 1, &self.key)
    }
    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        self.key = state::decode("scripted", 1, bytes)?;
        Ok(())
    }
}

impl BoundaryDetector for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }
    fn observe(&mut self, seen: &Observation<'_>) -> Verdict {
        let evidence = vec![Evidence::new("scripted", "told to")];
        let key = seen.task_key.map(str::to_owned);
        let changed = self.by_key && self.key.is_some() && self.key != key;
        self.key = key;
        if changed {
            return Verdict::Boundary { at: seen.index, evidence };
        }
        match self.script.iter().find(|(noticed, _)| *noticed == seen.index) {
            Some(&(_, at)) => Verdict::Boundary { at, evidence },
            None => Verdict::Stable,
        }
    }
    fn reset(&mut self) {}
}

/// `tasks` tasks of `rows` rows; task `t` has labels `2t` and `2t + 1`, a number column near the label and the task's
/// name. Row `i` of the stream is bad (null) where `bad(i)`.
pub fn rows(tasks: usize, rows: usize, bad: impl Fn(usize) -> bool) -> RecordBatch {
    let visits: Vec<_> = (0..tasks).map(|task| Visit { name: format!("t{task}"), centre: 20 * task, rows }).collect();
    visited(&visits, |task| 2 * task as i64, bad)
}

/// One stretch of a stream.
pub struct Visit {
    pub name: String,
    /// Where the number column lies.
    pub centre: usize,
    pub rows: usize,
}

/// Visits of regimes one after another; each has two labels, the first given by `label`.
pub fn visited(visits: &[Visit], label: impl Fn(usize) -> i64, bad: impl Fn(usize) -> bool) -> RecordBatch {
    let (mut x, mut y, mut labels, mut names) = (vec![], vec![], vec![], vec![]);
    for (number, visit) in visits.iter().enumerate() {
        for _ in 0..visit.rows {
            let i = x.len();
            let second = (i * 7 + i / 3) % 2;
            let value = visit.centre as f32 + second as f32 * 10.0 + ((i * 37) % 11) as f32 * 0.3;
            x.push((!bad(i)).then_some(value));
            y.push(Some(((i * 13) % 7) as f32));
            labels.push(Some(label(number) + second as i64));
            names.push(Some(visit.name.clone()));
        }
    }
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("x", Arc::new(Float32Array::from(x))),
        ("y", Arc::new(Float32Array::from(y))),
        ("label", Arc::new(Int64Array::from(labels))),
        ("task", Arc::new(StringArray::from(names))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

pub fn positioned(batch: &RecordBatch, start: usize, end: usize) -> PositionedBatch {
    PositionedBatch {
        batch: batch.slice(start, end - start),
        partition: Arc::from("rows"),
        offsets: RowOffsets::From(start as u64),
        faults: Vec::new(),
    }
}

pub fn config() -> OperatorConfig {
    OperatorConfig {
        batch_samples: 8,
        window_samples: 32,
        rollback_windows: 4,
        probe_samples: 8,
        emit_predictions: true,
        ..OperatorConfig::new("test")
    }
}

pub fn encoder(batch: &RecordBatch, standardize: bool) -> Encoder {
    let config = EncoderConfig {
        task: Some("task".into()),
        standardize,
        max_classes: 100,
        ..EncoderConfig::new(["x", "y"], "label")
    };
    Encoder::new(config, &batch.schema()).unwrap()
}

pub fn operator(config: OperatorConfig, batch: &RecordBatch, detector: impl BoundaryDetector + 'static) -> Operator {
    let make = Box::new(|_: &[usize]| Ok(Box::new(NearestMean::default()) as Box<dyn Learner>));
    Operator::new(config, encoder(batch, false), Box::new(detector), make).unwrap()
}

/// Pushes everything in pieces of the given sizes (repeated) and ends the input.
pub fn run_in_pieces(operator: &mut Operator, batch: &RecordBatch, sizes: &[usize]) -> Vec<Output> {
    let mut outputs = Vec::new();
    let mut start = operator.positions().next("rows") as usize;
    for size in sizes.iter().cycle() {
        if start >= batch.num_rows() {
            break;
        }
        let end = (start + size).min(batch.num_rows());
        outputs.extend(operator.push(&positioned(batch, start, end)).unwrap());
        start = end;
    }
    outputs.extend(operator.finish().unwrap());
    outputs
}

/// What the learner was told up to the last snapshot.
pub fn calls(outputs: &[Output]) -> Vec<Call> {
    let snapshot = outputs.iter().rev().find_map(|output| match output {
        Output::Snapshot(snapshot) => Some(snapshot),
        _ => None,
    });
    let mut learner = NearestMean::default();
    learner.restore(&snapshot.expect("a snapshot").blobs[0].bytes).unwrap();
    learner.calls
}

pub fn boundaries(outputs: &[Output]) -> Vec<BoundaryEvent> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Boundary(event) => Some(event.clone()),
            _ => None,
        })
        .collect()
}
