//! Where a change lies: the likeliest split of a run of yes/no outcomes, and the bounds every placement must keep.

/// The split `s` in `1..flags.len()` that makes `flags[..s]` and `flags[s..]` likeliest as two runs of constant rate,
/// among those after which the rate is higher; with both rates. None when no split raises the rate.
///
/// This is the maximum-likelihood estimate of a change point between two Bernoulli sequences (Hinkley & Hinkley 1970).
/// The earliest split wins a tie.
pub(crate) fn likeliest_rise(flags: impl Iterator<Item = bool> + Clone) -> Option<Rise> {
    let (mut length, mut hits) = (0_u32, 0_u32);
    for flag in flags.clone() {
        length += 1;
        hits += u32::from(flag);
    }
    let (mut before, mut before_hits) = (0_u32, 0_u32);
    let mut best: Option<(f64, Rise)> = None;
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
            best = Some((likelihood, Rise { split: before as usize, before: rate_before, after: rate_after }));
        }
    }
    best.map(|(_, rise)| rise)
}

/// The split `s` in `1..values.len()` that makes `values[..s]` and `values[s..]` likeliest as two runs of constant mean
/// and equal variance, among those after which the mean is higher. None when no split raises the mean.
///
/// The maximum-likelihood estimate of a change point of normal variables (Hinkley 1970). The earliest split wins a tie.
pub(crate) fn likeliest_step(values: &[f64]) -> Option<usize> {
    let total: f64 = values.iter().sum();
    let (mut before, mut best) = (0.0, None);
    for split in 1..values.len() {
        before += values[split - 1];
        let (left, right) = (split as f64, (values.len() - split) as f64);
        let step = (total - before) / right - before / left;
        let gain = left * right * step * step;
        if step > 0.0 && best.is_none_or(|(highest, _)| gain > highest) {
            best = Some((gain, split));
        }
    }
    best.map(|(_, split)| split)
}

/// A change to a higher rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rise {
    /// Number of outcomes before the change.
    pub split: usize,
    /// Rate before it.
    pub before: f64,
    /// Rate after it.
    pub after: f64,
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

    fn rise(flags: &[u8]) -> Option<Rise> {
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
    fn a_step_in_noise_is_placed_where_the_mean_rises() {
        let values: Vec<f64> =
            (0..60_u32).map(|i| f64::from(i * 37 % 11) / 11.0 + if i < 41 { 0.0 } else { 2.0 }).collect();
        assert_eq!(likeliest_step(&values), Some(41));
        let falling: Vec<f64> = values.iter().map(|value| -value).collect();
        assert_ne!(likeliest_step(&falling), Some(41));
        assert_eq!(likeliest_step(&[1.0]), None);
        assert_eq!(likeliest_step(&[2.0, 1.0]), None);
    }

    #[test]
    fn places_are_brought_into_bounds() {
        assert_eq!(within_bounds(3, 5, 9), 5);
        assert_eq!(within_bounds(30, 5, 9), 9);
        assert_eq!(within_bounds(5, 5, 5), 5);
    }
}
