//! The operators of one unit: one, or one for each record key with the least recently used ones parked.

use crate::unit_names;
use arrow_array::UInt32Array;
use arrow_schema::Schema;
use arrow_select::take::take_record_batch;
use lightcl_core::{Error, Output, PositionedBatch, Result, RowFault, RowOffsets, Stateful};
use lightcl_stream::Operator;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Makes an operator at the start of its stream: from the name of the learner (the unit, or the unit and a key) and the
/// columns of its rows, whose types are not known yet.
pub type OperatorFactory = dyn Fn(&str, &Schema) -> Result<Operator> + Send + Sync;

/// Where parked operators are kept.
pub trait Parking {
    /// The state of a key's operator, when it was ever parked or saved, and what it has left to do.
    fn load(&mut self, key: &str) -> Result<Option<(Vec<u8>, Left)>>;

    /// Keeps a state, durably with the next commit.
    fn park(&mut self, key: &str, state: Vec<u8>, left: Left) -> Result<()>;

    /// Keys whose state, as it was parked last, has this left to do; in order.
    fn with_left(&self, wanted: &dyn Fn(Left) -> bool) -> Vec<String>;
}

/// What an operator has left to do when no more rows come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Rows wait for their window to fill.
    pub rows_wait: bool,
    /// There were rows since its last figures were taken.
    pub is_open: bool,
}

/// Learners whose windows are closed, or whose last figures are taken, in one go: what they give waits for a commit.
const MOST_AT_ONCE: usize = 64;

/// The operators of one unit.
pub struct Learners {
    unit: String,
    make: Arc<OperatorFactory>,
    schema: Schema,
    kind: Kind,
}

enum Kind {
    One(Box<Held>),
    Keyed { most: usize, held: HashMap<String, Held>, clock: u64 },
}

struct Held {
    operator: Operator,
    used: u64,
    /// Whether it has learnt since it was saved.
    changed: bool,
    /// Whether there were rows since its last figures were taken.
    is_open: bool,
}

impl Held {
    fn left(&self) -> Left {
        Left { rows_wait: self.operator.waiting_rows() > 0, is_open: self.is_open }
    }
}

impl Learners {
    /// The learners of a unit at the start of its stream; with `most_keyed`, one a key.
    ///
    /// # Errors
    /// When an operator cannot be made.
    pub fn new(unit: &str, make: Arc<OperatorFactory>, schema: Schema, most_keyed: Option<usize>) -> Result<Self> {
        let kind = match most_keyed {
            Some(most) => Kind::Keyed { most: most.max(1), held: HashMap::new(), clock: 0 },
            None => {
                Kind::One(Box::new(Held { operator: make(unit, &schema)?, used: 0, changed: false, is_open: true }))
            }
        };
        Ok(Learners { unit: unit.to_owned(), make, schema, kind })
    }

    /// The one operator; none where every key has its own.
    pub fn only(&self) -> Option<&Operator> {
        match &self.kind {
            Kind::One(held) => Some(&held.operator),
            Kind::Keyed { .. } => None,
        }
    }

    /// Whether every key has its own.
    pub fn is_keyed(&self) -> bool {
        matches!(self.kind, Kind::Keyed { .. })
    }

    /// Puts the state of the one operator back.
    ///
    /// # Errors
    /// When it is damaged or of another version.
    pub fn restore(&mut self, state: &[u8]) -> Result<()> {
        match &mut self.kind {
            Kind::One(held) => held.operator.restore(state),
            Kind::Keyed { .. } => Err(Error::internal("there is one state, and a learner for each key")),
        }
    }

    /// Takes rows in. `keys` names the learner of each row where every key has its own. Gives outputs, each with the name of
    /// its learner.
    ///
    /// # Errors
    /// What the operators and the parking return.
    pub fn push(
        &mut self,
        batch: &PositionedBatch,
        keys: &[String],
        parking: &mut dyn Parking,
    ) -> Result<Vec<(Arc<str>, Vec<Output>)>> {
        match &mut self.kind {
            Kind::One(held) => Ok(vec![(self.unit.as_str().into(), held.operator.push(batch)?)]),
            Kind::Keyed { .. } => {
                let mut rows: BTreeMap<&str, (usize, Vec<u32>)> = BTreeMap::new();
                for (row, key) in keys.iter().enumerate() {
                    rows.entry(key).or_insert((row, Vec::new())).1.push(row as u32);
                }
                let mut groups: Vec<_> = rows.into_iter().map(|(key, (first, rows))| (first, key, rows)).collect();
                groups.sort_unstable_by_key(|(first, ..)| *first);
                let mut outputs = Vec::with_capacity(groups.len());
                for (_, key, rows) in groups {
                    let held = self.keyed(key, parking)?;
                    // A state parked after the last checkpoint has seen some of these rows already.
                    let seen = held.operator.positions().next(&batch.partition);
                    let rows: Vec<u32> =
                        rows.into_iter().filter(|&row| batch.offset_of(row as usize) >= seen).collect();
                    if !rows.is_empty() {
                        (held.changed, held.is_open) = (true, true);
                        let outputs_of_key = held.operator.push(&select(batch, &rows)?)?;
                        outputs.push((unit_names::learner(&self.unit, key).into(), outputs_of_key));
                    }
                }
                Ok(outputs)
            }
        }
    }

    /// The operator of a key, made, or loaded in the place of the one that was not used for longest.
    fn keyed(&mut self, key: &str, parking: &mut dyn Parking) -> Result<&mut Held> {
        let Kind::Keyed { most, held, clock } = &mut self.kind else {
            return Err(Error::internal("there is one learner, and rows for one of many"));
        };
        *clock += 1;
        if !held.contains_key(key) {
            if held.len() >= *most {
                let oldest = held.iter().min_by_key(|(_, held)| held.used).map(|(key, _)| key.clone());
                if let Some(oldest) = oldest
                    && let Some(gone) = held.remove(&oldest)
                    && gone.changed
                {
                    parking.park(&oldest, gone.operator.save()?, gone.left())?;
                }
            }
            let loaded = load(&self.make, &self.schema, &self.unit, key, parking)?;
            held.insert(key.to_owned(), loaded);
        }
        let entry = held.get_mut(key).ok_or_else(|| Error::internal("a learner that was just made is gone"))?;
        entry.used = *clock;
        Ok(entry)
    }

    /// Closes the windows that are open, those of parked learners too; see [`Operator::close_window`]. Where every key has
    /// its own learner, those of some of them: to be called until it gives none.
    ///
    /// # Errors
    /// What the operators and the parking return.
    pub fn close_windows(&mut self, parking: &mut dyn Parking) -> Result<Vec<(Arc<str>, Vec<Output>)>> {
        self.each(parking, &|left| left.rows_wait, &|held| held.operator.close_window())
    }

    /// Says that the input has ended, to parked learners too; see [`Operator::finish`]. Where every key has its own
    /// learner, to some of them: to be called until it gives none.
    ///
    /// # Errors
    /// What the operators and the parking return.
    pub fn finish(&mut self, parking: &mut dyn Parking) -> Result<Vec<(Arc<str>, Vec<Output>)>> {
        self.each(parking, &|left| left.is_open, &|held| {
            held.is_open = false;
            held.operator.finish()
        })
    }

    /// Rows that wait for their windows to fill; those of a parked learner count as one.
    pub fn waiting_rows(&self, parking: &dyn Parking) -> usize {
        match &self.kind {
            Kind::One(held) => held.operator.waiting_rows(),
            Kind::Keyed { held, .. } => {
                let here: usize = held.values().map(|held| held.operator.waiting_rows()).sum();
                let parked = parking.with_left(&|left| left.rows_wait);
                here + parked.iter().filter(|key| !held.contains_key(*key)).count()
            }
        }
    }

    fn each(
        &mut self,
        parking: &mut dyn Parking,
        wanted: &dyn Fn(Left) -> bool,
        work: &dyn Fn(&mut Held) -> Result<Vec<Output>>,
    ) -> Result<Vec<(Arc<str>, Vec<Output>)>> {
        match &mut self.kind {
            Kind::One(held) => Ok(vec![(self.unit.as_str().into(), work(held)?)]),
            Kind::Keyed { held, .. } => {
                let mut keys: Vec<String> = parking.with_left(wanted);
                // What was parked says nothing of one that is here.
                keys.retain(|key| !held.contains_key(key));
                keys.extend(held.iter().filter(|(_, held)| wanted(held.left())).map(|(key, _)| key.clone()));
                keys.sort_unstable();
                keys.truncate(MOST_AT_ONCE);
                let mut all = Vec::with_capacity(keys.len());
                for key in keys {
                    let name = unit_names::learner(&self.unit, &key).into();
                    if let Some(held) = held.get_mut(&key) {
                        held.changed = true;
                        all.push((name, work(held)?));
                    } else {
                        let mut parked = load(&self.make, &self.schema, &self.unit, &key, parking)?;
                        all.push((name, work(&mut parked)?));
                        parking.park(&key, parked.operator.save()?, parked.left())?;
                    }
                }
                Ok(all)
            }
        }
    }

    /// The state of the one operator; where every key has its own, all that have changed are parked instead, and stay.
    ///
    /// # Errors
    /// What saving and parking return.
    pub fn save(&mut self, parking: &mut dyn Parking) -> Result<Option<Vec<u8>>> {
        match &mut self.kind {
            Kind::One(held) => held.operator.save().map(Some),
            Kind::Keyed { held, .. } => {
                for (key, held) in held.iter_mut().filter(|(_, held)| held.changed) {
                    parking.park(key, held.operator.save()?, held.left())?;
                    held.changed = false;
                }
                Ok(None)
            }
        }
    }
}

/// The operator of a key that is not held: as it was parked, or new.
fn load(
    make: &Arc<OperatorFactory>,
    schema: &Schema,
    unit: &str,
    key: &str,
    parking: &mut dyn Parking,
) -> Result<Held> {
    let mut operator = make(&unit_names::learner(unit, key), schema)?;
    let mut is_open = false;
    if let Some((state, left)) = parking.load(key)? {
        operator.restore(&state)?;
        is_open = left.is_open;
    }
    Ok(Held { operator, used: 0, changed: false, is_open })
}

/// Some rows of a batch, in order.
fn select(batch: &PositionedBatch, rows: &[u32]) -> Result<PositionedBatch> {
    let taken = take_record_batch(&batch.batch, &UInt32Array::from(rows.to_vec()))
        .map_err(|error| Error::internal("rows of a batch cannot be taken").caused_by(error))?;
    let faults = batch.faults.iter().filter_map(|fault| {
        let row = rows.binary_search(&(fault.row as u32)).ok()?;
        Some(RowFault { row, ..fault.clone() })
    });
    let offsets: Arc<[u64]> = rows.iter().map(|&row| batch.offset_of(row as usize)).collect();
    let next = rows.last().map_or(0, |&row| batch.offset_after(row as usize + 1));
    // Rows of one record stand at one offset: behind the last of them comes the next offset.
    let next = next.max(offsets.last().map_or(0, |last| last + 1));
    Ok(PositionedBatch {
        batch: taken,
        partition: Arc::clone(&batch.partition),
        offsets: RowOffsets::Listed { offsets, next },
        faults: faults.collect(),
    })
}
