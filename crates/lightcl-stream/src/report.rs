//! Stability reports, snapshots and the summary of a run.

use crate::Operator;
use lightcl_core::{
    AccuracyMatrix, BlobEntry, Manifest, Output, PartBytes, Result, Snapshot, StabilityReport, Stateful, state,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// The figures of a run so far, as `lightcl run --json` prints them (less speed and memory, which the driver knows).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Rows read, rejected ones included.
    pub samples: u64,
    /// Rows rejected.
    pub rejected: u64,
    /// The same by reason.
    pub rejected_by_reason: BTreeMap<String, u64>,
    /// Rows learnt from.
    pub trained_samples: u64,
    /// Tasks opened so far; one that returned counts once, one that was merged still counts.
    pub tasks: u32,
    /// Tasks that went into others to make room.
    pub merged_tasks: u64,
    /// Where tasks began or returned: indices of their first samples, the last 10,000 of them.
    pub boundaries: Vec<u64>,
    /// How many boundaries there were in all.
    pub boundary_count: u64,
    /// Those at which a known task returned.
    pub recurring_boundaries: u64,
    /// Classes seen.
    pub classes: usize,
    /// Share of rows predicted rightly before they were learnt from.
    pub prequential_accuracy: Option<f64>,
    /// Cohen's kappa of the same.
    pub kappa: Option<f64>,
    /// Accuracy of always predicting the previous label.
    pub no_change_accuracy: Option<f64>,
    /// Accuracy of always predicting the most frequent label so far.
    pub majority_accuracy: Option<f64>,
    /// Where the accuracies below come from: `evaluate` (held-out rows) or `probes` (latent probes).
    pub accuracy_source: String,
    /// Mean accuracy over all tasks among each task's own classes.
    pub task_il: Option<f64>,
    /// Mean accuracy over all tasks among all classes.
    pub class_il: Option<f64>,
    /// Learning plasticity LP.
    pub plasticity: Option<f64>,
    /// Memory stability MS.
    pub stability: Option<f64>,
    /// Backward transfer BWT.
    pub backward_transfer: Option<f64>,
    /// Mean drop from the best accuracy a task had.
    pub forgetting: Option<f64>,
    /// Mean over time of the mean accuracy on the tasks seen.
    pub any_time_accuracy: Option<f64>,
    /// Accuracy on task `j` after learning task `i` among the task's own classes.
    pub task_il_matrix: AccuracyMatrix,
    /// The same among all classes.
    pub class_il_matrix: AccuracyMatrix,
    /// Snapshots published.
    pub snapshots: u64,
    /// SHA-256 of the operator's state.
    pub state_sha256: String,
}

impl Operator {
    /// The figures so far.
    ///
    /// # Errors
    /// When the state cannot be encoded.
    pub fn summary(&self) -> Result<Summary> {
        let progress = &self.progress;
        let prequential = self.prequential.report();
        let (source, accuracies) = self.accuracies();
        let (matrix, class_incremental) = (accuracies.task_incremental(), accuracies.class_incremental());
        Ok(Summary {
            samples: progress.samples,
            rejected: progress.rejected_total(),
            rejected_by_reason: progress.rejected.iter().map(|(k, &n)| (k.as_str().to_owned(), n)).collect(),
            trained_samples: progress.trained_samples,
            tasks: progress.next_task_id,
            merged_tasks: progress.merged_tasks,
            boundaries: progress.boundaries.last.iter().copied().collect(),
            boundary_count: progress.boundaries.count,
            recurring_boundaries: progress.boundaries.recurring,
            classes: self.encoder.class_count(),
            prequential_accuracy: prequential.accuracy,
            kappa: prequential.kappa,
            no_change_accuracy: prequential.no_change_accuracy,
            majority_accuracy: prequential.majority_accuracy,
            accuracy_source: source.to_owned(),
            task_il: matrix.final_accuracy(),
            class_il: class_incremental.final_accuracy(),
            plasticity: matrix.plasticity(),
            stability: matrix.stability(),
            backward_transfer: matrix.backward_transfer(),
            forgetting: matrix.forgetting(),
            any_time_accuracy: matrix.any_time_accuracy(),
            task_il_matrix: matrix,
            class_il_matrix: class_incremental,
            snapshots: progress.snapshots,
            state_sha256: state::sha256_hex(&self.save()?),
        })
    }

    /// Bytes held, part by part: the learner's parts, then the operator's own.
    pub fn bytes(&self) -> Result<Vec<PartBytes>> {
        let mut parts = self.learner.as_ref().map(|learner| learner.bytes()).unwrap_or_default();
        let own = [
            ("window", self.progress.pending.bytes() + self.progress.recent.bytes()),
            ("rollback_ring", self.ring.bytes()),
            ("probes", self.probes.bytes()),
            ("encoder", self.encoder.bytes()),
            ("detector", self.detector.save()?.len() as u64),
            ("regimes", self.regimes.bytes()),
            ("tasks", self.progress.task_bytes()),
            ("prequential", self.prequential.bytes()),
        ];
        parts.extend(own.into_iter().map(|(part, bytes)| PartBytes { part: part.to_owned(), bytes }));
        Ok(parts)
    }

    fn accuracies(&self) -> (&'static str, &crate::evaluation::Accuracies) {
        match &self.progress.on_held_out {
            Some(accuracies) => ("evaluate", accuracies),
            None => ("probes", &self.progress.on_probes),
        }
    }

    pub(crate) fn stability_report(&mut self, reason: &str) -> Result<Output> {
        self.progress.last_stability = self.progress.samples;
        let (source, accuracies) = self.accuracies();
        let matrix = accuracies.task_incremental();
        let progress = &self.progress;
        Ok(Output::Stability(Box::new(StabilityReport {
            format: 1,
            samples: progress.samples,
            task: progress.task().id,
            reason: reason.to_owned(),
            rejected: progress.rejected_total(),
            trained_samples: progress.trained_samples,
            loss: progress.loss,
            pattern_loss: progress.pattern_loss,
            prequential: self.prequential.report(),
            accuracy_source: source.to_owned(),
            class_incremental: accuracies.class_incremental(),
            probe_task_incremental: progress.on_probes.task_incremental(),
            plasticity: matrix.plasticity(),
            stability: matrix.stability(),
            backward_transfer: matrix.backward_transfer(),
            forgetting: matrix.forgetting(),
            any_time_accuracy: matrix.any_time_accuracy(),
            task_incremental: matrix,
            layers: self.learner.as_ref().map_or(Ok(Vec::new()), |learner| learner.layers())?,
            experts: self.learner.as_ref().map(|learner| learner.experts()).unwrap_or_default(),
            bytes: self.bytes()?,
        })))
    }

    /// A snapshot of the model as it is now; none before there is one.
    pub(crate) fn snapshot(&mut self, reason: &str) -> Result<Option<Output>> {
        let Some(learner) = &self.learner else { return Ok(None) };
        let weights = learner.snapshot()?;
        let (_, accuracies) = self.accuracies();
        let matrix = accuracies.task_incremental();
        let progress = &self.progress;
        let manifest = Manifest {
            format: 1,
            model_id: self.config.model_id.clone(),
            version: progress.snapshots + 1,
            parent: (progress.snapshots > 0).then_some(progress.snapshots),
            task: progress.task().id,
            reason: reason.to_owned(),
            positions: progress.positions.clone(),
            samples: progress.samples,
            trained_samples: progress.trained_samples,
            steps: progress.steps,
            prequential_accuracy: self.prequential.report().window_accuracy,
            plasticity: matrix.plasticity(),
            stability: matrix.stability(),
            config_sha256: self.config.config_sha256.clone(),
            learner: weights.description,
            encoder: self.encoder.describe()?,
            blobs: weights
                .blobs
                .iter()
                .map(|blob| BlobEntry {
                    role: blob.role.clone(),
                    sha256: state::sha256_hex(&blob.bytes),
                    bytes: blob.bytes.len() as u64,
                })
                .collect(),
        };
        self.progress.snapshots += 1;
        self.progress.last_snapshot = self.progress.samples;
        Ok(Some(Output::Snapshot(Box::new(Snapshot { manifest, blobs: weights.blobs }))))
    }
}
