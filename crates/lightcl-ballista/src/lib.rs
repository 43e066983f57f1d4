//! Learners on a cluster: what Ballista needs to carry plans that learn and predict from a client to a scheduler to executors.
//!
//! A client plans `lightcl_learn_by_key` (or `df.learn_by_key`) and scores with models; the scheduler spreads the keys over
//! executors; each trains learners in a folder that all of them reach. `examples/ballista` has the three programs.
//!
//! Not run on a cluster, and refused with a reason: `lightcl_learn` and inserts into a learner's table, which pass all rows by
//! one learner, and tables without an end.

mod logical;
mod physical;
mod session;

pub use logical::LogicalCodec;
pub use physical::PhysicalCodec;
pub use session::{client, config, scheduler_state};

/// The first byte of what a codec wrote: whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Ballista,
    Lightcl,
}

impl Whose {
    fn tag(self) -> u8 {
        match self {
            Whose::Ballista => 0,
            Whose::Lightcl => 1,
        }
    }

    /// Tells whose it is, and the rest.
    fn read(sent: &[u8]) -> datafusion::error::Result<(Self, &[u8])> {
        match sent.split_first() {
            Some((0, rest)) => Ok((Whose::Ballista, rest)),
            Some((1, rest)) => Ok((Whose::Lightcl, rest)),
            _ => Err(datafusion::error::DataFusionError::Plan(
                "a plan was sent by a process without the codecs of lightcl: give them to client, scheduler and executors"
                    .to_owned(),
            )),
        }
    }
}
