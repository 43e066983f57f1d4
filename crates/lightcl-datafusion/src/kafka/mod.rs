//! Topics of Kafka as tables: `CREATE [UNBOUNDED] EXTERNAL TABLE .. STORED AS KAFKA LOCATION 'kafka://host:port/topic'`.

mod options;
mod ranges;
mod scan;
mod sink;
mod table;

use datafusion::error::{DataFusionError, Result};
use datafusion::prelude::SessionContext;
use lightcl_core::{Error, ErrorKind};
use std::sync::Arc;

pub(crate) use ranges::{KafkaRangesExec, Ranges};
pub(crate) use table::{KafkaTable, Statement};

/// Registers the kind of table.
pub(crate) fn register(context: &SessionContext) -> Result<()> {
    let state = context.state_ref();
    let mut state = state.write();
    state.table_factories_mut().insert("KAFKA".to_owned(), Arc::new(table::KafkaTableFactory));
    Ok(())
}

/// A mistake in a statement shows as one; what comes from outside shows as that.
fn as_datafusion(error: Error) -> DataFusionError {
    match error.kind() {
        ErrorKind::User => DataFusionError::Plan(error.to_string()),
        _ => DataFusionError::External(Box::new(error)),
    }
}
