//! The report as aligned text.

use super::StreamReport;
use super::methods::MIXTURE;
use crate::bench::table::{aligned, number};
use crate::bench::trial::spread_text;

/// What the figures mean; printed once, above all tables.
pub(super) fn heading(seeds: u64, quick: bool) -> String {
    let length = if quick { " (quick: the first rows)" } else { "" };
    format!(
        "Heads on tables over {seeds} seed(s){length}, one row at a time: each is scored, then learnt from\n\
         \x20 accuracy: prequential; +-: standard deviation over the seeds; rows/s: of the whole program on this machine, the\n\
         \x20 most over the seeds; +label: the label before a row is an input and an expert, where it is known by then; best\n\
         \x20 expert: the most accurate member of the mixture by itself, and how much better it was\n"
    )
}

/// One stream.
pub(super) fn stream(report: &StreamReport) -> String {
    let river = report.river.as_ref();
    let mut rows: Vec<Vec<String>> = report
        .methods
        .iter()
        .map(|row| {
            let best = row.best_expert().map_or_else(
                || "-".to_owned(),
                |(name, accuracy)| {
                    let mean = row.accuracy.map_or(0.0, |figure| figure.mean);
                    format!("{name} {accuracy:.3} ({:+.3})", accuracy - mean)
                },
            );
            vec![
                row.method.to_owned(),
                spread_text(row.accuracy),
                format!("{:.0}", row.rows_per_second),
                number(river.map(|river| row.rows_per_second / river.rows_per_second), 1),
                best,
            ]
        })
        .collect();
    let mut other = |name: &str, accuracy: Option<f64>, speed: Option<f64>| {
        rows.push(vec![name.to_owned(), number(accuracy, 3), number(speed, 0), "-".to_owned(), "-".to_owned()]);
    };
    other("no change", report.no_change_accuracy, None);
    other("majority", report.majority_accuracy, None);
    if let Some(river) = river {
        other("river ARF(10)", Some(river.accuracy), Some(river.rows_per_second));
    }
    let label = match (report.previous_label, report.methods.iter().any(|row| row.method.starts_with(MIXTURE))) {
        (false, true) => ", the label before gives the class away here and is not looked at",
        _ => "",
    };
    format!(
        "\n{}: {} rows{label}\n{}",
        report.stream,
        report.rows,
        aligned(&["method", "accuracy", "rows/s", "x river", "best expert"], &rows)
    )
}
