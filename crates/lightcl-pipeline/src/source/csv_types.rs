//! Cells of CSV, and the types of columns by their cells.

use super::records::Quoting;
use arrow_schema::DataType;
use std::borrow::Cow;

/// The cells of one record, by the same rules as the csv crate's.
pub(super) fn cells(record: &str, quoting: Quoting) -> Vec<Cow<'_, str>> {
    let (delimiter, quote) = (char::from(quoting.delimiter), char::from(quoting.quote));
    let mut cells = Vec::new();
    let mut rest = record;
    loop {
        let end = if rest.starts_with(quote) {
            let (cell, end) = quoted_cell(&rest[1..], delimiter, quote);
            cells.push(Cow::Owned(cell));
            end + 1
        } else {
            let end = rest.find(delimiter).unwrap_or(rest.len());
            cells.push(Cow::Borrowed(&rest[..end]));
            end
        };
        match rest.get(end + 1..) {
            Some(more) => rest = more,
            None => return cells,
        }
    }
}

/// A cell behind its opening quote, and where the delimiter behind it or the end of the record stands.
fn quoted_cell(text: &str, delimiter: char, quote: char) -> (String, usize) {
    let mut cell = String::new();
    let mut quoted = true;
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        if quoted && character == quote {
            if characters.next_if(|(_, next)| *next == quote).is_some() {
                cell.push(quote);
            } else {
                quoted = false;
            }
        } else if !quoted && character == delimiter {
            return (cell, at);
        } else {
            cell.push(character);
        }
    }
    (cell, text.len())
}

/// What a column holds, judged by the cells seen so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum CellType {
    /// No cell had a value.
    #[default]
    Empty,
    Boolean,
    Integer,
    Number,
    Text,
}

impl CellType {
    /// The narrowest type of one cell.
    pub fn of(cell: &str) -> CellType {
        if cell.is_empty() {
            CellType::Empty
        } else if cell.eq_ignore_ascii_case("true") || cell.eq_ignore_ascii_case("false") {
            CellType::Boolean
        } else if cell.parse::<i64>().is_ok() {
            CellType::Integer
        } else if is_number(cell) {
            CellType::Number
        } else {
            CellType::Text
        }
    }

    /// The narrowest type that holds values of both.
    pub fn with(self, other: CellType) -> CellType {
        match (self, other) {
            (CellType::Empty, other) | (other, CellType::Empty) => other,
            (left, right) if left == right => left,
            (CellType::Integer, CellType::Number) | (CellType::Number, CellType::Integer) => CellType::Number,
            _ => CellType::Text,
        }
    }

    /// The column's type. `all_seen` says that no further row can come.
    pub fn data_type(self, all_seen: bool) -> DataType {
        match self {
            CellType::Empty if all_seen => DataType::Null,
            CellType::Empty | CellType::Text => DataType::Utf8,
            CellType::Boolean => DataType::Boolean,
            CellType::Integer => DataType::Int64,
            CellType::Number => DataType::Float64,
        }
    }
}

fn is_number(cell: &str) -> bool {
    cell.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
        && cell.parse::<f64>().is_ok()
}

/// What is wrong with a record, for its fault; none when nothing can be said beyond `fallback`.
pub(super) fn explain(cells: &[Cow<'_, str>], names: &[&str], types: &[&DataType]) -> Option<String> {
    if cells.len() != types.len() {
        return Some(format!(": found {} cells, expected {}", cells.len(), types.len()));
    }
    let (column, expected) = types.iter().enumerate().find_map(|(column, data_type)| {
        let found = CellType::of(&cells[column]);
        let expected = match data_type {
            DataType::Int64 if !matches!(found, CellType::Empty | CellType::Integer) => "a whole number",
            DataType::Float64 if matches!(found, CellType::Boolean | CellType::Text) => "a number",
            DataType::Boolean if !matches!(found, CellType::Empty | CellType::Boolean) => "true or false",
            DataType::Null if found != CellType::Empty => "nothing, as in all rows before",
            _ => return None,
        };
        Some((column, expected))
    })?;
    let mut found: String = cells[column].chars().take(60).collect();
    if found.len() < cells[column].len() {
        found.push_str("..");
    }
    Some(format!(": column '{}': found '{found}', expected {expected}", names[column]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTING: Quoting = Quoting { delimiter: b',', quote: b'"' };

    #[test]
    fn cells_follow_the_rules_of_quoting() {
        assert_eq!(cells("a,\"b,\"\"c\"\"\",", QUOTING), ["a", "b,\"c\"", ""]);
        assert_eq!(cells("", QUOTING), [""]);
        assert_eq!(cells("\"a\"b,c\"d\"", QUOTING), ["ab", "c\"d\""]);
        assert_eq!(cells("\"é\nü\",ß", QUOTING), ["é\nü", "ß"]);
    }

    #[test]
    fn types_widen_from_whole_numbers_to_numbers_to_text() {
        let of = |cells: &[&str]| cells.iter().fold(CellType::Empty, |known, cell| known.with(CellType::of(cell)));
        assert_eq!(of(&["", "1", "-2"]), CellType::Integer);
        assert_eq!(of(&["1", "2.5", "NaN", "1e3", "-inf"]), CellType::Number);
        assert_eq!(of(&["True", "false", ""]), CellType::Boolean);
        assert_eq!(of(&["true", "1"]), CellType::Text);
        assert_eq!(of(&["1", "x"]), CellType::Text);
        assert_eq!(of(&["99999999999999999999"]), CellType::Number);
        assert_eq!(of(&["", ""]), CellType::Empty);
    }
}
