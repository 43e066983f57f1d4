//! Learning by key from a DataFrame.

use super::node::LearnByKeyNode;
use super::options::KeyedOptions;
use datafusion::dataframe::DataFrame;
use datafusion::error::Result;
use datafusion::logical_expr::{Extension, LogicalPlan};
use std::sync::Arc;

/// A learner for each key of a DataFrame's rows.
pub trait LearnByKeyExt: Sized {
    /// Trains a learner for each value of a column, from nothing to the end of its rows. Gives a row a learner:
    ///
    /// - `key` (text): the value; null for rows without one, which nobody learns from;
    /// - `location` (text): its output folder, `LOCATION/JOB/RANGE/KEY`, laid out as `lightcl run` lays it out;
    /// - `rows`, `rejected` (64-bit): rows taken in, and how many of them stand in its dead letters;
    /// - `tasks` (32-bit): tasks that it found;
    /// - `prequential_accuracy` (64-bit float): the share of rows predicted rightly before they were learnt from;
    /// - `state_sha256` (text): hash of all that it knows.
    ///
    /// Learners whose folder is there are not trained again: what was interrupted goes on where it was, and what runs twice
    /// changes nothing. A limit above ends the training; learners that were not done by then are trained the next time.
    ///
    /// The session must be one on which [`crate::register`] was called, or one of Ballista with the codecs of
    /// `lightcl-ballista`.
    ///
    /// # Errors
    /// When the options are not whole, or name a column that is not there.
    fn learn_by_key(self, options: KeyedOptions) -> Result<Self>;
}

impl LearnByKeyExt for DataFrame {
    fn learn_by_key(self, options: KeyedOptions) -> Result<Self> {
        let (state, plan) = self.into_parts();
        let node = Arc::new(LearnByKeyNode::new(plan, options)?);
        Ok(DataFrame::new(state, LogicalPlan::Extension(Extension { node })))
    }
}
