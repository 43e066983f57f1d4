//! Rows of values that are read one at a time: JSON, and cells of text.

use super::cells::Cells;
use super::columns::Columns;
use super::decoded::Column;
use arrow_array::Array;
use arrow_schema::{ArrowError, Field};
use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// The columns of a block that are read one value at a time.
pub(super) struct Table {
    numbers: HashMap<String, usize>,
    columns: Vec<TableColumn>,
    rows: usize,
    misfits: Vec<(usize, Misfit)>,
}

struct TableColumn {
    /// Its number among all columns.
    number: usize,
    name: String,
    cells: Cells,
    exact: bool,
    /// The row that said what the column holds, where it is one of this block.
    known_at: Option<usize>,
}

/// A value that its column cannot hold.
#[derive(Debug)]
pub(super) struct Misfit {
    /// Where in a list it stands.
    path: String,
    found: String,
    expected: &'static str,
}

impl Table {
    /// Reads all columns but those that stand beside the value. `is_text` says of which columns of unknown type every
    /// value is text.
    pub fn new(columns: &Columns, is_text: impl Fn(&str) -> bool) -> Self {
        let columns: Vec<TableColumn> = columns
            .of_values()
            .map(|(number, column)| TableColumn {
                number,
                name: column.name().to_owned(),
                cells: match column.data_type() {
                    Some(data_type) => Cells::of(data_type),
                    None if is_text(column.name()) => Cells::text(0),
                    None => Cells::Unknown(0),
                },
                exact: column.exact(),
                known_at: None,
            })
            .collect();
        let numbers = columns.iter().enumerate().map(|(number, column)| (column.name.clone(), number)).collect();
        Table { numbers, columns, rows: 0, misfits: Vec::new() }
    }

    /// The number of a column in the table.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.numbers.get(name).copied()
    }

    /// Leaves a column out of the table; what is returned is its number among all columns.
    pub fn take_out(&mut self, name: &str) -> Option<usize> {
        let place = self.columns.iter().position(|column| column.name == name)?;
        let taken = self.columns.remove(place);
        self.numbers = self.columns.iter().enumerate().map(|(number, column)| (column.name.clone(), number)).collect();
        Some(taken.number)
    }

    /// Takes in a cell of text, which may be a number or a boolean; an empty one is no value.
    pub fn cell(&mut self, column: usize, text: &str) {
        self.read(column, |cells, exact, misfit| {
            *misfit = push_cell(cells, text, exact).err();
        });
    }

    /// Ends a row; columns without a value get none. What is returned says which values do not fit.
    pub fn end_row(&mut self) -> Option<String> {
        self.rows += 1;
        for column in &mut self.columns {
            if column.cells.rows() < self.rows {
                column.cells.push_null();
            }
        }
        if self.misfits.is_empty() {
            return None;
        }
        let messages = self.misfits.drain(..).map(|(column, misfit)| {
            let Misfit { path, found, expected } = misfit;
            format!("column '{}{path}': found {found}, expected {expected}", self.columns[column].name)
        });
        Some(messages.collect::<Vec<_>>().join("; "))
    }

    /// Takes back what was read of the row that is being read, and makes it one of nulls.
    pub fn abandon_row(&mut self) {
        for column in 0..self.columns.len() {
            self.take_back(column);
            self.columns[column].cells.push_null();
        }
        self.misfits.clear();
        self.rows += 1;
    }

    /// The columns.
    ///
    /// # Errors
    /// When arrow refuses them.
    pub fn finish(self) -> Result<Vec<(usize, Column)>, ArrowError> {
        let columns = self.columns.into_iter().map(|column| {
            let array = column.cells.finish()?;
            let field = Arc::new(Field::new(column.name, array.data_type().clone(), true));
            Ok((column.number, Column { array, field }))
        });
        columns.collect()
    }

    /// Makes the next value of a column null again.
    fn take_back(&mut self, column: usize) {
        let column = &mut self.columns[column];
        if column.known_at == Some(self.rows) {
            (column.cells, column.known_at) = (Cells::Unknown(self.rows), None);
        } else {
            column.cells.truncate(self.rows);
        }
    }

    /// Reads a value of the row that is being read; one of the same column that was read before is forgotten.
    fn read<T>(&mut self, number: usize, read: impl FnOnce(&mut Cells, bool, &mut Option<Misfit>) -> T) -> T {
        if self.columns[number].cells.rows() > self.rows {
            self.take_back(number);
            self.misfits.retain(|(column, _)| *column != number);
        }
        let column = &mut self.columns[number];
        let was_known = column.cells.is_known();
        let mut misfit = None;
        let result = read(&mut column.cells, column.exact, &mut misfit);
        if !was_known {
            column.known_at = Some(self.rows);
        }
        // Neither a misfit nor an empty list says what a column holds.
        if misfit.is_some() || !column.cells.is_known() {
            self.take_back(number);
            self.columns[number].cells.push_null();
        }
        self.misfits.extend(misfit.map(|misfit| (number, misfit)));
        result
    }

    /// Reads a JSON object into the row that is being read.
    pub fn object(&mut self) -> Object<'_> {
        Object { table: self }
    }
}

/// Reads a JSON object into a row of a table.
pub(super) struct Object<'a> {
    table: &'a mut Table,
}

impl Object<'_> {
    /// Reads a field behind its name.
    fn field<'de, A: MapAccess<'de>>(&mut self, column: Option<usize>, map: &mut A) -> Result<(), A::Error> {
        match column {
            None => map.next_value::<IgnoredAny>().map(|_| ()),
            Some(column) => self.table.read(column, |cells, exact, misfit| {
                map.next_value_seed(Value { cells, exact, in_list: false, misfit })
            }),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        loop {
            let table = &self.table;
            let Some(column) = map.next_key_seed(Key(|name: &str| table.column(name)))? else {
                return Ok(());
            };
            self.field(column, &mut map)?;
        }
    }
}

/// Looks a name up instead of keeping it.
pub(super) struct Key<F>(pub F);

impl<'de, T, F: FnOnce(&str) -> T> DeserializeSeed<'de> for Key<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T, F: FnOnce(&str) -> T> Visitor<'_> for Key<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<T, E> {
        Ok((self.0)(name))
    }
}

/// Reads one JSON value into a column. One that does not fit is noted, and what was appended of it is taken back later.
struct Value<'a> {
    cells: &'a mut Cells,
    exact: bool,
    in_list: bool,
    misfit: &'a mut Option<Misfit>,
}

impl Value<'_> {
    fn note(self, pushed: Result<(), &'static str>, found: impl FnOnce() -> String) {
        if let Err(expected) = pushed {
            *self.misfit = Some(Misfit { path: String::new(), found: found(), expected });
        }
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.cells.push_null();
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        let pushed = self.cells.push_boolean(value);
        self.note(pushed, || value.to_string());
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        let pushed = self.cells.push_integer(value, self.exact, self.in_list);
        self.note(pushed, || value.to_string());
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        let pushed = match i64::try_from(value) {
            Ok(value) => self.cells.push_integer(value, self.exact, self.in_list),
            Err(_) => self.cells.push_number(value as f64, self.exact, self.in_list),
        };
        self.note(pushed, || value.to_string());
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        let pushed = self.cells.push_number(value, self.exact, self.in_list);
        self.note(pushed, || value.to_string());
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        let pushed = self.cells.push_text(value);
        self.note(pushed, || quoted(value));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let expected = self.cells.expected_instead();
        let Some(lists) = self.cells.lists() else {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            self.note(Err(expected), || "a list".to_owned());
            return Ok(());
        };
        let mut place = 0_usize;
        loop {
            let cells = lists.items();
            let item = Value { cells, exact: false, in_list: true, misfit: self.misfit };
            if items.next_element_seed(item)?.is_none() {
                break;
            }
            if let Some(misfit) = self.misfit {
                misfit.path.insert_str(0, &format!("[{place}]"));
                while items.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(());
            }
            place += 1;
        }
        let closed = lists.close_list();
        self.note(closed.then_some(()).ok_or("a block of less than 2^31 items"), || "a list".to_owned());
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        let expected = self.cells.expected_instead();
        self.note(Err(expected), || "an object".to_owned());
        Ok(())
    }
}

/// A cell of text is read as the reader of CSV files reads it.
fn push_cell(cells: &mut Cells, text: &str, exact: bool) -> Result<(), Misfit> {
    if text.is_empty() {
        cells.push_null();
        return Ok(());
    }
    let boolean = ["true", "false"].iter().position(|word| text.eq_ignore_ascii_case(word)).map(|place| place == 0);
    let whole = text.parse::<i64>().ok();
    let is_number = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let number = text.bytes().all(is_number).then(|| text.parse::<f64>().ok()).flatten();
    let pushed = match (&*cells, boolean, whole, number) {
        (Cells::Unknown(_) | Cells::Boolean(_), Some(boolean), ..) => cells.push_boolean(boolean),
        (Cells::Text(_) | Cells::Encoded(_), ..) => cells.push_text(text),
        (_, _, Some(whole), _) => cells.push_integer(whole, exact, false),
        // A name may look like a number that is not whole: `12e4` of hexadecimal digits.
        (Cells::Unknown(_), _, None, Some(number)) if !exact => cells.push_number(number, false, false),
        (Cells::Number(_) | Cells::Single(_) | Cells::Whole(_), _, None, Some(number)) => {
            cells.push_number(number, false, false)
        }
        (Cells::List(_), ..) => return push_list(cells, text),
        _ => cells.push_text(text),
    };
    pushed.map_err(|expected| Misfit { path: String::new(), found: quoted(text), expected })
}

/// A list stands in a cell as it does in JSON.
fn push_list(cells: &mut Cells, text: &str) -> Result<(), Misfit> {
    let mut misfit = None;
    let mut json = serde_json::Deserializer::from_str(text);
    let read = Value { cells, exact: false, in_list: false, misfit: &mut misfit }.deserialize(&mut json);
    let ended = read.and_then(|()| json.end());
    match misfit {
        Some(misfit) => Err(misfit),
        None => ended.map_err(|_| Misfit { path: String::new(), found: quoted(text), expected: "a list as in JSON" }),
    }
}

fn quoted(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    format!("the text '{short}{}'", if short.len() < text.len() { ".." } else { "" })
}

/// Reads one value that must be an object, and nothing behind it.
pub(super) fn read_json<'de, S: DeserializeSeed<'de, Value = ()>>(bytes: &'de [u8], seed: S) -> Result<(), String> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let read = seed.deserialize(&mut json).and_then(|()| json.end());
    read.map_err(|error| {
        let text = error.to_string();
        // Lines do not count in a record; most have only one.
        format!("not a valid JSON object: {}", text.replace(" at line 1 column ", " at column "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_numbers_booleans_or_text_by_their_first() {
        let read = |exact: bool, texts: &[&str]| {
            let mut cells = Cells::Unknown(0);
            let misfits = texts.iter().filter(|text| push_cell(&mut cells, text, exact).is_err()).count();
            (cells.finish().unwrap().data_type().clone(), misfits)
        };
        use arrow_schema::DataType::{Boolean, Float64, Int64, Utf8};
        assert_eq!(read(false, &["", "1", "2.5", "x", "true"]), (Float64, 2));
        assert_eq!(read(true, &["1", "2.5", "7"]), (Int64, 1));
        assert_eq!(read(true, &["12e4", "1"]), (Utf8, 0));
        assert_eq!(read(false, &["TRUE", "1"]), (Boolean, 1));
        assert_eq!(read(false, &["a", "1", "true"]), (Utf8, 0));
    }
}
