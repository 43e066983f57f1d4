//! A unit's outputs, state and positions in a sink of another kind, such as a folder: it holds the positions too, and what the
//! group has committed only shows others how far reading has come.

use crate::group::Group;
use crate::learners::{Left, Parking};
use crate::outbox::{TopicPartition, offsets};
use crate::producer::Failure;
use crate::records::RecordBlock;
use crate::store::{Committed, Pressure, Recovered, Saved, Store};
use lightcl_core::{Commit, Error, Output, Positions, Result, Sink, state};

const TAG: &str = "kafka_unit";
const VERSION: u16 = 1;

/// The store of one unit.
pub struct SinkStore {
    sink: Box<dyn Sink>,
    partitions: Vec<TopicPartition>,
    group: Group,
    epoch: u64,
}

impl SinkStore {
    /// A store in a sink that is this unit's alone.
    pub fn new(sink: Box<dyn Sink>, partitions: &[TopicPartition], group: Group) -> Self {
        SinkStore { sink, partitions: partitions.to_vec(), group, epoch: 0 }
    }
}

impl Parking for SinkStore {
    fn load(&mut self, _: &str) -> Result<Option<(Vec<u8>, Left)>> {
        Err(no_parking())
    }

    fn park(&mut self, _: &str, _: Vec<u8>, _: Left) -> Result<()> {
        Err(no_parking())
    }

    fn with_left(&self, _: &dyn Fn(Left) -> bool) -> Vec<String> {
        Vec::new()
    }
}

/// There is no place for the states of keys.
pub fn no_parking() -> Error {
    Error::user("learner.scope = \"key\" keeps learners in a state topic: add [sink] with type = \"kafka\"")
}

impl Store for SinkStore {
    fn recover(&mut self, _: &dyn Fn() -> bool) -> Result<Recovered> {
        let Some(Commit { epoch, positions, state }) = self.sink.recover()? else { return Ok(Recovered::default()) };
        let (state, columns): (Option<Vec<u8>>, Vec<u8>) = state::decode(TAG, VERSION, &state)?;
        self.epoch = epoch;
        Ok(Recovered {
            found: true,
            state,
            columns: Some(columns),
            committed: positions.clone(),
            positions,
            steps: Vec::new(),
        })
    }

    fn add(&mut self, _: &str, output: Output, _: &RecordBlock, out: bool) -> Result<()> {
        if out { Ok(()) } else { self.sink.write(&[output]) }
    }

    fn took(&mut self, _: &str, _: u64, _: bool) {}

    fn pressure(&self) -> Pressure {
        Pressure::None
    }

    /// Outputs and positions count with the state only; until then they are undone by recovering.
    fn commit(&mut self, positions: &Positions, saved: Option<Saved>) -> Result<Committed, Failure> {
        let Some(Saved { state, columns }) = saved else { return Ok(Committed::default()) };
        let refused = Failure::Refused;
        let state = state::encode(TAG, VERSION, &(state, columns)).map_err(refused)?;
        let state_bytes = state.len();
        let commit = Commit { epoch: self.epoch + 1, positions: positions.clone(), state };
        self.sink.commit(&commit).map_err(refused)?;
        self.epoch = commit.epoch;
        if let Err(error) = offsets(&self.partitions, positions).and_then(|list| self.group.commit(&list)) {
            log::warn!("{error}; the sink has the positions, so that nothing is lost");
        }
        Ok(Committed { output_bytes: 0, state_bytes })
    }
}
