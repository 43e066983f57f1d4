//! What rows have taught an encoder: the part of it that is state.

use super::category::Vocabulary;
use super::config::{CategoryEncoding, EncoderConfig, FeatureKind, MAX_SAMPLE_VALUES};
use super::features::News;
use super::labels::Labels;
use super::plan::Plan;
use super::standardize::Standardizer;
use super::texts::ValueKind;
use lightcl_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Everything learnt.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Learnt {
    /// How each feature is read; [`FeatureKind::Auto`] until a schema says.
    pub kinds: Vec<FeatureKind>,
    /// The shape of each feature's numbers, once known.
    pub shapes: Vec<Option<Vec<usize>>>,
    /// The slots of each one-hot feature; empty for the others.
    pub vocabularies: Vec<Vocabulary>,
    pub labels: Labels,
    pub standardizer: Standardizer,
}

/// [`Learnt`] as it is saved, with the columns it belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedLearnt {
    pub columns: Vec<String>,
    pub standardize: bool,
    pub kinds: Vec<FeatureKind>,
    pub shapes: Vec<Option<Vec<usize>>>,
    pub categories: Vec<Vec<String>>,
    pub label_kind: Option<ValueKind>,
    pub labels: Vec<String>,
    pub standardizer: Standardizer,
}

impl Learnt {
    pub fn new(kinds: Vec<FeatureKind>, shapes: Vec<Option<Vec<usize>>>) -> Self {
        let vocabularies = vec![Vocabulary::default(); kinds.len()];
        Learnt { kinds, shapes, vocabularies, labels: Labels::default(), standardizer: Standardizer::default() }
    }

    /// Takes over what a schema says of kinds and shapes where nothing is known.
    pub fn fill_in(&mut self, plan: &Plan) {
        self.kinds = plan.kinds();
        for (known, feature) in self.shapes.iter_mut().zip(&plan.features) {
            if known.is_none() {
                known.clone_from(&feature.shape);
            }
        }
    }

    /// Takes in what a good row taught about its features.
    pub fn take_in(&mut self, news: &mut [News]) {
        self.take_in_shapes(news);
        for (news, vocabulary) in news.iter_mut().zip(&mut self.vocabularies) {
            if let Some(category) = news.category.take() {
                vocabulary.add(category);
            }
        }
    }

    /// Takes in the shapes that a good row showed first.
    pub fn take_in_shapes(&mut self, news: &mut [News]) {
        for (news, shape) in news.iter_mut().zip(&mut self.shapes) {
            if let Some(found) = news.shape.take() {
                *shape = Some(found);
            }
        }
    }

    /// Moves the one of each category that would have got a slot of its own to the last slot.
    pub fn hide_new_categories(&self, news: &[News], numbers: &mut [f32]) {
        let mut start = 0;
        for (news, shape) in news.iter().zip(&self.shapes) {
            let end = start + shape.as_ref().map_or(0, |shape| shape.iter().product());
            if news.category.is_some()
                && let Some((last, others)) = numbers[start..end].split_last_mut()
            {
                others.fill(0.0);
                *last = 1.0;
            }
            start = end;
        }
    }

    /// The shape of a sample and where its standardised numbers stand; none while a feature's shape is unknown.
    pub fn sample_shape(&self) -> (Option<Vec<usize>>, Vec<Range<usize>>) {
        let Some(ranges) = Learnt::standardised_ranges(&self.kinds, &self.shapes) else { return (None, Vec::new()) };
        if let [Some(only)] = &self.shapes[..] {
            return (Some(only.clone()), ranges);
        }
        let widths = self.shapes.iter().flatten().map(|shape| shape.iter().product::<usize>());
        (Some(vec![widths.sum()]), ranges)
    }

    /// Where the numbers that are standardised stand in a sample: all but those of categories.
    fn standardised_ranges(kinds: &[FeatureKind], shapes: &[Option<Vec<usize>>]) -> Option<Vec<Range<usize>>> {
        let mut ranges = Vec::new();
        let mut start = 0;
        for (kind, shape) in kinds.iter().zip(shapes) {
            let end = start + shape.as_ref()?.iter().product::<usize>();
            if !matches!(kind, FeatureKind::Category { .. }) {
                ranges.push(start..end);
            }
            start = end;
        }
        Some(ranges)
    }

    pub fn bytes(&self) -> u64 {
        let vocabularies: u64 = self.vocabularies.iter().map(Vocabulary::bytes).sum();
        vocabularies + self.labels.bytes() + (self.standardizer.mean.len() * 2 * size_of::<f64>()) as u64
    }

    pub fn to_saved(&self, config: &EncoderConfig) -> SavedLearnt {
        SavedLearnt {
            columns: config.features.iter().map(|feature| feature.column.clone()).collect(),
            standardize: config.standardize,
            kinds: self.kinds.clone(),
            shapes: self.shapes.clone(),
            categories: self.vocabularies.iter().map(|vocabulary| vocabulary.names().to_vec()).collect(),
            label_kind: self.labels.kind(),
            labels: self.labels.names().to_vec(),
            standardizer: self.standardizer.clone(),
        }
    }

    /// Checks that what was saved fits the configuration and does not contradict itself.
    pub fn from_saved(saved: SavedLearnt, config: &EncoderConfig) -> Result<Self> {
        let unsound = |what: &str| Error::user(format!("the saved state of the encoder contradicts itself: {what}"));
        if !saved.columns.iter().eq(config.features.iter().map(|feature| &feature.column))
            || saved.standardize != config.standardize
        {
            return Err(Error::user("the saved state was made with other features; start over with --fresh")
                .with("saved", saved.columns.join(", "))
                .with("configured", config.features.iter().map(|f| f.column.as_str()).collect::<Vec<_>>().join(", ")));
        }
        let count = saved.columns.len();
        if saved.kinds.len() != count || saved.shapes.len() != count || saved.categories.len() != count {
            return Err(unsound("its lists differ in length"));
        }
        for ((feature, kind), shape) in config.features.iter().zip(&saved.kinds).zip(&saved.shapes) {
            if feature.kind != FeatureKind::Auto && feature.kind != *kind {
                return Err(Error::user("the saved state read a feature in another way; start over with --fresh")
                    .with("column", &feature.column));
            }
            let size = shape.as_ref().map(|shape| shape.iter().try_fold(1_usize, |size, &dim| size.checked_mul(dim)));
            match size {
                Some(Some(size)) if !(1..=MAX_SAMPLE_VALUES).contains(&size) => {
                    return Err(unsound("a shape is out of range"));
                }
                Some(None) => return Err(unsound("a shape is out of range")),
                _ => {}
            }
            let expected = match kind {
                FeatureKind::Numeric => Some(1),
                FeatureKind::Category { size, .. } => Some(*size),
                _ => None,
            };
            if expected.is_some() && size.flatten() != expected {
                return Err(unsound("a shape does not fit its feature"));
            }
        }
        let mut vocabularies = Vec::with_capacity(count);
        for (kind, names) in saved.kinds.iter().zip(saved.categories) {
            let room = match kind {
                FeatureKind::Category { encoding: CategoryEncoding::OneHot, size } => size.saturating_sub(1),
                _ => 0,
            };
            if names.len() > room {
                return Err(unsound("a category has more values than slots"));
            }
            vocabularies.push(Vocabulary::from_names(names).ok_or_else(|| unsound("a category has a value twice"))?);
        }
        let labels = Labels::from_parts(saved.label_kind, saved.labels)
            .ok_or_else(|| unsound("its labels do not fit their type"))?;
        let ranges = Learnt::standardised_ranges(&saved.kinds, &saved.shapes);
        let numbers = ranges.map(|ranges| ranges.iter().map(ExactSizeIterator::len).sum());
        if !saved.standardizer.is_sound(numbers) || (!saved.standardize && saved.standardizer.count > 0) {
            return Err(unsound("its means do not fit its features"));
        }
        Ok(Learnt { kinds: saved.kinds, shapes: saved.shapes, vocabularies, labels, standardizer: saved.standardizer })
    }
}
