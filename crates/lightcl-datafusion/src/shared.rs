//! What the tables and functions of one session share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

/// How a session learns and predicts.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Models by the name that queries call them: output folders, or single snapshots in them.
    pub models: BTreeMap<String, PathBuf>,
}

/// What the tables and functions of one session share.
pub(crate) struct Shared {
    /// Learners that statements of this session train or have trained.
    pub learners: crate::learn::Learners,
    locations: RwLock<BTreeMap<String, PathBuf>>,
}

impl Shared {
    pub fn new(options: Options) -> Arc<Self> {
        Arc::new(Shared { learners: crate::learn::Learners::default(), locations: RwLock::new(options.models) })
    }

    /// Where the model of this name lives: its output folder, or one snapshot.
    pub fn location(&self, model: &str) -> Option<PathBuf> {
        self.locations.read().unwrap_or_else(PoisonError::into_inner).get(model).cloned()
    }

    /// Where every model lives, by name.
    pub fn locations(&self) -> BTreeMap<String, PathBuf> {
        self.locations.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says where the model of a learner's table lives.
    pub fn set_location(&self, model: &str, location: PathBuf) {
        self.locations.write().unwrap_or_else(PoisonError::into_inner).insert(model.to_owned(), location);
    }
}
