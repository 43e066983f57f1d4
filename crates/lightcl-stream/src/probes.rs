//! Latent probes: a few held-out samples a task, kept as outputs of the frozen prefix, to watch stability by.

use lightcl_core::{ClassId, Embedding, Learner, Result, Samples, mix};
use serde::{Deserialize, Serialize};

/// Rows a first block has; one of each block is held out. Blocks double when a task's probes are full.
const FIRST_STRIDE: u64 = 32;
/// The budget thins the oldest tasks down to this many probes before it touches the next.
const KEEP_WHEN_THINNING: usize = 8;

/// The probes of all tasks.
///
/// While the prefix still trains (the first task, from scratch), probes are kept as inputs and become prefix outputs
/// when it freezes. Which rows are held out depends on the seed and the row's number in its task alone: one row of
/// each block of 32, in a place drawn anew for each block so that a rhythm in the stream does not pick one class; when
/// a task's probes are full, every second one goes and the blocks double.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Probes {
    seed: u64,
    samples_per_task: usize,
    most_bytes: u64,
    /// By number of the task.
    tasks: Vec<TaskProbes>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct TaskProbes {
    task: u32,
    stride: u64,
    rows_seen: u64,
    indices: Vec<u64>,
    labels: Vec<ClassId>,
    kept: Kept,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Kept {
    Inputs(Embedding),
    PrefixOutputs(Embedding),
}

impl Kept {
    fn get(&self) -> &Embedding {
        match self {
            Kept::Inputs(values) | Kept::PrefixOutputs(values) => values,
        }
    }

    fn values(&mut self) -> &mut Embedding {
        match self {
            Kept::Inputs(values) | Kept::PrefixOutputs(values) => values,
        }
    }
}

impl TaskProbes {
    fn width(&self) -> usize {
        self.kept.get().shape.iter().product()
    }

    fn bytes(&self) -> u64 {
        (self.labels.len() * (4 * self.width() + 12)) as u64
    }

    /// Keeps the probes for which `keep(number, index)` holds.
    fn retain(&mut self, keep: impl Fn(usize, u64) -> bool) {
        let width = self.width();
        let kept: Vec<usize> = (0..self.indices.len()).filter(|&i| keep(i, self.indices[i])).collect();
        self.labels = kept.iter().map(|&i| self.labels[i]).collect();
        self.indices = kept.iter().map(|&i| self.indices[i]).collect();
        let values = self.kept.values();
        values.values = kept.iter().flat_map(|&i| values.values[i * width..(i + 1) * width].to_vec()).collect();
    }

    /// Halves the probes until they are few enough; blocks double with each halving.
    fn thin(&mut self, most: usize) {
        while self.labels.len() > most {
            self.retain(|number, _| number % 2 == 0);
            self.stride *= 2;
        }
    }

    /// Takes in another task's probes, in order of their rows. Inputs and prefix outputs do not mix: the others' are then
    /// left out, which cannot happen once the prefix has frozen and all were settled.
    fn pool(&mut self, other: TaskProbes) {
        self.stride = self.stride.max(other.stride);
        self.rows_seen = self.rows_seen.saturating_add(other.rows_seen);
        if self.labels.is_empty() {
            (self.indices, self.labels, self.kept) = (other.indices, other.labels, other.kept);
            return;
        }
        let is_of_one_kind = matches!(
            (&self.kept, &other.kept),
            (Kept::Inputs(own), Kept::Inputs(others)) | (Kept::PrefixOutputs(own), Kept::PrefixOutputs(others))
                if own.shape == others.shape
        );
        if !is_of_one_kind {
            return;
        }
        let width = self.width();
        let sources =
            [(&self.indices, &self.labels, self.kept.get()), (&other.indices, &other.labels, other.kept.get())];
        let mut order: Vec<(u64, usize, usize)> = Vec::with_capacity(self.labels.len() + other.labels.len());
        for (source, (indices, ..)) in sources.iter().enumerate() {
            order.extend(indices.iter().enumerate().map(|(row, &index)| (index, source, row)));
        }
        order.sort_unstable();
        let labels = order.iter().map(|&(_, source, row)| sources[source].1[row]).collect();
        let values = order
            .iter()
            .flat_map(|&(_, source, row)| &sources[source].2.values[row * width..(row + 1) * width])
            .copied()
            .collect();
        self.indices = order.iter().map(|&(index, ..)| index).collect();
        self.labels = labels;
        self.kept.values().values = values;
    }

    fn as_samples(&self, inputs: &Embedding) -> Samples {
        let rows: Vec<_> = inputs
            .values
            .chunks_exact(self.width().max(1))
            .zip(&self.labels)
            .map(|(row, &label)| (row.to_vec(), label))
            .collect();
        Samples::from_rows(&inputs.shape, &rows)
    }
}

impl Probes {
    pub fn new(seed: u64, samples_per_task: usize, most_bytes: u64) -> Self {
        Probes { seed, samples_per_task, most_bytes, tasks: Vec::new() }
    }

    /// Splits a window of task `task` into rows to learn from and rows to hold out, and keeps the latter.
    pub fn hold_out(&mut self, task: u32, window: Samples, learner: &dyn Learner) -> Result<Samples> {
        if self.samples_per_task == 0 {
            return Ok(window);
        }
        let kind = if learner.is_prefix_frozen() { Kept::PrefixOutputs } else { Kept::Inputs };
        let place = self.place_of(task).unwrap_or_else(|place| {
            let kept = kind(Embedding::default());
            let (indices, labels) = (Vec::new(), Vec::new());
            self.tasks.insert(place, TaskProbes { task, stride: FIRST_STRIDE, rows_seen: 0, indices, labels, kept });
            place
        });
        let (seed, most) = (self.seed, self.samples_per_task);
        let probes = &mut self.tasks[place];
        let (mut learn, mut held) = (Vec::with_capacity(window.len()), Vec::new());
        for row in 0..window.len() {
            let block = probes.rows_seen / probes.stride;
            let place = mix(seed ^ mix(u64::from(task)) ^ mix(block.wrapping_mul(2) + 1)) % probes.stride;
            let is_probe = probes.rows_seen % probes.stride == place;
            probes.rows_seen += 1;
            if is_probe { held.push(row) } else { learn.push(row) }
        }
        if held.is_empty() {
            return Ok(window);
        }
        let rows = window.select(&held);
        let values = match probes.kept {
            Kept::PrefixOutputs(_) => learner.embed(&rows)?,
            Kept::Inputs(_) => Embedding { shape: rows.shape.clone(), values: rows.features.clone() },
        };
        probes.indices.extend(rows.meta.iter().map(|meta| meta.index));
        probes.labels.extend(&rows.labels);
        let kept = probes.kept.values();
        kept.shape = values.shape;
        kept.values.extend(values.values);
        probes.thin(most);
        self.fit_budget();
        Ok(window.select(&learn))
    }

    /// Rows of a task that went by so far, for [`Probes::roll_back`].
    pub fn rows_seen(&self, task: u32) -> u64 {
        self.place_of(task).map_or(0, |place| self.tasks[place].rows_seen)
    }

    /// Pools the probes of two tasks under the number of the second and thins them to what one task may have.
    pub fn merge(&mut self, gone: u32, into: u32) {
        let (Ok(from), Ok(_)) = (self.place_of(gone), self.place_of(into)) else { return };
        let from = self.tasks.remove(from);
        if let Ok(into) = self.place_of(into) {
            self.tasks[into].pool(from);
            self.tasks[into].thin(self.samples_per_task);
            self.fit_budget();
        }
    }

    fn place_of(&self, task: u32) -> std::result::Result<usize, usize> {
        self.tasks.binary_search_by_key(&task, |probes| probes.task)
    }

    /// Forgets what a task held out from sample `index` on.
    pub fn roll_back(&mut self, task: u32, index: u64, rows_seen: u64) {
        if let Ok(place) = self.place_of(task) {
            let probes = &mut self.tasks[place];
            probes.retain(|_, probe| probe < index);
            probes.rows_seen = rows_seen;
        }
    }

    /// Turns probes kept as inputs into prefix outputs, once the prefix has frozen.
    pub fn settle(&mut self, learner: &dyn Learner) -> Result<()> {
        if learner.is_prefix_frozen() {
            for probes in &mut self.tasks {
                if let Kept::Inputs(inputs) = &probes.kept {
                    let outputs = if probes.labels.is_empty() {
                        Embedding::default()
                    } else {
                        learner.embed(&probes.as_samples(inputs))?
                    };
                    probes.kept = Kept::PrefixOutputs(outputs);
                }
            }
            self.fit_budget();
        }
        Ok(())
    }

    /// Calls `visit(number of the task, labels, logits)` for each task that has probes.
    pub fn score(
        &self,
        learner: &dyn Learner,
        mut visit: impl FnMut(u32, &[ClassId], &lightcl_core::Logits),
    ) -> Result<()> {
        for probes in self.tasks.iter().filter(|probes| !probes.labels.is_empty()) {
            let logits = match &probes.kept {
                Kept::PrefixOutputs(outputs) => learner.score_embedding(outputs)?,
                Kept::Inputs(inputs) => learner.score(&probes.as_samples(inputs))?,
            };
            visit(probes.task, &probes.labels, &logits);
        }
        Ok(())
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.tasks.iter().map(TaskProbes::bytes).sum()
    }

    fn fit_budget(&mut self) {
        for floor in [KEEP_WHEN_THINNING, 1, 0] {
            for task in 0..self.tasks.len() {
                while self.bytes() > self.most_bytes && self.tasks[task].labels.len() > floor {
                    let keep_none = self.tasks[task].labels.len() == 1;
                    self.tasks[task].retain(|number, _| number % 2 == 0 && !keep_none);
                }
            }
        }
    }
}
