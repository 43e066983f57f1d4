//! A seven-segment display.

use super::{Change, Generator, SyntheticStream};
use crate::random::seeded;
use lightcl_core::ClassId;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Segments of each digit, bit 0 first: top, upper left, upper right, middle, lower left, lower right, bottom.
const DIGITS: [u8; 10] = [
    0b111_0111, 0b010_0100, 0b101_1101, 0b110_1101, 0b010_1110, 0b110_1011, 0b111_1011, 0b010_0101, 0b111_1111,
    0b110_1111,
];

const SEGMENTS: usize = 7;

/// The LED display (Breiman, Friedman, Olshen and Stone 1984, "Classification and regression trees"): seven segments show
/// a digit, each wrong with probability `noise`, beside attributes that mean nothing. At a change point some segments
/// swap places with attributes that mean nothing.
#[derive(Debug, Clone)]
pub struct Led {
    /// Rows of each task.
    pub rows: Vec<usize>,
    /// How concepts change.
    pub change: Change,
    /// Attributes that mean nothing.
    pub irrelevant: usize,
    /// Segments that swap places at a change point.
    pub swapped: usize,
    /// Probability that a segment shows the wrong thing.
    pub noise: f64,
}

impl Default for Led {
    fn default() -> Self {
        Led { rows: vec![4000; 3], change: Change::Abrupt, irrelevant: 17, swapped: 4, noise: 0.1 }
    }
}

impl Led {
    /// Where each attribute stands, concept by concept; segments are attributes 0 to 6.
    fn places(&self, random: &mut ChaCha8Rng) -> Vec<Vec<usize>> {
        let first: Vec<usize> = (0..SEGMENTS + self.irrelevant).collect();
        std::iter::successors(Some(first), |last| {
            let mut next = last.clone();
            // A random start, so that it is not always the same segments that keep their places.
            let start = random.random_range(0..SEGMENTS);
            let free = random.random_range(0..self.irrelevant.max(1));
            for step in 0..self.swapped.min(SEGMENTS).min(self.irrelevant) {
                next.swap((start + step) % SEGMENTS, SEGMENTS + (free + step) % self.irrelevant);
            }
            Some(next)
        })
        .take(self.change.concepts(self.rows.len()))
        .collect()
    }
}

impl Generator for Led {
    fn name(&self) -> &'static str {
        "led"
    }

    fn generate(&self, seed: u64) -> SyntheticStream {
        let mut random = seeded(seed);
        let places = self.places(&mut random);
        let width = SEGMENTS + self.irrelevant;
        let tasks = self.change.tasks(&self.rows, &mut random, |concept, random| {
            let digit = random.random_range(0..DIGITS.len());
            let mut row = vec![0.0; width];
            for (attribute, &place) in places[concept].iter().enumerate() {
                let is_on = if attribute < SEGMENTS {
                    (DIGITS[digit] >> attribute & 1 == 1) ^ random.random_bool(self.noise)
                } else {
                    random.random_bool(0.5)
                };
                row[place] = f32::from(u8::from(is_on));
            }
            (row, digit as ClassId)
        });
        SyntheticStream::from_tasks(self.name(), width, &tasks)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::rule_accuracies;
    use super::*;

    #[test]
    fn digits_differ_and_the_places_of_their_segments_hold_for_their_task_only() {
        let distinct: std::collections::BTreeSet<u8> = DIGITS.into_iter().collect();
        assert_eq!(distinct.len(), 10);
        let led = Led { noise: 0.0, ..Led::default() };
        let places = led.places(&mut seeded(2));
        let read = |concept: usize, row: &[f32]| {
            let shown =
                (0..SEGMENTS).fold(0, |bits, segment| bits | u8::from(row[places[concept][segment]] > 0.5) << segment);
            DIGITS.iter().position(|&digit| digit == shown).map_or(99, |digit| digit as ClassId)
        };
        for (own, next) in rule_accuracies(&led.generate(2), read) {
            assert!(own == 1.0 && next < 0.3, "{own} {next}");
        }
    }
}
