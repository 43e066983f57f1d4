//! Random Fourier features of rows, their bandwidth, and what their means differ by through chance.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Pairs of rows from which the bandwidth is taken.
const PAIRS: usize = 1000;
/// As many rows of the recent window may lie anywhere without being a sign, however alike the others are: where all rows
/// were equal, chance gives a threshold of zero.
const OUTLIERS: f64 = 4.0;

/// The median distance of two of the projected rows, as a root mean square over directions (the median heuristic,
/// Gretton et al. 2012, section 8); 1 where it is 0.
pub(super) fn median_distance(rows: &[f32], width: usize, seed: u64) -> f32 {
    let count = rows.len() / width.max(1);
    if count < 2 {
        return 1.0;
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut squares: Vec<f32> = (0..PAIRS)
        .map(|_| {
            let first = random.random_range(0..count);
            // Another row than the first.
            let second = (first + random.random_range(1..count)) % count;
            let pairs = rows[first * width..][..width].iter().zip(&rows[second * width..][..width]);
            pairs.map(|(a, b)| (a - b) * (a - b)).sum::<f32>() / width as f32
        })
        .collect();
    squares.sort_unstable_by(f32::total_cmp);
    let median = squares[PAIRS / 2].sqrt();
    if median > 1e-6 { median } else { 1.0 }
}

/// Adds the cosines and sines of a projected row, of length 1 together: their inner products approximate the Gaussian
/// kernel of that bandwidth (Rahimi and Recht 2007).
pub(super) fn fourier(projected: &[f32], bandwidth: f32, features: &mut Vec<f32>) {
    let turns = 1.0 / (bandwidth * std::f32::consts::TAU);
    let scale = 1.0 / (projected.len().max(1) as f32).sqrt();
    features.extend(projected.iter().map(|value| scale * wave(value * turns + 0.25)));
    features.extend(projected.iter().map(|value| scale * wave(value * turns)));
}

/// The sine of so many turns to within 0.001, from two parabolas: the same on every machine, and quick.
fn wave(turns: f32) -> f32 {
    let turns = turns - turns.round();
    let parabola = turns * (8.0 - 16.0 * turns.abs());
    parabola + 0.225 * (parabola * parabola.abs() - parabola)
}

/// What the squared distance of the means of `recent` rows and of the others exceeds with a chance of `level` when it makes
/// no difference which rows are the recent ones: the quantile of a gamma distribution with the mean and the variance that
/// the statistic has over permutations (Gretton et al. 2012, section 8, fit it likewise), so that far smaller chances than
/// one over their number can be asked for.
pub(super) fn threshold(rows: &[f32], width: usize, recent: usize, permutations: usize, level: f64, seed: u64) -> f64 {
    let count = rows.len() / width.max(1);
    let row = |number: usize| &rows[number * width..(number + 1) * width];
    let mut total = vec![0.0_f64; width];
    (0..count).for_each(|number| add(&mut total, row(number)));
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut order: Vec<usize> = (0..count).collect();
    let mut chosen = vec![0.0_f64; width];
    let (mut sum, mut squares) = (0.0, 0.0);
    for _ in 0..permutations {
        chosen.fill(0.0);
        for place in 0..recent {
            let other = random.random_range(place..count);
            order.swap(place, other);
            add(&mut chosen, row(order[place]));
        }
        let statistic = total
            .iter()
            .zip(&chosen)
            .map(|(total, chosen)| (chosen / recent as f64 - (total - chosen) / (count - recent) as f64).powi(2))
            .sum::<f64>();
        sum += statistic;
        squares += statistic * statistic;
    }
    let mean = sum / permutations as f64;
    let variance = (squares / permutations as f64 - mean * mean).max(0.0);
    // Two unit vectors are at most 2 apart, squared 4; those of rows that have nothing in common 2.
    let least = 2.0 * (OUTLIERS / recent as f64).powi(2);
    if mean <= 0.0 || variance <= 0.0 {
        return least;
    }
    // Wilson and Hilferty (1931).
    let ninth = variance / (9.0 * mean * mean);
    (mean * (1.0 - ninth + normal_quantile(level) * ninth.sqrt()).powi(3)).max(least)
}

pub(super) fn add(sum: &mut [f64], values: &[f32]) {
    sum.iter_mut().zip(values).for_each(|(sum, &value)| *sum += f64::from(value));
}

/// What a normal variable exceeds with a chance of `level` below a half, to within 0.0005 (Abramowitz and Stegun 1964,
/// 26.2.23).
fn normal_quantile(level: f64) -> f64 {
    let t = (-2.0 * level.ln()).sqrt();
    t - (2.515_517 + t * (0.802_853 + t * 0.010_328)) / (1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_products_of_the_features_are_the_gaussian_kernel() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut normal = || (0..12).map(|_| random.random::<f32>()).sum::<f32>() - 6.0;
        // The distance of two rows is 1.5, in one number.
        let directions: Vec<f32> = (0..4000).map(|_| normal()).collect();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        fourier(&directions.iter().map(|g| g * 0.3).collect::<Vec<_>>(), 2.0, &mut first);
        fourier(&directions.iter().map(|g| g * 1.8).collect::<Vec<_>>(), 2.0, &mut second);
        let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        assert!((product(&first, &first) - 1.0).abs() < 0.002);
        let kernel = (-1.5_f32 * 1.5 / (2.0 * 4.0)).exp();
        assert!((product(&first, &second) - kernel).abs() < 0.02, "{} {kernel}", product(&first, &second));
    }

    #[test]
    fn quantiles_waves_and_distances() {
        for (level, quantile) in [(0.1, 1.281_55), (0.01, 2.326_35), (1e-6, 4.753_42)] {
            assert!((normal_quantile(level) - quantile).abs() < 5e-4, "{level}");
        }
        for turns in [-3.3_f32, -0.25, 0.0, 0.1, 0.4, 0.5, 7.9] {
            assert!((wave(turns) - (turns * std::f32::consts::TAU).sin()).abs() < 2e-3, "{turns}");
        }
        let rows: Vec<f32> = (0..200).map(|i| (i % 2) as f32 * 3.0).flat_map(|value| [value, value]).collect();
        assert!([1.0, 3.0].contains(&median_distance(&rows, 2, 7)));
        assert_eq!(median_distance(&[4.0; 40], 2, 7), 1.0);
        assert_eq!(median_distance(&[4.0; 2], 2, 7), 1.0);
    }

    #[test]
    fn a_threshold_is_exceeded_as_rarely_as_asked() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let mut exceeded = 0;
        for seed in 0..300 {
            let rows: Vec<f32> = (0..120 * 4).map(|_| random.random_range(-0.5..0.5)).collect();
            let (mut recent, mut others) = (vec![0.0; 4], vec![0.0; 4]);
            rows[..40 * 4].chunks(4).for_each(|row| add(&mut recent, row));
            rows[40 * 4..].chunks(4).for_each(|row| add(&mut others, row));
            let gap = |(a, b): (&f64, &f64)| (a / 40.0 - b / 80.0).powi(2);
            let statistic: f64 = recent.iter().zip(&others).map(gap).sum();
            // The least threshold of 40 rows is 0.02; statistics are scaled beyond it.
            let scaled: Vec<f32> = rows.iter().map(|value| value * 10.0).collect();
            exceeded += usize::from(statistic * 100.0 > threshold(&scaled, 4, 40, 200, 0.05, seed));
        }
        assert!((5..=28).contains(&exceeded), "{exceeded} of 300 at a level of 0.05");
        assert!((threshold(&[0.5; 400], 4, 40, 50, 1e-6, 1) - 0.02).abs() < 1e-9);
    }
}
