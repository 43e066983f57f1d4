//! How well boundaries that were found agree with the change points that are known.

use serde::Serialize;

/// A boundary that a detector found, in rows of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Found {
    /// Where the change was, as estimated.
    pub at: u64,
    /// The row at which it was noticed.
    pub detected_at: u64,
}

/// When a boundary counts as a true change point found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Rule {
    /// It is noticed at most so many rows after the change point ..
    pub max_delay: u64,
    /// .. and placed at most so many rows away from it.
    pub max_offset: u64,
}

/// What came out, over one run or several.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Quality {
    /// Rows of the stream.
    pub rows: u64,
    /// True change points.
    pub points: usize,
    /// Boundaries found.
    pub boundaries: usize,
    /// Rows from each change point that was found to the row at which it was noticed; negative where a gradual change was
    /// noticed before its middle.
    pub delays: Vec<i64>,
    /// Rows between each change point that was found and where it was placed.
    pub offsets: Vec<u64>,
}

impl Quality {
    /// Matches boundaries to change points, each at most once: to each point, in order, the boundary noticed first.
    ///
    /// `slack` is half the width of a gradual change: within it a boundary may be noticed before the point, and be placed
    /// so much further away. For an abrupt change it is 0.
    pub fn of(found: &[Found], points: &[u64], rows: u64, rule: Rule, slack: u64) -> Self {
        let mut quality = Quality { rows, points: points.len(), boundaries: found.len(), ..Quality::default() };
        let mut is_used = vec![false; found.len()];
        for &point in points {
            let matches = |boundary: &Found| {
                (point.saturating_sub(slack)..=point + rule.max_delay).contains(&boundary.detected_at)
                    && boundary.at.abs_diff(point) <= rule.max_offset + slack
            };
            let candidates =
                found.iter().enumerate().filter(|(number, boundary)| !is_used[*number] && matches(boundary));
            if let Some((number, boundary)) = candidates.min_by_key(|(_, boundary)| boundary.detected_at) {
                is_used[number] = true;
                quality.delays.push(boundary.detected_at as i64 - point as i64);
                quality.offsets.push(boundary.at.abs_diff(point));
            }
        }
        quality
    }

    /// All runs as one: counts are summed.
    pub fn pooled<'a>(runs: impl IntoIterator<Item = &'a Quality>) -> Self {
        runs.into_iter().fold(Quality::default(), |mut sum, run| {
            sum.rows += run.rows;
            sum.points += run.points;
            sum.boundaries += run.boundaries;
            sum.delays.extend(&run.delays);
            sum.offsets.extend(&run.offsets);
            sum
        })
    }

    /// Change points found.
    pub fn matched(&self) -> usize {
        self.delays.len()
    }

    /// Change points not found.
    pub fn missed(&self) -> usize {
        self.points - self.matched()
    }

    /// Boundaries at no change point.
    pub fn false_alarms(&self) -> usize {
        self.boundaries - self.matched()
    }

    /// False alarms in 10,000 rows.
    pub fn false_alarms_per_10k(&self) -> Option<f64> {
        share(self.false_alarms() as f64 * 10_000.0, self.rows as f64)
    }

    /// Rows from one false alarm to the next; none without a false alarm.
    pub fn rows_between_false_alarms(&self) -> Option<f64> {
        share(self.rows as f64, self.false_alarms() as f64)
    }

    /// Share of the boundaries that are at a change point; none without a boundary.
    pub fn precision(&self) -> Option<f64> {
        share(self.matched() as f64, self.boundaries as f64)
    }

    /// Share of the change points that were found; none without a change point.
    pub fn recall(&self) -> Option<f64> {
        share(self.matched() as f64, self.points as f64)
    }

    /// Harmonic mean of precision and recall, 0 when nothing was found; none without a change point.
    pub fn f1(&self) -> Option<f64> {
        self.recall()?;
        share(2.0 * self.matched() as f64, (self.boundaries + self.points) as f64)
    }

    /// Median of the delays.
    pub fn median_delay(&self) -> Option<f64> {
        median(self.delays.iter().map(|&delay| delay as f64))
    }

    /// Median of the placement errors.
    pub fn median_offset(&self) -> Option<f64> {
        median(self.offsets.iter().map(|&offset| offset as f64))
    }
}

fn share(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    Some(if values.len().is_multiple_of(2) { (values[values.len() / 2 - 1] + upper) / 2.0 } else { upper })
}

/// The mean of the values that there are.
pub(crate) fn mean(values: impl IntoIterator<Item = Option<f64>>) -> Option<f64> {
    let (sum, count) = values.into_iter().flatten().fold((0.0, 0_u64), |(sum, count), value| (sum + value, count + 1));
    share(sum, count as f64)
}

/// The rank of each value, 1 for the highest; equal values share the mean of their ranks.
pub(crate) fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: f64| {
        let above = values.iter().filter(|&&other| other > value).count() as f64;
        let equal = values.iter().filter(|&&other| other == value).count() as f64;
        above + f64::midpoint(equal, 1.0)
    };
    values.iter().map(|&value| rank(value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule { max_delay: 512, max_offset: 128 };

    fn found(boundaries: &[(u64, u64)]) -> Vec<Found> {
        boundaries.iter().map(|&(at, detected_at)| Found { at, detected_at }).collect()
    }

    fn quality(boundaries: &[(u64, u64)], points: &[u64], slack: u64) -> Quality {
        Quality::of(&found(boundaries), points, 10_000, RULE, slack)
    }

    #[test]
    fn a_boundary_counts_when_it_is_noticed_in_time_and_placed_near() {
        let exact = quality(&[(1000, 1512)], &[1000], 0);
        assert_eq!((exact.matched(), exact.missed(), exact.false_alarms()), (1, 0, 0));
        assert_eq!((exact.median_delay(), exact.median_offset()), (Some(512.0), Some(0.0)));
        assert_eq!(quality(&[(872, 1000)], &[1000], 0).median_offset(), Some(128.0));
        for wrong in [(1000, 1513), (871, 1000), (1129, 1200), (999, 999)] {
            let quality = quality(&[wrong], &[1000], 0);
            assert_eq!((quality.matched(), quality.missed(), quality.false_alarms()), (0, 1, 1), "{wrong:?}");
            assert_eq!((quality.precision(), quality.recall(), quality.f1()), (Some(0.0), Some(0.0), Some(0.0)));
        }
    }

    #[test]
    fn a_gradual_change_may_be_noticed_before_its_middle() {
        let early = quality(&[(800, 900)], &[1000], 200);
        assert_eq!((early.median_delay(), early.median_offset()), (Some(-100.0), Some(200.0)));
        assert_eq!(quality(&[(790, 799)], &[1000], 200).matched(), 0);
    }

    #[test]
    fn boundaries_and_change_points_are_matched_once() {
        // Two boundaries at one point: the first counts. One boundary between two points: the first point takes it.
        let twice = quality(&[(1000, 1100), (1000, 1050)], &[1000], 0);
        assert_eq!((twice.matched(), twice.false_alarms(), twice.median_delay()), (1, 1, Some(50.0)));
        let between = quality(&[(1050, 1100)], &[1000, 1100], 0);
        assert_eq!((between.matched(), between.missed()), (1, 1));
        assert_eq!(between.precision(), Some(1.0));
        assert_eq!(between.f1(), Some(2.0 / 3.0));
    }

    #[test]
    fn figures_without_a_meaning_are_none() {
        let silent = quality(&[], &[], 0);
        assert_eq!((silent.precision(), silent.recall(), silent.f1()), (None, None, None));
        assert_eq!((silent.rows_between_false_alarms(), silent.false_alarms_per_10k()), (None, Some(0.0)));
        let missed = quality(&[], &[5], 0);
        assert_eq!((missed.precision(), missed.recall(), missed.f1()), (None, Some(0.0), Some(0.0)));
        let noisy = quality(&[(1, 1), (5000, 5000)], &[], 0);
        assert_eq!((noisy.rows_between_false_alarms(), noisy.false_alarms_per_10k()), (Some(5000.0), Some(2.0)));
        assert_eq!(noisy.f1(), None);
    }

    #[test]
    fn runs_are_pooled_by_their_counts() {
        let runs = [quality(&[(1000, 1010)], &[1000], 0), quality(&[(7, 7), (8, 8)], &[1000], 0)];
        let pooled = Quality::pooled(&runs);
        assert_eq!((pooled.rows, pooled.points, pooled.boundaries, pooled.matched()), (20_000, 2, 3, 1));
        assert_eq!((pooled.precision(), pooled.recall()), (Some(1.0 / 3.0), Some(0.5)));
    }

    #[test]
    fn medians_means_and_ranks() {
        assert_eq!((median([]), median([3.0, 1.0, 2.0]), median([4.0, 1.0])), (None, Some(2.0), Some(2.5)));
        assert_eq!((mean([None]), mean([Some(1.0), None, Some(2.0)])), (None, Some(1.5)));
        assert_eq!(ranks(&[0.5, 1.0, 0.5, 0.0]), [2.5, 1.0, 2.5, 4.0]);
    }
}
