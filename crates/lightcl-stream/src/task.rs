//! What the operator remembers of each task.

use lightcl_core::{ClassId, Evidence, SampleMeta, TaskChange};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Most names that a task keeps. It has one by itself, and those of the tasks that went into it.
const MOST_KEYS: usize = 64;

/// One task of the stream. It may be visited several times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Number of the task, from 0; never given twice.
    pub id: u32,
    /// Classes seen in it.
    pub classes: BTreeSet<ClassId>,
    /// The task's names in the stream, when a column gives them, the newest last.
    pub keys: Vec<String>,
    /// Rows that went into it over all visits, held-out probes included.
    pub rows: u64,
    /// Whether it was closed with an importance batch: the learner has its vital channels.
    pub marked: bool,
    /// Index of the first row after its last visit; 0 before the first has ended.
    pub last_used: u64,
    /// The visit that goes on, or the last one.
    pub visit: Visit,
}

/// One stretch of the stream under a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Visit {
    /// Rows of this visit.
    pub rows: u64,
    /// Whether the learner was told of it: that waits for its first batch.
    pub opened: bool,
    /// What is different about it.
    pub change: TaskChange,
    /// Whether the visit's name was taken in.
    pub named: bool,
}

/// What detectors say is different about a task. Classes count for more than labels, and labels for more than inputs: who sees
/// new classes sees the others move too.
pub(crate) fn change(evidence: &[Evidence]) -> TaskChange {
    let fired = |names: &[&str]| {
        let mut strong = evidence.iter().filter(|evidence| !evidence.message.starts_with("no sign"));
        strong.any(|evidence| names.contains(&evidence.detector.as_str()))
    };
    const NEUTRAL: [&str; 4] = ["task_column", "every", "calendar", "regimes"];
    if fired(&["new_classes"]) {
        TaskChange::Classes
    } else if fired(&["rule", "calibration", "residual"]) {
        TaskChange::Labels
    } else if fired(&["input", "activations", "mmd", "class_shares"]) {
        TaskChange::Inputs
    } else if evidence.iter().all(|evidence| NEUTRAL.contains(&evidence.detector.as_str())) {
        TaskChange::Unknown
    } else {
        // A detector on a signal of the predictions.
        TaskChange::Labels
    }
}

impl Task {
    /// A task that has no rows yet.
    pub fn new(id: u32) -> Self {
        Task {
            id,
            classes: BTreeSet::new(),
            keys: Vec::new(),
            rows: 0,
            marked: false,
            last_used: 0,
            visit: Visit::default(),
        }
    }

    /// Counts rows that are learnt under this task.
    pub fn take_in<'a>(&mut self, labels: &[ClassId], metas: impl IntoIterator<Item = &'a SampleMeta>) {
        self.rows += labels.len() as u64;
        self.visit.rows += labels.len() as u64;
        self.classes.extend(labels);
        if !self.visit.named
            && let Some(key) = metas.into_iter().find_map(|meta| meta.task_key.as_ref())
        {
            self.visit.named = true;
            self.add_key(key);
        }
    }

    /// Whether the stream has called this task so.
    pub fn has_key(&self, key: &str) -> bool {
        self.keys.iter().any(|own| own == key)
    }

    /// Whether rows under a name may be this task's: where both have names, one must be shared.
    pub fn may_be_called(&self, key: Option<&str>) -> bool {
        self.keys.is_empty() || key.is_none_or(|key| self.has_key(key))
    }

    /// Whether a held-out row belongs to this task: by name where both have one, else by class.
    pub fn owns(&self, label: ClassId, key: Option<&str>) -> bool {
        match key {
            Some(key) if !self.keys.is_empty() => self.has_key(key),
            _ => self.classes.contains(&label),
        }
    }

    /// Takes another task in, which is then gone. The visit stays this task's own.
    pub fn merge(&mut self, gone: Task) {
        self.rows += gone.rows;
        self.classes.extend(gone.classes);
        self.marked |= gone.marked;
        let own = std::mem::replace(&mut self.keys, gone.keys);
        own.iter().for_each(|key| self.add_key(key));
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        let keys: usize = self.keys.iter().map(|key| key.len() + size_of::<String>()).sum();
        (size_of::<Self>() + keys + self.classes.len() * size_of::<ClassId>()) as u64
    }

    fn add_key(&mut self, key: &str) {
        self.keys.retain(|own| own != key);
        self.keys.push(key.to_owned());
        let surplus = self.keys.len().saturating_sub(MOST_KEYS);
        self.keys.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fired_says_what_is_different() {
        let evidence = |fired: &[(&str, &str)]| {
            fired.iter().map(|&(detector, message)| Evidence::new(detector, message)).collect::<Vec<_>>()
        };
        for (fired, expected) in [
            (&[("task_column", "b")][..], TaskChange::Unknown),
            (&[("input", "the inputs lie elsewhere: .."), ("rule", "no sign: ..")], TaskChange::Inputs),
            (&[("input", "the inputs lie elsewhere: .."), ("rule", "another rule: ..")], TaskChange::Labels),
            (&[("new_classes", "4 of 16"), ("rule", "another rule: ..")], TaskChange::Classes),
            (&[("adwin", "the mean rose")], TaskChange::Labels),
            (&[], TaskChange::Unknown),
        ] {
            assert_eq!(change(&evidence(fired)), expected, "{fired:?}");
        }
    }

    #[test]
    fn names_are_bounded_and_the_newest_stay() {
        let mut task = Task::new(0);
        (0..100).for_each(|key| task.add_key(&key.to_string()));
        task.add_key("40");
        assert_eq!(task.keys.len(), MOST_KEYS);
        assert_eq!(task.keys.last().map(String::as_str), Some("40"));
        assert!(!task.has_key("35") && task.has_key("36"));
    }

    #[test]
    fn a_merged_task_owns_what_both_owned() {
        let mut task = Task::new(1);
        task.classes.insert(2);
        task.add_key("new");
        let mut gone = Task::new(0);
        gone.classes.insert(1);
        gone.add_key("old");
        gone.rows = 5;
        task.merge(gone);
        assert_eq!((task.id, task.rows, task.keys.as_slice()), (1, 5, &["old".to_owned(), "new".to_owned()][..]));
        assert!(task.owns(1, None) && task.owns(2, None) && !task.owns(3, None));
        assert!(task.owns(3, Some("old")) && !task.owns(1, Some("other")));
        assert!(task.may_be_called(None) && !task.may_be_called(Some("other")));
    }
}
