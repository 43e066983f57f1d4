//! What the analytic heads see of a row, and the scores mixed from theirs and the network's.

use crate::analytic::{Bank, HeadKind, Rows, Tap, TapRows, Targets};
use crate::learner::LightClLearner;
use crate::model::CHUNK_ROWS;
use crate::network::{Network, Norms, values};
use crate::{LearnerConfig, Method};
use burn::tensor::Tensor;
use lightcl_core::{ClassId, Embedding, Error, Logits, Result, Samples};

/// The analytic heads that a configuration asks for.
pub(crate) fn bank(config: &LearnerConfig, network: &Network) -> Result<Option<Bank>> {
    if config.head == HeadKind::Network {
        return Ok(None);
    }
    let widths = tap_order(&config.analytic.tap).into_iter().map(|tap| (tap, tap_width(config, network, tap)));
    let network_keeps = config.method == Method::Lightcl;
    Bank::new(&config.analytic, config.head, network_keeps, config.seed, widths.collect()).map(Some)
}

/// The taps with the input first.
fn tap_order(taps: &[Tap]) -> Vec<Tap> {
    let mut taps = taps.to_vec();
    taps.sort_by_key(|tap| *tap != Tap::Input);
    taps
}

/// Numbers that a tap gives for a row.
fn tap_width(config: &LearnerConfig, network: &Network, tap: Tap) -> usize {
    let pooled = |shape: &[usize]| match *shape {
        [channels, ..] if shape.len() == 3 => channels * config.analytic.grid * config.analytic.grid,
        _ => shape.iter().product(),
    };
    match tap {
        Tap::Input => network.input_width(),
        Tap::Prefix => pooled(&network.layout.embedding_shape),
        Tap::Stages => network.tap_shapes().iter().map(|(_, shape)| pooled(shape)).sum(),
    }
}

/// One run of the prefix in evaluation mode over some rows.
pub(crate) struct PrefixRun {
    /// Its output.
    pub(crate) embedding: Tensor<2>,
    /// Stem and stage ends averaged over the grid, row-major, where they are tapped.
    stages: Option<Vec<f32>>,
}

impl LightClLearner {
    /// Whether the heads need the prefix.
    fn taps_prefix(&self) -> bool {
        self.config.analytic.tap.iter().any(|tap| *tap != Tap::Input)
    }

    /// Whether the network is trained: without an expert of its own only to make a prefix.
    pub(crate) fn trains_network(&self) -> bool {
        match self.config.head {
            HeadKind::Network | HeadKind::Mixture => true,
            HeadKind::Analytic => self.taps_prefix() && !self.progress.frozen,
        }
    }

    /// Whether a score needs any part of the network.
    pub(crate) fn runs_network(&self) -> bool {
        self.config.head != HeadKind::Analytic || self.taps_prefix()
    }

    /// Runs the prefix in evaluation mode, once, for all who look at its output.
    pub(crate) fn run_prefix(&self, features: &[f32], rows: usize) -> Result<PrefixRun> {
        let has_heads = self.config.head != HeadKind::Network;
        let taps_stages = has_heads && self.progress.frozen && self.config.analytic.tap.contains(&Tap::Stages);
        if !taps_stages {
            return Ok(PrefixRun { embedding: self.model.embed_rows(features, rows)?, stages: None });
        }
        let network = &self.model.network;
        let shapes = network.tap_shapes();
        let width = network.input_width();
        let (mut embeddings, mut stages) = (Vec::new(), Vec::new());
        for chunk in features.chunks(CHUNK_ROWS * width) {
            let count = chunk.len() / width;
            let norms = Norms::Running(&self.model.prefix.statistics);
            let outputs = network.prefix_taps(&self.model.prefix.weights, norms, self.model.input(chunk, count))?;
            let pooled = outputs
                .iter()
                .zip(&shapes)
                .map(|((_, _, output), (_, shape))| {
                    Ok(pool(&values(output.clone())?, shape, self.config.analytic.grid))
                })
                .collect::<Result<Vec<_>>>()?;
            for row in 0..count {
                for maps in &pooled {
                    let width = maps.len() / count;
                    stages.extend_from_slice(&maps[row * width..(row + 1) * width]);
                }
            }
            embeddings.extend(outputs.into_iter().next_back().map(|(_, _, output)| output));
        }
        match embeddings.len() {
            0 => Err(Error::internal("no rows to run")),
            1 => Ok(PrefixRun { embedding: embeddings.swap_remove(0), stages: Some(stages) }),
            _ => Ok(PrefixRun { embedding: Tensor::cat(embeddings, 0), stages: Some(stages) }),
        }
    }

    /// What each tap gives of rows. `run` is the prefix's, where it was run; taps of a prefix that still trains give nothing.
    pub(crate) fn tap_rows(&self, features: &[f32], run: Option<&PrefixRun>) -> Result<Vec<TapRows>> {
        let run = run.filter(|_| self.progress.frozen);
        tap_order(&self.config.analytic.tap)
            .into_iter()
            .map(|tap| {
                let values = match (tap, run) {
                    (Tap::Input, _) => Some(features.to_vec()),
                    (Tap::Prefix, Some(run)) => {
                        let shape = &self.model.network.layout.embedding_shape;
                        Some(pool(&values(run.embedding.clone())?, shape, self.config.analytic.grid))
                    }
                    (Tap::Stages, Some(run)) => run.stages.clone(),
                    (Tap::Prefix | Tap::Stages, None) => None,
                };
                Ok(TapRows { values })
            })
            .collect()
    }

    /// Logarithms of mixed probabilities.
    pub(crate) fn score_mixed(&self, bank: &Bank, features: &[f32], rows: usize) -> Result<Logits> {
        let (classes, width) = (self.model.classes.max(bank.classes()), self.model.network.input_width());
        let mut logits = Logits { classes, values: Vec::with_capacity(rows * classes) };
        if classes == 0 {
            return Ok(logits);
        }
        for chunk in features.chunks(CHUNK_ROWS * width) {
            let count = chunk.len() / width;
            let (taps, network) = self.opinions(bank, chunk, count)?;
            let previous = vec![bank.previous_label(); count];
            logits.values.extend(self.mix(bank, &taps, network, count, &previous)?.values);
        }
        Ok(logits)
    }

    /// What each expert of a mixture says by itself of the rows that come next, by name: the network (where it is one), the
    /// analytic heads, and those that know the label before. Scores are without classes where an expert has nothing to say
    /// yet; the list is empty with [`HeadKind::Network`].
    ///
    /// # Errors
    /// When the samples have another shape than the learner.
    pub fn expert_scores(&self, samples: &Samples) -> Result<Vec<(String, Logits)>> {
        self.model.check(samples)?;
        let Some(bank) = &self.analytic else { return Ok(Vec::new()) };
        let (taps, network) = self.opinions(bank, &samples.features, samples.len())?;
        let previous = vec![bank.previous_label(); samples.len()];
        let rows = Rows { taps: &taps, count: samples.len(), previous: &previous, network: network.as_ref() };
        bank.expert_scores(&rows, self.model.classes.max(bank.classes()))
    }

    /// `Learner::score_next`.
    pub(crate) fn score_next_mixed(&mut self, samples: &Samples) -> Result<Logits> {
        let Some(mut bank) = self.analytic.take() else { return self.model.score(&samples.features, samples.len()) };
        let logits = self.score_next_with(&mut bank, samples);
        self.analytic = Some(bank);
        logits
    }

    fn score_next_with(&self, bank: &mut Bank, samples: &Samples) -> Result<Logits> {
        let (classes, width) = (self.model.classes.max(bank.classes()), self.model.network.input_width());
        let mut logits = Logits { classes, values: Vec::with_capacity(samples.len() * classes) };
        // All rows are scored before the label of any is known.
        let previous = bank.previous_label();
        for (chunk, features) in samples.features.chunks(CHUNK_ROWS * width).enumerate() {
            let count = features.len() / width;
            let place = chunk * CHUNK_ROWS..chunk * CHUNK_ROWS + count;
            let (taps, network) = self.opinions(bank, features, count)?;
            let previous = vec![previous; count];
            let rows = Rows { taps: &taps, count, previous: &previous, network: network.as_ref() };
            let mixed = bank.score_next(&rows, &samples.labels[place.clone()], &samples.weights[place], classes)?;
            logits.values.extend(match network {
                Some(network) if !bank.is_ready(self.progress.frozen) => widened(network, count, classes).values,
                _ => mixed.values,
            });
        }
        Ok(logits)
    }

    /// What the taps give of rows, and the network's scores where they are needed.
    fn opinions(&self, bank: &Bank, features: &[f32], count: usize) -> Result<(Vec<TapRows>, Option<Logits>)> {
        let run = if self.runs_network() { Some(self.run_prefix(features, count)?) } else { None };
        let taps = self.tap_rows(features, run.as_ref())?;
        Ok((taps, self.needed_logits(bank, run.map(|run| run.embedding))?))
    }

    /// The network's scores where it is an expert, or where the heads have nothing to say yet.
    fn needed_logits(&self, bank: &Bank, embedding: Option<Tensor<2>>) -> Result<Option<Logits>> {
        let needed = self.config.head == HeadKind::Mixture || !bank.is_ready(self.progress.frozen);
        embedding.filter(|_| needed).map(|embedding| self.network_logits(embedding)).transpose()
    }

    /// Mixes what the heads and, where it has a say, the network give.
    fn mix(
        &self,
        bank: &Bank,
        taps: &[TapRows],
        network: Option<Logits>,
        count: usize,
        previous: &[Option<ClassId>],
    ) -> Result<Logits> {
        match network {
            Some(network) if !bank.is_ready(self.progress.frozen) => {
                Ok(widened(network, count, self.model.classes.max(bank.classes())))
            }
            network => {
                let rows = Rows { taps, count, previous, network: network.as_ref() };
                bank.score(&rows, self.model.classes.max(bank.classes()))
            }
        }
    }

    fn network_logits(&self, embedding: Tensor<2>) -> Result<Logits> {
        let scores = match self.model.classes {
            0 => Vec::new(),
            _ => self.model.classify(embedding)?.logits.map(values).transpose()?.unwrap_or_default(),
        };
        Ok(Logits { classes: self.model.classes, values: scores })
    }

    /// Shows the heads the rows of a window that may be learnt from.
    pub(crate) fn learn_analytic(&mut self, window: &Samples, good: &[usize], run: Option<&PrefixRun>) -> Result<()> {
        let Some(mut bank) = self.analytic.take() else { return Ok(()) };
        let learnt = self.show(&mut bank, window, good, run);
        self.analytic = Some(bank);
        learnt
    }

    fn show(&self, bank: &mut Bank, window: &Samples, good: &[usize], run: Option<&PrefixRun>) -> Result<()> {
        let mut taps = self.tap_rows(&window.features, run)?;
        let rows = window.len();
        let chosen;
        let window = if good.len() == rows {
            window
        } else {
            for values in taps.iter_mut().filter_map(|tap| tap.values.as_mut()) {
                *values = choose(values, rows, good);
            }
            chosen = window.select(good);
            &chosen
        };
        let targets = Targets { labels: &window.labels, weights: &window.weights };
        bank.learn(&taps, &targets)
    }

    /// Shows those who wait for the prefix to freeze its outputs of the rows kept until then.
    pub(crate) fn cross_bridge(&mut self) -> Result<()> {
        let Some(bridge) = self.bridge.take().filter(|bridge| bridge.rows() > 0) else { return Ok(()) };
        let windows = || bridge.windows.iter();
        let features: Vec<f32> = windows().flat_map(|window| window.features.iter().copied()).collect();
        let labels: Vec<ClassId> = windows().flat_map(|window| window.labels.iter().copied()).collect();
        let weights: Vec<f32> = windows().flat_map(|window| window.weights.iter().copied()).collect();
        let run = self.run_prefix(&features, labels.len())?;
        if let Some(replay) = &mut self.replay {
            replay.take(&values(run.embedding.clone())?, &labels, &weights);
        }
        if self.analytic.as_ref().is_some_and(Bank::wants_bridge) {
            let taps = self.tap_rows(&features, Some(&run))?;
            if let Some(bank) = &mut self.analytic {
                bank.complete(&taps, &labels, &weights)?;
            }
        }
        Ok(())
    }

    /// Widths of the parts of a kept row: prefix output, input, stages, label before.
    fn parts(&self, bank: &Bank) -> [usize; 4] {
        let has = |tap: Tap| self.config.analytic.tap.contains(&tap);
        let network = &self.model.network;
        let width = |tap: Tap| if has(tap) { tap_width(&self.config, network, tap) } else { 0 };
        let prefix = if self.runs_network() { network.layout.embedding_width() } else { 0 };
        [prefix, width(Tap::Input), width(Tap::Stages), usize::from(bank.uses_previous_label())]
    }

    /// `Learner::embed`.
    pub(crate) fn embed_for(&self, bank: &Bank, samples: &Samples) -> Result<Embedding> {
        let parts = self.parts(bank);
        let mut embedding = Embedding { shape: vec![parts.iter().sum()], values: Vec::new() };
        if samples.is_empty() {
            return Ok(embedding);
        }
        let run = if self.runs_network() { Some(self.run_prefix(&samples.features, samples.len())?) } else { None };
        let prefix = match &run {
            Some(run) => values(run.embedding.clone())?,
            None => Vec::new(),
        };
        let stages = run.and_then(|run| run.stages).unwrap_or_else(|| vec![0.0; parts[2] * samples.len()]);
        let label = bank.previous_label().map_or(-1.0, |label| label as f32);
        for row in 0..samples.len() {
            let part = |values: &[f32], width: usize| values[row * width..(row + 1) * width].to_vec();
            embedding.values.extend(part(&prefix, parts[0]));
            embedding.values.extend(part(&samples.features, parts[1]));
            embedding.values.extend(part(&stages, parts[2]));
            embedding.values.extend(vec![label; parts[3]]);
        }
        Ok(embedding)
    }

    /// `Learner::score_embedding`.
    pub(crate) fn score_embedding_for(&self, bank: &Bank, embedding: &Embedding) -> Result<Logits> {
        let parts = self.parts(bank);
        let width: usize = parts.iter().sum();
        if embedding.shape != [width] || !embedding.values.len().is_multiple_of(width.max(1)) {
            return Err(Error::user("the activations have another shape than the heads take")
                .with("expected", width)
                .with("found", format!("{:?}", embedding.shape))
                .with("numbers", embedding.values.len()));
        }
        let classes = self.model.classes.max(bank.classes());
        let mut logits = Logits { classes, values: Vec::new() };
        for chunk in embedding.values.chunks(CHUNK_ROWS * width.max(1)) {
            if classes == 0 {
                break;
            }
            let rows: Vec<&[f32]> = chunk.chunks_exact(width.max(1)).collect();
            let part = |index: usize| -> Vec<f32> {
                let first = parts[..index].iter().sum::<usize>();
                rows.iter().flat_map(|row| &row[first..first + parts[index]]).copied().collect()
            };
            let input = part(1);
            let run = match parts[0] {
                0 => None,
                width => {
                    let device = &self.model.network.device;
                    let embedding = crate::network::tensor(part(0), [rows.len(), width], device);
                    Some(PrefixRun { embedding, stages: Some(part(2)) })
                }
            };
            let labels = part(3);
            let previous: Vec<Option<ClassId>> = (0..rows.len())
                .map(|row| labels.get(row).filter(|&&label| label >= 0.0).map(|&label| label as ClassId))
                .collect();
            let taps = self.tap_rows(&input, run.as_ref())?;
            let network = self.needed_logits(bank, run.map(|run| run.embedding))?;
            logits.values.extend(self.mix(bank, &taps, network, rows.len(), &previous)?.values);
        }
        Ok(logits)
    }
}

/// Scores with columns for classes that the network does not know yet, beneath all others.
fn widened(logits: Logits, rows: usize, classes: usize) -> Logits {
    if logits.classes >= classes {
        return logits;
    }
    const BENEATH: f32 = -1e6;
    let mut values = Vec::with_capacity(rows * classes);
    for row in 0..rows {
        values.extend_from_slice(logits.row(row));
        values.resize((row + 1) * classes, BENEATH);
    }
    Logits { classes, values }
}

/// Some rows of row-major numbers.
fn choose(numbers: &[f32], rows: usize, chosen: &[usize]) -> Vec<f32> {
    let width = numbers.len() / rows.max(1);
    chosen.iter().flat_map(|&row| &numbers[row * width..(row + 1) * width]).copied().collect()
}

/// Averages maps `[channels, height, breadth]` over a grid of cells as PyTorch's adaptive pooling does; other shapes stay.
fn pool(numbers: &[f32], shape: &[usize], grid: usize) -> Vec<f32> {
    let &[_, height, breadth] = shape else { return numbers.to_vec() };
    let cell = |index: usize, size: usize| (index * size / grid, ((index + 1) * size).div_ceil(grid));
    let mut pooled = Vec::with_capacity(numbers.len() / (height * breadth).max(1) * grid * grid);
    for map in numbers.chunks_exact(height * breadth) {
        for row in 0..grid {
            let (top, bottom) = cell(row, height);
            for column in 0..grid {
                let (left, right) = cell(column, breadth);
                let sum: f32 = (top..bottom).map(|y| sum(&map[y * breadth + left..y * breadth + right])).sum();
                pooled.push(sum / ((bottom - top) * (right - left)) as f32);
            }
        }
    }
    pooled
}

/// A sum in eight lanes, whose order is fixed.
fn sum(numbers: &[f32]) -> f32 {
    let (chunks, rest) = numbers.as_chunks::<8>();
    let mut lanes = [0.0_f32; 8];
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, number)| *lane += number);
    }
    lanes.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_averaged_over_cells_that_cover_them() {
        let map: Vec<f32> = (0..9).map(|i| i as f32).collect();
        // Cells of an odd side overlap: rows 0..2 and 1..3.
        assert_eq!(pool(&map, &[1, 3, 3], 2), [2.0, 3.0, 5.0, 6.0]);
        assert_eq!(pool(&map, &[1, 3, 3], 1), [4.0]);
        assert_eq!(pool(&map, &[9], 2), map);
    }
}
