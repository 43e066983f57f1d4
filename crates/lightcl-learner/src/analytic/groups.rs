//! Classes that were learnt together.

use lightcl_core::ClassId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Rows of a known class that a task needs before the class counts as one of the task's own: fewer may be mislabelled.
const CONFIRM_ROWS: u32 = 8;

/// Which classes have been told apart by one task, so that recent evidence about them is worth something.
///
/// Classes that first appear in one task form a group. Where a task brings classes of several groups, these become one: in a
/// stream whose tasks all have the same classes there is a single group, in a class-incremental one there is a group a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Groups {
    /// Group of each class; none for numbers not met yet.
    of_class: Vec<Option<u32>>,
    next: u32,
    /// The group that the current task is about.
    active: Option<u32>,
    /// Whether the current task has said which group it is about.
    decided: bool,
    /// Rows of classes of other groups in the current task.
    visitors: BTreeMap<ClassId, u32>,
}

impl Groups {
    /// Groups numbered in the order given, each with whether it is the active one. None when a class is in two of them, or two
    /// are active.
    pub(crate) fn from_lists(groups: &[(Vec<usize>, bool)]) -> Option<Groups> {
        let mut made = Groups { next: u32::try_from(groups.len()).ok()?, ..Groups::default() };
        for (group, (classes, active)) in (0..).zip(groups) {
            for &class in classes {
                if class >= crate::MAX_CLASSES {
                    return None;
                }
                if made.of_class.len() <= class {
                    made.of_class.resize(class + 1, None);
                }
                if made.of_class[class].replace(group).is_some() {
                    return None;
                }
            }
            if *active && made.active.replace(group).is_some() {
                return None;
            }
        }
        Some(made)
    }

    /// A task begins. Until its rows say otherwise it is about what the last was about.
    pub(crate) fn begin_task(&mut self) {
        self.decided = false;
        self.visitors.clear();
    }

    /// Takes in the class of a row that is learnt. Says whether another group became the active one, or groups joined.
    pub(crate) fn meet(&mut self, class: ClassId) -> bool {
        let place = class as usize;
        if self.of_class.len() <= place {
            self.of_class.resize(place + 1, None);
        }
        match self.of_class[place] {
            None => {
                let changes = !self.decided;
                if changes {
                    self.active = Some(self.next);
                    self.next += 1;
                    self.decided = true;
                }
                self.of_class[place] = self.active;
                changes
            }
            Some(group) if self.decided && self.active == Some(group) => false,
            Some(group) => {
                let rows = self.visitors.entry(class).or_insert(0);
                *rows = rows.saturating_add(1);
                if *rows < CONFIRM_ROWS {
                    return false;
                }
                self.visitors.clear();
                let changes = self.active != Some(group);
                if self.decided {
                    let active = self.active;
                    self.of_class.iter_mut().filter(|own| **own == Some(group)).for_each(|own| *own = active);
                } else {
                    self.active = Some(group);
                    self.decided = true;
                }
                changes
            }
        }
    }

    /// Takes in classes that were learnt together elsewhere. Gives their group where it is a new one: where some are known, the
    /// others go to the group of the first of those.
    pub(crate) fn join(&mut self, classes: &[usize]) -> Option<u32> {
        let highest = *classes.iter().max()?;
        if self.of_class.len() <= highest {
            self.of_class.resize(highest + 1, None);
        }
        let known = classes.iter().find_map(|&class| self.of_class[class]);
        let group = known.unwrap_or(self.next);
        self.next = self.next.max(group + 1);
        classes.iter().for_each(|&class| _ = self.of_class[class].get_or_insert(group));
        known.is_none().then_some(group)
    }

    /// The group that the current task is about.
    pub(crate) fn active(&self) -> Option<u32> {
        self.active
    }

    pub(crate) fn of(&self, class: usize) -> Option<u32> {
        self.of_class.get(class).copied().flatten()
    }

    /// Every group with its classes.
    pub(crate) fn all(&self) -> BTreeMap<u32, Vec<usize>> {
        let mut groups: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (class, group) in self.of_class.iter().enumerate() {
            if let Some(group) = group {
                groups.entry(*group).or_default().push(class);
            }
        }
        groups
    }

    /// Classes of one group.
    pub(crate) fn members(&self, group: u32) -> Vec<usize> {
        (0..self.of_class.len()).filter(|&class| self.of_class[class] == Some(group)).collect()
    }

    /// Whether any class is in a group.
    pub(crate) fn has(&self, group: u32) -> bool {
        self.of_class.contains(&Some(group))
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.of_class.iter().flatten().chain(&self.active).all(|&group| group < self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_learnt_elsewhere_are_a_group_of_their_own_unless_some_are_known() {
        let mut groups = Groups::default();
        [0, 1].into_iter().for_each(|class| _ = groups.meet(class));
        assert_eq!(groups.join(&[3, 2]), Some(1));
        assert_eq!(groups.join(&[4, 1]), None);
        assert_eq!(groups.join(&[]), None);
        assert_eq!(groups.all(), BTreeMap::from([(0, vec![0, 1, 4]), (1, vec![2, 3])]));
        assert_eq!(groups.active(), Some(0));
        assert!(groups.is_sound());
    }

    #[test]
    fn new_classes_of_a_task_are_a_group_and_tasks_that_share_classes_share_one() {
        let mut groups = Groups::default();
        [0, 1, 0, 1].into_iter().for_each(|class| _ = groups.meet(class));
        groups.begin_task();
        assert_eq!(groups.active(), Some(0), "before its first row a task is about what the last was");
        [2, 3, 2].into_iter().for_each(|class| _ = groups.meet(class));
        assert_eq!(groups.all(), BTreeMap::from([(0, vec![0, 1]), (1, vec![2, 3])]));
        assert_eq!(groups.active(), Some(1));
        // A mislabelled row joins nothing, a class that stays does.
        groups.meet(0);
        assert_eq!(groups.of(0), Some(0));
        (0..CONFIRM_ROWS).for_each(|_| _ = groups.meet(0));
        assert_eq!(groups.all(), BTreeMap::from([(1, vec![0, 1, 2, 3])]));
        // A task of old classes alone is about their group.
        groups.begin_task();
        [4; 3].into_iter().for_each(|class| _ = groups.meet(class));
        groups.begin_task();
        (0..CONFIRM_ROWS).for_each(|_| _ = groups.meet(3));
        assert_eq!((groups.active(), groups.all().len()), (Some(1), 2));
    }
}
