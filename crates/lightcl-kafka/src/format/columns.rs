//! The columns that are needed, with the types that their first values gave them.

use super::FormatConfig;
use super::casting::{Fitted, fit, is_uuid, present, shape_of};
use super::decoded::{Column, Decoded, Piece};
use super::record_columns::RecordColumn;
use super::{Rows, decoded, types};
use crate::records::RecordBlock;
use arrow_array::{Array, ArrayRef, BooleanArray, NullArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_schema::extension::{EXTENSION_TYPE_METADATA_KEY, EXTENSION_TYPE_NAME_KEY};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Schema};
use arrow_select::concat::concat;
use arrow_select::nullif::nullif;
use lightcl_core::{Error, Result, RowFault, state};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

const TAG: &str = "kafka-columns";
const VERSION: u16 = 1;

/// The columns asked for, in this order.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    columns: Vec<Known>,
}

/// What is known of one column.
#[derive(Debug, Clone)]
pub(super) struct Known {
    name: String,
    /// Whether the configuration says what it holds.
    given: bool,
    /// Whether whole numbers in it stay whole.
    exact: bool,
    /// What it holds, with its extension type; none as long as all its values were null.
    field: Option<FieldRef>,
    /// Set where it stands beside the value.
    beside: Option<RecordColumn>,
}

impl Known {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn exact(&self) -> bool {
        self.exact
    }

    pub fn data_type(&self) -> Option<&DataType> {
        self.field.as_ref().map(|field| field.data_type())
    }

    /// What it is in a batch.
    fn field(&self) -> FieldRef {
        self.field.clone().unwrap_or_else(|| Arc::new(Field::new(&self.name, DataType::Null, true)))
    }

    /// Takes the type of an array, where a value in it says so.
    fn settle(&mut self, column: &Column) {
        if self.field.is_some() || column.array.logical_null_count() == column.array.len() {
            return;
        }
        let data_type = if is_uuid(&column.field) {
            Some(DataType::Utf8)
        } else {
            types::settled(column.field.data_type()).ok().flatten()
        };
        let Some(data_type) = data_type else { return };
        let mut metadata = HashMap::new();
        if shape_of(&column.field).is_some() {
            for key in [EXTENSION_TYPE_NAME_KEY, EXTENSION_TYPE_METADATA_KEY] {
                metadata.extend(column.field.metadata().get(key).map(|value| (key.to_owned(), value.clone())));
            }
        }
        self.field = Some(Arc::new(Field::new(&self.name, data_type, true).with_metadata(metadata)));
    }
}

impl Columns {
    /// # Errors
    /// When a type that is given does not exist.
    pub fn new(config: &FormatConfig) -> Result<Self> {
        let mut seen = HashSet::new();
        let mut columns = Vec::new();
        for name in config.columns.iter().filter(|name| seen.insert(name.as_str())) {
            let given = config.types.get(name).map(|given| types::parse(given)).transpose();
            let given =
                given.map_err(|why| Error::user(format!("the type of a column: {why}")).with("column", name))?;
            let beside = RecordColumn::of(name)?;
            let data_type = given.clone().or_else(|| beside.as_ref().map(RecordColumn::data_type));
            columns.push(Known {
                name: name.clone(),
                given: given.is_some(),
                exact: config.exact.contains(name),
                field: data_type.map(|data_type| Arc::new(Field::new(name, data_type, true))),
                beside,
            });
        }
        Ok(Columns { columns })
    }

    /// The columns that stand in values, with their numbers.
    pub fn of_values(&self) -> impl Iterator<Item = (usize, &Known)> {
        self.columns.iter().enumerate().filter(|(_, column)| column.beside.is_none())
    }

    /// The columns of a batch by the names of its fields; of fields with the same name the last one counts.
    pub fn select(&self, batch: &RecordBatch) -> Vec<(usize, Column)> {
        let schema = batch.schema_ref();
        let places: HashMap<&str, usize> =
            schema.fields().iter().enumerate().map(|(place, field)| (field.name().as_str(), place)).collect();
        let found = self.of_values().filter_map(|(number, known)| {
            let place = *places.get(known.name())?;
            Some((
                number,
                Column { array: Arc::clone(batch.column(place)), field: Arc::clone(&schema.fields()[place]) },
            ))
        });
        found.collect()
    }

    /// Puts together what a format found: settles types, fits values to them and makes rows with faults rows of nulls.
    ///
    /// # Errors
    /// When arrow refuses something, which is a mistake in here; nothing is settled then.
    pub fn assemble(&mut self, block: &RecordBlock, found: Decoded) -> Result<Rows> {
        let mut next = self.clone();
        let rows = next.try_assemble(block, found);
        let rows =
            rows.map_err(|error| Error::internal("the columns of records do not fit together").caused_by(error))?;
        *self = next;
        Ok(rows)
    }

    fn try_assemble(&mut self, block: &RecordBlock, found: Decoded) -> std::result::Result<Rows, ArrowError> {
        let Decoded { records, mut faults, skipped, pieces } = found;
        let mut by_column: Vec<Vec<(usize, usize, Column)>> = vec![Vec::new(); self.columns.len()];
        let mut start = 0;
        for Piece { rows, columns } in pieces {
            for (number, column) in columns {
                by_column[number].push((start, rows, column));
            }
            start += rows;
        }
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (known, pieces) in self.columns.iter_mut().zip(by_column) {
            arrays.push(match &known.beside {
                None => column_of(known, pieces, records.len(), &mut faults)?,
                Some(beside) => {
                    let column = beside.read(&known.name, known.data_type(), block, &records, &mut faults);
                    column_of(known, vec![(0, records.len(), column)], records.len(), &mut faults)?
                }
            });
        }
        if !faults.is_empty() {
            let mut is_bad = vec![false; records.len()];
            faults.iter().for_each(|(row, _)| is_bad[*row] = true);
            let is_bad = BooleanArray::from(is_bad);
            for array in &mut arrays {
                *array = nullif(array.as_ref(), &is_bad)?;
            }
        }
        let schema = Arc::new(Schema::new(self.columns.iter().map(Known::field).collect::<Vec<_>>()));
        let options = RecordBatchOptions::new().with_row_count(Some(records.len()));
        let batch = RecordBatch::try_new_with_options(schema, arrays, &options)?;
        let faults = one_a_row(faults).into_iter().map(|(row, message)| RowFault {
            row,
            message,
            payload: decoded::payload(block, records[row]),
        });
        Ok(Rows { batch, faults: faults.collect(), records, skipped })
    }

    /// The types that values gave.
    pub fn save(&self) -> Result<Vec<u8>> {
        let settled = self.of_values().filter(|(_, known)| !known.given).filter_map(|(_, known)| {
            let field = known.field.as_ref()?;
            let metadata: BTreeMap<&String, &String> = field.metadata().iter().collect();
            Some((&known.name, (types::name(field.data_type()), metadata)))
        });
        state::encode(TAG, VERSION, &settled.collect::<BTreeMap<_, _>>())
    }

    /// Puts saved types back; types that the configuration gives stay.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        type Saved = BTreeMap<String, (String, HashMap<String, String>)>;
        let saved: Saved = state::decode(TAG, VERSION, bytes)?;
        let mut fields = HashMap::new();
        for (name, (data_type, metadata)) in saved {
            let data_type = types::parse(&data_type).map_err(|why| {
                Error::user(format!("the saved types of columns cannot be read: {why}; start over with --fresh"))
            })?;
            let field = Arc::new(Field::new(&name, data_type, true).with_metadata(metadata));
            fields.insert(name, field);
        }
        for known in self.columns.iter_mut().filter(|known| !known.given && known.beside.is_none()) {
            known.field = fields.remove(&known.name);
        }
        Ok(())
    }
}

/// One column of all rows from its pieces, each with its first row and its number of rows.
fn column_of(
    known: &mut Known,
    pieces: Vec<(usize, usize, Column)>,
    rows: usize,
    faults: &mut Vec<(usize, String)>,
) -> std::result::Result<ArrayRef, ArrowError> {
    pieces.iter().for_each(|(_, _, column)| known.settle(column));
    let Some(field) = known.field.clone() else {
        // Where there are values, they are of a kind that no column holds.
        for (start, _, column) in pieces.iter().filter(|(.., column)| types::settled(column.array.data_type()).is_err())
        {
            faults.extend(present(&column.array).map(|row| (start + row, misfit(known, column, row, &DataType::Null))));
        }
        return Ok(Arc::new(NullArray::new(rows)));
    };
    let mut parts: Vec<ArrayRef> = Vec::new();
    let mut filled = 0;
    for run in runs(&pieces) {
        let (start, _, first) = &run[0];
        if *start > filled {
            parts.push(new_null_array(field.data_type(), start - filled));
        }
        // Pieces of one type are put together first, and then fitted at once.
        let mut joined = Vec::with_capacity(run.len());
        let mut end = *start;
        for (piece_start, piece_rows, column) in run {
            if *piece_start > end {
                joined.push(new_null_array(first.array.data_type(), piece_start - end));
            }
            joined.push(Arc::clone(&column.array));
            end = piece_start + piece_rows;
        }
        let array = match &joined[..] {
            [only] => Arc::clone(only),
            many => concat(&many.iter().map(AsRef::as_ref).collect::<Vec<&dyn Array>>())?,
        };
        let column = Column { array, field: Arc::clone(&first.field) };
        let Fitted { array, misfits } = fit(&column, &field, known.given)?;
        faults.extend(misfits.iter().map(|row| (start + row, misfit(known, &column, *row, field.data_type()))));
        parts.push(array);
        filled = end;
    }
    if filled < rows || parts.is_empty() {
        parts.push(new_null_array(field.data_type(), rows - filled));
    }
    match &parts[..] {
        [only] => Ok(Arc::clone(only)),
        many => concat(&many.iter().map(AsRef::as_ref).collect::<Vec<&dyn Array>>()),
    }
}

/// Neighbours of the same type.
fn runs(pieces: &[(usize, usize, Column)]) -> impl Iterator<Item = &[(usize, usize, Column)]> {
    pieces.chunk_by(|(_, _, left), (_, _, right)| {
        left.array.data_type() == right.array.data_type()
            && is_uuid(&left.field) == is_uuid(&right.field)
            && shape_of(&left.field) == shape_of(&right.field)
    })
}

fn misfit(known: &Known, column: &Column, row: usize, expected: &DataType) -> String {
    use arrow_cast::display::array_value_to_string;
    let array = column.array.as_ref();
    let found = match array.data_type() {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => None,
        _ => array_value_to_string(array, row).ok(),
    };
    let found = found.map_or_else(String::new, |value| {
        let short: String = value.chars().take(60).collect();
        format!(" '{short}{}'", if short.len() < value.len() { ".." } else { "" })
    });
    let name = &known.name;
    if let (Some(shape), Some(found)) = (
        known.field.as_ref().and_then(|field| shape_of(field)),
        shape_of(&column.field).filter(|_| expected.is_nested()),
    ) && shape != found
    {
        return format!("column '{name}': found a tensor of {found}, expected {shape} as before");
    }
    // Of what no column holds the same is said whatever the column holds.
    let expected = if types::settled(array.data_type()).is_err() { &DataType::Null } else { expected };
    format!("column '{name}': found{found} of type {}, expected {}", array.data_type(), types::expected(expected))
}

/// All that is wrong with a row in one fault, in the order of rows.
fn one_a_row(mut faults: Vec<(usize, String)>) -> Vec<(usize, String)> {
    faults.sort_by_key(|(row, _)| *row);
    faults.dedup_by(|later, first| {
        let same = later.0 == first.0;
        if same {
            first.1.push_str("; ");
            first.1.push_str(&later.1);
        }
        same
    });
    faults
}
