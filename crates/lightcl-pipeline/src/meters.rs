//! What the program measures while it runs, through the `metrics` facade: nothing is recorded until a recorder is
//! installed. Names and units are listed in `docs/operations.md`.

use lightcl_core::Output;
use lightcl_stream::Operator;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use std::time::Duration;

/// Describes every meter to the installed recorder.
pub fn describe() {
    describe_counter!("lightcl_samples_total", Unit::Count, "Rows read, rejected ones included");
    describe_counter!("lightcl_rejected_total", Unit::Count, "Rows rejected, by reason");
    describe_counter!("lightcl_predictions_total", Unit::Count, "Predictions emitted");
    describe_counter!("lightcl_boundaries_total", Unit::Count, "Task boundaries placed");
    describe_counter!("lightcl_recurring_boundaries_total", Unit::Count, "Boundaries at which a known task returned");
    describe_counter!("lightcl_merged_tasks_total", Unit::Count, "Tasks that went into others to make room");
    describe_counter!("lightcl_rolled_back_samples_total", Unit::Count, "Learnt rows undone at boundaries");
    describe_counter!("lightcl_snapshots_total", Unit::Count, "Snapshots published");
    describe_counter!("lightcl_commits_total", Unit::Count, "Commits of outputs, positions and state");
    describe_gauge!("lightcl_task", Unit::Count, "Number of the task that is being learnt");
    describe_gauge!("lightcl_prequential_accuracy", "Share of the last rows predicted rightly, in [0, 1]");
    describe_gauge!("lightcl_plasticity", "Learning plasticity LP, in [0, 1]");
    describe_gauge!("lightcl_stability", "Memory stability MS, in [0, 1]");
    describe_gauge!("lightcl_expert_weight", "Weight of an expert in the mixture, in [0, 1]");
    describe_gauge!("lightcl_part_bytes", Unit::Bytes, "Bytes held, by part of the state");
    describe_gauge!("lightcl_state_bytes", Unit::Bytes, "Size of the last state committed");
    describe_histogram!("lightcl_push_seconds", Unit::Seconds, "Time to score and learn one slice of rows");
    describe_histogram!("lightcl_commit_seconds", Unit::Seconds, "Time to make outputs and state durable");
    describe_kafka();
}

/// Those that only a Kafka job or a server of models has.
fn describe_kafka() {
    describe_gauge!(
        "lightcl_kafka_lag_records",
        Unit::Count,
        "Records between what is committed and the last stable offset, by partition"
    );
    describe_gauge!(
        "lightcl_kafka_lag_seconds",
        Unit::Seconds,
        "Age of the last record committed while more wait, by partition"
    );
    describe_counter!("lightcl_kafka_rebalances_total", Unit::Count, "Rebalances of the consumer group");
    describe_counter!("lightcl_kafka_displacements_total", Unit::Count, "Learners that another instance took over");
    describe_counter!("lightcl_kafka_pauses_total", Unit::Count, "Partitions paused because their learner was behind");
    describe_counter!("lightcl_kafka_stopped_units_total", Unit::Count, "Learners that could not go on");
    describe_counter!("lightcl_lost_records_total", Unit::Count, "Records gone unread that source.or_else jumped over");
    describe_counter!("lightcl_tombstones_skipped_total", Unit::Count, "Records without a value that were passed over");
    describe_counter!("lightcl_kafka_transactions_total", Unit::Count, "Transactions, by outcome");
    describe_histogram!("lightcl_kafka_transaction_seconds", Unit::Seconds, "Time of a transaction, by outcome");
    describe_counter!("lightcl_kafka_output_bytes_total", Unit::Bytes, "Bytes committed to topics of outputs");
    describe_counter!("lightcl_kafka_state_bytes_total", Unit::Bytes, "Bytes committed to the state topic");
    describe_counter!("lightcl_kafka_claim_bytes_total", Unit::Bytes, "Bytes written to the store of claim checks");
    describe_gauge!("lightcl_kafka_restore_progress", "How far a learner is restored, in [0, 1], by unit");
    describe_histogram!("lightcl_restore_seconds", Unit::Seconds, "Time to bring a learner's state back");
    describe_counter!("lightcl_model_swaps_total", Unit::Count, "Models put in the place of older ones while serving");
    describe_counter!("lightcl_snapshot_rejected_total", Unit::Count, "Snapshots that were incomplete or damaged");
    describe_histogram!("lightcl_model_swap_seconds", Unit::Seconds, "Time from a model's publication to its use");
}

/// Records one slice of rows and what it led to. Without an operator (every key has its own) there is no task or accuracy
/// to record.
pub fn pushed(operator: Option<&Operator>, rows: usize, outputs: &[Output], elapsed: Duration) {
    counter!("lightcl_samples_total").increment(rows as u64);
    histogram!("lightcl_push_seconds").record(elapsed);
    if let Some(operator) = operator {
        gauge!("lightcl_task").set(f64::from(operator.current_task()));
        if let Some(accuracy) = operator.prequential().report().window_accuracy {
            gauge!("lightcl_prequential_accuracy").set(accuracy);
        }
    }
    for output in outputs {
        match output {
            Output::Prediction(_) => counter!("lightcl_predictions_total").increment(1),
            Output::Boundary(event) => {
                counter!("lightcl_boundaries_total").increment(1);
                counter!("lightcl_recurring_boundaries_total").increment(u64::from(event.recurring));
                counter!("lightcl_merged_tasks_total").increment(u64::from(event.merged.is_some()));
                counter!("lightcl_rolled_back_samples_total").increment(event.rolled_back);
            }
            Output::Snapshot(_) => counter!("lightcl_snapshots_total").increment(1),
            Output::Rejected(letter) => {
                counter!("lightcl_rejected_total", "reason" => letter.reason.as_str()).increment(1);
            }
            Output::Stability(report) => {
                report.plasticity.into_iter().for_each(|value| gauge!("lightcl_plasticity").set(value));
                report.stability.into_iter().for_each(|value| gauge!("lightcl_stability").set(value));
                for expert in &report.experts {
                    gauge!("lightcl_expert_weight", "expert" => expert.expert.clone()).set(expert.weight);
                }
                for part in &report.bytes {
                    gauge!("lightcl_part_bytes", "part" => part.part.clone()).set(part.bytes as f64);
                }
            }
        }
    }
}

/// Records one commit.
pub fn committed(state_bytes: usize, elapsed: Duration) {
    counter!("lightcl_commits_total").increment(1);
    gauge!("lightcl_state_bytes").set(state_bytes as f64);
    histogram!("lightcl_commit_seconds").record(elapsed);
}
