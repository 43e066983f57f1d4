//! Learning in SQL: learners as tables, a test-then-train operator, and tables that tell how learners do.
//!
//! A statement trains on a thread of its own, fed over a bounded channel: no work of learning is done on the workers of the
//! runtime. Rows are learnt from in one order, which does not depend on how many partitions the session works with (see
//! [`order`]), and each row has a position, so that a statement that runs again trains what is new and nothing twice.

mod errors;
mod feed;
mod fingerprint;
mod frame;
mod function;
mod insert;
mod keyed;
mod live;
mod meters;
mod operator;
mod options;
mod order;
mod pass;
mod planner;
mod positions;
mod recipe;
mod system;
mod table;
mod to_the_end;
mod waiting;
mod watched;

use crate::shared::Shared;
use datafusion::error::Result;
use datafusion::prelude::SessionContext;
use std::sync::Arc;

pub use frame::LearnExt;
pub use keyed::{KeyedOptions, LearnByKeyExec, LearnByKeyExt, LearnByKeyNode};
pub(crate) use live::Learners;
pub use options::LearnOptions;
pub(crate) use planner::{LearnNode, install};
pub(crate) use table::LearnerTable;

/// What tables of learners are `STORED AS`.
const TABLE_KIND: &str = "LIGHTCL";
/// The schema of the system tables.
const SCHEMA: &str = "lightcl";
/// The table function.
const FUNCTION: &str = "lightcl_learn";

/// Registers tables of learners, the functions that learn, and the schema `lightcl`.
pub(crate) fn register(context: &SessionContext, shared: &Arc<Shared>) -> Result<()> {
    let factory = Arc::new(table::LearnerFactory::new(Arc::clone(shared)));
    context.state_ref().write().table_factories_mut().insert(TABLE_KIND.to_owned(), factory);
    context.register_udtf(FUNCTION, Arc::new(function::LearnFunction));
    context.register_udtf(keyed::FUNCTION, Arc::new(keyed::LearnByKeyFunction));
    system::register(context, shared)
}
