//! Plans that are sent to other processes, piece by piece: what a codec of a distributed engine needs.
//!
//! Every function gives nothing for what is none of this crate's, so that a codec can ask the next. All processes of a cluster
//! run the same version of this crate.

use crate::kafka::{KafkaRangesExec, KafkaTable, Ranges, Statement};
use crate::learn::{KeyedOptions, LearnByKeyExec, LearnByKeyNode};
use arrow_schema::SchemaRef;
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::catalog::TableProvider;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_plan::ExecutionPlan;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::absolute;
use std::sync::Arc;

pub use crate::score::PinnedFunctions;

/// A physical operator on its way.
#[derive(Serialize, Deserialize)]
enum SentOperator {
    LearnByKey {
        options: KeyedOptions,
        range: String,
    },
    /// With the columns of the table as a stream of Arrow without rows.
    KafkaRanges {
        scan: Ranges,
        columns: Vec<u8>,
    },
}

/// A node of a logical plan.
///
/// # Errors
/// When it cannot be run on a cluster, or has no such form.
pub fn encode_node(node: &dyn UserDefinedLogicalNode) -> Result<Option<Vec<u8>>> {
    if let Some(node) = node.as_any().downcast_ref::<LearnByKeyNode>() {
        return write(&located(node.options())?).map(Some);
    }
    if node.as_any().is::<crate::learn::LearnNode>() {
        return Err(DataFusionError::Plan(
            "lightcl_learn passes every row by one learner, in one process: run it on a session without a cluster, or train a \
             learner for each key with lightcl_learn_by_key"
                .to_owned(),
        ));
    }
    Ok(None)
}

/// The node that [`encode_node`] gave.
///
/// # Errors
/// When it is none, or does not fit its input.
pub fn decode_node(sent: &[u8], inputs: &[LogicalPlan]) -> Result<Arc<dyn UserDefinedLogicalNode>> {
    let [input] = inputs else { return Err(DataFusionError::Internal("LearnByKey has one input".to_owned())) };
    Ok(Arc::new(LearnByKeyNode::new(input.clone(), read(sent)?)?))
}

/// A table, of which what made it is sent.
///
/// # Errors
/// When it is a learner's, or has no such form.
pub fn encode_table(table: &dyn TableProvider) -> Result<Option<Vec<u8>>> {
    if let Some(table) = table.downcast_ref::<KafkaTable>() {
        return write(table.statement()).map(Some);
    }
    if table.is::<crate::learn::LearnerTable>() {
        return Err(DataFusionError::Plan(
            "a learner's table is trained by one process: insert on a session without a cluster, or train a learner for each \
             key with lightcl_learn_by_key"
                .to_owned(),
        ));
    }
    Ok(None)
}

/// The table that [`encode_table`] gave.
///
/// # Errors
/// When it is none, or has no end.
pub fn decode_table(sent: &[u8], schema: SchemaRef) -> Result<Arc<dyn TableProvider>> {
    let statement: Statement = read(sent)?;
    Ok(Arc::new(KafkaTable::remote(statement, schema)?))
}

/// An operator of a physical plan.
///
/// # Errors
/// When it has no such form.
pub fn encode_operator(operator: &dyn ExecutionPlan) -> Result<Option<Vec<u8>>> {
    let sent = if let Some(learn) = operator.downcast_ref::<LearnByKeyExec>() {
        SentOperator::LearnByKey { options: located(learn.options())?, range: learn.range().to_owned() }
    } else if let Some(scan) = operator.downcast_ref::<KafkaRangesExec>() {
        let mut columns = Vec::new();
        StreamWriter::try_new(&mut columns, scan.table())?.finish()?;
        SentOperator::KafkaRanges { scan: scan.scan().clone(), columns }
    } else {
        return Ok(None);
    };
    write(&sent).map(Some)
}

/// The operator that [`encode_operator`] gave.
///
/// # Errors
/// When it is none, or does not fit its input.
pub fn decode_operator(sent: &[u8], inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Arc<dyn ExecutionPlan>> {
    match (read(sent)?, inputs) {
        (SentOperator::LearnByKey { options, range }, [input]) => {
            Ok(Arc::new(LearnByKeyExec::new(Arc::clone(input), options, &range)?))
        }
        (SentOperator::KafkaRanges { scan, columns }, []) => {
            let columns = StreamReader::try_new(columns.as_slice(), None)?.schema();
            Ok(Arc::new(KafkaRangesExec::new(scan, columns)?))
        }
        _ => Err(DataFusionError::Internal("an operator was sent with other inputs than it has".to_owned())),
    }
}

/// Options whose folder means the same from wherever they are read.
fn located(options: &KeyedOptions) -> Result<KeyedOptions> {
    Ok(KeyedOptions { location: absolute(&options.location)?, ..options.clone() })
}

fn write(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| DataFusionError::External(Box::new(error)))
}

fn read<T: DeserializeOwned>(sent: &[u8]) -> Result<T> {
    serde_json::from_slice(sent).map_err(|error| {
        DataFusionError::Plan(format!("a plan was sent by another version of lightcl, or is damaged: {error}"))
    })
}
