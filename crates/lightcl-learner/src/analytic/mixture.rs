//! Experts mixed by their prequential evidence.

use super::groups::Groups;
use faer::Mat;
use lightcl_core::ClassId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Probabilities count as higher by this: no single row says more against an expert.
const FLOOR: f64 = 1e-3;
/// Weights and mixed probabilities are at least this.
pub(super) const LEAST: f64 = 1e-6;

/// Weights of experts by the exponentiated log-likelihood of past rows, with a fixed share that moves to all at every row so
/// that what was bad yesterday can be good today (Herbster and Warmuth 1998).
///
/// Evidence comes from the rows of the current task alone. It says nothing of how well an expert still tells classes of
/// earlier tasks apart, and an expert that forgets looks best while it does. So a row's classes are decided in two steps
/// (see `docs/adr/0006-evidence-stays-within-a-task.md`): between [`Groups`] by the head that forgets least, within the
/// group that is being learnt by all experts, and within another one by those that keep what they knew, with the weights
/// they had earned then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mixture {
    /// One weight an expert, of sum 1.
    pub(super) weights: Vec<f64>,
    /// Weights of other groups, from when they were being learnt.
    pub(super) closed: BTreeMap<u32, Vec<f64>>,
    pub(crate) groups: Groups,
}

/// What experts say of some rows.
pub(crate) struct Opinions {
    /// `rows x classes` scores of each expert; none of one that is not ready. Columns may be missing at the end.
    pub(crate) scores: Vec<Option<Mat<f32>>>,
    /// Whether it keeps what it knew of classes that come no more.
    pub(crate) keeps: Vec<bool>,
    /// The expert that decides between groups.
    pub(crate) arbiter: usize,
    /// Rows that belong to another task than the current one, where that is known: the arbiter alone has a say, since evidence
    /// of the others is from the current task. Empty where it is not.
    pub(crate) elsewhere: Vec<bool>,
    pub(crate) classes: usize,
}

impl Opinions {
    /// Probabilities that one expert gives to some classes, of sum 1; none where it does not say.
    fn within(&self, expert: usize, row: usize, classes: &[usize]) -> Option<Vec<f64>> {
        let scores = self.scores[expert].as_ref()?;
        let score =
            |class: usize| if class < scores.ncols() { f64::from(scores[(row, class)]) } else { f64::NEG_INFINITY };
        let highest = classes.iter().map(|&class| score(class)).fold(f64::NEG_INFINITY, f64::max);
        if !highest.is_finite() {
            return None;
        }
        let mut shares: Vec<f64> = classes.iter().map(|&class| (score(class) - highest).exp()).collect();
        let total: f64 = shares.iter().sum();
        if !total.is_finite() {
            return None;
        }
        shares.iter_mut().for_each(|share| *share /= total);
        Some(shares)
    }
}

impl Mixture {
    pub(crate) fn new(experts: usize) -> Mixture {
        Mixture {
            weights: vec![1.0 / experts.max(1) as f64; experts],
            closed: BTreeMap::new(),
            groups: Groups::default(),
        }
    }

    /// The weights of the group that is being learnt.
    pub(crate) fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// Logarithms of the mixed probabilities, row-major, `rows x classes`.
    /// Classes that are `fresh` belong to no group yet: they are taken for ones of what is being learnt.
    pub(crate) fn mix(&self, opinions: &Opinions, rows: usize, fresh: &BTreeSet<ClassId>) -> Vec<f32> {
        let classes = opinions.classes;
        let mut groups: Vec<(u32, Vec<usize>)> = self.groups.all().into_iter().collect();
        if let Some((_, members)) = groups.iter_mut().find(|(group, _)| self.groups.active() == Some(*group)) {
            members.extend(fresh.iter().map(|&class| class as usize));
        }
        let all: Vec<usize> = groups.iter().flat_map(|(_, classes)| classes.iter().copied()).collect();
        let mut logits = vec![(LEAST * LEAST).ln() as f32; rows * classes];
        for row in 0..rows {
            let between = match groups.len() {
                0 | 1 => None,
                _ => opinions.within(opinions.arbiter, row, &all),
            };
            let mut first = 0;
            for (group, members) in &groups {
                let share = match &between {
                    Some(shares) => shares[first..first + members.len()].iter().sum(),
                    None => members.len() as f64 / all.len() as f64,
                };
                first += members.len();
                let inside = self.inside(opinions, row, *group, members);
                for (&class, inside) in members.iter().zip(inside) {
                    if class < classes {
                        logits[row * classes + class] = (share * inside).max(LEAST * LEAST).ln() as f32;
                    }
                }
            }
        }
        logits
    }

    /// Mixed probabilities within one group.
    fn inside(&self, opinions: &Opinions, row: usize, group: u32, members: &[usize]) -> Vec<f64> {
        let is_active = self.groups.active() == Some(group);
        let weights = if is_active { Some(&self.weights) } else { self.closed.get(&group) };
        let mut mixed = vec![0.0; members.len()];
        let mut total = 0.0;
        let is_elsewhere = opinions.elsewhere.get(row).copied().unwrap_or(false);
        for expert in 0..opinions.scores.len() {
            if !(is_active || opinions.keeps[expert]) || is_elsewhere && expert != opinions.arbiter {
                continue;
            }
            let Some(shares) = opinions.within(expert, row, members) else { continue };
            let weight = weights.map_or(1.0, |weights| weights[expert]).max(LEAST);
            total += weight;
            mixed.iter_mut().zip(shares).for_each(|(mixed, share)| *mixed += weight * share);
        }
        let even = 1.0 / members.len().max(1) as f64;
        mixed.iter_mut().for_each(|share| *share = if total > 0.0 { *share / total } else { even });
        mixed
    }

    /// Takes in the class of one row as evidence: experts that had given it much gain weight. Only classes of the group that is
    /// being learnt count.
    pub(crate) fn judge_by(&mut self, opinions: &Opinions, row: usize, label: ClassId, evidence: f64, share: f64) {
        let Some(group) = self.groups.active().filter(|&group| self.groups.of(label as usize) == Some(group)) else {
            return;
        };
        if opinions.elsewhere.get(row).copied().unwrap_or(false) {
            return;
        }
        let members = self.groups.members(group);
        if let Some(place) = members.iter().position(|&class| class == label as usize) {
            self.judge(opinions, row, &members, place, evidence, share);
        }
    }

    /// Takes in the class of a row that is learnt. Weights go with the group that they were earned in.
    pub(crate) fn meet(&mut self, label: ClassId) {
        let before = self.groups.active();
        if self.groups.meet(label) {
            if let Some(before) = before {
                self.closed.insert(before, self.weights.clone());
            }
            if let Some(weights) = self.groups.active().and_then(|group| self.closed.remove(&group)) {
                self.weights = weights;
            }
            let groups = &self.groups;
            self.closed.retain(|&group, _| groups.has(group));
        }
    }

    fn judge(&mut self, opinions: &Opinions, row: usize, members: &[usize], place: usize, evidence: f64, share: f64) {
        let even = 1.0 / members.len() as f64;
        for (expert, weight) in self.weights.iter_mut().enumerate() {
            let given = opinions.within(expert, row, members).map_or(even, |shares| shares[place]);
            *weight *= (given + FLOOR).powf(evidence);
        }
        let total: f64 = self.weights.iter().sum();
        let count = self.weights.len() as f64;
        for weight in &mut self.weights {
            let own = if total > 0.0 { *weight / total } else { 1.0 / count };
            *weight = (1.0 - share) * own + share / count;
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        8 * (self.weights.len() * (1 + self.closed.len())) as u64
    }

    pub(crate) fn is_sound(&self, experts: usize) -> bool {
        let sound = |weights: &[f64]| weights.len() == experts && weights.iter().all(|w| w.is_finite() && *w >= 0.0);
        sound(&self.weights) && self.closed.values().all(|weights| sound(weights)) && self.groups.is_sound()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two experts of two classes: the first gives class 0 three quarters, the second class 1.
    fn opinions() -> Opinions {
        let scores = |odds: f32| Some(Mat::from_fn(1, 2, |_, class| if class == 0 { odds } else { 0.0 }));
        Opinions {
            scores: vec![scores(3.0_f32.ln()), scores(-(3.0_f32.ln()))],
            keeps: vec![true, false],
            arbiter: 0,
            elsewhere: Vec::new(),
            classes: 2,
        }
    }

    fn take(mixture: &mut Mixture, opinions: &Opinions, label: ClassId) {
        mixture.judge_by(opinions, 0, label, 1.0, 0.001);
        mixture.meet(label);
    }

    #[test]
    fn weight_goes_to_the_expert_that_was_right_and_comes_back_after_a_change() {
        let (opinions, mut mixture) = (opinions(), Mixture::new(2));
        mixture.groups.meet(0);
        mixture.groups.meet(1);
        (0..200).for_each(|_| take(&mut mixture, &opinions, 0));
        assert!(mixture.weights()[0] > 0.99, "{:?}", mixture.weights());
        (0..15).for_each(|_| take(&mut mixture, &opinions, 1));
        assert!(mixture.weights()[1] > 0.9, "{:?}", mixture.weights());
        let logits = mixture.mix(&opinions, 1, &BTreeSet::new());
        assert!(logits[1] > logits[0]);
        assert!((logits.iter().map(|&l| f64::from(l).exp()).sum::<f64>() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn an_expert_that_forgets_has_no_say_about_an_earlier_task() {
        let mut mixture = Mixture::new(2);
        let narrow = opinions();
        (0..20).for_each(|row| take(&mut mixture, &narrow, row % 2));
        mixture.groups.begin_task();
        // Four classes now; the second expert is sure of the new ones and has the rest upside down.
        let scores = |values: [f32; 4]| Some(Mat::from_fn(1, 4, |_, class| values[class]));
        let wide = Opinions {
            scores: vec![scores([4.0, 3.0, 1.0, 1.0]), scores([0.0, 9.0, 20.0, 0.0])],
            keeps: vec![true, false],
            arbiter: 0,
            elsewhere: Vec::new(),
            classes: 4,
        };
        take(&mut mixture, &wide, 3);
        (0..50).for_each(|_| take(&mut mixture, &wide, 2));
        assert!(mixture.weights()[1] > 0.99);
        let logits = mixture.mix(&wide, 1, &BTreeSet::new());
        let best = (0..4).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
        assert_eq!(best, Some(0), "{logits:?}");
    }
}
