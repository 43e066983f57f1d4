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

/// When scores follow the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Update {
    /// With the windows that are learnt: sums are taken a window at a time, weights solved for when enough has changed.
    #[default]
    Window,
    /// Exactly, after every row whose label is known: rows of the window in hand count as if they were in the sums already.
    Row,
}

/// What tasks keep apart in the head that forgets least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegimeKind {
    /// Nothing: all rows go into the same sums.
    #[default]
    None,
    /// Class sums, over a Gram matrix that all share, for tasks in which labels mean something else
    /// ([`lightcl_core::TaskChange::Labels`], or a task that the stream itself names).
    Labels,
    /// Everything: each task has a head, and a row is scored by that of the task whose rows it looks most like.
    Domains,
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
    /// Random features, shared evenly by the taps; 0 takes the taps as they are. None: 500, or 60 with [`Update::Row`]; where
    /// `max_bytes` is given as many as fit, at most 2,000.
    pub width: Option<usize>,
    /// Whether the taps themselves are features beside the random ones. None: with [`Update::Row`].
    pub linear: Option<bool>,
    /// Cells a side that maps are averaged over.
    pub grid: usize,
    /// How taps are scaled. None: fixed, or running with [`Update::Row`].
    pub standardize: Option<Standardize>,
    /// Forgetting factors, one head each: all sums are multiplied by it once a row. 1 never forgets. None given: 1 alone, or 1,
    /// 0.998, 0.98 and 0.95 with [`Update::Row`].
    pub forget: Vec<f64>,
    /// Ridge of each head, or one for all, in rows: as strong as so many rows of the features' mean square. None given: the
    /// best of a grid by prequential loss; with [`Update::Row`] what suited each factor on eight streams (`docs/patterns.md`).
    pub ridge: Vec<f64>,
    /// How classifiers are read from the statistics. [`Update::Row`] reads ridge regression.
    pub reading: Reading,
    /// When scores follow the rows.
    pub update: Update,
    /// What tasks keep apart in the head that forgets least.
    pub regimes: RegimeKind,
    /// Numbers that the Gram matrix is kept in.
    pub precision: Precision,
    /// Whether one more head has the label before as an input too, for streams whose labels follow each other and are known by
    /// then.
    pub previous_label: bool,
    /// Whether "the label before again" is an expert of the mixture.
    pub no_change: bool,
    /// Share of weight that moves between experts at every row, so that the mixture follows changes (fixed share, Herbster
    /// and Warmuth 1998).
    pub share: f64,
    /// Power of a row's likelihood in the mixture's weights.
    pub evidence: f64,
    /// The most bytes that statistics and weights may hold with ten classes; each one beyond adds its sums. None sets no bound.
    pub max_bytes: Option<u64>,
}

impl Default for AnalyticConfig {
    fn default() -> Self {
        AnalyticConfig {
            tap: vec![Tap::Input],
            width: None,
            linear: None,
            grid: 2,
            standardize: None,
            forget: Vec::new(),
            ridge: Vec::new(),
            reading: Reading::default(),
            update: Update::default(),
            regimes: RegimeKind::default(),
            precision: Precision::default(),
            previous_label: false,
            no_change: false,
            share: 0.01,
            evidence: 0.3,
            max_bytes: None,
        }
    }
}

/// The most random features.
const MAX_FEATURES: usize = 16_384;
/// Random features where `max_bytes` alone decides.
const MOST_BY_ITSELF: usize = 2_000;
/// Classes that `max_bytes` has room for; each one beyond adds its sums and weights.
const CLASSES: u64 = 10;
/// Forgetting factor and ridge of the head that knows the label before.
pub(crate) const LAG: (f64, f64) = (0.98, 3.0);

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
        check(self.forget.len() <= 16, "analytic.forget", "name at most 16 factors", self.forget.len())?;
        for &factor in &self.forget {
            check(factor > 0.5 && factor <= 1.0, "analytic.forget", "choose factors in (0.5, 1]", factor)?;
        }
        for &ridge in &self.ridge {
            let allowed = ridge.is_finite() && (1e-6..=1e6).contains(&ridge);
            check(allowed, "analytic.ridge", "choose \"auto\" or numbers from 1e-6 to 1000000", ridge)?;
        }
        let (ridges, heads) = (self.ridge.len(), self.forgetting().len());
        check(
            ridges <= 1 || ridges == heads,
            "analytic.ridge",
            "name one for all heads or one for each forgetting factor",
            format!("{ridges} for {heads} heads"),
        )?;
        check((0.0..=0.5).contains(&self.share), "analytic.share", "choose a number in [0, 0.5]", self.share)?;
        let evidence = self.evidence;
        check(evidence > 0.0 && evidence <= 2.0, "analytic.evidence", "choose a number in (0, 2]", evidence)?;
        check(
            !(self.is_exact() && self.reading == Reading::Lda),
            "analytic.reading",
            "update = \"row\" reads \"ridge\"; \"lda\" needs update = \"window\"",
            "lda",
        )?;
        check(
            !(self.previous_label && self.width == Some(0)),
            "analytic.previous_label",
            "the label before enters the random features: choose a width above 0",
            true,
        )?;
        check(
            !self.previous_label || self.tap.contains(&Tap::Input),
            "analytic.previous_label",
            "the label before stands beside the input: tap \"input\"",
            format!("{:?}", self.tap),
        )
    }

    /// Whether scores are exact after every row.
    pub(crate) fn is_exact(&self) -> bool {
        self.update == Update::Row
    }

    /// The forgetting factors in force.
    pub(crate) fn forgetting(&self) -> Vec<f64> {
        match (self.forget.as_slice(), self.is_exact()) {
            ([], false) => vec![1.0],
            ([], true) => vec![1.0, 0.998, 0.98, 0.95],
            (given, _) => given.to_vec(),
        }
    }

    /// The ridges that a head may choose from.
    pub(crate) fn ridges(&self, head: usize, forget: f64) -> Vec<f64> {
        match (self.ridge.get(head).or(self.ridge.first()), self.is_exact()) {
            (Some(&ridge), _) => vec![ridge],
            (None, false) => super::solve::RIDGES.to_vec(),
            (None, true) => vec![match forget {
                slow if slow >= 0.99 => 0.3,
                middling if middling >= 0.97 => 0.03,
                _ => 3.0,
            }],
        }
    }

    /// How taps are scaled.
    pub(crate) fn scaling(&self) -> Standardize {
        let usual = if self.is_exact() { Standardize::Running } else { Standardize::Fixed };
        self.standardize.unwrap_or(usual)
    }

    /// Whether the taps themselves are features.
    pub(crate) fn is_linear(&self) -> bool {
        self.width == Some(0) || self.linear.unwrap_or(self.is_exact())
    }

    /// The readings that a head may choose from.
    pub(crate) fn readings(&self) -> Vec<Reading> {
        match self.reading {
            _ if self.is_exact() => vec![Reading::Ridge],
            Reading::Auto => vec![Reading::Ridge, Reading::Lda],
            reading => vec![reading],
        }
    }

    /// Bytes of all heads' statistics and weights with so many features and a few classes.
    fn bytes(&self, features: usize) -> u64 {
        let m = features as u64;
        let triangle = m * (m + 1) / 2;
        let sums = if self.precision == Precision::Double { 8 } else { 4 } * triangle + 8 * m * CLASSES;
        let factors = self.forgetting();
        let heads = factors.iter().enumerate().map(|(head, &forget)| {
            let solved = if self.is_exact() { 8 * triangle + 8 * m * CLASSES } else { 0 };
            sums + solved + 4 * m * CLASSES * (self.ridges(head, forget).len() * self.readings().len()) as u64
        });
        heads.sum()
    }

    /// Random features for taps of so many numbers in all.
    ///
    /// # Errors
    /// A user error with the figure when the heads do not fit `max_bytes`.
    pub(crate) fn random_features(&self, tap_width: usize) -> Result<usize> {
        let linear = if self.is_linear() { tap_width } else { 0 };
        let needed = |width: usize| self.bytes(1 + width + linear);
        let most = self.max_bytes.unwrap_or(u64::MAX);
        let width = match (self.width, self.max_bytes) {
            (Some(width), _) => width,
            (None, None) if self.is_exact() => 60,
            (None, None) => 500,
            // The most that fits, by bisection.
            (None, Some(_)) => {
                (1..=MOST_BY_ITSELF).collect::<Vec<_>>().partition_point(|&width| needed(width) <= most).max(1)
            }
        };
        if needed(width) > most {
            return Err(Error::user(
                "the analytic heads do not fit analytic.max_bytes: lower analytic.width, name fewer taps or forgetting factors, or allow more bytes",
            )
            .with("needed_bytes", needed(width))
            .with("max_bytes", most)
            .with("width", width)
            .with("tap_width", tap_width));
        }
        Ok(width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pick_the_width_and_what_does_not_fit_is_refused_with_the_figure() {
        let auto = AnalyticConfig { max_bytes: Some(1_000_000), ..AnalyticConfig::default() };
        let width = auto.random_features(10).unwrap();
        assert!(auto.bytes(1 + width) <= 1_000_000 && auto.bytes(2 + width) > 1_000_000, "{width}");
        let halved = AnalyticConfig { precision: Precision::Single, ..auto.clone() };
        assert!(halved.random_features(10).unwrap() > width);
        let given = AnalyticConfig { width: Some(600), ..auto };
        let error = given.random_features(10).unwrap_err();
        assert!(
            error.context().iter().any(|(key, value)| *key == "needed_bytes" && value.contains("1639528")),
            "{error}"
        );
    }

    #[test]
    fn every_setting_out_of_range_is_named() {
        let good = AnalyticConfig::default();
        good.validate().unwrap();
        for (key, config) in [
            ("tap", AnalyticConfig { tap: vec![], ..good.clone() }),
            ("tap", AnalyticConfig { tap: vec![Tap::Input, Tap::Input], ..good.clone() }),
            ("width", AnalyticConfig { width: Some(20_000), ..good.clone() }),
            ("grid", AnalyticConfig { grid: 0, ..good.clone() }),
            ("forget", AnalyticConfig { forget: vec![0.5], ..good.clone() }),
            ("ridge", AnalyticConfig { ridge: vec![f64::NAN], ..good.clone() }),
            ("ridge", AnalyticConfig { ridge: vec![1.0, 2.0], ..good.clone() }),
            ("share", AnalyticConfig { share: 0.6, ..good.clone() }),
            ("evidence", AnalyticConfig { evidence: 0.0, ..good.clone() }),
            ("reading", AnalyticConfig { update: Update::Row, reading: Reading::Lda, ..good.clone() }),
            ("previous_label", AnalyticConfig { previous_label: true, width: Some(0), ..good.clone() }),
            ("previous_label", AnalyticConfig { previous_label: true, tap: vec![Tap::Prefix], ..good.clone() }),
        ] {
            let error = config.validate().unwrap_err();
            assert!(error.message().starts_with(&format!("analytic.{key}: ")), "{error}");
        }
    }
}
