//! What the operator needs to know.

use lightcl_boundary::RegimesConfig;
use lightcl_core::{Error, Result};

/// Settings of an [`crate::Operator`].
///
/// ```
/// let config = lightcl_stream::OperatorConfig::new("shop");
/// assert_eq!(config.window_samples, 256);
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct OperatorConfig {
    /// Name of the model; the same over a run and its restarts.
    pub model_id: String,
    /// Hash of the configuration that decides what is learnt; goes into every snapshot.
    pub config_sha256: String,
    /// Seed of the operator's own choices (which rows become probes).
    pub seed: u64,
    /// Size of the importance batch and of a task's first batch.
    pub batch_samples: usize,
    /// Rows scored together, before the label of any of them is looked at. None: as `batch_samples`.
    pub score_samples: Option<usize>,
    /// Rows learnt from together.
    pub window_samples: usize,
    /// Learnt windows that can be undone when a detector fires late; 0 switches roll-back off.
    pub rollback_windows: usize,
    /// Most bytes those windows may hold; the oldest go first.
    pub rollback_bytes: u64,
    /// Whether tasks that return are recognised, and how many are held.
    pub regimes: RegimesConfig,
    /// Most held-out samples a task keeps as latent probes; 0 switches them off.
    pub probe_samples: usize,
    /// Most bytes the probes of all tasks may hold; the oldest tasks are thinned first.
    pub probe_bytes: u64,
    /// Rows in the sliding window of the prequential accuracy.
    pub prequential_window_samples: usize,
    /// Fading factor of the prequential accuracy, in `(0, 1]`.
    pub prequential_fading: f64,
    /// Rows between stability reports; 0 = only at boundaries and at the end.
    pub stability_every_samples: u64,
    /// Rows between snapshots; 0 = none by count.
    pub snapshot_every_samples: u64,
    /// Whether a snapshot is taken when a task ends.
    pub snapshot_on_boundary: bool,
    /// Whether a snapshot is taken at the end of the input.
    pub snapshot_at_end: bool,
    /// Whether each scored row is emitted.
    pub emit_predictions: bool,
}

impl OperatorConfig {
    /// The defaults, for a model of the given name.
    pub fn new(model_id: impl Into<String>) -> Self {
        OperatorConfig {
            model_id: model_id.into(),
            config_sha256: String::new(),
            seed: 0,
            batch_samples: 32,
            score_samples: None,
            window_samples: 256,
            rollback_windows: 8,
            rollback_bytes: 64 << 20,
            regimes: RegimesConfig::default(),
            probe_samples: 64,
            probe_bytes: 16 << 20,
            prequential_window_samples: 1000,
            prequential_fading: 0.999,
            stability_every_samples: 0,
            snapshot_every_samples: 0,
            snapshot_on_boundary: true,
            snapshot_at_end: true,
            emit_predictions: false,
        }
    }

    /// Checks what the types do not.
    ///
    /// # Errors
    /// When a size is zero or a factor out of its range.
    pub fn validate(&self) -> Result<()> {
        if self.batch_samples == 0 || self.window_samples < self.batch_samples {
            return Err(Error::user("window_samples must be at least batch_samples, and both at least 1")
                .with("batch_samples", self.batch_samples)
                .with("window_samples", self.window_samples));
        }
        if !(1..=self.window_samples).contains(&self.rows_scored()) {
            return Err(Error::user("score_samples must be at least 1 and at most window_samples")
                .with("score_samples", self.rows_scored())
                .with("window_samples", self.window_samples));
        }
        if self.prequential_window_samples == 0 || !(self.prequential_fading > 0.0 && self.prequential_fading <= 1.0) {
            return Err(Error::user("the prequential window must be at least 1 and its fading factor in (0, 1]")
                .with("prequential_window_samples", self.prequential_window_samples)
                .with("prequential_fading", self.prequential_fading));
        }
        self.regimes.validate()
    }

    /// Rows scored together.
    pub(crate) fn rows_scored(&self) -> usize {
        self.score_samples.unwrap_or(self.batch_samples)
    }
}
