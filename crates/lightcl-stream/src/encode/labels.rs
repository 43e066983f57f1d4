//! Labels as class numbers.

use super::category::Vocabulary;
use super::problem::Problem;
use super::texts::{Named, ValueKind};
use arrow_schema::DataType;
use lightcl_core::{ClassId, RejectReason};

/// Whether a column of this type can hold labels. The error is a sentence that says why not.
pub(crate) fn check_label_type(data_type: &DataType) -> Result<(), String> {
    if super::texts::is_text(data_type) {
        Ok(())
    } else if data_type.is_floating() || data_type.is_decimal() {
        Err(format!("its values are {data_type}; a label is a class, so it must be a whole number, text or a boolean"))
    } else {
        Err(format!("its values are {data_type}; a label must be a whole number, text or a boolean"))
    }
}

/// Classes by order of first appearance. A class keeps its number for ever.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Labels {
    kind: Option<ValueKind>,
    names: Vocabulary,
}

/// What a label is to the encoder.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Known {
    Class(ClassId),
    New,
}

impl Labels {
    /// None when a name stands twice, or names and kind do not fit.
    pub fn from_parts(kind: Option<ValueKind>, names: Vec<String>) -> Option<Self> {
        (kind.is_some() || names.is_empty()).then_some(())?;
        let fits = |name: &String| match kind {
            Some(ValueKind::Integer) => name.parse::<i64>().is_ok_and(|value| in_range(i128::from(value))),
            Some(ValueKind::Boolean) => name == "true" || name == "false",
            _ => true,
        };
        names.iter().all(fits).then_some(())?;
        Some(Labels { kind, names: Vocabulary::from_names(names)? })
    }

    pub fn kind(&self) -> Option<ValueKind> {
        self.kind
    }

    pub fn names(&self) -> &[String] {
        self.names.names()
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn name(&self, class: ClassId) -> Option<&str> {
        self.names.name(class as usize)
    }

    pub fn bytes(&self) -> u64 {
        self.names.bytes()
    }

    /// Looks a label up without taking it in.
    pub fn look_up(&self, label: &Named<'_>, column: &str, max_classes: usize) -> Result<Known, Problem> {
        if let Some(kind) = self.kind
            && kind != label.kind
        {
            let message = format!(
                "column '{column}': found {} '{}', expected {} like the labels before",
                label.kind.describe(),
                shortened(label.text),
                kind.describe()
            );
            return Err(Problem::new(RejectReason::LabelType, column, message));
        }
        if label.kind == ValueKind::Integer && !in_range(label.integer) {
            let message = format!("column '{column}': found {}, expected a whole number of 32 bits", label.text);
            return Err(Problem::new(RejectReason::LabelOutOfRange, column, message));
        }
        if let Some(class) = self.names.slot(label.text) {
            return Ok(Known::Class(class as ClassId));
        }
        if self.len() >= max_classes.min(ClassId::MAX as usize) {
            let message = format!(
                "column '{column}': found the new label '{}', but there are {max_classes} classes already (max_classes)",
                shortened(label.text)
            );
            return Err(Problem::new(RejectReason::TooManyClasses, column, message));
        }
        Ok(Known::New)
    }

    /// Takes in a label that [`Labels::look_up`] called new.
    pub fn add(&mut self, kind: ValueKind, name: String) -> ClassId {
        self.kind = Some(kind);
        self.names.add(name) as ClassId
    }
}

/// 32 bits, with or without sign.
fn in_range(value: i128) -> bool {
    (i128::from(i32::MIN)..=i128::from(u32::MAX)).contains(&value)
}

fn shortened(text: &str) -> String {
    if text.chars().nth(60).is_some() { text.chars().take(60).chain("..".chars()).collect() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integer(value: i128, text: &str) -> Named<'_> {
        Named { kind: ValueKind::Integer, text, integer: value }
    }

    #[test]
    fn whole_numbers_of_32_bits_with_or_without_sign_are_labels() {
        let labels = Labels::default();
        for (value, good) in
            [(-2_147_483_648, true), (4_294_967_295, true), (4_294_967_296, false), (-2_147_483_649, false)]
        {
            assert_eq!(labels.look_up(&integer(value, "n"), "y", 9).is_ok(), good, "{value}");
        }
    }

    #[test]
    fn the_kind_of_the_first_label_stays() {
        let mut labels = Labels::default();
        labels.add(ValueKind::Integer, "1".into());
        let text = Named { kind: ValueKind::Text, text: "1", integer: 0 };
        let problem = labels.look_up(&text, "y", 9).unwrap_err();
        assert_eq!(problem.reason, RejectReason::LabelType);
        assert!(problem.message.contains("found text '1', expected a whole number"), "{}", problem.message);
        assert_eq!(labels.look_up(&integer(1, "1"), "y", 9), Ok(Known::Class(0)));
        assert_eq!(labels.look_up(&integer(2, "2"), "y", 1).unwrap_err().reason, RejectReason::TooManyClasses);
    }
}
