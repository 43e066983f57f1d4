//! One analytic head: statistics with one forgetting factor and the classifiers read from them.

use super::block::{Block, Row, Scored};
use super::calibration::Calibration;
use super::solve::{Linear, solve};
use super::statistics::{Columns, Statistics};
use super::{AnalyticConfig, Reading};
use faer::{Mat, MatRef};
use lightcl_core::{ClassId, Error, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Weights are solved for again when a class has grown by this share: the work of a stream that forgets nothing then grows
/// with the logarithm of its length.
const GROWTH: f64 = 0.1;
/// Scores of ridge regression are estimates of probabilities: at first they count this much in a softmax.
const RIDGE_TEMPERATURE: f64 = 4.0;
/// Losses count the less the older they are, even where sums never forget: what suits a thousand rows is not what suited
/// ten.
const REMEMBER: f64 = 0.999;
/// Another classifier is taken when its mean loss is lower by this.
const BETTER: f64 = 1e-3;

/// A classifier among those that may be used.
#[derive(Debug, Clone)]
struct Candidate {
    ridge: f64,
    reading: Reading,
    /// None before the first solution.
    linear: Option<Arc<Linear>>,
    calibration: Calibration,
}

/// What a head says of some rows.
pub(crate) struct Examined {
    pub(crate) scores: Option<Mat<f32>>,
    /// The first row on its way into a block.
    pub(crate) first: Option<Scored>,
}

/// One head.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) forget: f64,
    /// Whether its features know the label before.
    pub(crate) lags: bool,
    statistics: Arc<Statistics>,
    candidates: Vec<Candidate>,
    /// The candidate in use.
    best: usize,
    /// Rows of each class since weights were solved for.
    waiting: Vec<f64>,
    /// The rows of the window in hand, where scores follow every row.
    block: Option<Block>,
    /// Moments of features that came from a snapshot, which has no sums.
    published: Option<Arc<Vec<(f64, f64)>>>,
}

/// A head as it is saved.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedHead {
    statistics: Statistics,
    candidates: Vec<(Option<SavedLinear>, Calibration)>,
    best: u32,
    waiting: Vec<f64>,
    block: Option<Vec<Row>>,
}

/// Weights class by class, and biases.
pub(crate) type SavedLinear = (Vec<f32>, Vec<f32>);

impl Head {
    /// A head that has seen nothing, with the ridges that it may choose from.
    pub(crate) fn new(config: &AnalyticConfig, features: usize, forget: f64, ridges: &[f64], lags: bool) -> Head {
        let readings = config.readings();
        let candidates = ridges.iter().flat_map(|&ridge| {
            readings.iter().map(move |&reading| {
                let temperature = if reading == Reading::Lda { 1.0 } else { RIDGE_TEMPERATURE };
                Candidate { ridge, reading, linear: None, calibration: Calibration::new(temperature) }
            })
        });
        Head {
            forget,
            lags,
            statistics: Arc::new(Statistics::new(config.precision, features)),
            candidates: candidates.collect(),
            // Of the ridge in the middle.
            best: ridges.len() / 2 * readings.len(),
            waiting: Vec::new(),
            block: config.is_exact().then(Block::default),
            published: None,
        }
    }

    /// Scores of rows times the temperature, `rows x classes`; none before anything was learnt.
    pub(crate) fn score(&self, rows: MatRef<'_, f32>) -> Option<Mat<f32>> {
        self.examine(rows).scores
    }

    /// As [`Head::score`], with what [`Head::take_labels`] can go on with.
    pub(crate) fn examine(&self, rows: MatRef<'_, f32>) -> Examined {
        let candidate = &self.candidates[self.best];
        let (mut scores, first) = match &self.block {
            Some(block) if block.is_solved() => {
                let mut scored: Vec<Scored> =
                    (0..rows.nrows()).map_while(|row| block.score(&numbers(rows, row))).collect();
                let classes = scored.first().map(|row| row.scores.len());
                let scores = classes
                    .map(|classes| Mat::from_fn(rows.nrows(), classes, |row, class| scored[row].scores[class] as f32));
                scored.truncate(1);
                (scores, scored.pop())
            }
            // Solved weights alone, too, where a head comes from a snapshot.
            _ => (candidate.linear.as_ref().map(|linear| linear.score(rows)), None),
        };
        if let Some(scores) = &mut scores {
            scale(scores, candidate.calibration.temperature());
        }
        Examined { scores, first }
    }

    /// Takes in the labels of rows that were scored: classifiers are judged by them, and a block has its rows. `first` is what
    /// was found of the first row.
    pub(crate) fn take_labels(
        &mut self,
        rows: MatRef<'_, f32>,
        labels: &[ClassId],
        weights: &[f32],
        mut first: Option<Scored>,
    ) {
        let remember = self.forget.min(REMEMBER);
        if let Some(block) = &mut self.block {
            let calibration = &mut self.candidates[self.best].calibration;
            let mut row_of_scores = Vec::new();
            for (row, (&label, &weight)) in labels.iter().zip(weights).enumerate() {
                // Later rows know of those before them now.
                let Some(scored) = first.take().or_else(|| block.score(&numbers(rows, row))) else { return };
                if scored.scores.iter().any(|score| !score.is_finite()) {
                    continue;
                }
                row_of_scores.clear();
                row_of_scores.extend(scored.scores.iter().map(|&score| score as f32));
                calibration.take(&row_of_scores, label as usize, remember);
                block.push(scored, label as usize, f64::from(weight), self.forget);
            }
            return;
        }
        for candidate in &mut self.candidates {
            let Some(linear) = &candidate.linear else { continue };
            let scores = linear.score(rows);
            let mut row_of_scores = vec![0.0; scores.ncols()];
            for (row, &label) in labels.iter().enumerate() {
                row_of_scores.iter_mut().enumerate().for_each(|(class, score)| *score = scores[(row, class)]);
                candidate.calibration.take(&row_of_scores, label as usize, remember);
            }
        }
        // The one in use stays unless another is clearly better.
        let own = self.candidates[self.best].calibration.loss() - BETTER;
        let losses = self.candidates.iter().map(|candidate| candidate.calibration.loss()).enumerate();
        self.best = losses.fold((self.best, own), |best, next| if next.1 < best.1 { next } else { best }).0;
    }

    /// Takes rows in.
    pub(crate) fn learn(&mut self, rows: MatRef<'_, f32>, labels: &[ClassId], weights: &[f32]) {
        let statistics = Arc::make_mut(&mut self.statistics);
        statistics.accumulate(widen(rows).as_ref(), labels, weights, self.forget);
        if self.block.is_some() {
            self.renew();
            return;
        }
        let decay = self.forget.powi(i32::try_from(labels.len()).unwrap_or(i32::MAX));
        self.waiting.iter_mut().for_each(|rows| *rows *= decay);
        self.waiting.resize(statistics.classes(), 0.0);
        labels.iter().zip(weights).for_each(|(&label, &weight)| self.waiting[label as usize] += f64::from(weight));
        let mut classes = self.waiting.iter().zip(&statistics.class_weights);
        if classes.any(|(&waiting, &weight)| waiting > GROWTH * (weight - waiting).max(0.0)) {
            self.settle();
        }
    }

    fn renew(&mut self) {
        if let Some(block) = &mut self.block {
            block.renew(&self.statistics, self.candidates[self.best].ridge);
        }
    }

    /// Brings the weights up to the statistics.
    pub(crate) fn settle(&mut self) {
        let is_solved = self.candidates.iter().all(|candidate| candidate.linear.is_some());
        if self.block.is_some() || is_solved && self.waiting.iter().all(|&rows| rows == 0.0) {
            return;
        }
        self.waiting.fill(0.0);
        let mut solved = None;
        for candidate in &mut self.candidates {
            if solved.as_ref().is_none_or(|(ridge, _)| *ridge != candidate.ridge) {
                solved = Some((candidate.ridge, solve(&self.statistics, candidate.ridge)));
            }
            // What cannot be solved keeps the weights that it had.
            if let Some((_, Some(solved))) = &solved {
                candidate.linear = Some(Arc::new(solved.read(candidate.reading)));
            }
        }
    }

    /// Forgets rows whose labels were seen and that were not learnt.
    pub(crate) fn close(&mut self) {
        self.renew();
    }

    /// Solves for everything whatever has changed.
    fn solve_anew(&mut self) {
        self.waiting = vec![1.0; self.statistics.classes()];
        self.settle();
        self.renew();
    }

    /// Completes the last rows, which were taken in while their features from `first` on were 0.
    pub(crate) fn complete(&mut self, rows: MatRef<'_, f32>, labels: &[ClassId], weights: &[f32], first: usize) {
        let statistics = Arc::make_mut(&mut self.statistics);
        statistics.complete(widen(rows).as_ref(), labels, weights, self.forget, first);
        self.solve_anew();
    }

    /// A head of the same settings that has seen nothing but the scale of scores.
    pub(crate) fn emptied(&self) -> Head {
        let Statistics { features, ref gram, .. } = *self.statistics;
        let mut head = self.clone();
        head.statistics = Arc::new(Statistics::new(gram.precision(), features));
        head.candidates.iter_mut().for_each(|candidate| candidate.linear = None);
        head.waiting.clear();
        head.block = self.block.as_ref().map(|_| Block::default());
        head
    }

    /// Puts other class sums in the place of its own, which it gives.
    pub(crate) fn exchange_columns(&mut self, columns: Columns) -> Columns {
        let own = Arc::make_mut(&mut self.statistics).exchange(columns);
        self.solve_anew();
        own
    }

    /// Adds class sums to its own.
    pub(crate) fn add_columns(&mut self, columns: &Columns) {
        let statistics = Arc::make_mut(&mut self.statistics);
        let mut own = statistics.exchange(Columns::default());
        own.add(columns);
        statistics.exchange(own);
        self.solve_anew();
    }

    /// Mean and variance of each feature over all rows.
    pub(crate) fn moments(&self) -> Vec<(f64, f64)> {
        match &self.published {
            Some(moments) if self.statistics.weight() == 0.0 => moments.to_vec(),
            _ => self.statistics.moments(),
        }
    }

    /// Takes published moments as its own.
    pub(crate) fn adopt_moments(&mut self, moments: Vec<(f64, f64)>) {
        self.published = Some(Arc::new(moments));
    }

    pub(crate) fn features(&self) -> usize {
        self.statistics.features
    }

    pub(crate) fn classes(&self) -> usize {
        self.statistics.classes()
    }

    /// Adds the sums of another head over other rows.
    pub(crate) fn merge(&mut self, other: &Head, classes: &[ClassId]) {
        Arc::make_mut(&mut self.statistics).merge(&other.statistics, classes);
        for (own, others) in self.candidates.iter_mut().zip(&other.candidates) {
            own.calibration.merge(&others.calibration);
        }
        let losses = self.candidates.iter().map(|candidate| candidate.calibration.loss()).enumerate();
        let best = losses.min_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, loss)| *loss > 0.0);
        self.best = best.map_or(self.best, |(place, _)| place);
        self.solve_anew();
    }

    /// What scores are multiplied by.
    pub(crate) fn temperature(&self) -> f64 {
        self.candidates[self.best].calibration.temperature()
    }

    /// Takes a published classifier, which holds until rows are learnt.
    pub(crate) fn adopt(&mut self, linear: Linear, temperature: f64) {
        let linear = Arc::new(linear);
        for candidate in &mut self.candidates {
            candidate.linear = Some(Arc::clone(&linear));
            candidate.calibration = Calibration::new(temperature);
        }
    }

    /// The classifier in use, temperature not included: in 32 bits the product would not give the scores to the last digit.
    pub(crate) fn linear(&self) -> Option<Linear> {
        let candidate = &self.candidates[self.best];
        Some(match self.block.as_ref().and_then(Block::weights) {
            None => Linear::clone(candidate.linear.as_deref()?),
            Some(classes) => {
                let weights = Mat::from_fn(self.statistics.features, classes.len(), |feature, class| {
                    classes[class][feature] as f32
                });
                Linear { weights, biases: vec![0.0; classes.len()] }
            }
        })
    }

    /// Bytes of the sums, and of what is solved from them.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let weights = self.candidates.iter().filter_map(|candidate| candidate.linear.as_ref());
        let numbers: usize = weights.map(|l| l.weights.nrows() * l.weights.ncols() + l.biases.len()).sum();
        let block = self.block.as_ref().map_or(0, Block::bytes);
        (self.statistics.bytes(), 4 * numbers as u64 + block)
    }

    pub(crate) fn save(&self) -> SavedHead {
        let saved = |candidate: &Candidate| {
            (candidate.linear.as_ref().map(|linear| linear.save()), candidate.calibration.clone())
        };
        SavedHead {
            statistics: Statistics::clone(&self.statistics),
            candidates: self.candidates.iter().map(saved).collect(),
            best: self.best as u32,
            waiting: self.waiting.clone(),
            block: self.block.as_ref().map(|block| block.rows().to_vec()),
        }
    }

    /// Puts a saved head back into one of the same settings.
    pub(crate) fn restore(&mut self, saved: SavedHead, most_classes: usize) -> Result<()> {
        let unfit = || Error::user("a saved analytic head does not fit the settings, or is damaged");
        let features = self.statistics.features;
        let is_kind = std::mem::discriminant(&self.statistics.gram) == std::mem::discriminant(&saved.statistics.gram);
        let fits = is_kind
            && saved.statistics.is_sound(features)
            && saved.statistics.classes() <= most_classes
            && saved.candidates.len() == self.candidates.len()
            && (saved.best as usize) < self.candidates.len()
            && saved.waiting.len() <= saved.statistics.classes()
            && saved.waiting.iter().all(|rows| rows.is_finite())
            && saved.block.is_some() == self.block.is_some();
        if !fits {
            return Err(unfit());
        }
        for (candidate, (linear, calibration)) in self.candidates.iter_mut().zip(saved.candidates) {
            if !calibration.is_sound() {
                return Err(unfit());
            }
            candidate.linear = match linear {
                None => None,
                Some(saved) => Some(Arc::new(Linear::restore(saved, features).ok_or_else(unfit)?)),
            };
            candidate.calibration = calibration;
        }
        self.statistics = Arc::new(saved.statistics);
        self.best = saved.best as usize;
        self.waiting = saved.waiting;
        if let Some(rows) = saved.block {
            // Solved from the statistics alone, so it comes out as it was.
            let mut block = Block::default();
            if self.statistics.classes() > 0 {
                block.renew(&self.statistics, self.candidates[self.best].ridge);
            }
            if !block.restore(rows, features, most_classes) {
                return Err(unfit());
            }
            self.block = Some(block);
        }
        Ok(())
    }
}

fn scale(scores: &mut Mat<f32>, factor: f64) {
    for class in 0..scores.ncols() {
        scores.col_mut(class).iter_mut().for_each(|score| *score = (f64::from(*score) * factor) as f32);
    }
}

fn widen(rows: MatRef<'_, f32>) -> Mat<f64> {
    let mut wide = Mat::zeros(rows.nrows(), rows.ncols());
    for (wide, narrow) in wide.col_iter_mut().zip(rows.col_iter()) {
        wide.iter_mut().zip(narrow.iter()).for_each(|(wide, &narrow)| *wide = f64::from(narrow));
    }
    wide
}

fn numbers(rows: MatRef<'_, f32>, row: usize) -> Vec<f64> {
    (0..rows.ncols()).map(|column| f64::from(rows[(row, column)])).collect()
}
