//! Adding what another bank knows of other rows.

use super::mixture::Mixture;
use lightcl_core::ClassId;

impl Mixture {
    /// Takes over groups of classes that were learnt elsewhere, with the weights that experts had earned there. `classes` are
    /// our numbers of the other's classes; `stranger` is the expert that has not learnt any of them with us.
    pub(crate) fn merge(&mut self, other: &Mixture, classes: &[ClassId], stranger: Option<usize>) {
        for (group, members) in other.groups.all() {
            let members: Vec<usize> =
                members.iter().filter_map(|&class| classes.get(class)).map(|&class| class as usize).collect();
            let Some(own) = self.groups.join(&members) else { continue };
            let is_active = other.groups.active() == Some(group);
            let mut weights = match other.closed.get(&group) {
                Some(weights) if !is_active => weights.clone(),
                _ => other.weights.clone(),
            };
            if let Some(weight) = stranger.and_then(|expert| weights.get_mut(expert)) {
                *weight = 0.0;
            }
            self.closed.insert(own, weights);
        }
    }
}
