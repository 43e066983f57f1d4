//! One analytic head: statistics with one forgetting factor and the classifiers read from them.

use super::calibration::Calibration;
use super::row_head::RowHead;
use super::solve::{Linear, RIDGES, solve};
use super::statistics::Statistics;
use super::{AnalyticConfig, Reading, Update};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use lightcl_core::{ClassId, Error, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Weights are solved for again when a class has grown by this share: the work of a stream that forgets nothing then grows
/// with the logarithm of its length.
const GROWTH: f64 = 0.05;
/// Scores of ridge regression are estimates of probabilities: at first they count this much in a softmax.
const RIDGE_TEMPERATURE: f64 = 8.0;
/// Losses count the less the older they are, even where sums never forget: what suits a thousand rows is not what suited
/// ten.
const REMEMBER: f64 = 0.999;
/// Without a given ridge, exact updating uses this one, in units of the features' squares.
const ROW_RIDGE: f64 = 1.0;

/// A classifier among those that may be used.
#[derive(Debug, Clone)]
struct Candidate {
    ridge: f64,
    reading: Reading,
    /// None before the first solution.
    linear: Option<Arc<Linear>>,
    calibration: Calibration,
}

#[derive(Debug, Clone)]
enum Kind {
    Window {
        statistics: Arc<Statistics>,
        candidates: Vec<Candidate>,
        /// The candidate in use.
        best: usize,
        /// Rows of each class since weights were solved for.
        waiting: Vec<f64>,
    },
    Row {
        head: Arc<RowHead>,
        ridge: f64,
        calibration: Calibration,
    },
}

/// One head.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) forget: f64,
    features: usize,
    kind: Kind,
}

/// A head as it is saved.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum SavedHead {
    Window { statistics: Statistics, candidates: Vec<SavedCandidate>, best: u32, waiting: Vec<f64> },
    Row { head: RowHead, calibration: Calibration },
}

/// Weights (class by class) and biases, none before the first solution; and the calibration.
pub(crate) type SavedCandidate = (Option<(Vec<f32>, Vec<f32>)>, Calibration);

impl Head {
    pub(crate) fn new(config: &AnalyticConfig, features: usize, forget: f64) -> Head {
        let kind = match config.update {
            Update::Window => {
                let ridges = config.ridge.map_or(RIDGES.to_vec(), |ridge| vec![ridge]);
                let readings = match config.reading {
                    Reading::Auto => vec![Reading::Ridge, Reading::Lda],
                    reading => vec![reading],
                };
                let candidates = ridges.iter().flat_map(|&ridge| {
                    readings.iter().map(move |&reading| {
                        let temperature = if reading == Reading::Lda { 1.0 } else { RIDGE_TEMPERATURE };
                        Candidate { ridge, reading, linear: None, calibration: Calibration::new(temperature) }
                    })
                });
                Kind::Window {
                    statistics: Arc::new(Statistics::new(config.precision, features)),
                    candidates: candidates.collect(),
                    // The middle one.
                    best: ridges.len() / 2 * readings.len(),
                    waiting: Vec::new(),
                }
            }
            Update::Row => {
                let ridge = config.ridge.unwrap_or(ROW_RIDGE);
                let calibration = Calibration::new(RIDGE_TEMPERATURE);
                Kind::Row { head: Arc::new(RowHead::new(features, ridge)), ridge, calibration }
            }
        };
        Head { forget, features, kind }
    }

    /// Scores of rows times the temperature, `rows x classes`; none before anything was learnt.
    pub(crate) fn score(&self, rows: MatRef<'_, f32>) -> Option<Mat<f32>> {
        match &self.kind {
            Kind::Window { candidates, best, .. } => {
                let candidate = &candidates[*best];
                let linear = candidate.linear.as_ref()?;
                let mut scores = linear.score(rows);
                scale(&mut scores, candidate.calibration.temperature());
                Some(scores)
            }
            Kind::Row { head, calibration, .. } => {
                if head.classes() == 0 {
                    return None;
                }
                let mut scores = row_scores(head, rows);
                scale(&mut scores, calibration.temperature());
                Some(scores)
            }
        }
    }

    /// Judges the classifiers by rows they have not seen, then takes the rows in.
    pub(crate) fn learn(&mut self, rows: MatRef<'_, f32>, labels: &[ClassId], weights: &[f32]) {
        let forget = self.forget;
        match &mut self.kind {
            Kind::Window { statistics, candidates, best, waiting } => {
                for candidate in candidates.iter_mut() {
                    let Some(linear) = &candidate.linear else { continue };
                    judge(&mut candidate.calibration, &linear.score(rows), labels, forget.min(REMEMBER));
                }
                let losses = candidates.iter().map(|candidate| candidate.calibration.loss());
                if candidates[*best].linear.is_some() {
                    // The one in use stays unless another is clearly better.
                    let own = candidates[*best].calibration.loss();
                    let (place, least) = losses.enumerate().fold((*best, own - 1e-3), |least, (place, loss)| {
                        if loss < least.1 { (place, loss) } else { least }
                    });
                    *best = if least < own { place } else { *best };
                }
                let wide = Mat::from_fn(rows.nrows(), rows.ncols(), |row, column| f64::from(rows[(row, column)]));
                let statistics = Arc::make_mut(statistics);
                statistics.accumulate(wide.as_ref(), labels, weights, forget);
                let decay = forget.powi(i32::try_from(labels.len()).unwrap_or(i32::MAX));
                waiting.iter_mut().for_each(|rows| *rows *= decay);
                waiting.resize(statistics.classes(), 0.0);
                labels.iter().zip(weights).for_each(|(&label, &weight)| waiting[label as usize] += f64::from(weight));
                let due = waiting
                    .iter()
                    .zip(&statistics.class_weights)
                    .any(|(&waiting, &weight)| waiting > GROWTH * (weight - waiting).max(0.0));
                if due {
                    self.settle();
                }
            }
            Kind::Row { head, ridge, calibration } => {
                if head.classes() > 0 {
                    judge(calibration, &row_scores(head, rows), labels, forget.min(REMEMBER));
                }
                let head = Arc::make_mut(head);
                let mut numbers = vec![0.0; rows.ncols()];
                for (row, (&label, &weight)) in labels.iter().zip(weights).enumerate() {
                    numbers.iter_mut().enumerate().for_each(|(i, number)| *number = f64::from(rows[(row, i)]));
                    head.learn(&numbers, label as usize, f64::from(weight), forget, *ridge);
                }
            }
        }
    }

    /// Brings the weights up to the statistics.
    pub(crate) fn settle(&mut self) {
        let Kind::Window { statistics, candidates, waiting, .. } = &mut self.kind else { return };
        if waiting.iter().all(|&rows| rows == 0.0) && candidates.iter().all(|c| c.linear.is_some()) {
            return;
        }
        waiting.fill(0.0);
        let mut solved = None;
        for candidate in candidates {
            if solved.as_ref().is_none_or(|(ridge, _)| *ridge != candidate.ridge) {
                solved = Some((candidate.ridge, solve(statistics, candidate.ridge)));
            }
            // What cannot be solved keeps the weights that it had.
            if let Some((_, Some(solved))) = &solved {
                candidate.linear = Some(Arc::new(solved.read(candidate.reading)));
            }
        }
    }

    /// Completes rows that were taken in while the features from `first` on were 0.
    pub(crate) fn complete(&mut self, rows: MatRef<'_, f32>, labels: &[ClassId], weights: &[f32], first: usize) {
        if let Kind::Window { statistics, waiting, .. } = &mut self.kind {
            let wide = Mat::from_fn(rows.nrows(), rows.ncols(), |row, column| f64::from(rows[(row, column)]));
            Arc::make_mut(statistics).complete(wide.as_ref(), labels, weights, self.forget, first);
            waiting.iter_mut().for_each(|rows| *rows += 1.0);
            self.settle();
        }
    }

    /// The sums, where there are any.
    pub(crate) fn statistics(&self) -> Option<&Statistics> {
        match &self.kind {
            Kind::Window { statistics, .. } => Some(statistics),
            Kind::Row { .. } => None,
        }
    }

    /// Adds the sums of another head over other rows.
    pub(crate) fn merge(&mut self, other: &Head, classes: &[ClassId]) -> Result<()> {
        let (Kind::Window { statistics, waiting, .. }, Some(others)) = (&mut self.kind, other.statistics()) else {
            return Err(Error::user("only heads that take sums can be merged: update = \"window\""));
        };
        let statistics = Arc::make_mut(statistics);
        statistics.merge(others, classes);
        *waiting = vec![1.0; statistics.classes()];
        self.settle();
        Ok(())
    }

    /// The classifier in use, temperature included.
    pub(crate) fn linear(&self) -> Option<Linear> {
        match &self.kind {
            Kind::Window { candidates, best, .. } => {
                let candidate = &candidates[*best];
                let mut linear = Linear::clone(candidate.linear.as_deref()?);
                let temperature = candidate.calibration.temperature();
                scale(&mut linear.weights, temperature);
                linear.biases.iter_mut().for_each(|bias| *bias = (f64::from(*bias) * temperature) as f32);
                Some(linear)
            }
            Kind::Row { head, calibration, .. } => {
                let classes = head.classes();
                let mut weights =
                    Mat::from_fn(self.features, classes, |feature, class| head.weights(class)[feature] as f32);
                scale(&mut weights, calibration.temperature());
                (classes > 0).then(|| Linear { weights, biases: vec![0.0; classes] })
            }
        }
    }

    /// The reading and the ridge in use, and the mean prequential loss they had.
    pub(crate) fn choice(&self) -> (Reading, f64, f64) {
        match &self.kind {
            Kind::Window { candidates, best, .. } => {
                let Candidate { reading, ridge, calibration, .. } = &candidates[*best];
                (*reading, *ridge, calibration.loss())
            }
            Kind::Row { ridge, calibration, .. } => (Reading::Ridge, *ridge, calibration.loss()),
        }
    }

    /// Bytes of the sums, and of the weights solved from them.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        match &self.kind {
            Kind::Window { statistics, candidates, .. } => {
                let weights = candidates.iter().filter_map(|candidate| candidate.linear.as_ref());
                let numbers: usize = weights.map(|l| l.weights.nrows() * l.weights.ncols() + l.biases.len()).sum();
                (statistics.bytes(), 4 * numbers as u64)
            }
            Kind::Row { head, .. } => (head.bytes(), 0),
        }
    }

    pub(crate) fn save(&self) -> SavedHead {
        match &self.kind {
            Kind::Window { statistics, candidates, best, waiting } => SavedHead::Window {
                statistics: Statistics::clone(statistics),
                candidates: candidates
                    .iter()
                    .map(|candidate| (candidate.linear.as_ref().map(|l| l.save()), candidate.calibration.clone()))
                    .collect(),
                best: *best as u32,
                waiting: waiting.clone(),
            },
            Kind::Row { head, calibration, .. } => {
                SavedHead::Row { head: RowHead::clone(head), calibration: calibration.clone() }
            }
        }
    }

    /// Puts a saved head back into a new one of the same settings.
    pub(crate) fn restore(&mut self, saved: SavedHead, most_classes: usize) -> Result<()> {
        let unfit = || Error::user("a saved analytic head does not fit the settings, or is damaged");
        let features = self.features;
        match (&mut self.kind, saved) {
            (
                Kind::Window { statistics, candidates, best, waiting },
                SavedHead::Window { statistics: sums, candidates: saved, best: place, waiting: rows },
            ) => {
                let kind = std::mem::discriminant(&statistics.gram) == std::mem::discriminant(&sums.gram);
                let fits = kind
                    && sums.is_sound(features)
                    && sums.classes() <= most_classes
                    && saved.len() == candidates.len()
                    && (place as usize) < candidates.len()
                    && rows.len() == sums.classes()
                    && rows.iter().all(|rows| rows.is_finite());
                if !fits {
                    return Err(unfit());
                }
                for (candidate, (linear, calibration)) in candidates.iter_mut().zip(saved) {
                    if !calibration.is_sound() {
                        return Err(unfit());
                    }
                    candidate.linear = match linear {
                        None => None,
                        Some(saved) => Some(Arc::new(Linear::restore(saved, features).ok_or_else(unfit)?)),
                    };
                    candidate.calibration = calibration;
                }
                (*statistics, *best, *waiting) = (Arc::new(sums), place as usize, rows);
            }
            (Kind::Row { head, calibration, .. }, SavedHead::Row { head: saved, calibration: scale }) => {
                if !(saved.is_sound(features) && saved.classes() <= most_classes && scale.is_sound()) {
                    return Err(unfit());
                }
                (*head, *calibration) = (Arc::new(saved), scale);
            }
            _ => return Err(unfit()),
        }
        Ok(())
    }
}

impl Linear {
    /// `rows x classes`.
    pub(crate) fn score(&self, rows: MatRef<'_, f32>) -> Mat<f32> {
        let mut scores = Mat::from_fn(rows.nrows(), self.biases.len(), |_, class| self.biases[class]);
        matmul(&mut scores, Accum::Add, rows, &self.weights, 1.0, Par::Seq);
        scores
    }

    /// Weights class by class, and biases.
    pub(crate) fn save(&self) -> (Vec<f32>, Vec<f32>) {
        let classes = 0..self.weights.ncols();
        (classes.flat_map(|class| self.weights.col(class).iter().copied()).collect(), self.biases.clone())
    }

    pub(crate) fn restore((weights, biases): (Vec<f32>, Vec<f32>), features: usize) -> Option<Linear> {
        let sound = weights.len() == features * biases.len() && weights.iter().chain(&biases).all(|n| n.is_finite());
        sound.then(|| Linear {
            weights: MatRef::from_column_major_slice(&weights, features, biases.len()).to_owned(),
            biases,
        })
    }
}

fn scale(scores: &mut Mat<f32>, factor: f64) {
    for class in 0..scores.ncols() {
        scores.col_mut(class).iter_mut().for_each(|score| *score = (f64::from(*score) * factor) as f32);
    }
}

fn row_scores(head: &RowHead, rows: MatRef<'_, f32>) -> Mat<f32> {
    let mut scores = Mat::zeros(rows.nrows(), head.classes());
    let mut numbers = vec![0.0; rows.ncols()];
    for row in 0..rows.nrows() {
        numbers.iter_mut().enumerate().for_each(|(i, number)| *number = f64::from(rows[(row, i)]));
        head.score(&numbers).enumerate().for_each(|(class, score)| scores[(row, class)] = score as f32);
    }
    scores
}

fn judge(calibration: &mut Calibration, scores: &Mat<f32>, labels: &[ClassId], forget: f64) {
    let mut row_of_scores = vec![0.0; scores.ncols()];
    for (row, &label) in labels.iter().enumerate() {
        row_of_scores.iter_mut().enumerate().for_each(|(class, score)| *score = scores[(row, class)]);
        calibration.take(&row_of_scores, label as usize, forget);
    }
}
