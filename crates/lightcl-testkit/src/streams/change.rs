//! How one concept gives way to the next.

use crate::random::seeded;
use lightcl_core::ClassId;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Features and label of one row.
pub(super) type Row = (Vec<f32>, ClassId);

/// What happens at a change point.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Change {
    /// From one row to the next the new concept holds.
    #[default]
    Abrupt,
    /// Each row near a change point follows the new concept with a probability that grows as a sigmoid: 0.12 half a
    /// `width` before the point, 0.5 at it, 0.88 half a `width` after it.
    Gradual {
        /// Rows over which most of the change happens.
        width: usize,
    },
    /// Abrupt, and two concepts alternate: A B A B.
    Recurring,
}

impl Change {
    /// The concept that task `task` is about.
    pub fn concept(self, task: usize) -> usize {
        if self == Change::Recurring { task % 2 } else { task }
    }

    /// How many concepts a stream of `tasks` tasks has.
    pub(super) fn concepts(self, tasks: usize) -> usize {
        if self == Change::Recurring { tasks.min(2) } else { tasks }
    }

    /// The rows of each task of the given lengths; `draw` makes one from the concept named.
    pub(super) fn tasks(
        self,
        lengths: &[usize],
        random: &mut ChaCha8Rng,
        mut draw: impl FnMut(usize, &mut ChaCha8Rng) -> Row,
    ) -> Vec<Vec<Row>> {
        let points: Vec<usize> = lengths
            .iter()
            .scan(0, |end, length| {
                *end += length;
                Some(*end)
            })
            .take(lengths.len().saturating_sub(1))
            .collect();
        // Choices have a generator of their own, so that abrupt and gradual streams of one seed share their concepts.
        let mut choices = seeded(random.random());
        let mut index = 0;
        let tasks = lengths.iter().enumerate().map(|(task, &length)| {
            let rows = (0..length).map(|_| {
                let followed = match self {
                    Change::Gradual { width } => {
                        points.iter().filter(|&&point| choices.random_bool(share(index, point, width))).count()
                    }
                    Change::Abrupt | Change::Recurring => task,
                };
                index += 1;
                draw(self.concept(followed), random)
            });
            rows.collect()
        });
        tasks.collect()
    }
}

/// The share of rows at `index` that follow what comes after the change point.
fn share(index: usize, point: usize, width: usize) -> f64 {
    let distance = index as f64 - point as f64;
    1.0 / (1.0 + (-4.0 * distance / width.max(1) as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concepts(change: Change, lengths: &[usize]) -> Vec<Vec<usize>> {
        let tasks = change.tasks(lengths, &mut seeded(1), |concept, _| (vec![concept as f32], 0));
        tasks.into_iter().map(|rows| rows.into_iter().map(|(row, _)| row[0] as usize).collect()).collect()
    }

    #[test]
    fn abrupt_concepts_follow_their_tasks_and_recurring_ones_alternate() {
        assert_eq!(concepts(Change::Abrupt, &[2, 1, 2]), [vec![0, 0], vec![1], vec![2, 2]]);
        assert_eq!(concepts(Change::Recurring, &[1, 2, 1, 1]), [vec![0], vec![1, 1], vec![0], vec![1]]);
        assert_eq!((Change::Recurring.concepts(4), Change::Abrupt.concepts(4)), (2, 4));
    }

    #[test]
    fn a_gradual_change_mixes_both_concepts_around_its_point_only() {
        let rows = concepts(Change::Gradual { width: 1000 }, &[4000, 4000]).concat();
        let new = |from: usize, to: usize| rows[from..to].iter().sum::<usize>() as f64 / (to - from) as f64;
        assert!(new(0, 2000) < 0.005 && new(6000, 8000) > 0.995);
        assert!((new(3450, 3550) - 0.12).abs() < 0.1 && (new(4450, 4550) - 0.88).abs() < 0.1);
        assert!((new(3900, 4100) - 0.5).abs() < 0.1);
    }
}
