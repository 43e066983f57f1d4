//! Learning from a DataFrame.

use super::options::LearnOptions;
use super::planner::LearnNode;
use datafusion::dataframe::DataFrame;
use datafusion::error::Result;
use datafusion::logical_expr::{Extension, LogicalPlan};
use std::sync::Arc;

/// Test-then-train over the rows of a DataFrame.
pub trait LearnExt: Sized {
    /// Rows pass through in order, with these columns appended, each as soon as it is scored, while the learner learns from
    /// them on a thread of its own:
    ///
    /// - `lightcl_predicted` (text): the label predicted before the row was learnt from;
    /// - `lightcl_score` (32-bit float): the probability of that label, in `[0, 1]`;
    /// - `lightcl_task` (32-bit): the task that was being learnt;
    /// - `lightcl_boundary`: whether it became known with this row that a task begins or returns;
    /// - `lightcl_model_version` (64-bit): the newest snapshot, 0 before the first.
    ///
    /// All are null where a row could not be used; with a location such rows stand in the dead letters. Rows that a learner
    /// with a location has learnt from before are only scored.
    ///
    /// The session must be one on which [`crate::register`] was called. Executing the DataFrame trains: so does `EXPLAIN
    /// ANALYZE`. What stands above takes place after the learning and changes nothing in it: on a bounded input a limit gives
    /// its last row when all rows were learnt from. A limit on an unbounded input ends the query when it has its rows; then, and
    /// when a query is dropped, what was learnt is committed, and the next run goes on from there.
    ///
    /// # Errors
    /// When a column of one of these names is there already. What is wrong with the options is said when the query is
    /// planned.
    fn learn(self, options: LearnOptions) -> Result<Self>;
}

impl LearnExt for DataFrame {
    fn learn(self, options: LearnOptions) -> Result<Self> {
        let (state, plan) = self.into_parts();
        let node = Arc::new(LearnNode::new(plan, options)?);
        Ok(DataFrame::new(state, LogicalPlan::Extension(Extension { node })))
    }
}
