//! Files of statements and what they give, in the format of sqllogictest as far as it is needed: records with a blank line between
//! them, each after its comments one of
//!
//! ```text
//! statement ok          statement error          query TI
//! CREATE ..             SELECT ..                SELECT ..
//!                       ----                     ----
//!                       what is said             one row a line
//! ```
//! The letters are the columns' types: `T` text, `I` whole numbers, `R` others, `B` booleans, `?` anything else.

use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::error::Result;
use datafusion::prelude::SessionContext;

/// What a statement gave: its header and the lines below the rule.
struct Given {
    header: String,
    lines: Vec<String>,
}

/// Runs the records of a file one after the other and gives the file as it would have to be. `placed` turns names that the file
/// uses into those of this machine, `placeless` turns them back.
pub async fn run(
    session: &SessionContext,
    file: &str,
    placed: impl Fn(&str) -> String,
    placeless: impl Fn(&str) -> String,
) -> String {
    let mut records = Vec::new();
    for record in file.split("\n\n") {
        let lines: Vec<&str> = record.trim_matches('\n').lines().collect();
        let comments = lines.iter().take_while(|line| line.starts_with('#')).count();
        let mut text = lines[..comments].join("\n");
        let lines = &lines[comments..];
        if !lines.is_empty() {
            let is_known = ["statement ok", "statement error"].contains(&lines[0]) || lines[0].starts_with("query");
            assert!(is_known, "a record begins with statement or query, not with {:?}", lines[0]);
            let end = lines.iter().position(|line| *line == "----").unwrap_or(lines.len());
            let sql = lines[1..end].join("\n");
            let Given { header, lines } = match rows(session, &placed(&sql)).await {
                Ok(given) => given,
                Err(error) => Given {
                    header: "statement error".to_owned(),
                    lines: error.strip_backtrace().lines().map(str::to_owned).collect(),
                },
            };
            if comments > 0 {
                text.push('\n');
            }
            text.push_str(&format!("{header}\n{sql}"));
            if header != "statement ok" {
                text.push_str("\n----");
                lines.iter().for_each(|line| text.push_str(&format!("\n{}", placeless(line).trim_end())));
            }
        }
        records.push(text);
    }
    format!("{}\n", records.join("\n\n").trim_end())
}

async fn rows(session: &SessionContext, sql: &str) -> Result<Given> {
    let frame = session.sql(sql).await?;
    let types: String = frame.schema().fields().iter().map(|field| letter(field.data_type())).collect();
    let batches = frame.collect().await?;
    if types.is_empty() {
        return Ok(Given { header: "statement ok".to_owned(), lines: Vec::new() });
    }
    let options = FormatOptions::default().with_null("NULL");
    let mut lines = Vec::new();
    for batch in batches {
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
        let columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let cells = columns.iter().map(|column| column.value(row).to_string());
            let cells = cells.map(|cell| if cell.is_empty() { "(empty)".to_owned() } else { cell });
            lines.push(cells.collect::<Vec<_>>().join(" "));
        }
    }
    Ok(Given { header: format!("query {types}"), lines })
}

fn letter(data_type: &DataType) -> char {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => 'T',
        DataType::Boolean => 'B',
        other if other.is_integer() => 'I',
        other if other.is_numeric() => 'R',
        _ => '?',
    }
}
