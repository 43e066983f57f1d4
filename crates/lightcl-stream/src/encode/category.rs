//! Categories as numbers: one-hot by first appearance, or hashed.

use std::collections::BTreeMap;

/// The values that have a slot of their own, in order of first appearance.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Vocabulary {
    slots: BTreeMap<String, usize>,
    names: Vec<String>,
}

impl Vocabulary {
    /// None when a name stands twice.
    pub fn from_names(names: Vec<String>) -> Option<Self> {
        let slots: BTreeMap<String, usize> =
            names.iter().enumerate().map(|(slot, name)| (name.clone(), slot)).collect();
        (slots.len() == names.len()).then_some(Vocabulary { slots, names })
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn slot(&self, name: &str) -> Option<usize> {
        self.slots.get(name).copied()
    }

    pub fn name(&self, slot: usize) -> Option<&str> {
        self.names.get(slot).map(String::as_str)
    }

    /// Gives `name` the next slot.
    pub fn add(&mut self, name: String) -> usize {
        let slot = self.names.len();
        self.slots.insert(name.clone(), slot);
        self.names.push(name);
        slot
    }

    pub fn bytes(&self) -> u64 {
        // Each name is held twice, with a slot number and two string headers.
        self.names.iter().map(|name| 2 * (name.len() + size_of::<String>()) + size_of::<usize>()).sum::<usize>() as u64
    }
}

/// The slot of a hashed category: FNV-1a with 64 bits (Fowler, Noll and Vo) over the bytes of its text, modulo `size`.
/// It is the same on every machine and in every version.
pub(crate) fn hashed_slot(text: &str, size: usize) -> usize {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    (hash % size.max(1) as u64) as usize
}

/// Appends `size` zeros with a one at `slot`.
pub(crate) fn push_one_hot(slot: usize, size: usize, out: &mut Vec<f32>) {
    let start = out.len();
    out.resize(start + size, 0.0);
    if let Some(number) = out.get_mut(start + slot) {
        *number = 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_published_test_vectors() {
        // FNV-1a 64: "" -> cbf29ce484222325, "a" -> af63dc4c8601ec8c, "foobar" -> 85944171f73967e8.
        assert_eq!(hashed_slot("", 1 << 20), 0x2_2325);
        assert_eq!(hashed_slot("a", 256), 0x8c);
        assert_eq!(hashed_slot("foobar", 256), 0xe8);
    }

    #[test]
    fn names_that_repeat_are_no_vocabulary() {
        assert!(Vocabulary::from_names(vec!["a".into(), "a".into()]).is_none());
        let mut vocabulary = Vocabulary::from_names(vec!["a".into()]).unwrap();
        assert_eq!((vocabulary.add("b".into()), vocabulary.slot("b"), vocabulary.name(0)), (1, Some(1), Some("a")));
    }
}
