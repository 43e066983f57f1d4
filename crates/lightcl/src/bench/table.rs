//! Reports as aligned text.

use super::quality::Rule;
use super::report::{Row, Skipped, StreamReport, SummaryRow};
use super::streams::Truth;
use std::fmt::Write as _;

/// Cells in columns: the first to the left, the others to the right.
pub(super) fn aligned(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &[&str]| {
        let padded = cells.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        format!("  {}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    let mut text = line(header);
    for row in rows {
        text.push_str(&line(&row.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    text
}

pub(super) fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}

fn label(detector: &str, rollback: bool) -> String {
    if rollback { detector.to_owned() } else { format!("{detector} (no roll-back)") }
}

/// What the figures mean; printed once, above all tables.
pub(crate) fn heading(rule: Rule, seeds: u64, quick: bool) -> String {
    let length = if quick { " (quick: short streams)" } else { "" };
    format!(
        "Boundary detectors over {seeds} seed(s){length}\n\
         \x20 found: a boundary noticed at most {} rows after a true change point and placed at most {} rows from it; each\n\
         \x20 counts once. Around a gradual change both are wider by half its width, and it may be noticed before its middle.\n\
         \x20 bounds, found, missed, false: counts over all seeds; /10k: false alarms in 10,000 rows; MTFA: rows between two;\n\
         \x20 delay: rows from the change point to the notice, offset: to where it was placed (medians); accuracies: means;\n\
         \x20 task-IL, class-IL: at the end, on held-out rows of the true tasks; detector, learner: time a row, the\n\
         \x20 least over the seeds (the clock itself takes some 25 ns of the detector's, see never).\n",
        rule.max_delay, rule.max_offset
    )
}

/// One stream.
pub(crate) fn stream(report: &StreamReport) -> String {
    let points = &report.change_points;
    let truth = match report.truth {
        Truth::All if points.is_empty() => "nothing changes".to_owned(),
        Truth::All => format!("changes at {}", joined(points)),
        Truth::Some => format!("a change at {}, others are not known", joined(points)),
        Truth::Unknown => "changes are not known".to_owned(),
    };
    let slack = if report.slack > 0 { format!(" (+-{})", report.slack) } else { String::new() };
    let mut text = format!("\n{}: {} rows, {truth}{slack}", report.stream, report.rows);
    if let Some(accuracy) = report.no_change_accuracy {
        // Writing to a String cannot fail.
        let _ = write!(text, ", no-change accuracy {accuracy:.3}");
    }
    text.push('\n');
    let header = [
        "detector", "bounds", "found", "missed", "false", "/10k", "MTFA", "prec", "recall", "F1", "delay", "offset",
        "preq", "task-IL", "class-IL", "detector", "learner",
    ];
    let rows: Vec<Vec<String>> = report.detectors.iter().map(cells).collect();
    text.push_str(&aligned(&header, &rows));
    for reason in &report.left_out {
        let _ = writeln!(text, "  left out: {reason}");
    }
    text
}

fn cells(row: &Row) -> Vec<String> {
    let figures = &row.figures;
    vec![
        label(&row.detector, row.rollback),
        figures.boundaries.to_string(),
        figures.matched.to_string(),
        figures.missed.to_string(),
        figures.false_alarms.map_or_else(|| "-".to_owned(), |count| count.to_string()),
        number(figures.false_alarms_per_10k, 2),
        number(figures.rows_between_false_alarms, 0),
        number(figures.precision, 2),
        number(figures.recall, 2),
        number(figures.f1, 2),
        number(figures.median_delay, 0),
        number(figures.median_offset, 0),
        number(figures.prequential_accuracy, 3),
        number(figures.task_il, 3),
        number(figures.class_il, 3),
        format!("{:.0} ns", figures.detector_ns_per_row),
        format!("{:.1} us", figures.learner_ns_per_row / 1000.0),
    ]
}

fn joined(points: &[u64]) -> String {
    points.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}

/// A stream that was left out.
pub(crate) fn skipped(skipped: &Skipped) -> String {
    format!("\n{}: left out, {}\n", skipped.stream, skipped.reason)
}

/// All streams together; `common` of them ran with every detector.
pub(crate) fn summary(rows: &[SummaryRow], common: usize) -> String {
    let header = [
        "detector",
        "mean F1",
        "rank by F1",
        "false /10k",
        "preq",
        "rank by preq",
        "task-IL",
        "class-IL",
        "detector",
        "streams",
    ];
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                label(&row.detector, row.rollback),
                number(row.mean_f1, 3),
                number(row.mean_rank, 2),
                number(row.mean_false_alarms_per_10k, 2),
                number(row.mean_prequential_accuracy, 3),
                number(row.mean_accuracy_rank, 2),
                number(row.mean_task_il, 3),
                number(row.mean_class_il, 3),
                number(row.detector_ns_per_row, 0) + " ns",
                row.streams.to_string(),
            ]
        })
        .collect();
    format!(
        "\nAll streams: means\n\
         \x20 F1 and its rank: over the streams whose change points are all known and that have some; false /10k: also over\n\
         \x20 those without any; preq, task-IL, class-IL: over the {common} streams that every detector ran on;\n\
         \x20 detector: the median over the streams\n{}",
        aligned(&header, &rows)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["a".to_owned(), "10".to_owned()], vec!["long".to_owned(), "-".to_owned()]];
        assert_eq!(aligned(&["name", "n"], &rows), "  name   n\n  a     10\n  long   -\n");
        assert_eq!(aligned(&["name", "n"], &[]), "  name  n\n");
    }
}
