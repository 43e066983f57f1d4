//! Functions that score: models as SQL sees them.
//!
//! | function | gives |
//! | --- | --- |
//! | `lightcl_predict(model, features..)` | the predicted label, as text |
//! | `lightcl_proba(model, features..)` | the probability of every class, a list of 32-bit floats |
//! | `lightcl_classes(model)` | the labels of the classes, in the order of those probabilities: that in which they first came in training |
//! | `lightcl_embed(model, features..)` | what the frozen prefix gives, a list of 32-bit floats of fixed size |
//! | `lightcl_embed_suffix(model, features..)` | what the network's own head looks at, likewise |
//!
//! `model` is constant text: a name that the session knows, or the path of an output folder, of a snapshot or of its manifest.
//! Of an output folder the newest snapshot is meant. It is looked for when a query is planned and stays the same for the whole
//! query (see [`pin`]); the next query takes a newer one if there is one. Outside of queries, where no plan is analysed, each
//! batch takes the newest.
//!
//! Features come in the order in which the model was trained on them, each by itself; plain numbers may also stand together in
//! one list. Rows are encoded by the encoder that the model was trained with. A row with a null gives null, and so does
//! every other row that training would reject: numbers that are not finite, lists of another length, images that do not decode.

mod errors;
mod features;
mod function;
mod models;
mod outputs;
mod pin;
mod sent;

use crate::shared::Shared;
use datafusion::prelude::SessionContext;
use function::{Output, ScoringFunction};
use models::Models;
use pin::PinModels;
use std::sync::Arc;

pub use sent::PinnedFunctions;

/// Registers the functions on a session, and the rule that gives every query one version of each model.
pub(crate) fn register(context: &SessionContext, shared: &Arc<Shared>) {
    let models = Arc::new(Models::new(Arc::clone(shared)));
    for output in Output::ALL {
        context.register_udf(ScoringFunction::new(output, &models).into());
    }
    context.add_analyzer_rule(Arc::new(PinModels));
}
