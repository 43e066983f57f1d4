//! The functions.

use super::errors::{planning, running};
use super::models::{Identity, Loaded, Models};
use super::{features, outputs};
use arrow_schema::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::scalar_doc_sections::DOC_SECTION_OTHER;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use lightcl_core::Error;
use lightcl_pipeline::model::NetworkPart;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

/// What a function gives of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Output {
    Label,
    Probabilities,
    Activations(NetworkPart),
    /// Nothing of rows: the labels of the classes.
    Classes,
}

impl Output {
    pub const ALL: [Output; 5] = [
        Output::Label,
        Output::Probabilities,
        Output::Activations(NetworkPart::Prefix),
        Output::Activations(NetworkPart::Suffix),
        Output::Classes,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Output::Label => "lightcl_predict",
            Output::Probabilities => "lightcl_proba",
            Output::Activations(NetworkPart::Prefix) => "lightcl_embed",
            Output::Activations(NetworkPart::Suffix) => "lightcl_embed_suffix",
            Output::Classes => "lightcl_classes",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Output::Label => "The label that a model predicts for a row, as text.",
            Output::Probabilities => {
                "The probability of every class, in the order of lightcl_classes: that in which they first came in training."
            }
            Output::Activations(NetworkPart::Prefix) => "What a model's frozen prefix gives for a row.",
            Output::Activations(NetworkPart::Suffix) => "What a model's network head looks at, for a row.",
            Output::Classes => "The labels of a model's classes, in the order of lightcl_proba.",
        }
    }

    fn documentation(self) -> Documentation {
        let name = self.name();
        let model =
            "Constant text: a name that the session knows, an output folder (its newest snapshot), or a snapshot.";
        if self == Output::Classes {
            return Documentation::builder(DOC_SECTION_OTHER, self.description(), format!("{name}(model)"))
                .with_argument("model", model)
                .build();
        }
        let features =
            "The features in the order of training, each by itself, or numbers all in one list. A null gives null.";
        Documentation::builder(DOC_SECTION_OTHER, self.description(), format!("{name}(model, feature[, ..., feature])"))
            .with_argument("model", model)
            .with_argument("feature", features)
            .build()
    }
}

/// One of the functions; in a query that is analysed, with the version of the model that it is to use.
#[derive(Debug)]
pub(super) struct ScoringFunction {
    output: Output,
    signature: Signature,
    documentation: Documentation,
    models: Arc<Models>,
    pinned: Option<Arc<Loaded>>,
}

// Functions are the same when they give the same by the same version of a model.
impl PartialEq for ScoringFunction {
    fn eq(&self, other: &Self) -> bool {
        let identity = |function: &Self| function.pinned.as_ref().map(|loaded| loaded.identity.clone());
        self.output == other.output && Arc::ptr_eq(&self.models, &other.models) && identity(self) == identity(other)
    }
}

impl Eq for ScoringFunction {}

impl Hash for ScoringFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.output.hash(state);
        self.pinned.as_ref().map(|loaded| &loaded.identity).hash(state);
    }
}

impl ScoringFunction {
    pub fn new(output: Output, models: &Arc<Models>) -> Self {
        ScoringFunction {
            output,
            // Any types: what fits is for the model to say, and built-in coercion would make lists of fixed size into others.
            signature: Signature::variadic_any(Volatility::Stable),
            documentation: output.documentation(),
            models: Arc::clone(models),
            pinned: None,
        }
    }

    pub fn is_pinned(&self) -> bool {
        self.pinned.is_some()
    }

    /// The version of the model that it uses, where that is settled.
    pub fn version(&self) -> Option<&Identity> {
        self.pinned.as_ref().map(|loaded| &loaded.identity)
    }

    /// The function with this version of the model.
    pub fn of_version(output: Output, models: &Arc<Models>, version: Arc<Loaded>) -> Self {
        ScoringFunction { pinned: Some(version), ..ScoringFunction::new(output, models) }
    }

    /// This function with the version of the model that `versions` has, or with the newest, which `versions` then has.
    pub fn pinned(&self, model: Option<&ScalarValue>, versions: &mut BTreeMap<PathBuf, Arc<Loaded>>) -> Result<Self> {
        let name = self.model_name(model)?;
        let location = self.models.locate(&name).map_err(planning)?;
        let loaded = match versions.entry(location) {
            Entry::Occupied(entry) => Arc::clone(entry.get()),
            Entry::Vacant(entry) => {
                let loaded = self.models.newest(entry.key()).map_err(|error| planning(self.about(&name, error)))?;
                Arc::clone(entry.insert(loaded))
            }
        };
        Ok(ScoringFunction::of_version(self.output, &self.models, loaded))
    }

    /// What the first argument says, where it is constant text.
    fn model_name(&self, model: Option<&ScalarValue>) -> Result<String> {
        let name = model.and_then(|model| model.try_as_str().flatten());
        name.map(str::to_owned).ok_or_else(|| {
            let found = match model {
                Some(ScalarValue::Null) => "null".to_owned(),
                Some(value) => format!("{value} of type {}", value.data_type()),
                None => "an expression".to_owned(),
            };
            DataFusionError::Plan(format!(
                "{}: the model, its first argument, must be constant text that names it; found {found}",
                self.output.name()
            ))
        })
    }

    fn about(&self, model: &str, error: Error) -> Error {
        error.with("function", self.output.name()).with("model", model)
    }

    /// The version that is pinned, or the newest.
    fn loaded(&self, model: Option<&ScalarValue>) -> Result<(String, Arc<Loaded>)> {
        match &self.pinned {
            Some(loaded) => {
                let name = model.and_then(|model| model.try_as_str().flatten()).map(str::to_owned);
                Ok((name.unwrap_or_else(|| loaded.identity.snapshot.display().to_string()), Arc::clone(loaded)))
            }
            None => {
                let name = self.model_name(model)?;
                let location = self.models.locate(&name).map_err(planning)?;
                let loaded = self.models.newest(&location).map_err(|error| planning(self.about(&name, error)))?;
                Ok((name, loaded))
            }
        }
    }

    fn return_type_of(&self, loaded: &Loaded) -> lightcl_core::Result<DataType> {
        Ok(match self.output {
            Output::Label => DataType::Utf8,
            Output::Probabilities => outputs::probabilities_type(),
            Output::Classes => outputs::classes_type(),
            Output::Activations(part) => {
                outputs::activations_type(loaded.model.activation_shape(part)?.iter().product())?
            }
        })
    }

    fn check(&self, loaded: &Loaded, fields: &[FieldRef]) -> lightcl_core::Result<DataType> {
        if self.output != Output::Classes {
            features::check(loaded, fields)?;
        } else if !fields.is_empty() {
            return Err(Error::user("this function takes a model and nothing else").with("arguments", fields.len() + 1));
        }
        self.return_type_of(loaded)
    }
}

impl ScalarUDFImpl for ScoringFunction {
    fn name(&self) -> &str {
        self.output.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Err(DataFusionError::Internal(format!("what {} returns depends on the model", self.name())))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let (name, loaded) = self.loaded(args.scalar_arguments.first().copied().flatten())?;
        let fields = args.arg_fields.get(1..).unwrap_or_default();
        let data_type = self.check(&loaded, fields).map_err(|error| planning(self.about(&name, error)))?;
        Ok(Arc::new(Field::new(self.name(), data_type, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let model = match args.args.first() {
            Some(ColumnarValue::Scalar(model)) => Some(model),
            _ => None,
        };
        let (name, loaded) = self.loaded(model)?;
        if self.output == Output::Classes {
            return Ok(ColumnarValue::Scalar(ScalarValue::List(Arc::new(outputs::classes(&loaded)))));
        }
        let failed = |error| running(self.about(&name, error));
        let arrays = args.args.iter().skip(1).map(|value| value.to_array(args.number_rows)).collect::<Result<_>>()?;
        let fields = args.arg_fields.get(1..).unwrap_or_default();
        let rows = features::encode(&loaded, fields, arrays, args.number_rows).map_err(failed)?;
        let scores = || loaded.model.scores(&rows).map_err(failed);
        Ok(ColumnarValue::Array(match self.output {
            Output::Probabilities => outputs::probabilities(&rows, &scores()?),
            Output::Activations(part) => {
                let activations = loaded.model.activations(part, &rows).map_err(failed)?;
                outputs::activations(&rows, activations).map_err(failed)?
            }
            Output::Label | Output::Classes => outputs::labels(&loaded, &rows, &scores()?),
        }))
    }
}
