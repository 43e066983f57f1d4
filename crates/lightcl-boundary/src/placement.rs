//! Where a change lies: the likeliest split of a run of yes/no outcomes or of numbers, and the bounds every placement must keep.

/// The split `s` in `1..flags.len()` that makes `flags[..s]` and `flags[s..]` likeliest as two runs of constant rate,
/// among those after which the rate is higher; with both rates. None when no split raises the rate.
///
/// This is the maximum-likelihood estimate of a change point between two Bernoulli sequences (Hinkley & Hinkley 1970).
/// The earliest split wins a tie.
pub(crate) fn likeliest_rise(flags: impl Iterator<Item = bool> + Clone) -> Option<Shift> {
    let (mut length, mut hits) = (0_u32, 0_u32);
    for flag in flags.clone() {
        length += 1;
        hits += u32::from(flag);
    }
    let (mut before, mut before_hits) = (0_u32, 0_u32);
    let mut best: Option<(f64, Shift)> = None;
    for flag in flags {
        before += 1;
        before_hits += u32::from(flag);
        let (after, after_hits) = (length - before, hits - before_hits);
        if after == 0 {
            break;
        }
        let (rate_before, rate_after) = (ratio(before_hits, before), ratio(after_hits, after));
        if rate_after <= rate_before {
            continue;
        }
        let likelihood = log_likelihood(before_hits, before) + log_likelihood(after_hits, after);
        if best.as_ref().is_none_or(|(highest, _)| likelihood > *highest) {
            best = Some((likelihood, Shift { split: before as usize, before: rate_before, after: rate_after }));
        }
    }
    best.map(|(_, rise)| rise)
}

/// A change of a rate or a mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shift {
    /// Number of outcomes before the change.
    pub split: usize,
    /// Rate or mean before it.
    pub before: f64,
    /// Rate or mean after it.
    pub after: f64,
}

/// The split that makes the values before and after it likeliest as two normal distributions of one variance, among
/// those after which the mean is higher (`rises`) or lower and of whose sides each has at least `shortest_side` values
/// (a few outliers at an end are no shift). None when no split is of that kind.
///
/// The maximum-likelihood estimate of a change point of a normal mean (Hinkley 1970): the split with the largest sum of
/// squares between the two sides. The earliest wins a tie.
pub(crate) fn likeliest_shift(
    values: impl Iterator<Item = f64> + Clone,
    rises: bool,
    shortest_side: usize,
) -> Option<Shift> {
    let length = values.clone().count();
    // Sums are of distances from the mean, so that values far from 0 do not cancel.
    let mean = values.clone().sum::<f64>() / length as f64;
    let mut sum = 0.0;
    let mut best: Option<(f64, Shift)> = None;
    for (place, value) in values.enumerate() {
        sum += value - mean;
        let split = place + 1;
        if split < shortest_side.max(1) || length - split < shortest_side.max(1) {
            continue;
        }
        let (before, after) = (sum / split as f64, -sum / (length - split) as f64);
        if (rises && after <= before) || (!rises && after >= before) {
            continue;
        }
        let between = before * before * split as f64 + after * after * (length - split) as f64;
        if best.is_none_or(|(most, _)| between > most) {
            best = Some((between, Shift { split, before: mean + before, after: mean + after }));
        }
    }
    best.map(|(_, shift)| shift)
}

fn ratio(hits: u32, length: u32) -> f64 {
    f64::from(hits) / f64::from(length)
}

/// Log-likelihood of `hits` in `length` trials at their own rate, which is kept away from 0 and 1 so that a single
/// outcome against a pure run costs a finite amount.
fn log_likelihood(hits: u32, length: u32) -> f64 {
    let rate = ratio(hits, length).clamp(1e-4, 1.0 - 1e-4);
    f64::from(hits) * rate.ln() + f64::from(length - hits) * (1.0 - rate).ln()
}

/// Brings a change point into the bounds of [`lightcl_core::Verdict::Boundary`]: from the first index observed since the
/// last reset to the index observed.
pub(crate) fn within_bounds(at: u64, first_index: u64, index: u64) -> u64 {
    at.clamp(first_index.min(index), index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rise(flags: &[u8]) -> Option<Shift> {
        likeliest_rise(flags.iter().map(|&flag| flag == 1))
    }

    #[test]
    fn a_clean_step_is_placed_exactly() {
        let found = rise(&[0, 0, 0, 0, 1, 1, 1]).unwrap();
        assert_eq!((found.split, found.before, found.after), (4, 0.0, 1.0));
    }

    #[test]
    fn a_lone_hit_before_the_step_does_not_move_it() {
        assert_eq!(rise(&[0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1]).unwrap().split, 11);
    }

    #[test]
    fn a_fall_or_a_constant_run_has_no_rise() {
        assert_eq!(rise(&[1, 1, 0, 0]), None);
        assert_eq!(rise(&[1, 1, 1]), None);
        assert_eq!(rise(&[]), None);
    }

    #[test]
    fn a_step_of_a_mean_is_placed_exactly_in_the_direction_asked_for() {
        let step = |low: f64, high: f64| (0..40).map(move |i| f64::from(i % 3) * 0.1 + if i < 25 { low } else { high });
        for offset in [0.0, 1e9] {
            let rise = likeliest_shift(step(offset, offset + 1.0), true, 5).unwrap();
            assert_eq!(rise.split, 25, "{offset}");
            assert!((rise.after - rise.before - 1.0).abs() < 0.02);
            assert_eq!(likeliest_shift(step(offset + 1.0, offset), false, 5).unwrap().split, 25);
        }
    }

    #[test]
    fn outliers_at_an_end_and_equal_values_are_no_shift() {
        let outlier = (0..40).map(|i| if i == 39 { 100.0 } else { f64::from(i % 2) });
        assert!(likeliest_shift(outlier, true, 5).unwrap().split <= 35);
        assert_eq!(likeliest_shift([2.5; 40].into_iter(), true, 5), None);
        assert_eq!(likeliest_shift([1.0, 2.0, 3.0].into_iter(), true, 5), None);
        assert_eq!(likeliest_shift(std::iter::empty(), true, 5), None);
    }

    #[test]
    fn places_are_brought_into_bounds() {
        assert_eq!(within_bounds(3, 5, 9), 5);
        assert_eq!(within_bounds(30, 5, 9), 9);
        assert_eq!(within_bounds(5, 5, 5), 5);
    }
}
