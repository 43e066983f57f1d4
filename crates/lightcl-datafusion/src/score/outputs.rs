//! From scores to arrays: one value a row, null where the row could not be scored.

use super::models::Loaded;
use arrow_array::builder::{Float32Builder, ListBuilder, StringBuilder};
use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, ListArray};
use arrow_schema::{DataType, Field, FieldRef};
use datafusion::arrow::buffer::NullBuffer;
use lightcl_core::{Embedding, Error, Logits, Result};
use lightcl_stream::encode::FeatureRows;
use std::sync::Arc;

/// Items of the lists.
fn item(data_type: DataType) -> FieldRef {
    Arc::new(Field::new_list_field(data_type, true))
}

/// Probabilities of all classes.
pub(super) fn probabilities_type() -> DataType {
    DataType::List(item(DataType::Float32))
}

/// Labels of all classes.
pub(super) fn classes_type() -> DataType {
    DataType::List(item(DataType::Utf8))
}

/// Activations of so many numbers a row.
///
/// # Errors
/// When there are more than a list can hold.
pub(super) fn activations_type(width: usize) -> Result<DataType> {
    let width = i32::try_from(width).map_err(|_| Error::user("a row has too many activations").with("count", width))?;
    Ok(DataType::FixedSizeList(item(DataType::Float32), width))
}

/// Numbers of the rows among those that were scored; none for a row that was not.
fn places(rows: &FeatureRows) -> impl Iterator<Item = Option<usize>> + '_ {
    rows.usable.iter().scan(0, |next, &usable| {
        let place = *next;
        *next += usize::from(usable);
        Some(usable.then_some(place))
    })
}

/// The best class of each row; null before a class is known.
pub(super) fn labels(loaded: &Loaded, rows: &FeatureRows, scores: &Logits) -> ArrayRef {
    let mut labels = StringBuilder::with_capacity(rows.usable.len(), rows.usable.len() * 8);
    for place in places(rows) {
        let class = place.filter(|_| scores.classes > 0).and_then(|place| scores.best(place, None));
        labels.append_option(class.and_then(|class| loaded.classes.get(class as usize)));
    }
    Arc::new(labels.finish())
}

/// The softmax of each row's scores; null where one of them is not finite and before a class is known.
pub(super) fn probabilities(rows: &FeatureRows, scores: &Logits) -> ArrayRef {
    let numbers = Float32Builder::with_capacity(rows.usable.len() * scores.classes);
    let mut lists = ListBuilder::with_capacity(numbers, rows.usable.len());
    let mut weights: Vec<f64> = Vec::with_capacity(scores.classes);
    for place in places(rows) {
        let scores = place.filter(|_| scores.classes > 0).map(|place| scores.row(place));
        let Some(scores) = scores.filter(|scores| scores.iter().all(|score| score.is_finite())) else {
            lists.append_null();
            continue;
        };
        // In 64 bits and from the highest down, as the operator does for its predictions.
        let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        weights.clear();
        weights.extend(scores.iter().map(|&score| f64::from(score - highest).exp()));
        let total: f64 = weights.iter().sum();
        weights.iter().for_each(|weight| lists.values().append_value((weight / total) as f32));
        lists.append(true);
    }
    Arc::new(lists.finish())
}

/// Activations of each row.
///
/// # Errors
/// When there are more than a list can hold.
pub(super) fn activations(rows: &FeatureRows, outputs: Embedding) -> Result<ArrayRef> {
    let width = outputs.shape.iter().product::<usize>();
    let DataType::FixedSizeList(item, size) = activations_type(width)? else {
        return Err(Error::internal("activations are no lists of fixed size"));
    };
    let nulls = NullBuffer::from(rows.usable.as_slice());
    let values = if nulls.null_count() == 0 {
        outputs.values
    } else {
        let mut spread = vec![0.0; rows.usable.len() * width];
        for (row, place) in spread.chunks_exact_mut(width.max(1)).zip(places(rows)) {
            if let Some(place) = place {
                row.copy_from_slice(&outputs.values[place * width..(place + 1) * width]);
            }
        }
        spread
    };
    let lists = FixedSizeListArray::try_new(item, size, Arc::new(Float32Array::from(values)), Some(nulls))
        .map_err(|error| Error::internal("activations do not fit their rows").caused_by(error))?;
    Ok(Arc::new(lists))
}

/// The labels of all classes, once.
pub(super) fn classes(loaded: &Loaded) -> ListArray {
    let mut lists = ListBuilder::new(StringBuilder::new());
    lists.append_value(loaded.classes.iter().map(Some));
    lists.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::Float32Type;

    fn rows(usable: &[bool]) -> FeatureRows {
        FeatureRows { usable: usable.to_vec(), ..FeatureRows::default() }
    }

    #[test]
    fn probabilities_sum_to_one_and_rows_without_scores_are_null() {
        let scores = Logits { classes: 2, values: vec![0.0, 0.0, f32::NAN, 1.0, 3.0, 1e9] };
        let lists = probabilities(&rows(&[true, false, true, true]), &scores);
        let lists = lists.as_list::<i32>();
        let row = |row: usize| lists.value(row).as_primitive::<Float32Type>().values().to_vec();
        assert_eq!((row(0), row(3)), (vec![0.5, 0.5], vec![0.0, 1.0]));
        assert!(lists.is_null(1) && lists.is_null(2));
        let unknown = probabilities(&rows(&[true]), &Logits::default());
        assert!(unknown.is_null(0));
    }

    #[test]
    fn activations_stand_at_their_rows() {
        let outputs = Embedding { shape: vec![1, 2], values: vec![1.0, 2.0, 3.0, 4.0] };
        let lists = activations(&rows(&[false, true, true]), outputs).unwrap();
        let lists = lists.as_fixed_size_list();
        assert!(lists.is_null(0));
        assert_eq!(lists.value(2).as_primitive::<Float32Type>().values().to_vec(), [3.0, 4.0]);
    }
}
