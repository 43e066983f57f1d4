//! Models by name or path, loaded once a version.

use crate::shared::Shared;
use lightcl_core::{Error, Result};
use lightcl_pipeline::config::nearest;
use lightcl_pipeline::model::Model;
use lightcl_pipeline::sink::{MANIFEST, newest_snapshot, read_snapshot, snapshot_folder};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// Models that are kept when no query uses them.
const MOST_KEPT: usize = 16;

/// The models of a session.
pub(super) struct Models {
    shared: Arc<Shared>,
    loaded: Mutex<Kept>,
}

/// The newest version of each model that was asked for lately.
#[derive(Default)]
struct Kept {
    /// By location, with the time of the last use.
    models: BTreeMap<PathBuf, (u64, Arc<Loaded>)>,
    uses: u64,
}

/// Which snapshot a model is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Identity {
    /// The snapshot's folder.
    pub snapshot: PathBuf,
    /// When its manifest was written, so that a run that started over is told from the one before.
    written: Option<SystemTime>,
    bytes: u64,
}

/// One version of a model.
pub(super) struct Loaded {
    pub identity: Identity,
    pub model: Model,
    /// Labels in the order of the scores.
    pub classes: Vec<String>,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.identity.snapshot.display())
    }
}

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Models")
    }
}

impl Models {
    pub fn new(shared: Arc<Shared>) -> Self {
        Models { shared, loaded: Mutex::default() }
    }

    /// Where a model lives that is called by its name or by a path.
    pub fn locate(&self, name: &str) -> Result<PathBuf> {
        if let Some(location) = self.shared.location(name) {
            return Ok(location);
        }
        if !name.is_empty() && Path::new(name).exists() {
            return Ok(PathBuf::from(name));
        }
        let names: Vec<String> = self.shared.locations().into_keys().collect();
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let hint = nearest(name, names.iter().map(String::as_str)).map(|near| format!("; did you mean '{near}'?"));
        Err(Error::user(format!(
            "there is no model '{name}': it is no name that this session knows, and no folder or snapshot lies there{}",
            hint.unwrap_or_default()
        ))
        .with("models", known))
    }

    /// The newest version of the model that lives at a location.
    ///
    /// # Errors
    /// When there is no snapshot yet, or the newest is damaged.
    pub fn newest(&self, location: &Path) -> Result<Arc<Loaded>> {
        self.load(location, Identity::newest(location)?)
    }

    /// The version of a model that another process has settled on.
    ///
    /// # Errors
    /// When it is not there, is another one, or is damaged.
    pub fn version(&self, identity: Identity) -> Result<Arc<Loaded>> {
        let location = identity.snapshot.clone();
        let there = Identity::newest(&location)?;
        if there != identity {
            return Err(Error::user("a model has changed since the query was planned: run the query again")
                .with("snapshot", location.display()));
        }
        self.load(&location, identity)
    }

    fn load(&self, location: &Path, identity: Identity) -> Result<Arc<Loaded>> {
        let mut kept = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let now = kept.uses;
        if let Some((used, loaded)) = kept.models.get_mut(location)
            && loaded.identity == identity
        {
            *used = now;
            return Ok(Arc::clone(loaded));
        }
        // Under the lock, so that queries that are planned together read it once.
        let loaded = Arc::new(Loaded::read(identity)?);
        log::debug!("{loaded:?} is loaded");
        kept.models.insert(location.to_owned(), (now, Arc::clone(&loaded)));
        if kept.models.len() > MOST_KEPT {
            let oldest = kept.models.iter().min_by_key(|(_, (used, _))| *used).map(|(location, _)| location.clone());
            if let Some(oldest) = oldest {
                kept.models.remove(&oldest);
            }
        }
        Ok(loaded)
    }
}

impl Identity {
    fn newest(location: &Path) -> Result<Self> {
        let snapshot = if location.is_file() || location.join(MANIFEST).is_file() {
            snapshot_folder(location)?
        } else {
            newest_snapshot(location)?.ok_or_else(|| {
                Error::user(format!("no snapshot of a model lies in {} yet", location.display()))
                    .with("expected", "an output folder after its first snapshot, a snapshot, or its manifest")
            })?
        };
        let manifest = snapshot.join(MANIFEST);
        let metadata = fs::metadata(&manifest).map_err(|error| {
            Error::external("cannot look at a snapshot").with("file", manifest.display()).caused_by(error)
        })?;
        Ok(Identity { snapshot, written: metadata.modified().ok(), bytes: metadata.len() })
    }
}

impl Loaded {
    fn read(identity: Identity) -> Result<Self> {
        let named = |error: Error| error.with("snapshot", identity.snapshot.display());
        let model = Model::from_snapshot(&read_snapshot(&identity.snapshot).map_err(named)?).map_err(named)?;
        let classes = model.class_labels().map_err(named)?;
        Ok(Loaded { identity, model, classes })
    }
}
