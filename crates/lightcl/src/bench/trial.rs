//! One learner over one stream, from its first row to its last.

use super::detectors;
use super::run::slices;
use super::streams::Stream;
use super::timing::{Clock, Tally, TimedLearner};
use lightcl_core::{Error, Learner, PrequentialReport, Result};
use lightcl_learner::{AnalyticConfig, LearnerConfig, LightClLearner};
use lightcl_stream::encode::Encoder;
use lightcl_stream::{LearnerFactory, Operator, OperatorConfig};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Instant;

/// One of several ways to learn a stream.
#[derive(Debug, Clone)]
pub(crate) struct Method {
    /// Its name in the tables.
    pub name: &'static str,
    pub learner: LearnerConfig,
    /// Rows learnt from together.
    pub window_samples: usize,
    /// Rows scored before the label of any of them is looked at; none: as many as a batch has.
    pub score_samples: Option<usize>,
    /// Whether the encoder standardises features.
    pub standardize: bool,
}

impl Method {
    /// The method with other settings of its analytic heads: those named in a JSON object.
    ///
    /// # Errors
    /// When they are no settings of analytic heads.
    pub fn with_settings(mut self, settings: Option<&Value>) -> Result<Self> {
        let Some(Value::Object(given)) = settings else { return Ok(self) };
        let wrong =
            |error| Error::user("--analytic takes a JSON object with settings of [learner.analytic]").caused_by(error);
        let mut all = serde_json::to_value(&self.learner.analytic).map_err(wrong)?;
        if let Value::Object(all) = &mut all {
            all.extend(given.clone());
        }
        self.learner.analytic = serde_json::from_value::<AnalyticConfig>(all).map_err(wrong)?;
        self.learner.validate()?;
        Ok(self)
    }
}

/// A stream learnt.
pub(crate) struct Trial {
    pub operator: Operator,
    pub seconds: f64,
    pub learner_seconds: f64,
    pub prequential: PrequentialReport,
    /// Prequential accuracy of each expert by itself, where they were counted.
    pub experts: BTreeMap<String, f64>,
}

/// Learns a stream with its change points known. `counts_experts` has every expert of a mixture score every row once more.
///
/// # Errors
/// When the stream does not fit its encoder, or the learner fails.
pub(crate) fn learn(stream: &Stream, method: &Method, seed: u64, counts_experts: bool) -> Result<Trial> {
    let learner = LearnerConfig { seed, ..method.learner.clone() };
    let config = OperatorConfig {
        seed,
        batch_samples: learner.batch_samples.min(method.window_samples),
        window_samples: method.window_samples,
        score_samples: method.score_samples,
        rollback_windows: 0,
        probe_samples: 0,
        snapshot_on_boundary: false,
        snapshot_at_end: false,
        ..OperatorConfig::new(stream.name)
    };
    let detector = detectors::make(detectors::KNOWN, &stream.change_points, config.batch_samples as u64, seed)?;
    let clock = Clock::default();
    let tally = counts_experts.then(Tally::default);
    let (learner_clock, learner_tally) = (clock.clone(), tally.clone());
    let make_learner: LearnerFactory = Box::new(move |shape: &[usize]| -> Result<Box<dyn Learner>> {
        let inner = LightClLearner::new(learner.clone(), shape, None)?;
        Ok(Box::new(TimedLearner { inner, clock: learner_clock.clone(), tally: learner_tally.clone() }))
    });
    let mut encoder = stream.encoder.clone();
    encoder.standardize = method.standardize;
    let encoder = Encoder::new(encoder, &stream.rows.schema())?;
    let mut operator = Operator::new(config, encoder, detector, make_learner)?;
    let started = Instant::now();
    for batch in slices(&stream.rows, "stream") {
        operator.push(&batch)?;
    }
    operator.finish()?;
    Ok(Trial {
        seconds: started.elapsed().as_secs_f64(),
        learner_seconds: clock.total().as_secs_f64(),
        prequential: operator.prequential().report(),
        experts: tally.map(|tally| tally.accuracies()).unwrap_or_default(),
        operator,
    })
}

/// A figure over several seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub mean: f64,
    /// Standard deviation over the seeds; none of one seed.
    pub deviation: Option<f64>,
}

impl Spread {
    /// Of the values of the seeds.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let values: Vec<f64> = values.into_iter().collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
        (!values.is_empty()).then_some(Spread { mean, deviation })
    }

    /// As `0.755 +-0.002`.
    pub fn text(&self) -> String {
        let deviation = self.deviation.map_or_else(String::new, |deviation| format!(" +-{deviation:.3}"));
        format!("{:.3}{deviation}", self.mean)
    }
}

/// The text of a figure that may be missing.
pub(crate) fn spread_text(figure: Option<Spread>) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| figure.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_has_a_spread_where_there_are_seeds() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([0.5]).unwrap().text(), "0.500");
        assert_eq!(Spread::of([0.5, 0.7]).unwrap().text(), "0.600 +-0.141");
    }

    #[test]
    fn settings_in_json_replace_those_that_they_name() {
        let method = Method {
            name: "some",
            learner: LearnerConfig::default(),
            window_samples: 32,
            score_samples: None,
            standardize: false,
        };
        let changed = method.clone().with_settings(Some(&serde_json::json!({"width": 7}))).unwrap();
        assert_eq!((changed.learner.analytic.width, changed.learner.analytic.grid), (Some(7), 2));
        assert!(method.with_settings(Some(&serde_json::json!({"widht": 7}))).is_err());
    }
}
