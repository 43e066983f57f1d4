//! The nearest right name for a wrong one.

/// The candidate most like `name`, if one is like it at all.
///
/// ```
/// use lightcl_pipeline::config::nearest;
///
/// assert_eq!(nearest("lerning_rate", ["learning_rate", "momentum"]), Some("learning_rate"));
/// assert_eq!(nearest("topic", ["learning_rate", "momentum"]), None);
/// ```
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase().replace('-', "_");
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&wanted, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(wanted.chars().count()).div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
