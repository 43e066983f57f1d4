//! The operators of one unit: one, or one for each record key with the least recently used ones parked.

use crate::unit_names;
use arrow_array::UInt32Array;
use arrow_schema::Schema;
use arrow_select::take::take_record_batch;
use lightcl_core::{Error, Output, PositionedBatch, Result, RowFault, RowOffsets, Stateful};
use lightcl_stream::Operator;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Makes an operator at the start of its stream: from the name of the learner (the unit, or the unit and a key) and the
/// columns of its rows, whose types are not known yet.
pub type OperatorFactory = dyn Fn(&str, &Schema) -> Result<Operator> + Send + Sync;

/// Where parked operators are kept.
pub trait Parking {
    /// The state of a key's operator, when it was ever parked or saved.
    fn load(&mut self, key: &str) -> Result<Option<Vec<u8>>>;

    /// Keeps a state, durably with the next commit.
    fn park(&mut self, key: &str, state: Vec<u8>) -> Result<()>;
}

/// The operators of one unit.
pub struct Learners {
    unit: String,
    make: Arc<OperatorFactory>,
    schema: Schema,
    kind: Kind,
}

enum Kind {
    One(Box<Operator>),
    Keyed { most: usize, held: HashMap<String, Held>, clock: u64 },
}

struct Held {
    operator: Operator,
    used: u64,
    /// Whether it has learnt since it was saved.
    changed: bool,
}

impl Learners {
    /// The learners of a unit at the start of its stream; with `most_keyed`, one a key.
    ///
    /// # Errors
    /// When an operator cannot be made.
    pub fn new(unit: &str, make: Arc<OperatorFactory>, schema: Schema, most_keyed: Option<usize>) -> Result<Self> {
        let kind = match most_keyed {
            Some(most) => Kind::Keyed { most: most.max(1), held: HashMap::new(), clock: 0 },
            None => Kind::One(Box::new(make(unit, &schema)?)),
        };
        Ok(Learners { unit: unit.to_owned(), make, schema, kind })
    }

    /// The one operator; none where every key has its own.
    pub fn only(&self) -> Option<&Operator> {
        match &self.kind {
            Kind::One(operator) => Some(operator),
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
            Kind::One(operator) => operator.restore(state),
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
            Kind::One(operator) => Ok(vec![(self.unit.as_str().into(), operator.push(batch)?)]),
            Kind::Keyed { .. } => {
                let mut rows: BTreeMap<&str, (usize, Vec<u32>)> = BTreeMap::new();
                for (row, key) in keys.iter().enumerate() {
                    rows.entry(key).or_insert((row, Vec::new())).1.push(row as u32);
                }
                let mut groups: Vec<_> = rows.into_iter().map(|(key, (first, rows))| (first, key, rows)).collect();
                groups.sort_unstable_by_key(|(first, ..)| *first);
                let mut outputs = Vec::with_capacity(groups.len());
                for (_, key, rows) in groups {
                    let operator = self.keyed(key, parking)?;
                    // A state parked after the last checkpoint has seen some of these rows already.
                    let seen = operator.positions().next(&batch.partition);
                    let rows: Vec<u32> =
                        rows.into_iter().filter(|&row| batch.offset_of(row as usize) >= seen).collect();
                    if !rows.is_empty() {
                        let name = unit_names::learner(&self.unit, key);
                        let operator = self.keyed(key, parking)?;
                        outputs.push((name.into(), operator.push(&select(batch, &rows)?)?));
                    }
                }
                Ok(outputs)
            }
        }
    }

    /// The operator of a key, made, or loaded in the place of the one that was not used for longest.
    fn keyed(&mut self, key: &str, parking: &mut dyn Parking) -> Result<&mut Operator> {
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
                    parking.park(&oldest, gone.operator.save()?)?;
                }
            }
            let mut operator = (self.make)(&unit_names::learner(&self.unit, key), &self.schema)?;
            if let Some(state) = parking.load(key)? {
                operator.restore(&state)?;
            }
            held.insert(key.to_owned(), Held { operator, used: 0, changed: false });
        }
        let entry = held.get_mut(key).ok_or_else(|| Error::internal("a learner that was just made is gone"))?;
        (entry.used, entry.changed) = (*clock, true);
        Ok(&mut entry.operator)
    }

    /// Closes the windows that are open; see [`Operator::close_window`].
    ///
    /// # Errors
    /// What the operators return.
    pub fn close_windows(&mut self) -> Result<Vec<(Arc<str>, Vec<Output>)>> {
        self.each(|operator| operator.close_window())
    }

    /// Says that the input has ended; see [`Operator::finish`].
    ///
    /// # Errors
    /// What the operators return.
    pub fn finish(&mut self) -> Result<Vec<(Arc<str>, Vec<Output>)>> {
        self.each(Operator::finish)
    }

    /// Rows that wait for their windows to fill.
    pub fn waiting_rows(&self) -> usize {
        match &self.kind {
            Kind::One(operator) => operator.waiting_rows(),
            Kind::Keyed { held, .. } => held.values().map(|held| held.operator.waiting_rows()).sum(),
        }
    }

    fn each(
        &mut self,
        mut work: impl FnMut(&mut Operator) -> Result<Vec<Output>>,
    ) -> Result<Vec<(Arc<str>, Vec<Output>)>> {
        match &mut self.kind {
            Kind::One(operator) => Ok(vec![(self.unit.as_str().into(), work(operator)?)]),
            Kind::Keyed { held, .. } => {
                let mut keys: Vec<String> = held.keys().cloned().collect();
                keys.sort_unstable();
                let mut all = Vec::with_capacity(keys.len());
                for key in keys {
                    if let Some(held) = held.get_mut(&key) {
                        let outputs = work(&mut held.operator)?;
                        held.changed |= !outputs.is_empty();
                        all.push((unit_names::learner(&self.unit, &key).into(), outputs));
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
            Kind::One(operator) => operator.save().map(Some),
            Kind::Keyed { held, .. } => {
                for (key, held) in held.iter_mut().filter(|(_, held)| held.changed) {
                    parking.park(key, held.operator.save()?)?;
                    held.changed = false;
                }
                Ok(None)
            }
        }
    }
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
