//! The operator inside your own program: rows in, outputs out, state to keep where you like.
//!
//!     cargo run -p lightcl --example embed

use arrow_array::{ArrayRef, Float32Array, Int64Array, RecordBatch};
use lightcl_boundary::{DetectorConfigs, build};
use lightcl_core::{Error, Learner, Output, PositionedBatch, Result, RowOffsets, Stateful};
use lightcl_learner::{LearnerConfig, LightClLearner};
use lightcl_stream::encode::{Encoder, EncoderConfig};
use lightcl_stream::{Operator, OperatorConfig};
use std::sync::Arc;

/// A thousand rows: two numbers and a label. The labels are 0 and 1 first, 2 and 3 later.
fn rows(start: i64) -> Result<RecordBatch> {
    let label = |i: i64| (start + i) / 2000 * 2 + i % 2;
    let x = (0..1000).map(|i| label(i) as f32 + 0.3 * (i % 3 - 1) as f32).collect::<Float32Array>();
    let y = (0..1000).map(|i| (i % 7) as f32 / 7.0).collect::<Float32Array>();
    let labels = (0..1000).map(|i| Some(label(i))).collect::<Int64Array>();
    let columns: [(&str, ArrayRef); 3] = [("x", Arc::new(x)), ("y", Arc::new(y)), ("label", Arc::new(labels))];
    RecordBatch::try_from_iter(columns).map_err(|error| Error::internal("columns of unequal length").caused_by(error))
}

fn main() -> Result<()> {
    let encoder = Encoder::new(EncoderConfig::new(["x", "y"], "label"), &rows(0)?.schema())?;
    let detector = build(&["new_classes".to_owned()], &DetectorConfigs::default())?;
    let make_learner = Box::new(|shape: &[usize]| -> Result<Box<dyn Learner>> {
        let config = LearnerConfig { learning_rate: 0.05, passes: 3, ..LearnerConfig::default() };
        Ok(Box::new(LightClLearner::new(config, shape, None)?))
    });
    let mut operator = Operator::new(OperatorConfig::new("embedded"), encoder, detector, make_learner)?;
    for start in (0..4000).step_by(1000) {
        let batch = rows(start as i64)?;
        let positioned =
            PositionedBatch { batch, partition: Arc::from("rows"), offsets: RowOffsets::From(start), faults: vec![] };
        for output in operator.push(&positioned)? {
            if let Output::Boundary(event) = output {
                println!("task {} begins at row {}: {}", event.task, event.at, event.evidence[0].message);
            }
        }
    }
    operator.finish()?;
    println!("{} bytes of state to keep", operator.save()?.len());
    println!("accuracy on held-out rows of all tasks: {:?}", operator.summary()?.task_il);
    Ok(())
}
