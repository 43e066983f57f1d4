//! Learners that statements of a session train now, and what they have to show that is not committed yet.

use datafusion::error::{DataFusionError, Result};
use lightcl_core::{BoundaryEvent, Commit, Manifest, Output, Rejected, StabilityReport};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Outputs of each kind that are kept of a learner that commits nowhere; the oldest go first.
const MOST_KEPT: usize = 10_000;

/// The learners of a session.
#[derive(Debug, Default)]
pub(crate) struct Learners(Mutex<BTreeMap<String, Arc<Live>>>);

/// A learner that is trained by a statement, or was.
#[derive(Debug)]
pub(super) struct Live {
    /// What it is called.
    pub name: String,
    /// Where it is kept.
    pub folder: Option<PathBuf>,
    /// The settings that decide what it learns.
    pub configuration: Value,
    seen: Mutex<Seen>,
    /// Set when the statement is given up: the learner commits and ends.
    stopping: Arc<AtomicBool>,
    ended: watch::Sender<bool>,
}

/// What is known of a learner.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Whether it is still trained.
    pub is_training: bool,
    /// Rows taken in, by earlier statements too.
    pub samples: u64,
    /// The task that is being learnt.
    pub task: u32,
    /// Test-then-train accuracy over the last rows.
    pub accuracy: Option<f64>,
    /// Version of the newest snapshot; 0 before the first.
    pub version: u64,
    /// Hash of the state, of a learner that is kept nowhere.
    pub state_sha256: Option<String>,
    /// Number of the last commit.
    pub epoch: u64,
    /// Boundaries that are not committed.
    pub boundaries: VecDeque<BoundaryEvent>,
    /// Reports that are not committed.
    pub reports: VecDeque<StabilityReport>,
    /// Dead letters that are not committed.
    pub rejected: VecDeque<Rejected>,
    /// Snapshots that are not committed.
    pub snapshots: VecDeque<Manifest>,
}

impl Learners {
    /// Begins to train a learner; whoever trains it sets `stopping` when it is given up. Of two statements that would train one
    /// at once the second is refused; one that was given up and is committing is waited for.
    ///
    /// # Errors
    /// When another statement trains it.
    pub(super) async fn begin(
        &self,
        name: &str,
        folder: Option<&Path>,
        configuration: Value,
        stopping: &Arc<AtomicBool>,
    ) -> Result<Arc<Live>> {
        let key = match folder {
            Some(folder) => std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()).display().to_string(),
            None => format!("\0{name}"),
        };
        loop {
            let mut ended = {
                let mut learners = self.lock();
                // What is kept nowhere is in nobody's way.
                match learners.get(&key).filter(|live| live.folder.is_some() && live.lock().is_training) {
                    None => {
                        let live = Arc::new(Live::new(name, folder, configuration, stopping));
                        learners.insert(key, Arc::clone(&live));
                        return Ok(live);
                    }
                    Some(live) if live.stopping.load(Ordering::Relaxed) => live.ended.subscribe(),
                    Some(live) => return Err(busy(live)),
                }
            };
            // The sender lives as long as the learner, which says so when it ends.
            let _ = ended.wait_for(|ended| *ended).await;
        }
    }

    /// All learners that this session trains or has trained.
    pub(super) fn all(&self) -> Vec<Arc<Live>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Live>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn busy(live: &Live) -> DataFusionError {
    let folder = live.folder.as_ref().map(|folder| format!(" in {}", folder.display())).unwrap_or_default();
    DataFusionError::Execution(format!(
        "another statement is training the learner {}{folder}: wait for it to end, or cancel it, and run this one again",
        live.name
    ))
}

impl Live {
    /// A learner whose training begins.
    pub fn new(name: &str, folder: Option<&Path>, configuration: Value, stopping: &Arc<AtomicBool>) -> Self {
        Live {
            name: name.to_owned(),
            folder: folder.map(Path::to_owned),
            configuration,
            seen: Mutex::new(Seen { is_training: true, ..Seen::default() }),
            stopping: Arc::clone(stopping),
            ended: watch::Sender::new(false),
        }
    }

    /// What is known now. Whoever holds it keeps the learner from committing.
    pub fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that nobody trains it any more.
    pub fn end(&self) {
        self.lock().is_training = false;
        self.ended.send_replace(true);
    }
}

/// Says that a statement was given up when what holds it is dropped. After its end that says nothing.
pub(super) struct GiveUpOnDrop(pub Arc<AtomicBool>);

impl Drop for GiveUpOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Ends a learner when its thread ends, however that comes.
pub(super) struct EndOnDrop(pub Arc<Live>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Seen {
    /// Takes note of what the learner gave.
    pub fn take(&mut self, outputs: &[Output]) {
        for output in outputs {
            match output {
                Output::Boundary(event) => keep(&mut self.boundaries, event.clone()),
                Output::Stability(report) => keep(&mut self.reports, report.as_ref().clone()),
                Output::Rejected(letter) => keep(&mut self.rejected, letter.clone()),
                Output::Snapshot(snapshot) => {
                    self.version = snapshot.manifest.version;
                    keep(&mut self.snapshots, snapshot.manifest.clone());
                }
                Output::Prediction(_) => {}
            }
        }
    }

    /// What there was stands in the folder now.
    pub fn committed(&mut self, commit: &Commit) {
        self.epoch = commit.epoch;
        self.boundaries.clear();
        self.reports.clear();
        self.rejected.clear();
        self.snapshots.clear();
    }
}

fn keep<T>(kept: &mut VecDeque<T>, one: T) {
    if kept.len() == MOST_KEPT {
        kept.pop_front();
    }
    kept.push_back(one);
}
