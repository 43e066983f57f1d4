//! Names of column types: as configurations give them and as states keep them.

use arrow_schema::{DataType, Field, TimeUnit};
use std::borrow::Cow;
use std::sync::Arc;

/// The types without parts.
const SIMPLE: [(&str, DataType); 16] = [
    ("boolean", DataType::Boolean),
    ("int8", DataType::Int8),
    ("int16", DataType::Int16),
    ("int32", DataType::Int32),
    ("int64", DataType::Int64),
    ("uint8", DataType::UInt8),
    ("uint16", DataType::UInt16),
    ("uint32", DataType::UInt32),
    ("uint64", DataType::UInt64),
    ("float16", DataType::Float16),
    ("float32", DataType::Float32),
    ("float64", DataType::Float64),
    ("utf8", DataType::Utf8),
    ("binary", DataType::Binary),
    ("date32", DataType::Date32),
    ("date64", DataType::Date64),
];

const UNITS: [(&str, TimeUnit); 4] = [
    ("timestamp_s", TimeUnit::Second),
    ("timestamp_ms", TimeUnit::Millisecond),
    ("timestamp_us", TimeUnit::Microsecond),
    ("timestamp_ns", TimeUnit::Nanosecond),
];

/// Lists within lists beyond this depth are refused: no sample has so many dimensions.
const MOST_DEPTH: usize = 16;

/// The most numbers of a list of fixed length; longer ones are no samples.
const MOST_NUMBERS: u64 = 1 << 24;

/// Reads the name of a type.
pub(super) fn parse(text: &str) -> Result<DataType, String> {
    parse_within(text.trim(), MOST_DEPTH).ok_or_else(|| {
        let names: Vec<&str> =
            SIMPLE.iter().map(|(name, _)| *name).chain(UNITS.iter().map(|(name, _)| *name)).collect();
        format!("no such type '{text}'; there are {}, list<T> and fixed_size_list<T, n>", names.join(", "))
    })
}

fn parse_within(text: &str, depth: usize) -> Option<DataType> {
    let depth = depth.checked_sub(1)?;
    if let Some((_, simple)) = SIMPLE.iter().find(|(name, _)| *name == text) {
        return Some(simple.clone());
    }
    if let Some(item) = text.strip_prefix("list<").and_then(|text| text.strip_suffix('>')) {
        return Some(list(parse_within(item.trim(), depth)?));
    }
    if let Some(parts) = text.strip_prefix("fixed_size_list<").and_then(|text| text.strip_suffix('>')) {
        let (item, length) = parts.rsplit_once(',')?;
        let length = length.trim().parse::<i32>().ok().filter(|length| *length > 0)?;
        let fixed = DataType::FixedSizeList(item_field(parse_within(item.trim(), depth)?), length);
        return (numbers_of(&fixed) <= MOST_NUMBERS).then_some(fixed);
    }
    let (name, zone) = match text.strip_suffix(']').and_then(|text| text.split_once('[')) {
        Some((name, zone)) => (name, Some(Arc::from(zone))),
        None => (text, None),
    };
    if let Some((_, unit)) = UNITS.iter().find(|(unit, _)| *unit == name) {
        return Some(DataType::Timestamp(*unit, zone));
    }
    match text {
        "bool" => Some(DataType::Boolean),
        "string" | "text" => Some(DataType::Utf8),
        "timestamp" => Some(utc()),
        // Decimals, as arrow writes them.
        _ => text.parse::<DataType>().ok().filter(|parsed| parsed.is_decimal()),
    }
}

/// The name of a type that [`settled`] gives, for [`parse`].
pub(super) fn name(data_type: &DataType) -> String {
    if let Some((name, _)) = SIMPLE.iter().find(|(_, simple)| simple == data_type) {
        return (*name).to_owned();
    }
    match data_type {
        DataType::List(item) => format!("list<{}>", name(item.data_type())),
        DataType::FixedSizeList(item, length) => format!("fixed_size_list<{}, {length}>", name(item.data_type())),
        DataType::Timestamp(unit, zone) => {
            let unit = UNITS.iter().find(|(_, known)| known == unit).map_or("timestamp", |(name, _)| name);
            zone.as_ref().map_or_else(|| unit.to_owned(), |zone| format!("{unit}[{zone}]"))
        }
        other => other.to_string(),
    }
}

/// What a column becomes whose values have this type: one of a few types, so that a stream may go from one to another
/// that says the same. None where nothing is known yet; an error where no column can hold such values.
pub(super) fn settled(data_type: &DataType) -> Result<Option<DataType>, ()> {
    let within = |item: &Field| match settled(item.data_type())? {
        Some(DataType::Binary) => Err(()),
        item => Ok(item.map(item_field)),
    };
    Ok(Some(match data_type {
        DataType::Null => return Ok(None),
        DataType::Boolean | DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => data_type.clone(),
        other if other.is_numeric() => other.clone(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            DataType::Binary
        }
        DataType::Dictionary(_, values) => return settled(values),
        DataType::RunEndEncoded(_, values) => return settled(values.data_type()),
        DataType::List(item) | DataType::LargeList(item) | DataType::ListView(item) | DataType::LargeListView(item) => {
            return Ok(within(item)?.map(DataType::List));
        }
        DataType::FixedSizeList(item, length) if numbers_of(data_type) <= MOST_NUMBERS => {
            return Ok(within(item)?.map(|item| DataType::FixedSizeList(item, *length)));
        }
        DataType::Union(branches, _) => {
            // Numbers of several kinds are numbers; branches of other kinds have to be the same.
            let mut whole: Option<DataType> = None;
            for (_, branch) in branches.iter() {
                whole = match (whole, settled(branch.data_type())?) {
                    (whole, None) => whole,
                    (None, branch) => branch,
                    (Some(whole), Some(branch)) if whole == branch => Some(whole),
                    (Some(whole), Some(branch)) if whole.is_integer() && branch.is_integer() => Some(DataType::Int64),
                    (Some(whole), Some(branch)) if whole.is_numeric() && branch.is_numeric() => Some(DataType::Float64),
                    _ => return Err(()),
                };
            }
            return Ok(whole);
        }
        _ => return Err(()),
    }))
}

/// Whether values of a type are, or are made of, values of one of several types.
pub(super) fn has_union(data_type: &DataType) -> bool {
    match data_type {
        DataType::Union(..) => true,
        DataType::Struct(fields) => fields.iter().any(|field| has_union(field.data_type())),
        DataType::List(item) | DataType::Map(item, _) => has_union(item.data_type()),
        _ => false,
    }
}

/// The numbers of one value of lists of fixed length; rows without a value have them too.
fn numbers_of(data_type: &DataType) -> u64 {
    match data_type {
        DataType::FixedSizeList(item, length) => {
            numbers_of(item.data_type()).saturating_mul(u64::try_from(*length).unwrap_or(u64::MAX))
        }
        _ => 1,
    }
}

/// What a message says is expected of a value.
pub(super) fn expected(data_type: &DataType) -> Cow<'static, str> {
    Cow::Borrowed(match data_type {
        other if other.is_integer() => "a whole number",
        other if other.is_numeric() => "a number",
        DataType::Boolean => "true or false",
        DataType::Utf8 => "text",
        DataType::Binary => "bytes",
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => "a time",
        DataType::FixedSizeList(..) | DataType::List(_) => {
            return Cow::Owned(format!("values of a {}", name(data_type)));
        }
        _ => "a number, text, true or false, bytes, a time or a list of these",
    })
}

/// Microseconds in UTC, which is what event times are.
pub(super) fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
}

pub(super) fn list(item: DataType) -> DataType {
    DataType::List(item_field(item))
}

pub(super) fn item_field(item: DataType) -> Arc<Field> {
    Arc::new(Field::new_list_field(item, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_types_are_one_to_one() {
        for text in [
            "float64",
            "list<float32>",
            "list<fixed_size_list<int8, 3>>",
            "timestamp_ms",
            "timestamp_us[+00:00]",
            "utf8",
        ] {
            assert_eq!(name(&parse(text).unwrap()), text);
        }
        let decimal = DataType::Decimal128(10, 2);
        assert_eq!(parse(&name(&decimal)), Ok(decimal));
        assert_eq!(parse("timestamp"), Ok(utc()));
        for wrong in ["", "float", "list<", "list<x>", "fixed_size_list<int8, 0>", "Struct()", &"list<".repeat(1_000)] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
