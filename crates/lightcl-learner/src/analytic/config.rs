//! Settings of the analytic heads.

use crate::config::check;
use lightcl_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// What turns activations into classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadKind {
    /// The network's linear layer, trained with the rest, as published.
    #[default]
    Network,
    /// Heads solved in closed form from second-order statistics of features. The network trains only while it makes the
    /// prefix.
    Analytic,
    /// The network and the analytic heads, mixed by their prequential evidence.
    Mixture,
}

/// Where features come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tap {
    /// The sample itself.
    Input,
    /// The prefix's output; maps are averaged over a grid.
    Prefix,
    /// Stem and stage ends of a convolutional prefix, averaged over a grid.
    Stages,
}

/// How a tap is scaled before it is expanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standardize {
    /// Not at all.
    None,
    /// By mean and deviation of the first window that the tap sees, for good: what is summed stays comparable.
    #[default]
    Fixed,
    /// By mean and deviation of all rows before, for streams of numbers that drift.
    Running,
}

/// How a linear classifier is read from the statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// Whichever has the lower prequential loss.
    #[default]
    Auto,
    /// Ridge regression on one-hot labels (RanPAC, McDonnell et al. 2023; ACIL, Zhuang et al. 2022).
    Ridge,
    /// Linear discriminant analysis with one shared covariance (streaming LDA, Hayes and Kanan 2020).
    Lda,
}

/// When weights follow the statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Update {
    /// Sums are taken a window at a time; weights are solved for when enough has changed.
    #[default]
    Window,
    /// Exactly, after every row: a Cholesky factor takes rank-one updates. For windows of few rows.
    Row,
}

/// Numbers that the Gram matrix is kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 8 bytes: sums are exact enough that the order of rows does not show, however long the stream.
    #[default]
    Double,
    /// 4 bytes: half the memory. Sums lose rows once about ten million of them weigh alike.
    Single,
}

/// All settings of the analytic heads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnalyticConfig {
    /// Where features come from; they stand side by side.
    pub tap: Vec<Tap>,
    /// Random features, shared evenly by the taps; 0 takes the taps as they are. None: as many as `max_bytes` allows, at
    /// most 2,000.
    pub width: Option<usize>,
    /// Whether the taps themselves are features beside the random ones.
    pub linear: bool,
    /// Cells a side that maps are averaged over.
    pub grid: usize,
    /// How taps are scaled.
    pub standardize: Standardize,
    /// Forgetting factors, one head each: all sums are multiplied by it once a row. 1 never forgets.
    pub forget: Vec<f64>,
    /// Ridge in rows: as strong as so many rows of the features' mean square. None picks it from a grid by prequential loss.
    pub ridge: Option<f64>,
    /// How classifiers are read from the statistics.
    pub reading: Reading,
    /// When weights follow the statistics.
    pub update: Update,
    /// Numbers that the Gram matrix is kept in.
    pub precision: Precision,
    /// Whether the label before is an input too, for streams whose labels follow each other and are known by then.
    pub previous_label: bool,
    /// Whether "the label before again" is an expert of the mixture.
    pub no_change: bool,
    /// Share of weight that moves between experts at every row, so that the mixture follows changes (fixed share, Herbster
    /// and Warmuth 1998).
    pub share: f64,
    /// Power of a row's likelihood in the mixture's weights.
    pub evidence: f64,
    /// The most bytes that statistics and weights may hold at the first class.
    pub max_bytes: u64,
    /// Bytes of rows kept while a prefix trains, so that prefix taps have them when it freezes; 0 keeps none.
    pub bridge_bytes: u64,
}

impl Default for AnalyticConfig {
    fn default() -> Self {
        AnalyticConfig {
            tap: vec![Tap::Input],
            width: Some(500),
            linear: false,
            grid: 2,
            standardize: Standardize::default(),
            forget: vec![1.0],
            ridge: None,
            reading: Reading::default(),
            update: Update::default(),
            precision: Precision::default(),
            previous_label: false,
            no_change: false,
            share: 0.001,
            evidence: 0.5,
            max_bytes: 64 << 20,
            bridge_bytes: 16 << 20,
        }
    }
}

/// The most random features.
const MAX_FEATURES: usize = 16_384;
/// Random features where `max_bytes` alone decides.
const MOST_BY_ITSELF: usize = 2_000;

impl AnalyticConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// A user error that names the first setting out of range and what is allowed.
    pub fn validate(&self) -> Result<()> {
        check(!self.tap.is_empty(), "analytic.tap", "name at least one tap", self.tap.len())?;
        let twice = (1..self.tap.len()).any(|index| self.tap[..index].contains(&self.tap[index]));
        check(!twice, "analytic.tap", "name each tap once", format!("{:?}", self.tap))?;
        let width = self.width.unwrap_or(0);
        check(width <= MAX_FEATURES, "analytic.width", "choose at most 16384", width)?;
        check((1..=16).contains(&self.grid), "analytic.grid", "choose 1 to 16", self.grid)?;
        check((1..=16).contains(&self.forget.len()), "analytic.forget", "name 1 to 16 factors", self.forget.len())?;
        for &factor in &self.forget {
            check(factor > 0.5 && factor <= 1.0, "analytic.forget", "choose factors in (0.5, 1]", factor)?;
        }
        if let Some(ridge) = self.ridge {
            let allowed = ridge.is_finite() && (1e-6..=1e6).contains(&ridge);
            check(allowed, "analytic.ridge", "choose \"auto\" or a number from 1e-6 to 1000000", ridge)?;
        }
        check((0.0..=0.5).contains(&self.share), "analytic.share", "choose a number in [0, 0.5]", self.share)?;
        let evidence = self.evidence;
        check(evidence > 0.0 && evidence <= 2.0, "analytic.evidence", "choose a number in (0, 2]", evidence)?;
        let row = self.update == Update::Row;
        check(
            !(row && self.standardize == Standardize::Fixed),
            "analytic.standardize",
            "updating after every row needs \"running\" or \"none\": one row has no deviation to fix",
            "fixed",
        )?;
        check(
            !(row && self.reading == Reading::Lda),
            "analytic.reading",
            "updating after every row reads \"ridge\"; \"lda\" needs windows",
            "lda",
        )?;
        check(
            !(self.previous_label && self.width == Some(0)),
            "analytic.previous_label",
            "the label before enters the random features: choose a width above 0",
            true,
        )
    }

    /// Bytes of one head's statistics and weights with so many features and classes.
    pub(crate) fn head_bytes(&self, features: usize, classes: usize) -> u64 {
        let (m, k) = (features as u64, classes as u64);
        let number = match (self.update, self.precision) {
            (Update::Row, _) | (_, Precision::Double) => 8,
            (Update::Window, Precision::Single) => 4,
        };
        number * m * (m + 1) / 2 + 8 * m * k + 8 * self.candidates() as u64 * m * k
    }

    /// Classifiers read from one head's statistics, of which the best is used.
    pub(crate) fn candidates(&self) -> usize {
        match self.update {
            Update::Row => 1,
            Update::Window => {
                let readings = if self.reading == Reading::Auto { 2 } else { 1 };
                let ridges = if self.ridge.is_none() { super::solve::RIDGES.len() } else { 1 };
                readings * ridges
            }
        }
    }

    /// Random features for taps of so many numbers in all.
    ///
    /// # Errors
    /// A user error with the figure when the heads do not fit `max_bytes`.
    pub(crate) fn random_features(&self, tap_width: usize) -> Result<usize> {
        let all = |width: usize| {
            let features = 1 + width + if width == 0 || self.linear { tap_width } else { 0 };
            self.head_bytes(features, 1).saturating_mul(self.forget.len() as u64)
        };
        let width = match self.width {
            Some(width) => width,
            // The most that fits, by bisection.
            None => (1..=MOST_BY_ITSELF).collect::<Vec<_>>().partition_point(|&width| all(width) <= self.max_bytes),
        };
        if all(width) > self.max_bytes || (width == 0 && self.width.is_none()) {
            return Err(Error::user(
                "the analytic heads do not fit analytic.max_bytes: lower analytic.width, name fewer taps or forgetting factors, or allow more bytes",
            )
            .with("needed_bytes", all(width.max(1)))
            .with("max_bytes", self.max_bytes)
            .with("width", width)
            .with("tap_width", tap_width));
        }
        Ok(width)
    }
}
