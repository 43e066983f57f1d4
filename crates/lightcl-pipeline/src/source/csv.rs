//! CSV: the csv and arrow-csv crates read whole batches; when one does not read, the bad rows are found by halving.

use super::FileSourceConfig;
use super::csv_types::{CellType, cells, explain};
use super::reader::{ReadRows, RowReader, guarded, unreadable};
use super::records::{Quoting, Records};
use super::text::{self, Lines, MAX_INFER_BYTES};
use arrow_array::RecordBatch;
use arrow_csv::ReaderBuilder;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use lightcl_core::{Error, Result};
use std::collections::BTreeSet;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

fn quoting(config: &FileSourceConfig) -> Quoting {
    // Both are ASCII: the configuration was checked.
    Quoting { delimiter: config.csv.delimiter as u8, quote: config.csv.quote as u8 }
}

fn records<R: Read>(input: R, config: &FileSourceConfig) -> Records<R> {
    Records::new(input, Some(quoting(config)), config.line_limit_bytes)
}

/// The columns of CSV text and what their cells are, gathered over the first rows of one file or several.
pub(super) struct CsvColumns {
    names: Option<Vec<String>>,
    types: Vec<CellType>,
    rows: usize,
    bytes: usize,
    /// Whether a file was left before its end.
    more: bool,
}

impl CsvColumns {
    pub fn new() -> Self {
        CsvColumns { names: None, types: Vec::new(), rows: 0, bytes: 0, more: false }
    }

    /// Takes in the header of a file, and as many of its rows as are still needed.
    pub fn look_at<R: Read>(&mut self, input: R, config: &FileSourceConfig, name: &str) -> Result<()> {
        let mut records = records(input, config);
        let quoting = quoting(config);
        let failed = |error| unreadable(name, error);
        if config.csv.has_header {
            let Some(header) = header(&mut records, config, name)? else { return Ok(()) };
            match &self.names {
                Some(names) => same_header(names, &header, name)?,
                None => self.names = Some(header),
            }
        }
        loop {
            if self.rows >= config.infer_rows || self.bytes >= MAX_INFER_BYTES {
                self.more = true;
                return Ok(());
            }
            let Some(record) = records.next().map_err(failed)? else { return Ok(()) };
            let bytes = records.bytes(&record);
            self.rows += 1;
            self.bytes += bytes.len();
            let Ok(text) = std::str::from_utf8(bytes) else { continue };
            if record.fault.is_some() {
                continue;
            }
            let cells = cells(text, quoting);
            // Without a header the first row says how many columns there are.
            let names = self.names.get_or_insert_with(|| (1..=cells.len()).map(|n| format!("column_{n}")).collect());
            if cells.len() == names.len() {
                self.types.resize(names.len(), CellType::Empty);
                for (known, cell) in self.types.iter_mut().zip(&cells) {
                    *known = known.with(CellType::of(cell));
                }
            }
        }
    }

    /// The schema; without any header or row it has no columns.
    pub fn schema(mut self) -> SchemaRef {
        let names = self.names.unwrap_or_default();
        self.types.resize(names.len(), CellType::Empty);
        let all_seen = !self.more;
        let fields = names.into_iter().zip(self.types);
        Arc::new(Schema::new(
            fields.map(|(name, cells)| Field::new(name, cells.data_type(all_seen), true)).collect::<Vec<_>>(),
        ))
    }
}

/// The column names of a file; none for a file without any text.
fn header<R: Read>(records: &mut Records<R>, config: &FileSourceConfig, name: &str) -> Result<Option<Vec<String>>> {
    let Some(record) = records.next().map_err(|error| unreadable(name, error))? else { return Ok(None) };
    let bad = |why: &str| Error::user(format!("the header of '{name}' cannot be read: {why}")).with("file", name);
    let text = std::str::from_utf8(records.bytes(&record)).map_err(|_| bad("it is not UTF-8"))?;
    if let Some(why) = record.fault {
        return Err(bad(why));
    }
    let mut seen = BTreeSet::new();
    let mut names = Vec::new();
    for (number, cell) in cells(text, quoting(config)).into_iter().enumerate() {
        let cell = cell.trim();
        let column = if cell.is_empty() { format!("column_{}", number + 1) } else { cell.to_owned() };
        if !seen.insert(column.clone()) {
            return Err(bad(&format!("it names the column '{column}' twice")));
        }
        names.push(column);
    }
    Ok(Some(names))
}

fn same_header(expected: &[String], found: &[String], name: &str) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    let number = expected.iter().zip(found).take_while(|(left, right)| left == right).count();
    let shown = |names: &[String]| names.get(number).map_or("missing".to_owned(), |column| format!("'{column}'"));
    Err(Error::user(format!(
        "the columns of '{name}' are not those of the files before it: column {} is {}, expected {}",
        number + 1,
        shown(found),
        shown(expected)
    ))
    .with("file", name))
}

/// Reads the rows of one file.
pub(super) struct CsvReader {
    name: Arc<str>,
    records: Records<Box<dyn Read + Send>>,
    schema: SchemaRef,
    config: FileSourceConfig,
}

impl CsvReader {
    pub fn open(
        name: &Arc<str>,
        input: Box<dyn Read + Send>,
        schema: &SchemaRef,
        config: &FileSourceConfig,
    ) -> Result<Self> {
        let mut records = records(input, config);
        if config.csv.has_header
            && let Some(found) = header(&mut records, config, name)?
        {
            let expected: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
            same_header(&expected, &found, name)?;
        }
        Ok(CsvReader { name: Arc::clone(name), records, schema: Arc::clone(schema), config: config.clone() })
    }

    /// Reads text that is to hold exactly `rows` records.
    fn decode(&self, mut text: &[u8], rows: usize) -> Result<RecordBatch, String> {
        let Quoting { delimiter, quote } = quoting(&self.config);
        let mut decoder = ReaderBuilder::new(Arc::clone(&self.schema))
            .with_header(false)
            .with_delimiter(delimiter)
            .with_quote(quote)
            .with_batch_size(rows)
            .build_decoder();
        while !text.is_empty() {
            let taken = decoder.decode(text).map_err(|error| error.to_string())?;
            if taken == 0 {
                break;
            }
            text = &text[taken..];
        }
        let batch = decoder.flush().map_err(|error| error.to_string())?;
        match batch {
            Some(batch) if batch.num_rows() == rows && text.iter().all(|byte| byte.is_ascii_whitespace()) => Ok(batch),
            _ => Err("the line is not one record".to_owned()),
        }
    }

    /// Finds the records of a range that do not read, by halving.
    fn find_bad(&self, lines: &Lines, rows: Range<usize>, known_bad: &[bool], bad: &mut Vec<(usize, String)>) {
        if rows.is_empty() {
            return;
        }
        let has_known = known_bad[rows.clone()].iter().any(|known| *known);
        if rows.len() == 1 && has_known {
            return;
        }
        if !has_known {
            let text = &lines.text[lines.ranges[rows.start].start..=lines.ranges[rows.end - 1].end];
            match self.decode(text, rows.len()) {
                Ok(_) => return,
                Err(why) if rows.len() == 1 => {
                    bad.push((rows.start, why));
                    return;
                }
                Err(_) => {}
            }
        }
        let middle = rows.start + rows.len() / 2;
        self.find_bad(lines, rows.start..middle, known_bad, bad);
        self.find_bad(lines, middle..rows.end, known_bad, bad);
    }

    fn explain(&self, record: &[u8], why: &str) -> String {
        let fields = self.schema.fields();
        let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
        let types: Vec<&DataType> = fields.iter().map(|field| field.data_type()).collect();
        let text = String::from_utf8_lossy(record);
        explain(&cells(&text, quoting(&self.config)), &names, &types).unwrap_or_else(|| format!(": {why}"))
    }

    /// A record of nothing but empty cells, which are null.
    fn push_empty_record(&self, text: &mut Vec<u8>) {
        let Quoting { delimiter, quote } = quoting(&self.config);
        // Quotes, since a line without any character is no record.
        text.extend([quote, quote]);
        text.resize(text.len() + self.schema.fields().len().saturating_sub(1), delimiter);
        text.push(b'\n');
    }
}

impl RowReader for CsvReader {
    fn next(&mut self) -> Result<Option<ReadRows>> {
        let (rows, limit) = (self.config.batch_rows, self.config.line_limit_bytes);
        let mut lines = Lines::read(&mut self.records, rows, limit, &self.name)?;
        let count = lines.len();
        if count == 0 {
            return Ok(None);
        }
        if lines.faults.is_empty()
            && let Ok(batch) = guarded(&self.name, || self.decode(&lines.text, count))
        {
            return Ok(Some(ReadRows::whole(batch)));
        }
        let mut known_bad = vec![false; count];
        lines.faults.iter().for_each(|fault| known_bad[fault.row] = true);
        let bad = guarded(&self.name, || {
            let mut bad = Vec::new();
            self.find_bad(&lines, 0..count, &known_bad, &mut bad);
            Ok::<_, String>(bad)
        })?;
        for (row, why) in bad {
            known_bad[row] = true;
            let why = self.explain(lines.bytes(row), &why);
            let fault = lines.fault(row, &why);
            lines.faults.push(fault);
        }
        let mut text = Vec::with_capacity(lines.text.len());
        for (row, bad) in known_bad.iter().enumerate() {
            if *bad {
                self.push_empty_record(&mut text);
            } else {
                text.extend_from_slice(lines.bytes(row));
                text.push(b'\n');
            }
        }
        let batch = self.decode(&text, count).map_err(|error| text::unbuildable(&self.name, error))?;
        Ok(Some(lines.into_rows(batch)))
    }

    fn skip(&mut self, rows: u64) -> Result<u64> {
        text::skip(&mut self.records, rows, &self.name)
    }
}
