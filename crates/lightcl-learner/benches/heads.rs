//! What the analytic heads cost beside the network, in one process, in turns.
//!
//! ```text
//! cargo bench --profile dev -p lightcl-learner --bench heads [-- --smoke] [-- --case NAME]
//! ```
//! Windows are learnt in turns, after a warm-up. Weights are solved for once a class has grown by a tenth: at first after
//! every window, later ever more rarely. So two figures are given: the lower quartile, of windows without solving, and the mean
//! over all. `--smoke` takes few windows.

use lightcl_core::{Learner, Result, Samples};
use lightcl_learner::{AnalyticConfig, Backbone, HeadKind, LearnerConfig, LightClLearner, Precision, Prefix, Tap};
use std::time::Instant;

struct Case {
    name: &'static str,
    backbone: Backbone,
    shape: &'static [usize],
    classes: u32,
    /// Rows learnt from together.
    window: usize,
    /// Windows learnt before the clock starts.
    warm: usize,
    /// Windows timed.
    windows: usize,
    head: HeadKind,
    /// Whether the prefix is frozen, as from the second task on, or trains with the rest.
    frozen: bool,
    analytic: AnalyticConfig,
}

fn cases() -> Vec<Case> {
    let mlp = |name, window, warm, windows| Case {
        name,
        backbone: Backbone::Mlp { hidden: vec![128; 4], frozen: 2 },
        shape: &[33],
        classes: 6,
        window,
        warm,
        windows,
        head: HeadKind::Mixture,
        frozen: true,
        analytic: AnalyticConfig { width: Some(500), forget: vec![1.0], ..AnalyticConfig::default() },
    };
    let short = |name| mlp(name, 32, 320, 1600);
    let resnet = |name, width, head, random, warm, windows| Case {
        name,
        backbone: Backbone::Resnet18 { width },
        shape: &[3, 32, 32],
        classes: 10,
        window: 64,
        warm,
        windows,
        head,
        frozen: true,
        analytic: AnalyticConfig { tap: vec![Tap::Stages], width: Some(random), ..AnalyticConfig::default() },
    };
    vec![
        mlp("mlp 33-128x4-6, window 256, mixture width 500", 256, 40, 200),
        short("mlp 33-128x4-6, window 32, mixture width 500"),
        Case { frozen: false, ..short("mlp 33-128x4-6 whole, window 32, mixture width 500") },
        Case {
            frozen: false,
            analytic: AnalyticConfig {
                width: Some(500),
                precision: Precision::Single,
                ridge: vec![10.0],
                ..AnalyticConfig::default()
            },
            ..short("mlp 33-128x4-6 whole, window 32, mixture width 500 single, one ridge")
        },
        resnet("resnet18 nf=20, stages, mixture width 500", 20, HeadKind::Mixture, 500, 30, 16),
        resnet("resnet18 nf=20, stages, mixture width 0", 20, HeadKind::Mixture, 0, 30, 16),
        resnet("resnet18 nf=64, stages, analytic width 500", 64, HeadKind::Analytic, 500, 24, 8),
        resnet("resnet18 nf=64, stages, analytic width 0", 64, HeadKind::Analytic, 0, 24, 8),
    ]
}

/// Seeded rows in `[0, 1)`, labels in turn.
fn samples(case: &Case, seed: u64) -> Samples {
    let width: usize = case.shape.iter().product();
    let mut state = seed * 2 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 24) as f32
    };
    let rows: Vec<_> =
        (0..case.window).map(|row| ((0..width).map(|_| next()).collect(), row as u32 % case.classes)).collect();
    Samples::from_rows(case.shape, &rows)
}

/// Milliseconds of one kind of work.
#[derive(Default)]
struct Times(Vec<f64>);

impl Times {
    fn time<T>(&mut self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        let done = work()?;
        self.0.push(started.elapsed().as_secs_f64() * 1e3);
        Ok(done)
    }

    fn quartile(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 4).copied().unwrap_or(f64::NAN)
    }

    fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len().max(1) as f64
    }
}

fn learner(case: &Case, head: HeadKind) -> Result<LightClLearner> {
    let config = LearnerConfig {
        backbone: case.backbone.clone(),
        prefix: if case.frozen { Prefix::Pretrained } else { Prefix::FromScratch },
        head,
        analytic: case.analytic.clone(),
        ..LearnerConfig::default()
    };
    let mut learner = LightClLearner::new(config, case.shape, None)?;
    let window = samples(case, 2);
    learner.begin_task(&window)?;
    learner.learn(&window)?;
    if case.frozen {
        // The second task's step: for the network a memory of feature patterns, too.
        learner.end_task(&window)?;
        learner.begin_task(&window)?;
    }
    Ok(learner)
}

fn run(case: &Case, warm: usize, windows: usize) -> Result<()> {
    let mut network = learner(case, HeadKind::Network)?;
    let mut ours = learner(case, case.head)?;
    for number in 0..warm as u64 {
        ours.learn(&samples(case, 1000 + number))?;
    }
    let (mut with_network, mut with_ours, mut prefix) = (Times::default(), Times::default(), Times::default());
    for number in 0..windows as u64 {
        let window = samples(case, 3 + number);
        prefix.time(|| network.activations(&window))?;
        with_network.time(|| network.learn(&window))?;
        with_ours.time(|| ours.learn(&window))?;
    }
    let line = |figure: fn(&Times) -> f64| {
        let (prefix, network, ours) = (figure(&prefix), figure(&with_network), figure(&with_ours));
        let added = if case.head == HeadKind::Mixture { ours - network } else { ours - prefix };
        (prefix, network, ours, added / network, added / prefix)
    };
    for (name, (prefix, network, ours, of_step, of_prefix)) in
        [("lower quartile", line(Times::quartile)), ("mean", line(Times::mean))]
    {
        println!(
            "| {} | {name} | {prefix:.3} | {network:.3} | {ours:.3} | {of_step:.2} x | {:.1} % |",
            case.name,
            of_prefix * 100.0
        );
    }
    Ok(())
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let only = arguments.iter().position(|a| a == "--case").and_then(|at| arguments.get(at + 1));
    let smoke = arguments.iter().any(|argument| argument == "--smoke");
    println!(
        "| heads, one window | of the windows | prefix alone ms | network ms | with heads ms | heads add, of the network's | of the prefix's |"
    );
    println!("|---|---|---|---|---|---|---|");
    for case in cases().iter().filter(|case| only.is_none_or(|name| case.name.contains(name.as_str()))) {
        let (warm, windows) = if smoke { (1, 2) } else { (case.warm, case.windows) };
        if let Err(error) = run(case, warm, windows) {
            eprintln!("{}: {error}", case.name);
            std::process::exit(1);
        }
    }
}
