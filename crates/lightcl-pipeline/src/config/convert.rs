//! From settings to what the parts take.

use super::pipeline::Pipeline;
use super::settings::{self, Feature, FileType, PredictionFormat, Settings};
use crate::driver::CheckpointPolicy;
use crate::source::{CsvOptions, FileKind, FileSourceConfig};
use lightcl_boundary::{AutoConfig, DetectorConfigs, ErrorConfig, EveryConfig, NewClassesConfig, RegimesConfig};
use lightcl_core::{BoundaryDetector, Result};
use lightcl_learner::{
    ActiveClasses, AnalyticConfig, Backbone, FrozenNorm, HeadKind, LearnerConfig, MemoryConfig, Method, NamedWeights,
    Precision, Prefix, Reading, RegimeKind, ReplayKind, Standardize, Tap, Update,
};
use lightcl_stream::OperatorConfig;
use lightcl_stream::encode::{CategoryEncoding, DEFAULT_CATEGORY_SLOTS, EncoderConfig, FeatureConfig, FeatureKind};
use std::path::Path;
use std::time::Duration;

impl From<FileType> for FileKind {
    fn from(kind: FileType) -> Self {
        match kind {
            FileType::Arrow => FileKind::Arrow,
            FileType::Parquet => FileKind::Parquet,
            FileType::Csv => FileKind::Csv,
            FileType::Jsonl => FileKind::Jsonl,
        }
    }
}

impl From<&Feature> for FeatureConfig {
    fn from(feature: &Feature) -> Self {
        let Feature::Table(table) = feature else { return FeatureConfig::auto(feature.column()) };
        let kind = match table.kind {
            settings::FeatureKind::Auto => FeatureKind::Auto,
            settings::FeatureKind::Numeric => FeatureKind::Numeric,
            settings::FeatureKind::Tensor => FeatureKind::Tensor,
            settings::FeatureKind::Image => FeatureKind::Image,
            settings::FeatureKind::Category => FeatureKind::Category {
                encoding: match table.encoding.unwrap_or_default() {
                    settings::CategoryEncoding::OneHot => CategoryEncoding::OneHot,
                    settings::CategoryEncoding::Hash => CategoryEncoding::Hash,
                },
                size: table.size.unwrap_or(DEFAULT_CATEGORY_SLOTS),
            },
        };
        FeatureConfig { column: table.column.clone(), kind, shape: table.shape.clone() }
    }
}

impl Settings {
    /// What the source of files takes; none where the source is Kafka.
    pub fn source_config(&self) -> Option<FileSourceConfig> {
        let kind = self.source.kind.file()?;
        Some(self.file_source(kind, self.source.path.as_deref().unwrap_or_default()))
    }

    /// What the source of held-out samples takes, when there is one.
    pub fn evaluation_config(&self) -> Option<FileSourceConfig> {
        let evaluate = self.evaluate.as_ref()?;
        let kind = evaluate.kind.or(self.source.kind.file())?;
        Some(self.file_source(kind, &evaluate.path))
    }

    fn file_source(&self, kind: FileType, path: &str) -> FileSourceConfig {
        let source = &self.source;
        let settings::Csv { delimiter, quote, has_header, columns: _ } = source.csv;
        // How records of Kafka are cut says nothing about files beside it.
        let has_header = has_header || self.is_kafka();
        FileSourceConfig {
            batch_rows: source.batch_rows,
            infer_rows: source.infer_rows,
            csv: CsvOptions { delimiter, quote, has_header },
            ..FileSourceConfig::new(kind.into(), path)
        }
    }

    /// What the encoder takes.
    pub fn encoder_config(&self) -> EncoderConfig {
        let settings::Sample { features, label, task, weight, event_time, id, standardize, max_classes } = &self.sample;
        EncoderConfig {
            features: features.iter().map(FeatureConfig::from).collect(),
            label: Some(label.clone()),
            task: task.clone(),
            weight: weight.clone(),
            event_time: event_time.clone(),
            id: id.clone(),
            standardize: *standardize,
            max_classes: *max_classes,
        }
    }

    /// Settings of every detector.
    pub fn detector_configs(&self) -> DetectorConfigs {
        let settings::ErrorDetector { delta, minimum_rise, history_samples, min_task_samples } = self.boundary.error;
        let settings::NewClassesDetector { settle_samples, confirm_samples, confirm_window } =
            self.boundary.new_classes;
        let settings::AutoDetector { signals, new_classes, min_task_samples: auto_task, sensitivity } =
            self.boundary.auto.clone();
        DetectorConfigs {
            auto: AutoConfig {
                signals,
                new_classes,
                min_task_samples: auto_task,
                sensitivity,
                seed: self.learner.seed,
            },
            error: ErrorConfig { delta, minimum_rise, history_samples, min_task_samples },
            new_classes: NewClassesConfig { settle_samples, confirm_samples, confirm_window },
            every: self
                .boundary
                .every_samples
                .map_or_else(EveryConfig::default, |every_samples| EveryConfig { every_samples }),
            calendar: self.boundary.calendar.clone().into(),
            mmd: self.boundary.mmd.clone().into(),
            adwin: self.boundary.adwin.into(),
            page_hinkley: self.boundary.page_hinkley.into(),
            ddm: self.boundary.ddm.into(),
            eddm: self.boundary.eddm.into(),
            hddm_a: self.boundary.hddm_a.into(),
            hddm_w: self.boundary.hddm_w.into(),
            kswin: self.boundary.kswin.into(),
            cusum: self.boundary.cusum.into(),
            bayesian: self.boundary.bayesian.into(),
        }
    }

    /// The detector named, or all of them as one.
    ///
    /// # Errors
    /// Never for settings that were checked.
    pub fn detector(&self) -> Result<Box<dyn BoundaryDetector>> {
        lightcl_boundary::build(&self.boundary.detect, &self.detector_configs())
    }

    /// What the learner takes.
    pub fn learner_config(&self) -> LearnerConfig {
        let learner = &self.learner;
        LearnerConfig {
            method: match learner.method {
                settings::Method::Lightcl => Method::Lightcl,
                settings::Method::Sgd => Method::Sgd,
            },
            backbone: match learner.backbone {
                settings::Backbone::Mlp => Backbone::Mlp { hidden: learner.hidden.clone(), frozen: learner.frozen },
                settings::Backbone::Resnet18 => Backbone::Resnet18 { width: learner.width },
            },
            prefix: match learner.prefix {
                settings::Prefix::FromScratch => Prefix::FromScratch,
                settings::Prefix::Pretrained => Prefix::Pretrained,
            },
            frozen_norm: match learner.frozen_norm {
                settings::FrozenNorm::Fixed => FrozenNorm::Fixed,
                settings::FrozenNorm::Update => FrozenNorm::Update,
            },
            active_classes: match learner.active_classes {
                settings::ActiveClasses::Task => ActiveClasses::Task,
                settings::ActiveClasses::Seen => ActiveClasses::Seen,
            },
            learning_rate: learner.learning_rate,
            momentum: learner.momentum,
            batch_samples: learner.batch_samples,
            passes: learner.passes,
            seed: learner.seed,
            memory: MemoryConfig {
                samples: learner.memory.samples,
                ratio: learner.memory.ratio,
                beta: learner.memory.beta,
            },
            head: match learner.head {
                settings::Head::Network => HeadKind::Network,
                settings::Head::Analytic => HeadKind::Analytic,
                settings::Head::Mixture => HeadKind::Mixture,
            },
            analytic: self.analytic_config(),
            replay: match learner.replay {
                settings::Replay::None => ReplayKind::None,
                settings::Replay::Gaussian => ReplayKind::Gaussian,
            },
            bridge_bytes: learner.bridge_bytes,
            sparse: learner.sparse,
            initial_classes: learner.initial_classes,
        }
    }

    fn analytic_config(&self) -> AnalyticConfig {
        let analytic = &self.learner.analytic;
        let tap = |tap: &settings::Tap| match tap {
            settings::Tap::Input => Tap::Input,
            settings::Tap::Prefix => Tap::Prefix,
            settings::Tap::Stages => Tap::Stages,
        };
        AnalyticConfig {
            tap: analytic.tap.iter().map(tap).collect(),
            width: analytic.width.given(),
            linear: analytic.linear,
            grid: analytic.grid,
            standardize: analytic.standardize.map(|standardize| match standardize {
                settings::Standardize::None => Standardize::None,
                settings::Standardize::Fixed => Standardize::Fixed,
                settings::Standardize::Running => Standardize::Running,
            }),
            forget: analytic.forget.clone(),
            ridge: match &analytic.ridge {
                settings::Ridge::Auto(_) => Vec::new(),
                settings::Ridge::One(ridge) => vec![*ridge],
                settings::Ridge::Each(ridges) => ridges.clone(),
            },
            reading: match analytic.reading {
                settings::Reading::Auto => Reading::Auto,
                settings::Reading::Ridge => Reading::Ridge,
                settings::Reading::Lda => Reading::Lda,
            },
            update: match analytic.update {
                settings::Update::Window => Update::Window,
                settings::Update::Row => Update::Row,
            },
            regimes: match analytic.regimes {
                settings::RegimeKind::None => RegimeKind::None,
                settings::RegimeKind::Labels => RegimeKind::Labels,
                settings::RegimeKind::Domains => RegimeKind::Domains,
            },
            precision: match analytic.precision {
                settings::Precision::Double => Precision::Double,
                settings::Precision::Single => Precision::Single,
            },
            previous_label: analytic.previous_label,
            no_change: analytic.no_change,
            share: analytic.share,
            evidence: analytic.evidence,
            max_bytes: analytic.max_bytes,
        }
    }

    /// The weights to start from, when a file is named.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn weights(&self) -> Result<Option<NamedWeights>> {
        let Some(file) = &self.learner.weights else { return Ok(None) };
        let is_safetensors = Path::new(file).extension().is_some_and(|extension| extension == "safetensors");
        let weights =
            if is_safetensors { NamedWeights::from_safetensors(file) } else { NamedWeights::from_pytorch(file) }?;
        Ok(Some(weights.with_names(self.learner.weight_names.clone())))
    }

    /// What the operator takes.
    pub fn operator_config(&self, config_sha256: String) -> OperatorConfig {
        let settings::Stability {
            every_samples,
            probe_samples,
            probe_bytes,
            prequential_window_samples,
            prequential_fading,
        } = self.stability;
        let settings::Regimes { recognise, most_tasks } = self.boundary.regimes;
        OperatorConfig {
            model_id: self.name.clone().unwrap_or_default(),
            config_sha256,
            seed: self.learner.seed,
            batch_samples: self.learner.batch_samples,
            score_samples: self.learner.score_samples,
            window_samples: self.learner.window_samples,
            rollback_windows: self.boundary.rollback_batches,
            rollback_bytes: self.boundary.rollback_bytes,
            regimes: RegimesConfig { recognise, most_tasks },
            probe_samples,
            probe_bytes,
            prequential_window_samples,
            prequential_fading,
            stability_every_samples: every_samples,
            snapshot_every_samples: self.snapshot.every_samples,
            snapshot_on_boundary: self.snapshot.on_boundary,
            snapshot_at_end: self.snapshot.at_end,
            emit_predictions: match &self.sink {
                Some(sink) => sink.topics.predictions.is_some(),
                None => self.predictions.format != PredictionFormat::None,
            },
        }
    }

    /// When state is saved.
    pub fn checkpoint_policy(&self) -> CheckpointPolicy {
        let settings::Checkpoint { every_samples, every_seconds, .. } = self.checkpoint;
        CheckpointPolicy { every_samples, every: (every_seconds > 0).then(|| Duration::from_secs(every_seconds)) }
    }
}

impl Pipeline {
    /// What the operator takes, with the hash of what decides the learning.
    ///
    /// # Errors
    /// As [`Pipeline::effective`].
    pub fn operator_config(&self) -> Result<OperatorConfig> {
        Ok(self.settings.operator_config(self.config_sha256()?))
    }
}
