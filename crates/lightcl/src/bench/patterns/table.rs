//! The report as aligned text.

use super::StreamReport;
use crate::bench::table::aligned;
use crate::bench::trial::spread_text;

/// What the figures mean; printed once, above all tables.
pub(super) fn heading(seeds: u64, quick: bool) -> String {
    let length = if quick { " (quick: short streams)" } else { "" };
    format!(
        "Heads over {seeds} seed(s){length}, one pass, task boundaries known, no sample stored\n\
         \x20 class-IL: share of all test rows that are right among all classes at the end; task-IL: among the classes of the\n\
         \x20 row's own task, mean over the tasks; +-: standard deviation over the seeds; statistics: sums that the heads keep;\n\
         \x20 seconds: of the whole stream, the least over the seeds\n"
    )
}

/// One stream.
pub(super) fn stream(report: &StreamReport) -> String {
    let rows: Vec<Vec<String>> = report
        .methods
        .iter()
        .map(|row| {
            vec![
                row.method.to_owned(),
                spread_text(row.class_il),
                spread_text(row.task_il),
                format!("{:.2} MB", row.statistics_bytes as f64 / 1e6),
                format!("{:.1}", row.seconds),
            ]
        })
        .collect();
    format!(
        "\n{}: {} tasks, {} rows, {} test rows\n{}",
        report.stream,
        report.tasks,
        report.rows,
        report.test_rows,
        aligned(&["method", "class-IL", "task-IL", "statistics", "seconds"], &rows)
    )
}
